//! The file of keys and sessions, in the instance's state directory, readable by its user alone. The console and the
//! tool that makes links both change it, under a lock.

use super::keys::{Access, Keys, Secret};
use crate::control::StateDir;
use crate::files;
use crate::os::clock::{self, Clock};
use crate::os::lock::{LockError, LockFile};
use crate::os::random;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of the file, which has some 500 entries of 130 bytes at most.
const MAX: u64 = 1 << 20;

/// How long to wait for the lock. A change takes a millisecond, so a lock that is held this long is not expected to be
/// released.
const PATIENCE: Span = Span::from_secs(5);

/// The files of one console.
#[derive(Debug, Clone)]
pub(super) struct Store {
    state: StateDir,
}

/// Identifies one content and mode of a file: inode, mode, modification time and change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64, u32, [i64; 4]);

/// How a running console can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) pid: u32,
    /// Its URL for browsers.
    pub(super) url: String,
    /// It serves metrics alone.
    #[serde(default)]
    pub(super) no_pages: bool,
}

impl Store {
    /// The files in this directory.
    pub(super) fn of(state: StateDir) -> Store {
        Store { state }
    }

    fn file(&self) -> PathBuf {
        self.state.path().join("web-keys.json")
    }

    fn running_file(&self) -> PathBuf {
        self.state.path().join("web.json")
    }

    /// The stamp of the file's present content and mode.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let file = fs::symlink_metadata(self.file()).ok()?;
        let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        // Two changes in one tick of the kernel's clock may have the same time.
        Some(Stamp(file.ino(), file.mode(), times))
    }

    /// Reads keys and sessions; `None` if there is no file yet.
    ///
    /// # Errors
    /// The system's; `PermissionDenied` if other users may read the file, `InvalidInput` if it is not a regular file,
    /// such as a symbolic link, and `InvalidData` if its content is malformed.
    pub(super) fn read(&self) -> io::Result<Option<Keys>> {
        let path = self.file();
        let new_keys = "make new keys by `treevisor web --new-keys`, which puts a file in its place";
        let told = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}; {new_keys}", path.display());
        // Mode and content are taken from one open file, as another file may be put in its place meanwhile.
        let (file, metadata) = match files::open_itself(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io::Error::new(error.kind(), told(&error))),
            Ok(opened) => opened,
        };
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            let text = format!(
                "{0} may be read by others (its mode is {mode:04o}); `chmod 600 {0}`, or {new_keys}",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let keys = files::read_open(file, MAX).and_then(|text| Ok(serde_json::from_slice(&text)?));
        keys.map(Some).map_err(|error| io::Error::new(error.kind(), told(&error)))
    }

    /// Changes keys and sessions. If there are none yet, new keys are made first, which are given to no client. If
    /// nothing is changed, the file is not written.
    ///
    /// # Errors
    /// As [`Store::read`]; `TimedOut` if another process holds the lock too long.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Keys) -> T) -> io::Result<(T, Keys)> {
        self.state.create()?;
        let _lock = self.lock()?;
        let before = self.read()?;
        let mut keys = match &before {
            Some(keys) => keys.clone(),
            None => Keys::new(&secret()?, &secret()?),
        };
        let done = change(&mut keys);
        if before.as_ref() != Some(&keys) {
            write(&self.file(), &keys)?;
        }
        Ok((done, keys))
    }

    /// Replaces all keys and sessions, whatever the file contains, and returns the new keys for viewing and for acting.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn renew(&self) -> io::Result<(Secret, Secret)> {
        self.state.create()?;
        let _lock = self.lock()?;
        let (view, act) = (secret()?, secret()?);
        write(&self.file(), &Keys::new(&view, &act))?;
        Ok((view, act))
    }

    /// Makes a key for a link, valid for one login within ten minutes.
    ///
    /// # Errors
    /// As [`Store::change`].
    pub(super) fn login_key(&self, may: Access) -> io::Result<(Secret, Keys)> {
        let key = secret()?;
        let ((), keys) = self.change(|keys| keys.add_login(&key, may, now_ms()))?;
        Ok((key, keys))
    }

    /// Records how this console can be reached.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn write_running(&self, url: &str, no_pages: bool) -> io::Result<()> {
        self.state.create()?;
        write(&self.running_file(), &Running { pid: std::process::id(), url: url.to_owned(), no_pages })
    }

    /// Reads the record of the last console, which may have ended since; `None` if there is none.
    ///
    /// # Errors
    /// The system's, and `InvalidData`.
    pub(super) fn read_running(&self) -> io::Result<Option<Running>> {
        match files::read_regular(&self.running_file(), MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => serde_json::from_slice(&text?)
                .map(Some)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    /// Removes the record of [`Store::write_running`] if it is this process's.
    pub(super) fn remove_running(&self) {
        if matches!(self.read_running(), Ok(Some(running)) if running.pid == std::process::id()) {
            let _ = fs::remove_file(self.running_file());
        }
    }

    fn lock(&self) -> io::Result<LockFile> {
        let path = self.state.path().join("web-keys.lock");
        let clock = Clock::start();
        loop {
            match LockFile::acquire(&path) {
                Ok(lock) => return Ok(lock),
                Err(LockError::Held { .. }) if clock.now() < Time::ZERO + PATIENCE => {
                    clock::pause(Span::from_millis(2))
                }
                Err(LockError::Held { .. }) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} is locked", path.display())));
                }
                Err(LockError::File { cause, .. }) => return Err(cause),
            }
        }
    }
}

/// Replaces a file atomically.
fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut text = serde_json::to_vec(value).map_err(io::Error::other)?;
    text.push(b'\n');
    // A file that an earlier process has left there may have another mode.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    fs::rename(&new, path)
}

/// A new secret.
///
/// # Errors
/// The kernel returns no random numbers.
pub(super) fn secret() -> io::Result<Secret> {
    let mut bytes = [0; 32];
    random::fill(&mut bytes)?;
    Ok(Secret::of(bytes))
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    clock::wall_nanos(clock::wall()) / 1_000_000
}

#[cfg(test)]
impl Store {
    /// A store in a directory of its own.
    pub(super) fn in_test() -> (tempfile::TempDir, Store) {
        let base = tempfile::tempdir().unwrap();
        let store = Store::of(StateDir::of(base.path(), &crate::ids::Name::parse("shop").unwrap()));
        (base, store)
    }

    /// Changes the mode of the file of keys.
    pub(super) fn set_mode(&self, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.file(), fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_a_file_that_its_user_alone_may_read() {
        let (_base, store) = Store::in_test();
        assert!(store.read().unwrap().is_none());
        let (key, keys) = store.login_key(Access::Act).unwrap();
        assert_eq!(fs::metadata(store.file()).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(store.read().unwrap(), Some(keys));
        let before = store.stamp();
        let (may, _) = store.change(|keys| keys.login(&key, now_ms())).unwrap();
        assert_eq!(may, Some(Access::Act));
        assert_ne!(store.stamp(), before);
        let before = store.stamp();
        let (again, _) = store.change(|keys| keys.login(&key, now_ms())).unwrap();
        assert_eq!((again, store.stamp()), (None, before), "a wrong key changes nothing");
        let before = store.stamp();
        store.set_mode(0o640);
        assert_ne!(store.stamp(), before);
        assert_eq!(store.read().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(store.login_key(Access::View).is_err());
        // New keys repair the file.
        let (view, act) = store.renew().unwrap();
        let keys = store.read().unwrap().unwrap();
        assert_eq!((keys.bearer(&view), keys.bearer(&act)), (Some(Access::View), Some(Access::Act)));
    }

    #[test]
    fn a_link_is_not_followed_and_what_helps_is_told() {
        let (base, store) = Store::in_test();
        store.login_key(Access::Act).unwrap();
        let elsewhere = base.path().join("elsewhere");
        fs::rename(store.file(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, store.file()).unwrap();
        let error = store.read().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        for part in ["web-keys.json: it is a symbolic link", "`treevisor web --new-keys`"] {
            assert!(text.contains(part), "{text}");
        }
        store.renew().unwrap();
        assert!(store.read().is_ok() && fs::symlink_metadata(store.file()).unwrap().is_file());
        assert!(!fs::read_to_string(elsewhere).unwrap().is_empty());
        fs::write(store.file(), "{").unwrap();
        let text = store.read().unwrap_err().to_string();
        assert!(text.contains("EOF while parsing") && text.contains("--new-keys"), "{text}");
        fs::remove_file(store.file()).unwrap();
        fs::create_dir(store.file()).unwrap();
        assert!(store.read().unwrap_err().to_string().contains("Is a directory"));
    }

    #[test]
    fn new_keys_end_all_sessions() {
        let (_base, store) = Store::in_test();
        let token = secret().unwrap();
        store.change(|keys| keys.open_session(&token, &token, Access::Act, now_ms())).unwrap();
        assert_eq!(store.read().unwrap().unwrap().session(&token, now_ms()), Some(Access::Act));
        store.renew().unwrap();
        assert_eq!(store.read().unwrap().unwrap().session(&token, now_ms()), None);
    }

    #[test]
    fn links_are_made_by_several_processes_at_once() {
        let (_base, store) = Store::in_test();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| drop(store.login_key(Access::View).unwrap())));
            }
        });
        let json = fs::read_to_string(store.file()).unwrap();
        assert_eq!(json.matches("until_ms").count(), 40);
    }

    #[test]
    fn a_console_that_runs_is_written_down() {
        let (_base, store) = Store::in_test();
        assert_eq!(store.read_running().unwrap(), None);
        for no_pages in [true, false] {
            store.write_running("http://127.0.0.1:8808/", no_pages).unwrap();
            let Running { pid, url, no_pages: told } = store.read_running().unwrap().unwrap();
            assert_eq!((pid, url.as_str(), told), (std::process::id(), "http://127.0.0.1:8808/", no_pages));
        }
        // The record of an earlier version.
        let old: Running = serde_json::from_str(r#"{"pid":1,"url":"http://127.0.0.1:8808/"}"#).unwrap();
        assert!(!old.no_pages);
        store.remove_running();
        assert_eq!(store.read_running().unwrap(), None);
    }
}
