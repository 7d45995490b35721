//! Opening and reading files that others may have put something else in the place of: nothing is waited for without
//! end, and nothing is read without end.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a pipe without data is looked at, and for how long.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOKS: u32 = 600;

/// The first program of this name in `PATH`.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let places = std::env::var_os("PATH")?;
    let is_program = |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
    std::env::split_paths(&places).map(|place| place.join(program)).find(is_program)
}

/// What tells one file from all others, as long as it is there: its device and its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// By the numbers that the system has for it.
    pub(crate) fn new(device: u64, inode: u64) -> FileId {
        FileId { device, inode }
    }

    /// Of what was looked at.
    pub(crate) fn of(metadata: &Metadata) -> FileId {
        FileId::new(metadata.dev(), metadata.ino())
    }

    /// Of what a path leads to; `None` when nothing can be seen there.
    pub(crate) fn behind(path: &Path) -> Option<FileId> {
        path.metadata().ok().as_ref().map(FileId::of)
    }

    /// Of what lies at a path, a link too; `None` when nothing can be seen there.
    pub(crate) fn at(path: &Path) -> Option<FileId> {
        path.symlink_metadata().ok().as_ref().map(FileId::of)
    }
}

/// Opens a regular file for reading.
///
/// # Errors
/// The system's, and `InvalidInput` for what is no regular file: the message names its type. To open a fifo would wait
/// for a writer.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let (file, metadata) = open(path)?;
    if metadata.is_file() { Ok(file) } else { Err(unsuited(&metadata)) }
}

/// Whether a file ends without a newline.
///
/// # Errors
/// The system's.
pub(crate) fn ends_within_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Opens a regular file that a path names itself: a symbolic link is not followed. For files with keys.
///
/// # Errors
/// As [`open_regular`], and `InvalidInput` for a link.
#[cfg(any(feature = "web", feature = "hosts"))]
pub(crate) fn open_itself(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => {
                io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link, where a regular file is expected")
            }
            _ => error,
        })?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(unsuited(&metadata)) }
}

/// The content of a regular file of at most `max` bytes.
///
/// # Errors
/// As [`open_regular`], and `FileTooLarge` for a longer one.
pub(crate) fn read_regular(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_open(open_regular(path)?, max)
}

/// The same of one that is open.
///
/// # Errors
/// The system's, and `FileTooLarge`.
pub(crate) fn read_open(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Without trust in the size that the file system shows: it may grow meanwhile.
    file.take(max + 1).read_to_end(&mut bytes)?;
    within(bytes, max)
}

/// The content of a file of at most `max` bytes, or of a pipe that something writes to: a shell's `<(command)`. A pipe
/// is given three seconds to deliver data, again after each piece.
///
/// # Errors
/// As [`read_regular`], and `TimedOut` for a pipe without data.
pub(crate) fn read_or_wait(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let (file, metadata) = open(path)?;
    if !metadata.is_file() && !metadata.file_type().is_fifo() {
        return Err(unsuited(&metadata));
    }
    let mut file = file.take(max + 1);
    let (mut bytes, mut piece, mut looks) = (Vec::new(), vec![0; 64 << 10], 0);
    let looks_max = if metadata.is_file() { 0 } else { LOOKS };
    loop {
        match file.read(&mut piece) {
            // As long as nothing was read, there may have been no writer yet.
            Ok(0) if bytes.is_empty() && looks < looks_max => {}
            Ok(0) => return within(bytes, max),
            Ok(length) => {
                bytes.extend_from_slice(&piece[..length]);
                looks = 0;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && looks < looks_max => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(io::Error::new(ErrorKind::TimedOut, "a pipe whose writer sends nothing"));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        looks += 1;
        #[expect(clippy::disallowed_methods, reason = "a tool that reads a pipe; no loop of a supervisor calls this")]
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What a file is that is no regular one, for people: "a fifo".
pub(crate) fn what_it_is(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a fifo",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => "something else",
    }
}

fn unsuited(metadata: &Metadata) -> io::Error {
    if metadata.is_dir() {
        return io::Error::from_raw_os_error(libc::EISDIR);
    }
    let what = what_it_is(metadata);
    io::Error::new(ErrorKind::InvalidInput, format!("it is {what}, where a regular file is expected"))
}

/// Removes a file, if there is one.
///
/// # Errors
/// The system's, where one is left.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // O_NONBLOCK is ignored by regular files. O_NOCTTY: a terminal must not become ours by being looked at.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn within(bytes: Vec<u8>, max: u64) -> io::Result<Vec<u8>> {
    if bytes.len() as u64 > max {
        let most = if max >> 20 > 0 { format!("{} MiB", max >> 20) } else { format!("{max} bytes") };
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("the file is larger than {most}")));
    }
    Ok(bytes)
}

/// A path in JSON, byte for byte: a string where it is UTF-8, else an array of its bytes. For what is read again by us.
pub(crate) mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    #[derive(Serialize)]
    #[serde(untagged)]
    enum Written<'a> {
        Text(&'a str),
        Bytes(&'a [u8]),
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read {
        Text(String),
        Bytes(Vec<u8>),
    }

    fn written(path: &Path) -> Written<'_> {
        path.to_str().map_or(Written::Bytes(path.as_os_str().as_bytes()), Written::Text)
    }

    fn path(read: Read) -> PathBuf {
        match read {
            Read::Text(text) => text.into(),
            Read::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The serializer's.
    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        written(path).serialize(serializer)
    }

    /// Reads it.
    ///
    /// # Errors
    /// The deserializer's.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(path(Read::deserialize(deserializer)?))
    }

    /// The same for a path that may be missing.
    pub(crate) mod option {
        use super::{Deserialize, Deserializer, PathBuf, Read, Serialize, Serializer};

        /// Writes it.
        ///
        /// # Errors
        /// The serializer's.
        pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
            path.as_deref().map(super::written).serialize(serializer)
        }

        /// Reads it.
        ///
        /// # Errors
        /// The deserializer's.
        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
            Ok(Option::<Read>::deserialize(deserializer)?.map(super::path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn fifo(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }

    #[test]
    fn what_is_no_file_is_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fifo(&at("fifo"));
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::write(at("file"), "12345").unwrap();
        assert_eq!(read_regular(&at("file"), 5).unwrap(), b"12345");
        let why = |path: &Path| read_regular(path, 4).unwrap_err().to_string();
        assert_eq!(why(&at("file")), "the file is larger than 4 bytes");
        assert_eq!(why(&at("fifo")), "it is a fifo, where a regular file is expected");
        assert_eq!(why(Path::new("/dev/zero")), "it is a device, where a regular file is expected");
        assert_eq!(open_regular(dir.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        // A socket cannot even be opened.
        assert!(open_regular(&at("socket")).is_err());
        assert_eq!(open_regular(&at("missing")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_path_is_exact_in_json() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        use std::path::PathBuf;
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
        struct Paths(#[serde(with = "exact")] PathBuf, #[serde(with = "exact::option")] Option<PathBuf>);
        let latin = PathBuf::from(OsStr::from_bytes(b"caf\xe9"));
        for (paths, text) in [
            (Paths("/a".into(), Some("/b".into())), r#"["/a","/b"]"#),
            (Paths(latin.clone(), Some(latin)), "[[99,97,102,233],[99,97,102,233]]"),
            (Paths("/a".into(), None), r#"["/a",null]"#),
        ] {
            assert_eq!(serde_json::to_string(&paths).unwrap(), text);
            assert_eq!(serde_json::from_str::<Paths>(text).unwrap(), paths);
        }
    }

    #[test]
    fn a_pipe_with_a_writer_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        fifo(&path);
        let writer = std::thread::spawn({
            let path = path.clone();
            move || fs::write(path, "x".repeat(200_000))
        });
        assert_eq!(read_or_wait(&path, 1 << 20).unwrap().len(), 200_000);
        writer.join().unwrap().unwrap();
        assert_eq!(read_or_wait(Path::new("/dev/zero"), 10).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
