//! The runtime directory of a running instance, with its lock, its sockets and the root's description of the instance.
//!
//! Nodes and tools find it by the same rule:
//!
//! | first of these that applies | the base directory |
//! | --- | --- |
//! | `TREEVISOR_RUNTIME_DIR` is set | that |
//! | `XDG_RUNTIME_DIR` is set | `$XDG_RUNTIME_DIR/treevisor` |
//! | the user is root | `/run/treevisor` |
//! | otherwise | `/tmp/treevisor-UID` |
//!
//! A directory whose path is not UTF-8 cannot be part of an endpoint. It is replaced by `/tmp/treevisor-UID-HASH` (for
//! root `/run/treevisor-0-HASH`), with a hash of the path.
//!
//! Below the base directory each instance has a directory of its own name, which only its user may enter. The instance
//! runs if the lock file in it is locked: the kernel releases the lock when the holder ends, however it ends, so no
//! lock is ever stale.

use crate::files;
use crate::ids::{Name, Path as TreePathName};
use crate::os::held_file::HeldFile;
use crate::os::lock::LockFile;
use crate::os::net::SOCKET_PATH_MAX;
use crate::os::process::own_uid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most bytes of a file that describes an instance: 100,000 paths of some 300 bytes have room.
const INSTANCE_MAX: u64 = 64 << 20;

/// The base directory of root.
const SYSTEM_BASE: &str = "/run/treevisor";

/// The environment variable that names the base directory.
pub const BASE_VARIABLE: &str = "TREEVISOR_RUNTIME_DIR";

/// The base directory, given the environment and the user; see the table in the module's head.
///
/// Values that are empty or not absolute paths are ignored, as the XDG Base Directory Specification demands.
pub fn base(env: impl Fn(&str) -> Option<OsString>, uid: u32) -> PathBuf {
    let directory = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let path = if let Some(path) = directory(BASE_VARIABLE) {
        path
    } else if let Some(path) = directory("XDG_RUNTIME_DIR") {
        path.join("treevisor")
    } else if uid == 0 {
        PathBuf::from(SYSTEM_BASE)
    } else {
        PathBuf::from(format!("/tmp/treevisor-{uid}"))
    };
    if path.to_str().is_some() {
        return path;
    }
    // An endpoint must be text, so that clients in every language can use it.
    let above = if uid == 0 { SYSTEM_BASE } else { "/tmp/treevisor" };
    PathBuf::from(format!("{above}-{uid}-{:016x}", fnv1a(path.as_os_str().as_bytes())))
}

/// The base directory for this process.
pub fn own_base() -> PathBuf {
    base(|name| std::env::var_os(name), own_uid())
}

/// The directory of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDir {
    path: PathBuf,
}

impl RuntimeDir {
    /// The directory of the instance `name` below `base`. Nothing is created.
    ///
    /// # Errors
    /// [`RuntimeError::TooLong`] if a socket in it would have a longer path than the kernel accepts.
    pub fn of(base: &Path, name: &Name) -> Result<RuntimeDir, RuntimeError> {
        let dir = RuntimeDir { path: base.join(name.as_str()) };
        let longest = dir.node_socket(&TreePathName::root());
        let bytes = longest.as_os_str().as_bytes().len();
        if bytes > SOCKET_PATH_MAX {
            return Err(RuntimeError::TooLong { path: longest, bytes });
        }
        Ok(dir)
    }

    /// The directory at `path`, which came from [`RuntimeDir::path`] in another process.
    pub fn at(path: impl Into<PathBuf>) -> RuntimeDir {
        RuntimeDir { path: path.into() }
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket on which the root answers operators.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("control")
    }

    /// The socket on which the node at `path` receives from its children.
    ///
    /// The name is a hash of the path, because a path may be far longer than a socket's name. A collision of 64 bits
    /// among the few thousand nodes of a tree is unlikely; the second node to bind the name would get an error.
    pub fn node_socket(&self, path: &TreePathName) -> PathBuf {
        self.path.join(format!("n-{:016x}", fnv1a(path.as_str().as_bytes())))
    }

    /// The socket to which the worker at `path` sends by sd_notify. It has the name of a node's socket, as the child at
    /// a path is either a worker or a node.
    pub fn notify_socket(&self, path: &TreePathName) -> PathBuf {
        self.node_socket(path)
    }

    /// The file that the root holds a lock on as long as the instance runs.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The file in which the root describes the instance.
    pub fn instance_file(&self) -> PathBuf {
        self.path.join("instance.json")
    }

    /// The file to which a tree in the background writes its log and its workers' output if there is no state
    /// directory; otherwise a link to the file there.
    pub fn output_file(&self) -> PathBuf {
        self.path.join("output.log")
    }

    /// Creates the base directory, with those above it, if missing.
    ///
    /// # Errors
    /// [`RuntimeError::Create`], and [`RuntimeError::NotOurs`] if another user could change its content.
    pub fn create_base(&self) -> Result<(), RuntimeError> {
        create_above(&self.path, SYSTEM_BASE)
    }

    /// Creates the directory, and those above it if missing.
    ///
    /// # Errors
    /// [`RuntimeError::Create`], and [`RuntimeError::NotOurs`] if another user could change its content.
    pub fn create(&self) -> Result<(), RuntimeError> {
        create(&self.path, SYSTEM_BASE)
    }

    /// Checks, before a tool trusts what it has found in this directory, that no other user has put it there. Only
    /// where every user can make a directory is that possible: `/tmp/treevisor-UID` is missing as long as the user has
    /// had no tree. What does not exist is not checked.
    ///
    /// # Errors
    /// [`RuntimeError::NotOurs`].
    pub fn check_found(&self) -> Result<(), RuntimeError> {
        self.path.parent().map_or(Ok(()), |base| check_found(base, own_uid()))?;
        check_found(&self.path, own_uid())
    }

    /// A key that identifies this directory for every process on the machine, by its path and its file system: another
    /// container may have another directory at the same path. The base directory must exist.
    ///
    /// # Errors
    /// The system's.
    pub fn claim_name(&self) -> io::Result<Vec<u8>> {
        let base = self.path.parent().unwrap_or(&self.path).canonicalize()?;
        let device = fs::metadata(&base)?.dev();
        let mut key = base.into_os_string().into_encoded_bytes();
        key.push(0);
        key.extend(self.path.file_name().unwrap_or_default().as_bytes());
        key.extend(device.to_ne_bytes());
        Ok(format!("treevisor/{}/{:016x}", own_uid(), fnv1a(&key)).into_bytes())
    }

    /// Sets a socket's sticky bit, by which programs that clean up `XDG_RUNTIME_DIR` leave it alone.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(&self, socket: &Path) -> io::Result<()> {
        let held = HeldFile::socket(socket, None)?;
        held.set_mode(held.mode() | 0o1000)
    }

    /// Writes the description of the instance. The file is replaced atomically.
    ///
    /// # Errors
    /// The system's, when the file cannot be written.
    pub fn write_instance(&self, instance: &InstanceFile) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(instance).map_err(io::Error::other)?;
        text.push(b'\n');
        replace(&self.instance_file(), &text, 0o1600)
    }

    /// Reads the description of the instance, which may have ended.
    ///
    /// # Errors
    /// The system's, and `InvalidData` when the file is not one that this version wrote.
    pub fn read_instance(&self) -> io::Result<InstanceFile> {
        read_json(&self.instance_file(), INSTANCE_MAX)
    }

    /// Lets the workers of other users connect to `socket` and to no other. They may pass through the directories but
    /// not list them.
    ///
    /// # Errors
    /// The system's, when the permissions cannot be changed.
    pub fn open_to_others(&self, socket: &Path) -> io::Result<()> {
        self.let_others_pass()?;
        HeldFile::socket(socket, None)?.set_mode(0o1666)
    }

    /// Lets one other user connect to `socket`: the file is given to that user. Without the privilege to do so, all
    /// users may connect, as by [`RuntimeDir::open_to_others`].
    ///
    /// # Errors
    /// The system's, when the permissions cannot be changed.
    pub fn open_to(&self, socket: &Path, uid: u32) -> io::Result<()> {
        self.let_others_pass()?;
        let held = HeldFile::socket(socket, None)?;
        held.set_mode(0o1600)?;
        match held.give(Some(uid), None) {
            Ok(()) => Ok(()),
            Err(_) => held.set_mode(0o1666),
        }
    }

    fn let_others_pass(&self) -> io::Result<()> {
        for directory in [self.path.parent(), Some(&*self.path)].into_iter().flatten() {
            let held = HeldFile::directory(directory)?;
            if held.mode() & 0o011 != 0o011 && held.uid() == own_uid() {
                held.set_mode(held.mode() | 0o011)?;
            }
        }
        Ok(())
    }

    /// A directory above the base that keeps other users from the sockets, with its mode. treevisor does not change
    /// such a directory's mode.
    pub fn closed_to_others(&self) -> Option<(PathBuf, u32)> {
        let base = self.path.parent()?.canonicalize().ok()?;
        // The base directory itself is opened by `let_others_pass`.
        base.ancestors().skip(1).find_map(|directory| {
            let mode = fs::metadata(directory).ok()?.mode() & 0o7777;
            // A group's permission may be enough; its members cannot be determined here.
            (mode & 0o011 == 0).then(|| (directory.to_owned(), mode))
        })
    }

    /// Removes all sockets. Errors are ignored.
    pub fn remove_sockets(&self) {
        // If a socket cannot be removed, the next process that binds there reports it.
        let _ = fs::remove_file(self.control_socket());
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(b"n-") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes the files that a killed run with this mark has left. With `survivors` the description stays, so that the
    /// next start, or `panic --force`, finds these. Without the lock nothing is removed: a new run of the instance has
    /// begun, and has removed the files itself.
    pub fn clean_up(&self, mark: &str, survivors: bool) {
        let Ok(lock) = LockFile::acquire_to_clean(&self.lock_file()) else { return };
        let is_of_the_run = match self.read_instance() {
            Ok(file) => file.mark == mark,
            // A root that was killed during its start has not written the file yet.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_of_the_run && survivors {
            self.remove_sockets();
        } else if is_of_the_run {
            self.remove();
        }
        lock.release();
    }

    /// Removes all files of a running instance, the lock file included, and the directory if it is empty then. Only for
    /// the holder of the lock.
    pub fn remove(&self) {
        self.remove_sockets();
        for file in [self.instance_file().with_extension("json.new"), self.instance_file(), self.lock_file()] {
            let _ = fs::remove_file(file);
        }
        if self.output_file().is_symlink() {
            let _ = fs::remove_file(self.output_file());
        }
        // Fails on purpose if the directory still has the output of a tree in the background.
        let _ = fs::remove_dir(&self.path);
    }
}

/// [`RuntimeDir::check_found`] for one directory and the user `uid`. Root, whose own directories are elsewhere, has
/// named that of another user on purpose.
fn check_found(directory: &Path, uid: u32) -> Result<(), RuntimeError> {
    let is_for_all = |above: &Path| fs::metadata(above).is_ok_and(|above| above.mode() & 0o002 != 0);
    if !directory.parent().is_some_and(is_for_all) {
        return Ok(());
    }
    match check(directory, true, uid, |owner| owner == uid || owner == 0 || uid == 0) {
        Err(RuntimeError::Create { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        checked => checked,
    }
}

/// Creates the directory above that of an instance, with those above it, if missing. `system` is the one of root.
fn create_above(path: &Path, system: &str) -> Result<(), RuntimeError> {
    let Some(base) = path.parent() else { return Ok(()) };
    // Every user may list a system-wide base directory; the directories of the instances are closed.
    let mode = if base.starts_with(system) { 0o755 } else { 0o700 };
    let made = DirBuilder::new().recursive(true).mode(mode).create(base);
    made.map_err(|cause| RuntimeError::Create { path: base.to_owned(), cause })?;
    check_owner(base, true)
}

/// Creates the directory of an instance, and those above it, if missing. Only its user may enter it.
pub(super) fn create(path: &Path, system: &str) -> Result<(), RuntimeError> {
    create_above(path, system)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_owner(path, false),
        Err(cause) => Err(RuntimeError::Create { path: path.to_owned(), cause }),
    }
}

/// Replaces a file of JSON atomically.
pub(super) fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("json.new");
    // O_NONBLOCK, so that a fifo in the file's place does not block the open.
    let mut open = OpenOptions::new();
    let open = open.write(true).create(true).truncate(true).mode(mode).custom_flags(libc::O_NONBLOCK);
    open.open(&new)?.write_all(text)?;
    fs::rename(&new, path)
}

/// Reads such a file; `InvalidData` if this version did not write it.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, max: u64) -> io::Result<T> {
    let text = files::read_regular(path, max)?;
    serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Checks that no other user can replace files in `directory`. With `above`, root may own the directory too.
pub(crate) fn check_owner(directory: &Path, above: bool) -> Result<(), RuntimeError> {
    let uid = own_uid();
    check(directory, above, uid, |owner| owner == uid || above && owner == 0)
}

fn check(directory: &Path, above: bool, uid: u32, may_own: impl Fn(u32) -> bool) -> Result<(), RuntimeError> {
    let metadata =
        directory.symlink_metadata().map_err(|cause| RuntimeError::Create { path: directory.to_owned(), cause })?;
    let not_ours = |reason: String| Err(RuntimeError::NotOurs { path: directory.to_owned(), reason });
    if !may_own(metadata.uid()) {
        return not_ours(format!("it belongs to uid {}, not to uid {uid}", metadata.uid()));
    }
    // A symbolic link is allowed above the instance's directory; its target is what is checked.
    let metadata = if above && metadata.is_symlink() {
        fs::metadata(directory).map_err(|cause| RuntimeError::Create { path: directory.to_owned(), cause })?
    } else {
        metadata
    };
    if !metadata.is_dir() {
        return not_ours("it is no directory".into());
    }
    if !may_own(metadata.uid()) {
        return not_ours(format!("it belongs to uid {}, not to uid {uid}", metadata.uid()));
    }
    // In a sticky directory, such as /tmp, no user can rename or remove another's files.
    if metadata.mode() & 0o022 != 0 && !(above && metadata.mode() & 0o1000 != 0) {
        return not_ours(format!("others may write to it (its mode is {:04o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

/// FNV-1a with 64 bits: short, the same in every version and on every machine, which std's hashers do not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The root's description of a running instance, for tools that cannot ask the root because it hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceFile {
    /// Under which it was started.
    pub name: Name,
    /// The root's process id.
    pub pid: u32,
    /// When the root began, in RFC 3339.
    pub started_at: String,
    /// The version of treevisor that runs it.
    pub version: String,
    /// The mark that every process of the tree has in its environment as `TREEVISOR_MARK`.
    pub mark: String,
    /// How processes are contained: "cgroup" or "group".
    pub containment: String,
    /// The tree's own cgroup; the child `X` of the root has `c.X` in it, and so on down.
    #[serde(default, with = "crate::files::exact::option")]
    pub cgroup: Option<PathBuf>,
    /// The process id of the keeper, which cleans up if the root is killed.
    pub keeper_pid: Option<u32>,
    /// The file that the tree came from.
    #[serde(with = "crate::files::exact")]
    pub config: PathBuf,
    /// All paths of the tree.
    pub tree_paths: Vec<TreePath>,
}

impl InstanceFile {
    /// All paths of the tree.
    pub fn paths(&self) -> Vec<TreePathName> {
        self.tree_paths.iter().map(|known| known.path.clone()).collect()
    }

    /// The id of this run of the instance, as in the journal and in the names of its cgroups.
    pub fn run(&self) -> &str {
        self.mark.get(..8).unwrap_or(&self.mark)
    }
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreePath {
    /// From the root, `/a/b`.
    pub path: TreePathName,
    /// Whether the child there is a supervisor; otherwise it is a worker.
    pub supervisor: bool,
    /// The file that a worker's output is written to, for those that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogFile>,
}

/// Where a worker's output is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The file; an absolute path.
    #[serde(with = "crate::files::exact")]
    pub file: PathBuf,
    /// Most rotated files that are kept: `FILE.1`, `FILE.2` ...
    pub keep: u32,
}

/// Why a runtime directory cannot be used.
#[derive(Debug)]
pub enum RuntimeError {
    /// The sockets in it would have paths that are too long for the kernel.
    TooLong {
        /// The longest of them.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
    /// The directory cannot be created.
    Create {
        /// Which was to be made.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
    /// Another user could change the directory's content.
    NotOurs {
        /// Which is there already.
        path: PathBuf,
        /// What is wrong with its owner or its mode.
        reason: String,
    },
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuntimeError::TooLong { path, bytes } => write!(
                f,
                "socket path too long: {} has {bytes} bytes, at most {SOCKET_PATH_MAX} are possible; give the instance \
                 a shorter name, or set {BASE_VARIABLE} to a shorter directory",
                path.display()
            ),
            RuntimeError::Create { path, .. } => {
                write!(f, "cannot make the directory {} ({BASE_VARIABLE} can name another one)", path.display())
            }
            RuntimeError::NotOurs { path, reason } => write!(
                f,
                "cannot trust the directory {}: {reason}; remove it, or set {BASE_VARIABLE} to a directory of your own",
                path.display()
            ),
        }
    }
}

impl std::error::Error for RuntimeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let RuntimeError::Create { cause, .. } = self else { return None };
        Some(cause)
    }
}

#[cfg(test)]
mod tests;
