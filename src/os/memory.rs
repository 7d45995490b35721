//! Sealed memory files: their content can no longer change, so they can be mapped safely.
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Writes the parts one after the other into a memory file, and seals it: it can no longer be written, grown, shrunk or
/// unsealed.
///
/// # Errors
/// The kernel's: no descriptor or no memory left.
pub fn sealed(name: &str, parts: &[impl AsRef<[u8]>]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    for part in parts {
        file.write_all(part.as_ref())?;
    }
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
    Ok(file.into())
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL
}

/// The mapped content of a sealed file. Pages that are not read take no memory.
#[derive(Debug)]
pub struct Mapped {
    address: *mut libc::c_void,
    length: usize,
}

impl Mapped {
    /// Maps a file that [`sealed`] has made. The descriptor may be closed afterwards.
    ///
    /// # Errors
    /// `InvalidInput` for a file without seals, as it could shrink while it is mapped; and the kernel's.
    pub fn of(file: impl AsFd) -> io::Result<Mapped> {
        let file = file.as_fd();
        let found = SealFlag::from_bits_retain(fcntl(file, FcntlArg::F_GET_SEALS)?);
        if !found.contains(seals()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is not sealed"));
        }
        let length = usize::try_from(fstat(file)?.st_size).unwrap_or(0);
        if length == 0 {
            return Ok(Mapped { address: std::ptr::null_mut(), length });
        }
        // SAFETY: a new mapping at a place of the kernel's choice, of a file that no longer changes.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Mapped { address, length }) }
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: mapped for as long as we are there, with this length; by the seals no process can write or shorten
        // it.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: our own mapping, of which no slice is left.
            unsafe { libc::munmap(self.address, self.length) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_sealed_is_read_and_changed_no_more() {
        let fd = sealed("test", &[b"one ".as_slice(), b"", b"two"]).unwrap();
        assert_eq!(&*Mapped::of(&fd).unwrap(), b"one two");
        let file = File::from(fd);
        assert_eq!((&file).write(b"x").unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(file.set_len(0).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(file.set_len(100).unwrap_err().raw_os_error(), Some(libc::EPERM));
        let mapped = Mapped::of(&file).unwrap();
        drop(file);
        assert_eq!(&*mapped, b"one two");
    }

    #[test]
    fn nothing_is_a_content_too() {
        let none: [&[u8]; 0] = [];
        assert_eq!(&*Mapped::of(sealed("test", &none).unwrap()).unwrap(), b"");
    }

    #[test]
    fn what_is_not_sealed_is_not_mapped() {
        let mut open = File::from(crate::os::fd::memfd_with("test", b"content").unwrap());
        assert!(Mapped::of(&open).is_err());
        open.read_to_end(&mut Vec::new()).unwrap();
        assert!(Mapped::of(File::open("/proc/self/exe").unwrap()).is_err());
    }
}
