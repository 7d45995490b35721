//! What stands above a node: its parent, or for the root, the operators.

use super::history::{EventBatch, History};
use super::hosted::Hosted;
use super::root::Root;
use super::uplink::Uplink;
use crate::link::Router;
use crate::time::Time;
use slog::{Logger, error};

/// What stands above a node.
pub(super) enum Above {
    /// The node that has started this one.
    Parent(Box<Uplink>),
    /// Nothing but the operators: this is the root.
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

    /// Feeds the watchdog of a service manager now, where there is one: what comes next may take long.
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

    /// The page of the host's lease shows another deadline by now.
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

    /// What is remembered of events, and the ways out: to operators, or to the parent.
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

    /// Sends what waits, as far as that can be done without waiting.
    pub(super) fn flush(&mut self, now: Time) {
        match self {
            Above::Parent(uplink) => uplink.flush(now),
            Above::Operators(root) => root.flush(now),
        }
    }

    /// Whether the parent has acknowledged all that a node that ends has for it.
    pub(super) fn is_acknowledged(&self) -> bool {
        match self {
            Above::Parent(uplink) => uplink.is_done(),
            Above::Operators(_) => true,
        }
    }

    /// Events go to the root: it keeps them; every other node passes them up.
    pub(super) fn events(&mut self, batch: EventBatch) {
        match self {
            Above::Parent(uplink) => uplink.events(batch),
            Above::Operators(root) => root.events(batch),
        }
    }
}
