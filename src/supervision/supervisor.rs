//! The supervisor: its state and its entry points. Its work is in other files: `seen` answers queries,
//! `starts_and_stops` carries out sequences, `exits` handles the ends of processes, `requests` serves operators,
//! `deadlines` handles time.

use super::action::{Action, ToParent};
use super::backoff::Jitter;
use super::child::Child;
use super::event::{Beat, Command, Event, Member, Notice, Reload};
use super::intensity::Window;
use super::liveness::{Judgement, Watch};
use super::phase::{Phase, StopBegun, Target};
use super::report::{Fact, Report};
use super::rollout::{Rollout, RolloutEnd};
use super::rollup::Rollup;
use super::sequence::{Reloading, Sequence};
use super::table::Table;
use super::tally::{Cause, Exits, RestartTimes};
use super::types::{ChildId, Dropped, RequestId, Run, Stale};
use crate::ids::{Incarnation, ReportId};
use crate::spec::policy::{Heartbeat, Ready, SupervisorPolicy};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::mem;

/// What a supervisor is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Strategy, restart intensity and automatic shutdown.
    pub policy: SupervisorPolicy,
    /// Its children in start order. They get the ids 0, 1, 2 … in this order. Names are unique; a second child of a
    /// name is left out.
    pub members: Vec<Member>,
    /// The heartbeat that it promised to its own parent: one beat in every interval, from [`Event::Begin`] to
    /// [`Action::Halt`]. `None` for the root, and where the parent does not watch.
    pub uplink: Option<Heartbeat>,
    /// The half of its reports' ids that distinguishes them from those of other node processes.
    pub node: u32,
    /// The seed of the jitter in backoffs.
    pub seed: u64,
}

/// One supervisor: OTP's state machine without a process, a clock or a socket. See the [module](super) for the
/// contract.
#[derive(Debug, Clone)]
pub struct Supervisor {
    pub(super) policy: SupervisorPolicy,
    pub(super) table: Table,
    pub(super) window: Window,
    pub(super) jitter: Jitter,
    pub(super) lifecycle: Lifecycle,
    /// The sequence of stops and starts in progress.
    pub(super) job: Option<Sequence>,
    /// The reload that the sequence belongs to, if any.
    pub(super) reloading: Option<Reloading>,
    /// The roll-out in progress.
    pub(super) roll: Option<Rollout>,
    /// How the last roll-out was stopped, if it was; until the next reload.
    pub(super) stopped_roll: Option<Box<RolloutEnd>>,
    /// What waits until no sequence is running (D5).
    pub(super) queue: VecDeque<QueueItem>,
    /// The report of the order to end, until the end begins.
    pub(super) ordered: Option<ReportId>,
    /// The parent's report that it started this supervisor.
    pub(super) started_by: Option<ReportId>,
    pub(super) uplink: Option<Heartbeat>,
    /// When this node's own next beat is due.
    pub(super) own_beat: Option<Time>,
    pub(super) restarts: u64,
    /// How the processes of all children have ended, including removed children.
    pub(super) exits: Exits,
    pub(super) restart_times: RestartTimes,
    /// When it began, with [`Event::Begin`].
    pub(super) began: Option<Time>,
    pub(super) stale: u64,
    /// This is the root: no supervisor above reports its start and end, so it does that itself.
    pub(super) is_root: bool,
    pub(super) node: u32,
    /// How many reports it has written.
    pub(super) reports: u32,
}

/// The stages of the supervisor's own life, in order; none is ever repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Lifecycle {
    /// Before [`Event::Begin`].
    New,
    /// Its children are being started.
    Booting,
    Running,
    /// All children are being stopped; then it halts.
    Ending,
    /// The end. No event has an effect any more.
    Halted,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum QueueItem {
    /// A child is to be looked at: for the decision on an exit, a retry, or the end of a backoff. Its phase shows
    /// which; if none applies any more, the item is void (R29, R36).
    Recheck(Run),
    /// An operator's request, and the incarnation that it is for.
    Asked { request: RequestId, command: Command, by: String, meant: Option<Incarnation> },
    /// A new set of children.
    Reload(Box<Reload>),
}

/// The time of an event, and the list that collects its actions.
pub(super) struct Turn<'a> {
    pub(super) now: Time,
    pub(super) out: &'a mut Vec<Action>,
}

impl Turn<'_> {
    /// Emits the actions for the result of a stop.
    pub(super) fn stop(&mut self, run: Run, begun: StopBegun) {
        match begun {
            StopBegun::NoProcess | StopBegun::Underway => {}
            StopBegun::Ask => self.out.push(Action::AskToStop(run)),
            StopBegun::AskAndKill => self.out.extend([Action::AskToStop(run), Action::Kill(run)]),
            StopBegun::Kill => self.out.push(Action::Kill(run)),
            StopBegun::Examine => self.out.push(Action::Examine(run)),
            StopBegun::Abort => self.out.push(Action::Abort(run)),
        }
    }
}

impl Supervisor {
    /// Makes a supervisor whose life begins with [`Event::Begin`].
    pub fn new(config: Config) -> Supervisor {
        let mut table = Table::default();
        for member in config.members {
            if table.find(member.name.as_str()).is_none() {
                table.add(member);
            }
        }
        Supervisor {
            policy: config.policy,
            table,
            window: Window::new(config.policy.intensity),
            jitter: Jitter::new(config.seed),
            lifecycle: Lifecycle::New,
            job: None,
            reloading: None,
            roll: None,
            stopped_roll: None,
            queue: VecDeque::new(),
            ordered: None,
            started_by: None,
            uplink: config.uplink,
            own_beat: None,
            restarts: 0,
            exits: Exits::default(),
            restart_times: RestartTimes::default(),
            began: None,
            stale: 0,
            is_root: false,
            node: config.node,
            reports: 0,
        }
    }

    /// Takes in one event and appends what is to be done to `actions`. The shell carries all of it out, in order,
    /// before it hands in the next event; what fails comes back as an event. `now` never goes backward.
    pub fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        let turn = &mut Turn { now, out: actions };
        match self.lifecycle {
            // [`Action::Halt`] was the last action.
            Lifecycle::Halted => {
                self.stale += 1;
                return;
            }
            Lifecycle::New | Lifecycle::Booting | Lifecycle::Running | Lifecycle::Ending => {}
        }
        if let Err(Stale) = self.take_in(turn, event) {
            self.stale += 1;
        }
        self.pump(turn);
    }

    fn take_in(&mut self, turn: &mut Turn<'_>, event: Event) -> Result<(), Stale> {
        match event {
            Event::Begin => return self.begin(turn),
            Event::Spawned { run, pid } => return self.spawned(turn, run, pid),
            Event::SpawnFailed { run, failure } => return self.spawn_failed(turn, run, failure),
            Event::NoHost { run, why } => return self.no_host(turn, run, why),
            Event::HostThere(id) => return self.host_there(id),
            Event::Ready(run) => return self.reported_ready(turn, run),
            Event::Probed(run, answer) => return self.probed(turn, run, answer),
            Event::Beat(run, beat) => return self.beat(turn, run, *beat),
            Event::Notice(run, notice) => return self.notice(turn, run, *notice),
            Event::Dropped { by, sender, dropped } => return self.dropped(turn, by, sender, *dropped),
            Event::Escalating { run, cause, explanation } => return self.escalating(turn, run, cause, explanation),
            Event::Exited { run, exit, out_of_memory } => return self.exited(turn, run, exit, out_of_memory),
            Event::KillFailed { run, exit, stuck } => return self.kill_failed(turn, run, exit, stuck),
            Event::StopRefused(run) => return self.stop_refused(turn, run),
            Event::Examined(run) => return self.examined(turn, run),
            Event::Inspected(run, what) => return self.inspected(turn, run, what),
            Event::Asked { request, command, by, meant } => self.asked(turn, request, command, by, meant),
            Event::Ordered { why, kill } => self.ordered(turn, why, kill),
            Event::Reloaded(reload) => self.reload_asked(turn, reload),
            Event::Stop(reason) => self.stop(turn, reason),
            Event::StopNow => self.stop_now(turn),
            Event::ParentLost => self.parent_lost(turn),
            Event::Tick { lost } => self.tick(turn, lost),
            Event::Resumed { lost } => self.resumed(turn, lost),
        }
        Ok(())
    }

    /// When to hand in the next [`Event::Tick`] at the latest; `None` while nothing is timed. Cheap.
    pub fn next_deadline(&self) -> Option<Time> {
        match self.lifecycle {
            Lifecycle::New | Lifecycle::Halted => None,
            Lifecycle::Booting | Lifecycle::Running | Lifecycle::Ending => {
                // A roll-out waits while a sequence runs.
                let roll = self.roll.as_ref().filter(|_| self.job.is_none()).and_then(Rollout::deadline);
                [self.table.next_deadline(), self.own_beat, roll].into_iter().flatten().min()
            }
        }
    }

    /// Whether a tick at `now` would report a child as late or hung; see [`Supervisor::suspects`].
    pub fn has_suspects(&self, now: Time, since: Option<Time>) -> bool {
        !self.suspects(now, since).is_empty()
    }

    /// The children that a tick at `now` would report as late or hung; with `since`, without those that a tick at
    /// `since` would have reported in the same way. Before such a tick the shell makes sure that it has received
    /// everything that these children have sent.
    pub fn suspects(&self, now: Time, since: Option<Time>) -> Vec<ChildId> {
        let mut due = self.table.due(now);
        due.retain(|id| {
            let Some(watch) = self.table.get(*id).and_then(Child::watch) else { return false };
            let judgement = watch.judge(now);
            let before = since.map_or(Judgement::Fine, |since| watch.judge(since));
            judgement != Judgement::Fine && mem::discriminant(&judgement) != mem::discriminant(&before)
        });
        due
    }

    /// Sets the parent's report that led to this supervisor's start; it becomes the cause of its children's starts.
    /// Before [`Event::Begin`].
    #[must_use]
    pub fn started_by(mut self, report: Option<ReportId>) -> Supervisor {
        self.started_by = report;
        self
    }

    /// Sets which children are held: an operator held them in an earlier incarnation of this supervisor, and has not
    /// released them since. Before [`Event::Begin`].
    #[must_use]
    pub fn holding<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Supervisor {
        for name in names {
            if let Some(mut child) = self.table.find(name).and_then(|id| self.table.edit(id)) {
                child.target = Target::Down;
                child.phase = Phase::Held;
            }
        }
        self
    }

    /// Sets that this is the root, with no supervisor above: it reports its own start and end. Before [`Event::Begin`].
    #[must_use]
    pub fn as_root(mut self) -> Supervisor {
        self.is_root = true;
        self
    }

    /// Continues the running sequence, and serves the queue whenever no sequence is running.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        match self.lifecycle {
            Lifecycle::New | Lifecycle::Halted => return,
            Lifecycle::Booting | Lifecycle::Running | Lifecycle::Ending => {}
        }
        loop {
            self.advance(turn);
            if self.job.is_some() || self.lifecycle == Lifecycle::Halted {
                return;
            }
            match self.queue.pop_front() {
                Some(QueueItem::Recheck(run)) => self.look(turn, run),
                Some(QueueItem::Asked { request, command, by, meant }) => {
                    self.serve(turn, request, command, by, meant);
                }
                Some(QueueItem::Reload(reload)) => self.reload(turn, *reload),
                // A roll-out goes on only when the queue is empty.
                None if self.roll_on(turn) => {}
                None => return,
            }
        }
    }

    fn beat(&mut self, turn: &mut Turn<'_>, run: Run, beat: Beat) -> Result<(), Stale> {
        let mut child = self.table.edit_run(run)?;
        let silent = child.watch().map_or(Span::ZERO, |watch| watch.age(turn.now));
        child.beat(turn.now, beat)?;
        if let Some(report) = child.watch_mut().and_then(Watch::regain_reach) {
            child.cause.take_if(|cause| *cause == report);
            drop(child);
            self.report(turn, Some(run.child), Some(report), Fact::Reachable { silent });
            child = self.table.edit_run(run)?;
        }
        if child.is_up_at(Ready::Heartbeat) {
            drop(child);
            self.up(turn, run.child);
        }
        Ok(())
    }

    /// The shell dropped a message.
    fn dropped(
        &mut self,
        turn: &mut Turn<'_>,
        by: Option<Run>,
        sender: Option<String>,
        dropped: Dropped,
    ) -> Result<(), Stale> {
        if let Some(run) = by {
            self.table.get_run(run)?;
        }
        self.report(turn, by.map(|run| run.child), None, Fact::Dropped { sender, dropped });
        Ok(())
    }

    /// Takes in an sd_notify message of a worker.
    fn notice(&mut self, turn: &mut Turn<'_>, run: Run, notice: Notice) -> Result<(), Stale> {
        let hung = notice.hung;
        let mut child = self.table.edit_run(run)?;
        let before = child.notice(turn.now, notice)?;
        let missed = child.asked_before();
        drop(child);
        if let Some(before) = before {
            self.report(turn, Some(run.child), None, Fact::MainPid { before });
            if let Some(missed) = missed {
                turn.stop(run, missed);
            }
        }
        if hung {
            self.self_reported_hang(turn, run.child);
        }
        Ok(())
    }

    /// Sends this node's own beat if it is due: one frame for the whole subtree.
    pub(super) fn beat_upward(&mut self, turn: &mut Turn<'_>) {
        if let Some(rollup) = self.beat_if_due(turn.now) {
            turn.out.push(Action::TellParent(ToParent::Beat(Box::new(rollup))));
        }
    }

    /// This node's own beat, if it is due. The shell calls this between the steps of long work, so that a busy node
    /// does not look hung; otherwise the beat is one of the actions of a tick.
    #[must_use]
    pub fn beat_if_due(&mut self, now: Time) -> Option<Rollup> {
        let (promise, due) = (self.uplink?, self.own_beat?);
        if due > now {
            return None;
        }
        // Keeps to the schedule where that is possible; after a long delay one beat is enough.
        let next = due + promise.interval;
        self.own_beat = Some(if next > now { next } else { now + promise.interval });
        Some(self.rollup(now))
    }

    /// When this node's own beat is due; `None` if no parent watches. A supervisor that has ended still beats: its
    /// process exists until it exits, and its hooks may take a while.
    pub fn next_own_beat(&self) -> Option<Time> {
        self.own_beat
    }

    /// The name of a child, for reports and answers.
    pub(super) fn name(&self, id: ChildId) -> String {
        self.table.get(id).map(|child| child.member.name.to_string()).unwrap_or_default()
    }

    /// Writes a report about a child, or with `None` about this supervisor.
    pub(super) fn report(
        &mut self,
        turn: &mut Turn<'_>,
        child: Option<ChildId>,
        cause: Option<ReportId>,
        fact: Fact,
    ) -> ReportId {
        let pid = child.and_then(|id| self.table.get(id)).and_then(Child::pid);
        self.report_of(turn, child, pid, cause, fact)
    }

    /// Draws an id for a report about this supervisor that the shell makes.
    pub fn draw_report(&mut self) -> ReportId {
        self.reports = self.reports.wrapping_add(1);
        ReportId { node: self.node, seq: self.reports }
    }

    /// Like [`Supervisor::report`], about a process that may have ended.
    pub(super) fn report_of(
        &mut self,
        turn: &mut Turn<'_>,
        child: Option<ChildId>,
        pid: Option<u32>,
        cause: Option<ReportId>,
        fact: Fact,
    ) -> ReportId {
        let id = self.draw_report();
        let about = child.and_then(|id| self.table.get(id));
        let incarnation = about.map(|child| child.incarnation).unwrap_or_default();
        let beside = about.and_then(|child| child.beside);
        self.count(child, &fact);
        turn.out.push(Action::Report(Box::new(Report { id, cause, child, pid, incarnation, beside, fact })));
        id
    }

    /// Counts the end of a process, if the report is about one.
    fn count(&mut self, child: Option<ChildId>, fact: &Fact) {
        let Some(about) = child.and_then(|id| self.table.get(id)) else { return };
        let Some(cause) = Cause::of(about.member.kind, fact) else { return };
        let child = self.child_of(about.id);
        self.exits.add(cause);
        // A process beside a child that cannot be killed may outlive that child.
        if let Some(mut child) = self.table.edit(child) {
            child.tally.add(cause);
        }
    }
}
