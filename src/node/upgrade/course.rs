//! One node's part in a hot upgrade: its own rehearsal or replacement, and those of its child nodes, at most four at a
//! time. It has no I/O and no clock: results and times are passed to it.
//!
//! ```text
//! rehearsal:    own ┐                     upgrade:    own, then ┐
//!               child nodes ┴▶ over                    child nodes ┴▶ over
//! ```
//!
//! It is part of the snapshot, so that the next image goes on with it.

use crate::ids::Path;
use crate::node::asker::Asker;
use crate::supervision::Run;
use crate::time::{Span, Time};
use crate::wire::message::Reply;
use crate::wire::upgrade::{State, Supervisor, Turns, Upgrade};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a child node may send nothing about its part. After that it is not waited for, since it may be stopped
/// (SIGSTOP).
const SILENCE_BELOW: Span = Span::from_secs(30);

/// How long to wait for a child node that has not connected yet, before its turn is given up.
const CONNECTS: Span = Span::from_secs(5);

/// How long a node waits for a moment at which it can be replaced.
pub(in crate::node) const REST: Span = Span::from_secs(5);

/// What was ordered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct Wanted {
    /// The asker, which gets the result.
    pub asker: Asker,
    pub by: String,
    /// Whether it is a rehearsal only, which changes nothing.
    pub check: bool,
    /// Whether nodes that run the executable already stay as they are, since an earlier upgrade has reached them.
    pub rest: bool,
}

type Child = (Run, Path);

/// One node's part in an upgrade.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct Course {
    pub wanted: Wanted,
    /// The version of this node at the beginning; below, that of the executable.
    from: String,
    to: Option<String>,
    own: NodeUpgradeState,
    /// Since when this node waits for the connection of the next child node.
    connects: Option<Time>,
    children: Turns<Child>,
    /// The child nodes that were asked, by the number of the question, and when to give up on them.
    asked: BTreeMap<u64, (Child, Time)>,
    known: Vec<Supervisor>,
    /// The child nodes that were not replaced and have published nothing about it, and why. Not carried: this node is
    /// replaced before any is asked.
    #[serde(skip)]
    silent: Vec<(Child, String)>,
}

/// The state of this node's own part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NodeUpgradeState {
    /// This node's rehearsal runs.
    Rehearsing,
    /// This node is to be replaced as soon as possible.
    Wanted { since: Time },
    /// This node's own part is done or has failed.
    Over,
}

impl Course {
    /// A part that begins now. It is a rehearsal or a replacement, as ordered.
    pub(in crate::node) fn new(
        now: Time,
        wanted: Wanted,
        from: String,
        to: Option<String>,
        children: Vec<Child>,
    ) -> Course {
        let own = if wanted.check { NodeUpgradeState::Rehearsing } else { NodeUpgradeState::Wanted { since: now } };
        let (asked, known, silent) = (BTreeMap::new(), Vec::new(), Vec::new());
        Course { wanted, from, to, own, connects: None, children: Turns::new(children), asked, known, silent }
    }

    /// The version of this node at the beginning.
    pub(in crate::node) fn from(&self) -> &str {
        &self.from
    }

    /// The version of the executable, as far as it is known.
    pub(in crate::node) fn to(&self) -> &str {
        self.to.as_deref().unwrap_or("another version")
    }

    /// Whether this node's own rehearsal is to run.
    pub(in crate::node) fn wants_rehearsal(&self) -> bool {
        self.own == NodeUpgradeState::Rehearsing
    }

    /// Whether a child node sends by this reply that it is about to be replaced: it has no result, not even of its own.
    pub(in crate::node) fn is_left_by(&self, reply: &Reply) -> bool {
        let begins = |upgrade: &Upgrade| !upgrade.done && upgrade.supervisors.is_empty();
        !self.wanted.check && matches!(reply, Reply::Upgraded { upgrade } if begins(upgrade))
    }

    /// Whether a child node was asked by this number.
    pub(in crate::node) fn has_asked(&self, number: u64) -> bool {
        self.asked.contains_key(&number)
    }

    /// Whether this node is to be replaced now: `Some(false)`, or `Some(true)` if this is the last attempt.
    pub(in crate::node) fn wants_own(&self, now: Time) -> Option<bool> {
        match self.own {
            NodeUpgradeState::Wanted { since } => Some(now.since(since) >= REST),
            NodeUpgradeState::Rehearsing | NodeUpgradeState::Over => None,
        }
    }

    /// This node's own part has ended, with this result.
    pub(in crate::node) fn own_is_over(&mut self, supervisor: Supervisor) {
        if supervisor.state == State::Upgraded {
            self.to = Some(supervisor.version.clone());
        }
        self.own = NodeUpgradeState::Over;
        self.known.push(supervisor);
    }

    /// The version of the executable has become known.
    pub(in crate::node) fn is_to(&mut self, version: String) {
        self.to = Some(version);
    }

    /// These child nodes run now that this node was replaced. Some may have begun since the order, by the former image.
    pub(in crate::node) fn found_below(&mut self, children: Vec<Child>) {
        self.children = Turns::new(children);
    }

    /// The child nodes are not asked: they and all below them stay as they are.
    pub(in crate::node) fn keep_below(&mut self, kept: Vec<Supervisor>) {
        self.children = Turns::new([]);
        self.known.extend(kept);
    }

    /// The child nodes that are to be asked now.
    pub(in crate::node) fn next(&mut self) -> Vec<Child> {
        if self.wanted.check || self.own == NodeUpgradeState::Over { self.children.begin() } else { Vec::new() }
    }

    /// A child node was asked, by this number.
    pub(in crate::node) fn asked(&mut self, now: Time, number: u64, child: Child) {
        self.connects = None;
        self.asked.insert(number, (child, now + SILENCE_BELOW));
    }

    /// A child node cannot be reached, since it has not yet connected to this node, which was just replaced. It is
    /// tried again for a while.
    pub(in crate::node) fn not_reached(&mut self, now: Time, child: Child) {
        let since = *self.connects.get_or_insert(now);
        if now.since(since) < CONNECTS {
            return self.children.later(child);
        }
        self.children.ended(&child);
        self.failed(child, "it does not connect to its parent".into());
        // The next one has its own time.
        self.connects = None;
    }

    /// Whether a child node is waited for that has not connected yet.
    pub(in crate::node) fn waits_for_one(&self) -> bool {
        self.connects.is_some()
    }

    /// A child node has answered the question of this number.
    pub(in crate::node) fn answered(&mut self, now: Time, number: u64, reply: Reply) {
        let Some((_, until)) = self.asked.get_mut(&number) else { return };
        match reply {
            Reply::Upgraded { upgrade } if upgrade.done => {
                let Some((child, _)) = self.asked.remove(&number) else { return };
                self.children.ended(&child);
                self.known.extend(upgrade.supervisors);
            }
            Reply::Refused { message, .. } => self.failed_below(number, message),
            _ => *until = now + SILENCE_BELOW,
        }
    }

    /// The process of a child node has ended. This node is replaced before those below it, so the child's next process
    /// starts with the new executable: its part is done.
    pub(in crate::node) fn lost(&mut self, gone: Run) {
        let numbers: Vec<u64> =
            self.asked.iter().filter(|(_, ((run, _), _))| *run == gone).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some((child, _)) = self.asked.remove(&number) else { continue };
            self.children.ended(&child);
            if !self.wanted.check {
                let (path, version) = (child.1.to_string(), self.to().to_owned());
                let message = Some("its process ended, and the next one began with this version".into());
                self.known.push(Supervisor { path, state: State::Upgraded, version, gap_ms: None, message });
            }
        }
        self.children.retain(|(run, _)| *run != gone);
    }

    /// A child node has failed to do its part, or does not answer.
    fn failed_below(&mut self, number: u64, message: String) {
        if let Some((child, _)) = self.asked.remove(&number) {
            self.children.ended(&child);
            self.failed(child, message);
        }
    }

    fn failed(&mut self, child: Child, why: String) {
        let (path, version, message) = (child.1.to_string(), self.from.clone(), Some(why.clone()));
        self.known.push(Supervisor { path, state: State::Failed, version, gap_ms: None, message });
        // The root publishes that a rehearsal has failed.
        if !self.wanted.check {
            self.silent.push((child, why));
        }
    }

    /// Takes the child nodes that were not replaced and have published nothing about it, and why.
    pub(in crate::node) fn take_silent(&mut self) -> Vec<(Child, String)> {
        std::mem::take(&mut self.silent)
    }

    /// Gives up on child nodes that have sent nothing for too long.
    pub(in crate::node) fn due(&mut self, now: Time) {
        let late: Vec<u64> =
            self.asked.iter().filter(|(_, (_, until))| *until <= now).map(|(number, _)| *number).collect();
        for number in late {
            self.failed_below(number, format!("it has not answered for {}", SILENCE_BELOW.coarse()));
        }
    }

    /// When to give up on the next child node.
    pub(in crate::node) fn next_deadline(&self) -> Option<Time> {
        self.asked.values().map(|(_, until)| *until).min()
    }

    /// Whether this node and all child nodes have done their parts.
    pub(in crate::node) fn is_over(&self) -> bool {
        self.own == NodeUpgradeState::Over && self.children.are_over() && self.asked.is_empty()
    }

    /// Whether child nodes were asked and have not done their parts.
    pub(in crate::node) fn waits_below(&self) -> bool {
        !self.asked.is_empty()
    }

    /// For how many supervisors the result is known.
    pub(in crate::node) fn known(&self) -> usize {
        self.known.len()
    }

    /// The first supervisor that has failed.
    pub(in crate::node) fn failure(&self) -> Option<&Supervisor> {
        self.known.iter().find(|supervisor| supervisor.state == State::Failed)
    }

    /// The supervisors below the root that were not upgraded, with their versions. `None` if the root was not upgraded
    /// either: then none is behind because of this upgrade.
    pub(in crate::node) fn behind(&self) -> Option<Vec<(Path, String)>> {
        let is_root = |one: &Supervisor| one.path == Path::root().as_str();
        if self.known.iter().any(|one| is_root(one) && one.state != State::Upgraded) {
            return None;
        }
        let left = self.known.iter().filter(|one| matches!(one.state, State::Failed | State::Kept));
        Some(left.filter_map(|one| Some((Path::parse(&one.path).ok()?, one.version.clone()))).collect())
    }

    /// The results so far.
    pub(in crate::node) fn upgrade(&self) -> Upgrade {
        let mut supervisors = self.known.clone();
        supervisors.sort_by(|one, other| one.path.cmp(&other.path));
        Upgrade::new(self.from.clone(), self.to().to_owned(), self.is_over(), supervisors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::supervision::ChildId;
    use crate::wire::message::Refusal;

    const START: Time = Time::ZERO;

    fn child(number: u32) -> Child {
        let run = Run { child: ChildId(number), incarnation: Incarnation::FIRST };
        (run, Path::parse(&format!("/{number}")).unwrap())
    }

    fn course(check: bool, children: u32) -> Course {
        let wanted = Wanted { asker: Asker::None, by: "a test".into(), check, rest: false };
        Course::new(START, wanted, "1".into(), None, (0..children).map(child).collect())
    }

    fn known(path: &str, state: State) -> Supervisor {
        Supervisor { path: path.into(), state, version: "2".into(), gap_ms: None, message: None }
    }

    fn done(path: &str, state: State) -> Reply {
        let upgrade = Upgrade::new("1".into(), "2".into(), true, vec![known(path, state)]);
        Reply::Upgraded { upgrade: Box::new(upgrade) }
    }

    #[test]
    fn a_rehearsal_is_made_at_once_and_an_upgrade_from_the_top_down_four_at_a_time() {
        let mut check = course(true, 2);
        assert!(check.wants_rehearsal() && check.wants_own(START).is_none());
        assert_eq!(check.next(), [child(0), child(1)]);

        let mut upgrade = course(false, 6);
        assert!(!upgrade.wants_rehearsal());
        assert_eq!((upgrade.next(), upgrade.wants_own(START)), (Vec::new(), Some(false)));
        assert_eq!(upgrade.wants_own(START + REST), Some(true), "its last attempt");
        upgrade.own_is_over(known("/", State::Upgraded));
        assert_eq!(upgrade.wants_own(START), None);
        for (number, child) in (1..).zip(upgrade.next()) {
            upgrade.asked(START, number, child);
        }
        assert_eq!(upgrade.next(), []);
        upgrade.answered(START, 2, done("/1", State::Upgraded));
        assert_eq!(upgrade.next(), [child(4)]);
        upgrade.asked(START, 5, child(4));
        for number in [1, 3, 4, 5] {
            upgrade.answered(START, number, done("/x", State::Upgraded));
        }
        assert!(!upgrade.is_over());
        for child in upgrade.next() {
            upgrade.asked(START, 6, child);
        }
        upgrade.answered(START, 6, done("/5", State::Upgraded));
        assert!(upgrade.is_over() && upgrade.failure().is_none());
        assert_eq!((upgrade.upgrade().supervisors.len(), upgrade.behind()), (7, Some(Vec::new())));
    }

    #[test]
    fn whatever_becomes_of_a_child_node_it_ends() {
        let mut course = course(false, 4);
        course.own_is_over(known("/", State::Upgraded));
        let children = course.next();
        // A child node has not connected yet, and then does.
        course.not_reached(START, children[0].clone());
        assert!(course.waits_for_one() && !course.is_over());
        assert_eq!(course.next(), [child(0)]);
        for (number, child) in children.iter().enumerate() {
            course.asked(START, number as u64, child.clone());
        }
        assert!(!course.waits_for_one());
        // One child node refuses, one ends, one fails, and one sends nothing.
        course.answered(START, 0, Reply::Refused { why: Refusal::NotAllowed, message: "no".into() });
        course.lost(child(1).0);
        course.answered(START, 3, done("/3", State::Failed));
        assert_eq!(course.next_deadline(), Some(START + SILENCE_BELOW));
        course.due(START + SILENCE_BELOW);
        assert!(course.is_over());
        let mut failed: Vec<_> = course.behind().unwrap().into_iter().map(|(path, _)| path.to_string()).collect();
        failed.sort();
        assert_eq!(failed, ["/0", "/2", "/3"], "what has ended begins with the new version");
        let silent = course.take_silent();
        let why = ["no", "it has not answered for 30s"].map(str::to_owned);
        assert_eq!(silent, [child(0), child(2)].into_iter().zip(why).collect::<Vec<_>>(), "/3 has published it");
        assert!(course.take_silent().is_empty());
        // A child node that never connects is not waited for either.
        let mut course = self::course(false, 1);
        course.own_is_over(known("/", State::Upgraded));
        let [one] = course.next().try_into().unwrap();
        course.not_reached(START, one);
        let [one] = course.next().try_into().unwrap();
        course.not_reached(START + CONNECTS, one);
        assert!(course.is_over() && course.failure().is_some());
        assert_eq!(course.take_silent(), [(child(0), "it does not connect to its parent".to_owned())]);
        // A rehearsal that is refused has an event of the root.
        let mut check = self::course(true, 1);
        let [one] = check.next().try_into().unwrap();
        check.asked(START, 0, one);
        check.answered(START, 0, Reply::Refused { why: Refusal::NotAllowed, message: "no".into() });
        assert!(check.failure().is_some() && check.take_silent().is_empty());
    }

    #[test]
    fn what_fails_at_the_top_keeps_all_below() {
        let mut course = course(false, 3);
        course.keep_below((0..3).map(|n| known(&format!("/{n}"), State::Kept)).collect());
        course.own_is_over(known("/", State::Failed));
        assert_eq!(course.next(), []);
        assert!(course.is_over());
        assert_eq!(course.upgrade().supervisors.len(), 4);
        assert_eq!(course.behind(), None, "none is older than the root");
    }

    #[test]
    fn a_child_node_that_begins_before_this_node_is_replaced_has_its_turn() {
        let mut course = course(false, 2);
        let again = (Run { incarnation: Incarnation(2), ..child(0).0 }, child(0).1);
        course.lost(child(0).0);
        assert_eq!(course.known(), 0, "the former image has started the next one");
        course.found_below(vec![again.clone(), child(1)]);
        course.own_is_over(known("/", State::Upgraded));
        assert_eq!(course.next(), [again, child(1)]);
    }

    #[test]
    fn a_child_node_is_about_to_be_replaced_when_it_has_no_result_yet() {
        let reply = |done, supervisors| {
            let upgrade = Upgrade::new("1".into(), "2".into(), done, supervisors);
            Reply::Upgraded { upgrade: Box::new(upgrade) }
        };
        let course_of = |check| course(check, 1);
        assert!(course_of(false).is_left_by(&reply(false, vec![])));
        // It was replaced, and waits for those below it.
        assert!(!course_of(false).is_left_by(&reply(false, vec![known("/0", State::Upgraded)])));
        assert!(!course_of(false).is_left_by(&done("/0", State::Failed)));
        assert!(!course_of(true).is_left_by(&reply(false, vec![])), "a rehearsal replaces nothing");
    }
}
