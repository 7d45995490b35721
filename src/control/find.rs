//! Finds the instances of this user, and the one that a command means.

use super::agent::INSTANCE;
use crate::ids::{IdError, Name};
use crate::instance::runtime::{RuntimeDir, RuntimeError};
use crate::os::lock;
use crate::wire::hosts::SOCKET;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An instance and its directory.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Under which it was started.
    pub name: Name,
    /// Holds its socket, and the file in which the root describes it.
    pub runtime: RuntimeDir,
}

/// The instances that have a directory below `base`, by name, whether they run or have left it behind. A base that does
/// not exist holds none.
fn known(base: &Path) -> io::Result<Vec<Instance>> {
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        // A directory whose name is not a valid instance name was not made by treevisor.
        let Some(name) = entry.file_name().to_str().and_then(|name| Name::parse(name).ok()) else { continue };
        let Ok(runtime) = RuntimeDir::of(base, &name) else { continue };
        found.push(Instance { name, runtime });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether the instance of this directory runs: its lock is held, and its root exists.
///
/// The second half matters in the moment after a root was killed, when the keeper holds the lock to clean up.
pub fn is_running(runtime: &RuntimeDir) -> bool {
    lock::is_held(&runtime.lock_file())
        && runtime.read_instance().map_or(true, |instance| crate::os::process::is_alive(instance.pid))
}

/// Whether this is the tree of a host itself, which runs the agent. When another instance runs too, this one must be
/// named explicitly.
pub fn is_of_host(instance: &Instance) -> bool {
    instance.name.as_str() == INSTANCE && instance.runtime.path().join(SOCKET).symlink_metadata().is_ok()
}

/// Finds the instance to talk to: the wanted one, or else the only one that runs, the tree of a host not counted.
///
/// # Errors
/// Every [`FindError`].
pub fn find(base: &Path, wanted: Option<&str>) -> Result<Instance, FindError> {
    trusted(choose(base, wanted, is_running, is_of_host)?)
}

/// An instance that was found, unless another user can have put it there. Checked last, when it is known to exist.
fn trusted(instance: Instance) -> Result<Instance, FindError> {
    instance.runtime.check_found().map_err(FindError::Runtime)?;
    Ok(instance)
}

/// The instances that run, by name.
///
/// # Errors
/// The base directory cannot be read.
pub fn running(base: &Path) -> io::Result<Vec<Instance>> {
    let mut found = known(base)?;
    found.retain(|instance| is_running(&instance.runtime) && instance.runtime.check_found().is_ok());
    Ok(found)
}

/// Finds the instance to act on without talking to it: a root that has ended, but has left something behind, counts
/// too.
///
/// # Errors
/// Every [`FindError`].
pub fn find_to_force(base: &Path, wanted: Option<&str>) -> Result<Instance, FindError> {
    // If the check fails, for instance for lack of descriptors, the file may exist. If it fails for lack of permission,
    // the instance is another user's.
    let is_there = |runtime: &RuntimeDir| {
        runtime.instance_file().try_exists().unwrap_or_else(|error| error.kind() != io::ErrorKind::PermissionDenied)
    };
    trusted(choose(base, wanted, is_there, |_| false)?)
}

/// Chooses among the instances for which `counts` is true. If none is named, those for which `last` is true are chosen
/// only if there is no other.
fn choose(
    base: &Path,
    wanted: Option<&str>,
    counts: impl Fn(&RuntimeDir) -> bool,
    last: impl Fn(&Instance) -> bool,
) -> Result<Instance, FindError> {
    let look = |cause| FindError::Look { base: base.to_owned(), cause };
    let others = |mut list: Vec<Instance>| {
        list.retain(|instance| counts(&instance.runtime));
        list
    };
    if let Some(wanted) = wanted {
        let name = Name::parse(wanted).map_err(|cause| FindError::BadName { name: wanted.to_owned(), cause })?;
        let runtime = RuntimeDir::of(base, &name).map_err(FindError::Runtime)?;
        if counts(&runtime) {
            return Ok(Instance { name, runtime });
        }
        let running = others(known(base).map_err(look)?).into_iter().map(|instance| instance.name).collect();
        return Err(FindError::NotRunning { name, base: base.to_owned(), running });
    }
    let mut running = others(known(base).map_err(look)?);
    if running.len() > 1 {
        running.retain(|instance| !last(instance));
    }
    match running.len() {
        0 => Err(FindError::NoneRuns { base: base.to_owned() }),
        1 => Ok(running.remove(0)),
        _ => Err(FindError::Several { names: running.into_iter().map(|instance| instance.name).collect() }),
    }
}

/// Why no instance was found.
#[derive(Debug)]
pub enum FindError {
    /// No instance runs.
    NoneRuns {
        /// The base directory that was searched.
        base: PathBuf,
    },
    /// The wanted one does not run.
    NotRunning {
        /// As named by the option or by `TREEVISOR_INSTANCE`.
        name: Name,
        /// The base directory that was searched.
        base: PathBuf,
        /// The instances that run.
        running: Vec<Name>,
    },
    /// Several run and none was named.
    Several {
        /// Of all instances that run.
        names: Vec<Name>,
    },
    /// An instance of this name runs on this machine outside the cluster, and a host of the cluster runs another one.
    Twice {
        /// The instance on this machine.
        instance: Instance,
        /// The host that runs the other instance.
        host: String,
    },
    /// The wanted name is not a valid name.
    BadName {
        /// As it was given.
        name: String,
        /// The rule for names that it breaks.
        cause: IdError,
    },
    /// The directory of the instance cannot be used.
    Runtime(RuntimeError),
    /// The base directory cannot be read.
    Look {
        /// Below it each instance has a directory.
        base: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::NoneRuns { base } => {
                write!(f, "no instance runs (looked in {})", base.display())
            }
            FindError::NotRunning { name, base, running } => {
                write!(f, "no instance \"{name}\" runs (looked in {})", base.display())?;
                if running.is_empty() { Ok(()) } else { write!(f, "; running: {}", list(running)) }
            }
            FindError::Several { names } => write!(f, "several instances run: {}", list(names)),
            FindError::Twice { instance, host } => write!(
                f,
                "\"{}\" runs on this machine by itself ({}), and in the cluster on the host {host}",
                instance.name,
                instance.runtime.path().display()
            ),
            FindError::BadName { name, .. } => write!(f, "\"{}\" is no name of an instance", name.escape_debug()),
            FindError::Runtime(_) => f.write_str("cannot look for the instance"),
            FindError::Look { base, .. } => write!(f, "cannot look for instances in {}", base.display()),
        }
    }
}

impl std::error::Error for FindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FindError::BadName { cause, .. } => Some(cause),
            FindError::Runtime(cause) => Some(cause),
            FindError::Look { cause, .. } => Some(cause),
            FindError::NoneRuns { .. }
            | FindError::NotRunning { .. }
            | FindError::Several { .. }
            | FindError::Twice { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::runtime::InstanceFile;
    use crate::instance::testing::instance;
    use crate::os::lock::LockFile;
    use std::os::unix::fs::PermissionsExt;

    fn start(base: &Path, name: &str) -> LockFile {
        let runtime = RuntimeDir::of(base, &Name::parse(name).unwrap()).unwrap();
        runtime.create().unwrap();
        LockFile::acquire(&runtime.lock_file()).unwrap()
    }

    fn set_mode(directory: &Path, mode: u32) {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn found(base: &Path, wanted: Option<&str>) -> String {
        match find(base, wanted) {
            Ok(instance) => instance.name.to_string(),
            Err(FindError::NoneRuns { .. }) => "none".into(),
            Err(FindError::NotRunning { running, .. }) => format!("not running; {}", list(&running)),
            Err(FindError::Several { names }) => format!("several: {}", list(&names)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_only_one_that_runs_is_meant() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        assert_eq!(found(&base.join("missing"), None), "none");
        assert_eq!(found(base, None), "none");
        let shop = start(base, "shop");
        assert_eq!(found(base, None), "shop");
        let farm = start(base, "farm");
        assert_eq!(found(base, None), "several: farm, shop");
        assert_eq!(found(base, Some("farm")), "farm");
        assert_eq!(found(base, Some("mill")), "not running; farm, shop");
        assert_eq!(found(base, Some("a/b")), "\"a/b\" is no name of an instance");
        // A lock that no process holds is a leftover.
        drop(farm);
        assert_eq!(found(base, None), "shop");
        drop(shop);
        assert_eq!(found(base, None), "none");
    }

    #[test]
    fn an_instance_that_another_user_may_have_put_there_is_not_trusted() {
        let open = tempfile::tempdir().unwrap();
        let base = open.path().join("treevisor-7");
        let _shop = start(&base, "shop");
        let runtime = RuntimeDir::of(&base, &Name::parse("shop").unwrap()).unwrap();
        fs::write(runtime.instance_file(), "").unwrap();
        set_mode(&base, 0o777);
        assert_eq!(found(&base, None), "shop", "no other user can have made this base, or can enter it");
        // As /tmp is.
        set_mode(open.path(), 0o1777);
        for wanted in [None, Some("shop")] {
            assert_eq!(found(&base, wanted), "cannot look for the instance");
            assert!(matches!(find_to_force(&base, wanted), Err(FindError::Runtime(RuntimeError::NotOurs { .. }))));
        }
        assert!(running(&base).unwrap().is_empty());
        set_mode(&base, 0o755);
        assert_eq!(found(&base, None), "shop");
        // The base itself may be such a directory.
        set_mode(&base, 0o1777);
        assert_eq!(found(&base, None), "shop");
        set_mode(runtime.path(), 0o777);
        assert_eq!(found(&base, None), "cannot look for the instance");
    }

    #[test]
    fn an_instance_whose_root_is_dead_is_found_only_to_be_forced() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let lock = start(base, "shop");
        let runtime = RuntimeDir::of(base, &Name::parse("shop").unwrap()).unwrap();
        let mut instance = InstanceFile { pid: std::process::id(), ..instance("shop") };
        runtime.write_instance(&instance).unwrap();
        assert_eq!(found(base, None), "shop");
        // The kernel gives no such number to a process.
        instance.pid = u32::MAX / 2;
        runtime.write_instance(&instance).unwrap();
        assert_eq!(found(base, None), "none");
        assert_eq!(find_to_force(base, None).unwrap().name.as_str(), "shop");
        drop(lock);
        assert_eq!(find_to_force(base, None).unwrap().name.as_str(), "shop");
    }
}
