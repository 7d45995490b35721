//! Claims the name of an instance, and cleans up after an earlier run of it, before a root creates anything.

use super::failure::BootError;
use crate::ids::Name;
use crate::instance::runtime::RuntimeDir;
use crate::node::directory::Held;
use crate::node::root::keeper::clear_tree;
use crate::os::claim::{Claim, Claimed, Holder};
use crate::os::clock::{self, Clock};
use crate::os::lock::{self, LockFile};
use crate::os::process;
use crate::time::{Span, Time};
use slog::{Logger, error, warn};
use std::path::PathBuf;

/// How long to wait for the holder of the name if it seems to be ending.
const ENDING: Span = Span::from_millis(300);

/// Creates the runtime directory, and claims the instance in two ways: by an abstract socket, which no cleaner of files
/// can remove, and by the lock file, which tools check. A lock whose holder has exited is still held by the keeper,
/// which is cleaning up and ends soon.
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
        runtime.create().map_err(|e| wrong(e.into()))?;
        match LockFile::acquire(&runtime.lock_file()) {
            Ok(lock) => return Ok(Held::new(lock, claim)),
            Err(lock::LockError::Held { pid }) => {
                let cleaning = pid.is_none_or(|pid| !process::is_alive(pid));
                if !cleaning || patience.now() > Time::ZERO + Span::from_secs(3) {
                    return runs(pid);
                }
                clock::pause(Span::from_millis(10));
            }
            Err(error) => return Err(wrong(error.into())),
        }
    }
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
    let Ok(stale) = runtime.read_instance() else { return };
    warn!(logger, "an earlier run of this instance was killed; cleaning up after it";
        "pid" => stale.pid, "started_at" => &stale.started_at);
    let left = clear_tree(stale.cgroup.as_deref(), &stale.mark, &stale.paths());
    if !left.is_none() {
        error!(logger, "leftovers of an earlier run cannot be killed and run beside this one"; "left" => %left);
    }
    runtime.remove_sockets();
}
