//! Carries out a hot upgrade in a node, at the end of a turn and when a message about it arrives.

use super::asker::Asker;
use super::fold::InFlightEvent;
use super::outward;
use super::requests::route::UpgradeBelow;
use super::requests::{Question, refused};
use super::root::Root;
use super::turn::Node;
use super::upgrade::course::{Course, Wanted};
use super::upgrade::faults;
use super::upgrade::rehearsal;
use super::upgrade::replaced::{Answered, Taken};
use super::upgrade::upgrading::VERSION;
use crate::ids::{Incarnation, Path};
use crate::os::exec::{Gap, Order};
use crate::os::executable::{Executable, Identity};
use crate::os::signals::Caught;
use crate::os::{clock, process, thread};
use crate::supervision::{Run, State as Lifecycle};
use crate::time::{Span, Time};
use crate::wire::message::{Refusal, Reply, ToNode, Verb};
use crate::wire::upgrade::{self, Present, State};
use crate::wire::view::event::{UpgradeFailed, UpgradeStage, Upgraded};
use crate::wire::view::{EventBody, EventView};
use serde_json::Map;
use slog::{info, warn};
use std::fs::File;
use std::os::fd::AsFd;
use std::path;

/// How long a file system may take to open the executable.
const FILE: Span = Span::from_secs(1);

/// How long the log may take to write its queued lines; after that the upgrade is tried again later.
const MOMENT: Span = Span::from_millis(50);

/// How long libzmq's I/O thread gets to send what is queued.
const SENDS: Span = Span::from_millis(2);

impl Node {
    /// An operator orders an upgrade of the tree to `exe`, or (`check`) a rehearsal of it.
    pub(super) fn upgrade(&mut self, asker: Asker, by: String, exe: &path::Path, check: bool) {
        let begun = self.begin_whole(asker.clone(), by, exe, check);
        if let Err(why) = begun {
            if asker == Asker::None {
                warn!(self.context.logger, "upgrade refused"; "why" => &why);
            }
            self.reply(&asker, refused(Refusal::NotAllowed, why));
        }
    }

    /// SIGUSR2: upgrades the tree to the file that is now at the path by which the root was started.
    pub(super) fn upgrade_by_signal(&mut self) {
        let Some(exe) = self.above.root().map(|root| root.start_path().to_owned()) else { return };
        self.upgrade(Asker::None, "SIGUSR2".into(), &exe, false);
    }

    fn begin_whole(&mut self, asker: Asker, by: String, exe: &path::Path, check: bool) -> Result<(), String> {
        let Some(root) = self.above.root() else { return Err("only the root upgrades the tree".into()) };
        if self.children.are_placed(&self.context.place) {
            return Err("it has placed children: restart the agents of the hosts instead, one after another".into());
        }
        let refusal = upgrade::Refusal::of(Present {
            upgrading_to: self.upgrade.course().map(Course::to),
            reloading: self.core.is_reloading() || self.requests.reloads_or_changes() || root.file().is_being_read(),
            ending: self.core.state() == Lifecycle::Stopping,
            booting: self.core.state() == Lifecycle::Starting,
        });
        if let Some(refusal) = refusal {
            return Err(refusal.to_string());
        }
        let (path, owner) = (exe.to_owned(), process::own_uid());
        let file = thread::within(FILE, move || Executable::open(&path, owner))
            .map_err(|error| format!("{} cannot be looked at: {error}", exe.display()))?
            .map_err(|refused| refused.to_string())?;
        info!(self.context.logger, "upgrade"; "to" => %exe.display(), "by" => &by, "check" => check);
        let rest = self.upgrade.begins_whole(check, &file);
        self.begin_course(Wanted { asker, by, check: true, rest }, file);
        Ok(())
    }

    /// The parent orders this node to upgrade to another executable, or to rehearse that.
    pub(super) fn upgrade_below(&mut self, asker: Asker, by: String, part: &UpgradeBelow) {
        if let Some(course) = self.upgrade.course() {
            let why = upgrade::Refusal::UnderWay { to: course.to().to_owned() };
            return self.reply(&asker, refused(Refusal::Busy, why.to_string()));
        }
        let UpgradeBelow { file, identity, check, rest } = part;
        let opened = match serde_json::from_value::<Identity>(identity.clone()) {
            // Opened only if it is the same file that the parent has checked.
            Ok(identity) => Executable::known(file, identity).map_err(|error| error.to_string()),
            Err(error) => Err(format!("the executable was not understood: {error}")),
        };
        let fault = if *check { Ok(()) } else { faults::at(&self.context.place.path, "order") };
        let file = match fault.and(opened) {
            Ok(file) => file,
            Err(why) => return self.reply(&asker, refused(Refusal::NotAllowed, why)),
        };
        self.begin_course(Wanted { asker, by, check: *check, rest: *rest }, file);
    }

    fn begin_course(&mut self, wanted: Wanted, file: Executable) {
        let (now, nodes) = (self.context.now(), self.children.nodes().collect());
        self.upgrade.begin(now, wanted, file, &self.context.place.path, nodes);
    }

    /// Continues an upgrade that is under way. Called at the end of a turn, when no event is pending. If it replaces
    /// this image, it does not return: the next image goes on in `boot::resume`.
    pub(super) fn go_on_upgrading(&mut self, now: Time) {
        if self.phase.is_closing() {
            return self.end_upgrade(now);
        }
        self.ask_those_away(now);
        if self.upgrade.course().is_none() {
            return;
        }
        if self.upgrade.due(now) {
            self.rehearse(now);
        }
        if let Some(last) = self.upgrade.course().and_then(|course| course.wants_own(now)) {
            let tried = match self.why_not_now() {
                None if !last && self.upgrade.waits_above() => {
                    let report = self.upgrade.before_gap(now);
                    self.report_above(report);
                    Err(("its parent does not hold its requests yet".into(), false))
                }
                None => self.exec_in_place(),
                Some(why) => Err((why, false)),
            };
            if let Err((why, false)) = &tried {
                let report = self.upgrade.works_on(why);
                self.report_above(report);
            }
            match tried {
                Ok(()) => {}
                Err((_, false)) if !last => self.upgrade.try_again(now),
                Err((why, _)) => self.own_failed(UpgradeStage::Exec, why),
            }
        }
        self.ask_below(now);
        for ((run, path), why) in self.upgrade.take_silent() {
            let pid = self.children.get(run.child).and_then(|child| child.process.as_ref()).map(|process| process.pid);
            let failed = self.upgrade_failed(UpgradeStage::Exec, why);
            self.publish_of(path, pid, run.incarnation, failed);
        }
        self.report_course();
    }

    /// Sends the parent a report, if there is one.
    fn report_above(&mut self, report: Option<(u64, Reply)>) {
        report.zip(self.above.uplink()).map(|((request, reply), uplink)| uplink.try_reply(request, reply));
    }

    /// Begins or continues the rehearsal of this node.
    fn rehearse(&mut self, now: Time) {
        let over = match self.upgrade.rehearsal() {
            Some(rehearsal) => rehearsal.look(now, &self.context, &mut self.reactor),
            None => self.begin_rehearsal().err().map(Err),
        };
        if let Some(over) = over {
            self.upgrade.rehearsed(over, &self.context.place.path);
        }
    }

    fn begin_rehearsal(&mut self) -> Result<(), String> {
        let (snapshot, _) = self.kept_snapshot("treevisor-rehearsal", "its state")?;
        self.upgrade.rehearse(&snapshot, &self.context, &mut self.reactor)
    }

    /// Sends the order to the child nodes whose turn it is.
    fn ask_below(&mut self, now: Time) {
        let Some(known) = self.upgrade.executable() else { return };
        let Ok((file, identity)) = known else { return self.upgrade.try_again(now) };
        let Some((Wanted { check, rest, by, .. }, next)) = self.upgrade.next_below() else { return };
        for child in next {
            let request = self.requests.numbers().draw();
            let (node, path, identity) = (child.0, child.1.clone(), identity.clone());
            let verb = Verb::UpgradeBelow { path, file: file.clone(), identity, check, rest };
            let question =
                Question { node, request, within_ms: 1_000, lasting: true, by: by.clone(), verb, meant: None };
            let reached = outward::ask(&self.children, &mut self.endpoint, question);
            self.upgrade.asked(now, request, child, reached);
        }
        if self.upgrade.course().is_some_and(Course::waits_for_one) {
            self.upgrade.try_again(now);
        }
    }

    /// A child node has replied. Returns the reply if it is not about the upgrade.
    pub(super) fn upgrade_answered(&mut self, run: Run, request: u64, reply: Reply) -> Option<Reply> {
        match self.upgrade.answered(self.context.now(), run, request, reply) {
            Answered::Other(reply) => return Some(reply),
            Answered::Leaves => {
                outward::send_to_node(&self.children, &mut self.endpoint, run, &ToNode::Holding { request });
            }
            Answered::Reachable => self.ask_what_was_held(run),
        }
        None
    }

    /// A child node is reachable again after its upgrade: sends it the questions that were held.
    pub(super) fn ask_what_was_held(&mut self, run: Run) {
        let held = self.upgrade.replaced().take_held(run);
        held.into_iter().for_each(|question| self.ask_node(question));
    }

    /// Sends the held questions of nodes that are reachable again, and of those that were waited for long enough.
    pub(super) fn ask_those_away(&mut self, now: Time) {
        let Node { upgrade, requests, children, endpoint, .. } = self;
        let waits = |question: &Question| requests.waits_for(question.request);
        let send = |question: &Question| outward::ask(children, endpoint, question.clone());
        let Taken { sent, ask, .. } = upgrade.take_due(now, waits, send);
        for request in sent {
            self.requests.sends(now, request);
        }
        ask.into_iter().for_each(|question| self.ask_node(question));
    }

    /// Reports news about the upgrade to its asker. When all nodes are done, goes on from the rehearsal to the upgrade,
    /// or ends it.
    fn report_course(&mut self) {
        let Some(course) = self.upgrade.course() else { return };
        let (asker, upgrade) = (course.wanted.asker.clone(), self.upgrade.result(course));
        if !upgrade.done {
            if self.upgrade.reports_now(self.context.now()) {
                self.reply(&asker, Reply::Upgraded { upgrade: Box::new(upgrade) });
            }
            return;
        }
        let failed = course.failure().map(|failed| (failed.path.clone(), failed.message.clone().unwrap_or_default()));
        let is_check = course.wanted.check;
        if self.upgrade.goes_beyond_rehearsal() {
            if let Some((path, reason)) = failed {
                let is_own = path == self.context.place.path.as_str();
                let message = if is_own { reason.clone() } else { format!("{path}: {reason}") };
                let refusal = upgrade::Refusal::Rehearsal { path, reason };
                self.publish_own(self.upgrade_failed(UpgradeStage::Rehearsal, message));
                self.upgrade.end_course();
                return self.reply(&asker, refused(Refusal::NotAllowed, refusal.to_string()));
            }
            let (now, nodes) = (self.context.now(), self.children.nodes().collect());
            return self.upgrade.begin_after_rehearsal(now, &self.context.place.path, nodes);
        }
        if self.above.is_root() && !is_check {
            self.upgrade.keep_behind();
            info!(self.context.logger, "{}", upgrade.summary(self.context.place.instance.as_str(), false));
        }
        self.upgrade.end_course();
        self.reply(&asker, Reply::Upgraded { upgrade: Box::new(upgrade) });
    }

    /// This node cannot be replaced. The nodes below it are not replaced either.
    fn own_failed(&mut self, stage: UpgradeStage, why: String) {
        self.publish_own(self.upgrade_failed(stage, why.clone()));
        self.upgrade.keep_below(&self.children);
        self.upgrade.own_is_over(&self.context.place.path, State::Failed, None, Some(why));
    }

    fn upgrade_failed(&self, stage: UpgradeStage, message: String) -> EventBody {
        let to = self.upgrade.course().map_or(String::new(), |course| course.to().to_owned());
        EventBody::UpgradeFailed(UpgradeFailed { message, stage, to })
    }

    /// Publishes an event about this supervisor that does not come from its core.
    pub(super) fn publish_own(&mut self, body: EventBody) {
        let (path, incarnation) = (self.context.place.path.clone(), self.context.place.incarnation);
        self.publish_of(path, Some(self.context.pid), incarnation, body);
    }

    /// Publishes an event of this supervisor about itself or a child node.
    fn publish_of(&mut self, path: Path, pid: Option<u32>, incarnation: Incarnation, body: EventBody) {
        let now = self.context.now();
        let event = EventView {
            id: self.core.draw_report(),
            at: clock::rfc3339_nanos(self.context.clock.wall_in_order(now)),
            path,
            pid,
            incarnation: Some(incarnation.0),
            cause: None,
            beside: None,
            body,
            repeats: None,
            more: Map::new(),
        };
        self.happened(now, None, InFlightEvent { event, own: true });
    }

    /// This image has replaced another one, or is the former image that goes on after a failed upgrade (`came_back`:
    /// why).
    pub(super) fn has_resumed(&mut self, gap: Span, came_back: Option<String>) {
        if self.upgrade.course().is_none() {
            return;
        }
        match came_back {
            None => {
                let told = self.upgrade.course().map(|course| Upgraded {
                    by: course.wanted.by.clone(),
                    from: course.from().to_owned(),
                    gap_ms: gap.as_millis(),
                    to: VERSION.to_owned(),
                });
                told.into_iter().for_each(|told| self.publish_own(EventBody::Upgraded(told)));
                self.upgrade.found_below(self.children.nodes().collect());
                self.upgrade.own_is_over(&self.context.place.path, State::Upgraded, Some(gap), None);
            }
            Some(why) => self.own_failed(UpgradeStage::Restore, why),
        }
    }

    /// Ends an upgrade that is under way, since this node ends. A parent gets no reply: it sees the exit, and does not
    /// count that as a failed upgrade.
    pub(super) fn end_upgrade(&mut self, now: Time) {
        let Node { upgrade, context, reactor, .. } = self;
        let asker = upgrade.end_with_the_node(now, context, reactor);
        let Some(asker) = asker.filter(|asker| !matches!(asker, Asker::Parent { .. })) else { return };
        let message = format!("{} has ended: it was not upgraded", context.place.path);
        self.reply(&asker, refused(Refusal::Down, message));
    }

    /// Why this node cannot be replaced at this moment; `None` if it can.
    fn why_not_now(&self) -> Option<String> {
        let waits = [
            (!self.inbox.is_empty() || !self.pending_reports.is_empty(), "it has something in hand"),
            (self.core.state() == Lifecycle::Stopping, "it is being stopped"),
            (!self.children.can_go_over(), "the program of a child is not executed yet"),
            (!self.probes.can_go_over() || !self.beside.can_go_over(), "a probe or a command is just being started"),
            (!self.hooks.can_go_over(), "a hook is just being started"),
            (self.requests.gathers(), "a status is being collected"),
            (self.console_retry.is_some(), "the reader of its output is slow"),
            (self.upgrade.is_rehearsing(), "a rehearsal still runs"),
            (self.above.root().is_some_and(Root::replaces_its_keeper), "the keeper before has not ended yet"),
        ];
        waits.into_iter().find(|(waits, _)| *waits).map(|(_, why)| why.to_owned())
    }

    /// Checks that all output and all lines of the log are written: what is not would be lost with this image.
    fn is_written(&mut self) -> Result<(), (String, bool)> {
        let written = self.children.output().is_written() && self.context.log_handle.settle(MOMENT);
        if written { Ok(()) } else { Err(("a disk or a reader is behind with its output".into(), false)) }
    }

    /// Executes the other image in this process. Returns only if that fails: why, and whether the failure is final.
    fn exec_in_place(&mut self) -> Result<(), (String, bool)> {
        let file = self.upgrade.file().map_err(|why| (why, true))?;
        let unchanged = file.is_unchanged().map_err(|error| (format!("looking at the executable: {error}"), true))?;
        if !unchanged {
            return Err(("the executable was changed since the rehearsal".into(), true));
        }
        self.is_written()?;
        let now = self.context.now();
        if let Some(root) = self.above.root_mut() {
            root.is_replaced(now);
        }
        // Gives libzmq's I/O thread time to send what is queued.
        clock::pause(SENDS);
        let gap = Gap::begin();
        let caught = self.reactor.caught();
        if caught.iter().any(|caught| *caught != Caught::ChildExited) {
            drop(gap);
            // What the signal orders is carried out first.
            caught.into_iter().for_each(|caught| self.caught(caught));
            self.settle();
            return Err(("a signal has come".into(), false));
        }
        // If this attempt fails, the exited process may be an orphan.
        if !caught.is_empty() {
            self.reactor.processes.one_has_exited();
        }
        // What has arrived meanwhile would be lost with this image: a worker reports only once that it is ready.
        self.receive_from_children();
        self.read_panic_socket();
        self.settle();
        self.why_not_now().map_or(Ok(()), |why| Err((why, false)))?;
        // These events may have been logged.
        self.is_written()?;
        let old = File::open("/proc/self/exe").map_err(|error| (format!("opening this program: {error}"), true))?;
        let (snapshot, kept) = self.kept_snapshot("treevisor-snapshot", "the snapshot").map_err(|why| (why, true))?;
        let file = self.upgrade.file().map_err(|why| (why, true))?;
        // What is no program cannot be executed.
        let is_well = faults::at(&self.context.place.path, "exec").is_ok();
        let order = Order {
            file: if is_well { file.as_fd() } else { snapshot.as_fd() },
            old: old.as_fd(),
            snapshot: snapshot.as_fd(),
            kept: &kept,
            limit: rehearsal::LIMIT,
        };
        let error = gap.execute(&order);
        Err((format!("it cannot be executed: {error}"), true))
    }
}
