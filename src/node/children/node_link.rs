//! The connection to a child node: under which name it connects, and what has come over it.

use crate::ids::Token;
use crate::link::Identity;
use serde::{Deserialize, Serialize};

/// What is known of the connection to one of its children.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct NodeLink {
    /// The name that a child node was given. A worker has none.
    name: Option<Identity>,
    /// Its own process has sent under that name.
    met: bool,
    /// How far its events have been received.
    pub events_through: u64,
    /// It has reported why it gives up.
    pub has_given_up: bool,
}

impl NodeLink {
    /// The link to a child node that was given this name.
    pub(crate) fn named(name: Identity) -> NodeLink {
        NodeLink { name: Some(name), met: false, events_through: 0, has_given_up: false }
    }

    /// Where the child node receives, once it has sent.
    pub(crate) fn to(&self) -> Option<&Identity> {
        self.name.as_ref().filter(|_| self.met)
    }

    /// Notes that it has sent; true the first time.
    pub(crate) fn meet(&mut self) -> bool {
        !std::mem::replace(&mut self.met, true)
    }

    /// Whether a message came over this child node's own connection.
    pub(crate) fn is_from(&self, from: &Identity) -> bool {
        self.name.as_ref() == Some(from)
    }
}

/// The name of a child node: `family`, which all children of one node have in common, and a number of its own.
///
/// Both are secret. By the family alone a connection is recognized as a node's before its token has been read.
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
    fn a_name_is_short_and_begins_with_the_family() {
        let (family, own) = (Token([1; 16]), Token([0; 16]));
        let name = name(family, own);
        assert_eq!(name.len(), 64);
        assert!(name.starts_with(&family.to_string()));
    }
}
