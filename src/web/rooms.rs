//! For how many connections there is room, in all and for each peer: one that fills it must not keep the others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections at a time over TCP, and as many over a UNIX socket: those that are full of strangers must not keep out
/// the user of the tree.
pub(super) const CONNECTIONS: usize = 256;

/// Of these one stranger has so many.
pub(super) const EACH: usize = 64;

/// Behind a proxy all come from one peer; some stay for a look past it.
pub(super) const EACH_OF_PROXY: usize = 192;

/// Where a connection is from, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// Our user or root, for which the room is.
    Ours,
    /// Another user of this machine.
    User(u32),
    /// Another machine, or a user of this one of which nothing is known.
    Address(IpAddr),
}

impl Who {
    /// A user of this machine.
    pub(super) fn user(uid: u32, own: u32) -> Who {
        if uid == 0 || uid == own { Who::Ours } else { Who::User(uid) }
    }

    /// Another machine. One with IPv6 has as many addresses as it likes, below one prefix.
    pub(super) fn machine(address: IpAddr) -> Who {
        Who::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        })
    }
}

/// The room behind one socket that listens.
pub(super) struct Room {
    each: usize,
    taken: Mutex<HashMap<Who, usize>>,
}

/// A connection's place in it; free again when this is dropped.
pub(super) struct Place {
    room: Arc<Room>,
    who: Who,
}

impl Room {
    /// With so many for each stranger.
    pub(super) fn new(each: usize) -> Arc<Room> {
        Arc::new(Room { each, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Who, usize>> {
        // It is never left half changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if there is one.
    pub(super) fn take(self: &Arc<Room>, who: Who) -> Option<Place> {
        let mut taken = self.taken();
        let (all, own) = (taken.values().sum::<usize>(), taken.get(&who).copied().unwrap_or(0));
        if all >= CONNECTIONS || (who != Who::Ours && own >= self.each) {
            return None;
        }
        taken.insert(who, own + 1);
        drop(taken);
        Some(Place { room: Arc::clone(self), who })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        match taken.get_mut(&self.who) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.who)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(text: &str) -> Who {
        Who::machine(text.parse().unwrap())
    }

    #[test]
    fn a_stranger_has_its_part_and_the_others_have_room() {
        let room = Room::new(EACH);
        let stranger = Who::user(77, 1000);
        let mut places: Vec<Place> = (0..300).filter_map(|_| room.take(stranger)).collect();
        assert_eq!(places.len(), EACH);
        let all = [machine("192.0.2.1"), Who::user(1000, 1000), Who::user(0, 1000), Who::user(78, 1000)];
        let others: Vec<Place> = all.into_iter().filter_map(|who| room.take(who)).collect();
        assert_eq!(others.len(), 4);
        places.pop();
        assert!(room.take(stranger).is_some());
        // Ours are as many as there are places.
        let ours: Vec<Place> = (0..300).filter_map(|_| room.take(Who::Ours)).collect();
        assert_eq!(ours.len() + others.len() + places.len(), CONNECTIONS);
        assert!(room.take(machine("192.0.2.2")).is_none());
        drop((places, others, ours));
        assert!(room.taken().is_empty());
    }

    #[test]
    fn a_machine_is_one_whatever_address_it_takes() {
        assert_eq!(machine("2001:db8::1"), machine("2001:db8::ffff:1"));
        assert_ne!(machine("2001:db8::1"), machine("2001:db8:0:1::1"));
        assert_eq!(machine("::ffff:192.0.2.1"), machine("192.0.2.1"));
        assert_ne!(machine("192.0.2.1"), machine("192.0.2.2"));
    }
}
