//! The state directory of an instance, which outlives it and has its journal.
//!
//! | first of these that applies | the base directory |
//! | --- | --- |
//! | `TREEVISOR_STATE_DIR` is set | that |
//! | the user is root | `/var/lib/treevisor` |
//! | `XDG_STATE_HOME` is set | `$XDG_STATE_HOME/treevisor` |
//! | `HOME` is set | `$HOME/.local/state/treevisor` |
//! | otherwise | there is none, and nothing is kept |
//!
//! Below the base directory each instance has a directory of its own name. The journal in it is a series of files with
//! rising numbers, of which the last one is written to. Files are never renamed, so a tool that reads one after the
//! other meanwhile misses none and reads none twice.

use super::runtime::{self, RuntimeError, TreePath};
use crate::files;
use crate::ids::Name;
use crate::os::process::own_uid;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The most bytes of the file that names workers and their logs.
const OUTPUTS_MAX: u64 = 64 << 20;

/// The base directory of root.
const SYSTEM_BASE: &str = "/var/lib/treevisor";

/// The environment variable that names the base directory.
pub const STATE_VARIABLE: &str = "TREEVISOR_STATE_DIR";

/// The base directory, given the environment and the user; see the table in the module's head.
///
/// Values that are empty or not absolute paths are ignored, as the XDG Base Directory Specification demands.
pub fn base(env: impl Fn(&str) -> Option<OsString>, uid: u32) -> Option<PathBuf> {
    let directory = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(path) = directory(STATE_VARIABLE) {
        return Some(path);
    }
    if uid == 0 {
        return Some(SYSTEM_BASE.into());
    }
    let home = || directory("HOME").map(|home| home.join(".local/state"));
    Some(directory("XDG_STATE_HOME").or_else(home)?.join("treevisor"))
}

/// The base directory for this process; `None` if no rule of the table applies.
pub fn own_base() -> Option<PathBuf> {
    base(|name| std::env::var_os(name), own_uid())
}

/// The directory of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

/// One file of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number; a later file has a higher one.
    pub number: u64,
    /// Absolute, in the state directory.
    pub path: PathBuf,
}

impl StateDir {
    /// The directory of the instance `name` below `base`. Nothing is created.
    pub fn of(base: &Path, name: &Name) -> StateDir {
        StateDir { path: base.join(name.as_str()) }
    }

    /// The directory of the instance `name` for this process; `None` if there is no base directory.
    pub fn own(name: &Name) -> Option<StateDir> {
        Some(StateDir::of(&own_base()?, name))
    }

    /// The directory at `path`, which came from [`StateDir::path`] in another process.
    pub fn at(path: impl Into<PathBuf>) -> StateDir {
        StateDir { path: path.into() }
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the directory, and those above it if missing. Only its user may enter it, because the journal contains
    /// output of workers.
    ///
    /// # Errors
    /// The system's, and `PermissionDenied` if another user could change its content.
    pub fn create(&self) -> io::Result<()> {
        runtime::create(&self.path, SYSTEM_BASE).map_err(denied)
    }

    /// The file to which a tree in the background writes its log and its workers' output, unless configured otherwise.
    pub fn output_file(&self) -> PathBuf {
        self.path.join("output.log")
    }

    /// The file that a root locks while it runs, as the only one that writes here.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.path.join("journal.lock")
    }

    /// The file that names the workers and where their output is written to.
    fn outputs_file(&self) -> PathBuf {
        self.path.join("outputs.json")
    }

    /// Writes the list of workers with the files of their output, for tools that read the output when the instance does
    /// not run. If no worker has such a file, the list is removed.
    ///
    /// # Errors
    /// The system's, when the file cannot be written.
    pub fn write_outputs(&self, tree: &[TreePath]) -> io::Result<()> {
        if tree.iter().all(|known| known.log.is_none()) {
            return files::remove(&self.outputs_file());
        }
        runtime::replace(&self.outputs_file(), &serde_json::to_vec(tree).map_err(io::Error::other)?, 0o600)
    }

    /// Reads the list that was last written by [`StateDir::write_outputs`].
    ///
    /// # Errors
    /// The system's, and `InvalidData` when the file is not one that this version wrote.
    pub fn read_outputs(&self) -> io::Result<Vec<TreePath>> {
        runtime::read_json(&self.outputs_file(), OUTPUTS_MAX)
    }

    /// The file of the journal with this number.
    pub fn segment(&self, number: u64) -> Segment {
        Segment { number, path: self.path.join(format!("journal-{number:08}.jsonl")) }
    }

    /// The files of the journal, the oldest first; none if the directory does not exist.
    ///
    /// # Errors
    /// The system's, when the directory cannot be read.
    pub fn segments(&self) -> io::Result<Vec<Segment>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".jsonl"));
            // A number so large that counting on could overflow was not made by treevisor.
            let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| *number < u64::MAX / 2);
            if let Some(number) = number {
                found.push(Segment { number, path: self.path.join(name) });
            }
        }
        found.sort_by_key(|segment| segment.number);
        Ok(found)
    }
}

fn denied(error: RuntimeError) -> io::Error {
    match error {
        RuntimeError::NotOurs { reason, .. } => io::Error::new(io::ErrorKind::PermissionDenied, reason),
        RuntimeError::Create { cause, .. } => cause,
        RuntimeError::TooLong { .. } => io::ErrorKind::InvalidFilename.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn base_with(variables: &[(&str, &str)], uid: u32) -> Option<String> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        base(find, uid).map(|path| path.display().to_string())
    }

    #[test]
    fn the_base_follows_the_rule() {
        let (xdg, home) = (("XDG_STATE_HOME", "/x"), ("HOME", "/h"));
        assert_eq!(base_with(&[(STATE_VARIABLE, "/s"), xdg], 0).as_deref(), Some("/s"));
        assert_eq!(base_with(&[xdg, home], 0).as_deref(), Some("/var/lib/treevisor"));
        assert_eq!(base_with(&[xdg, home], 7).as_deref(), Some("/x/treevisor"));
        assert_eq!(
            base_with(&[home, ("XDG_STATE_HOME", "x"), (STATE_VARIABLE, "")], 7).as_deref(),
            Some("/h/.local/state/treevisor")
        );
        assert_eq!(base_with(&[], 7), None);
    }

    #[test]
    fn files_come_in_the_order_of_their_numbers() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::of(base.path(), &Name::parse("shop").unwrap());
        assert_eq!(state.segments().unwrap(), []);
        state.create().unwrap();
        for number in [100_000_000, 2, 99_999_999] {
            fs::write(state.segment(number).path, "").unwrap();
        }
        for other in ["journal-.jsonl", "journal-x.jsonl", "notes.txt"] {
            fs::write(state.path().join(other), "").unwrap();
        }
        let numbers: Vec<u64> = state.segments().unwrap().iter().map(|segment| segment.number).collect();
        assert_eq!(numbers, [2, 99_999_999, 100_000_000]);
        state.create().unwrap();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(state.create().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
