//! The nodes on this host that have placed children, and the roots. A node is identified by its process, whatever
//! connections it makes.

use super::reactor::{Reactor, Source};
use crate::hosts::ParentId;
use crate::link::Identity;
use crate::os::epoll::Tag;
use crate::os::pidfd::PidFd;
use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::AsRawFd;

struct Parent {
    pid: u32,
    process: PidFd,
    exit: Tag,
    /// Its last connection, by which it is answered.
    to: Identity,
}

/// The nodes with placed children on this host, and the roots.
#[derive(Default)]
pub(super) struct Parents {
    all: BTreeMap<ParentId, Parent>,
    last: ParentId,
}

impl Parents {
    /// The number of the node whose process has sent something by this connection; a new number for a process that is
    /// not known.
    ///
    /// # Errors
    /// The process has ended by now, or cannot be watched.
    pub(super) fn known(
        &mut self,
        pid: u32,
        from: Identity,
        reactor: &mut Reactor,
    ) -> Result<ParentId, Box<dyn Error>> {
        if let Some((id, parent)) = self.all.iter_mut().find(|(_, parent)| parent.pid == pid) {
            parent.to = from;
            return Ok(*id);
        }
        let process = PidFd::open(pid)?;
        let id = self.last + 1;
        let exit = reactor.watch(process.as_raw_fd(), Source::Parent(id))?;
        self.last = id;
        self.all.insert(id, Parent { pid, process, exit, to: from });
        Ok(id)
    }

    /// The connection by which a node is answered.
    pub(super) fn to(&self, id: ParentId) -> Option<&Identity> {
        self.all.get(&id).map(|parent| &parent.to)
    }

    /// Forgets a node whose process has ended.
    pub(super) fn ended(&mut self, id: ParentId, reactor: &mut Reactor) {
        if let Some(parent) = self.all.remove(&id) {
            reactor.unwatch(parent.process.as_raw_fd(), parent.exit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;
    use crate::time::Span;
    use std::process::Command;

    #[test]
    fn a_process_has_one_number_however_often_it_connects_until_it_has_ended() {
        let (mut parents, mut reactor) = (Parents::default(), Reactor::new().unwrap());
        let [one, two] = [b"one", b"two"].map(|name| Identity::new(name));
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let first = parents.known(child.id(), one, &mut reactor).unwrap();
        assert_eq!(parents.known(child.id(), two.clone(), &mut reactor).unwrap(), first);
        assert_eq!(parents.to(first), Some(&two), "it is answered where it has sent from last");
        let own = parents.known(std::process::id(), two.clone(), &mut reactor).unwrap();
        assert_ne!(own, first);

        child.kill().unwrap();
        let (mut ready, begun) = (Vec::new(), clock::both().boottime);
        while ready.is_empty() {
            assert!(clock::both().boottime.since(begun) < Span::from_secs(60), "its end is not seen");
            reactor.wait(true, &mut ready).unwrap();
        }
        assert_eq!(reactor.source(&ready[0]), Some(Source::Parent(first)));
        parents.ended(first, &mut reactor);
        child.wait().unwrap();
        assert_eq!(parents.to(first), None);
        assert!(parents.known(child.id(), two, &mut reactor).is_err(), "there is no such process any more");
    }
}
