//! A number that shows which child a process belongs to; every process passes it on to those that it starts.
//!
//! It is the soft limit RLIMIT_LOCKS. The kernel has not enforced that limit since Linux 2.4.25, but children inherit
//! it over fork(2), it is kept over execve(2), setsid(2) and setuid(2), and every user can read it in
//! `/proc/PID/limits`. So a daemon that was forked twice, leads a session of its own and has an empty environment still
//! shows which child of which tree has started it. Reading it needs neither the memory nor the locks of that process.
//!
//! A program that sets this limit itself escapes, and so does a worker whose spec sets it: such processes can only be
//! found by session, process group and descent.
use crate::ids::{Mark, Path};
use crate::os::rlimit;
use crate::spec::exec::Limit;
use std::fs;
use std::io;
use std::sync::OnceLock;

/// The stamp: 30 bits for the tree, 32 bits for what was started in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stamp(u64);

/// Larger than any limit that a person sets; the highest bit is clear, as some programs read limits as signed numbers.
const KIND: u64 = 1 << 62;
const TREE: u64 = ((1 << 30) - 1) << 32;

impl Stamp {
    /// The stamp of a child, by its path.
    pub fn of_child(mark: &Mark, path: &Path) -> Stamp {
        Stamp::of(mark, path, "")
    }

    /// The stamp of a worker's probes, of which one runs at a time.
    pub fn of_probe(mark: &Mark, path: &Path) -> Stamp {
        Stamp::of(mark, path, "probe")
    }

    /// The stamp of the second of two processes of one path; `self` is that of the first.
    pub fn second(self) -> Stamp {
        Stamp(self.0 ^ 1)
    }

    /// The stamp of one hook of a supervisor.
    pub fn of_hook(mark: &Mark, path: &Path, number: u64) -> Stamp {
        Stamp::of(mark, path, &format!("hook {number}"))
    }

    fn of(mark: &Mark, path: &Path, what: &str) -> Stamp {
        // No path has a zero byte. FNV-1a suffices: the hash only has to spread, as the mark in front is random.
        let text = mark.as_str().bytes().chain(path.as_str().bytes()).chain([0]).chain(what.bytes());
        let hash =
            text.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Stamp(KIND | Stamp::tree_bits(mark) | (hash >> 32))
    }

    fn tree_bits(mark: &Mark) -> u64 {
        let digits = mark.as_str().get(..8).unwrap_or_default();
        (u64::from_str_radix(digits, 16).unwrap_or(0) << 32) & TREE
    }

    /// Whether this stamp belongs to the tree with this mark.
    pub fn is_of(self, mark: &Mark) -> bool {
        self.0 & !u64::from(u32::MAX) == KIND | Stamp::tree_bits(mark)
    }

    /// The stamp as the limit `locks`; `None` if the hard limit of this process does not allow it.
    pub fn limit(self) -> Option<Limit> {
        static ALLOWED: OnceLock<bool> = OnceLock::new();
        let allowed = *ALLOWED.get_or_init(|| {
            let limit = rlimit::resource(LIMIT).and_then(|locks| rlimit::hard_limit(0, locks));
            limit == Some(libc::RLIM64_INFINITY)
        });
        allowed.then_some(Limit { soft: Some(self.0), hard: None })
    }

    /// The stamp of a process; `None` if it has none, or cannot be read.
    pub fn read(pid: u32) -> Option<Stamp> {
        Stamp::look(pid).ok().flatten()
    }

    /// Like [`Stamp::read`], with the error if it cannot be read now. A process that may not be looked at shows none.
    ///
    /// # Errors
    /// The system's, such as a lack of descriptors. An error shows nothing about the process.
    pub fn look(pid: u32) -> io::Result<Option<Stamp>> {
        match fs::read(format!("/proc/{pid}/limits")) {
            Ok(text) => Ok(parse(&text)),
            // The process is gone, or hidden.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT | libc::EPERM | libc::EACCES)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The name of the limit in a spec.
pub const LIMIT: &str = "locks";

fn parse(text: &[u8]) -> Option<Stamp> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Max file locks"))?;
    let soft: u64 = std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()?;
    // Some programs write the largest signed number for "unlimited".
    (soft & !(TREE | u64::from(u32::MAX)) == KIND && soft != i64::MAX.unsigned_abs()).then_some(Stamp(soft))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{end_of, output_of, read_line, script, start_piped};
    use super::*;
    use crate::os::random;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    #[test]
    fn each_child_probe_and_hook_has_its_own() {
        let (mark, other) = (random::mark().unwrap(), random::mark().unwrap());
        let all = [
            Stamp::of_child(&mark, &path("/a")),
            Stamp::of_child(&mark, &path("/b")),
            Stamp::of_probe(&mark, &path("/a")),
            Stamp::of_child(&mark, &path("/a")).second(),
            Stamp::of_probe(&mark, &path("/a")).second(),
            Stamp::of_hook(&mark, &path("/a"), 1),
            Stamp::of_hook(&mark, &path("/a"), 2),
            Stamp::of_child(&mark, &Path::root()),
        ];
        for (index, stamp) in all.iter().enumerate() {
            assert!(stamp.is_of(&mark) && !stamp.is_of(&other));
            assert!(!all[..index].contains(stamp));
            assert_eq!(
                parse(format!("Max file locks            {}            unlimited  locks", stamp.0).as_bytes()),
                Some(*stamp)
            );
        }
        assert_eq!(all[0], Stamp::of_child(&mark, &path("/a")));
    }

    #[test]
    fn ordinary_limits_are_none() {
        for soft in ["unlimited", "0", "1024", "9223372036854775807", "18446744073709551615", "-1", ""] {
            assert_eq!(parse(format!("Max file locks            {soft}            unlimited  locks").as_bytes()), None);
        }
        assert_eq!(parse(b"Max open files            1024"), None);
    }

    #[test]
    fn it_outlives_session_parents_and_environment() {
        let stamp = Stamp::of_child(&random::mark().unwrap(), &path("/web/api"));
        let Some(limit) = stamp.limit() else {
            eprintln!("skipped: the hard limit of locks is set here");
            return;
        };
        let mut spec = script("(setsid env -i /bin/sh -c 'echo $$; exec sleep 1000' &)");
        spec.limits.insert(LIMIT.into(), limit);
        let (spawned, reader) = start_piped(spec).unwrap();
        let daemon: u32 = read_line(&reader).parse().unwrap();
        assert_eq!(end_of(&spawned.pidfd).code, Some(0));
        assert_eq!(Stamp::read(daemon), Some(stamp));
        crate::os::pidfd::PidFd::open(daemon).unwrap().signal(libc::SIGKILL).unwrap();
        // A process without a stamp, and a pid that does not exist.
        assert_eq!(output_of(script("echo up")), "up\n");
        assert_eq!(Stamp::read(u32::MAX), None);
    }
}
