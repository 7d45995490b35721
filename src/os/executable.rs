//! Checks whether a file may replace this program: what it is, and which users can write it.
use crate::files;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, faccessat};
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Bytes that are read of a program's header: up to the field for the machine, elf(5).
const HEAD: usize = 20;

/// A program that may be executed in place of this one.
#[derive(Debug)]
pub struct Executable {
    file: File,
    identity: Identity,
}

/// Distinguishes a file from all others, and from itself before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `st_dev` of stat(3type).
    pub device: u64,
    /// `st_ino` of stat(3type).
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its last change (ctime), in nanoseconds since 1970.
    pub changed: i64,
}

impl Identity {
    /// That of the program that is running. It takes no descriptor, of which none may be left.
    ///
    /// # Errors
    /// The system's.
    pub fn own() -> io::Result<Identity> {
        std::fs::metadata("/proc/self/exe").map(|metadata| Identity::of(&metadata))
    }

    /// The identity of the file with this metadata.
    fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec()),
        }
    }
}

/// Why a file is refused: a sentence with its path, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn refuse<T>(why: impl fmt::Display) -> Result<T, Refused> {
    Err(Refused(why.to_string()))
}

impl Executable {
    /// Opens and checks the file at `path`: a regular file that this user may execute, for this machine, without set-id
    /// bits and without file capabilities (with either, the kernel clears the parent-death signal of the process). No
    /// user but root and `owner` may be able to write the file or a directory of its path; directories with the sticky
    /// bit, such as /tmp, may be writable by others. Accesses the file system, which may not answer: call it in a
    /// thread of its own.
    ///
    /// # Errors
    /// [`Refused`] with the first thing that is wrong.
    pub fn open(path: &Path, owner: u32) -> Result<Executable, Refused> {
        let shown = path.display();
        let cannot = |what: &str, error: io::Error| Refused(format!("{shown} {what}: {}", crate::error::plain(&error)));
        let resolved = path.canonicalize().map_err(|error| cannot("cannot be found", error))?;
        // Opening a fifo must not block.
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&resolved);
        let file = file.map_err(|error| cannot("cannot be opened to be read", error))?;
        let metadata = file.metadata().map_err(|error| cannot("cannot be looked at", error))?;
        if !metadata.is_file() {
            return refuse(format_args!(
                "{shown} is {}, no program: a regular file is needed",
                files::what_it_is(&metadata)
            ));
        }
        faccessat(AT_FDCWD, &resolved, AccessFlags::X_OK, AtFlags::AT_EACCESS).map_err(|errno| {
            let words = crate::error::errno_words(errno as i32);
            Refused(format!("{shown} cannot be executed ({words}): chmod +x {shown}"))
        })?;
        if metadata.mode() & 0o6000 != 0 {
            return refuse(format_args!(
                "{shown} is set-id (mode {:04o}), which an upgrade must not be: chmod ug-s {shown}",
                metadata.mode() & 0o7777
            ));
        }
        if has_capabilities(&file).map_err(|error| cannot("cannot be asked for its capabilities", error))? {
            return refuse(format_args!(
                "{shown} has file capabilities, which an upgrade must not have: setcap -r {shown}"
            ));
        }
        let head = |file: &File| {
            let mut head = [0; HEAD];
            file.read_exact_at(&mut head, 0).map(|()| head)
        };
        let own = File::open("/proc/self/exe").and_then(|own| head(&own));
        let own = own.map_err(|error| Refused(format!("the program that runs cannot be read: {error}")))?;
        match head(&file) {
            Ok(found) => for_this_machine(&found, &own).or_else(|why| refuse(format_args!("{shown} {why}")))?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return refuse(format_args!("{shown} is too short to be a program of this machine"));
            }
            Err(error) => return Err(cannot("cannot be read", error)),
        }
        in_good_hands(&resolved, &metadata, owner)?;
        Ok(Executable { identity: Identity::of(&metadata), file })
    }

    /// Opens a file that another process has checked.
    ///
    /// # Errors
    /// The system's, with the path; `InvalidInput` if another file is at the path.
    pub fn known(path: &Path, identity: Identity) -> io::Result<Executable> {
        let open = || File::open(path).and_then(|file| Ok((Identity::of(&file.metadata()?), file)));
        let (found, file) =
            open().map_err(|error| io::Error::new(error.kind(), format!("opening {}: {error}", path.display())))?;
        let found = Executable { identity: found, file };
        if found.identity == identity {
            return Ok(found);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is another file than was rehearsed", path.display()),
        ))
    }

    /// Its identity when it was opened.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether this process runs it already.
    pub fn is_own(&self) -> bool {
        Identity::own().is_ok_and(|own| own == self.identity)
    }

    /// Whether the file has not changed since it was opened.
    ///
    /// # Errors
    /// The system's.
    pub fn is_unchanged(&self) -> io::Result<bool> {
        Ok(Identity::of(&self.file.metadata()?) == self.identity)
    }
}

impl AsFd for Executable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether the file has capabilities, capabilities(7).
fn has_capabilities(file: &File) -> io::Result<bool> {
    // SAFETY: both strings are live; without a place for the value the kernel reports its length alone.
    let length = unsafe { libc::fgetxattr(file.as_raw_fd(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    match Errno::result(length) {
        Ok(_) => Ok(true),
        // No capabilities, or a file system that does not support them.
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Compares the header of a program with that of the running one, elf(5).
fn for_this_machine(found: &[u8; HEAD], own: &[u8; HEAD]) -> Result<(), &'static str> {
    if found.starts_with(b"#!") {
        return Err("is a script: a program of this machine is needed");
    }
    // The class and byte order are at 4, the type at 16, the machine at 18.
    if !found.starts_with(b"\x7fELF") {
        return Err("is no program (ELF) of this machine");
    }
    if found[4..6] != own[4..6] || found[18..20] != own[18..20] {
        return Err("is a program for another machine than this one");
    }
    // ET_EXEC or ET_DYN, in either byte order: the other byte is zero.
    if !matches!(found[16..18], [2 | 3, 0] | [0, 2 | 3]) {
        return Err("is a part of a program, or a core: an executable is needed");
    }
    Ok(())
}

/// Checks that no user but root and `owner` can write or replace the file. An access list shows in the mode bits of the
/// group.
fn in_good_hands(resolved: &Path, file: &Metadata, owner: u32) -> Result<(), Refused> {
    let ours = |metadata: &Metadata| metadata.uid() == 0 || metadata.uid() == owner;
    let allowed = if owner == 0 { "root".to_owned() } else { format!("root and user {owner}") };
    for (above, path) in resolved.ancestors().enumerate() {
        let shown = path.display();
        let looked = if above == 0 { Ok(file.clone()) } else { path.metadata() };
        let metadata =
            looked.map_err(|error| Refused(format!("{shown} cannot be looked at: {}", crate::error::plain(&error))))?;
        let what = if metadata.is_dir() {
            format!("{shown}, on the way to {},", resolved.display())
        } else {
            shown.to_string()
        };
        if !ours(&metadata) {
            return refuse(format_args!(
                "{what} belongs to user {}, and what an upgrade runs may be written by {allowed} alone: chown {owner} {shown}",
                metadata.uid()
            ));
        }
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if metadata.mode() & 0o022 != 0 && !sticky {
            return refuse(format_args!(
                "{what} can be written by others (mode {:04o}), and what an upgrade runs may be written by {allowed} alone: chmod go-w {shown}",
                metadata.mode() & 0o7777
            ));
        }
    }
    Ok(())
}
