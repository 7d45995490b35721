//! The cleanup after one child's process, as a small state machine: when to look whether any process of the child is
//! left, and for how long. It decides by times and by the results of these looks, and touches no process itself;
//! `children/clear` looks and kills. The simulator in `tests/sim` runs it too, which is why it is public.
//!
//! ```text
//!   killed ──▶ Killing ── its process has ended ──▶ Clearing ── nothing is left ──▶ done
//!                 │                                    │
//!                 └───────── the patience is over ─────┴──▶ given up on, looked at now and then until it is done
//! ```

use crate::supervision::{Run, Supervisor};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How long a process may outlive SIGKILL. After that the cleanup gives up: it is reported, and nothing waits for it
/// any more.
pub const PATIENCE: Span = Span::from_secs(10);

/// The same limit where the kernel refuses the signal, as for a process that runs as another user: waiting helps only
/// if that process changes its user back.
pub const PATIENCE_REFUSED: Span = Span::from_secs(2);

/// The same limit where the end is urgent: the whole tree is to end at once, or the order was given a second time. It
/// also applies to processes that are left by a supervisor that has exited with a status, since it has waited for them
/// itself.
pub const PATIENCE_HURRIED: Span = Span::from_secs(1);

/// After giving up, the next look comes after this time, and each further one after twice the time before.
const SWEEP_FIRST: Span = Span::from_secs(1);

/// The longest time between two looks after giving up.
const SWEEP_MAX: Span = Span::from_secs(30);

/// The time from a kill to the first look, and the longest time between two looks before giving up.
const LOOK_FIRST: Span = Span::from_millis(10);
const LOOK_MAX: Span = Span::from_millis(500);

/// How many of the first looks for leftover processes come in short steps: killed processes need a moment to end.
const QUICK_LOOKS: u32 = 40;

/// The cleanup of one child that was killed or whose process has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cleanup {
    /// The run of the child.
    pub run: Run,
    /// When to look again.
    pub due: Time,
    stage: Stage,
    since: Time,
    patience: Span,
    looks: u32,
    given_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    /// The child's own process still exists.
    Killing,
    /// The child's own process has ended; processes that it has started are being killed.
    Clearing,
}

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing is left.
    Nothing,
    /// Some processes are left. They were sent SIGKILL once more.
    Processes {
        /// How many processes are left.
        count: usize,
        /// The kernel refuses the signal to at least one of them.
        refused: bool,
    },
    /// It could not be determined whether anything is left.
    Unknown,
}

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left: the exit is handed in.
    Done,
    /// Look again when it is due.
    Again,
    /// The time for this cleanup is over: the failed kill is reported now, once. Looks go on.
    GiveUp,
}

impl Cleanup {
    /// A cleanup that begins with a kill of the child's process at `now`.
    pub fn killed(run: Run, now: Time) -> Cleanup {
        let due = now + LOOK_FIRST;
        Cleanup { run, due, stage: Stage::Killing, since: now, patience: PATIENCE, looks: 0, given_up: false }
    }

    /// A cleanup that begins when the child's process has ended by itself at `now`.
    pub fn ended(run: Run, now: Time) -> Cleanup {
        Cleanup { due: now, stage: Stage::Clearing, ..Cleanup::killed(run, now) }
    }

    /// The killed process has ended: begins to look for what it has left, with a time limit of its own.
    pub fn goes_on_to_clear(&mut self, now: Time) {
        (self.stage, self.since, self.due, self.looks) = (Stage::Clearing, now, now, 0);
    }

    /// Shortens the time limit to [`PATIENCE_HURRIED`] from now on, and makes a look due.
    pub fn hurry(&mut self, now: Time) {
        self.patience = self.patience.min(now.since(self.since) + PATIENCE_HURRIED);
        self.due = self.due.min(now);
    }

    /// Whether the child's own process still exists.
    pub fn is_killing(&self) -> bool {
        self.stage == Stage::Killing
    }

    /// Whether no look has been taken since this stage began, or since the cleanup has given up.
    pub fn is_fresh(&self) -> bool {
        self.looks == 0
    }

    /// Whether this cleanup is worth expensive looks: the first looks after a kill are cheap, and mostly enough.
    pub fn is_stubborn(&self) -> bool {
        self.looks > 3
    }

    /// Called while a probe of the child is about to end or the child's last report is on its way. Returns whether that
    /// is still waited for; if so, this cleanup does not look for leftover processes yet.
    pub fn waits_for_last(&mut self, now: Time) -> bool {
        let waits = !self.is_killing() && now.since(self.since) < PATIENCE_HURRIED;
        if waits {
            self.due = now + LOOK_FIRST;
        }
        waits
    }

    /// The processes that the child has left were asked to end, and the core gives them time for that: the time limit
    /// of this stage starts anew.
    pub fn gives_time(&mut self, now: Time) {
        (self.since, self.due) = (now, now + LOOK_FIRST);
    }

    /// Takes the result of a look, and returns what to do next.
    pub fn looked(&mut self, now: Time, left: Left) -> Next {
        if left == Left::Nothing {
            return Next::Done;
        }
        let patience = match left {
            Left::Processes { refused: true, .. } => self.patience.min(PATIENCE_REFUSED),
            Left::Processes { .. } | Left::Unknown | Left::Nothing => self.patience,
        };
        self.looks = self.looks.saturating_add(1);
        if !self.given_up && now.since(self.since) >= patience {
            self.given_up = true;
            self.looks = 0;
            self.due = now + SWEEP_FIRST;
            return Next::GiveUp;
        }
        let doublings = |first: Span, most: Span, times: u32| first.scaled(f64::from(1 << times.min(16))).min(most);
        let pause = match self.stage {
            _ if self.given_up => doublings(SWEEP_FIRST, SWEEP_MAX, self.looks),
            Stage::Killing => doublings(LOOK_FIRST, LOOK_MAX, self.looks),
            Stage::Clearing if self.looks <= QUICK_LOOKS => Span::from_millis(u64::from(self.looks.min(10))),
            Stage::Clearing => doublings(LOOK_FIRST, LOOK_MAX, self.looks - QUICK_LOOKS),
        };
        self.due = now + pause;
        if !self.given_up {
            // The end of the time limit is reported as soon as it has come.
            self.due = self.due.min(self.since + patience).max(now + Span::from_millis(1));
        }
        Next::Again
    }
}

/// All children that are being killed or cleared.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Carried", into = "Carried")]
pub struct Cleanups {
    by_run: BTreeMap<Run, Cleanup>,
    /// When each of them is due: what a turn does must not grow with those that are not.
    deadlines: BTreeSet<(Time, Run)>,
    /// Everything is to end at once, so new cleanups get the short time limit too.
    hurried: bool,
}

/// The cleanups in the snapshot of an upgrade.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    list: Vec<Cleanup>,
    hurried: bool,
}

impl From<Carried> for Cleanups {
    fn from(Carried { list, hurried }: Carried) -> Cleanups {
        let mut cleanups = Cleanups { hurried, ..Cleanups::default() };
        list.into_iter().for_each(|cleanup| cleanups.put_back(cleanup));
        cleanups
    }
}

impl From<Cleanups> for Carried {
    fn from(cleanups: Cleanups) -> Carried {
        Carried { list: cleanups.by_run.into_values().collect(), hurried: cleanups.hurried }
    }
}

impl Cleanups {
    /// The process of this run was killed. If it was killed before, its time limit becomes the short one.
    pub fn killed(&mut self, run: Run, now: Time) {
        if !self.edit(run, |cleanup| cleanup.hurry(now)) {
            self.add(Cleanup::killed(run, now), now);
        }
    }

    /// The process of this run has ended. `patient_before`: its leftover processes have had their time already, so the
    /// time limit is the short one.
    pub fn ended(&mut self, run: Run, now: Time, patient_before: bool) {
        if !self.edit(run, |cleanup| cleanup.goes_on_to_clear(now)) {
            self.add(Cleanup::ended(run, now), now);
        }
        if patient_before {
            self.edit(run, |cleanup| cleanup.hurry(now));
        }
    }

    fn add(&mut self, mut cleanup: Cleanup, now: Time) {
        if self.hurried {
            let due = cleanup.due;
            cleanup.hurry(now);
            cleanup.due = due;
        }
        self.put_back(cleanup);
    }

    /// Changes the cleanup of this run. Returns whether there is one.
    fn edit(&mut self, run: Run, change: impl FnOnce(&mut Cleanup)) -> bool {
        let Some(cleanup) = self.by_run.get_mut(&run) else { return false };
        let before = cleanup.due;
        change(cleanup);
        if cleanup.due != before {
            self.deadlines.remove(&(before, run));
            self.deadlines.insert((cleanup.due, run));
        }
        true
    }

    /// Everything is to end at once: all time limits become the short one, also of cleanups that begin later.
    pub fn hurry(&mut self, now: Time) {
        self.hurried = true;
        let runs: Vec<Run> = self.by_run.values().filter(|cleanup| !cleanup.given_up).map(|one| one.run).collect();
        for run in runs {
            self.edit(run, |cleanup| cleanup.hurry(now));
        }
    }

    /// Something about this run has changed: makes a look at it due now.
    pub fn look_now(&mut self, run: Run, now: Time) {
        self.edit(run, |cleanup| cleanup.due = now);
    }

    /// Whether this run was reported as one that cannot be killed, and is still there.
    pub fn has_given_up_on(&self, run: Run) -> bool {
        self.by_run.get(&run).is_some_and(|cleanup| cleanup.given_up)
    }

    /// When the next look is due.
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// Takes out the cleanups that are due, in the start order of `core`, since exits of one turn are handed in in that
    /// order (D17).
    pub fn take_due(&mut self, now: Time, core: &Supervisor) -> Vec<Cleanup> {
        let mut due = Vec::new();
        while let Some(&(at, run)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            due.extend(self.by_run.remove(&run));
        }
        core.put_in_start_order(&mut due, |cleanup| cleanup.run.child);
        due
    }

    /// Puts a cleanup back that is to be looked at again later, or earlier if its child was killed anew meanwhile.
    pub fn put_back(&mut self, mut cleanup: Cleanup) {
        let run = cleanup.run;
        if let Some(anew) = self.by_run.remove(&run) {
            self.deadlines.remove(&(anew.due, run));
            cleanup.due = cleanup.due.min(anew.due);
        }
        self.deadlines.insert((cleanup.due, run));
        self.by_run.insert(run, cleanup);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, Name};
    use crate::supervision::{ChildId, Config, Event, Kind, Member, Reload, RequestId, Scope};
    use std::sync::Arc;

    const LEFT: Left = Left::Processes { count: 1, refused: false };
    const REFUSED: Left = Left::Processes { count: 1, refused: true };

    fn run() -> Run {
        Run { child: ChildId(0), incarnation: Incarnation::default() }
    }

    fn core(members: Vec<Member>) -> Supervisor {
        Supervisor::new(Config { policy: Default::default(), members, uplink: None, node: 1, seed: 1 })
    }

    /// Looks whenever it is due until it gives up; when that was, and after how many looks.
    fn until_given_up(cleanup: &mut Cleanup, left: Left) -> (Span, u32) {
        for looks in 1..10_000 {
            let now = cleanup.due;
            match cleanup.looked(now, left) {
                Next::GiveUp => return (now.since(Time::ZERO), looks),
                Next::Again => assert!(cleanup.due > now, "it does not spin"),
                Next::Done => panic!("something is left"),
            }
        }
        panic!("it never gives up");
    }

    #[test]
    fn a_kill_is_given_up_on_after_its_time_and_few_looks() {
        for (left, patience) in [(LEFT, PATIENCE), (REFUSED, PATIENCE_REFUSED), (Left::Unknown, PATIENCE)] {
            let (at, looks) = until_given_up(&mut Cleanup::killed(run(), Time::ZERO), left);
            assert_eq!(at, patience, "{left:?}");
            assert!(looks < 30, "{looks} {left:?}");
            let (at, looks) = until_given_up(&mut Cleanup::ended(run(), Time::ZERO), left);
            assert_eq!(at, patience, "{left:?}");
            assert!(looks < 80, "{looks} {left:?}");
        }
    }

    #[test]
    fn what_was_given_up_on_is_swept_ever_more_seldom_and_told_once() {
        let mut cleanup = Cleanup::killed(run(), Time::ZERO);
        until_given_up(&mut cleanup, LEFT);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let now = cleanup.due;
            assert_eq!(cleanup.looked(now, LEFT), Next::Again);
            pauses.push(cleanup.due.since(now));
        }
        assert!(pauses.is_sorted() && pauses[0] >= SWEEP_FIRST, "{pauses:?}");
        assert_eq!(pauses.last(), Some(&SWEEP_MAX));
        // The process has ended at last: the first look comes now, the following ones as seldom as before.
        cleanup.goes_on_to_clear(cleanup.due);
        let now = cleanup.due;
        assert_eq!(cleanup.looked(now, LEFT), Next::Again);
        assert!(cleanup.due.since(now) >= SWEEP_FIRST);
        assert_eq!(cleanup.looked(cleanup.due, Left::Nothing), Next::Done);
    }

    #[test]
    fn what_was_killed_and_goes_is_looked_at_soon() {
        let mut cleanup = Cleanup::killed(run(), Time::ZERO);
        let ended = Time::ZERO + Span::from_millis(3);
        cleanup.goes_on_to_clear(ended);
        assert!(cleanup.due == ended && cleanup.is_fresh());
        assert_eq!(cleanup.looked(ended, LEFT), Next::Again);
        assert_eq!(cleanup.due.since(ended), Span::from_millis(1));
        assert_eq!(cleanup.looked(cleanup.due, Left::Nothing), Next::Done);
    }

    #[test]
    fn a_hurry_shortens_what_is_left_of_the_patience() {
        let second = Time::ZERO + Span::from_secs(2);
        let mut cleanups = Cleanups::default();
        cleanups.killed(run(), Time::ZERO);
        cleanups.killed(run(), second);
        assert!(!cleanups.has_given_up_on(run()));
        let mut again = cleanups.take_due(second, &core(Vec::new())).pop().unwrap();
        assert_eq!(until_given_up(&mut again, LEFT).0, Span::from_secs(3));
        cleanups.put_back(again);
        assert!(cleanups.has_given_up_on(run()));
        cleanups = Cleanups::default();
        // The limit for the processes that it has left is not longer either.
        cleanups.hurry(second);
        cleanups.ended(run(), Time::ZERO, false);
        let mut ended = cleanups.take_due(second, &core(Vec::new())).pop().unwrap();
        assert_eq!(until_given_up(&mut ended, LEFT).0, PATIENCE_HURRIED);
        cleanups.hurry(second);
        assert_eq!(cleanups.next_deadline(), None);
    }

    #[test]
    fn those_that_are_due_come_in_start_order_whatever_their_numbers_are() {
        let member = |name: &str| Member {
            name: Name::parse(name).unwrap(),
            kind: Kind::Worker,
            revision: 0,
            settings: 0,
            policy: Arc::default(),
        };
        let of = |number| Run { child: ChildId(number), ..run() };
        let numbers = |due: Vec<Cleanup>| due.iter().map(|cleanup| cleanup.run.child.0).collect::<Vec<_>>();
        let mut core = core(["a", "b", "c", "d"].map(member).to_vec());
        let mut cleanups = Cleanups::default();
        // A child that the core has removed is last.
        for number in [9, 3, 1, 2] {
            cleanups.ended(of(number), Time::ZERO, false);
        }
        cleanups.killed(of(0), Time::ZERO);
        let due = cleanups.take_due(Time::ZERO, &core);
        due.iter().for_each(|cleanup| cleanups.put_back(cleanup.clone()));
        assert_eq!(numbers(due), [1, 2, 3, 9]);
        assert_eq!(cleanups.next_deadline(), Some(Time::ZERO));
        // A reload puts another child between them, and one to the front.
        let reload = Reload {
            request: RequestId(1),
            by: "uid 1".into(),
            generation: 1,
            own: None,
            members: ["d", "a", "new", "b", "c"].map(member).to_vec(),
            scope: Scope::All { prune: false },
        };
        core.handle(Time::ZERO, Event::Begin, &mut Vec::new());
        for number in 0..4 {
            let run = core
                .child(Time::ZERO, ChildId(number))
                .map(|child| Run { child: ChildId(number), incarnation: child.incarnation });
            core.handle(Time::ZERO, Event::Spawned { run: run.unwrap(), pid: 100 + number }, &mut Vec::new());
        }
        core.handle(Time::ZERO, Event::Reloaded(Box::new(reload)), &mut Vec::new());
        let new = core.find("new").unwrap().0;
        cleanups.ended(of(new), Time::ZERO, false);
        cleanups.ended(of(0), Time::ZERO, false);
        assert_eq!(numbers(cleanups.take_due(Time::ZERO, &core)), [3, 0, new, 1, 2, 9]);
        assert_eq!(cleanups.next_deadline(), None);
    }

    #[test]
    fn one_that_is_put_back_is_looked_at_as_early_as_one_that_began_meanwhile() {
        let (mut cleanups, core) = (Cleanups::default(), core(Vec::new()));
        cleanups.ended(run(), Time::ZERO, false);
        let mut taken = cleanups.take_due(Time::ZERO, &core).pop().unwrap();
        taken.due = Time::ZERO + Span::from_secs(60);
        cleanups.killed(run(), Time::ZERO);
        cleanups.put_back(taken);
        assert_eq!(cleanups.next_deadline(), Some(Time::ZERO + LOOK_FIRST));
        assert_eq!((cleanups.by_run.len(), cleanups.deadlines.len()), (1, 1));
    }

    #[test]
    fn what_a_turn_does_does_not_grow_with_what_is_not_due() {
        let of = |number| Run { child: ChildId(number), ..run() };
        let mut cleanups = Cleanups::default();
        for number in 0..100 {
            cleanups.killed(of(number), Time::ZERO);
        }
        cleanups.look_now(of(7), Time::ZERO);
        assert_eq!((cleanups.by_run.len(), cleanups.deadlines.len()), (100, 100));
        assert_eq!(cleanups.next_deadline(), Some(Time::ZERO));
        let due = cleanups.take_due(Time::ZERO, &core(Vec::new()));
        assert_eq!(due.iter().map(|cleanup| cleanup.run.child.0).collect::<Vec<_>>(), [7]);
        assert_eq!((cleanups.by_run.len(), cleanups.deadlines.len()), (99, 99));
        // The snapshot of an upgrade has a list.
        let value = serde_json::to_value(&cleanups).unwrap();
        assert!(value["list"].as_array().is_some_and(|list| list.len() == 99) && value["hurried"] == false);
        let again: Cleanups = serde_json::from_value(value).unwrap();
        assert_eq!((again.by_run.len(), &again.deadlines), (99, &cleanups.deadlines));
    }
}
