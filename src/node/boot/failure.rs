//! Why a node could not start, as text for people.

use crate::ids::{Name, Path};
use crate::instance::runtime::BASE_VARIABLE;
use crate::link::LinkError;
use crate::node::reach::Closed;
use crate::os::cgroup::control::UnappliedLimit;
use crate::os::listener::ListenError;
use std::fmt;
use std::path::PathBuf;

/// Why a node could not start.
#[derive(Debug)]
pub(super) enum BootError {
    AlreadyRunning { instance: Name, pid: Option<u32> },
    Runtime { path: PathBuf, cause: Box<dyn std::error::Error> },
    Containment { reason: String },
    Closed(Closed),
    Limit { limit: UnappliedLimit },
    Link(LinkError),
    Listen { path: Path, error: ListenError },
    Prepare { what: &'static str, cause: Box<dyn std::error::Error> },
}

impl BootError {
    /// The exit status of a root that could not start: 2 if a limit of its file cannot be set, else 1.
    pub(super) fn code(&self) -> i32 {
        if matches!(self, BootError::Limit { .. }) { 2 } else { 1 }
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::AlreadyRunning { instance, pid } => {
                write!(f, "the instance \"{instance}\" runs already")?;
                if let Some(pid) = pid {
                    write!(f, ", as process {pid}")?;
                }
                write!(f, "; stop it with `treevisor stop -i {instance}`, or give this tree another name")
            }
            BootError::Runtime { path, .. } => write!(
                f,
                "cannot prepare the runtime directory {} (set {BASE_VARIABLE} to a directory of your own)",
                path.display()
            ),
            BootError::Closed(closed) => closed.fmt(f),
            BootError::Containment { reason } => write!(
                f,
                "containment = \"cgroup\" is asked for, but no cgroup v2 can be used here: {reason}; \
                 give the tree a writable cgroup, or choose \"auto\""
            ),
            BootError::Listen { path, .. } => write!(f, "cannot open the sockets of {path}"),
            BootError::Limit { limit: UnappliedLimit { key, why, .. } } => {
                write!(f, "cannot set `{key}`: {why}; with best-effort the tree starts without it")
            }
            BootError::Link(_) => f.write_str("cannot open the tree's sockets"),
            BootError::Prepare { what, .. } => write!(f, "cannot {what}"),
        }
    }
}

impl std::error::Error for BootError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BootError::AlreadyRunning { .. }
            | BootError::Containment { .. }
            | BootError::Closed(_)
            | BootError::Limit { .. } => None,
            BootError::Link(cause) => Some(cause),
            BootError::Listen { error, .. } => Some(error),
            BootError::Runtime { cause, .. } | BootError::Prepare { cause, .. } => Some(cause.as_ref()),
        }
    }
}

/// Turns any error into a [`BootError::Prepare`] that names what was being done.
pub(super) fn while_trying<E: Into<Box<dyn std::error::Error>>>(what: &'static str) -> impl FnOnce(E) -> BootError {
    move |cause| BootError::Prepare { what, cause: cause.into() }
}
