//! What is due at a tick: late and missing beats, starts and stops that take too long, backoffs that have ended, this
//! node's own beat.

use super::action::Action;
use super::child::Child;
use super::failure::KillReason;
use super::liveness::{Judgement, Overdue, is_suspicious};
use super::phase::{Look, OnExit, Phase, Wait};
use super::report::{Fact, Killed};
use super::supervisor::{Lifecycle, QueueItem, Supervisor, Turn};
use super::types::{ChildId, Inspected, Run, Stale, StopCause};
use crate::ids::ReportId;
use crate::time::Span;

impl Supervisor {
    /// Handles all deadlines that are due, after everything else of this turn has been handed in. The credit for time
    /// in which this process did not run comes before the verdicts: a supervisor that slept must not blame its
    /// children.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>, lost: Span) {
        match self.lifecycle {
            Lifecycle::New | Lifecycle::Halted => return,
            Lifecycle::Booting | Lifecycle::Running | Lifecycle::Ending => {}
        }
        if !lost.is_zero() {
            self.for_each(|child| child.credit(turn.now, lost));
        }
        let mut overdue = Vec::new();
        for id in self.table.due(turn.now) {
            self.look_at_deadline(turn, id);
            let Some(watch) = self.table.get(id).and_then(Child::watch) else { continue };
            match watch.judge(turn.now) {
                Judgement::Fine => {}
                Judgement::Late(figures) => self.report_late(turn, id, figures, None),
                Judgement::Overdue(figures) => overdue.push((id, figures)),
            }
        }
        if !overdue.is_empty() {
            self.judge(turn, overdue);
        }
        self.beat_upward(turn);
    }

    /// The node continues in another image of the program. Children that beat have to reconnect, and messages that were
    /// in transit are lost, so no silence counts before there was time for that (D24).
    pub(super) fn resumed(&mut self, turn: &mut Turn<'_>, lost: Span) {
        self.for_each(|child| {
            child.credit(turn.now, lost);
            if let Some(watch) = child.process_mut().and_then(|process| process.watch.as_deref_mut()) {
                watch.resume(turn.now);
            }
        });
    }

    fn for_each(&mut self, mut change: impl FnMut(&mut Child)) {
        for id in self.table.everything().map(|child| child.id).collect::<Vec<_>>() {
            if let Some(mut child) = self.table.edit(id) {
                change(&mut child);
            }
        }
    }

    /// Handles the deadline of the child's phase: start-timeout, shutdown timeout, examination of a hang, backoff.
    fn look_at_deadline(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(mut child) = self.table.edit(id) else { return };
        match &child.phase {
            Phase::Starting { since, deadline: Some(deadline), .. } if *deadline <= turn.now => {
                // The limit of the spec, unless the child has extended it (`EXTEND_TIMEOUT_USEC`).
                let limit = deadline.since(*since);
                drop(child);
                self.start_timed_out(turn, id, limit);
            }
            Phase::Stopping { deadline: Some(deadline), then, .. } if *deadline <= turn.now => {
                let then = *then;
                turn.stop(child.run(), child.kill(OnExit::Stopped(then), Killed::ShutdownOver));
            }
            Phase::Killing { process, .. } if process.evidence.is_some_and(|(_, until)| until <= turn.now) => {
                let last = process.evidence.map(|(look, _)| look);
                turn.stop(child.run(), child.look(turn.now, last));
            }
            Phase::Waiting { wait: Wait::Until(until), cause } if *until <= turn.now => {
                let cause = *cause;
                child.phase = Phase::Waiting { wait: Wait::Due, cause };
                let run = child.run();
                drop(child);
                self.queue.push_back(QueueItem::Recheck(run));
            }
            Phase::Starting { .. }
            | Phase::Stopping { .. }
            | Phase::Waiting { .. }
            | Phase::Running(_)
            | Phase::Killing { .. }
            | Phase::Down(_)
            | Phase::Held
            | Phase::Ended => {}
        }
    }

    /// The signal that asks the child to stop was refused by the kernel: waiting is pointless, so the child is killed.
    pub(super) fn stop_refused(&mut self, turn: &mut Turn<'_>, run: Run) -> Result<(), Stale> {
        let mut child = self.table.edit_run(run)?;
        match &child.phase {
            Phase::Stopping { then, .. } => {
                let then = *then;
                turn.stop(run, child.kill(OnExit::Stopped(then), Killed::StopRefused));
                Ok(())
            }
            // The child is killed in any case: it was asked only as well (a shutdown of 0), or is killed for another
            // reason.
            Phase::Killing { .. } => Ok(()),
            Phase::Starting { .. }
            | Phase::Waiting { .. }
            | Phase::Running(_)
            | Phase::Down(_)
            | Phase::Held
            | Phase::Ended => Err(Stale),
        }
    }

    /// The `on-hang` command for a process that hangs has ended.
    pub(super) fn examined(&mut self, turn: &mut Turn<'_>, run: Run) -> Result<(), Stale> {
        let mut child = self.table.edit_run(run)?;
        match &child.phase {
            Phase::Killing { process, .. } => {
                if let Some((last @ Look::Command, _)) = process.evidence {
                    turn.stop(run, child.look(turn.now, Some(last)));
                }
                Ok(())
            }
            Phase::Starting { .. }
            | Phase::Waiting { .. }
            | Phase::Running(_)
            | Phase::Stopping { .. }
            | Phase::Down(_)
            | Phase::Held
            | Phase::Ended => Err(Stale),
        }
    }

    /// A start has exceeded its start-timeout: the process is killed, and its exit counts as a failed start.
    fn start_timed_out(&mut self, turn: &mut Turn<'_>, id: ChildId, limit: Span) {
        let report = self.report(turn, Some(id), None, Fact::Stopping { why: StopCause::StartTimeout });
        let Some(mut child) = self.table.edit(id) else { return };
        child.cause = Some(report);
        let unanswered = child.process_mut().and_then(|process| process.unanswered.take());
        let reason = KillReason::NotReady { limit, unanswered };
        let failure = reason.of_start();
        if let Some(process) = child.process_mut() {
            process.kill_reason = Some(reason);
        }
        turn.stop(child.run(), child.kill(OnExit::StartFailed(failure), Killed::StartTimeout));
    }

    fn report_late(&mut self, turn: &mut Turn<'_>, id: ChildId, figures: Overdue, spared: Option<String>) {
        let fact = Fact::BeatLate { age: figures.age, limit: figures.limit, spared };
        let report = self.report(turn, Some(id), None, fact);
        if let Some(watch) = self.table.edit(id).as_mut().and_then(|child| child.watch_mut()) {
            watch.reported_late(report);
        }
    }

    /// Handles children that have reached their limit. If most are overdue at once, the likelier cause is this process
    /// or the machine: the verdict is put off once. Otherwise the shell inspects them, and its answer decides.
    fn judge(&mut self, turn: &mut Turn<'_>, overdue: Vec<(ChildId, Overdue)>) {
        let beating = self.table.everything().filter(|child| child.watch().is_some()).count();
        let count = overdue.len();
        let suspicious = is_suspicious(count, beating);
        for (id, figures) in overdue {
            let Some(mut child) = self.table.edit(id) else { continue };
            let run = child.run();
            let Some(watch) = child.watch_mut() else { continue };
            if suspicious && !watch.was_suspected() {
                watch.suspect(turn.now);
                drop(child);
                let spared = format!(
                    "{count} of {beating} children that beat are overdue at once; the fault may be this supervisor's"
                );
                self.report_late(turn, id, figures, Some(spared));
            } else {
                watch.look();
                turn.out.push(Action::Inspect(run));
            }
        }
    }

    /// The shell has inspected a child that is overdue.
    pub(super) fn inspected(&mut self, turn: &mut Turn<'_>, run: Run, what: Inspected) -> Result<(), Stale> {
        let id = run.child;
        let mut child = self.table.edit_run(run)?;
        // Without an overdue watch, the inspection belongs to a phase or a silence that has ended.
        let Some(watch) = child.watch_mut() else { return Ok(()) };
        let Some(figures) = watch.looked(turn.now) else { return Ok(()) };
        // `None`: hung. `Some`: spared, and whether that is to be reported.
        let (spared, words) = match what {
            Inspected::Unreachable(why) => {
                let (is_news, late) = (watch.lose_reach(turn.now), watch.late());
                drop(child);
                if is_news {
                    self.report_out_of_reach(turn, id, late, why);
                }
                return Ok(());
            }
            Inspected::Hung(seen) => (None, seen),
            Inspected::Held(reason) => (Some(watch.hold(turn.now)), Some(reason)),
            Inspected::Starved(reason) => (watch.starve(turn.now), Some(reason)),
        };
        let cause = watch.late();
        drop(child);
        match spared {
            None => self.hung(turn, id, figures, cause, words),
            Some(true) => self.report_late(turn, id, figures, words),
            Some(false) => {}
        }
        Ok(())
    }

    /// D27: what becomes of the child is a consequence of that, until it beats again.
    fn report_out_of_reach(&mut self, turn: &mut Turn<'_>, id: ChildId, late: Option<ReportId>, why: String) {
        let report = self.report(turn, Some(id), late, Fact::Unreachable { why });
        let Some(mut child) = self.table.edit(id) else { return };
        child.cause = child.cause.or(Some(report));
        if let Some(watch) = child.watch_mut() {
            watch.reported_out_of_reach(report);
        }
    }

    /// A worker reports that it hangs (`WATCHDOG=trigger`): it is treated as hung without an inspection.
    pub(super) fn self_reported_hang(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(child) = self.table.get(id) else { return };
        let (age, limit) = match child.watch() {
            Some(watch) => (watch.age(turn.now), watch.limit()),
            None => (child.began.map_or(Span::ZERO, |began| turn.now.since(began)), Span::ZERO),
        };
        self.hung(turn, id, Overdue { age, limit, no_progress: false, self_reported: true }, None, None);
    }

    /// D11: the whole child is killed, and its exit counts as one abnormal exit, whatever its status.
    fn hung(
        &mut self,
        turn: &mut Turn<'_>,
        id: ChildId,
        figures: Overdue,
        cause: Option<ReportId>,
        seen: Option<String>,
    ) {
        if self.table.get(id).is_none_or(|child| matches!(child.phase, Phase::Killing { .. })) {
            return;
        }
        let Overdue { age, limit, no_progress, self_reported } = figures;
        let beats = self.table.get(id).and_then(|child| child.last_beats(turn.now)).map(Box::new);
        let report =
            self.report(turn, Some(id), cause, Fact::Hung { age, limit, no_progress, self_reported, seen, beats });
        let Some(mut child) = self.table.edit(id) else { return };
        let reason = KillReason::Hung { age, no_progress, self_reported };
        let on_exit = match &child.phase {
            Phase::Starting { .. } => OnExit::StartFailed(reason.of_start()),
            Phase::Running(_) => OnExit::Crash,
            Phase::Stopping { then, .. } => OnExit::Stopped(*then),
            Phase::Killing { .. } | Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => return,
        };
        child.cause = Some(report);
        if let Some(process) = child.process_mut() {
            process.kill_reason = Some(reason);
        }
        turn.stop(child.run(), child.kill_hung(turn.now, on_exit));
    }
}
