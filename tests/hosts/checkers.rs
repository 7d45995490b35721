//! What must hold, whatever happens. They see what no host sees: true time, and what is executed where.

use crate::machine::{Instant, Machine, Process};
use crate::scenario::Scenario;
use crate::store::Store;
use crate::world::CLUSTER;
use std::collections::BTreeMap;
use std::fmt;
use treevisor::hosts::ClaimKey;
use treevisor::hosts::record::{self, Host, HostState, Key, OwnState, Ownership};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// I1: no exclusive subtree is executed twice at the same time, on two hosts or on one.
    Overlap,
    /// I2: tokens only grow.
    Token,
    /// I3: a claim changes by W4 and W6 only, and a host's record by W1, W2, W3 and its own end.
    Record,
    /// I4: after the last fault each subtree that is wanted runs on exactly one host that may run it.
    Runs,
    /// I6: a host that can renew loses nothing.
    KeptItsLease,
    /// No machine has the name of another here.
    NameTaken,
    /// The core has panicked.
    Panicked,
}

#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

/// A swap that was done.
pub(crate) struct Write<'a> {
    pub(crate) at: Instant,
    /// Which host has sent it.
    pub(crate) host: usize,
    pub(crate) key: &'a str,
    /// When what was there was written, and what it was.
    pub(crate) before: Option<(Instant, &'a [u8])>,
    pub(crate) new: &'a [u8],
}

pub(crate) struct Checkers {
    pub(crate) violation: Option<Violation>,
    /// Where a rule is broken on purpose: what is looked for is that two hosts execute the same.
    overlap_only: bool,
    lease: u64,
    drift: u64,
    tokens: BTreeMap<ClaimKey, u64>,
    sworn: Vec<usize>,
}

impl Checkers {
    pub(crate) fn new(scenario: &Scenario, overlap_only: bool) -> Checkers {
        Checkers {
            violation: None,
            overlap_only,
            lease: scenario.timing.lease.as_nanos(),
            drift: scenario.drift as u64,
            tokens: BTreeMap::new(),
            sworn: Vec::new(),
        }
    }

    pub(crate) fn broken(&mut self, rule: Rule, text: String) {
        if self.violation.is_none() && (!self.overlap_only || rule == Rule::Overlap) {
            self.violation = Some(Violation { rule, text });
        }
    }

    pub(crate) fn sworn(&mut self, host: usize) {
        self.sworn.push(host);
    }

    /// A process executes from now on.
    pub(crate) fn executes(&mut self, at: Instant, host: usize, number: u64, machines: &[Machine]) {
        let Some(new) = machines[host].processes.iter().find(|process| process.number == number) else { return };
        if !new.executes || new.resumed_late {
            return;
        }
        for machine in machines.iter().filter(|machine| machine.is_awake()) {
            let same = |old: &&Process| old.executes && !old.resumed_late && old.claim == new.claim;
            for old in machine.processes.iter().filter(same).filter(|old| old.number != number) {
                let text = format!(
                    "{} is executed on {} (token {}) and on {} (token {}) at {:.6}",
                    new.claim,
                    machines[host].name,
                    new.token,
                    machine.name,
                    old.token,
                    at as f64 / 1e9
                );
                self.broken(Rule::Overlap, text);
            }
        }
        let newest = self.tokens.entry(new.claim.clone()).or_default();
        let (before, claim) = (*newest, new.claim.clone());
        *newest = before.max(new.token);
        if new.token < before {
            self.broken(Rule::Token, format!("{claim} is started with token {} after {before}", new.token));
        }
    }

    /// A record was written.
    pub(crate) fn written(&mut self, write: &Write<'_>, machines: &[Machine], store: &Store) {
        let Write { at, host, key, before, new } = *write;
        match Key::parse(CLUSTER, key) {
            Some(Key::Host(name)) => self.host_written(at, host, &name, before, new, machines),
            Some(Key::Own(claim)) => {
                let before =
                    before.map(|(_, value)| record::read::<Ownership>(value).expect("agents write what can be read"));
                let new: Ownership = record::read(new).expect("agents write what can be read");
                self.own_written(host, &claim, before, &new, machines, store);
            }
            Some(Key::Want(_) | Key::Cluster) | None => {}
        }
    }

    fn host_written(
        &mut self,
        at: Instant,
        host: usize,
        name: &str,
        before: Option<(Instant, &[u8])>,
        new: &[u8],
        machines: &[Machine],
    ) {
        let new: Host = record::read(new).expect("agents write what can be read");
        let written_at = before.map_or(0, |(at, _)| at);
        let before: Option<Host> = before.map(|(_, value)| record::read(value).expect("agents write what can be read"));
        let me = machines[host].name == name;
        let subject = machines.iter().position(|machine| machine.name == name).expect("no other host has a record");
        let begins = before.as_ref().is_none_or(|before| before.epoch < new.epoch);
        if me && begins && !machines[host].processes.is_empty() {
            self.broken(Rule::Record, format!("{name} begins epoch {} with something left (W2)", new.epoch));
        }
        if me && new.state == HostState::Dead && !machines[host].processes.is_empty() {
            self.broken(Rule::Record, format!("{name} leaves, and something is left"));
        }
        if me {
            if before.as_ref().is_some_and(|before| before.epoch > new.epoch) {
                self.broken(Rule::Record, format!("{name} goes back to epoch {}", new.epoch));
            }
            return;
        }
        let before = before.unwrap_or_default();
        if new.state != HostState::Dead || new.epoch != before.epoch || new.seq != before.seq {
            self.broken(Rule::Record, format!("{name} is written by {}: {new:?}", machines[host].name));
        }
        let waited = at - written_at;
        if waited < self.lease - self.lease * self.drift / 1_000_000 && !self.sworn.contains(&subject) {
            self.broken(Rule::Record, format!("{name} is declared dead after {:.3} s (W3)", waited as f64 / 1e9));
        }
    }

    fn own_written(
        &mut self,
        host: usize,
        claim: &ClaimKey,
        before: Option<Ownership>,
        new: &Ownership,
        machines: &[Machine],
        store: &Store,
    ) {
        let name = &machines[host].name;
        let broken = |what: &str| format!("{claim}: {what}: {before:?} becomes {new:?} by {name}");
        if new.host != *name {
            return self.broken(Rule::Record, broken("in the name of another"));
        }
        let token = before.as_ref().map_or(0, |before| before.token);
        if new.state == OwnState::Free {
            let own = before.as_ref().is_some_and(|before| {
                before.state == OwnState::Held
                    && (&before.host, before.epoch, token) == (&new.host, new.epoch, new.token)
            });
            if !own {
                return self.broken(Rule::Record, broken("not its own is set free (W6)"));
            }
            if machines[host].processes.iter().any(|process| process.claim == *claim) {
                self.broken(Rule::Record, broken("something is left (W6)"));
            }
            return;
        }
        if new.token <= token {
            self.broken(Rule::Token, broken("the token does not grow"));
        }
        let over = |before: &Ownership| {
            let key = Key::Host(before.host.clone()).in_store(CLUSTER);
            let holder = store.get(&key).map(|(_, _, value)| record::read::<Host>(value).expect("it was written"));
            holder.is_some_and(|holder| {
                holder.epoch > before.epoch || holder.epoch == before.epoch && holder.state == HostState::Dead
            })
        };
        if before.as_ref().is_some_and(|before| before.state == OwnState::Held && !over(before)) {
            self.broken(Rule::Record, broken("claimed while it is held (W4)"));
        }
    }

    /// What runs on a host is asked to stop because its lease is short.
    pub(crate) fn lease_short(&mut self, machine: &Machine) {
        if machine.calm {
            self.broken(Rule::KeptItsLease, format!("{} is asked to stop", machine.name));
        }
    }

    /// All that runs on a host is killed, not at its agent's start.
    pub(crate) fn cleared(&mut self, machine: &Machine) {
        if machine.calm {
            self.broken(Rule::KeptItsLease, format!("{} is cleared", machine.name));
        }
    }

    /// A host is reported as lost.
    pub(crate) fn lost(&mut self, name: &str, machines: &[Machine]) {
        if machines.iter().any(|machine| machine.calm && machine.name == name) {
            self.broken(Rule::KeptItsLease, format!("{name} is lost"));
        }
    }
}
