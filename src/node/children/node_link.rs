//! The connection to a child node: the name under which it connects, and what has been received over it.

use crate::ids::Token;
use crate::link::Identity;
use serde::{Deserialize, Serialize};

/// What is known of the connection to a child node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct NodeLink {
    /// The name that a child node was given. A worker has none.
    name: Option<Identity>,
    /// The node's own process has sent a message under that name.
    met: bool,
    /// A signal that the node is to be sent after its first message.
    #[serde(skip)]
    pub(super) owed: Option<i32>,
    /// The number of the last of its events that was taken.
    events_through: u64,
    /// The number of the last event that the node has sent after a gap, and that was not taken.
    #[serde(skip)]
    offered: u64,
    /// The node has reported why it gives up.
    pub has_given_up: bool,
}

/// What a batch of events has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) struct TakenEvents {
    /// So many of them, the first ones, were taken before.
    pub again: usize,
    /// So many before them never arrive: the node has dropped them.
    pub missing: u64,
}

impl NodeLink {
    /// The link to a child node that was given this name.
    pub(crate) fn named(name: Identity) -> NodeLink {
        NodeLink { name: Some(name), met: false, owed: None, events_through: 0, offered: 0, has_given_up: false }
    }

    /// The address of the child node, once it has sent a message.
    pub(crate) fn to(&self) -> Option<&Identity> {
        self.name.as_ref().filter(|_| self.met)
    }

    /// Notes that the node has sent a message; true the first time.
    pub(crate) fn meet(&mut self) -> bool {
        !std::mem::replace(&mut self.met, true)
    }

    /// Takes `count` of the node's events, numbered from `first` on. Returns `None` where events before them are
    /// missing and may still come: the node sends again what is not acknowledged, beginning with the oldest event that
    /// it has. If a gap is there again then, the node has dropped those events.
    pub(crate) fn take_events(&mut self, first: u64, count: usize) -> Option<TakenEvents> {
        let through = first.saturating_add(count as u64).saturating_sub(1);
        let next = self.events_through.saturating_add(1);
        // A batch that begins at or before `offered` is a retransmission.
        if first > next && first > self.offered {
            self.offered = through;
            return None;
        }
        self.offered = 0;
        self.events_through = self.events_through.max(through);
        let again = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX).min(count);
        Some(TakenEvents { again, missing: first.saturating_sub(next) })
    }

    /// The number of the last of its events that was taken.
    pub(crate) fn events_through(&self) -> u64 {
        self.events_through
    }

    /// Whether a message came over this child node's own connection.
    pub(crate) fn is_from(&self, from: &Identity) -> bool {
        self.name.as_ref() == Some(from)
    }
}

/// The name of a child node: `family`, which all children of one node have in common, and a number of its own.
///
/// Both are secret. The family alone shows that a connection is a node's, before its token has been read.
pub(super) fn name(family: Token, own: Token) -> String {
    format!("{family}{own}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_before_the_node_has_sent() {
        let mut link = NodeLink::named(Identity::new(b"secret"));
        assert_eq!(link.to(), None);
        assert!(link.meet());
        assert!(!link.meet());
        assert_eq!(link.to(), Some(&Identity::new(b"secret")));
        let mut worker = NodeLink::default();
        worker.meet();
        assert_eq!(worker.to(), None);
    }

    #[test]
    fn a_gap_in_the_events_is_believed_when_it_is_offered_again() {
        let taken = |again, missing| Some(TakenEvents { again, missing });
        let mut link = NodeLink::default();
        assert_eq!(link.take_events(1, 3), taken(0, 0));
        assert_eq!(link.take_events(2, 3), taken(2, 0), "two of them were there");
        assert_eq!(link.take_events(5, 0), taken(0, 0));
        // Event 5 is lost on its way: the following ones are not taken before it.
        assert_eq!((link.take_events(6, 1), link.take_events(7, 2), link.events_through()), (None, None, 4));
        assert_eq!((link.take_events(5, 4), link.events_through()), (taken(0, 0), 8));
        // The node had to drop the events up to 20.
        assert_eq!((link.take_events(20, 2), link.take_events(22, 1)), (None, None));
        assert_eq!((link.take_events(21, 3), link.events_through()), (taken(0, 12), 23));
        assert_eq!((link.take_events(30, 1), link.take_events(30, 1)), (None, taken(0, 6)));
    }

    #[test]
    fn a_name_is_short_and_begins_with_the_family() {
        let (family, own) = (Token([1; 16]), Token([0; 16]));
        let name = name(family, own);
        assert_eq!(name.len(), 64);
        assert!(name.starts_with(&family.to_string()));
    }
}
