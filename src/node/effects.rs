//! Carries out the actions of the core. What fails comes back to the core as an event.

use super::above::Above;
use super::beside::Beside;
use super::children::Child;
use super::directory::{Directory, Kept};
use super::event_log;
use super::fold::InFlightEvent;
use super::history::EventBatch;
use super::launch_context::LaunchContext;
use super::phase::{Closing, Phase};
use super::placed::{Elsewhere, Follow, NodeContext, Placed};
use super::probes::Probes;
use super::root::Root;
use super::translate;
use super::turn::Node;
use crate::ids::Path;
use crate::os::fd;
use crate::supervision::{Action, ChildId, End, Event, Fact, Inspected, Killed, Report, Run, ToParent};
use crate::time::{Span, Time};
use crate::wire::view::EventBody;
use crate::wire::view::event::StopWhy;
use slog::{info, warn};
use std::collections::VecDeque;

/// How long after a subtree has come up its memory is given back to the system: reading the file and starting all
/// children take more memory than running does. By then the reports of the start have been sent.
const AFTER_UP: Span = Span::from_secs(1);

impl Node {
    /// Carries out one action of the core.
    pub(super) fn carry_out(&mut self, action: Action) {
        match action {
            Action::Spawn(run) => self.spawn(run),
            Action::AskToStop(run) if self.order_elsewhere(run, Elsewhere::Stop) => {}
            Action::Kill(run) if self.order_elsewhere(run, Elsewhere::Kill) => {}
            Action::Inspect(run) if self.order_elsewhere(run, Elsewhere::Inspect) => {}
            Action::AskToStop(run) => {
                self.stop_probes(run);
                let hands_over = self.core.is_handing_over();
                let (beside, mut launch, inbox) = self.beside();
                match beside.ask_to_stop(run, &mut launch) {
                    Some(event) => inbox.extend(event),
                    None => self.inbox.extend(self.children.ask_to_stop(run, hands_over, &self.context)),
                }
            }
            // Only a placed child can be detached: it goes on running on its host.
            Action::Detach(run) => drop(self.order_elsewhere(run, Elsewhere::Detach)),
            Action::Kill(run) => {
                self.stop_helpers(run);
                self.children.kill(run, self.context.now());
            }
            Action::Examine(run) => {
                self.stop_probes(run);
                let (beside, mut launch, inbox) = self.beside();
                inbox.extend(beside.examine(run, &mut launch));
            }
            Action::Abort(run) => {
                self.stop_probes(run);
                if let Some(child) = self.children.get(run.child) {
                    child.abort(run);
                }
            }
            Action::Inspect(run) => {
                let now = self.context.now();
                let Some(child) = self.children.get_mut(run.child) else { return };
                let verdict = match self.upgrade.replaced().spares(run, now) {
                    Some(why) => Inspected::Held(why),
                    None => child.inspect(run, now),
                };
                self.inbox.push_back(Event::Inspected(run, verdict));
            }
            Action::TellParent(up) => self.send_to_parent(up),
            Action::Answer(request, answer) => {
                // The parent must know of the hold before the operator gets the reply.
                self.send_children_upward();
                self.answered(request, answer);
            }
            Action::Renew(request) => self.renew(request),
            Action::Adopt(child, which) => {
                let files = self.context.place.files.clone();
                if let Some(child) = self.children.get_mut(child) {
                    child.adopt(which, &files);
                    super::limits::complain(&child.path, &child.unset, &self.context);
                    self.children.mark_changed();
                }
            }
            Action::Beside { child, successor, renewed } => {
                self.children.begin_beside(child, successor, renewed, &self.context);
            }
            Action::Succeed(child, successor) => {
                self.end_fold(child);
                self.children.succeed(child, successor);
            }
            Action::Forget(child) => self.forget(child),
            Action::Report(report) => self.pending_reports.push(*report),
            Action::Halt(end) => {
                let hurried = self.hooks.are_hurried_by(self.stopping_signals);
                self.phase = Phase::Closing(Closing::new(end, hurried));
            }
        }
    }

    fn spawn(&mut self, run: Run) {
        let files = self.context.place.files.clone();
        if !self.endpoint.is_in_place() {
            // The child will connect to this socket.
            self.put_back_files(self.context.now(), false);
        }
        if self.children.get_mut(run.child).is_some_and(|child| child.renew(&files)) {
            self.children.settle_sockets(&self.context.logger);
        }
        let (placed, mut around) = self.placed();
        if let Some(follows) = placed.place(run, &mut around) {
            return self.follow(follows);
        }
        let what = self.children.get(run.child).map(|child| &child.what);
        if let Err(error) = self.endpoint.bind_pulls(run.child, what, &mut self.reactor) {
            self.inbox.push_back(Event::SpawnFailed { run, failure: error.into() });
            return;
        }
        let cause = self.core.cause_of(run.child);
        let begun = match self.children.start(run, &self.context, &mut self.reactor, self.endpoint.path(), cause) {
            Ok(begun) => begun,
            Err(failure) => {
                // Report the cause, not only that this start failed.
                if failure.lacks_descriptors() {
                    self.endpoint.descriptors_ran_out();
                    self.watch_descriptors();
                }
                self.inbox.push_back(Event::SpawnFailed { run, failure: failure.into() });
                return;
            }
        };
        let (pid, late) = (begun.pid, begun.late);
        self.endpoint.admit(run, begun.token, begun.uid, begun.notify, &self.context, &mut self.reactor);
        match late {
            Some(late) => self.children.start_is_late(run, pid, late, self.context.now()),
            None => {
                self.begin_probes(run);
                self.inbox.push_back(Event::Spawned { run, pid });
            }
        }
    }

    /// Checks, if a check is due, whether all files in the runtime directory are in place, and restores the others.
    pub(super) fn look_after_files(&mut self) {
        let now = self.context.now();
        let Some(workers) = self.directory.begin_look(now, self.children.len()) else { return };
        let (directory, kept) = self.kept();
        let missing = directory.misses_a_file(&kept) || workers && self.endpoint.misses_a_file();
        if !missing || self.directory.has_settled(now, workers) {
            self.put_back_files(now, workers || missing);
        }
    }

    /// `workers`: also the files of the workers' sockets.
    fn put_back_files(&mut self, now: Time, workers: bool) {
        let (directory, mut kept) = self.kept();
        let mut restored = directory.put_back(now, &mut kept);
        let Node { directory, context, reactor, children, endpoint, inbox, .. } = self;
        if workers {
            inbox.extend(endpoint.put_back_files(context, reactor, children, &mut restored.files));
            restored.tries_again = endpoint.misses_a_socket();
        }
        directory.report(now, restored, context);
    }

    /// The runtime directory, and the node's own sockets in it.
    fn kept(&mut self) -> (&mut Directory, Kept<'_>) {
        let Node { directory, context, endpoint, above, .. } = self;
        let (control, instance) = above.root_mut().map(Root::outside).unzip();
        (directory, Kept { context, children: endpoint.router(), control, instance })
    }

    /// The part that asks the host's agent for placed children, and what it needs of the other parts.
    pub(super) fn placed(&mut self) -> (&mut Placed, NodeContext<'_>) {
        let Node { placed, context, core, children, endpoint, reactor, above, phase, .. } = self;
        let hands_over = core.is_handing_over() || phase.end() == Some(End::HandedOver);
        let is_root = above.is_root();
        (placed, NodeContext { context, core, children, endpoint, reactor, is_root, hands_over })
    }

    /// Calls `step` on that part, and carries out what follows from it.
    pub(super) fn agent(&mut self, step: impl FnOnce(&mut Placed, &mut NodeContext<'_>) -> Vec<Follow>) {
        let (placed, mut around) = self.placed();
        let follows = step(placed, &mut around);
        self.follow(follows);
    }

    /// Passes an order to the host's agent if it is about a placed child. Returns whether it was.
    fn order_elsewhere(&mut self, run: Run, order: Elsewhere) -> bool {
        let (placed, mut around) = self.placed();
        let follows = placed.order(run, order, &mut around);
        follows.map(|follows| self.follow(follows)).is_some()
    }

    /// The probes, what starting one takes, and the inbox for what they return.
    pub(super) fn probes(&mut self) -> (&mut Probes, LaunchContext<'_>, &mut VecDeque<Event>) {
        let Node { probes, context, reactor, children, endpoint, inbox, .. } = self;
        (probes, LaunchContext { context, reactor, children, endpoint: endpoint.path() }, inbox)
    }

    /// The commands beside workers, what starting one takes, and the inbox for what they return.
    pub(super) fn beside(&mut self) -> (&mut Beside, LaunchContext<'_>, &mut VecDeque<Event>) {
        let Node { beside, context, reactor, children, endpoint, inbox, .. } = self;
        (beside, LaunchContext { context, reactor, children, endpoint: endpoint.path() }, inbox)
    }

    /// Begins to probe a worker whose process has been started.
    pub(super) fn begin_probes(&mut self, run: Run) {
        if let Some(worker) = self.children.get(run.child) {
            self.probes.begin(run, worker, self.context.now());
        }
    }

    /// Ends the probes of a worker that is to stop or has exited.
    pub(super) fn stop_probes(&mut self, run: Run) {
        let (probes, mut launch, _) = self.probes();
        probes.stop(run, &mut launch);
    }

    /// Ends the probes and the command beside a worker that has exited or was killed.
    pub(super) fn stop_helpers(&mut self, run: Run) {
        self.stop_probes(run);
        let (beside, mut launch, _) = self.beside();
        beside.end(run, &mut launch);
    }

    /// The core has removed a child: removes everything that the shell has of it.
    fn forget(&mut self, id: ChildId) {
        self.end_fold(id);
        let Some(child) = self.children.remove(id) else { return };
        self.children.keep_lines(&child);
        self.endpoint.forget(id, &mut self.reactor);
        self.hooks.forget(id);
        child.remove_group();
        self.children.mark_changed();
    }

    /// Adapts this node to the number and kind of children that it has now: file descriptors, connections, sockets, and
    /// access for other users. The boot does the same for the first children.
    pub(super) fn make_room_for_children(&mut self) {
        self.children.settle_sockets(&self.context.logger);
        let count = self.children.iter().count();
        fd::make_room(super::endpoint::doors::descriptors(count));
        let (own, other, others) = super::endpoint::doors::connections(count, fd::nofile_limit());
        self.context.place.door.set_connections(own, other, others);
        self.children.renew_naps();
        if self.children.iter().any(|child| child.is_node()) {
            self.endpoint.admit_nodes();
        }
        let foreign =
            |child: &Child| child.exec().is_some_and(|exec| exec.user.is_some()) && child.policy.heartbeat.is_some();
        if !self.children.iter().any(foreign) {
            return;
        }
        self.directory.opened();
        if let Err(error) = self.context.place.runtime.open_to_others(self.endpoint.path()) {
            warn!(self.context.logger, "workers of other users cannot reach this supervisor"; "error" => %error);
        }
    }

    pub(super) fn send_to_parent(&mut self, up: ToParent) {
        match (&mut self.above, up) {
            (Above::Parent(uplink), ToParent::Ready) => {
                uplink.up(self.context.clock.now());
                self.release_memory_at = Some(self.context.now() + AFTER_UP);
            }
            (Above::Parent(uplink), ToParent::Beat(rollup)) => uplink.beat(translate::rollup_view(&rollup)),
            (Above::Parent(uplink), ToParent::Escalating { cause, explanation }) => {
                uplink.escalating(self.context.clock.now(), cause, explanation);
            }
            (Above::Operators(root), ToParent::Ready) => {
                info!(self.context.logger, "the tree is up"; "instance" => %self.context.place.instance);
                root.tree_is_up(self.context.now(), &self.core);
                self.release_memory_at = Some(self.context.now() + AFTER_UP);
            }
            (Above::Operators(_), ToParent::Beat(_) | ToParent::Escalating { .. }) => {}
        }
    }

    /// Publishes all reports since the last call. `now`: the time of the event that led to them.
    pub(super) fn publish(&mut self, now: Time) {
        if self.pending_reports.is_empty() {
            return;
        }
        let mut reports = std::mem::take(&mut self.pending_reports);
        reports.drain(..).for_each(|report| self.report(now, report));
        self.pending_reports = reports;
    }

    /// Turns a report into an event. Adds what the core does not know (such as the last output of an exited child),
    /// runs the hooks that it triggers, and publishes it.
    fn report(&mut self, now: Time, report: Report) {
        let wall = crate::os::clock::rfc3339_nanos(self.context.clock.wall_in_order(now));
        let child = report.child.and_then(|child| self.children.get(child));
        let path = child.map_or_else(|| self.context.place.path.clone(), |child| child.path.clone());
        let mut view = translate::event(&report, path, wall);
        let core = &self.core;
        self.children.note_hold(&report, |child| core.state_of(child), &mut view);
        self.children.note_host(&report, &mut view.body);
        if report.child.is_none() {
            view.pid = view.pid.or(Some(self.context.pid));
            view.incarnation = view.incarnation.or(Some(self.context.place.incarnation.0));
        }
        if let (Fact::Exited { normal, expected, past, .. }, EventBody::Exited(exited), Some(child)) =
            (&report.fact, &mut view.body, report.child)
        {
            // A child that this node has killed may have logged what led to that.
            let failed = !normal && !expected || matches!(past.killed, Some(Killed::Hung | Killed::StartTimeout));
            self.children.add_past(Run { child, incarnation: report.incarnation }, failed, exited);
        }
        let child = report.child.and_then(|child| self.children.get(child));
        let probe = || {
            let process = child.and_then(|child| child.process.as_ref())?;
            self.probes.why_no_answer(process.run, self.context.now())
        };
        match &mut view.body {
            EventBody::BeatLate(late) => late.probe = probe(),
            EventBody::Hung(hung) => hung.probe = probe(),
            EventBody::Stopping(stopping) if stopping.why == StopWhy::StartTimeout => stopping.probe = probe(),
            _ => {}
        }
        if let Some(root) = self.above.root_mut() {
            root.note(&report.fact);
        }
        let about = (&report.fact, report.child, &view);
        self.hooks.happened(about, &self.children, &self.context, &mut self.reactor);
        self.happened(now, report.child, InFlightEvent { event: view, own: true });
    }

    /// Publishes an event, unless it repeats earlier ones (`fold`): then it is published later with its count.
    pub(super) fn happened(&mut self, now: Time, child: Option<ChildId>, in_flight: InFlightEvent) {
        self.upgrade.has_happened(&in_flight.event);
        let path = child.and_then(|child| self.children.get(child)).map(|child| child.path.clone());
        let mut out = Vec::new();
        match (child, path) {
            (Some(child), Some(path)) => self.folds.take(now, child, &path, in_flight, &mut out),
            (Some(_), None) | (None, _) => {
                if !matches!(in_flight.event.body, EventBody::Dropped(_)) {
                    self.folds.end_all(&mut out);
                }
                out.push(in_flight);
            }
        }
        self.publish_all(out);
    }

    pub(super) fn folds_due(&mut self, now: Time) {
        let mut out = Vec::new();
        self.folds.due(now, &mut out);
        self.publish_all(out);
    }

    /// Publishes all withheld events.
    pub(super) fn end_folds(&mut self) {
        let mut out = Vec::new();
        self.folds.end_all(&mut out);
        self.publish_all(out);
    }

    /// Publishes the withheld events of one child.
    pub(super) fn end_fold(&mut self, child: ChildId) {
        let mut out = Vec::new();
        self.folds.end(child, &mut out);
        self.publish_all(out);
    }

    fn publish_all(&mut self, out: Vec<InFlightEvent>) {
        if out.is_empty() {
            return;
        }
        // By the core's list of names: this must not look at all children for each event.
        let child = |path: &Path| self.children.get(self.core.find(path.name()?)?).filter(|child| child.path == *path);
        let is_node = |path: &Path| child(path).is_some_and(Child::is_node);
        let own = out.iter().filter(|in_flight| in_flight.own);
        own.for_each(|in_flight| event_log::log(&in_flight.event, &self.context, &is_node));
        self.above.events(EventBatch { events: out.into_iter().map(|in_flight| in_flight.event).collect() });
    }
}
