//! The requests of a node, as they are stored.

use super::again::Again;
use super::change_progress::LastReload;
use super::node_reader::Order;
use super::pending::Pending;
use crate::ids::{Name, Path};
use crate::node::asker::Numbers;
use crate::spec::resources::Resources;
use crate::spec::tree::{ChildSpec, Hooks};
use crate::supervision::RequestId;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use slog::Logger;
use std::collections::HashMap;

/// All requests of one node.
pub struct Requests {
    /// The node's path.
    pub(super) own: Path,
    pub(super) logger: Logger,
    pub(super) pending: Pending,
    /// Recent requests, for askers that send one again.
    pub(super) again: Again,
    /// New specs that have not taken effect yet.
    pub(super) incoming: HashMap<RequestId, Incoming>,
    /// The last reload that our parent has sent.
    pub(super) last_reload: LastReload,
    /// The core has halted.
    pub(super) ended: bool,
    /// The host's agent has not answered the last question; an earlier version of it does not know the question.
    pub(super) agent_is_silent: bool,
}

/// The orders that a request results in, to be carried out one after the other.
pub(super) type Orders = Vec<Order>;

/// The specs of a request that have not taken effect yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incoming {
    /// The children, all of them or some.
    pub children: Vec<ChildSpec>,
    /// Changes of the supervisor itself, and for its child nodes; only in a whole reload.
    pub whole: Option<WholeReload>,
}

/// The contents of a whole reload besides the children.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeReload {
    pub hooks: Hooks,
    /// The resource limits of the supervisor's subtree.
    pub resources: Resources,
    /// The number of this reload; the tree counts its reloads.
    pub generation: u64,
    /// Children that were added by hand are removed as well.
    pub prune: bool,
    /// The operator's name.
    pub by: String,
}

/// The requests in the snapshot of a hot upgrade.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    pending: Pending,
    again: Again,
    incoming: HashMap<RequestId, Incoming>,
    last_reload: LastReload,
}

impl Carried {
    /// The spec for a child in a request that has not taken effect yet.
    pub fn asked(&self, request: RequestId, name: &Name) -> Option<&ChildSpec> {
        self.incoming.get(&request)?.children.iter().find(|child| child.name == *name)
    }
}

impl Requests {
    /// The snapshot of the requests.
    pub fn pack(&self) -> Carried {
        // A node that has ended is not upgraded.
        let Requests { own: _, logger: _, pending, again, incoming, last_reload, ended: _, agent_is_silent: _ } = self;
        Carried {
            pending: pending.clone(),
            again: again.clone(),
            incoming: incoming.clone(),
            last_reload: last_reload.clone(),
        }
    }

    /// The requests from the snapshot of the program that ran before.
    pub fn unpack(carried: Carried, own: Path, logger: Logger) -> Requests {
        let Carried { pending, again, incoming, last_reload } = carried;
        Requests { own, logger, pending, again, incoming, last_reload, ended: false, agent_is_silent: false }
    }

    /// Whether a whole reload waits for its turn, or a change of the children is being carried out.
    pub fn reloads_or_changes(&self) -> bool {
        self.incoming.values().any(|incoming| incoming.whole.is_some()) || self.pending.has_changes()
    }

    /// Whether parts of a status are being collected, which takes a moment only.
    pub fn gathers(&self) -> bool {
        self.pending.gathers()
    }

    /// The requests of the node at `own`: none yet.
    pub fn new(own: Path, logger: Logger) -> Requests {
        Requests {
            own,
            logger,
            pending: Pending::default(),
            again: Again::default(),
            incoming: HashMap::new(),
            last_reload: LastReload::default(),
            ended: false,
            agent_is_silent: false,
        }
    }

    /// When a request has to be acted on next.
    pub fn next_deadline(&self) -> Option<Time> {
        self.pending.next_deadline()
    }

    /// The numbers of requests and of questions to child nodes.
    pub fn numbers(&mut self) -> &mut Numbers {
        &mut self.pending.numbers
    }

    /// Whether a request of this number waits.
    pub fn waits_for(&self, request: u64) -> bool {
        self.pending.has(request)
    }

    /// Takes the specs of a request that the core has begun: they take effect now.
    pub fn take_incoming(&mut self, request: RequestId) -> Option<Incoming> {
        self.incoming.remove(&request)
    }
}
