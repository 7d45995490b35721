//! Kills all processes of a cgroup at a time that must not be missed: the files are opened beforehand, and no memory is
//! allocated.
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Group;

/// A cgroup's `cgroup.kill` and `cgroup.events`, open.
#[derive(Debug)]
pub struct Switch {
    kill: File,
    events: File,
    path: PathBuf,
}

impl Switch {
    /// Opens both files.
    ///
    /// # Errors
    /// The system's: there is no cgroup, the kernel is older than Linux 5.14, or this process may not kill it.
    pub fn open(path: &Path) -> io::Result<Switch> {
        Ok(Switch {
            kill: File::options().write(true).open(path.join("cgroup.kill"))?,
            events: File::open(path.join("cgroup.events"))?,
            path: path.to_path_buf(),
        })
    }

    /// Like [`Switch::open`], with a descriptor of the directory, which has to stay open.
    ///
    /// # Errors
    /// Those of [`Switch::open`].
    pub fn at(directory: impl AsFd) -> io::Result<Switch> {
        Switch::open(Path::new(&format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())))
    }

    /// Kills every process in it and below it with one write, including stopped and frozen ones. [`Switch::populated`]
    /// shows when they have ended.
    ///
    /// # Errors
    /// The system's: most often that the cgroup is gone.
    pub fn kill(&self) -> io::Result<()> {
        self.kill.write_all_at(b"1", 0)
    }

    /// Kills one by one the processes that [`Switch::kill`] has not reached, like [`Group::kill`]; this allocates
    /// memory.
    pub fn kill_each(&self) {
        // Errors are ignored: the next call finds what is left.
        if let Ok(group) = Group::open(&self.path) {
            let _ = group.kill();
        }
    }

    /// Whether a process that has not exited is in it or below it.
    ///
    /// # Errors
    /// The system's: mostly that the cgroup is gone. A new cgroup with the same name does not count.
    pub fn populated(&self) -> io::Result<bool> {
        let mut text = [0; 256];
        let count = self.events.read_at(&mut text, 0)?;
        Ok(!text[..count].windows(11).any(|part| part == b"populated 0"))
    }
}

impl AsRawFd for Switch {
    /// The descriptor of `cgroup.events`. epoll reports an exceptional condition
    /// ([`Interest::PRIORITY`](super::super::epoll::Interest::PRIORITY)) on it when its content has changed since
    /// [`Switch::populated`] read it.
    fn as_raw_fd(&self) -> RawFd {
        self.events.as_raw_fd()
    }
}
