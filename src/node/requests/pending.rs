//! The table of requests that wait: of which asker, for what, and when something has to be done about it. Pure.
//!
//! A request leaves the table with its last reply; so no receiver gets two.

use super::emptying::Emptying;
use super::route::Change;
use super::spread::Spread;
use crate::ids::{Name, Path};
use crate::node::asker::{Asker, Numbers};
use crate::supervision::{ChildId, Command, Run};
use crate::time::{Span, Time};
use crate::wire::message::Verb;
use crate::wire::view::{ChildView, StoreStateView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Requests that may wait at one time.
pub(super) const PENDING_MAX: usize = 1_024;

/// What a request waits for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Waits {
    /// For the core's answer.
    Core { what: String, does: Option<(ChildId, Does)> },
    /// For the same about a rolling restart, which reports how far it is.
    Rolling { what: String },
    /// For a node below, which was asked about a path.
    Below {
        run: Run,
        path: Path,
        change: Change,
        by: String,
        incarnation: Option<u64>,
        accepted: bool,
        /// Not carried over: the image that comes asks again, and that is held anew.
        #[serde(skip)]
        held: Option<Held>,
        /// Of a status. Like what follows, not carried over: a tree with placed children is not replaced.
        #[serde(skip)]
        cluster: Option<Box<Cluster>>,
    },
    /// For the parts of a status; the view is complete but for them.
    Gather {
        view: Box<ChildView>,
        missing: Vec<u64>,
        #[serde(skip)]
        cluster: Option<Box<Cluster>>,
    },
    /// For the host's agent, before a status is gathered or asked for below. The asker's own time is over then.
    Agent { path: Path, children: Option<Vec<Name>>, by: String, over: Time },
    /// For a part of another request's status.
    Part { of: u64, run: Run },
    /// For a subtree to be empty that is killed past a node that does not answer.
    Emptying(Emptying),
    /// For the core and for child nodes, which all have a part in a change.
    Spread(Box<Spread>),
    /// For a child node to do its part of such a change.
    PartOfSpread { of: u64, run: Run, by: String, verb: Box<Verb> },
    /// For our own end.
    OwnEnd,
}

/// What the host's agent has shown of the whole, for the answer to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    pub name: String,
    pub store: StoreStateView,
}

/// What is to be asked of a child node is not sent yet, for that is being replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// At this time it is sent all the same.
    pub until: Time,
    /// The child node has so long to answer from then on.
    pub answer: Span,
}

/// What the core is to do to a child, as far as it matters to requests that come meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Does {
    Restart,
    Stop,
}

impl Does {
    pub(super) fn of(command: &Command) -> Option<(ChildId, Does)> {
        match command {
            Command::Cycle(child) => Some((*child, Does::Restart)),
            Command::Terminate(child) => Some((*child, Does::Stop)),
            _ => None,
        }
    }
}

/// One request that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    pub asker: Asker,
    pub waits: Waits,
    /// When to do something about it.
    pub due: Time,
}

/// All that wait.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    pub numbers: Numbers,
    waiting: BTreeMap<u64, Waiting>,
}

impl Pending {
    /// Adds one that waits, and gives its number.
    pub(super) fn add(&mut self, asker: Asker, waits: Waits, due: Time) -> u64 {
        let number = self.numbers.draw();
        self.waiting.insert(number, Waiting { asker, waits, due });
        number
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.waiting.contains_key(&number)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Waiting> {
        self.waiting.get_mut(&number)
    }

    /// The change of this number that several have a part in.
    pub(super) fn spread(&mut self, number: u64) -> Option<&mut Spread> {
        match self.waiting.get_mut(&number).map(|waiting| &mut waiting.waits) {
            Some(Waits::Spread(spread)) => Some(spread),
            Some(_) | None => None,
        }
    }

    /// Takes one out: its last reply is due.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        self.waiting.remove(&number)
    }

    /// Whether a change is under way that several have a part in.
    pub(super) fn spreads(&self) -> bool {
        self.waiting.values().any(|waiting| matches!(waiting.waits, Waits::Spread(_)))
    }

    /// Whether the parts of a status are being collected.
    pub(super) fn gathers(&self) -> bool {
        let gathers = |waits: &Waits| matches!(waits, Waits::Gather { .. } | Waits::Part { .. } | Waits::Agent { .. });
        self.waiting.values().any(|waiting| gathers(&waiting.waits))
    }

    /// The numbers of those whose time has come.
    pub(super) fn due(&self, now: Time) -> Vec<u64> {
        self.numbers(|waiting| waiting.due <= now)
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.numbers(|_| true)
    }

    /// The numbers of what was asked of this process of a child node.
    pub(super) fn of(&self, gone: Run) -> Vec<u64> {
        self.numbers(|waiting| match &waiting.waits {
            Waits::Below { run, .. } | Waits::Part { run, .. } | Waits::PartOfSpread { run, .. } => *run == gone,
            Waits::Core { .. }
            | Waits::Rolling { .. }
            | Waits::Gather { .. }
            | Waits::Agent { .. }
            | Waits::Emptying(_)
            | Waits::Spread(_)
            | Waits::OwnEnd => false,
        })
    }

    /// What this process of a child node has not answered of earlier changes that several have a part in.
    pub(super) fn parts_of(&self, child: Run) -> Vec<u64> {
        self.numbers(|waiting| matches!(&waiting.waits, Waits::PartOfSpread { run, .. } if *run == child))
    }

    /// Whether a request for this waits for the core.
    pub(super) fn does(&self, child: ChildId, wanted: Does) -> bool {
        let wanted = Some((child, wanted));
        self.waiting.values().any(|waiting| matches!(&waiting.waits, Waits::Core { does, .. } if *does == wanted))
    }

    fn numbers(&self, which: impl Fn(&Waiting) -> bool) -> Vec<u64> {
        self.waiting.iter().filter(|(_, waiting)| which(waiting)).map(|(number, _)| *number).collect()
    }
}
