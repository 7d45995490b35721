//! Decides what the root is asked on behalf of pages, and when, one request at a time.
//!
//! Requests get what events cannot show. A supervisor whose rows are shown is asked for these rows once a second, with
//! at most four such requests a second; the whole tree is asked for every 30 seconds, and after a gap. A tree that
//! takes long to answer is asked less often.

use crate::ids::{Name, Path};
use crate::wire::message::Verb;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Intervals: of the whole tree, of a supervisor whose rows are shown, between any two of these, and of the root if no
/// rows are shown.
const WHOLE_MS: u64 = 30_000;
const PART_MS: u64 = 1_000;
const ANY_MS: u64 = 250;
const ALONE_MS: u64 = 3_000;

/// Interval after a question that was not answered.
const AGAIN_MS: u64 = 1_000;

/// Delay after an event which shows that the rows have changed, as more such events may follow.
const GATHER_MS: u64 = 500;

/// How many times as long as an answer with the whole tree has taken, none is asked for.
const RESTS: u64 = 10;

/// A status request to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) path: Path,
    pub(super) children: Option<Vec<Name>>,
    /// Number of the next event at the time of the request.
    pub(super) next: u64,
    begun_ms: u64,
    pub(super) whole: bool,
}

impl Question {
    /// Whether its answer contains this row.
    pub(super) fn has(&self, path: &Path) -> bool {
        *path == self.path
            || path.parent().as_ref() == Some(&self.path)
                && self
                    .children
                    .as_ref()
                    .is_none_or(|names| names.iter().any(|name| Some(name.as_str()) == path.name()))
    }
}

/// When the tree and each supervisor are asked next.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The whole tree was read, and its changes are known since.
    whole: bool,
    whole_due: u64,
    /// Until when the last answer that had the whole tree is good enough, unless events were missed.
    rests_until: u64,
    /// Events were missed, and rows were added or removed, since the whole tree was last asked for. Its answer may be
    /// of the time before.
    missed: bool,
    changed: bool,
    /// When each supervisor was asked last, and for which child as the last one.
    asked: HashMap<Path, (u64, Option<Name>)>,
    asked_at: u64,
}

impl Schedule {
    /// Whether the whole tree is known.
    pub(super) fn has_whole(&self) -> bool {
        self.whole
    }

    /// The known state is outdated: ask for the whole tree at once.
    pub(super) fn forget(&mut self) {
        (self.whole, self.whole_due, self.missed) = (false, 0, true);
    }

    /// Events were missed: ask for the whole tree now.
    pub(super) fn missed(&mut self, now: u64) {
        self.missed = true;
        self.whole_due = self.whole_due.min(now);
    }

    /// Rows were added or removed: ask for the whole tree soon.
    pub(super) fn changed(&mut self, now: u64) {
        self.changed = true;
        self.whole_due = self.whole_due.min(self.rests_until.max(now + GATHER_MS));
    }

    /// Notes the answer to a question.
    pub(super) fn answered(&mut self, question: &Question, now: u64) {
        if question.whole {
            self.whole = true;
            self.rests_until = now + RESTS * now.saturating_sub(question.begun_ms);
            self.whole_due = self.rests_until.max(now + WHOLE_MS);
            if self.changed {
                self.changed(now);
            }
            if self.missed {
                self.missed(now);
            }
        }
    }

    /// The next question, if one is due. `next` is the number of the next event; `in_view` has the supervisors of the
    /// rows that are shown, with the shown children.
    pub(super) fn question(
        &mut self,
        next: u64,
        silent: bool,
        in_view: BTreeMap<Path, BTreeSet<Name>>,
        now: u64,
    ) -> Option<Question> {
        let pause = if silent { AGAIN_MS } else { ANY_MS };
        let ask = |path, children, whole| Some(Question { path, children, next, begun_ms: now, whole });
        if now >= self.whole_due && (!silent || now >= self.asked_at + pause) {
            // Set for the case that it is not answered.
            (self.asked_at, self.whole_due) = (now, now + AGAIN_MS);
            (self.missed, self.changed) = (false, false);
            return ask(Path::root(), None, true);
        }
        if now < self.asked_at + pause {
            return None;
        }
        self.asked.retain(|path, _| in_view.contains_key(path));
        let asked = |path: &Path| self.asked.get(path).map_or(0, |(at, _)| *at);
        let longest = in_view.into_iter().min_by_key(|(path, _)| asked(path));
        if let Some((path, children)) = longest.filter(|(path, _)| now >= asked(path) + PART_MS) {
            self.asked_at = now;
            let last = self.asked.get(&path).and_then(|(_, last)| last.as_ref());
            let children = next_of(&children, last);
            self.asked.insert(path.clone(), (now, children.last().cloned()));
            return ask(path, Some(children), false);
        }
        if now >= self.asked_at + ALONE_MS {
            self.asked_at = now;
            return ask(Path::root(), Some(Vec::new()), false);
        }
        None
    }
}

/// As many of these children as one request may have: if there are more, those that follow the last one of the request
/// before.
fn next_of(children: &BTreeSet<Name>, last: Option<&Name>) -> Vec<Name> {
    let last = last.filter(|_| children.len() > Verb::CHILDREN_MAX);
    let is_next = |name: &&Name| last.is_none_or(|last| *name > last);
    let (next, then) = (children.iter().filter(is_next), children.iter().filter(|name| !is_next(name)));
    next.chain(then).take(Verb::CHILDREN_MAX).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn view(supervisors: &[&str]) -> BTreeMap<Path, BTreeSet<Name>> {
        supervisors.iter().map(|at| (path(at), BTreeSet::new())).collect()
    }

    /// The questions of so many seconds if every question is answered at once.
    fn asked(schedule: &mut Schedule, supervisors: &[&str], seconds: u64, silent: bool) -> Vec<(u64, String, bool)> {
        let mut all = Vec::new();
        for now in (1..=seconds * 100).map(|tick| 1_000_000 + tick * 10) {
            if let Some(question) = schedule.question(7, silent, view(supervisors), now) {
                if !silent {
                    schedule.answered(&question, now);
                }
                all.push((now, question.path.to_string(), question.whole));
            }
        }
        all
    }

    #[test]
    fn the_whole_comes_first_and_every_half_minute() {
        let mut schedule = Schedule::default();
        assert!(!schedule.has_whole());
        let all = asked(&mut schedule, &[], 65, false);
        assert!(schedule.has_whole());
        assert_eq!(all.iter().filter(|(_, _, whole)| *whole).count(), 3);
        assert!(all[0].2);
        // Nothing is in view: the root alone is asked now and then.
        assert!(all.len() <= 3 + 65 / 3, "{}", all.len());
    }

    #[test]
    fn a_supervisor_in_view_is_asked_once_a_second_and_four_of_them_at_most() {
        let mut schedule = Schedule::default();
        let all = asked(&mut schedule, &["/web"], 10, false);
        let count = all.iter().filter(|(_, path, _)| path == "/web").count();
        assert!((9..=10).contains(&count), "{count}");
        let many = ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"];
        let mut schedule = Schedule::default();
        let all = asked(&mut schedule, &many, 20, false);
        assert!((70..=81).contains(&all.len()), "{}", all.len());
        for one in many {
            let count = all.iter().filter(|(_, path, _)| path == one).count();
            assert!((8..=11).contains(&count), "{one}: {count}");
        }
    }

    #[test]
    fn a_silent_root_is_asked_once_a_second() {
        let mut schedule = Schedule::default();
        assert!(asked(&mut schedule, &["/a", "/b"], 10, true).len() <= 10);
    }

    #[test]
    fn what_was_missed_is_asked_for_at_once_and_a_long_answer_less_often() {
        let mut schedule = Schedule::default();
        let question = schedule.question(0, false, view(&[]), 1_000).unwrap();
        schedule.answered(&question, 6_000);
        assert_eq!(schedule.whole_due, 6_000 + 50_000);
        schedule.changed(7_000);
        schedule.missed(7_000);
        assert!(schedule.question(0, false, view(&[]), 7_000).unwrap().whole);
        // The question was not answered.
        assert!(schedule.question(0, false, view(&[]), 7_500).is_none_or(|question| !question.whole));
        assert!(schedule.question(0, false, view(&[]), 8_000).unwrap().whole);
    }

    #[test]
    fn what_comes_while_the_whole_is_under_way_is_asked_for_once_more() {
        type Comes = fn(&mut Schedule, u64);
        let comes: [(Comes, u64); 3] =
            [(Schedule::missed, 2_000), (|schedule, _| schedule.forget(), 2_000), (Schedule::changed, 12_000)];
        for (comes, due) in comes {
            let mut schedule = Schedule::default();
            let question = schedule.question(0, false, view(&[]), 1_000).unwrap();
            comes(&mut schedule, 1_500);
            schedule.answered(&question, 2_000);
            let whole = |schedule: &mut Schedule, now| {
                schedule.question(0, false, view(&[]), now).filter(|question| question.whole)
            };
            assert_eq!(whole(&mut schedule, due - 1), None);
            let question = whole(&mut schedule, due).unwrap();
            schedule.answered(&question, due);
            assert_eq!(schedule.whole_due, due + WHOLE_MS, "once");
        }
    }

    #[test]
    fn rows_that_come_and_go_do_not_keep_a_slow_tree_busy() {
        let mut schedule = Schedule::default();
        let (mut answers, mut pending): (u64, Option<(u64, Question)>) = (0, None);
        for now in (1_000..61_000).step_by(50) {
            if let Some((_, question)) = pending.take_if(|(at, _)| now >= *at) {
                schedule.answered(&question, now);
                answers += 1;
            }
            schedule.changed(now);
            if pending.is_none() {
                let question = schedule.question(7, false, view(&[]), now).filter(|question| question.whole);
                pending = question.map(|question| (now + 1_000, question));
            }
        }
        assert!((5..=6).contains(&answers), "{answers}");
        // What was missed is asked for at once all the same.
        schedule.missed(61_000);
        assert!(schedule.question(7, false, view(&[]), 61_000).unwrap().whole);
    }

    #[test]
    fn all_rows_of_a_large_supervisor_have_their_turn() {
        let all: BTreeSet<Name> = (0..450).map(|at| Name::parse(&format!("w{at:03}")).unwrap()).collect();
        let mut schedule = Schedule::default();
        let question = schedule.question(7, false, BTreeMap::new(), 1_000).unwrap();
        schedule.answered(&question, 1_000);
        let mut asked = BTreeSet::new();
        for second in 2..5 {
            let in_view = BTreeMap::from([(path("/web"), all.clone())]);
            let children = schedule.question(7, false, in_view, second * 1_000).unwrap().children.unwrap();
            assert_eq!(children.len(), Verb::CHILDREN_MAX);
            asked.extend(children);
        }
        assert_eq!(asked, all);
        let few: BTreeSet<Name> = all.into_iter().take(3).collect();
        let question = schedule.question(7, false, BTreeMap::from([(path("/web"), few.clone())]), 9_000).unwrap();
        assert!(question.children.unwrap().iter().eq(&few), "in their order");
    }

    #[test]
    fn an_answer_has_the_rows_that_were_asked_for() {
        let names = ["a"].map(|name| Name::parse(name).unwrap()).to_vec();
        let question = Question { path: path("/web"), children: Some(names), next: 0, begun_ms: 0, whole: false };
        for (at, has) in [("/web", true), ("/web/a", true), ("/web/b", false), ("/web/a/c", false), ("/", false)] {
            assert_eq!(question.has(&path(at)), has, "{at}");
        }
    }
}
