//! The hooks in the snapshot of a hot upgrade. Running hooks are not interrupted.

use super::Hooks;
use super::bursts::Bursts;
use super::causes::Causes;
use super::queue::Queue;
use super::running::{Facts, Key, Order, Running};
use crate::ids::Path;
use crate::node::command::{CarriedHelper, HelperProcess};
use crate::node::luggage::{Packing, Unpacking};
use crate::node::reactor::{Reactor, Source};
use crate::spec::tree;
use crate::supervision::ChildId;
use crate::time::{Credit, Time};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The hooks of a node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedHooks {
    own: tree::Hooks,
    running: Vec<CarriedHook>,
    waiting: Queue<Order>,
    #[serde(with = "crate::node::pairs")]
    panicked: HashMap<ChildId, Facts>,
    bursts: Bursts<Order>,
    causes: Causes,
    number: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedHook {
    number: u64,
    key: Key,
    about: Path,
    process: CarriedHelper,
    until: Time,
    /// As in `process`.
    killed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stuck: bool,
}

impl Hooks {
    /// Whether an upgrade is possible now.
    pub(crate) fn can_go_over(&self) -> bool {
        self.running.iter().all(|hook| hook.process.can_go_over())
    }

    /// The snapshot of the hooks.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedHooks {
        // A supervisor that is ending, or was panicked, is not upgraded.
        let Hooks { is_root: _, own, running, waiting, panicked, all_panicked: _, bursts, causes, number, ending: _ } =
            self;
        let one = |Running { number, key, about, process, until, credited: _, stuck }: &Running| CarriedHook {
            number: *number,
            key: *key,
            about: about.clone(),
            process: process.pack(&format!("hook {number}"), packing),
            until: *until,
            killed: process.is_killed(),
            stuck: *stuck,
        };
        CarriedHooks {
            own: own.clone(),
            running: running.iter().map(one).collect(),
            waiting: waiting.clone(),
            panicked: panicked.clone(),
            bursts: bursts.clone(),
            causes: causes.clone(),
            number: *number,
        }
    }

    /// The hooks from the snapshot of the program that ran before.
    pub(crate) fn unpack(
        carried: CarriedHooks,
        is_root: bool,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Hooks {
        let CarriedHooks { own, running, waiting, panicked, bursts, causes, number } = carried;
        let one = |CarriedHook { number, key, about, process, until, killed: _, stuck }| {
            let process = HelperProcess::unpack(process, Source::Hook(number), unpacking, reactor);
            Running { number, key, about, process, until, credited: Credit::default(), stuck }
        };
        let running = running.into_iter().map(one).collect();
        Hooks { running, waiting, panicked, bursts, causes, number, ..Hooks::new(own, is_root) }
    }
}
