//! Killing all of a cgroup at a moment that must not be missed: what that takes is opened beforehand, and no memory is
//! asked for.
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
    /// Opens both.
    ///
    /// # Errors
    /// The system's: there is no cgroup there, its kernel is older than Linux 5.14, or it is not ours to kill.
    pub fn open(path: &Path) -> io::Result<Switch> {
        Ok(Switch {
            kill: File::options().write(true).open(path.join("cgroup.kill"))?,
            events: File::open(path.join("cgroup.events"))?,
            path: path.to_path_buf(),
        })
    }

    /// The same by a descriptor of the directory, which has to stay open.
    ///
    /// # Errors
    /// As [`Switch::open`].
    pub fn at(directory: impl AsFd) -> io::Result<Switch> {
        Switch::open(Path::new(&format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())))
    }

    /// Kills every process in it and below it with one write, stopped and frozen ones too. That they have ended is seen
    /// by [`Switch::populated`].
    ///
    /// # Errors
    /// The system's: most often that the cgroup is gone.
    pub fn kill(&self) -> io::Result<()> {
        self.kill.write_all_at(b"1", 0)
    }

    /// Kills one by one what [`Switch::kill`] has not reached, as [`Group::kill`] does; this asks for memory.
    pub fn kill_each(&self) {
        // What is left is found by the next look.
        if let Ok(group) = Group::open(&self.path) {
            let _ = group.kill();
        }
    }

    /// Whether a process is in it or below it that has not ended.
    ///
    /// # Errors
    /// The system's: mostly that the cgroup is gone. Another one of its name is none of this switch.
    pub fn populated(&self) -> io::Result<bool> {
        let mut text = [0; 256];
        let count = self.events.read_at(&mut text, 0)?;
        Ok(!text[..count].windows(11).any(|part| part == b"populated 0"))
    }
}

impl AsRawFd for Switch {
    /// That of `cgroup.events`: it shows an exceptional condition
    /// ([`Interest::PRIORITY`](super::super::epoll::Interest::PRIORITY)) when that has changed since
    /// [`Switch::populated`] read it.
    fn as_raw_fd(&self) -> RawFd {
        self.events.as_raw_fd()
    }
}
