//! The mark that a process carries in its environment, with the path that it belongs to.

use crate::ids::{Mark, Path};
use crate::os::{pidfd, process};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Bytes of an environment that are looked at: a process can make its own look as large as its memory.
const ENVIRONMENT_MAX: u64 = 256 << 10;

/// More than most have, so that one read takes them.
const ENVIRONMENT_USUAL: usize = 8 << 10;

/// Whether a process carries a mark and a path within another in its environment.
pub fn is_marked(pid: u32, mark: &Mark, within: &Path) -> bool {
    carries(pid, mark, within) == Carries::Yes
}

/// Whether a process carries a mark and a path within another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    Yes,
    No,
    /// No thread of it has memory any more. It executes nothing of its own, and starts nothing; but until its exit is
    /// over it has its files and sockets, and it may hang there, closing a file on a dead disk.
    Nothing,
    /// It cannot be read now: the process is in the middle of execve(2), say.
    Undecided,
}

pub(super) fn carries(pid: u32, mark: &Mark, within: &Path) -> Carries {
    let found = match environment(&format!("/proc/{pid}"), pid) {
        Environment::Gone => of_other_threads(pid),
        found => found,
    };
    let (text, whole) = match found {
        Environment::Is(text, whole) => (text, whole),
        Environment::Hidden | Environment::None => return Carries::No,
        Environment::Gone => return Carries::Nothing,
        Environment::Undecided => return Carries::Undecided,
    };
    let (mut marked, mut is_within) = (false, false);
    for entry in text.split(|byte| *byte == 0) {
        if let Some(value) = entry.strip_prefix(b"TREEVISOR_MARK=") {
            marked = value == mark.as_str().as_bytes();
        } else if let Some(path) = entry.strip_prefix(b"TREEVISOR_PATH=") {
            is_within =
                std::str::from_utf8(path).is_ok_and(|path| Path::parse(path).is_ok_and(|path| path.is_within(within)));
        }
    }
    match (marked && is_within, whole) {
        (true, _) => Carries::Yes,
        (false, true) => Carries::No,
        (false, false) => Carries::Undecided,
    }
}

/// What is to be seen of the environment of a process, or of one thread.
enum Environment {
    /// Its bytes, and whether they are all.
    Is(Vec<u8>, bool),
    /// It has none.
    None,
    /// Another user's, whose mark we may not read.
    Hidden,
    /// The thread is ending, or has, and has no memory any more.
    Gone,
    Undecided,
}

/// Where its main thread has ended and others have not, these have it still.
fn of_other_threads(pid: u32) -> Environment {
    // Gone meanwhile, or there is no descriptor left.
    let threads = || process::threads(pid)?.collect::<io::Result<BTreeSet<u32>>>();
    let Ok(before) = threads() else { return Environment::Undecided };
    let mut all_gone = true;
    for thread in before.iter().filter(|thread| **thread != pid) {
        match environment(&format!("/proc/{pid}/task/{thread}"), *thread) {
            Environment::Gone => {}
            Environment::Undecided => all_gone = false,
            found => return found,
        }
    }
    // One that has ended may have started another before; and one that executes another program takes the number of the
    // main thread for it.
    let is_exiting = || process::stat(pid).is_some_and(|stat| stat.is_exiting);
    if all_gone && threads().is_ok_and(|now| now == before) && is_exiting() {
        Environment::Gone
    } else {
        Environment::Undecided
    }
}

/// `at`: the directory of the process, or of one thread of it.
fn environment(at: &str, number: u32) -> Environment {
    let is_hidden = match seen(at) {
        Environment::Gone => false,
        // What has no memory is shown as root's (proc_pid(5)), whosever it is.
        Environment::Hidden if is_own(at) => true,
        found => return found,
    };
    // Most likely it has none. But in the middle of execve(2) there is none to be seen either, and for a moment it
    // would not be known as ours. Kernel threads, the second process and its children, never have one.
    let stat = match fs::read(format!("{at}/stat")) {
        Ok(text) => process::parse_stat(&text),
        Err(error) if pidfd::is_gone(&error) => return Environment::Gone,
        Err(_) => return Environment::Undecided,
    };
    match stat {
        Some(stat) if is_hidden && !stat.is_exiting => Environment::Hidden,
        Some(_) if is_hidden => Environment::Gone,
        Some(stat) if stat.environment_is_empty => Environment::None,
        Some(stat) if stat.parent == 2 || number == 2 => Environment::None,
        Some(stat) if stat.is_exiting => Environment::Gone,
        // By now it may execute the next program.
        Some(stat) if stat.has_environment => match seen(at) {
            Environment::Gone => Environment::Undecided,
            found => found,
        },
        _ => Environment::Undecided,
    }
}

/// Whether it runs as the user of this process: that is what the directory shows, whatever memory it has.
fn is_own(at: &str) -> bool {
    fs::metadata(at).is_ok_and(|found| found.uid() == process::own_uid())
}

/// What one look shows: nothing, `Gone`, has several reasons.
fn seen(at: &str) -> Environment {
    match read(at) {
        Ok((text, whole)) if !text.is_empty() => Environment::Is(text, whole),
        Ok(_) => Environment::Gone,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Environment::Hidden,
        // What has no program has no environment: newer kernels give an error there.
        Err(error) if pidfd::is_gone(&error) => Environment::Gone,
        Err(_) => Environment::Undecided,
    }
}

/// The bytes, and whether they are all: when it executes another program between two reads, the next one reports the
/// end.
fn read(at: &str) -> io::Result<(Vec<u8>, bool)> {
    let file = fs::File::open(format!("{at}/environ"))?;
    let mut text = Vec::with_capacity(ENVIRONMENT_USUAL);
    (&file).take(ENVIRONMENT_MAX).read_to_end(&mut text)?;
    let whole = file.read_at(&mut [0], 0)? > 0;
    Ok((text, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::pidfd::PidFd;
    use crate::os::random;
    use crate::os::testing::{read_line, script, start, start_piped};

    /// A program whose main thread ends, and which runs on.
    const HEADLESS: &str = "exec python3 -c 'import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print(os.getpid(), flush=True)
ctypes.CDLL(None).pthread_exit(None)'";

    #[test]
    fn a_process_whose_main_thread_has_ended_has_its_mark_still_and_holds_up_no_search_for_another() {
        let [mark, other] = [(); 2].map(|()| random::mark().unwrap());
        let within = Path::root();
        let mut spec = script(HEADLESS);
        spec.env.push(("TREEVISOR_MARK".into(), mark.as_str().into()));
        spec.env.push(("TREEVISOR_PATH".into(), "/a".into()));
        let (spawned, reader) = start_piped(spec).unwrap();
        let Ok(pid) = read_line(&reader).parse() else {
            eprintln!("skipped: there is no Python");
            return;
        };
        while !process::stat(pid).unwrap().is_dying() {
            std::thread::yield_now();
        }
        let of = |mark: &Mark| carries(pid, mark, &within);
        assert_eq!((of(&mark), of(&other)), (Carries::Yes, Carries::No));
        PidFd::open(pid).unwrap().signal(libc::SIGKILL).unwrap();
        crate::os::testing::end_of(&spawned.pidfd);
    }

    #[test]
    fn what_has_no_memory_any_more_shows_no_mark() {
        let spawned = start(script("exit 0")).unwrap();
        let (pid, mark, within) = (spawned.pid, random::mark().unwrap(), Path::root());
        while !process::stat(pid).unwrap().has_ended() {
            std::thread::yield_now();
        }
        assert!(process::stat(pid).unwrap().is_exiting);
        assert_eq!(carries(pid, &mark, &within), Carries::Nothing);
        crate::os::testing::end_of(&spawned.pidfd);
    }
}
