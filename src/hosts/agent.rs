//! The core of one host: one [`Agent`], its state and its handling of events. `answers` handles answers of the store,
//! `placing` moves claims and runs.

use super::action::{Action, End};
use super::awaited::Awaited;
use super::claim::Claim;
use super::event::{Bundle, Event, OperatorOrder, RequestId, RunId, Turn};
use super::failure_detector::FailureDetector;
use super::hosted_subtree::HostedSubtree;
use super::lease::{Lease, Step};
use super::message::Message;
use super::moment::Moment;
use super::placed_children::PlacedChildren;
use super::record::{self, ClaimKey, Cluster, Host, HostState, Key, Ownership, Tried, Version, Want};
use super::report::Report;
use super::settings::Settings;
use crate::time::{Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A root that has given up here is not tried here again for this long, unless an operator orders it.
pub(super) const TRIED: Span = Span::from_secs(600);

/// The largest number of bundles that a record lists.
const BUNDLES_MAX: usize = 160;

/// The largest number of messages to itself that an agent reads in one turn; the others wait for the next.
const LOOPBACK_MAX: usize = 256;

/// Why a request was sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RequestPurpose {
    /// Write this host's own record: to begin an epoch, or to renew the lease.
    Renew,
    /// Write this host's own record: the host has left.
    Leave,
    /// Read all records of the cluster.
    Read,
    /// Write another host's record: it is dead.
    Declare(String, Host),
    /// Claim a subtree, in this epoch.
    Claim(ClaimKey, u64, Ownership),
    /// Set a claim free.
    Free(ClaimKey, Ownership),
    /// Write that an instance is to be down.
    WantDown(ClaimKey, Want),
}

/// The progress of the agent's end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    /// Runs were asked to stop; what is left at this time of BOOTTIME is killed.
    Stopping(Time),
    /// Everything is being killed, until it is seen to be gone.
    Clearing(End),
    /// Nothing runs here: claims are set free, then the record shows it. At this time the agent ends regardless.
    Leaving(Time),
    /// [`Action::Halt`] was given out.
    Halted,
}

/// The core of one host.
#[derive(Debug)]
pub struct Agent {
    pub(super) settings: Settings,
    pub(super) lease: Lease,
    pub(super) detector: FailureDetector,
    pub(super) owns: BTreeMap<ClaimKey, (Version, Ownership)>,
    pub(super) wants: BTreeMap<String, (Version, Want)>,
    /// The record of the cluster, if there is one.
    pub(super) cluster: Option<Cluster>,
    /// For each instance, the serial of its order, and since when that is known here.
    pub(super) ordered: BTreeMap<String, (u64, Time)>,
    pub(super) claims: BTreeMap<ClaimKey, Claim>,
    /// Placed subtrees which the agents of their parents have ordered from this host.
    pub(super) hosted: BTreeMap<ClaimKey, HostedSubtree>,
    /// What other hosts and nodes have asked for, and are answered about once it has happened.
    pub(super) awaited: Awaited,
    /// Placed subtrees whose parents are nodes on this host.
    pub(super) placed_children: PlacedChildren,
    /// Messages of this agent to itself, handled like those of other agents.
    pub(super) loopback: VecDeque<Message>,
    /// When something is to be sent again next.
    again_due: Option<Time>,
    pub(super) requests: BTreeMap<RequestId, RequestPurpose>,
    pub(super) requested: RequestId,
    pub(super) runs: RunId,
    /// The clearing that has not ended yet, and the number of clearings so far.
    clearing: Option<u64>,
    clearings: u64,
    pub(super) bundles: BTreeSet<Bundle>,
    /// Whether the host is drained; `None`: neither an operator has ordered it nor an earlier agent's record shows it.
    draining: Option<bool>,
    /// Draining has ended, with nothing left here, and that was reported.
    pub(super) drained: bool,
    /// Instances whose root has given up here, and until when they are not tried again.
    pub(super) tried: BTreeMap<String, (Time, Tried)>,
    /// This host was lost, and is not preferred until this time.
    pub(super) unsettled_until: Time,
    /// Whether the record of an earlier agent process of this host was taken over.
    pub(super) inherited: bool,
    pub(super) ending: Option<Ending>,
    /// Hosts that an operator has declared to be off, with their epoch at that time.
    pub(super) forgotten: BTreeMap<String, u64>,
    /// When a host may be declared dead next.
    pub(super) declared: BTreeMap<String, Time>,
    /// The last report for each claim that no host may have, and its time.
    pub(super) no_host: BTreeMap<ClaimKey, (Option<String>, Time)>,
    /// Whether the store has more hosts, held claims or instances that are up than are read.
    pub(super) overflows: bool,
    next_look: Time,
    /// When the claims are evaluated next.
    pub(super) claims_due: Option<Time>,
    /// When the store has answered last.
    pub(super) answered: Moment,
    pub(super) store_lost: bool,
}

impl Agent {
    /// Makes the core of a host, which has no lease yet.
    pub fn new(settings: Settings) -> Agent {
        Agent {
            lease: Lease::new(settings.timing, &settings.about.boot),
            settings,
            detector: FailureDetector::default(),
            owns: BTreeMap::new(),
            wants: BTreeMap::new(),
            cluster: None,
            ordered: BTreeMap::new(),
            claims: BTreeMap::new(),
            hosted: BTreeMap::new(),
            awaited: Awaited::default(),
            placed_children: PlacedChildren::default(),
            loopback: VecDeque::new(),
            again_due: None,
            requests: BTreeMap::new(),
            requested: 0,
            runs: 0,
            clearing: None,
            clearings: 0,
            bundles: BTreeSet::new(),
            draining: None,
            drained: false,
            tried: BTreeMap::new(),
            unsettled_until: Time::ZERO,
            inherited: false,
            ending: None,
            forgotten: BTreeMap::new(),
            declared: BTreeMap::new(),
            no_host: BTreeMap::new(),
            overflows: false,
            next_look: Time::ZERO,
            claims_due: None,
            answered: Moment::ZERO,
            store_lost: false,
        }
    }

    /// Handles one event, and adds the resulting actions to `out`.
    pub fn handle(&mut self, turn: Turn, event: Event, out: &mut Vec<Action>) {
        if self.ending == Some(Ending::Halted) {
            return;
        }
        // Checked first: for an epoch whose deadline has passed, any event comes too late, whatever it proves.
        if let Some((_, deadline)) = self.lease.held()
            && deadline.is_over(turn.now)
        {
            self.epoch_ends(turn.now.longest_since(deadline), out);
        }
        let mut poked = false;
        match event {
            Event::Begin => {
                self.answered = turn.now;
                self.clear(out);
            }
            Event::Tick => {}
            Event::Answered { request, answer } => self.take_answer(turn, request, answer, out),
            Event::Poked(number) => poked = self.lease.poked(turn.now, number),
            Event::Cleared(number) if self.clearing == Some(number) => self.is_clear(turn, out),
            Event::Cleared(_) => {}
            Event::Started { run, pid } => self.subtree_started(run, pid, out),
            Event::NotStarted { run, failure } => self.subtree_over(run, Err(failure), out),
            Event::Ended { run, end, detail } => self.subtree_over(run, Ok((end, detail)), out),
            Event::Inspected { run, found } => self.subtree_inspected(run, found, out),
            Event::Link { host, up } => self.link(host, up),
            Event::Connected { host } => self.connected(&host),
            // What the host ran in an earlier epoch is gone, and has to be started again.
            Event::Epoch { host, epoch } => {
                if self.detector.get(&host).is_some_and(|seen| seen.record.epoch < epoch) {
                    self.look_now(turn);
                }
            }
            // No other agent may send under this host's name.
            Event::FromHost { host, message } if host != self.settings.name => {
                self.take_message(turn, &host, message, out);
            }
            Event::FromHost { .. } => {}
            Event::FromParent { parent, message } => self.take_from_parent(turn, parent, message, out),
            Event::ParentGone(parent) => {
                self.placed_children.parent_gone(parent);
                self.forget_waiting(parent);
            }
            Event::Exited { run, end } => self.exited(turn, run, end),
            Event::Hung(run) if self.claims.values().any(|claim| claim.run() == Some(run)) => {
                out.push(Action::Kill(run));
            }
            Event::Hung(_) => {}
            Event::Bundles(bundles) => {
                self.bundles = bundles.into_iter().collect();
                self.lease.hurry();
            }
            Event::Asked(order) => self.asked(turn, order),
        }
        self.act(turn, poked, out);
        for _ in 0..LOOPBACK_MAX {
            let Some(message) = self.loopback.pop_front().filter(|_| self.ending != Some(Ending::Halted)) else {
                break;
            };
            let me = self.settings.name.clone();
            self.take_message(turn, &me, message, out);
            self.move_placed(turn, out);
        }
    }

    /// When [`Event::Tick`] is due, as a time of BOOTTIME. Changes with each event.
    pub fn next_deadline(&self, now: Moment) -> Option<Time> {
        let (ending, write) = match self.ending {
            None => (None, self.lease.next(now)),
            Some(Ending::Stopping(at)) => (Some(at), self.lease.next(now)),
            Some(Ending::Clearing(_)) => (None, None),
            Some(Ending::Leaving(at)) if self.is_empty() => (Some(at), self.lease.next_last_write()),
            Some(Ending::Leaving(at)) => (Some(at), None),
            Some(Ending::Halted) => return None,
        };
        let look = (!self.is_looking()).then_some(self.next_look);
        let held = self.lease.held().map(|(_, deadline)| {
            let asks = deadline.minus(self.settings.timing.stop_before);
            let next = if asks.is_over(now) { deadline } else { asks };
            now.boottime + next.left(now)
        });
        let claims = self.claims_due.filter(|_| held.is_some());
        [ending, write, look, held, claims, self.again_due].into_iter().flatten().min()
    }

    /// How much of this host's lease is left; `None`: it has none.
    pub fn lease_left(&self, now: Moment) -> Option<Span> {
        self.lease.held().map(|(_, deadline)| deadline.left(now)).filter(|left| !left.is_zero())
    }

    fn asked(&mut self, turn: Turn, order: OperatorOrder) {
        match order {
            OperatorOrder::Drain => self.draining = Some(true),
            OperatorOrder::Undrain => (self.draining, self.drained) = (Some(false), false),
            OperatorOrder::Stop { kill_after } if self.ending.is_none() => {
                self.ending = Some(Ending::Stopping(turn.now.boottime + kill_after));
            }
            OperatorOrder::Stop { .. } => {}
            OperatorOrder::Forget(host) => {
                if let Some(seen) = self.detector.get(&host).filter(|_| host != self.settings.name) {
                    self.forgotten.insert(host, seen.record.epoch);
                }
            }
            OperatorOrder::Keys { cert, issuers } => {
                (self.settings.about.cert, self.settings.about.issuers) = (cert, issuers)
            }
        }
        self.lease.hurry();
    }

    /// Ends the epoch: everything that runs by the lease is killed; the next epoch begins when nothing of it is left.
    pub(super) fn epoch_ends(&mut self, late: Span, out: &mut Vec<Action>) {
        self.lease.end();
        self.clear(out);
        self.hosted_gone();
        self.placed_children.all_gone();
        for (key, claim) in &mut self.claims {
            // Remaining hosted subtrees need no lease, and go on running.
            if let Some(here) = claim.end_of_epoch().filter(|_| !self.hosted.contains_key(key)) {
                out.push(Action::Report(Report::Fenced { claim: key.clone(), token: here.token, late }));
            }
        }
        if matches!(self.ending, Some(Ending::Stopping(_) | Ending::Leaving(_))) {
            self.ending = Some(Ending::Clearing(End::Stopped { left: false }));
        }
    }

    /// Another machine uses this host's name: everything here is killed, and the agent ends.
    pub(super) fn name_taken(&mut self, text: String, out: &mut Vec<Action>) {
        self.epoch_ends(Span::ZERO, out);
        self.ending = Some(Ending::Clearing(End::NameTaken(text)));
    }

    fn clear(&mut self, out: &mut Vec<Action>) {
        self.clearings += 1;
        self.clearing = Some(self.clearings);
        out.push(Action::Clear(self.clearings));
    }

    fn is_clear(&mut self, turn: Turn, out: &mut Vec<Action>) {
        self.clearing = None;
        self.lease.clear();
        self.hosted_gone();
        // Remaining hosted subtrees go on running.
        self.claims.iter_mut().filter(|(key, _)| !self.hosted.contains_key(key)).for_each(|(_, claim)| claim.emptied());
        match self.ending.take() {
            Some(Ending::Clearing(End::Stopped { .. })) if self.lease.held().is_some() => {
                self.ending = Some(Ending::Leaving(turn.now.boottime + self.settings.timing.renew));
            }
            Some(Ending::Clearing(end)) => self.halt(end, out),
            other => self.ending = other,
        }
    }

    /// Orders a read of the store: in this turn, or as soon as the read that is open has ended.
    pub(super) fn look_now(&mut self, turn: Turn) {
        self.next_look = self.next_look.min(turn.now.boottime);
    }

    pub(super) fn halt(&mut self, end: End, out: &mut Vec<Action>) {
        self.ending = Some(Ending::Halted);
        out.push(Action::Halt(end));
    }

    /// Does what is due.
    fn act(&mut self, turn: Turn, poked: bool, out: &mut Vec<Action>) {
        self.tried.retain(|_, (until, _)| *until > turn.now.boottime);
        self.end_in_steps(turn, out);
        if self.ending == Some(Ending::Halted) {
            return;
        }
        if !self.is_looking() && turn.now.boottime >= self.next_look {
            self.next_look = turn.now.boottime + self.settings.timing.look;
            let prefix = record::prefix(&self.settings.cluster);
            let request = self.request(RequestPurpose::Read);
            out.push(Action::Read { request, prefix });
        }
        // The lease comes before everything that may take long.
        if !matches!(self.ending, Some(Ending::Clearing(_) | Ending::Leaving(_))) {
            self.keep_lease(turn, poked, out);
        }
        self.declare(turn, out);
        self.move_placed(turn, out);
    }

    /// Advances claims and placed subtrees.
    fn move_placed(&mut self, turn: Turn, out: &mut Vec<Action>) {
        self.again_due = None;
        self.place(turn, out);
        self.serve(turn, out);
        self.seek(turn, out);
    }

    /// Requests a further tick at this time.
    pub(super) fn wake(&mut self, at: Time) {
        self.again_due = self.again_due.into_iter().chain([at]).min();
    }

    fn keep_lease(&mut self, turn: Turn, poked: bool, out: &mut Vec<Action>) {
        match self.lease.step(turn.now, poked) {
            Step::Wait => {}
            Step::Poke(number) => out.push(Action::Poke(number)),
            Step::Stuck(why) => self.name_taken(why, out),
            Step::Write { expected, epoch } => {
                if self.lease.held().is_none() {
                    self.inherit(turn);
                }
                let record = Host { epoch, seq: turn.random, ..self.own_record(turn.now.boottime) };
                self.write_own(turn, RequestPurpose::Renew, expected, record, out);
            }
        }
    }

    /// Before an epoch begins: takes over what the record of the previous epoch shows.
    fn inherit(&mut self, turn: Turn) {
        let settled_at = turn.now.boottime + self.settings.timing.settle;
        let Some(before) = self.lease.known().cloned() else { return };
        let left = before.by.as_ref() == Some(&self.settings.name);
        if before.state == HostState::Dead && !left {
            self.unsettled_until = settled_at;
        }
        if !self.inherited {
            if !before.settled && !left {
                self.unsettled_until = settled_at;
            }
            self.draining.get_or_insert(before.draining);
            let until = turn.now.boottime + TRIED;
            self.tried.extend(before.tried.into_iter().map(|(instance, tried)| (instance, (until, tried))));
        }
    }

    /// This host's record as of now, without the fields that change with each write.
    pub(super) fn own_record(&self, now: Time) -> Host {
        let about = self.settings.about.clone();
        // All bundles on the disk, as far as there is room: other hosts have to see one before it is ordered to run.
        let named = |has: &&Bundle| self.wants.get(&has.instance).is_some_and(|(_, want)| want.bundle == has.digest);
        let (wanted, others): (Vec<&Bundle>, Vec<&Bundle>) = self.bundles.iter().partition(named);
        let listed = wanted.into_iter().chain(others).take(BUNDLES_MAX);
        let bundles = listed.map(|Bundle { instance, digest }| record::listed(instance, digest)).collect();
        Host {
            state: HostState::Live,
            // Rounded up, so that the other hosts wait at least as long as this host counts on.
            ttl_ms: self.settings.timing.lease.as_nanos().div_ceil(1_000_000),
            boot: about.boot,
            address: about.address,
            cert: about.cert,
            issuers: about.issuers,
            labels: about.labels,
            version: about.version,
            protocol: about.protocol,
            draining: self.is_draining(),
            cgroup: about.cgroup,
            witness: about.witness,
            placed: self.claims.values().filter(|claim| claim.here().is_some()).count().try_into().unwrap_or(u32::MAX),
            settled: now >= self.unsettled_until,
            bundles,
            tried: self.tried.iter().map(|(instance, (_, tried))| (instance.clone(), tried.clone())).collect(),
            note: self.own_note(),
            ..Host::default()
        }
    }

    /// Writes this host's own record. Where it would be too long, the notes are left out first, then bundles, then the
    /// failed instances.
    pub(super) fn write_own(
        &mut self,
        turn: Turn,
        purpose: RequestPurpose,
        expected: Option<Version>,
        record: Host,
        out: &mut Vec<Action>,
    ) {
        let mut record = record;
        let new = loop {
            match record::write(&record) {
                Ok(new) => break new,
                Err(_) if record.tried.values().any(|tried| !tried.note.is_empty()) => {
                    record.tried.values_mut().for_each(|tried| tried.note.clear());
                }
                Err(_) if record.bundles.len() > 1 => record.bundles.truncate(record.bundles.len() / 2),
                Err(_) if !record.tried.is_empty() => record.tried.clear(),
                Err(_) => return,
            }
        };
        let request = self.request(purpose);
        self.lease.sent(turn.now, request, record);
        let key = Key::Host(self.settings.name.clone()).in_store(&self.settings.cluster);
        out.push(Action::Swap { request, key, expected, new });
    }

    pub(super) fn request(&mut self, purpose: RequestPurpose) -> RequestId {
        self.requested += 1;
        self.requests.insert(self.requested, purpose);
        self.requested
    }

    fn is_looking(&self) -> bool {
        self.requests.values().any(|purpose| *purpose == RequestPurpose::Read)
    }

    pub(super) fn is_clearing(&self) -> bool {
        self.clearing.is_some()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining == Some(true)
    }

    /// Whether this host holds no claim.
    pub(super) fn is_empty(&self) -> bool {
        self.claims.values().all(|claim| claim.here().is_none())
    }

    /// Advances the agent's end.
    fn end_in_steps(&mut self, turn: Turn, out: &mut Vec<Action>) {
        let now = turn.now.boottime;
        let empty = self.is_empty();
        match self.ending {
            Some(Ending::Stopping(kill_at)) if empty || now >= kill_at => {
                self.ending = Some(Ending::Clearing(End::Stopped { left: false }));
                self.kill_hosted(out);
                if self.clearing.is_none() {
                    self.clear(out);
                }
            }
            Some(Ending::Leaving(until)) if now >= until => self.halt(End::Stopped { left: false }, out),
            Some(Ending::Leaving(_)) if empty => {
                if let Some((expected, epoch)) = self.lease.last_write(turn.now) {
                    let by = Some(self.settings.name.clone());
                    let present = self.own_record(now);
                    let record = Host { epoch, seq: turn.random, state: HostState::Dead, by, ..present };
                    self.write_own(turn, RequestPurpose::Leave, Some(expected), record, out);
                }
            }
            Some(_) | None => {}
        }
    }
}
