//! Measures what the loop spends its time on, so that the report of a late node names its cause, and limits how often
//! that is reported.

use super::context::Context;
use super::lateness::LATENESS;
use crate::supervision::Action;
use crate::time::{Span, Time};
use slog::{debug, warn};

/// The least time between two such reports. The second one covers all delays since the first.
const REPORT_EVERY: Span = Span::from_secs(60);

/// In a turn that takes longer than this, the node sends no further heartbeats between the steps of the turn: a loop
/// that never completes a turn does not supervise, however busy it is.
const LONGEST_TURN: Span = Span::from_secs(60);

/// Time in which no child was supervised although one should have been.
#[derive(Default)]
pub(super) struct Lateness {
    /// The process did not run: it was stopped, or got no CPU time.
    pub slept: Span,
    /// The process was busy with other work.
    pub busy: Span,
    /// The kind of work that took most of the busy time.
    pub with: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Reading what children, the parent and operators send.
    Reading,
    Starting,
    Stopping,
    /// Killing the processes that children have left, and looking whether they have ended.
    Cleanup,
    /// Reading what workers print.
    Output,
    /// Publishing events to the log and to other processes.
    Publishing,
    Answering,
    /// Decisions of the core, deadlines, and all else.
    Other,
}

impl Work {
    const ALL: [Work; 8] = [
        Work::Reading,
        Work::Starting,
        Work::Stopping,
        Work::Cleanup,
        Work::Output,
        Work::Publishing,
        Work::Answering,
        Work::Other,
    ];

    /// The kind of work that carrying out `action` is.
    pub(super) fn of(action: &Action) -> Work {
        match action {
            Action::Spawn(_) | Action::Renew(_) | Action::Adopt(..) | Action::Beside { .. } | Action::Succeed(..) => {
                Work::Starting
            }
            Action::AskToStop(_) | Action::Kill(_) | Action::Inspect(_) | Action::Examine(_) | Action::Abort(_) => {
                Work::Stopping
            }
            Action::Report(_) | Action::TellParent(_) => Work::Publishing,
            Action::Answer(..) => Work::Answering,
            Action::Detach(_) | Action::Forget(_) | Action::Halt(_) => Work::Other,
        }
    }

    /// The work as text that can follow "busy".
    fn words(self) -> &'static str {
        match self {
            Work::Reading => "reading messages",
            Work::Starting => "starting children",
            Work::Stopping => "stopping children",
            Work::Cleanup => "clearing what children have left",
            Work::Output => "reading output",
            Work::Publishing => "publishing events",
            Work::Answering => "answering requests",
            Work::Other => "looking after deadlines",
        }
    }
}

/// How much work of one kind a turn had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Spent {
    steps: u32,
    time: Span,
    longest: Span,
}

/// Where the time of a turn has gone.
#[derive(Debug, Default)]
pub(super) struct Diary {
    /// Up to this time it is accounted for whether this process ran.
    accounted: Time,
    /// When the turn began; below, when its last step ended.
    began: Time,
    mark: Time,
    spent: [Spent; Work::ALL.len()],
    late: Late,
    stalled: Span,
}

impl Diary {
    /// A turn begins: the sleep before it has just ended.
    pub(super) fn begin(&mut self, now: Time) {
        (self.accounted, self.began, self.mark) = (now, now, now);
        self.spent = Default::default();
    }

    /// A step of the turn has ended. The time since the step before it counts as work of this kind.
    pub(super) fn did(&mut self, work: Work, now: Time) {
        let time = now.since(self.mark);
        self.mark = now;
        let spent = &mut self.spent[work as usize];
        spent.steps += 1;
        spent.time += time;
        spent.longest = spent.longest.max(time);
    }

    /// Whether the node may still send heartbeats between the steps of this turn.
    pub(super) fn comes_round(&self, now: Time) -> bool {
        now.since(self.began) < LONGEST_TURN
    }

    /// The time since the last call, if it is longer than [`LATENESS`], else zero. This process was stopped in the
    /// middle of its work then, or had so much work (such as many children to start) that heartbeats were left unread.
    pub(super) fn unaccounted(&mut self, now: Time) -> Span {
        let gap = now.since(self.accounted);
        self.accounted = now;
        if gap > LATENESS { gap } else { Span::ZERO }
    }

    /// What took most of the turn, as text that can follow "busy".
    pub(super) fn mostly(&self) -> String {
        let most = Work::ALL.into_iter().max_by_key(|work| self.spent[*work as usize].time).unwrap_or(Work::Other);
        let Spent { steps, time, longest } = self.spent[most as usize];
        let words = most.words();
        match steps {
            0 | 1 => format!("{words} ({} in one step)", time.coarse()),
            _ => format!("{words} ({} in {steps} steps, the longest took {})", time.coarse(), longest.coarse()),
        }
    }

    /// Sums up the time in which no child was supervised, and logs it: the first time at once, then once in
    /// [`REPORT_EVERY`]. Returns that time for this turn.
    pub(super) fn account(&mut self, now: Time, late: Lateness, context: &Context) -> Span {
        let Lateness { slept, busy, mut with } = late;
        let since = self.unaccounted(now);
        if since > busy {
            with = Some(self.mostly());
        }
        let busy = busy + since;
        let lost = slept + busy;
        self.stall(lost);
        let with = with.unwrap_or_default();
        if lost.is_zero() {
            if let Some(losses) = self.unreported(now) {
                losses.log("did not run", "", context);
            }
        } else if slept.is_zero() && busy < Span::from_secs(1) {
            debug!(context.logger, "event loop was busy; heartbeat deadlines extended";
                "lost_ms" => lost.as_millis(), "busy" => with);
        } else if let Some(losses) = self.lost(now, lost) {
            let what = if slept.is_zero() { "was busy or did not run" } else { "did not run" };
            losses.log(what, &with, context);
        }
        lost
    }

    /// Adds to the total of time in which no child was supervised.
    fn stall(&mut self, lost: Span) {
        self.stalled += lost;
    }

    /// Begins with a total that was carried over from before a hot upgrade.
    pub(super) fn after(stalled: Span) -> Diary {
        Diary { stalled, ..Diary::default() }
    }

    /// The total of time in which no child was supervised.
    pub(super) fn stalled(&self) -> Span {
        self.stalled
    }

    /// Counts lost time. Returns what is to be logged now, if anything is.
    fn lost(&mut self, now: Time, lost: Span) -> Option<Losses> {
        self.late.add(lost);
        self.late.due(now)
    }

    /// What is to be logged of earlier lost time that was held back, once that is due.
    fn unreported(&mut self, now: Time) -> Option<Losses> {
        if self.late.losses.count == 0 { None } else { self.late.due(now) }
    }
}

/// Lost times, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Losses {
    count: u64,
    sum: Span,
    longest: Span,
}

impl Losses {
    fn log(self, what: &'static str, with: &str, context: &Context) {
        let Losses { count, sum, longest } = self;
        let line = format!("{} {what} for {}; heartbeat deadlines extended", context.place.path, sum.coarse());
        match count {
            0 | 1 => warn!(context.logger, "{}", line; "lost_ms" => sum.as_millis(), "busy" => with),
            _ => warn!(context.logger, "{}", line; "lost_ms" => sum.as_millis(), "times" => count,
                "longest_ms" => longest.as_millis(), "busy" => with),
        }
    }
}

/// Lost time that is not logged yet. The first one is logged at once, later ones together.
#[derive(Debug, Default)]
struct Late {
    told: Option<Time>,
    losses: Losses,
}

impl Late {
    fn add(&mut self, lost: Span) {
        self.losses.count += 1;
        self.losses.sum += lost;
        self.losses.longest = self.losses.longest.max(lost);
    }

    fn due(&mut self, now: Time) -> Option<Losses> {
        if self.told.is_some_and(|told| now.since(told) < REPORT_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.losses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn a_turn_is_told_by_what_took_most_of_it() {
        let mut diary = Diary::default();
        diary.begin(at(1_000));
        diary.did(Work::Reading, at(1_010));
        for end in [1_200, 1_700, 2_000] {
            diary.did(Work::Starting, at(end));
        }
        diary.did(Work::Publishing, at(2_100));
        assert_eq!(
            diary.mostly(),
            "starting children (990ms in 3 steps, the longest took 500ms)"
                .replace("990ms", "0.9s")
                .replace("500ms", "0.5s")
        );
        diary.begin(at(5_000));
        diary.did(Work::Cleanup, at(8_000));
        assert_eq!(diary.mostly(), "clearing what children have left (3s in one step)");
    }

    #[test]
    fn a_gap_is_accounted_for_once_and_a_short_one_is_none() {
        let mut diary = Diary::default();
        diary.begin(at(0));
        assert_eq!(diary.unaccounted(at(50)), Span::ZERO);
        assert_eq!(diary.unaccounted(at(101)), Span::from_millis(51));
        assert_eq!(diary.unaccounted(at(102)), Span::ZERO);
        assert!(diary.comes_round(at(59_999)) && !diary.comes_round(at(60_000)));
    }

    #[test]
    fn losses_are_told_at_once_and_then_once_a_minute() {
        let mut diary = Diary::default();
        let millis = Span::from_millis;
        let one = |millis| Losses { count: 1, sum: Span::from_millis(millis), longest: Span::from_millis(millis) };
        assert_eq!(diary.unreported(at(0)), None);
        assert_eq!(diary.lost(at(0), millis(70)), Some(one(70)));
        assert_eq!(diary.unreported(at(61_000)), None, "nothing has come since");
        for second in 1..60 {
            assert_eq!(diary.lost(at(second * 1_000), millis(100 + second)), None);
        }
        let all = Losses { count: 59, sum: millis(5_900 + 1_770), longest: millis(159) };
        assert_eq!(diary.unreported(at(60_000)), Some(all));
        assert_eq!(diary.lost(at(61_000), millis(80)), None);
        assert_eq!(
            diary.lost(at(121_000), millis(90)),
            Some(Losses { count: 2, sum: millis(170), longest: millis(90) })
        );
    }
}
