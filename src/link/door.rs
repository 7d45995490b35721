//! The door of a socket decides which processes may connect, how often, and how long their messages may be. It decides
//! when a connection is accepted, by the peer credentials of the kernel, before any byte is read.
//!
//! | peer | may connect | connections | length of a message |
//! | --- | --- | --- | --- |
//! | root and the user of this process | yes | [`Rules::own`] for each of the two | see below |
//! | a user admitted with [`Door::allow`] | yes | [`Rules::other`] each, [`Rules::others`] in all | see below |
//! | any other user | no | | |
//!
//! A connection whose ZeroMQ identity begins with [`Rules::family`] may send messages of up to [`Rules::large`]; any
//! other one of up to [`Rules::small`], which suffices for workers. The family is a secret that this process shares
//! only with the processes that it gives identities to.
//!
//! When a user is at the limit, the process of this user with the most connections loses its oldest one, if it has at
//! least two more than the process that connects; otherwise the new connection is refused. So one process cannot lock
//! out another, not even one of the same user. In the same way, where every user may connect, the one with the most
//! makes room for another when all of them together are at their limit.
//!
//! libzmq's thread asks for decisions; the node's loop sets the rules and collects the refusals. Both use one lock,
//! held for a few microseconds. [`State`] decides, and owns no descriptors.

use super::peer::PeerCred;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The limits of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageMax {
    /// How many parts it may have.
    pub parts: usize,
    /// How large all parts together may be.
    pub bytes: usize,
}

/// Most entries in the list of refusals. Further ones are added to the count of the last entry with the same reason.
const REFUSED_MAX: usize = 16;

/// The rules of a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The user of this process.
    pub uid: u32,
    /// How many connections root and the user of this process may have, each.
    pub own: usize,
    /// How many connections each other admitted user may have.
    pub other: usize,
    /// How many connections all other users may have together; each gets an equal share.
    pub others: usize,
    /// Every user may connect: the permissions of the socket file decide.
    pub anyone: bool,
    /// The prefix of the identities that may send long messages; `None`: all may.
    pub family: Option<Box<[u8]>>,
    /// The longest message of a peer with that prefix.
    pub large: MessageMax,
    /// The longest message of any other peer.
    pub small: MessageMax,
}

impl Rules {
    /// Rules that admit only root and `uid`, the user of this process, with `own` connections each, and messages of up
    /// to `most`.
    pub fn of_own(uid: u32, own: usize, most: MessageMax) -> Rules {
        Rules { uid, own, other: 0, others: 0, anyone: false, family: None, large: most, small: most }
    }
}

/// Why a connection was refused or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Its user is not admitted.
    Stranger,
    /// Its user has too many connections.
    TooMany,
    /// It sent a message that is longer than allowed.
    TooLong,
}

/// Refused or closed connections of one user, with the peer of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The limit, or the missing permission.
    pub why: Why,
    /// The peer of the last of them.
    pub peer: PeerCred,
    /// Since the list was last taken.
    pub count: u64,
}

/// The decision on a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Stay,
    Go,
    /// It is admitted, and this connection is closed instead.
    Instead(RawFd),
}

/// The connections of one user, by process, in the order of arrival.
type Processes = HashMap<u32, BTreeMap<u64, RawFd>>;

fn count(processes: &Processes) -> usize {
    processes.values().map(BTreeMap::len).sum()
}

/// The oldest connection of the process with the most, if it has more than this.
fn oldest_of_busiest(processes: &Processes, more_than: usize) -> Option<RawFd> {
    // With equal numbers the lowest pid is chosen, so that the result does not depend on the order of a map.
    let busiest = processes.iter().max_by_key(|(pid, theirs)| (theirs.len(), Reverse(**pid)));
    let oldest = busiest.filter(|(_, theirs)| theirs.len() > more_than)?.1.first_key_value();
    oldest.map(|(_, fd)| *fd)
}

/// The connections of one socket.
#[derive(Debug)]
struct State {
    rules: Rules,
    allowed: BTreeSet<u32>,
    /// Open connections, each with its peer and its place in the order of arrival.
    open: HashMap<RawFd, (PeerCred, u64)>,
    by_user: HashMap<u32, Processes>,
    came: u64,
    /// Connections that are being closed, and no longer count.
    ending: HashSet<RawFd>,
    /// The next connection that ends has sent a message that was too long.
    broken: bool,
    refused: Vec<Refused>,
}

impl State {
    fn new(rules: Rules) -> State {
        State {
            rules,
            allowed: BTreeSet::new(),
            open: HashMap::new(),
            by_user: HashMap::new(),
            came: 0,
            ending: HashSet::new(),
            broken: false,
            refused: Vec::new(),
        }
    }

    fn admit(&mut self, fd: RawFd, peer: PeerCred) -> Admission {
        let own = peer.uid == 0 || peer.uid == self.rules.uid;
        if !own && !self.rules.anyone && !self.allowed.contains(&peer.uid) {
            self.refuse(Why::Stranger, peer);
            return Admission::Go;
        }
        let share = self.rules.others / self.allowed.len().max(1);
        let most = if own { self.rules.own } else { self.rules.other.min(share) };
        let none = Processes::new();
        let processes = self.by_user.get(&peer.uid).unwrap_or(&none);
        let (held, is_crowded) = (count(processes), !own && self.rules.anyone && self.is_crowded());
        let instead = if held >= most {
            let mine = processes.get(&peer.pid).map_or(0, BTreeMap::len);
            oldest_of_busiest(processes, mine + 1)
        } else if is_crowded {
            self.busiest_other()
                .filter(|theirs| count(theirs) > held + 1)
                .and_then(|theirs| oldest_of_busiest(theirs, 0))
        } else {
            None
        };
        if instead.is_none() && (held >= most || is_crowded) {
            self.refuse(Why::TooMany, peer);
            return Admission::Go;
        }
        if let Some(fd) = instead {
            let other = self.forget(fd);
            self.ending.insert(fd);
            self.refuse(Why::TooMany, other.unwrap_or(peer));
        }
        self.came += 1;
        self.open.insert(fd, (peer, self.came));
        self.by_user.entry(peer.uid).or_default().entry(peer.pid).or_default().insert(self.came, fd);
        instead.map_or(Admission::Stay, Admission::Instead)
    }

    fn others(&self) -> impl Iterator<Item = (&u32, &Processes)> {
        self.by_user.iter().filter(|(uid, _)| **uid != 0 && **uid != self.rules.uid)
    }

    /// Whether all other users together have as many connections as they may have.
    fn is_crowded(&self) -> bool {
        self.others().map(|(_, processes)| count(processes)).sum::<usize>() >= self.rules.others
    }

    /// The connections of the other user with the most; with equal numbers that with the lowest uid.
    fn busiest_other(&self) -> Option<&Processes> {
        self.others().max_by_key(|(uid, processes)| (count(processes), Reverse(**uid))).map(|(_, processes)| processes)
    }

    /// Records that a connection has ended.
    fn left(&mut self, fd: RawFd) {
        let broken = std::mem::take(&mut self.broken);
        if self.ending.remove(&fd) {
            return;
        }
        if let Some(peer) = self.forget(fd)
            && broken
        {
            self.refuse(Why::TooLong, peer);
        }
    }

    fn forget(&mut self, fd: RawFd) -> Option<PeerCred> {
        let (peer, came) = self.open.remove(&fd)?;
        if let Some(processes) = self.by_user.get_mut(&peer.uid) {
            if let Some(theirs) = processes.get_mut(&peer.pid) {
                theirs.remove(&came);
                if theirs.is_empty() {
                    processes.remove(&peer.pid);
                }
            }
            if processes.is_empty() {
                self.by_user.remove(&peer.uid);
            }
        }
        Some(peer)
    }

    fn limits(&self, name: Option<&[u8]>) -> MessageMax {
        match &self.rules.family {
            None => self.rules.large,
            Some(family) if name.is_some_and(|name| name.starts_with(family)) => self.rules.large,
            Some(_) => self.rules.small,
        }
    }

    fn refuse(&mut self, why: Why, peer: PeerCred) {
        let same = |refused: &&mut Refused| refused.why == why && refused.peer.uid == peer.uid;
        if let Some(refused) = self.refused.iter_mut().find(same) {
            (refused.peer, refused.count) = (peer, refused.count + 1);
        } else if self.refused.len() < REFUSED_MAX {
            self.refused.push(Refused { why, peer, count: 1 });
        } else if let Some(refused) = self.refused.iter_mut().rev().find(|refused| refused.why == why) {
            refused.count += 1;
        }
    }
}

/// The door of one socket. Cheap to clone; all clones share one state.
#[derive(Debug, Clone)]
pub struct Door(Arc<Mutex<State>>);

impl Door {
    /// A door that admits root and the user of this process.
    pub fn new(rules: Rules) -> Door {
        Door(Arc::new(Mutex::new(State::new(rules))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; even then the state would be usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets processes of this user connect too.
    pub fn allow(&self, uid: u32) {
        self.state().allowed.insert(uid);
    }

    /// Changes the limits on connections. Open connections stay.
    pub fn set_connections(&self, own: usize, other: usize, others: usize) {
        let mut state = self.state();
        (state.rules.own, state.rules.other, state.rules.others) = (own, other, others);
    }

    /// Returns the refusals since the last call.
    pub fn take_refused(&self) -> Vec<Refused> {
        std::mem::take(&mut self.state().refused)
    }

    /// Becomes the door of the next socket that is bound at `path`, until the returned value is dropped.
    pub(super) fn register(&self, path: &Path) -> RegisteredDoor {
        zmq_sys::gate::put(path, Arc::new(self.clone()));
        RegisteredDoor(path.to_owned())
    }
}

/// Whether this libzmq asks doors. The system's libzmq (`ZMQ_SYS_SYSTEM=1` at build time) does not: then the sender of
/// each message is checked, and connections are counted from time to time.
pub fn has_doors() -> bool {
    zmq_sys::gate::is_there()
}

/// A door that is registered for a path. Keep it as long as the socket.
#[derive(Debug)]
pub(super) struct RegisteredDoor(PathBuf);

impl Drop for RegisteredDoor {
    fn drop(&mut self) {
        zmq_sys::gate::take_away(&self.0);
    }
}

impl zmq_sys::gate::Gate for Door {
    fn admit(&self, peer: zmq_sys::gate::Peer) -> zmq_sys::gate::Admission {
        let cred = PeerCred { pid: peer.pid, uid: peer.uid, gid: peer.gid };
        match self.state().admit(peer.fd, cred) {
            Admission::Stay => zmq_sys::gate::Admission::Stay,
            Admission::Go => zmq_sys::gate::Admission::Go,
            Admission::Instead(fd) => zmq_sys::gate::Admission::Instead(fd),
        }
    }

    fn left(&self, fd: RawFd) {
        self.state().left(fd);
    }

    fn limits(&self, id: Option<&[u8]>) -> zmq_sys::gate::MessageMax {
        let MessageMax { parts, bytes } = self.state().limits(id);
        zmq_sys::gate::MessageMax { parts, bytes }
    }

    fn broken(&self) {
        self.state().broken = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: MessageMax = MessageMax { parts: 256, bytes: 1 << 20 };
    const SMALL: MessageMax = MessageMax { parts: 16, bytes: 2048 };

    fn state() -> State {
        let family = Some(b"secret".as_slice().into());
        State::new(Rules {
            uid: 1000,
            own: 6,
            other: 3,
            others: 100,
            anyone: false,
            family,
            large: LARGE,
            small: SMALL,
        })
    }

    fn peer(uid: u32, pid: u32) -> PeerCred {
        PeerCred { pid, uid, gid: uid }
    }

    #[test]
    fn who_has_nothing_to_say_is_turned_away() {
        let mut state = state();
        assert_eq!(state.admit(5, peer(1000, 1)), Admission::Stay);
        assert_eq!(state.admit(6, peer(0, 2)), Admission::Stay);
        assert_eq!(state.admit(7, peer(1001, 3)), Admission::Go);
        state.allowed.insert(1001);
        assert_eq!(state.admit(7, peer(1001, 3)), Admission::Stay);
        assert_eq!(state.refused, [Refused { why: Why::Stranger, peer: peer(1001, 3), count: 1 }]);
        let mut state = state_for_anyone();
        assert_eq!(state.admit(7, peer(1001, 3)), Admission::Stay);
    }

    fn state_for_anyone() -> State {
        let mut state = state();
        state.rules.anyone = true;
        state
    }

    #[test]
    fn a_user_has_so_many_connections_and_no_more() {
        let mut state = state();
        state.allowed.insert(1001);
        for fd in 10..13 {
            assert_eq!(state.admit(fd, peer(1001, fd as u32)), Admission::Stay);
        }
        // Each process has one connection: none has to give one up.
        assert_eq!(state.admit(13, peer(1001, 13)), Admission::Go);
        // The limit of one user does not affect another one.
        assert_eq!(state.admit(13, peer(1000, 13)), Admission::Stay);
        state.left(10);
        assert_eq!(state.admit(14, peer(1001, 14)), Admission::Stay);
    }

    #[test]
    fn other_users_share_what_is_for_all_of_them() {
        let mut state = state();
        state.rules.others = 4;
        state.allowed.extend([1001, 1002]);
        for fd in [10, 11] {
            assert_eq!(state.admit(fd, peer(1001, fd as u32)), Admission::Stay);
        }
        assert_eq!(state.admit(12, peer(1001, 12)), Admission::Go);
        assert_eq!(state.admit(12, peer(1002, 12)), Admission::Stay);
    }

    #[test]
    fn however_many_users_connect_their_sum_is_bounded_and_each_gets_its_share() {
        let mut state = state_for_anyone();
        state.rules.others = 6;
        for (fd, uid) in [(10, 2001), (11, 2001), (12, 2001), (13, 2002), (14, 2002), (15, 2002)] {
            assert_eq!(state.admit(fd, peer(uid, fd as u32)), Admission::Stay);
        }
        assert_eq!(state.admit(16, peer(2001, 16)), Admission::Go, "it has what a user may have");
        assert_eq!(state.admit(16, peer(1000, 16)), Admission::Stay, "that is not the limit of the own user");
        for (fd, uid, gone) in [(17, 2003, 10), (18, 2003, 13), (19, 2004, 11)] {
            assert_eq!(state.admit(fd, peer(uid, 7)), Admission::Instead(gone));
        }
        assert_eq!(state.admit(20, peer(2004, 7)), Admission::Go, "no user has two more");
        for uid in 3_000..4_000 {
            state.admit(uid as RawFd, peer(uid, uid));
        }
        assert_eq!(state.open.len(), 7);
        assert_eq!(state.by_user.len(), 7, "one for each user, and the own one");
    }

    #[test]
    fn the_process_with_most_connections_makes_room_for_another() {
        let mut state = state();
        for fd in 10..16 {
            assert_eq!(state.admit(fd, peer(1000, 7)), Admission::Stay);
        }
        assert_eq!(state.admit(16, peer(1000, 7)), Admission::Go, "not for itself");
        assert_eq!(state.admit(16, peer(1000, 8)), Admission::Instead(10));
        assert_eq!(state.admit(17, peer(1000, 9)), Admission::Instead(11));
        // A connection that is being closed is not counted twice.
        state.left(10);
        state.left(11);
        assert_eq!(state.open.len(), 6);
        assert_eq!(state.refused, [Refused { why: Why::TooMany, peer: peer(1000, 7), count: 3 }]);
    }

    #[test]
    fn nothing_is_kept_of_connections_that_have_ended() {
        let mut state = state();
        for fd in 0..5 {
            state.admit(fd, peer(1000, 7));
        }
        (0..5).for_each(|fd| state.left(fd));
        state.left(99);
        assert!(state.open.is_empty() && state.by_user.is_empty() && state.ending.is_empty());
    }

    #[test]
    fn long_messages_are_for_the_family() {
        let mut state = state();
        assert_eq!(state.limits(Some(b"secret-1")), LARGE);
        assert_eq!(state.limits(Some(b"secre")), SMALL);
        assert_eq!(state.limits(Some(b"")), SMALL);
        assert_eq!(state.limits(None), SMALL);
        state.rules.family = None;
        assert_eq!(state.limits(Some(b"")), LARGE);
    }

    #[test]
    fn who_sends_too_long_a_message_is_named_once() {
        let mut state = state();
        state.admit(5, peer(1000, 7));
        state.admit(6, peer(1000, 8));
        state.broken = true;
        state.left(5);
        state.left(6);
        assert_eq!(state.refused, [Refused { why: Why::TooLong, peer: peer(1000, 7), count: 1 }]);
    }

    #[test]
    fn what_is_told_is_bounded_whoever_knocks() {
        let mut state = state();
        for uid in 2000..4000 {
            state.admit(5, peer(uid, uid));
        }
        assert_eq!(state.refused.len(), REFUSED_MAX);
        assert_eq!(state.refused.iter().map(|refused| refused.count).sum::<u64>(), 2_000);
        assert!(state.by_user.is_empty());
    }
}
