//! Killing a subtree without asking any process: for when the root, or a node on the way, hangs or is stopped.
//!
//! The processes of a path are found from outside in two ways: by the path's cgroup, if the tree has cgroups, and by
//! the mark and the path that every process of the tree has in its environment. The nodes above treat the killed
//! processes as crashed as soon as they run again.

use super::{InstanceFile, RuntimeDir};
use crate::files::FileId;
use crate::ids::{Mark, Path};
use crate::os::cgroup::{self, Group};
use crate::os::clock::{self, Clock};
use crate::os::descendants::Scope;
use crate::os::pidfd::{self, ProcessHandle};
use crate::os::sweep::{self, Survivor, Survivors};
use crate::os::{process, stuck};
use crate::time::{Span, Time};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// How long to wait for processes to end after SIGKILL before they are reported as stuck.
const PATIENCE: Span = Span::from_secs(5);

/// How long to wait for the end of a process whose open files the kernel does not show, because it may be exiting.
const ENDING: Span = Span::from_secs(1);

const SIGKILL: i32 = 9;

/// Kills all that belongs to `path`, and returns when nothing of it is left. For the root's path that is the whole
/// instance, root and keeper included, and its sockets, cgroups and files go too.
///
/// # Errors
/// Every [`ForceError`].
pub fn panic(runtime: &RuntimeDir, path: &Path) -> Result<(), ForceError> {
    let instance =
        runtime.read_instance().map_err(|cause| ForceError::Instance { path: runtime.instance_file(), cause })?;
    if !instance.tree_paths.iter().any(|known| known.path == *path) {
        return Err(ForceError::NoSuchPath(path.clone()));
    }
    if path.is_root() {
        // Root and keeper are killed first. The root would start its children and its keeper again, and the keeper
        // would remove the files that are needed here.
        for pid in [Some(instance.pid), instance.keeper_pid].into_iter().flatten() {
            kill_if_ours(runtime, pid)?;
        }
    }
    let groups = groups_of(&instance, path);
    let mark =
        Mark::parse(&instance.mark).map_err(|cause| ForceError::Kill { path: path.clone(), cause: cause.into() })?;
    let mut paths = instance.paths();
    paths.retain(|known| known.is_within(path));
    let scope = Scope { root_pid: None, mark: &mark, within: path, paths: &paths, spare: &[std::process::id()] };
    let left = sweep::kill_all(&groups, &scope, PATIENCE);
    if !left.is_none() {
        // The files are kept, so that another attempt finds the instance.
        return Err(ForceError::Stuck { path: path.clone(), left });
    }
    if path.is_root() {
        groups.iter().filter_map(|group| Group::open(group).ok()).for_each(|group| group.remove_all());
        // A service manager may have started the instance again meanwhile.
        runtime.clean_up(&instance.mark, false);
    }
    Ok(())
}

/// The directories of the path's cgroups, where the tree has cgroups. A worker may have two processes, and after a
/// roll-out its only one may be the second.
fn groups_of(instance: &InstanceFile, path: &Path) -> Vec<PathBuf> {
    match &instance.cgroup {
        Some(base) if path.is_root() => vec![base.clone()],
        Some(base) => cgroup::paths_below(base, path.parts()).into(),
        None => Vec::new(),
    }
}

/// Kills the process `pid` if it is the instance's root or keeper. The id alone is no proof, as the kernel may have
/// given it to another process by now.
fn kill_if_ours(runtime: &RuntimeDir, pid: u32) -> Result<(), ForceError> {
    let failed = |cause| ForceError::Kill { path: Path::root(), cause };
    // The pidfd is opened before the process is examined, so that both concern the same process.
    let process = match ProcessHandle::of(pid) {
        Ok(process) => process,
        Err(error) if pidfd::is_gone(&error) => return Ok(()),
        Err(error) => return Err(failed(format!("cannot look at process {pid}: {error}").into())),
    };
    let ours = is_keeper(runtime, pid).and_then(|keeper| Ok(keeper || holds_lock(runtime, pid)?));
    match ours {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        // The open files of an exiting process are gone, and the kernel lets only root see that.
        Err(_) if ends_within(&process, ENDING) => return Ok(()),
        Err(error) => return Err(failed(format!("cannot tell whether process {pid} is of this tree: {error}").into())),
    }
    let refused = match process.signal(SIGKILL) {
        Ok(()) => None,
        Err(error) if pidfd::is_gone(&error) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Err(failed(error.into())),
        Err(error) => error.raw_os_error(),
    };
    if !ends_within(&process, PATIENCE) {
        let survivor = Survivor { pid, path: Some(Path::root()), why: stuck::why_alive(pid, refused) };
        let left = Survivors { processes: vec![survivor], ..Survivors::default() };
        return Err(ForceError::Stuck { path: Path::root(), left });
    }
    Ok(())
}

/// Waits up to `limit` for the end of a process, and returns whether it has ended.
fn ends_within(process: &ProcessHandle, limit: Span) -> bool {
    let clock = Clock::start();
    while !matches!(process.has_ended(), Ok(true)) {
        if clock.now() >= Time::ZERO + limit {
            return false;
        }
        clock::pause(Span::from_millis(1));
    }
    true
}

/// Whether an error in examining a process or its open files means that it has ended meanwhile.
fn went(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// Whether the process has the instance's lock open, as its root has.
///
/// # Errors
/// The files in `/proc` cannot be read.
fn holds_lock(runtime: &RuntimeDir, pid: u32) -> io::Result<bool> {
    let lock = match fs::metadata(runtime.lock_file()) {
        Ok(lock) => lock,
        Err(error) if went(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let open = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(open) => open,
        Err(error) if went(&error) => return Ok(false),
        // A process of another user is not our root: the kernel has given the root's process id to it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return if process::effective_uid(pid).is_some_and(|uid| uid != lock.uid()) {
                Ok(false)
            } else {
                Err(error)
            };
        }
        Err(error) => return Err(error),
    };
    for entry in open {
        let file = match entry.and_then(|entry| fs::metadata(entry.path())) {
            Ok(file) => file,
            Err(error) if went(&error) => continue,
            Err(error) => return Err(error),
        };
        if FileId::of(&file) == FileId::of(&lock) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the process was started as the keeper of this instance: `treevisor keeper DIRECTORY`.
///
/// # Errors
/// The files in `/proc` cannot be read.
fn is_keeper(runtime: &RuntimeDir, pid: u32) -> io::Result<bool> {
    let line = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line,
        Err(error) if went(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut words = line.split(|byte| *byte == 0).skip(1);
    Ok(words.next() == Some(b"keeper") && words.next() == Some(runtime.path().as_os_str().as_bytes()))
}

/// Why a subtree could not be killed from outside.
#[derive(Debug)]
pub enum ForceError {
    /// The file in which the root describes the instance cannot be read.
    Instance {
        /// `instance.json` in the runtime directory.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
    /// The tree has no such path.
    NoSuchPath(Path),
    /// The kernel has refused to kill a process.
    Kill {
        /// The subtree that was to be killed.
        path: Path,
        /// The error of the system call, or the reason in words.
        cause: Box<dyn std::error::Error>,
    },
    /// Processes have survived SIGKILL.
    Stuck {
        /// The subtree that was to be killed.
        path: Path,
        /// The processes that are left.
        left: Survivors,
    },
}

impl fmt::Display for ForceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForceError::Instance { path, .. } => {
                write!(f, "cannot read what the root wrote down in {}", path.display())
            }
            ForceError::NoSuchPath(path) => write!(f, "there is no {path} in the tree"),
            ForceError::Kill { path, .. } => write!(f, "cannot kill {path} from outside"),
            ForceError::Stuck { path, left } => {
                write!(f, "SIGKILL has not ended all of {path} within {PATIENCE}: {left}")
            }
        }
    }
}

impl std::error::Error for ForceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ForceError::Instance { cause, .. } => Some(cause),
            ForceError::Kill { cause, .. } => Some(cause.as_ref()),
            ForceError::NoSuchPath(_) | ForceError::Stuck { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;
    use crate::instance::runtime::TreePath;
    use crate::os::lock::LockFile;
    use crate::os::random;
    use std::io::Read;

    fn instance(cgroup: Option<&str>) -> InstanceFile {
        InstanceFile {
            name: Name::parse("shop").unwrap(),
            pid: 1,
            started_at: String::new(),
            version: String::new(),
            mark: String::new(),
            containment: String::new(),
            cgroup: cgroup.map(PathBuf::from),
            keeper_pid: None,
            config: PathBuf::new(),
            tree_paths: vec![TreePath { path: Path::root(), supervisor: true, log: None }],
        }
    }

    #[test]
    fn each_path_has_its_cgroups() {
        let path = Path::parse("/web/api").unwrap();
        let both = ["/cg/t/c.web/below/c.api", "/cg/t/c.web/below/c.api+"].map(PathBuf::from);
        assert_eq!(groups_of(&instance(Some("/cg/t")), &path), both);
        assert_eq!(groups_of(&instance(Some("/cg/t")), &Path::root()), [PathBuf::from("/cg/t")]);
        assert!(groups_of(&instance(None), &path).is_empty());
    }

    #[test]
    fn a_path_that_is_not_there_is_said_so() {
        let base = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
        runtime.create().unwrap();
        let path = Path::parse("/web").unwrap();
        assert!(matches!(panic(&runtime, &path), Err(ForceError::Instance { .. })));
        runtime.write_instance(&instance(None)).unwrap();
        assert!(matches!(panic(&runtime, &path), Err(ForceError::NoSuchPath(_))));
    }

    #[test]
    fn the_files_of_a_run_that_has_begun_meanwhile_are_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let old = InstanceFile {
            pid: ended.id(),
            keeper_pid: Some(ended.id()),
            mark: random::mark().unwrap().to_string(),
            ..instance(None)
        };
        runtime.create().unwrap();
        runtime.write_instance(&old).unwrap();
        fs::write(runtime.control_socket(), "").unwrap();
        let lock = LockFile::acquire(&runtime.lock_file()).unwrap();
        panic(&runtime, &Path::root()).unwrap();
        assert!(lock.is_at(&runtime.lock_file()) && runtime.control_socket().exists());
        assert_eq!(runtime.read_instance().unwrap(), old);
        lock.release();
        runtime.clean_up("another", false);
        assert!(runtime.control_socket().exists(), "the files are of another run");
        panic(&runtime, &Path::root()).unwrap();
        assert!(!runtime.path().exists());
    }

    #[test]
    fn the_keeper_is_known_by_its_command_line() {
        let base = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
        let other = RuntimeDir::of(base.path(), &Name::parse("mill").unwrap()).unwrap();
        assert!(!is_keeper(&runtime, std::process::id()).unwrap());
        // `sh keeper DIR` has the very words that a keeper has. It waits on its stdin, and so ends with this test.
        std::fs::write(base.path().join("keeper"), "echo up; read -r line").unwrap();
        let mut keeper = std::process::Command::new("/bin/sh")
            .arg("keeper")
            .arg(runtime.path())
            .current_dir(base.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The command line can be read only some time after the exec.
        keeper.stdout.take().unwrap().read_exact(&mut [0; 2]).unwrap();
        assert!(is_keeper(&runtime, keeper.id()).unwrap());
        assert!(!is_keeper(&other, keeper.id()).unwrap());
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    #[test]
    fn what_is_left_is_named() {
        let path = Path::parse("/web").unwrap();
        let survivor = Survivor { pid: 7, path: Path::parse("/web/api").ok(), why: "it is stuck in the kernel".into() };
        let left = Survivors { processes: vec![survivor], ..Survivors::default() };
        let text = ForceError::Stuck { path, left }.to_string();
        assert!(text.starts_with("SIGKILL has not ended all of /web within 5"), "{text}");
        assert!(text.ends_with(": process 7 of /web/api: it is stuck in the kernel"), "{text}");
    }

    #[test]
    fn a_process_that_is_not_ours_is_left_alone_and_one_that_is_gone_is_no_error() {
        let base = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
        runtime.create().unwrap();
        let mut other = std::process::Command::new("/bin/sh")
            .args(["-c", "read -r line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        kill_if_ours(&runtime, other.id()).unwrap();
        assert!(other.try_wait().unwrap().is_none());
        drop(other.stdin.take());
        other.wait().unwrap();
        kill_if_ours(&runtime, other.id()).unwrap();
        for errno in [libc::EMFILE, libc::EACCES, libc::EPERM, libc::ENOMEM, libc::EIO] {
            assert!(!went(&io::Error::from_raw_os_error(errno)), "{errno}");
        }
    }

    #[test]
    fn a_process_is_ours_only_if_it_has_the_lock_open() {
        let base = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
        runtime.create().unwrap();
        assert!(!holds_lock(&runtime, std::process::id()).unwrap());
        let file = fs::File::create(runtime.lock_file()).unwrap();
        assert!(holds_lock(&runtime, std::process::id()).unwrap());
        drop(file);
        assert!(!holds_lock(&runtime, std::process::id()).unwrap());
    }
}
