//! A file that is the standard output and error of all processes of a tree in the background: bounded.
//!
//! Whichever process finds it full rotates it, under a lock; the others notice with their next write that the file has
//! another place, and follow. So do they when another program has moved or removed it. What is written past us, such as
//! the message of a panic, follows too, as the streams themselves are put on the new file.
//!
//! Where its directory can be written by a worker, no link of that worker's is followed, as with any log.

use super::past::numbered;
use crate::files::FileId;
use crate::os::opening::{self, Missing, Standing};
use crate::os::{fd, lock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the file lies, and what it may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFile {
    /// The file; an absolute path.
    #[serde(with = "crate::files::exact")]
    pub path: PathBuf,
    /// It is rotated when it has so many bytes.
    pub max_size: u64,
    /// How many forerunners are kept: `FILE.1` and so on.
    pub keep: u32,
}

/// What the streams of this process are is a matter of the whole process.
static STREAM_FILE: OnceLock<StreamFile> = OnceLock::new();

/// From here on the standard output and error of this process are this file, where they are it now. To be called before
/// anything is written.
pub(crate) fn set(file: Option<StreamFile>) {
    if let Some(file) = file {
        // Twice is a mistake that changes nothing.
        let _ = STREAM_FILE.set(file);
    }
}

/// The file, to be passed on to other processes of the tree.
pub(crate) fn get() -> Option<&'static StreamFile> {
    STREAM_FILE.get()
}

/// Puts standard error on the file as it is now, for code that writes to it seldom and past an
/// [`Outlet`](super::outlet).
pub(crate) fn refresh_stderr() {
    drop(Followed::adopt(2));
}

/// The file as one of our streams.
#[derive(Debug)]
pub(super) struct Followed {
    file: File,
    standing: Standing,
    stream: RawFd,
    of: &'static StreamFile,
}

impl Followed {
    /// Follows the file as `stream`; `None` when that is something else.
    pub(super) fn adopt(stream: RawFd) -> Option<Followed> {
        Followed::adopt_of(stream, get()?)
    }

    fn adopt_of(stream: RawFd, of: &'static StreamFile) -> Option<Followed> {
        // A description of our own: a lock on one that others share would be theirs as well.
        let (standing, file) = open(&of.path).ok()?;
        file.metadata().ok().filter(fs::Metadata::is_file)?;
        fd::replace_stream(stream, &file).ok()?;
        Some(Followed { file, standing, stream, of })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What cannot be looked at is written to as it is.
        let _ = self.look();
        self.file.write(bytes)
    }

    /// Follows the file, and rotates it when it is full.
    fn look(&mut self) -> io::Result<()> {
        let held = self.file.metadata()?;
        if !self.is_at_its_place(&held) {
            return self.reopen();
        }
        // Where another process rotates at this moment, this goes into the old file.
        if held.len() < self.of.max_size || !lock::try_alone(&self.file) {
            return Ok(());
        }
        if self.is_at_its_place(&held) {
            rotate(&self.standing, self.of.keep)?;
        }
        self.reopen()
    }

    fn is_at_its_place(&self, held: &fs::Metadata) -> bool {
        match fs::metadata(&self.of.path) {
            Ok(there) => FileId::of(held) == FileId::of(&there),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The lock goes with the old description.
    fn reopen(&mut self) -> io::Result<()> {
        let (standing, file) = open(&self.of.path)?;
        fd::replace_stream(self.stream, &file)?;
        (self.standing, self.file) = (standing, file);
        Ok(())
    }
}

/// Where the file stands, whatever its path leads to by now.
fn rotate(standing: &Standing, keep: u32) -> io::Result<()> {
    let name = standing.name();
    let older = |number| numbered(Path::new(name), number).into_os_string();
    if keep == 0 {
        return standing.remove();
    }
    for number in (1..keep).rev() {
        match standing.rename(&older(number), &older(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    standing.rename(name, &older(1))
}

fn open(path: &Path) -> io::Result<(Standing, File)> {
    opening::append_own(path, Missing::IsMade(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(of: &'static StreamFile) -> Followed {
        let (standing, file) = open(&of.path).unwrap();
        Followed { file, standing, stream: -1, of }
    }

    /// Two processes with one file, as two descriptors above the streams.
    #[test]
    fn whoever_finds_it_full_rotates_and_the_others_follow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/output.log");
        let of: &'static StreamFile = Box::leak(Box::new(StreamFile { path: path.clone(), max_size: 100, keep: 2 }));
        let mut writers: Vec<Followed> = (0..2).map(|_| followed(of)).collect();
        for number in 0..40 {
            let writer = &mut writers[number % 2];
            let held = writer.file.metadata().unwrap();
            if !writer.is_at_its_place(&held) {
                *writer = followed(of);
            } else if held.len() >= of.max_size && lock::try_alone(&writer.file) {
                rotate(&writer.standing, of.keep).unwrap();
                *writer = followed(of);
            }
            writeln!(writer.file, "line {number:04}").unwrap();
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let all: String =
            [numbered(&path, 2), numbered(&path, 1), path.clone()].iter().map(|path| read(path)).collect();
        let expected: String = (10..40).map(|number| format!("line {number:04}\n")).collect();
        assert_eq!(all, expected);
        assert!(!numbered(&path, 3).exists());
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let held = writers[0].file.metadata().unwrap();
        assert!(!writers[0].is_at_its_place(&held));
    }

    /// Root alone writes where other users may.
    #[test]
    fn it_is_not_followed_behind_a_link_of_another_user() {
        use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
        const WORKER: u32 = 65_533;
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        if chown(&theirs, Some(WORKER), None).is_err() {
            return;
        }
        let (path, secret) = (theirs.join("output.log"), dir.path().join("secret"));
        fs::write(&secret, "precious\n").unwrap();
        let of: &'static StreamFile = Box::leak(Box::new(StreamFile { path: path.clone(), max_size: 100, keep: 2 }));
        let mut writer = followed(of);
        fs::rename(&path, theirs.join("moved")).unwrap();
        symlink(&secret, &path).unwrap();
        lchown(&path, Some(WORKER), None).unwrap();
        writer.write(b"line\n").unwrap();
        assert!(open(&path).is_err());
        assert_eq!(fs::read(&secret).unwrap(), b"precious\n");
        assert_eq!(fs::read(theirs.join("moved")).unwrap(), b"line\n");
        // A second name leads nowhere else either.
        fs::remove_file(&path).unwrap();
        fs::hard_link(&secret, &path).unwrap();
        assert!(open(&path).is_err());
        // What root has put there is root's word.
        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("elsewhere.log"), &path).unwrap();
        let (standing, file) = open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        rotate(&standing, of.keep).unwrap();
        assert!(path.is_symlink() && dir.path().join("elsewhere.log.1").exists());
    }
}
