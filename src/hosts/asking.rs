//! Chooses the host for a placed subtree, and asks it. Decisions here may be wrong or late: whether something runs is
//! decided by claims.

use super::action::{Action, Start};
use super::agent::Agent;
use super::choose::{Candidate, Seeker, rank};
use super::event::Turn;
use super::message::{AGAIN, Message, OrderAction, Place, ReportBody, Subject};
use super::placed_children::{Left, PlacedChild, PlacedSubtree, Release, State};
use super::record::{ClaimKey, Host};
use super::seeking::{ANSWER, VOID};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

impl Agent {
    /// Whether the parent is to move this subtree now. Each parent moves one at a time.
    pub(super) fn is_to_move(&self, turn: Turn, key: &ClaimKey, there: &PlacedSubtree) -> Option<ReportBody> {
        let placed_child = self.placed_children.all.get(key)?;
        let busy = |(other, placed_child_of): (&ClaimKey, &PlacedChild)| {
            other != key
                && placed_child_of.parent == placed_child.parent
                && match &placed_child_of.state {
                    State::There(there) => there.moving.is_some() || there.moved.is_some(),
                    State::Choosing(_) | State::Asking { .. } => true,
                    State::Homeless { .. } | State::Failed { .. } => false,
                }
        };
        let on_me = there.host == self.settings.name;
        let draining = if on_me {
            self.is_draining()
        } else {
            self.detector.get(&there.host).is_some_and(|seen| seen.record.draining)
        };
        let takeover = placed_child.place.placement.takeover;
        if !(draining || takeover) || self.placed_children.all.iter().any(busy) {
            return None;
        }
        let ranked = self.ranked_for(turn, key, placed_child);
        let (to, candidate) = ranked.into_iter().next()?;
        let before = placed_child.place.placement.on.rank(&there.host);
        let better = candidate.settled && placed_child.place.placement.on.rank(&to) < before;
        match candidate.fit() && to != there.host {
            true if draining => Some(ReportBody::Move { to, start: Start::Move }),
            true if takeover && better => Some(ReportBody::Move { to, start: Start::Takeover }),
            true | false => None,
        }
    }

    /// Whether a subtree of this instance is about to leave this host, so that the root here has to wait for it: it is
    /// ending, another host may have it, or it was moved and is not started elsewhere yet. A subtree that cannot move
    /// is not waited for.
    pub(super) fn is_leaving(&self, turn: Turn, instance: &str) -> bool {
        let (now, me) = (turn.now.boottime, &self.settings.name);
        let leaves = |(key, placed_child): (&ClaimKey, &PlacedChild)| match &placed_child.state {
            State::There(there) if there.host != *me => false,
            // Between the end of a run and the next request, the parent has the time after which a report is sent
            // again.
            State::There(there) if there.end.is_some() => !there.noted || there.moved.is_some() && now < there.again,
            State::There(there) => {
                let is_ending = there.order.is_some() || there.moving.is_some() || there.moved.is_some();
                let mut hosts = self.ranked_for(turn, key, placed_child).into_iter();
                is_ending || hosts.any(|(host, candidate)| candidate.fit() && host != *me)
            }
            State::Choosing(_) | State::Asking { .. } => {
                let last = self.placed_children.past.get(key).and_then(|past| past.last.as_ref());
                matches!(last, Some((host, Left::Moved(_))) if host == me) && now < placed_child.since + ANSWER
            }
            State::Homeless { .. } | State::Failed { .. } => false,
        };
        self.placed_children.all.iter().filter(|(key, _)| key.instance == instance).any(leaves)
    }

    pub(super) fn where_to(&self, turn: Turn, key: &ClaimKey, to: Option<String>) -> ReportBody {
        let Some(placed_child) = self.placed_children.all.get(key) else {
            return ReportBody::NotMoved { why: "it was not placed".into() };
        };
        let here = placed_child.host().map(str::to_owned);
        let ranked = self.ranked_for(turn, key, placed_child);
        let chosen = match &to {
            Some(to) => ranked.iter().find(|(host, _)| host == to),
            None => ranked.iter().find(|(host, candidate)| candidate.fit() && Some(host) != here.as_ref()),
        };
        match (chosen, to) {
            (Some((host, _)), _) if Some(host) == here.as_ref() => {
                ReportBody::NotMoved { why: format!("it is on {host} already") }
            }
            (Some((host, candidate)), _) if candidate.fit() => ReportBody::Moving { to: host.clone() },
            (Some((host, candidate)), _) => ReportBody::NotMoved { why: format!("{host}: {candidate}") },
            (None, Some(to)) => ReportBody::NotMoved { why: format!("the cluster has no host {to}") },
            (None, None) => ReportBody::NotMoved { why: reasons(&ranked) },
        }
    }

    /// The host to ask now; an error says why there is none.
    pub(super) fn target(&self, turn: Turn, key: &ClaimKey) -> Result<Target, String> {
        let now = turn.now.boottime;
        let Some(placed_child) = self.placed_children.all.get(key) else { return Err(String::new()) };
        let past = self.placed_children.past.get(key);
        let ended = past.and_then(|past| past.ended_on.as_ref());
        let holder = self.holder_still(key);
        let ranked = self.ranked_for(turn, key, placed_child);
        // A restart is not a move: a subtree that has ended is started where it was, even if another host ranks higher
        // now.
        let stays = |(host, candidate): &&(String, Candidate)| {
            ended.is_some_and(|(last, _)| last == host) && candidate.may_stay()
        };
        let wished = past.is_some_and(|past| past.wish.is_some());
        let here = ranked.iter().find(stays).filter(|_| !wished && !placed_child.place.placement.takeover);
        let best = here.or_else(|| ranked.iter().find(|(_, candidate)| candidate.fit())).map(|(host, _)| host.clone());
        if let Some(by) = &holder
            && ended.is_none_or(|(host, _)| host != by)
        {
            let refused = placed_child.refused.get(by).filter(|(_, until)| *until > now).map(|(why, _)| why.as_str());
            return match (refused, self.is_linked(by)) {
                (None, true) => Ok(Target::Ask(by.clone())),
                (Some(why), _) => Err(format!("{by} has it: {why}")),
                (None, false) => Err(format!("{by} has it, and there is no link to it")),
            };
        }
        if let Some((_, Left::Lost(at))) = past.and_then(|past| past.last.as_ref()) {
            let until = *at + Span::from_millis(placed_child.place.placement.delay_ms);
            if now < until {
                return Err(format!("its host was lost, and it waits for {} more", until.since(now)));
            }
        }
        match (best, ended) {
            (None, _) => Err(reasons(&ranked)),
            (Some(best), Some((host, wire)))
                if *host != best && (holder.is_some() || self.may_hold_unseen(key, host, wire)) =>
            {
                Ok(Target::Release(host.clone(), wire.clone()))
            }
            (Some(best), _) => Ok(Target::Ask(best)),
        }
    }

    /// Whether a host that was asked for this run may hold a claim that no read has shown yet.
    fn may_hold_unseen(&self, key: &ClaimKey, host: &str, wire: &Subject) -> bool {
        let is_new = self.owns.get(key).is_none_or(|(_, own)| wire.is_after(own.root_token, own.run));
        is_new && self.is_linked(host) && !self.is_dead(host)
    }

    pub(super) fn choose_host(&mut self, turn: Turn, key: &ClaimKey, out: &mut Vec<Action>) {
        let now = turn.now.boottime;
        let target = self.target(turn, key);
        let Some(placed_child) = self.placed_children.all.get_mut(key) else { return };
        let late = now >= placed_child.since + ANSWER;
        match target {
            Ok(Target::Ask(host)) if !late => self.ask(turn, key, &host, out),
            Ok(Target::Release(host, wire)) if !late => {
                placed_child.state = State::Choosing(now + AGAIN);
                self.placed_children.release(&host, &wire);
                self.send_releases(now, out);
                self.wake(now + AGAIN);
            }
            Ok(Target::Ask(_) | Target::Release(..)) => self.has_none(key, "no host has answered so far", now, out),
            Err(why) => self.has_none(key, &why, now, out),
        }
    }

    fn has_none(&mut self, key: &ClaimKey, why: &str, now: Time, out: &mut Vec<Action>) {
        let Some(placed_child) = self.placed_children.all.get_mut(key) else { return };
        placed_child.state = State::Homeless { why: why.to_owned(), noted: false, again: now + AGAIN };
        Self::answer_parent(placed_child, out);
        self.wake(now + AGAIN);
    }

    pub(super) fn ask(&mut self, turn: Turn, key: &ClaimKey, host: &str, out: &mut Vec<Action>) {
        let now = turn.now.boottime;
        let run = self.placed_children.draw();
        let Some(placed_child) = self.placed_children.all.get_mut(key) else { return };
        let wire = Subject { run, ..placed_child.node.clone() };
        placed_child.state = State::Asking { host: host.to_owned(), wire: wire.clone(), since: now, again: Time::ZERO };
        self.send_place(key, host, &wire, now, out);
        self.wake(now + AGAIN);
    }

    /// A host was asked in vain. It may have claimed the subtree meanwhile, for which it is to set it free. What it
    /// held already runs on, and is taken over once that host answers, unless it would be stopped for its new parent.
    pub(super) fn ask_no_more(&mut self, key: &ClaimKey, host: &str, wire: &Subject) {
        let adopts = self.placed_children.all.get(key).is_some_and(|child| child.place.placement.adopt);
        if !adopts || self.holder_still(key).as_deref() != Some(host) {
            self.placed_children.release(host, wire);
        }
    }

    /// How a start on this host counts, and the host that had the subtree before.
    pub(super) fn start_on(&self, key: &ClaimKey, host: &str) -> (Start, Option<String>) {
        let last =
            self.placed_children.past.get(key).and_then(|past| past.last.clone()).filter(|(last, _)| last != host);
        match last {
            Some((last, Left::Lost(_))) => (Start::Failover, Some(last)),
            Some((last, Left::Moved(start))) => (start, Some(last)),
            Some((_, Left::Ended)) | None => (Start::Normal, None),
        }
    }

    pub(super) fn send_place(&mut self, key: &ClaimKey, host: &str, wire: &Subject, now: Time, out: &mut Vec<Action>) {
        let (start, from) = self.start_on(key, host);
        let Some(placed_child) = self.placed_children.all.get_mut(key) else { return };
        if let State::Asking { again, .. } = &mut placed_child.state {
            *again = now + AGAIN;
        }
        let place = Place { subject: wire.clone(), void_after_ms: VOID, start, from, ..(*placed_child.place).clone() };
        self.post(host, Message::Place(Box::new(place)), out);
    }

    pub(super) fn send_releases(&mut self, now: Time, out: &mut Vec<Action>) {
        let mut releases = std::mem::take(&mut self.placed_children.releases);
        // A dead host holds no claims.
        releases.retain(|release| !self.is_dead(&release.host));
        for Release { host, wire, again } in &mut releases {
            if *again <= now {
                *again = now + AGAIN;
                self.order(host, wire, OrderAction::Done, out);
            }
            self.wake(*again);
        }
        self.placed_children.releases = releases;
    }

    /// Orders that claims be set free whose paths the tree does not have any more.
    pub(super) fn release_strangers(&mut self) {
        let mut strangers = Vec::new();
        for (instance, (root_token, paths)) in &self.placed_children.paths {
            let of_root = Subject { instance: instance.clone(), root_token: *root_token, ..Subject::default() };
            if !self.has_root(&of_root) {
                continue;
            }
            for key in self.owns.keys().filter(|key| key.instance == *instance && key.path != "/") {
                let known = paths.contains(&key.path) || self.placed_children.all.contains_key(key);
                let by = self.holder_still(key).filter(|_| !known && !self.placed_children.is_releasing(key));
                if let Some(by) = by {
                    strangers.push((by, Subject { path: key.path.clone(), ..of_root.clone() }));
                }
            }
        }
        for (by, subject) in strangers {
            let run = self.placed_children.draw();
            self.placed_children.release(&by, &Subject { run, ..subject });
        }
    }

    /// All hosts for a placed subtree, the best first.
    pub(super) fn ranked_for(
        &self,
        turn: Turn,
        key: &ClaimKey,
        placed_child: &PlacedChild,
    ) -> Vec<(String, Candidate)> {
        let now = turn.now.boottime;
        let me = self.own_record(now);
        let mut hosts: BTreeMap<&str, &Host> = self.detector.all().map(|(name, seen)| (name, &seen.record)).collect();
        hosts.insert(&self.settings.name, &me);
        let placement = &placed_child.place.placement;
        let at = |path: &String| {
            let key = ClaimKey { instance: key.instance.clone(), path: path.clone() };
            let asked =
                self.placed_children.all.get(&key).and_then(|placed_child| placed_child.host().map(str::to_owned));
            asked.or_else(|| self.holder_still(&key))
        };
        let others = |paths: &[String]| -> Vec<String> {
            paths.iter().filter(|path| **path != key.path).filter_map(at).collect()
        };
        let past = self.placed_children.past.get(key);
        let mut bars: BTreeMap<String, String> = BTreeMap::new();
        for host in hosts.keys().filter(|host| !self.is_linked(host)) {
            bars.insert((*host).to_owned(), "there is no link to it".to_owned());
        }
        for (host, (why, _)) in placed_child.refused.iter().filter(|(_, (_, until))| *until > now) {
            bars.insert(host.clone(), why.clone());
        }
        let gave_up = past.map(|past| &past.gave_up).into_iter().flatten();
        let mut shunned: Vec<String> =
            gave_up.filter(|(_, until)| **until > now).map(|(host, _)| host.clone()).collect();
        let mut wished = None;
        match past.and_then(|past| past.wish.as_ref()) {
            Some(Some(to)) => wished = Some(to.clone()),
            Some(None) => shunned.extend(past.and_then(|past| past.last.as_ref()).map(|(host, _)| host.clone())),
            None => {}
        }
        let seeker = Seeker {
            placement,
            group: others(&placement.group),
            apart: others(&placement.apart),
            bars,
            shunned,
            wished,
            placed: self.detector.placed(self.owns.values().map(|(_, own)| own)),
        };
        rank(&seeker, hosts.into_iter())
    }
}

/// What is to be done to place a subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Order it from the host of this name.
    Ask(String),
    /// First have this host set the claim free, as another one is better.
    Release(String, Subject),
}

fn reasons(ranked: &[(String, Candidate)]) -> String {
    ranked.iter().map(|(name, candidate)| format!("{name}: {candidate}")).collect::<Vec<_>>().join("; ")
}
