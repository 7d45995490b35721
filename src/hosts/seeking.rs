//! The parent's side of placed subtrees: what nodes of this host ask for, what hosts answer, and what is retransmitted.
//! `asking` chooses the host. All reports here may be late: whether something runs is decided by claims.

use super::action::{Action, Start};
use super::agent::Agent;
use super::event::{ParentId, Turn};
use super::loss::Loss;
use super::message::{
    AGAIN, Message, Order, OrderAction, Outcome, Place, Placed, Refusal, ReportBody, RunReport, Subject,
};
use super::placed_children::{Left, PlacedChild, PlacedSubtree, State};
use super::record::ClaimKey;
use crate::time::{Span, Time};
use serde_json::Value;

/// Limit for the answer of a host, after which another one is asked; a parent gets its answer within little more.
pub(super) const ANSWER: Span = Span::from_secs(4);

/// How long a host that has refused is not asked again.
const REFUSED: Span = Span::from_secs(2);

/// Messages about placed subtrees expire after so many milliseconds.
pub(super) const VOID: u64 = 5_000;

impl Agent {
    pub(super) fn report_to_parent(parent: ParentId, node: &Subject, what: ReportBody, out: &mut Vec<Action>) {
        let message = Message::Told(RunReport { subject: node.clone(), what });
        out.push(Action::Tell { parent, message });
    }

    pub(super) fn answer_parent(placed_child: &PlacedChild, out: &mut Vec<Action>) {
        if let Some((host, epoch, outcome)) = placed_child.answer() {
            let message = Message::Placed(Placed { subject: placed_child.node.clone(), host, epoch, outcome });
            out.push(Action::Tell { parent: placed_child.parent, message });
        }
    }

    pub(super) fn order(&mut self, host: &str, subject: &Subject, what: OrderAction, out: &mut Vec<Action>) {
        let order = Order { subject: subject.clone(), void_after_ms: VOID, what };
        self.post(host, Message::Order(order), out);
    }

    /// The link to another host has come up or gone down.
    pub(super) fn link(&mut self, host: String, up: bool) {
        match up {
            true => self.placed_children.links.insert(host),
            false => self.placed_children.links.remove(&host),
        };
    }

    /// A new connection with a host has begun: everything without an answer from that host is sent again at once.
    pub(super) fn connected(&mut self, host: &str) {
        for placed_child in self.placed_children.all.values_mut() {
            match &mut placed_child.state {
                State::Asking { host: asked, again, .. } if asked == host => *again = Time::ZERO,
                State::There(there) if there.host == host => {
                    if let Some((_, again)) = &mut there.order {
                        *again = Time::ZERO;
                    }
                }
                State::Choosing(_)
                | State::Asking { .. }
                | State::There(_)
                | State::Homeless { .. }
                | State::Failed { .. } => {}
            }
        }
        for release in self.placed_children.releases.iter_mut().filter(|release| release.host == host) {
            release.again = Time::ZERO;
        }
        for subtree in self.hosted.values_mut().filter(|subtree| subtree.parent == host) {
            subtree.again = Time::ZERO;
        }
    }

    pub(super) fn is_linked(&self, host: &str) -> bool {
        host == self.settings.name || self.placed_children.links.contains(host)
    }

    /// Whether the root of the instance runs here with this token.
    pub(super) fn has_root(&self, subject: &Subject) -> bool {
        let claim = self.claims.get(&ClaimKey::root(&subject.instance));
        claim.and_then(|claim| claim.here()).is_some_and(|here| here.token == subject.root_token)
    }

    /// Handles a message of a node on this host.
    pub(super) fn take_from_parent(&mut self, turn: Turn, parent: ParentId, message: Message, out: &mut Vec<Action>) {
        let current = self.has_root(message.subject());
        match message {
            Message::Place(place) if current && place.subject.path != "/" => {
                self.place_asked(turn, parent, place, out);
            }
            Message::Place(place) => {
                let detail = "the root of the instance does not run here by this token".into();
                let outcome = Outcome::Refused { why: Refusal::Superseded, detail };
                let placed = Placed { subject: place.subject.clone(), outcome, ..Placed::default() };
                out.push(Action::Tell { parent, message: Message::Placed(placed) });
            }
            Message::Order(order) if current => self.ordered(turn, parent, &order, out),
            Message::Told(RunReport { subject, what: ReportBody::Noted }) => self.parent_noted(parent, &subject, out),
            Message::Order(_) | Message::Told(_) | Message::Placed(_) => {}
        }
    }

    fn place_asked(&mut self, turn: Turn, parent: ParentId, place: Box<Place>, out: &mut Vec<Action>) {
        let key = place.subject.key();
        match self.placed_children.all.get(&key) {
            Some(placed_child) if placed_child.parent == parent && placed_child.node == place.subject => {
                return Self::answer_parent(placed_child, out);
            }
            Some(PlacedChild { state: State::Asking { host, wire, .. }, .. }) => {
                let (host, wire) = (host.clone(), wire.clone());
                self.ask_no_more(&key, &host, &wire);
            }
            Some(_) | None => {}
        }
        self.placed_children.all.insert(key, PlacedChild::new(parent, place, turn.now.boottime));
    }

    fn ordered(&mut self, turn: Turn, parent: ParentId, order: &Order, out: &mut Vec<Action>) {
        let (key, node) = (order.subject.key(), &order.subject);
        match &order.what {
            OrderAction::Paths { paths } => {
                let paths = (node.root_token, paths.iter().cloned().collect());
                self.placed_children.paths.insert(node.instance.clone(), paths);
                Self::report_to_parent(parent, node, ReportBody::Noted, out);
            }
            OrderAction::Clear => self.clear_asked(parent, node, out),
            OrderAction::Move { to } => {
                let what = self.where_to(turn, &key, to.clone());
                if matches!(what, ReportBody::Moving { .. }) {
                    self.placed_children.past.entry(key).or_default().wish = Some(to.clone());
                }
                Self::report_to_parent(parent, node, what, out);
            }
            OrderAction::Done => self.done_asked(parent, &key, node),
            OrderAction::Show(show) => {
                for shown in self.shown(turn, parent, node, *show) {
                    Self::report_to_parent(parent, node, ReportBody::Shown(Box::new(shown)), out);
                }
            }
            OrderAction::Stop | OrderAction::Kill | OrderAction::Inspect => {
                self.passed_on(turn, parent, &key, order, out)
            }
            OrderAction::Unknown => {}
        }
    }

    /// Passes on an order about a placed run.
    fn passed_on(&mut self, turn: Turn, parent: ParentId, key: &ClaimKey, order: &Order, out: &mut Vec<Action>) {
        let node = &order.subject;
        let placed_child = self
            .placed_children
            .all
            .get_mut(key)
            .filter(|placed_child| placed_child.parent == parent && placed_child.node == *node);
        let Some(there) = placed_child.and_then(PlacedChild::there) else {
            let loss = Loss::of("it was not placed, or is none of this parent's");
            return Self::report_to_parent(parent, node, ReportBody::Lost(loss), out);
        };
        if there.end.is_some() {
            return;
        }
        if order.what != OrderAction::Inspect {
            if there.order.as_ref().is_none_or(|(what, _)| *what != order.what) {
                there.order = Some((order.what.clone(), turn.now.boottime));
            }
            return;
        }
        let (host, wire) = (there.host.clone(), there.wire.clone());
        if self.is_linked(&host) {
            return self.order(&host, &wire, OrderAction::Inspect, out);
        }
        let why = format!("there is no link to {host}, and its lease may still hold");
        Self::report_to_parent(parent, node, ReportBody::Unreachable { why }, out);
    }

    pub(super) fn is_dead(&self, host: &str) -> bool {
        host != self.settings.name
            && self.detector.get(host).is_none_or(|seen| seen.record.state == super::record::HostState::Dead)
    }

    fn parent_noted(&mut self, parent: ParentId, node: &Subject, out: &mut Vec<Action>) {
        let Some(placed_child) = self.placed_children.all.get_mut(&node.key()) else { return };
        if placed_child.parent != parent || placed_child.node != *node {
            return;
        }
        match &mut placed_child.state {
            State::Homeless { noted, .. } => *noted = true,
            State::There(there) if there.end.is_some() => {
                there.noted = true;
                let (host, wire) = (there.host.clone(), there.wire.clone());
                self.send_to_host(&host, &wire, ReportBody::Noted, out);
            }
            State::There(there) => {
                if let Some(ReportBody::Move { start, .. }) = there.moving.take() {
                    there.moved = Some(start);
                }
            }
            State::Choosing(_) | State::Asking { .. } | State::Failed { .. } => {}
        }
    }

    /// A host has answered a `Place`.
    pub(super) fn take_placed_by(&mut self, turn: Turn, from: &str, placed: Placed, out: &mut Vec<Action>) {
        let key = placed.subject.key();
        let now = turn.now.boottime;
        let (start, _) = self.start_on(&key, from);
        // A host that has no lease at present names no epoch.
        let last_seen = self.detector.get(from).map_or(0, |seen| seen.record.epoch);
        let epoch = if placed.epoch == 0 { last_seen } else { placed.epoch };
        let Some(placed_child) = self.placed_children.all.get_mut(&key) else { return };
        let State::Asking { host, wire, .. } = &placed_child.state else { return };
        if *wire != placed.subject || host != from {
            return;
        }
        let (host, wire) = (host.clone(), wire.clone());
        let past = self.placed_children.past.entry(key).or_default();
        match placed.outcome {
            answer @ (Outcome::Started { .. } | Outcome::Adopted { .. }) => {
                (past.last, past.ended_on, past.wish) = (None, None, None);
                placed_child.state = State::There(Box::new(PlacedSubtree {
                    host,
                    epoch,
                    wire,
                    start: matches!(answer, Outcome::Started { .. }).then_some(start),
                    answer,
                    order: None,
                    end: None,
                    noted: false,
                    moving: None,
                    moved: None,
                    again: Time::ZERO,
                }));
                Self::answer_parent(placed_child, out);
            }
            Outcome::Failed(failure) => {
                past.ended_on = Some((host.clone(), wire.clone()));
                placed_child.state = State::Failed { host, wire, epoch, failure };
                Self::answer_parent(placed_child, out);
            }
            // After that time this host has read the record too.
            Outcome::Held { .. } => placed_child.state = State::Choosing(now + AGAIN),
            Outcome::Refused { detail, .. } => {
                placed_child.refused.insert(host, (detail, now + REFUSED));
                placed_child.state = State::Choosing(Time::ZERO);
            }
            // Hosts do not send this.
            Outcome::NoHost { .. } => {}
        }
    }

    /// A host has sent a report.
    pub(super) fn take_told(&mut self, turn: Turn, from: &str, told: RunReport, out: &mut Vec<Action>) {
        let (key, subject) = (told.subject.key(), told.subject);
        match told.what {
            ReportBody::Done => return self.is_released(turn, key, from, subject),
            ReportBody::Cleared => return self.is_cleared(turn, from, &subject),
            _ => {}
        }
        let settle = self.settings.timing.settle;
        let epoch = self.detector.get(from).map(|seen| seen.record.epoch);
        let Some(placed_child) = self.placed_children.all.get_mut(&key) else { return };
        let (parent, node, moves) =
            (placed_child.parent, placed_child.node.clone(), placed_child.place.placement.move_on_give_up);
        let Some(there) = placed_child.there().filter(|there| there.host == from && there.wire == subject) else {
            return;
        };
        match told.what {
            ReportBody::Inspected { found } => {
                // The run is there in the present epoch of its host.
                there.epoch = epoch.unwrap_or(there.epoch).max(there.epoch);
                Self::report_to_parent(parent, &node, ReportBody::Inspected { found }, out);
            }
            what @ (ReportBody::Exited { .. } | ReportBody::Lost(_)) => {
                if there.end.is_some() {
                    // The report was repeated, because the host has not received the acknowledgement.
                    if there.noted {
                        self.send_to_host(from, &subject, ReportBody::Noted, out);
                    }
                    return;
                }
                let past = self.placed_children.past.entry(key).or_default();
                past.ended_on = Some((from.to_owned(), subject));
                let left = match &what {
                    ReportBody::Exited { end, .. } => {
                        if end.gave_up() && moves {
                            past.gave_up.insert(from.to_owned(), turn.now.boottime + settle);
                        }
                        match (&past.wish, there.moved) {
                            (_, Some(start)) => Left::Moved(start),
                            (Some(_), None) => Left::Moved(Start::Move),
                            (None, None) => Left::Ended,
                        }
                    }
                    ReportBody::Lost(Loss { in_order: true, .. }) => Left::Moved(Start::Move),
                    _ => Left::Lost(turn.now.boottime),
                };
                past.last = Some((from.to_owned(), left));
                there.end = Some(what);
                // The end is reported at once, whatever report was sent last.
                there.again = Time::ZERO;
            }
            ReportBody::Noted
            | ReportBody::Unreachable { .. }
            | ReportBody::Cleared
            | ReportBody::Done
            | ReportBody::HostThere
            | ReportBody::Move { .. }
            | ReportBody::Moving { .. }
            | ReportBody::NotMoved { .. }
            | ReportBody::Shown(_)
            | ReportBody::Unknown => {}
        }
    }

    /// Advances everything that nodes on this host have asked for.
    pub(super) fn seek(&mut self, turn: Turn, out: &mut Vec<Action>) {
        self.release_strangers();
        self.send_releases(turn.now.boottime, out);
        for key in self.placed_children.all.keys().cloned().collect::<Vec<_>>() {
            self.seek_one(turn, &key, out);
        }
        self.report_to_nodes(out);
    }

    fn seek_one(&mut self, turn: Turn, key: &ClaimKey, out: &mut Vec<Action>) {
        let now = turn.now.boottime;
        let Some(placed_child) = self.placed_children.all.get(key) else { return };
        match placed_child.state.clone() {
            State::Choosing(at) if now < at => self.wake(at),
            State::Choosing(_) => self.choose_host(turn, key, out),
            State::Asking { host, wire, since, again } => {
                // A pinned subtree may still run on a dead host, where it needs no lease.
                let dead = self.is_dead(&host) && self.holder(key).as_ref() != Some(&host);
                if dead || !self.is_linked(&host) || now >= since + ANSWER {
                    self.ask_no_more(key, &host, &wire);
                    let Some(placed_child) = self.placed_children.all.get_mut(key) else { return };
                    placed_child.refused.insert(host, ("it has not answered".into(), now + ANSWER));
                    placed_child.state = State::Choosing(Time::ZERO);
                    return self.choose_host(turn, key, out);
                }
                if again <= now {
                    self.send_place(key, &host, &wire, now, out);
                }
                self.wake(now + AGAIN);
            }
            State::There(there) => self.see_to(turn, key, *there, out),
            State::Homeless { noted: false, again, .. } => {
                let there = self.target(turn, key).is_ok();
                let Some(placed_child) = self.placed_children.all.get_mut(key) else { return };
                if there && again <= now {
                    placed_child.state = State::Homeless { why: String::new(), noted: false, again: now + AGAIN };
                    Self::report_to_parent(placed_child.parent, &placed_child.node, ReportBody::HostThere, out);
                }
                self.wake(now + AGAIN);
            }
            State::Homeless { .. } | State::Failed { .. } => {}
        }
    }

    /// Advances a placed subtree: notices the loss of its host, and retransmits orders and reports.
    fn see_to(&mut self, turn: Turn, key: &ClaimKey, mut there: PlacedSubtree, out: &mut Vec<Action>) {
        let now = turn.now.boottime;
        if self.is_lost(turn, key, &mut there, out) {
            let loss = self.loss_of(&there.host, there.epoch);
            let left = if loss.in_order { Left::Moved(Start::Move) } else { Left::Lost(now) };
            there.end = Some(ReportBody::Lost(loss));
            there.again = Time::ZERO;
            let past = self.placed_children.past.entry(key.clone()).or_default();
            past.last = Some((there.host.clone(), left));
            past.ended_on = None;
        }
        if there.end.is_none() {
            if let Some((what, at)) = there.order.clone() {
                if at <= now {
                    self.order(&there.host, &there.wire, what.clone(), out);
                    there.order = Some((what, now + AGAIN));
                }
                self.wake(now + AGAIN);
            }
            if there.moving.is_none() && there.moved.is_none() {
                there.moving = self.is_to_move(turn, key, &there);
            }
        }
        let tell = if there.noted { None } else { there.end.clone().or(there.moving.clone()) };
        let Some(placed_child) = self.placed_children.all.get_mut(key) else { return };
        if let Some(what) = tell {
            if there.again <= now {
                there.again = now + AGAIN;
                Self::report_to_parent(placed_child.parent, &placed_child.node, what, out);
            }
            let again = there.again;
            placed_child.state = State::There(Box::new(there));
            return self.wake(again);
        }
        placed_child.state = State::There(Box::new(there));
    }

    /// Whether a placed subtree is lost, since the epoch of its host has ended. A pinned one may have gone on: where
    /// its host has a later epoch, that host is asked first.
    fn is_lost(&mut self, turn: Turn, key: &ClaimKey, there: &mut PlacedSubtree, out: &mut Vec<Action>) -> bool {
        let over = there.host != self.settings.name && self.detector.is_over(&there.host, there.epoch);
        if !over || there.end.is_some() {
            return false;
        }
        if !self.placed_children.all.get(key).is_some_and(|placed_child| placed_child.place.placement.is_pinned()) {
            return true;
        }
        let now = turn.now.boottime;
        let later = self.detector.get(&there.host).is_some_and(|seen| seen.record.epoch > there.epoch);
        if later && self.is_linked(&there.host) {
            if there.again <= now {
                there.again = now + AGAIN;
                self.order(&there.host, &there.wire, OrderAction::Inspect, out);
            }
            self.wake(there.again);
        }
        self.detector.is_empty(&there.host, there.epoch)
    }

    /// Why a run is lost that was on this host, in this epoch, which has ended.
    fn loss_of(&self, host: &str, epoch: u64) -> Loss {
        let Some(seen) = self.detector.get(host) else { return Loss::of(format!("{host} is lost")) };
        if seen.record.epoch > epoch {
            return Loss::of(format!("{host} was lost, and has begun anew"));
        }
        if seen.record.by.as_deref() == Some(host) {
            return Loss::in_order(format!("the agent of {host} has ended"));
        }
        let lease_age_ms = seen.silent.map(Span::as_millis);
        let age = seen.silent.map(|age| format!(": its lease was not renewed for {}", age.coarse()));
        Loss { why: format!("{host} is lost{}", age.unwrap_or_default()), lease_age_ms, ..Loss::default() }
    }

    /// For the relay: the host on which a child of this node runs, and the subject of the run there.
    pub fn relays(&self, parent: ParentId, node: &Subject) -> Option<(&str, &Subject)> {
        let placed_child = self
            .placed_children
            .all
            .get(&node.key())
            .filter(|placed_child| placed_child.parent == parent && placed_child.node == *node)?;
        match &placed_child.state {
            State::There(there) => Some((&there.host, &there.wire)),
            State::Asking { host, wire, .. } => Some((host, wire)),
            State::Choosing(_) | State::Homeless { .. } | State::Failed { .. } => None,
        }
    }

    /// For the relay, in the other direction: the node whose child this run on another host, or on this one, is; its
    /// subject for that node; and what the node has sent for the shell.
    pub fn relayed(&self, host: &str, wire: &Subject) -> Option<(ParentId, &Subject, &Value)> {
        let placed_child = self.placed_children.all.get(&wire.key())?;
        let its = self.relays(placed_child.parent, &placed_child.node)?;
        (its == (host, wire)).then_some((placed_child.parent, &placed_child.node, &placed_child.place.boot))
    }
}

#[cfg(test)]
mod tests;
