//! One child: the fine states of its life, and what each thing that happens to it means in each of them.
//!
//! The tables here are total: every function that moves a child names every phase, so that a new phase is a compiler
//! error in each of them. They decide nothing about other children and write no reports; [`super::Supervisor`] does.

use super::backoff::Delays;
use super::event::Member;
use super::failure::LastFailure;
use super::liveness::Watch;
use super::phase::{
    AfterStop, DownReason, Ended, Look, Lost, OnExit, Phase, Process, Spawned, StopBegun, Target, Wait, Waiter,
};
use super::report::Killed;
use super::tally::Tally;
use super::types::{Beside, ChildId, Exit, Kind, Run};
use crate::ids::{Incarnation, ReportId};
use crate::spec::policy::{Evidence, Ready, Restart, Shutdown};
use crate::time::{Credit, Span, Time};
use serde::{Deserialize, Serialize};
use std::mem;

/// Minimum `grace` before a node's first beat. In this time the program is executed, reads its part of the tree and
/// opens its sockets: milliseconds as a rule, but seconds on a machine that is busy or swaps.
const NODE_BOOT: Span = Span::from_secs(10);

/// A child: its spec and its present state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Child {
    pub(super) id: ChildId,
    pub(super) member: Member,
    pub(super) target: Target,
    pub(super) phase: Phase,
    /// What the deadline of this phase was credited.
    #[serde(default, skip_serializing_if = "Credit::is_unused")]
    credited: Credit,
    /// Of the present or last process; 0 before the first.
    pub(super) incarnation: Incarnation,
    /// The highest incarnation that this child or a successor of it has got.
    pub(super) given: Incarnation,
    /// When the present or last incarnation began.
    pub(super) began: Option<Time>,
    /// Restarts by the strategy.
    pub(super) restarts: u64,
    pub(super) last_exit: Option<(Exit, Time)>,
    pub(super) delays: Delays,
    /// The report that causes the next report about this child, if any.
    pub(super) cause: Option<ReportId>,
    /// How the child last failed.
    pub(super) last_failure: Option<LastFailure>,
    pub(super) waiters: Vec<Waiter>,
    /// The spec that the child gets when its present process is gone.
    pub(super) next: Option<Box<Member>>,
    /// The child was added while the supervisor ran.
    pub(super) added: bool,
    /// The child is forgotten when its process is gone.
    pub(super) leaving: bool,
    /// The last reload has another spec for this child, which it does not run with yet: its turn in the roll-out has
    /// not come, or never will.
    pub(super) behind: bool,
    /// The successor that is to replace this child in a roll-out, until nothing of it is left.
    pub(super) successor: Option<ChildId>,
    /// This is not a child of its own, but a process beside one: its successor or predecessor.
    pub(super) beside: Option<Beside>,
    /// A process of this child that cannot be killed. While it is there, the child has no other process.
    pub(super) lost: Option<Box<Lost>>,
    /// How its processes have ended so far.
    pub(super) tally: Tally,
}

impl Child {
    pub(super) fn new(id: ChildId, member: Member) -> Child {
        let (target, down) = match member.policy.autostart {
            true => (Target::Up, DownReason::Idle),
            false => (Target::Down, DownReason::Manual),
        };
        Child {
            id,
            member,
            target,
            phase: Phase::Down(down),
            credited: Credit::default(),
            incarnation: Incarnation::default(),
            given: Incarnation::default(),
            began: None,
            restarts: 0,
            last_exit: None,
            delays: Delays::default(),
            cause: None,
            last_failure: None,
            waiters: Vec::new(),
            next: None,
            added: false,
            leaving: false,
            behind: false,
            successor: None,
            beside: None,
            lost: None,
            tally: Tally::default(),
        }
    }

    /// Its present or last run.
    pub(super) fn run(&self) -> Run {
        Run { child: self.id, incarnation: self.incarnation }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        self.phase.process()
    }

    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        self.phase.process_mut()
    }

    /// The watch over its beats, as long as a missed beat counts. A worker is watched until it is asked to stop: while
    /// it shuts down it may have left the loop that beats. A node is watched until it is gone: it beats to the end, and
    /// its stop, which has no timeout, must not wait for a node that hangs.
    pub(super) fn watch(&self) -> Option<&Watch> {
        match &self.phase {
            // With a readiness probe, liveness counts only once the child is ready.
            Phase::Starting { .. } if self.is_up_at(Ready::Probe) => None,
            Phase::Starting { process, .. } | Phase::Running(process) => process.watch.as_deref(),
            Phase::Stopping { process, .. } => match self.member.kind {
                Kind::Supervisor => process.watch.as_deref(),
                Kind::Worker => None,
            },
            Phase::Killing { .. } | Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => None,
        }
    }

    /// Like [`Child::watch`], to be changed.
    pub(super) fn watch_mut(&mut self) -> Option<&mut Watch> {
        self.watch()?;
        self.process_mut().and_then(|process| process.watch.as_deref_mut())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process().and_then(|process| process.pid)
    }

    /// Whether OTP would count it as active: a process exists or will exist again, or the exit is not yet handled.
    pub(super) fn is_active(&self) -> bool {
        self.phase.is_active()
    }

    /// Whether a restart of its group starts it (R26, R27, D2, D15). A removed child whose process cannot be killed is
    /// never started again.
    pub(super) fn comes_with_group(&self) -> bool {
        self.target == Target::Up && !self.leaving && self.member.policy.restart != Restart::Temporary
    }

    /// Whether OTP would have forgotten it: a temporary child that has ended (R15) or was stopped (R64). It is still
    /// listed in `status` (D15), but its name is free. A held child is not forgotten.
    pub(super) fn is_over(&self) -> bool {
        self.member.policy.restart == Restart::Temporary
            && matches!(self.phase, Phase::Ended | Phase::Down(DownReason::Idle))
    }

    /// Whether it is down because it has `autostart = false` and no operator has started it yet.
    pub(super) fn is_manual(&self) -> bool {
        matches!(self.phase, Phase::Down(DownReason::Manual))
    }

    /// Whether its start ends with this sign: [`Ready::Exec`], its program is executed; [`Ready::Heartbeat`], the first
    /// beat; [`Ready::Probe`], the readiness probe succeeds.
    pub(super) fn is_up_at(&self, sign: Ready) -> bool {
        self.member.kind == Kind::Worker && self.member.policy.ready == sign
    }

    /// Whether its start ends with its own report of readiness; a node's always does (R6).
    pub(super) fn is_up_at_word(&self) -> bool {
        self.member.kind == Kind::Supervisor || self.member.policy.ready == Ready::Notify
    }

    /// Gives the child a new spec: at once, or, if its present process cannot take that over, when the process is gone.
    /// Returns whether the new spec needs another process than the old one.
    #[must_use]
    pub(super) fn take_over(&mut self, now: Time, member: Member) -> bool {
        self.next = None;
        let other = member.is_another(&self.member);
        if other && (self.process().is_some() || self.lost.is_some()) {
            self.next = Some(Box::new(member));
            return true;
        }
        let promise = member.policy.heartbeat;
        let renewed = promise != self.member.policy.heartbeat;
        self.member = member;
        if other {
            // The failures under the old spec do not count for the new one.
            self.delays = Delays::default();
        }
        if let Some(process) = self.process_mut().filter(|process| renewed && process.pid.is_some()) {
            match (process.watch.as_deref_mut(), promise) {
                (Some(watch), Some(promise)) => watch.renew(now, promise),
                (None, Some(promise)) => process.watch = Some(Box::new(Watch::new(promise, now))),
                (_, None) => process.watch = None,
            }
        }
        other
    }

    /// Takes over the spec that waited for the end of the child's process, if that is gone.
    pub(super) fn renew(&mut self) {
        if self.process().is_none()
            && self.lost.is_none()
            && let Some(next) = self.next.take()
        {
            self.member = *next;
            self.delays = Delays::default();
        }
    }

    /// Begins the next run. The caller makes sure that the child has no process.
    pub(super) fn start(&mut self, now: Time) -> Run {
        debug_assert!(
            self.process().is_none() && self.lost.is_none(),
            "two incarnations of a child never live together"
        );
        self.incarnation = self.incarnation.max(self.given).next();
        self.began = Some(now);
        let deadline = self.member.policy.start_timeout.map(|limit| now + limit);
        self.phase = Phase::Starting { process: Box::default(), since: now, deadline };
        self.credited = Credit::default();
        self.run()
    }

    /// The process exists since `now`. Its beats are watched from now on; with readiness by notify and a start-timeout,
    /// from `READY=1` on. Returns [`Spawned::Stray`] if the child does not wait for a process.
    pub(super) fn spawned(&mut self, now: Time, pid: u32) -> Spawned {
        let mut promise = self.member.policy.heartbeat;
        if let (Kind::Supervisor, Some(promise)) = (self.member.kind, &mut promise) {
            promise.grace = promise.grace.max(NODE_BOOT);
        }
        // As in systemd, the watchdog runs from READY=1 on, and the start-timeout applies before it. Without a
        // start-timeout, silence is the only sign that the start hangs.
        let gated = self.is_up_at(Ready::Notify) && self.member.policy.start_timeout.is_some();
        let Some(process) = self.process_mut().filter(|process| process.pid.is_none()) else { return Spawned::Stray };
        (process.pid, process.since) = (Some(pid), now);
        process.watch = promise.map(|promise| Box::new(Watch::new(promise, now)));
        if let (true, Some(watch)) = (gated, process.watch.as_deref_mut()) {
            watch.wait_for_begin();
        }
        let limit = self.member.policy.start_timeout;
        match &mut self.phase {
            Phase::Starting { since, deadline, .. } => {
                // The time that the supervisor took to make the process, or to notice it, does not count.
                (*since, *deadline) = (now, limit.map(|limit| now + limit));
                Spawned::Starting
            }
            Phase::Stopping { then, .. } => {
                let then = *then;
                Spawned::Stop(self.ask(now, then))
            }
            Phase::Killing { .. } => Spawned::Stop(StopBegun::Kill),
            Phase::Running(_) | Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => Spawned::Stray,
        }
    }

    /// Ends the start: the child is ready. Returns false if it was not starting.
    #[must_use]
    pub(super) fn up(&mut self, now: Time) -> bool {
        let (at_word, at_probe) = (self.is_up_at(Ready::Notify), self.is_up_at(Ready::Probe));
        match mem::replace(&mut self.phase, Phase::Held) {
            Phase::Starting { mut process, .. } if process.pid.is_some() => {
                if let (true, Some(watch)) = (at_word || at_probe, process.watch.as_deref_mut()) {
                    watch.begin(now, at_probe);
                }
                self.phase = Phase::Running(process);
                self.target = Target::Up;
                self.delays.started();
                true
            }
            other @ (Phase::Starting { .. }
            | Phase::Running(_)
            | Phase::Stopping { .. }
            | Phase::Killing { .. }
            | Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Held
            | Phase::Ended) => {
                self.phase = other;
                false
            }
        }
    }

    /// Whether it keeps running when its supervisor moves to another host: it is placed, and was not being stopped
    /// before.
    pub(super) fn is_to_stay(&self) -> bool {
        self.member.policy.placed && matches!(self.phase, Phase::Starting { .. } | Phase::Running(_))
    }

    /// Begins to stop it by its own shutdown value (R54 to R56). A stop that is in progress gets `then` as its new
    /// outcome.
    pub(super) fn stop(&mut self, now: Time, then: AfterStop) -> StopBegun {
        match &mut self.phase {
            Phase::Starting { .. } | Phase::Running(_) => self.ask(now, then),
            Phase::Stopping { then: before, .. } => {
                *before = then;
                StopBegun::Underway
            }
            Phase::Killing { on_exit, .. } => {
                match (&on_exit, then) {
                    // A held child stays held, whatever else stops it; only a later request starts it again.
                    (OnExit::Held, AfterStop::Rest | AfterStop::Done) => {}
                    (OnExit::Held, AfterStop::Again)
                    | (
                        OnExit::Stopped(_) | OnExit::Crash | OnExit::StartFailed(_),
                        AfterStop::Again | AfterStop::Rest | AfterStop::Done,
                    ) => {
                        *on_exit = OnExit::Stopped(then);
                    }
                }
                StopBegun::Underway
            }
            Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => StopBegun::NoProcess,
        }
    }

    /// Releases a held child, also while its process is still being killed. Returns false if the child was not held.
    #[must_use]
    pub(super) fn release(&mut self) -> bool {
        match &mut self.phase {
            Phase::Held => self.phase = Phase::Down(DownReason::Idle),
            Phase::Killing { on_exit: on_exit @ OnExit::Held, .. } => *on_exit = OnExit::Stopped(AfterStop::Rest),
            Phase::Killing { on_exit: OnExit::Stopped(_) | OnExit::Crash | OnExit::StartFailed(_), .. }
            | Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Starting { .. }
            | Phase::Running(_)
            | Phase::Stopping { .. }
            | Phase::Ended => return false,
        }
        true
    }

    /// Asks the process to stop, or kills it, by the shutdown value. Before the process exists this is only recorded;
    /// `spawned` does it.
    fn ask(&mut self, now: Time, then: AfterStop) -> StopBegun {
        let Some(mut process) = self.take_process() else { return StopBegun::NoProcess };
        let there = process.pid.is_some();
        if matches!(self.member.policy.shutdown, Shutdown::BrutalKill | Shutdown::After(Span::ZERO)) {
            process.killed = Some(Killed::Brutal);
        }
        let (phase, begun) = match self.member.policy.shutdown {
            Shutdown::BrutalKill => (Phase::Killing { process, on_exit: OnExit::Stopped(then) }, StopBegun::Kill),
            Shutdown::After(Span::ZERO) => {
                (Phase::Killing { process, on_exit: OnExit::Stopped(then) }, StopBegun::AskAndKill)
            }
            Shutdown::After(limit) => {
                let deadline = there.then(|| now + limit);
                (Phase::Stopping { process, asked: now, deadline, then }, StopBegun::Ask)
            }
            Shutdown::Infinity => (Phase::Stopping { process, asked: now, deadline: None, then }, StopBegun::Ask),
        };
        self.phase = phase;
        self.credited = Credit::default();
        if there { begun } else { StopBegun::Underway }
    }

    /// Begins to kill the process. Before the process exists this is only recorded; `spawned` does it. The first reason
    /// for a kill is kept.
    pub(super) fn kill(&mut self, on_exit: OnExit, why: Killed) -> StopBegun {
        let Some(mut process) = self.take_process() else { return StopBegun::NoProcess };
        let there = process.pid.is_some();
        process.killed.get_or_insert(why);
        // This kill is immediate: it replaces an examination or abort of a hung process.
        process.evidence = None;
        self.phase = Phase::Killing { process, on_exit };
        self.credited = Credit::default();
        if there { StopBegun::Kill } else { StopBegun::Underway }
    }

    /// The process hangs: it is killed after the examination that its spec asks for.
    pub(super) fn kill_hung(&mut self, now: Time, on_exit: OnExit) -> StopBegun {
        match self.kill(on_exit, Killed::Hung) {
            StopBegun::Kill => self.look(now, None),
            begun => begun,
        }
    }

    /// The next step for a process that hangs: its `on-hang` command, its `hang-signal`, or the kill.
    pub(super) fn look(&mut self, now: Time, last: Option<Look>) -> StopBegun {
        let Evidence { command, signal } = self.member.policy.evidence;
        let (next, begun) = match last {
            None if command => (Some(Look::Command), StopBegun::Examine),
            None | Some(Look::Command) if signal => (Some(Look::Signal), StopBegun::Abort),
            None | Some(Look::Command | Look::Signal) => (None, StopBegun::Kill),
        };
        let shutdown = self.member.policy.shutdown;
        let Some(process) = self.process_mut() else { return StopBegun::NoProcess };
        process.evidence = next.map(|look| (look, now + look.limit(shutdown)));
        self.credited = Credit::default();
        begun
    }

    /// Takes the process out of the phase that has one. The caller sets the next phase at once.
    fn take_process(&mut self) -> Option<Box<Process>> {
        match mem::replace(&mut self.phase, Phase::Down(DownReason::Idle)) {
            Phase::Starting { process, .. }
            | Phase::Running(process)
            | Phase::Stopping { process, .. }
            | Phase::Killing { process, .. } => Some(process),
            other @ (Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended) => {
                self.phase = other;
                None
            }
        }
    }

    /// The process is gone. The phase is [`DownReason::Idle`] until the caller has decided what follows.
    pub(super) fn ended(&mut self) -> Ended {
        match mem::replace(&mut self.phase, Phase::Down(DownReason::Idle)) {
            Phase::Starting { .. } => Ended::Unready(None),
            Phase::Running(_) => Ended::Alone { forced: false },
            Phase::Stopping { then, .. } => Ended::Stopped(then),
            Phase::Killing { on_exit, .. } => match on_exit {
                OnExit::Stopped(then) => Ended::Stopped(then),
                OnExit::Crash => Ended::Alone { forced: true },
                OnExit::StartFailed(failure) => Ended::Unready(Some(failure)),
                OnExit::Held => Ended::Held,
            },
            other @ (Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended) => {
                self.phase = other;
                Ended::Stray
            }
        }
    }

    /// The phase that a stopped child goes into.
    pub(super) fn rest(&mut self, then: AfterStop) {
        let stays_down = match then {
            AfterStop::Again => false,
            AfterStop::Rest => self.target == Target::Down,
            AfterStop::Done => true,
        };
        if stays_down {
            self.tally.rests();
        }
        self.phase = match then {
            AfterStop::Again => Phase::Down(DownReason::Queued),
            AfterStop::Rest => Phase::Down(DownReason::Idle),
            AfterStop::Done => Phase::Ended,
        };
    }

    /// The child's next deadline.
    pub(super) fn deadline(&self) -> Option<Time> {
        let own = match &self.phase {
            Phase::Starting { deadline, .. } | Phase::Stopping { deadline, .. } => *deadline,
            Phase::Waiting { wait: Wait::Until(until), .. } => Some(*until),
            Phase::Waiting { wait: Wait::Charge | Wait::Due | Wait::Gone | Wait::Freed | Wait::Host, .. }
            | Phase::Running(_)
            | Phase::Down(_)
            | Phase::Held
            | Phase::Ended => None,
            Phase::Killing { process, .. } => process.evidence.map(|(_, until)| until),
        };
        let beats = self.watch().and_then(Watch::deadline);
        match (own, beats) {
            (Some(own), Some(beats)) => Some(own.min(beats)),
            (one, other) => one.or(other),
        }
    }

    /// Moves every deadline of the child by the time in which this process did not run. The end of a backoff is not
    /// moved: it is a delay of the supervisor's, not a limit for the child.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        match &mut self.phase {
            Phase::Starting { since: begun, deadline, .. } | Phase::Stopping { asked: begun, deadline, .. } => {
                let seen = lost.min(now.since(*begun));
                let seen = match deadline {
                    Some(deadline) => {
                        let granted = self.credited.grant(seen, deadline.since(*begun));
                        *deadline += granted;
                        granted
                    }
                    None => seen,
                };
                *begun += seen;
            }
            Phase::Killing { process, .. } => {
                if let Some((look, until)) = &mut process.evidence {
                    // It moves only by the part of that time since the examination began.
                    let limit = look.limit(self.member.policy.shutdown);
                    let seen = lost.min((now + limit).since(*until));
                    *until += self.credited.grant(seen, limit);
                }
            }
            Phase::Running(_) | Phase::Waiting { .. } | Phase::Down(_) | Phase::Held | Phase::Ended => {}
        }
        if let Some(watch) = self.process_mut().and_then(|process| process.watch.as_deref_mut()) {
            watch.credit(now, lost);
        }
    }
}
