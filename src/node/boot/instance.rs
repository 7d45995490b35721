//! Claims the name of an instance, and cleans up after an earlier run of it, before a root creates anything.

use super::failure::BootError;
use crate::ids::Name;
use crate::instance::runtime::{RuntimeDir, RuntimeError};
use crate::node::directory::Held;
use crate::node::root::keeper::clear_tree;
use crate::os::claim::{Claim, Claimed, Holder};
use crate::os::clock::{self, Clock};
use crate::os::lock::{self, LockError, LockFile};
use crate::os::process;
use crate::time::{Span, Time};
use slog::{Logger, error, warn};
use std::io;
use std::path::PathBuf;

/// How long to wait for the holder of the name if it seems to be ending.
const ENDING: Span = Span::from_millis(300);

/// How long to wait for a process that cleans up after an earlier run.
const CLEANING: Span = Span::from_secs(3);

/// Creates the runtime directory, and claims the instance in two ways: by an abstract socket, which no cleaner of files
/// can remove, and by the lock file, which tools check.
///
/// # Errors
/// The instance runs already, or the runtime directory cannot be prepared.
pub(super) fn take_instance(instance: &Name, runtime: &RuntimeDir) -> Result<Held, BootError> {
    let wrong = |cause: Box<dyn std::error::Error>| BootError::Runtime { path: runtime.path().to_path_buf(), cause };
    let runs = |pid| Err(BootError::AlreadyRunning { instance: instance.clone(), pid });
    let patience = Clock::start();
    let claim = loop {
        runtime.create_base().map_err(|e| wrong(e.into()))?;
        match runtime.claim_name().and_then(|name| Claim::take(&name)) {
            Ok(Claimed::Ours(claim)) => break Some(claim),
            Ok(Claimed::Held(Holder::Own { pid })) => {
                // A root that is ending has released its lock before.
                let ending = !process::is_alive(pid) || !lock::is_held(&runtime.lock_file());
                if !ending || patience.now() > Time::ZERO + ENDING {
                    return runs(Some(pid));
                }
                clock::pause(Span::from_millis(10));
            }
            // Another user has taken the name, or the name cannot be claimed: the lock alone has to do.
            Ok(Claimed::Held(Holder::Stranger { .. })) | Err(_) => break None,
        }
    };
    loop {
        let may_wait = patience.now() <= Time::ZERO + CLEANING;
        match runtime.create() {
            // The keeper of an earlier run has just removed the directory.
            Err(RuntimeError::Create { cause, .. }) if is_gone(&cause) && may_wait => {}
            Err(error) => return Err(wrong(error.into())),
            Ok(()) => match LockFile::acquire(&runtime.lock_file()) {
                Ok(lock) => return Ok(Held::new(lock, claim)),
                // A cleaner writes no pid; for a moment, that of a killed root is still there.
                Err(LockError::Held { pid }) if pid.is_none_or(|pid| !process::is_alive(pid)) && may_wait => {}
                Err(LockError::Held { pid }) => return runs(pid),
                Err(LockError::File { cause, .. }) if is_gone(&cause) && may_wait => {}
                Err(error) => return Err(wrong(error.into())),
            },
        }
        clock::pause(Span::from_millis(10));
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Makes a link to the output file in the runtime directory, where people look for the files of a running tree. Returns
/// the link and its target if it was made.
pub(super) fn link_to_output(runtime: &RuntimeDir, output: PathBuf) -> Option<(PathBuf, PathBuf)> {
    let link = runtime.output_file();
    if output == link {
        return None;
    }
    if link.is_symlink() {
        let _ = std::fs::remove_file(&link);
    }
    // A file that an earlier version has left there is not removed.
    std::os::unix::fs::symlink(&output, &link).ok().map(|()| (link, output))
}

/// Cleans up after an earlier run of this instance whose root and keeper were both killed.
pub(super) fn sweep_stale(runtime: &RuntimeDir, logger: &Logger) {
    let stale = match runtime.read_instance() {
        Ok(stale) => stale,
        Err(error) if is_gone(&error) => return,
        Err(error) => {
            return warn!(logger, "an earlier run of this instance may have left processes: its file cannot be read";
                "file" => %runtime.instance_file().display(), "error" => %error);
        }
    };
    warn!(logger, "an earlier run of this instance was killed; cleaning up after it";
        "pid" => stale.pid, "started_at" => &stale.started_at);
    let left = clear_tree(stale.cgroup.as_deref(), &stale.mark, &stale.paths());
    if !left.is_none() {
        error!(logger, "leftovers of an earlier run cannot be killed and run beside this one"; "left" => %left);
    }
    runtime.remove_sockets();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::{fs, thread};

    #[test]
    fn a_start_waits_for_a_cleaner_of_an_earlier_run_and_for_no_root() {
        let base = tempfile::tempdir().unwrap();
        let name = Name::parse("shop").unwrap();
        let runtime = RuntimeDir::of(base.path(), &name).unwrap();
        runtime.create().unwrap();
        let cleaner = LockFile::acquire_to_clean(&runtime.lock_file()).unwrap();
        let cleaned = thread::spawn(move || {
            clock::pause(Span::from_millis(50));
            cleaner.release();
        });
        take_instance(&name, &runtime).unwrap().release();
        cleaned.join().unwrap();
        let root = LockFile::acquire(&runtime.lock_file()).unwrap();
        let Err(BootError::AlreadyRunning { pid, .. }) = take_instance(&name, &runtime) else { panic!("it runs") };
        assert_eq!(pid, Some(std::process::id()));
        drop(root);
    }

    #[test]
    fn a_directory_that_a_cleaner_removes_meanwhile_is_created_again() {
        let base = tempfile::tempdir().unwrap();
        let name = Name::parse("shop").unwrap();
        let runtime = RuntimeDir::of(base.path(), &name).unwrap();
        let (begun, begins) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let clock = Clock::start();
                while clock.now() < Time::ZERO + Span::from_millis(50) {
                    let _ = fs::remove_dir(runtime.path());
                    let _ = begun.send(());
                }
            });
            begins.recv().unwrap();
            take_instance(&name, &runtime).unwrap().release();
        });
    }
}
