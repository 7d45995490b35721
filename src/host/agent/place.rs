//! The cgroups of a host, below the one in which its agent was started, and killing everything that runs by the lease.
//!
//! ```text
//! <the agent's>/agent/        the agent and its fence
//! <the agent's>/x/INSTANCE/   what runs by the lease: killed with one write to x/
//! <the agent's>/x/treevisor-INSTANCE@RUN/   the same of a placed subtree; the root's cgroup must be empty at its end
//! <the agent's>/o/treevisor-INSTANCE@RUN/   a placed subtree that does not run by the lease
//! ```

use crate::os::cgroup::Group;
use crate::os::cgroup::switch::Switch;
use crate::os::cgroup::tree::OwnCgroup;
use crate::time::{Span, Time};
use std::fs;
use std::io;
use std::path::PathBuf;

/// How often processes that do not die are killed again.
const AGAIN: Span = Span::from_millis(50);

/// The cgroups of everything that runs by the lease, and of what does not.
pub(super) struct Exclusive {
    switch: Switch,
    path: PathBuf,
    /// The directory of the placed subtrees that do not run by the lease.
    others: PathBuf,
    /// The switch of `others`, until the first clearing has killed what an earlier agent has left there.
    left: Option<Switch>,
    clearing: Option<Clearing>,
}

struct Clearing {
    number: u64,
    again: Time,
}

impl Exclusive {
    /// Creates the cgroups, and moves this process into its own.
    ///
    /// # Errors
    /// What is missing; nothing may run here by a lease then.
    pub(super) fn lay_out() -> Result<Exclusive, String> {
        let own = OwnCgroup::find().map_err(|error| error.to_string())?.directory;
        let wrong = |what: &str, path: &PathBuf, error: io::Error| format!("cannot {what} {}: {error}", path.display());
        let make = |path: PathBuf| match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(wrong("make", &path, error)),
            _ => Ok(path),
        };
        let agent = make(own.join("agent"))?;
        // A cgroup that passes controllers on may have no processes of its own, cgroups(7).
        fs::write(agent.join("cgroup.procs"), "0").map_err(|error| wrong("enter", &agent, error))?;
        let path = make(own.join("x"))?;
        let switch = Switch::open(&path)
            .map_err(|error| wrong("use cgroup.kill, which Linux has since 5.14, of", &path, error))?;
        let others = make(own.join("o"))?;
        let left = Switch::open(&others).map_err(|error| wrong("use cgroup.kill of", &others, error))?;
        Ok(Exclusive { switch, path, others, left: Some(left), clearing: None })
    }

    /// The switch of `x/`, to be watched for changes.
    pub(super) fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The directory `x/`, for the fence.
    pub(super) fn directory(&self) -> io::Result<fs::File> {
        fs::File::open(&self.path)
    }

    /// The cgroup of one instance. Its process enters the cgroup by itself: on some kernels, a process that is created
    /// within a cgroup that was killed before dies at once.
    pub(super) fn group(&self, instance: &str) -> io::Result<Group> {
        let path = self.path.join(instance);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Group::open_entered_by_itself(&path, true)
    }

    /// A cgroup for one run of a placed subtree. Its name begins with `treevisor-`, like that of a tree: limits request
    /// controllers from the cgroups above, up to the first one with such a name.
    pub(super) fn group_of_run(&self, exclusive: bool, name: &str) -> io::Result<Group> {
        let path = if exclusive { &self.path } else { &self.others }.join(format!("treevisor-{name}"));
        match fs::create_dir(&path) {
            // Left by an earlier agent, which was killed together with all processes in it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Group::open_entered_by_itself(&path, true),
            made => made.and_then(|()| Group::open(&path)),
        }
    }

    /// Kills everything that runs by the lease, and goes on until nothing is left; see [`Exclusive::look`]. The first
    /// call also kills what an earlier agent has left in `o/`.
    pub(super) fn clear(&mut self, number: u64, now: Time) {
        let _ = self.switch.kill();
        if let Some(left) = &self.left {
            let _ = left.kill();
        }
        self.clearing = Some(Clearing { number, again: now + AGAIN });
    }

    /// Whether everything that was to be killed is gone: returns the number of the clearing, once. `born`: whether a
    /// process may be about to enter the cgroup.
    pub(super) fn look(&mut self, born: bool, now: Time) -> Option<u64> {
        let clearing = self.clearing.as_mut()?;
        // A cgroup that cannot be read counts as populated.
        let is_empty = |switch: &Switch| switch.populated().is_ok_and(|populated| !populated);
        if is_empty(&self.switch) && self.left.as_ref().is_none_or(is_empty) && !born {
            self.left = None;
            return self.clearing.take().map(|clearing| clearing.number);
        }
        if clearing.again <= now {
            clearing.again = now + AGAIN;
            self.switch.kill_each();
            if let Some(left) = &self.left {
                left.kill_each();
            }
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.clearing.as_ref().map(|clearing| clearing.again)
    }
}
