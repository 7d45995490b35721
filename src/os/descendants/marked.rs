//! Reads the mark in the environment of a process, and the path with it.

use crate::ids::{Mark, Path};
use crate::os::{pidfd, process};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Most bytes of an environment that are read: a process can make its own as large as its memory.
const ENVIRONMENT_MAX: u64 = 256 << 10;

/// Enough for most environments, so that one read suffices.
const ENVIRONMENT_USUAL: usize = 8 << 10;

/// Whether a process has this mark in its environment, with a path at or below `within`; `None` if the environment
/// cannot be read now.
pub fn is_marked(pid: u32, mark: &Mark, within: &Path) -> Option<bool> {
    match carries(pid, mark, within) {
        Carries::Yes => Some(true),
        Carries::No | Carries::Nothing => Some(false),
        Carries::Undecided => None,
    }
}

/// Whether a process has the mark, and a path in scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    Yes,
    No,
    /// None of its threads has memory any more. It executes nothing and starts nothing, but until its exit is complete
    /// it has its files and sockets, and it may hang there, closing a file on a dead disk.
    Nothing,
    /// The environment cannot be read now, such as during execve(2).
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

/// The environment of a process, or of one of its threads, as far as it can be read.
enum Environment {
    /// Its bytes, and whether they are complete.
    Is(Vec<u8>, bool),
    /// It has no environment.
    None,
    /// The process belongs to another user, and may not be read.
    Hidden,
    /// The thread is ending or has ended, and has no memory any more.
    Gone,
    Undecided,
}

/// If the main thread has ended and others have not, these still have the environment.
fn of_other_threads(pid: u32) -> Environment {
    // The process is gone, or no descriptor is left.
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
    // A thread that has ended may have started another one before; and a thread that executes another program takes
    // over the pid of the main thread.
    let is_exiting = || process::stat(pid).is_some_and(|stat| stat.is_exiting);
    if all_gone && threads().is_ok_and(|now| now == before) && is_exiting() {
        Environment::Gone
    } else {
        Environment::Undecided
    }
}

/// `at` is the directory in /proc of the process, or of one of its threads.
fn environment(at: &str, number: u32) -> Environment {
    let is_hidden = match seen(at) {
        Environment::Gone => false,
        // The files of a process or thread without memory belong to root, whichever user it runs as (proc_pid(5)).
        Environment::Hidden if is_own(at) => true,
        found => return found,
    };
    // Most likely the process has no environment. But during execve(2) none is visible either, and taking it for empty
    // would miss the mark. Kernel threads (pid 2 and its children) never have one.
    let stat = match fs::read(format!("{at}/stat")) {
        Ok(text) => process::parse_stat(&text),
        Err(error) if pidfd::is_gone(&error) => return Environment::Gone,
        Err(_) => return Environment::Undecided,
    };
    match stat {
        Some(stat) if is_hidden => {
            if stat.is_exiting {
                Environment::Gone
            } else {
                Environment::Hidden
            }
        }
        Some(stat) if stat.environment_is_empty => Environment::None,
        Some(stat) if stat.parent == 2 || number == 2 => Environment::None,
        Some(stat) if stat.is_exiting => Environment::Gone,
        // By now it may have executed the next program.
        Some(stat) if stat.has_environment => match seen(at) {
            Environment::Gone => Environment::Undecided,
            found => found,
        },
        _ => Environment::Undecided,
    }
}

/// Whether the process runs as the user of this one: its directory in /proc belongs to that user, even if it has no
/// memory any more.
fn is_own(at: &str) -> bool {
    fs::metadata(at).is_ok_and(|found| found.uid() == process::own_uid())
}

/// The result of one read; `Gone` has several possible reasons.
fn seen(at: &str) -> Environment {
    match read(at) {
        Ok((text, whole)) if !text.is_empty() => Environment::Is(text, whole),
        Ok(_) => Environment::Gone,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Environment::Hidden,
        // A process without a program has no environment; newer kernels report an error for it.
        Err(error) if pidfd::is_gone(&error) => Environment::Gone,
        Err(_) => Environment::Undecided,
    }
}

/// The bytes, and whether they are complete: if the process executes another program between two reads, the second one
/// returns an end of file.
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

    /// A program whose main thread ends while another thread continues.
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
