//! The loop: wait, gather events, hand them in one by one, carry out what follows, deadlines last.

use super::above::Above;
use super::beside::Beside;
use super::children::Children;
use super::close;
use super::context::Context;
use super::deadlines::{Deadline, SpinDetector, soonest};
use super::diary::{Diary, Lateness, Work};
use super::directory::Directory;
use super::endpoint::Endpoint;
use super::fold::Folds;
use super::hooks::Hooks;
use super::lateness;
use super::limits::Limits;
use super::order;
use super::phase::{self, Ending, Phase, Stage};
use super::placed::Placed;
use super::probes::Probes;
use super::reactor::{Reactor, Woken};
use super::requests::{NodeReader, Requests};
use super::root::Root;
use super::streams::Streams;
use super::upgrade::upgrading::Upgrading;
use crate::os::epoll::Ready;
use crate::os::process;
use crate::supervision::{Action, End, Event, Report, Run, Supervisor, ToParent};
use crate::time::{Span, Time};
use slog::warn;
use std::collections::VecDeque;
use std::convert::Infallible;

/// A supervisor process.
pub(super) struct Node {
    pub context: Context,
    pub reactor: Reactor,
    pub core: Supervisor,
    pub children: Children,
    pub endpoint: Endpoint,
    pub directory: Directory,
    pub above: Above,
    pub placed: Placed,
    pub probes: Probes,
    pub beside: Beside,
    pub hooks: Hooks,
    pub limits: Limits,
    /// Readers of events and of what workers print.
    pub streams: Streams,
    pub requests: Requests,
    pub inbox: VecDeque<Event>,
    pub actions: Vec<Action>,
    /// Reports of the core about the event that is being handled. They are not published yet.
    pub pending_reports: Vec<Report>,
    /// Repeated events of restart storms, which are folded.
    pub folds: Folds,
    /// When to try again to write to a slow console or log.
    pub console_retry: Option<Time>,
    /// When to give back the memory that was needed to start the children.
    pub release_memory_at: Option<Time>,
    /// Whether the node supervises, or which stage of its end it has reached.
    pub phase: Phase,
    /// What this process spends its time on.
    pub diary: Diary,
    pub spin_detector: SpinDetector,
    pub upgrade: Upgrading,
    pub stopping_signals: u32,
    /// The parent when the tree began, if there was a terminal. Its SIGHUP may mean that the terminal was closed.
    pub starter: Option<u32>,
}

/// A turn of the loop. [`order::turn`] calls its steps.
pub(super) struct OneTurn<'a> {
    pub node: &'a mut Node,
    pub woken: Woken,
    /// Workers whose output was not read completely in the last turn.
    pub more_output: Vec<Run>,
    pub late: Lateness,
}

impl Node {
    /// Runs until the core has halted and all stages of the end are done. `begin` is the first event; `None` after a
    /// hot upgrade.
    pub(super) fn run(&mut self, begin: Option<Event>) -> End {
        let now = self.context.now();
        self.diary.begin(now);
        self.inbox.extend(begin);
        self.agent(Placed::report_paths);
        self.settle();
        let mut ready = Vec::new();
        loop {
            let Ok(end) = phase::go_on(self);
            if let Some(end) = end {
                return end;
            }
            let late = self.wait(&mut ready);
            let (more_output, woken) = (self.children.output().take_more(), self.reactor.woken(&ready));
            let Ok(()) = order::turn(&mut OneTurn { node: self, woken, more_output, late });
            // Orphans last: the kernel shows none behind a child whose exit is unread. They wait for the next turn.
            self.reactor.processes.reap_waiting_orphans();
            self.look_after_files();
            let Node { endpoint, context, reactor, above, inbox, .. } = self;
            let control = above.root_mut().map(Root::control);
            inbox.extend(endpoint.report_drops(context, &reactor.processes, control));
            self.watch_descriptors();
            self.go_on_upgrading(self.context.now());
        }
    }

    /// Closes and removes everything, after [`Node::run`]. Returns the exit status.
    pub(super) fn leave(mut self, end: End) -> i32 {
        self.above.feed(self.context.now());
        // Each open socket keeps the ZeroMQ context. Last messages are delivered only while its end is waited for.
        drop(self.placed);
        close::shut(self.above, self.endpoint, self.children);
        if end == End::Terminated {
            process::die_by(15);
        }
        end.code()
    }

    /// Checks whether file descriptors run short.
    pub(super) fn watch_descriptors(&mut self) {
        let shortest = self.children.shortest_interval();
        self.endpoint.watch_descriptors(&self.context, &self.reactor.processes, shortest);
    }

    /// Sleeps until something is ready or due. Returns how long no child was supervised although one should have been.
    fn wait(&mut self, ready: &mut Vec<Ready>) -> Lateness {
        self.flush_outward();
        let before = self.context.now();
        let busy = self.diary.unaccounted(before);
        let with = (!busy.is_zero()).then(|| self.diary.mostly());
        let releases = self.release_memory_at.take_if(|at| *at <= before).is_some();
        let planned = self.next_wake(before);
        if let Some(why) = self.spin_detector.sleeps(before, planned) {
            warn!(self.context.logger, "event loop does not rest: a deadline stays overdue"; "what" => why);
        }
        // Read last, after every use of the sockets: their descriptors can swallow a wake-up.
        let awake = !self.inbox.is_empty()
            || self.children.output().has_more()
            || self.endpoint.has_input()
            || self.above.has_input()
            || self.placed.has_input();
        let timeout = if awake { Some(Span::ZERO) } else { planned.map(|(at, _)| at.since(before)) };
        if releases {
            // Last, too: whatever ran after it would map its pages again.
            process::release_memory();
        }
        if let Err(error) = self.reactor.wait(timeout, ready) {
            // There is nothing else to wait on. A turn without events does no harm.
            warn!(self.context.logger, "cannot wait for events"; "error" => %error);
        }
        let now = self.context.now();
        let slept = lateness::slept(before, planned.map(|(at, _)| at), now);
        self.diary.begin(now);
        Lateness { slept, busy, with }
    }

    /// The next deadline of this node, and what is due then.
    fn next_wake(&self, now: Time) -> Option<Deadline> {
        let nap = self.children.longest_nap().map(|nap| now + nap);
        soonest([
            // A verdict may wait for messages that are unread; our own heartbeat does not.
            (self.endpoint.verdict_due().or_else(|| self.core.next_deadline()), "supervision"),
            (self.core.next_own_beat(), "our own beat"),
            (self.children.next_deadline(), "a cleanup, a late start or output"),
            (self.reactor.processes.next_deadline(), "what probes and hooks have left"),
            (self.requests.next_deadline(), "a request"),
            (self.above.next_deadline(), "the parent, the journal or the service manager"),
            (self.streams.next_deadline(), "a reader of events or of output"),
            (self.console_retry, "the console"),
            (self.release_memory_at, "memory that was needed to begin"),
            (self.probes.next_deadline(), "a probe"),
            (self.hooks.next_deadline(), "a hook"),
            (self.directory.next_deadline(), "the runtime directory"),
            (self.folds.next_deadline(), "events that are folded"),
            (self.upgrade.next_deadline().filter(|_| !self.phase.is_closing()), "an upgrade"),
            (self.placed.next_deadline(), "the host's agent"),
            (self.phase.next_deadline(), "the end"),
            // At most half the shortest heartbeat interval: a pause of this process is not taken for silence.
            (nap, "a nap"),
        ])
    }

    /// Hands in every pending event, one at a time, and carries out all that follows from it before the next one.
    pub(super) fn settle(&mut self) {
        // A core that has halted takes no events.
        while !self.phase.is_closing()
            && let Some(event) = self.inbox.pop_front()
        {
            let now = self.context.now();
            if let Some((run, pid)) = self.children.started_before(&event) {
                self.begin_probes(run);
                self.hand_in(now, Event::Spawned { run, pid });
            }
            self.hand_in(now, event);
            self.did(Work::Other);
        }
        if self.phase.is_closing() {
            self.inbox.clear();
        }
        self.agent(Placed::settle);
    }

    /// A step of this kind has ended. Sends our own heartbeat if it is due: a node with much work is not hung.
    pub(super) fn did(&mut self, work: Work) {
        let now = self.context.now();
        self.diary.did(work, now);
        self.beat_if_due(now);
    }

    fn beat_if_due(&mut self, now: Time) {
        if !self.diary.comes_round(now) {
            return;
        }
        if let Some(rollup) = self.core.beat_if_due(now) {
            self.send_to_parent(ToParent::Beat(Box::new(rollup)));
        }
        if let Some(root) = self.above.root_mut() {
            root.beat(now);
        }
    }

    /// This image goes on where the image before it has stopped: at the time `taken` of its snapshot. Nothing was done
    /// since then.
    pub(super) fn begin_again(&mut self, taken: Time, came_back: Option<String>) {
        let now = self.context.now();
        let gap = now.since(taken);
        self.diary.begin(now);
        match &mut self.above {
            Above::Parent(uplink) => uplink.introduce(),
            Above::Operators(root) => {
                root.goes_on(&self.context, &mut self.reactor);
                self.directory.guard(&self.context.place.runtime, &mut self.reactor);
                self.children.mark_changed();
            }
        }
        self.hand_in(now, Event::Resumed { lost: gap });
        self.streams.credit(now, gap);
        self.streams.begins_again(now);
        self.requests.forget_replies(now, gap);
        let orders = self.requests.ask_again(now);
        self.obey(orders);
        let (probes, mut launch, inbox) = self.probes();
        inbox.extend(probes.due(now, gap, &mut launch));
        self.hooks.due(now, gap, &self.context, &mut self.reactor);
        self.has_resumed(gap, came_back);
    }

    /// Hands in one event, and carries out what follows from it.
    fn hand_in(&mut self, now: Time, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.core.handle(now, event, &mut actions);
        for action in actions.drain(..) {
            let work = Work::of(&action);
            if comes_after_reports(&action) {
                self.publish(now);
            }
            self.carry_out(action);
            self.did(work);
        }
        self.publish(now);
        self.actions = actions;
    }

    pub(super) fn deadlines(&mut self, late: Lateness) {
        self.clear_remains(self.context.now());
        self.settle();
        // From here to the tick the clock must not be read again: a pause in between would be charged to the children.
        let now = self.context.now();
        let lost = self.diary.account(now, late, &self.context);
        self.beat_if_due(now);
        let due = self.core.next_deadline().is_some_and(|at| at <= now);
        // Lost time is credited now, or it would be lost. A child that is overdue in spite of it was silent before.
        if !due {
            // The child whose heartbeat was overdue has sent one since.
            self.endpoint.forget_verdict();
        }
        // A core that has halted judges no child.
        let judges = !self.phase.is_closing();
        let Node { endpoint, core, context, reactor, .. } = self;
        if judges && (!lost.is_zero() || due && endpoint.may_judge(now, core, context, &reactor.processes)) {
            self.hand_in(now, Event::Tick { lost });
        }
        if !lost.is_zero() {
            self.streams.credit(now, lost);
        }
        let (probes, mut launch, inbox) = self.probes();
        inbox.extend(probes.due(now, lost, &mut launch));
        self.hooks.due(now, lost, &self.context, &mut self.reactor);
        self.children.output_due(now, &self.context, &mut self.reactor);
        self.children.show_unfinished(now, &self.context, &mut self.reactor, &mut self.streams);
        for event in self.children.late_starts_due(now, &self.context) {
            if let Event::Spawned { run, .. } = &event {
                self.begin_probes(*run);
            }
            self.inbox.push_back(event);
        }
        self.agent(Placed::due);
        self.folds_due(now);
        self.requests.forget_replies(now, lost);
        self.requests_due();
        match &mut self.above {
            Above::Parent(uplink) => uplink.due(now),
            Above::Operators(root) => root.due(now, &self.core, &self.context, &mut self.reactor),
        }
    }
}

/// The stages of the end. [`phase::go_on`] calls its steps.
impl Ending for Node {
    type Stop = Infallible;

    fn phase(&mut self) -> &mut Phase {
        &mut self.phase
    }

    fn now(&self) -> Time {
        self.context.now()
    }

    fn begin(&mut self, stage: Stage, end: End) -> Result<(), Infallible> {
        match stage {
            Stage::Agent => {
                self.finish_requests();
                self.agent(Placed::end);
                self.end_upgrade(self.context.now());
            }
            Stage::Parent => {
                self.end_folds();
                self.send_children_upward();
                match &mut self.above {
                    Above::Parent(uplink) => uplink.flush(self.context.now()),
                    Above::Operators(root) => root.end_waiting(),
                }
            }
            Stage::Hooks => {
                let left = self.view().left_behind(self.context.now());
                close::report(left, end, &mut self.above, &self.context);
                self.hooks.begin_end(&self.children, &self.context, &mut self.reactor);
            }
            Stage::Leftovers => self.reactor.processes.hurry(self.context.now()),
            Stage::Journal => {
                // Requests that have arrived since the first stage.
                self.finish_requests();
                self.finish_streams();
                // Each of these may wait for a slow disk.
                self.above.feed(self.context.now());
                self.children.output().finish(&self.context);
                self.above.feed(self.context.now());
                if let Some(root) = self.above.root_mut() {
                    root.begin_journal_end(end);
                }
            }
        }
        Ok(())
    }

    fn is_done(&mut self, stage: Stage, now: Time) -> bool {
        match stage {
            Stage::Agent => self.placed.is_done(),
            Stage::Parent => self.above.is_acknowledged(),
            Stage::Hooks => {
                let hurried = self.phase.closing().is_some_and(|closing| closing.is_hurried());
                self.hooks.go_on_ending(now, hurried, &self.context)
            }
            Stage::Leftovers => self.reactor.processes.next_deadline().is_none(),
            Stage::Journal => self.above.root_mut().is_none_or(|root| root.go_on_journal_end(now)),
        }
    }
}

/// Whether earlier reports are published before this action: their readers get the causes first, and a child can still
/// be looked at before the action ends it. A start does not wait for that: publishing takes half as long as acting.
fn comes_after_reports(action: &Action) -> bool {
    match action {
        Action::Report(_) | Action::Beside { .. } | Action::Spawn(_) => false,
        Action::AskToStop(_)
        | Action::Kill(_)
        | Action::Detach(_)
        | Action::Examine(_)
        | Action::Abort(_)
        | Action::Inspect(_)
        | Action::TellParent(_)
        | Action::Answer(..)
        | Action::Renew(_)
        | Action::Adopt(..)
        | Action::Succeed(..)
        | Action::Forget(_)
        | Action::Halt(_) => true,
    }
}
