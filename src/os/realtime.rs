//! A process that has to run in time, whatever else the machine does: real-time priority (SCHED_FIFO, sched(7)), locked
//! memory (mlockall(2)), and the lowest priority for the OOM killer (proc(5)).
use std::fmt;
use std::fs;
use std::io;

/// A setting that the kernel refused, and why: most often a lack of privileges.
#[derive(Debug)]
pub struct Refused {
    what: &'static str,
    cause: io::Error,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.what)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Applies these settings to this process as far as the kernel allows. Returns the refused ones; the others are in
/// force. Child processes inherit neither the priority nor the locked memory.
///
/// `priority` is that of SCHED_FIFO, 1 to 99: while this process is runnable, no process of lower priority runs on its
/// processor.
pub fn take(priority: i32) -> Vec<Refused> {
    let parts = [
        ("be scheduled before other processes (SCHED_FIFO)", schedule(priority)),
        ("lock its memory (mlockall)", lock()),
        ("be spared when memory runs out (oom_score_adj)", fs::write("/proc/self/oom_score_adj", "-1000")),
    ];
    parts.into_iter().filter_map(|(what, result)| result.err().map(|cause| Refused { what, cause })).collect()
}

fn schedule(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a live value; 0 is this thread.
    result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

fn lock() -> io::Result<()> {
    // SAFETY: plain numbers.
    result(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) })
}

fn result(code: i32) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{become_nobody, is_root};
    use super::*;

    fn status(key: &str) -> String {
        let text = fs::read_to_string("/proc/self/status").unwrap();
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
    }

    fn policy() -> i32 {
        // SAFETY: plain numbers.
        unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
    }

    alone! {
        fn what_is_granted_is_in_force() {
            if !is_root() { return }
            // A container may refuse any of them.
            let refused = take(10);
            let was_refused = |what: &str| refused.iter().any(|refused| refused.to_string().contains(what));
            assert_eq!(policy() == libc::SCHED_FIFO, !was_refused("SCHED_FIFO"), "{refused:?}");
            assert_eq!(status("VmLck:") != "0 kB", !was_refused("mlockall"), "{refused:?}");
            let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
            assert_eq!(score.trim() == "-1000", !was_refused("oom_score_adj"), "{refused:?}");
        }

        fn what_is_refused_is_told_with_its_cause() {
            become_nobody();
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_RTPRIO, 0, 0).unwrap();
            let refused: Vec<_> = take(10).iter().map(|one| crate::error::Chain(one).to_string()).collect();
            assert!(refused.iter().any(|text| text.starts_with("cannot be scheduled before") && text.contains("not permitted")), "{refused:?}");
            assert!(refused.iter().any(|text| text.starts_with("cannot lock its memory")), "{refused:?}");
        }
    }
}
