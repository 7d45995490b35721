//! Limits the number of connections, in total and for each peer, so that one peer cannot keep the others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most connections of one listening socket. TCP and UNIX sockets are counted separately, so that a flooded TCP port
/// does not keep the tree's own user from the UNIX socket.
pub(super) const CONNECTIONS: usize = 256;

/// Most connections of one peer other than the tree's own user.
pub(super) const EACH: usize = 64;

/// The same behind a proxy, from which all connections come; the rest is left for connections past the proxy.
pub(super) const EACH_OF_PROXY: usize = 192;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ConnectionOrigin {
    /// Our user or root, without a limit of their own.
    Ours,
    /// Another user of this machine.
    User(u32),
    /// Another machine, or an unknown user of this one.
    Address(IpAddr),
}

impl ConnectionOrigin {
    /// A user of this machine.
    pub(super) fn user(uid: u32, own: u32) -> ConnectionOrigin {
        if uid == 0 || uid == own { ConnectionOrigin::Ours } else { ConnectionOrigin::User(uid) }
    }

    /// Another machine. For IPv6 the /64 prefix counts, as a machine can use any address below it.
    pub(super) fn machine(address: IpAddr) -> ConnectionOrigin {
        ConnectionOrigin::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        })
    }
}

/// The connections of one listening socket.
pub(super) struct ConnectionLimiter {
    each: usize,
    taken: Mutex<HashMap<ConnectionOrigin, usize>>,
}

/// One connection; it is no longer counted when this is dropped.
pub(super) struct ConnectionSlot {
    limiter: Arc<ConnectionLimiter>,
    origin: ConnectionOrigin,
}

impl ConnectionLimiter {
    /// With this limit for each other peer.
    pub(super) fn new(each: usize) -> Arc<ConnectionLimiter> {
        Arc::new(ConnectionLimiter { each, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<ConnectionOrigin, usize>> {
        // A poisoned lock is used all the same, as no change is ever left half done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection; `None` if a limit is reached.
    pub(super) fn take(self: &Arc<ConnectionLimiter>, origin: ConnectionOrigin) -> Option<ConnectionSlot> {
        let mut taken = self.taken();
        let (all, own) = (taken.values().sum::<usize>(), taken.get(&origin).copied().unwrap_or(0));
        if all >= CONNECTIONS || (origin != ConnectionOrigin::Ours && own >= self.each) {
            return None;
        }
        taken.insert(origin, own + 1);
        drop(taken);
        Some(ConnectionSlot { limiter: Arc::clone(self), origin })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = self.limiter.taken();
        match taken.get_mut(&self.origin) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(text: &str) -> ConnectionOrigin {
        ConnectionOrigin::machine(text.parse().unwrap())
    }

    #[test]
    fn a_stranger_has_its_part_and_the_others_have_room() {
        let limiter = ConnectionLimiter::new(EACH);
        let stranger = ConnectionOrigin::user(77, 1000);
        let mut slots: Vec<ConnectionSlot> = (0..300).filter_map(|_| limiter.take(stranger)).collect();
        assert_eq!(slots.len(), EACH);
        let all = [
            machine("192.0.2.1"),
            ConnectionOrigin::user(1000, 1000),
            ConnectionOrigin::user(0, 1000),
            ConnectionOrigin::user(78, 1000),
        ];
        let others: Vec<ConnectionSlot> = all.into_iter().filter_map(|origin| limiter.take(origin)).collect();
        assert_eq!(others.len(), 4);
        slots.pop();
        assert!(limiter.take(stranger).is_some());
        // Our own user can use all that is left.
        let ours: Vec<ConnectionSlot> = (0..300).filter_map(|_| limiter.take(ConnectionOrigin::Ours)).collect();
        assert_eq!(ours.len() + others.len() + slots.len(), CONNECTIONS);
        assert!(limiter.take(machine("192.0.2.2")).is_none());
        drop((slots, others, ours));
        assert!(limiter.taken().is_empty());
    }

    #[test]
    fn a_machine_is_one_whatever_address_it_takes() {
        assert_eq!(machine("2001:db8::1"), machine("2001:db8::ffff:1"));
        assert_ne!(machine("2001:db8::1"), machine("2001:db8:0:1::1"));
        assert_eq!(machine("::ffff:192.0.2.1"), machine("192.0.2.1"));
        assert_ne!(machine("192.0.2.1"), machine("192.0.2.2"));
    }
}
