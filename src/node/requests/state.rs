//! What a node keeps of requests.

use super::again::Again;
use super::pending::Pending;
use super::sight::Order;
use super::spread::LastReload;
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
    /// Where the node stands.
    pub(super) own: Path,
    pub(super) logger: Logger,
    pub(super) pending: Pending,
    /// What operators have asked, for one that asks again.
    pub(super) again: Again,
    /// Specs that are not in force yet.
    pub(super) incoming: HashMap<RequestId, Incoming>,
    /// The last reload that our parent has sent.
    pub(super) last_reload: LastReload,
    /// The core has halted.
    pub(super) ended: bool,
    /// The host's agent has not answered what it was asked last; an earlier version of it does not know the question.
    pub(super) agent_is_silent: bool,
}

/// What is to be done, in this order.
pub(super) type Orders = Vec<Order>;

/// Specs that have come and are not in force yet, for the request that they came with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incoming {
    /// The children, all of them or some.
    pub children: Vec<ChildSpec>,
    /// What is new of the supervisor itself, and for its child nodes; only of a whole reload.
    pub whole: Option<Whole>,
}

/// What comes with a whole reload besides the children.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// The supervisor's own.
    pub hooks: Hooks,
    /// The limits of all that stands below it.
    pub resources: Resources,
    /// The number of the reload in the life of the tree.
    pub generation: u64,
    /// Children that were added by hand go as well.
    pub prune: bool,
    /// The operator.
    pub by: String,
}

/// The same as another image of the program goes on with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    pending: Pending,
    again: Again,
    incoming: HashMap<RequestId, Incoming>,
    last_reload: LastReload,
}

impl Carried {
    /// The spec that a request which waits for its turn has for a child.
    pub fn asked(&self, request: RequestId, name: &Name) -> Option<&ChildSpec> {
        self.incoming.get(&request)?.children.iter().find(|child| child.name == *name)
    }
}

impl Requests {
    /// What goes over.
    pub fn pack(&self) -> Carried {
        // One that has ended is not replaced.
        let Requests { own: _, logger: _, pending, again, incoming, last_reload, ended: _, agent_is_silent: _ } = self;
        Carried {
            pending: pending.clone(),
            again: again.clone(),
            incoming: incoming.clone(),
            last_reload: last_reload.clone(),
        }
    }

    /// The requests that another image of the program has had.
    pub fn unpack(carried: Carried, own: Path, logger: Logger) -> Requests {
        let Carried { pending, again, incoming, last_reload } = carried;
        Requests { own, logger, pending, again, incoming, last_reload, ended: false, agent_is_silent: false }
    }

    /// Whether a whole reload waits, or its parts are being done.
    pub fn reloads_or_spreads(&self) -> bool {
        self.incoming.values().any(|incoming| incoming.whole.is_some()) || self.pending.spreads()
    }

    /// Whether states are being collected, which is over soon.
    pub fn gathers(&self) -> bool {
        self.pending.gathers()
    }

    /// For the node at `own`.
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

    /// When something has to be done next.
    pub fn next_deadline(&self) -> Option<Time> {
        self.pending.next_deadline()
    }

    /// By which what is asked of child nodes is numbered.
    pub fn numbers(&mut self) -> &mut Numbers {
        &mut self.pending.numbers
    }

    /// Whether something of this number waits.
    pub fn waits_for(&self, request: u64) -> bool {
        self.pending.has(request)
    }

    /// What came with a request that the core has begun: it is in force from here on.
    pub fn take_incoming(&mut self, request: RequestId) -> Option<Incoming> {
        self.incoming.remove(&request)
    }
}
