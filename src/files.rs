//! Opening and reading files that others may have put something else in the place of: nothing is waited for without end, and
//! nothing is read without end.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// How often a pipe is looked at that says nothing, and for how long.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOKS: u32 = 600;

/// Opens a regular file for reading.
///
/// # Errors
/// The system's, and `InvalidInput` for what is no regular file: it says what it is. To open a fifo would wait for a writer.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let (file, metadata) = open(path)?;
    if metadata.is_file() { Ok(file) } else { Err(unsuited(&metadata)) }
}

/// The content of a regular file of at most `max` bytes.
///
/// # Errors
/// As [`open_regular`], and `FileTooLarge` for a longer one.
pub fn read_regular(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Without trust in what the file says of its size: it may grow meanwhile.
    open_regular(path)?.take(max + 1).read_to_end(&mut bytes)?;
    within(bytes, max)
}

/// The content of a file of at most `max` bytes, or of a pipe that something writes to: a shell's `<(command)`. A pipe is
/// given three seconds to say something, again after each piece.
///
/// # Errors
/// As [`read_regular`], and `TimedOut` for a pipe that says nothing.
pub fn read_or_wait(path: &Path, max: u64) -> io::Result<Vec<u8>> {
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
                return Err(io::Error::new(ErrorKind::TimedOut, "it is a pipe whose writer says nothing"));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        looks += 1;
        #[expect(clippy::disallowed_methods, reason = "a tool that reads a pipe; no loop of a supervisor calls this")]
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What a file is that is none, for people: "a fifo".
fn unsuited(metadata: &Metadata) -> io::Error {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_dir() => return io::Error::from_raw_os_error(libc::EISDIR),
        () if kind.is_fifo() => "a fifo",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => "something else",
    };
    io::Error::new(ErrorKind::InvalidInput, format!("it is {what}, where a regular file is expected"))
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
