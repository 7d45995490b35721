//! The stream file: standard output and error of all processes of a tree in the background, with a size limit.
//!
//! The process that finds the file full rotates it, under a lock. The others notice before their next write that the
//! path leads to another file, and open that one; also after another program has moved or removed the file. Each
//! process replaces its standard streams as well, so that direct output, such as the message of a panic, goes to the
//! new file.
//!
//! If a worker can write to the directory, links of that worker are not followed, as for any log.

use super::past::numbered;
use crate::files::FileId;
use crate::os::opening::{self, FileLocation, Missing};
use crate::os::{fd, lock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The path and the limits of a stream file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFile {
    /// The file; an absolute path.
    #[serde(with = "crate::files::exact")]
    pub path: PathBuf,
    /// The size in bytes at which it is rotated.
    pub max_size: u64,
    /// How many rotated predecessors are kept: `FILE.1` and so on.
    pub keep: u32,
}

/// Global, as standard streams belong to the whole process.
static STREAM_FILE: OnceLock<StreamFile> = OnceLock::new();

/// Declares that standard output and error of this process are this file, as far as they lead to it now. Call it before
/// anything is written.
pub(crate) fn set(file: Option<StreamFile>) {
    if let Some(file) = file {
        // A second call has no effect.
        let _ = STREAM_FILE.set(file);
    }
}

/// The stream file, for passing it on to other processes of the tree.
pub(crate) fn get() -> Option<&'static StreamFile> {
    STREAM_FILE.get()
}

/// Lets standard error lead to the present file, for code that rarely writes to it and does not use an
/// [`Outlet`](super::outlet).
pub(crate) fn refresh_stderr() {
    drop(Followed::adopt(2));
}

/// The stream file, as one of the standard streams.
#[derive(Debug)]
pub(super) struct Followed {
    file: File,
    location: FileLocation,
    stream: RawFd,
    of: &'static StreamFile,
}

impl Followed {
    /// Opens the stream file as `stream`; `None` if that is not possible or there is no stream file.
    pub(super) fn adopt(stream: RawFd) -> Option<Followed> {
        Followed::adopt_of(stream, get()?)
    }

    fn adopt_of(stream: RawFd, of: &'static StreamFile) -> Option<Followed> {
        // A new open file description: a lock on a shared one would belong to the other processes as well.
        let (location, file) = open(&of.path).ok()?;
        file.metadata().ok().filter(fs::Metadata::is_file)?;
        fd::replace_stream(stream, &file).ok()?;
        Some(Followed { file, location, stream, of })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // If the check fails, the bytes go to the file that is open.
        let _ = self.look();
        self.file.write(bytes)
    }

    /// Opens the new file if the path leads to another one, and rotates the file if it is full.
    fn look(&mut self) -> io::Result<()> {
        let held = self.file.metadata()?;
        if !self.is_at_its_place(&held) {
            return self.reopen();
        }
        // While another process rotates the file, this write goes into the old one.
        if held.len() < self.of.max_size || !lock::try_alone(&self.file) {
            return Ok(());
        }
        if self.is_at_its_place(&held) {
            rotate(&self.location, self.of.keep)?;
        }
        self.reopen()
    }

    fn is_at_its_place(&self, held: &fs::Metadata) -> bool {
        match fs::metadata(&self.of.path) {
            Ok(there) => FileId::of(held) == FileId::of(&there),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Opens the file at the path. Closing the old description releases its lock.
    fn reopen(&mut self) -> io::Result<()> {
        let (location, file) = open(&self.of.path)?;
        fd::replace_stream(self.stream, &file)?;
        (self.location, self.file) = (location, file);
        Ok(())
    }
}

/// Rotates in the directory where the file was opened, wherever its path leads by now.
fn rotate(location: &FileLocation, keep: u32) -> io::Result<()> {
    let name = location.name();
    let older = |number| numbered(Path::new(name), number).into_os_string();
    if keep == 0 {
        return location.remove();
    }
    for number in (1..keep).rev() {
        match location.rename(&older(number), &older(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    location.rename(name, &older(1))
}

fn open(path: &Path) -> io::Result<(FileLocation, File)> {
    opening::append_own(path, Missing::IsMade(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(of: &'static StreamFile) -> Followed {
        let (location, file) = open(&of.path).unwrap();
        Followed { file, location, stream: -1, of }
    }

    /// Two processes with one file, here as two descriptors that are no standard streams.
    #[test]
    fn the_process_that_finds_it_full_rotates_and_the_others_follow() {
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
                rotate(&writer.location, of.keep).unwrap();
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

    /// Only root writes where other users can write; the test needs root.
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
        // A hard link is not followed either.
        fs::remove_file(&path).unwrap();
        fs::hard_link(&secret, &path).unwrap();
        assert!(open(&path).is_err());
        // A link that root has made is followed.
        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("elsewhere.log"), &path).unwrap();
        let (location, file) = open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        rotate(&location, of.keep).unwrap();
        assert!(path.is_symlink() && dir.path().join("elsewhere.log.1").exists());
    }
}
