//! What is due: late and missing beats, starts and stops that take too long, back-offs that are over, our own beat.

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
    /// Looks at the deadlines, after everything else of this turn has been handed in. First the credit for time in
    /// which this process did not run, then the verdicts: a supervisor that slept must not blame its children.
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

    /// Another image of the program goes on. What beats has to connect anew, and what was under way is lost: no silence
    /// counts before there was time for that (D24).
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

    /// The deadlines that belong to a phase.
    fn look_at_deadline(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(mut child) = self.table.edit(id) else { return };
        match &child.phase {
            Phase::Starting { since, deadline: Some(deadline), .. } if *deadline <= turn.now => {
                // As the spec has it, unless the child has asked for more.
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

    /// A child that was asked to stop cannot be asked: there is nothing to wait for, so it is killed.
    pub(super) fn stop_refused(&mut self, turn: &mut Turn<'_>, run: Run) -> Result<(), Stale> {
        let mut child = self.table.edit_run(run)?;
        match &child.phase {
            Phase::Stopping { then, .. } => {
                let then = *then;
                turn.stop(run, child.kill(OnExit::Stopped(then), Killed::StopRefused));
                Ok(())
            }
            // It was asked only for the form, or is killed already for another reason.
            Phase::Killing { .. } => Ok(()),
            Phase::Starting { .. }
            | Phase::Waiting { .. }
            | Phase::Running(_)
            | Phase::Down(_)
            | Phase::Held
            | Phase::Ended => Err(Stale),
        }
    }

    /// The command that looked at a process which hangs has come to its end.
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

    /// A start has taken too long: it is killed, and its exit is a failed start.
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

    /// Some children have reached their limit. If most have at once, the likelier cause is this process, or the
    /// machine: the verdict waits, once. Else the shell inspects them, and the answer decides.
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
        // Without an overdue watch the look was asked for by a phase, or a silence, that is past.
        let Some(watch) = child.watch_mut() else { return Ok(()) };
        let Some(figures) = watch.looked(turn.now) else { return Ok(()) };
        // Whether it is spared, and if so, whether that is to be reported.
        let (spared, words) = match what {
            Inspected::Unreachable(why) => {
                let is_news = watch.lose_reach(turn.now);
                drop(child);
                if is_news {
                    self.report_out_of_reach(turn, id, why);
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
    fn report_out_of_reach(&mut self, turn: &mut Turn<'_>, id: ChildId, why: String) {
        let late = self.table.get(id).and_then(|child| child.watch()?.late());
        let report = self.report(turn, Some(id), late, Fact::Unreachable { why });
        let Some(mut child) = self.table.edit(id) else { return };
        child.cause = child.cause.or(Some(report));
        if let Some(watch) = child.watch_mut() {
            watch.reported_out_of_reach(report);
        }
    }

    /// A worker reports that it hangs. There is nothing to doubt, and no need to inspect it.
    pub(super) fn self_reported_hang(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(child) = self.table.get(id) else { return };
        let (age, limit) = match child.watch() {
            Some(watch) => (watch.age(turn.now), watch.limit()),
            None => (child.began.map_or(Span::ZERO, |began| turn.now.since(began)), Span::ZERO),
        };
        self.hung(turn, id, Overdue { age, limit, no_progress: false, self_reported: true }, None, None);
    }

    /// D11: all of it is killed, and its exit is one abnormal exit, whatever its status.
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
