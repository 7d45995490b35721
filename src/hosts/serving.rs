//! The host's side of placed subtrees: what the agents of parents order from this host. Whether something may run here
//! is decided by its claim (`placing`), and nowhere else.

use super::action::{Action, Run, StopWhy};
use super::agent::Agent;
use super::choose::WITNESS;
use super::claim::MARGIN;
use super::event::{RunId, Turn};
use super::hosted_subtree::{HostedRunEnd, HostedSubtree, Next, State};
use super::loss::Loss;
use super::message::{
    AGAIN, Ended, Failure, Message, Order, OrderAction, Outcome, Place, Placed, Refusal, ReportBody, RunReport, Subject,
};
use super::record::{ClaimKey, OwnState, WantState};
use serde_json::Value;

/// The features of specs that this version has beyond those that all versions have.
const FEATURES: &[&str] = &[];

impl Agent {
    /// Sends another agent a message, or hands it to this one.
    pub(super) fn post(&mut self, host: &str, message: Message, out: &mut Vec<Action>) {
        if host == self.settings.name {
            self.loopback.push_back(message);
        } else {
            out.push(Action::Send { host: host.to_owned(), message });
        }
    }

    pub(super) fn send_to_host(&mut self, host: &str, subject: &Subject, what: ReportBody, out: &mut Vec<Action>) {
        self.post(host, Message::Told(RunReport { subject: subject.clone(), what }), out);
    }

    fn answer_place(&mut self, host: &str, subject: &Subject, outcome: Outcome, out: &mut Vec<Action>) {
        let epoch = self.lease.held().map_or(0, |(epoch, _)| epoch);
        let placed = Placed { subject: subject.clone(), host: self.settings.name.clone(), epoch, outcome };
        self.post(host, Message::Placed(placed), out);
    }

    /// Handles a message of an agent, which may be this one.
    pub(super) fn take_message(&mut self, turn: Turn, host: &str, message: Message, out: &mut Vec<Action>) {
        match message {
            Message::Place(place) => self.take_place(turn, host, &place, false, out),
            Message::Order(order) => self.take_order(host, &order, out),
            Message::Placed(placed) => self.take_placed_by(turn, host, placed, out),
            Message::Told(RunReport { subject, what: ReportBody::Noted }) => {
                if let Some(subtree) =
                    self.hosted.get_mut(&subject.key()).filter(|subtree| subtree.subject() == &subject)
                {
                    subtree.noted();
                }
            }
            Message::Told(told) => self.take_told(turn, host, told, out),
        }
    }

    /// A host orders a subtree. `looked`: all records were read since the order has arrived.
    pub(super) fn take_place(&mut self, turn: Turn, host: &str, place: &Place, looked: bool, out: &mut Vec<Action>) {
        let (key, subject) = (place.subject.key(), &place.subject);
        if key.path == "/" {
            return;
        }
        let token = self.token_of(&key);
        if let Some(refusal) = self.is_superseded(subject) {
            return self.answer_place(host, subject, refusal, out);
        }
        let next = self.hosted.get_mut(&key).map_or(Next::Begin, |subtree| subtree.asked(host, place, token));
        match next {
            Next::Wait | Next::Kill(_) => {}
            Next::Answer(outcome) => self.answer_place(host, subject, outcome, out),
            Next::Adopt { run, reload, answer } => {
                out.push(Action::Adopt { run, place: Box::new(place.clone()), reload });
                self.answer_place(host, subject, answer, out);
            }
            Next::Stop(run) => self.stop_run(&key, run, StopWhy::Ordered, out),
            Next::Begin => match self.refusal(turn, &key, place) {
                Some(Outcome::Held { .. }) if !looked => self.contested(turn, host, place),
                Some(outcome) => self.answer_place(host, subject, outcome, out),
                None => {
                    let subtree = HostedSubtree::new(host, Box::new(place.clone()));
                    self.hosted.entry(key).or_insert_with(|| subtree.clone()).begin(host, subtree.place);
                }
            },
        }
    }

    /// Refuses an order if a later one of the subtree is known.
    fn is_superseded(&self, subject: &Subject) -> Option<Outcome> {
        let key = subject.key();
        let root = self.owns.get(&ClaimKey::root(&subject.instance)).map_or(0, |(_, own)| own.token);
        let later_here = self.hosted.get(&key).is_some_and(|subtree| {
            let has = subtree.subject();
            has != subject && !subject.is_after(has.root_token, has.run)
        });
        let there = self.owns.get(&key).filter(|_| !self.hosted.contains_key(&key));
        let later_there = there.is_some_and(|(_, own)| own.token > 0 && !subject.is_after(own.root_token, own.run));
        let detail = if root > subject.root_token {
            "a later root of the instance is there"
        } else if later_here || later_there {
            "it was ordered anew since"
        } else {
            return None;
        };
        Some(Outcome::Refused { why: Refusal::Superseded, detail: detail.into() })
    }

    /// Why this host cannot start the subtree now, if it cannot.
    fn refusal(&self, turn: Turn, key: &ClaimKey, place: &Place) -> Option<Outcome> {
        let refused = |why, detail: String| Some(Outcome::Refused { why, detail });
        if self.ending.is_some() || self.is_draining() {
            return refused(Refusal::Draining, "it is being drained".into());
        }
        // Witnesses refuse as if drained, as earlier versions know no other reason.
        if self.settings.about.witness {
            return refused(Refusal::Draining, WITNESS.into());
        }
        if let Some(feature) = place.requires.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
            return refused(Refusal::UnknownFeature, format!("its version does not have \"{feature}\""));
        }
        if !self.settings.about.cgroup {
            return refused(Refusal::NoCgroup, "it has no cgroups that can be killed with one write".into());
        }
        if self.lease.held().is_none_or(|(_, deadline)| deadline.left(turn.now) < MARGIN) {
            return refused(Refusal::NoLease, "it has no lease that is good for a second".into());
        }
        let by = self.holder(key).filter(|by| *by != self.settings.name)?;
        Some(Outcome::Held { by })
    }

    /// The host that holds a claim, unless its epoch has ended.
    pub(super) fn holder(&self, key: &ClaimKey) -> Option<String> {
        let (_, own) = self.owns.get(key)?;
        (own.state == OwnState::Held && !own.host.is_empty() && !self.is_over(own)).then(|| own.host.clone())
    }

    /// The same without claims that were just set free, although the last read still shows them as held.
    pub(super) fn holder_still(&self, key: &ClaimKey) -> Option<String> {
        let by = self.holder(key)?;
        let (_, own) = self.owns.get(key)?;
        let freed = self.placed_children.past.get(key).and_then(|past| past.freed.as_ref());
        let is_freed = freed.is_some_and(|(wire, _)| !wire.is_before(own.root_token, own.run));
        (!is_freed).then_some(by)
    }

    fn token_of(&self, key: &ClaimKey) -> u64 {
        let here = self.claims.get(key).and_then(|claim| claim.here()).map(|here| here.token);
        // A pinned subtree goes on under the claim of an ended epoch.
        let had = || self.owns.get(key).filter(|(_, own)| own.pinned && own.host == self.settings.name);
        here.or_else(|| had().map(|(_, own)| own.token)).unwrap_or_default()
    }

    pub(super) fn stop_run(&mut self, key: &ClaimKey, run: RunId, why: StopWhy, out: &mut Vec<Action>) {
        if let Some(claim) = self.claims.get_mut(key) {
            claim.asked(why);
        }
        out.push(Action::Stop { run, why });
    }

    fn take_order(&mut self, host: &str, order: &Order, out: &mut Vec<Action>) {
        let (key, subject) = (order.subject.key(), &order.subject);
        match &order.what {
            OrderAction::Clear => return self.clear_below(host, subject, out),
            OrderAction::Done => return self.is_done(host, subject, out),
            OrderAction::Stop | OrderAction::Kill | OrderAction::Inspect => {}
            // These are for the agent of the parent, or unknown.
            OrderAction::Move { .. } | OrderAction::Paths { .. } | OrderAction::Show(_) | OrderAction::Unknown => {
                return;
            }
        }
        let kill = order.what == OrderAction::Kill;
        let Some(subtree) = self.hosted.get_mut(&key).filter(|subtree| subtree.subject() == subject) else {
            let loss = Loss::of(format!("{} has nothing of it", self.settings.name));
            return self.send_to_host(host, subject, ReportBody::Lost(loss), out);
        };
        if order.what == OrderAction::Inspect {
            if let State::Running(running) = &subtree.state
                && running.pid.is_some()
            {
                out.push(Action::Inspect(running.run));
            }
            return;
        }
        match subtree.end(kill, false) {
            Next::Stop(run) => self.stop_run(&key, run, StopWhy::Ordered, out),
            Next::Kill(run) => out.push(Action::Kill(run)),
            Next::Wait | Next::Answer(_) | Next::Adopt { .. } | Next::Begin => {}
        }
    }

    /// Starts the run of a subtree whose claim is held.
    pub(super) fn run_subtree(&mut self, key: &ClaimKey, out: &mut Vec<Action>) {
        let token = self.token_of(key);
        let Some(subtree) = self.hosted.get_mut(key) else { return };
        let Some(claim) = self.claims.get_mut(key) else { return };
        let (bundle, serial) = (subtree.place.digest.clone(), subtree.subject().run);
        // A pinned subtree has gone on over the end of an epoch.
        if let Some(run) = subtree.run() {
            return claim.started(run, bundle, serial);
        }
        self.runs += 1;
        let (start, from) = (subtree.place.start, subtree.place.from.clone());
        claim.started(self.runs, bundle.clone(), serial);
        subtree.started(self.runs);
        let place = Some(subtree.place.clone());
        out.push(Action::Run(Run { run: self.runs, claim: key.clone(), token, bundle, start, from, place }));
    }

    fn subtree_of(&mut self, run: RunId) -> Option<(ClaimKey, &mut HostedSubtree)> {
        self.hosted
            .iter_mut()
            .find(|(_, subtree)| subtree.run() == Some(run))
            .map(|(key, subtree)| (key.clone(), subtree))
    }

    /// For the relay: the parent's host of a run that is here, and the subject of the run there.
    pub fn serves(&self, run: RunId) -> Option<(&str, &Subject)> {
        let subtree = self.hosted.values().find(|subtree| subtree.run() == Some(run))?;
        Some((&subtree.parent, subtree.subject()))
    }

    /// For the relay, in the other direction: the run to which a host may send messages.
    pub fn served(&self, host: &str, wire: &Subject) -> Option<RunId> {
        let subtree = self.hosted.get(&wire.key())?;
        (subtree.parent == host && subtree.subject() == wire).then(|| subtree.run()).flatten()
    }

    /// A run has a process.
    pub(super) fn subtree_started(&mut self, run: RunId, pid: u32, out: &mut Vec<Action>) {
        let Some((key, _)) = self.subtree_of(run) else { return };
        let token = self.token_of(&key);
        let Some(subtree) = self.hosted.get_mut(&key) else { return };
        let answer = subtree.is_there(pid, token);
        let (parent, subject, place) = (subtree.parent.clone(), subtree.subject().clone(), subtree.place.clone());
        let State::Running(running) = &subtree.state else { return };
        // Orders that have arrived before the process existed.
        let (ends, kills) = (running.ends, running.by_host.is_some());
        if let Some((outcome, reload)) = answer {
            if matches!(outcome, Outcome::Adopted { .. }) {
                out.push(Action::Adopt { run, place, reload });
            }
            self.answer_place(&parent, &subject, outcome, out);
        }
        if ends || kills {
            self.stop_run(&key, run, StopWhy::Ordered, out);
        }
    }

    /// A run has ended with nothing left, or could not be started.
    pub(super) fn subtree_over(&mut self, run: RunId, how: Result<(Ended, Value), Failure>, out: &mut Vec<Action>) {
        let Some((key, subtree)) = self.subtree_of(run) else { return };
        let failed = how.clone().err();
        subtree.over(match how {
            Ok((end, detail)) => HostedRunEnd::Ended(end, detail),
            Err(failure) => HostedRunEnd::Failed(failure),
        });
        let (parent, subject) = (subtree.parent.clone(), subtree.subject().clone());
        let failed = failed.filter(|_| matches!(subtree.state, State::Over { how: HostedRunEnd::Failed(_), .. }));
        if let Some(claim) = self.claims.get_mut(&key) {
            claim.ended(run);
        }
        if let Some(failure) = failed {
            self.answer_place(&parent, &subject, Outcome::Failed(failure), out);
        }
    }

    /// Sends what the shell has found out about a run to the parent's host.
    pub(super) fn subtree_inspected(&mut self, run: RunId, found: Value, out: &mut Vec<Action>) {
        let Some((_, subtree)) = self.subtree_of(run) else { return };
        let (parent, subject) = (subtree.parent.clone(), subtree.subject().clone());
        self.send_to_host(&parent, &subject, ReportBody::Inspected { found }, out);
    }

    /// Everything that runs by the lease is gone, or being killed. Parents notice by the epoch.
    pub(super) fn hosted_gone(&mut self) {
        self.hosted.retain(|_, subtree| !subtree.runs_by_lease() && subtree.run().is_some());
    }

    /// Advances the placed subtrees on this host.
    pub(super) fn serve(&mut self, turn: Turn, out: &mut Vec<Action>) {
        let now = turn.now.boottime;
        for key in self.hosted.keys().cloned().collect::<Vec<_>>() {
            self.serve_one(turn, &key, out);
            let held = self.holds(&key);
            let Some(subtree) = self.hosted.get_mut(&key) else { continue };
            if subtree.state == State::Done && !held {
                self.hosted.remove(&key);
                continue;
            }
            if let Some(what) = subtree.unreported() {
                if subtree.again <= now {
                    subtree.again = now + AGAIN;
                    let (parent, subject) = (subtree.parent.clone(), subtree.subject().clone());
                    self.send_to_host(&parent, &subject, what, out);
                }
                self.wake(now + AGAIN);
            }
        }
        self.report_awaited(out);
    }

    fn serve_one(&mut self, turn: Turn, key: &ClaimKey, out: &mut Vec<Action>) {
        let root = self.owns.get(&ClaimKey::root(&key.instance));
        // Where the root's host was lost before the instance was set to be down, no host sets its claim free.
        let down = self.wants.get(&key.instance).is_some_and(|(_, want)| want.state == WantState::Down)
            && root.is_some_and(|(_, own)| own.state == OwnState::Free || self.is_over(own));
        let holder = self.holder(key).filter(|by| *by != self.settings.name);
        let held = self.holds(key);
        let Some(subtree) = self.hosted.get(key) else { return };
        let (parent, place) = (subtree.parent.clone(), subtree.place.clone());
        match &subtree.state {
            State::Wanted if !held => match (holder, self.refusal(turn, key, &place)) {
                (Some(by), _) => self.turn_away(key, &parent, &place.subject, Outcome::Held { by }, out),
                (None, Some(outcome)) => self.turn_away(key, &parent, &place.subject, outcome, out),
                (None, None) => {}
            },
            // The instance is down, so the subtree belongs to no tree.
            State::Running(_) | State::Over { .. } | State::Wanted if down => {
                self.end_by_host(key, "the instance is to be down", (false, true), out);
            }
            // The run is a pinned one or not exclusive, as others are killed at the deadline.
            State::Running(_) if !held && holder.is_some() => {
                self.end_by_host(key, "another host has its claim", (place.placement.exclusive, false), out);
            }
            State::Wanted | State::Running(_) | State::Over { .. } | State::Done => {}
        }
    }

    fn turn_away(&mut self, key: &ClaimKey, parent: &str, subject: &Subject, answer: Outcome, out: &mut Vec<Action>) {
        self.hosted.remove(key);
        self.answer_place(parent, subject, answer, out);
    }

    /// Notes that the host itself ends a run, for the report of its end.
    pub(super) fn subtree_ends(&mut self, key: &ClaimKey, loss: Loss) {
        if let Some(subtree) = self.hosted.get_mut(key)
            && let State::Running(running) = &mut subtree.state
        {
            running.by_host.get_or_insert(loss);
        }
    }

    /// Ends a subtree for this host's own reasons; with `kill` by SIGKILL, with `done` for good. The parent gets a
    /// report of the loss.
    fn end_by_host(&mut self, key: &ClaimKey, why: &str, (kill, done): (bool, bool), out: &mut Vec<Action>) {
        let Some(subtree) = self.hosted.get_mut(key) else { return };
        let next = subtree.end(kill, done);
        if let State::Running(running) = &mut subtree.state {
            running.by_host.get_or_insert_with(|| Loss::of(why));
        }
        match next {
            Next::Stop(run) => self.stop_run(key, run, StopWhy::NotWanted, out),
            Next::Kill(run) => out.push(Action::Kill(run)),
            Next::Wait | Next::Answer(_) | Next::Adopt { .. } | Next::Begin => {}
        }
    }

    /// Kills what no deadline kills, where it has not stopped in time.
    pub(super) fn kill_hosted(&mut self, out: &mut Vec<Action>) {
        for subtree in self.hosted.values_mut().filter(|subtree| !subtree.runs_by_lease()) {
            if let Next::Kill(run) = subtree.end(true, false) {
                out.push(Action::Kill(run));
            }
        }
    }
}

/// Whether a path is below another one.
pub(super) fn is_below(path: &str, above: &str) -> bool {
    match above {
        "/" => path.len() > 1,
        above => path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/')),
    }
}
