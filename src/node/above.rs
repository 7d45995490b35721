//! What is above a node in the tree: its parent node or, for the root, the operators.

use super::history::{EventBatch, History};
use super::hosted::Hosted;
use super::root::Root;
use super::uplink::Uplink;
use crate::link::Router;
use crate::time::Time;
use slog::{Logger, error};

/// What is above a node in the tree.
pub(super) enum Above {
    /// A child node: its parent is the node that has started it.
    Parent(Box<Uplink>),
    /// The root: there is no node above it, only operators.
    Operators(Box<Root>),
}

impl Above {
    pub(super) fn is_root(&self) -> bool {
        matches!(self, Above::Operators(_))
    }

    pub(super) fn root(&self) -> Option<&Root> {
        match self {
            Above::Operators(root) => Some(root),
            Above::Parent(_) => None,
        }
    }

    /// Sends the root's heartbeat to the service manager's watchdog now, if there is one, since the next step may take
    /// long.
    pub(super) fn feed(&mut self, now: Time) {
        if let Above::Operators(root) = self {
            root.feed(now);
        }
    }

    pub(super) fn root_mut(&mut self) -> Option<&mut Root> {
        match self {
            Above::Operators(root) => Some(root),
            Above::Parent(_) => None,
        }
    }

    pub(super) fn uplink(&mut self) -> Option<&mut Uplink> {
        match self {
            Above::Parent(uplink) => Some(uplink),
            Above::Operators(_) => None,
        }
    }

    /// The alarm of the host's lease has gone off: reads the lease's deadline again, and sets the kernel's timer to it.
    pub(super) fn look_at_lease(&mut self, logger: &Logger) {
        let lease = match self {
            Above::Parent(uplink) => uplink.lease(),
            Above::Operators(root) => root.lease(),
        };
        if let Some(Err(error)) = lease.map(Hosted::look) {
            error!(logger, "cannot set the timer of the host's lease: this process ends with the lease that it has";
                "error" => %error);
        }
    }

    /// Where events and output go: the root's history and its control endpoint, or the connection to the parent.
    pub(super) fn outward(&mut self) -> (Option<&History>, Option<&mut Router>, Option<&mut Uplink>) {
        match self {
            Above::Operators(root) => {
                let (history, control) = root.events_out();
                (Some(history), Some(control), None)
            }
            Above::Parent(uplink) => (None, None, Some(uplink)),
        }
    }

    pub(super) fn has_input(&self) -> bool {
        match self {
            Above::Parent(uplink) => uplink.has_input(),
            Above::Operators(root) => root.has_input(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        match self {
            Above::Parent(uplink) => uplink.next_deadline(),
            Above::Operators(root) => root.next_deadline(),
        }
    }

    /// Sends queued messages, as far as the sockets take them without blocking.
    pub(super) fn flush(&mut self, now: Time) {
        match self {
            Above::Parent(uplink) => uplink.flush(now),
            Above::Operators(root) => root.flush(now),
        }
    }

    /// Whether the parent has acknowledged everything that this node must deliver before it exits. Always true of the
    /// root.
    pub(super) fn is_acknowledged(&self) -> bool {
        match self {
            Above::Parent(uplink) => uplink.is_done(),
            Above::Operators(_) => true,
        }
    }

    /// Takes events: the root keeps them in its history, and every other node sends them to its parent.
    pub(super) fn events(&mut self, batch: EventBatch) {
        match self {
            Above::Parent(uplink) => uplink.events(batch),
            Above::Operators(root) => root.events(batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use crate::wire::view;
    use serde_json::json;

    fn one_event() -> EventBatch {
        EventBatch { events: vec![view::testing::event(1, "/", "ready", json!({}))] }
    }

    #[test]
    fn a_node_has_its_parent_to_acknowledge_its_events() {
        let directory = tempfile::tempdir().unwrap();
        let (_parent, uplink) = testing::line(directory.path());
        let mut above = Above::Parent(Box::new(uplink));
        assert!(above.is_acknowledged() && above.next_deadline().is_none());
        above.events(one_event());
        above.flush(Time::ZERO);
        assert!(!above.is_acknowledged() && above.next_deadline().is_some(), "it was sent, and is sent again");
        assert!(!above.is_root() && above.root().is_none() && above.root_mut().is_none());
        assert!(matches!(above.outward(), (None, None, Some(_))));
    }

    #[test]
    fn a_root_keeps_its_events_for_operators_itself() {
        let directory = tempfile::tempdir().unwrap();
        let mut above = Above::Operators(Box::new(testing::root(directory.path())));
        above.events(one_event());
        above.flush(Time::ZERO);
        assert!(above.is_acknowledged() && above.next_deadline().is_none());
        assert!(above.is_root() && above.uplink().is_none());
        let (Some(history), Some(_), None) = above.outward() else { panic!("a root has operators") };
        assert_eq!(history.views(), one_event().events);
    }
}
