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
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::mem;

/// What a node may take to its first beat at least, before its silence counts: its program is executed, reads its part
/// of the tree and opens its sockets, which takes milliseconds, and on a machine that is busy or swaps, seconds.
const NODE_BOOT: Span = Span::from_secs(10);

/// A child: its spec and what has become of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Child {
    pub(super) id: ChildId,
    pub(super) member: Member,
    pub(super) target: Target,
    pub(super) phase: Phase,
    /// Of the present or last process; 0 before the first.
    pub(super) incarnation: Incarnation,
    /// The highest that was given to it or to a successor of it.
    pub(super) given: Incarnation,
    /// When that one began.
    pub(super) began: Option<Time>,
    /// Starts by the strategy.
    pub(super) restarts: u64,
    pub(super) last_exit: Option<(Exit, Time)>,
    pub(super) delays: Delays,
    /// The report that explains what happens to it next, if something does.
    pub(super) cause: Option<ReportId>,
    /// How it last came to grief.
    pub(super) last_failure: Option<LastFailure>,
    pub(super) waiters: Vec<Waiter>,
    /// What it will be when its present process is gone.
    pub(super) next: Option<Box<Member>>,
    /// It was added while the supervisor ran.
    pub(super) added: bool,
    /// It is forgotten when its process is gone.
    pub(super) leaving: bool,
    /// The last reload has another spec for it, which it has not got yet: its turn in the roll-out is to come, or does
    /// not come.
    pub(super) behind: bool,
    /// Which of its table is to take its place, until nothing of that is left.
    pub(super) successor: Option<ChildId>,
    /// It is no child by itself, but stands beside one.
    pub(super) beside: Option<Beside>,
    /// A process of it that cannot be killed. There is no other one then.
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

    /// Its watch, while a missed beat means anything: for a worker until it is asked to stop, for a node until it is
    /// gone. A worker that winds up its work may well have left the loop that beats; a node beats to its last moment,
    /// and its stop, which has no limit, must not wait for one that hangs.
    pub(super) fn watch(&self) -> Option<&Watch> {
        match &self.phase {
            // Liveness begins where readiness has been seen.
            Phase::Starting { .. } if self.is_up_at(Ready::Probe) => None,
            Phase::Starting { process, .. } | Phase::Running(process) => process.watch.as_deref(),
            Phase::Stopping { process, .. } => match self.member.kind {
                Kind::Supervisor => process.watch.as_deref(),
                Kind::Worker => None,
            },
            Phase::Killing { .. } | Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn watch_mut(&mut self) -> Option<&mut Watch> {
        self.watch()?;
        self.process_mut().and_then(|process| process.watch.as_deref_mut())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process().and_then(|process| process.pid)
    }

    /// Whether OTP would count it as active: a process is there, or will be again, or its exit is not yet handled.
    pub(super) fn is_active(&self) -> bool {
        self.phase.is_active()
    }

    /// Whether a restart of its group starts it (R26, R27, D2, D15). One that was removed and could not be killed is
    /// not started again by anything.
    pub(super) fn comes_with_group(&self) -> bool {
        self.target == Target::Up && !self.leaving && self.member.policy.restart != Restart::Temporary
    }

    /// Whether OTP would have forgotten it: a temporary child that has ended (R15) or was stopped (R64). It is listed
    /// for people (D15), and its name is free. What an operator holds is not forgotten.
    pub(super) fn is_over(&self) -> bool {
        self.member.policy.restart == Restart::Temporary
            && matches!(self.phase, Phase::Ended | Phase::Down(DownReason::Idle))
    }

    /// Whether it is down because only an operator starts it, and none has.
    pub(super) fn is_manual(&self) -> bool {
        matches!(self.phase, Phase::Down(DownReason::Manual))
    }

    /// Whether its start is over by this sign: for [`Ready::Exec`] as soon as its program has been executed, for
    /// [`Ready::Heartbeat`] with its first beat, for [`Ready::Probe`] when the shell's probe of it is answered.
    pub(super) fn is_up_at(&self, sign: Ready) -> bool {
        self.member.kind == Kind::Worker && self.member.policy.ready == sign
    }

    /// Whether its start is over when it reports so; a node's always is (R6).
    pub(super) fn is_up_at_word(&self) -> bool {
        self.member.kind == Kind::Supervisor || self.member.policy.ready == Ready::Notify
    }

    /// Gets a new spec: now, or, when its process could not live with it, when that is gone. Returns whether the
    /// process of the old spec and that of the new one are not the same.
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
            // How often the old one failed does not count for the new one.
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

    /// Its process is gone: it is what it was to be then.
    pub(super) fn renew(&mut self) {
        if self.process().is_none()
            && self.lost.is_none()
            && let Some(next) = self.next.take()
        {
            self.member = *next;
            self.delays = Delays::default();
        }
    }

    /// Begins its next run. There is no process before; the caller has seen to that.
    pub(super) fn start(&mut self, now: Time) -> Run {
        debug_assert!(
            self.process().is_none() && self.lost.is_none(),
            "two incarnations of a child never live together"
        );
        self.incarnation = self.incarnation.max(self.given).next();
        self.began = Some(now);
        let deadline = self.member.policy.start_timeout.map(|limit| now + limit);
        self.phase = Phase::Starting { process: Box::default(), since: now, deadline };
        self.run()
    }

    /// Its process exists since `now`: its beats are watched from here on, or, where it is ready by notify and its
    /// start has a limit, from its `READY=1`. [`Spawned::Stray`] if it does not wait for one.
    pub(super) fn spawned(&mut self, now: Time, pid: u32) -> Spawned {
        let mut promise = self.member.policy.heartbeat;
        if let (Kind::Supervisor, Some(promise)) = (self.member.kind, &mut promise) {
            promise.grace = promise.grace.max(NODE_BOOT);
        }
        // As in systemd, the watchdog runs from READY=1 on. Before it the start has a limit of its own; where it has
        // none, silence is all there is to go by.
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
                // However long the supervisor took to make the process, or to take notice of it.
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

    /// Its start is over. False if it was not starting.
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

    /// Whether it stays where its supervisor goes to another host: it is placed, and nothing has stopped it before.
    pub(super) fn is_to_stay(&self) -> bool {
        self.member.policy.placed && matches!(self.phase, Phase::Starting { .. } | Phase::Running(_))
    }

    /// Begins to stop it by its own shutdown value (R54 to R56), or lets a stop that is under way lead to `then`.
    pub(super) fn stop(&mut self, now: Time, then: AfterStop) -> StopBegun {
        match &mut self.phase {
            Phase::Starting { .. } | Phase::Running(_) => self.ask(now, then),
            Phase::Stopping { then: before, .. } => {
                *before = then;
                StopBegun::Underway
            }
            Phase::Killing { on_exit, .. } => {
                match (&on_exit, then) {
                    // What an operator holds stays held, whatever else stops it; only a later request brings it back.
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

    /// Ends a hold, also where it is still being killed for it. False if it was not held.
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

    /// Asks, or kills where asking is not wanted. Without a process to ask, it is noted and done at `spawned`.
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
        if there { begun } else { StopBegun::Underway }
    }

    /// Begins to kill it; before its process exists that is noted, and done at `spawned`. The first reason why it is
    /// killed stays the reason.
    pub(super) fn kill(&mut self, on_exit: OnExit, why: Killed) -> StopBegun {
        let Some(mut process) = self.take_process() else { return StopBegun::NoProcess };
        let there = process.pid.is_some();
        process.killed.get_or_insert(why);
        // Whatever else was to be done with it first.
        process.evidence = None;
        self.phase = Phase::Killing { process, on_exit };
        if there { StopBegun::Kill } else { StopBegun::Underway }
    }

    /// It hangs: it is killed when it was looked at.
    pub(super) fn kill_hung(&mut self, now: Time, on_exit: OnExit) -> StopBegun {
        match self.kill(on_exit, Killed::Hung) {
            StopBegun::Kill => self.look(now, None),
            begun => begun,
        }
    }

    /// What comes next for a process that hangs: another look at it, or the kill.
    pub(super) fn look(&mut self, now: Time, last: Option<Look>) -> StopBegun {
        let Evidence { command, signal } = self.member.policy.evidence;
        let limit = match self.member.policy.shutdown {
            Shutdown::After(limit) if limit > Span::ZERO => limit,
            Shutdown::After(_) | Shutdown::BrutalKill | Shutdown::Infinity => Evidence::LIMIT,
        };
        let (next, begun) = match last {
            None if command => (Some((Look::Command, now + Evidence::LIMIT)), StopBegun::Examine),
            None | Some(Look::Command) if signal => (Some((Look::Signal, now + limit)), StopBegun::Abort),
            None | Some(Look::Command | Look::Signal) => (None, StopBegun::Kill),
        };
        let Some(process) = self.process_mut() else { return StopBegun::NoProcess };
        process.evidence = next;
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

    /// Its process is gone. The phase is [`DownReason::Idle`] then, until the caller has settled what follows.
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

    /// When it must be looked at next.
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

    /// Credits time in which this process did not run to every deadline that the child has to meet. The end of a
    /// back-off is nothing that it has to meet.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        match &mut self.phase {
            Phase::Starting { since: begun, deadline, .. } | Phase::Stopping { asked: begun, deadline, .. } => {
                let seen = lost.min(now.since(*begun));
                *begun += seen;
                if let Some(deadline) = deadline {
                    *deadline += seen;
                }
            }
            Phase::Running(_)
            | Phase::Killing { .. }
            | Phase::Waiting { .. }
            | Phase::Down(_)
            | Phase::Held
            | Phase::Ended => {}
        }
        if let Some(watch) = self.process_mut().and_then(|process| process.watch.as_deref_mut()) {
            watch.credit(now, lost);
        }
    }
}
