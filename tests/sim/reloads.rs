//! Reloads: which children each supervisor is to have, and how a whole tree receives it.
//!
//! As in the real shell, whose `requests` run here, a node's plan changes when its core orders it; from then on child
//! nodes are started with it, and those that run are sent it until they have answered. After the storm comes one last
//! reload, and the tree must settle as it says: no child too few, none too many, in its order, each process of the
//! revision that it says.

use crate::checkers::{Rule, Verdict, ensure};
use crate::kernel::Life;
use crate::mutations::Mutation;
use crate::node::Node;
use crate::rng::Rng;
use crate::scenarios::{SpecId, Tree};
use crate::world::{Happening, World, log};
use serde_json::Value;
use std::sync::Arc;
use treevisor::ids::Path;
use treevisor::node::asker::Asker;
use treevisor::spec::policy::SupervisorPolicy;
use treevisor::spec::tree::SupervisorSpec;
use treevisor::supervision::{Command, Event, Kind, Member, OwnPolicy, Reload, RequestId};
use treevisor::time::Span;
use treevisor::wire::message::Verb;

/// What a tree is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) generation: u64,
    prune: bool,
    /// For each supervisor its children in start order, with the revision of each.
    places: Vec<Vec<(SpecId, u64)>>,
}

impl Plan {
    /// The tree as the scenario has it.
    pub(crate) fn first(tree: &Tree) -> Plan {
        let places = tree.specs.iter().map(|spec| spec.children.iter().map(|&child| (child, 0)).collect()).collect();
        Plan { generation: 0, prune: true, places }
    }

    pub(crate) fn children(&self, of: SpecId) -> &[(SpecId, u64)] {
        &self.places[of.0]
    }

    /// Another one, not too far from this one.
    fn next(&self, tree: &Tree, rng: &mut Rng, generation: u64) -> Plan {
        let mut places = Vec::with_capacity(tree.specs.len());
        for (at, spec) in tree.specs.iter().enumerate() {
            let mut children = self.places[at].clone();
            children.retain(|_| !rng.chance(150));
            for (child, revision) in &mut children {
                // A supervisor's own program never changes.
                if tree.specs[child.0].kind == Kind::Worker && rng.chance(200) {
                    *revision += 1;
                }
            }
            for &child in spec.children.iter().chain(&spec.addable) {
                if children.iter().all(|(other, _)| *other != child) && rng.chance(300) {
                    let place = rng.below(children.len() as u64 + 1) as usize;
                    children.insert(place, (child, rng.below(2)));
                }
            }
            if rng.chance(100) {
                children.reverse();
            }
            places.push(children);
        }
        Plan { generation, prune: rng.chance(500), places }
    }

    /// What a child node is sent of it.
    fn verb(&self, path: Path) -> Verb {
        let spec = serde_json::to_value(nothing()).expect("a spec can be written");
        let (generation, prune) = (self.generation, self.prune);
        Verb::ReloadBelow { path, spec, heartbeat: Value::Null, generation, prune }
    }

    /// Whether anything at or below a supervisor is otherwise in `other`.
    fn differs(&self, tree: &Tree, at: SpecId, other: &Plan) -> bool {
        let below = |spec: usize| {
            let mut above = Some(SpecId(spec));
            while let Some(place) = above {
                if place == at {
                    return true;
                }
                above = tree.specs[place.0].parent;
            }
            false
        };
        (0..tree.specs.len()).any(|spec| self.places[spec] != other.places[spec] && below(spec))
    }
}

impl World {
    /// A reload of the whole tree comes, now and then two right after each other.
    pub(crate) fn reload_some_time(&mut self) {
        let delay = self.reload_rng.millis(300, 9_000);
        self.after(delay, Happening::Reload { last: false });
        if self.reload_rng.chance(300) {
            let soon = delay + self.reload_rng.millis(0, 30);
            self.after(soon, Happening::Reload { last: true });
        }
    }

    /// Copies are restarted one after another, often while a reload rolls others, or these.
    pub(crate) fn roll_some_time(&mut self) {
        let delay = self.roll_rng.millis(300, 9_000);
        self.after(delay, Happening::Roll);
    }

    /// An operator has the copies of one `count` restarted, if there are any.
    pub(crate) fn roll(&mut self) {
        if !self.is_stormy() {
            return;
        }
        self.roll_some_time();
        let mut counts = Vec::new();
        for &pid in self.kernel.living() {
            let Some(node) = self.nodes[pid].as_deref() else { continue };
            let children = node.plan.children(node.spec).iter();
            let groups = children.filter_map(|(child, _)| Some((pid, self.tree.specs[child.0].policy.group?)));
            counts.extend(groups);
        }
        counts.dedup();
        if !counts.is_empty() {
            let (pid, group) = *self.roll_rng.pick(&counts);
            self.saw("a rolling restart is asked for");
            self.after(Span::ZERO, Happening::Ask(pid, Box::new(Command::Roll(group))));
        }
    }

    /// One reload; after `last` no other one is planned.
    pub(crate) fn reload(&mut self, last: bool) -> Verdict {
        if !self.is_stormy() {
            return Ok(());
        }
        let tree = self.tree.clone();
        self.generation += 1;
        let generation = self.generation;
        let mut plan = self.wanted.next(&tree, &mut self.reload_rng, generation);
        // `reload --abort`: the tree from before the last reload, in the midst of its roll-outs more often than not.
        if self.roll_rng.chance(150)
            && let Some(before) = generation.checked_sub(2).and_then(|before| self.plans.get(&before)).cloned()
        {
            self.saw("a reload is taken back");
            plan = Plan { generation, ..Plan::clone(&before) };
        }
        self.bring(plan)?;
        if !last {
            self.reload_some_time();
        }
        Ok(())
    }

    /// The last reload, when all faults have ceased.
    pub(crate) fn reload_at_last(&mut self) -> Verdict {
        let tree = self.tree.clone();
        self.generation += 1;
        let generation = self.generation;
        let mut plan = self.wanted.next(&tree, &mut self.reload_rng, generation);
        plan.prune = true;
        self.last_plan = Some(generation);
        self.bring(plan)
    }

    fn bring(&mut self, plan: Plan) -> Verdict {
        log!(self, "reload {}: {:?}", plan.generation, plan.places);
        self.saw("a reload");
        let plan = Arc::new(plan);
        self.wanted = plan.clone();
        self.plans.insert(plan.generation, plan.clone());
        let root = self.root;
        let Some(mut node) = self.nodes[root].take() else { return Ok(()) };
        let (generation, prune) = (plan.generation, plan.prune);
        let orders = node.requests.reload(self.now, Asker::None, "a reload".into(), generation, nothing(), None, prune);
        let verdict = self.obey(&mut node, orders);
        self.wake(&mut node);
        self.nodes[root] = Some(node);
        verdict
    }

    /// A node's requests bring its core another set of children: here the core gets them.
    pub(crate) fn hand_in_reload(&mut self, node: &mut Node, reload: Reload) {
        let Some(plan) = self.plans.get(&reload.generation) else { return };
        let spec = &self.tree.specs[node.spec.0];
        let policy = self.told_of(spec.sup);
        let uplink = node.has_parent().then_some(spec.policy.heartbeat).flatten();
        let members = plan.children(node.spec).iter().map(|&(child, revision)| self.member(child, revision)).collect();
        let reload = Reload { own: Some(OwnPolicy { policy, uplink }), members, ..reload };
        node.orders.push_back(Event::Reloaded(Box::new(reload)));
    }

    /// What the core is given of a supervisor's policy.
    pub(crate) fn told_of(&self, mut policy: SupervisorPolicy) -> SupervisorPolicy {
        if let Some(mutation) = self.mutation {
            mutation.lie_about_supervisor(&mut policy);
        }
        policy
    }

    /// What the core is given of a child.
    pub(crate) fn member(&self, spec: SpecId, revision: u64) -> Member {
        let spec = &self.tree.specs[spec.0];
        let mut policy = spec.policy.clone();
        if let Some(mutation) = self.mutation {
            mutation.lie_about_child(&mut policy);
        }
        Member { name: spec.name.clone(), kind: spec.kind, revision, settings: 0, policy: policy.into() }
    }

    /// The plan of this request is in force.
    pub(crate) fn renew(&mut self, node: &mut Node, request: RequestId) -> Verdict {
        let whole = node.requests.take_incoming(request).and_then(|incoming| incoming.whole);
        let Some(plan) = whole.and_then(|whole| self.plans.get(&whole.generation)).cloned() else { return Ok(()) };
        let before = std::mem::replace(&mut node.plan, plan.clone());
        let later = std::mem::take(&mut node.later);
        for (child, _) in plan.children(node.spec).iter().filter(|(child, _)| !later.contains(child)) {
            self.behind.remove(child);
        }
        if self.mutation == Some(Mutation::ReloadNotPassedOn) {
            return Ok(());
        }
        let tree = self.tree.clone();
        let mut parts = Vec::new();
        for (run, pid) in node.present() {
            // One that has ended is started with it.
            if self.kernel.get(pid).life == Life::Dead {
                continue;
            }
            let spec = self.kernel.get(pid).spec;
            let there = plan.children(node.spec).iter().any(|(child, _)| *child == spec);
            let concerned = plan.prune || plan.differs(&tree, spec, &before);
            if tree.specs[spec.0].kind == Kind::Supervisor && there && concerned {
                parts.push((run, plan.verb(tree.specs[spec.0].at.clone())));
            }
        }
        let orders = node.requests.hand_out_parts(self.now, request, "a reload", parts);
        self.obey(node, orders)
    }

    /// Whether the tree is what the last reload says, once it has settled.
    pub(crate) fn check_plan(&mut self) -> Verdict {
        let Some(last) = self.last_plan else { return Ok(()) };
        let (mut open, mut stopped) = (vec![self.root], false);
        while let Some(pid) = open.pop() {
            let Some(node) = self.nodes[pid].as_deref() else { continue };
            let supervisor = self.name_of(pid);
            let wanted = self.wanted.children(node.spec);
            ensure!(self.wanted.generation == last, Rule::Reloaded, "another reload came after the last one");
            let names: Vec<&str> = wanted.iter().map(|(child, _)| self.tree.specs[child.0].name.as_str()).collect();
            // One that is to go and cannot be killed is there until it is gone.
            let known = |name: &str| names.contains(&name);
            let children = node.core.children(self.now);
            let there = children.iter().filter(|child| child.stuck.is_none() || known(child.name.as_str()));
            let there: Vec<&str> = there.map(|child| child.name.as_str()).collect();
            ensure!(there == names, Rule::Reloaded, "{supervisor} has {there:?} and should have {names:?}");
            for (status, (spec, revision)) in children.iter().zip(wanted) {
                if status.stuck.is_some() {
                    // The next process of it is what the reload says.
                    continue;
                }
                if status.behind {
                    // Its roll-out was stopped, by a copy that failed or with its supervisor's process.
                    stopped = true;
                    continue;
                }
                let Some(process) = node.process_of(status.id) else { continue };
                let is = self.kernel.get(process).revision;
                let name = &self.tree.specs[spec.0].path;
                ensure!(is == *revision, Rule::Reloaded, "{name} runs as revision {is} and should as {revision}");
                if status.kind == Kind::Supervisor {
                    open.push(process);
                }
            }
        }
        if stopped {
            self.saw("a roll-out that is left as it was stopped");
        }
        Ok(())
    }
}

/// What stands for the children of a supervisor on the way to it: its plan is known by its number.
fn nothing() -> SupervisorSpec {
    SupervisorSpec::default()
}
