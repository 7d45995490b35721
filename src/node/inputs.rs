//! Turns everything that is ready into events.

use super::asker::{self, Asker};
use super::children::Looked;
use super::diary::Work;
use super::endpoint::messages::Received;
use super::fold::InFlightEvent;
use super::order::Turn;
use super::placed::Placed;
use super::requests::{Request, late, refused};
use super::root::Root;
use super::turn::{Node, OneTurn};
use super::{beside, translate};
use crate::os::signals::Caught;
use crate::os::{clock, process};
use crate::supervision::{Beat, Event, Run, StopCause, StopReason};
use crate::time::Time;
use crate::wire::codec;
use crate::wire::message::{Ask, FromNode, Meant, Refusal, ToNode};
use slog::{debug, error, info, warn};
use std::convert::Infallible;

/// The most requests of operators, and the most messages of the parent, that one turn takes.
const REQUESTS_PER_TURN: usize = 64;

impl Turn for OneTurn<'_> {
    type Stop = Infallible;

    fn frames(&mut self) -> Result<(), Infallible> {
        let OneTurn { node, woken, .. } = self;
        if woken.directory {
            node.directory.mark_changed();
        }
        if woken.lease {
            node.above.look_at_lease(&node.context.logger);
        }
        node.receive_from_children();
        node.did(Work::Reading);
        node.receive_from_parent();
        node.agent(Placed::receive);
        node.inbox.extend(node.endpoint.receive_plain(&node.children));
        node.read_panic_socket();
        // Datagrams are read before exits: a worker's last report belongs to the exit that follows it.
        let Node { endpoint, context, reactor, children, inbox, .. } = node;
        inbox.extend(endpoint.receive_notifications(context, reactor, children));
        node.did(Work::Reading);
        woken.commands.drain(..).for_each(|run| node.read_command(run));
        woken.probes.drain(..).for_each(|run| node.read_probe(run));
        Ok(())
    }

    fn exits(&mut self) -> Result<(), Infallible> {
        // Reaped in any order: `clear_remains` hands the exits in, in start order.
        let OneTurn { node, woken, .. } = self;
        for run in woken.exits.drain(..) {
            if node.children.reap(run, &node.context, &mut node.reactor) {
                node.stop_helpers(run);
            }
            node.did(Work::Cleanup);
        }
        node.clear_remains(node.context.now());
        Ok(())
    }

    fn signals(&mut self) -> Result<(), Infallible> {
        let OneTurn { node, woken, .. } = self;
        if woken.signals {
            node.read_signals();
        }
        if woken.keeper
            && let Some(root) = node.above.root_mut()
        {
            root.keeper_ended(&node.context, &mut node.reactor);
        }
        Ok(())
    }

    fn requests(&mut self) -> Result<(), Infallible> {
        self.node.receive_from_operators();
        Ok(())
    }

    fn output(&mut self) -> Result<(), Infallible> {
        let OneTurn { node, woken, more_output, .. } = self;
        for number in woken.hooks.drain(..) {
            node.hooks.read(number, &node.context, &mut node.reactor);
        }
        if woken.reading {
            node.take_reading();
        }
        if woken.log_files {
            node.children.writer_has_news(&node.context, &mut node.reactor);
        }
        for run in more_output.drain(..).chain(woken.output.drain(..)) {
            node.children.read_output(run, &node.context, &mut node.reactor, &mut node.streams);
            node.did(Work::Output);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Infallible> {
        self.node.settle();
        Ok(())
    }

    fn deadlines(&mut self) -> Result<(), Infallible> {
        self.node.deadlines(std::mem::take(&mut self.late));
        Ok(())
    }
}

impl Node {
    fn read_command(&mut self, run: Run) {
        let (commands, mut launch, inbox) = self.beside();
        let beside::Read { event, lines, was_last } = commands.read(run, &mut launch);
        inbox.extend(event);
        self.children.take_lines(run, &lines, &self.context, &mut self.streams);
        if was_last {
            self.children.look_now(run, self.context.now());
        }
    }

    fn read_probe(&mut self, run: Run) {
        let (probes, mut launch, inbox) = self.probes();
        let (event, was_last) = probes.read(run, &mut launch);
        inbox.extend(event);
        if was_last {
            // The worker's exit was waiting for the end of this probe.
            self.children.look_now(run, self.context.now());
        }
    }

    pub(super) fn receive_from_children(&mut self) {
        let mut intake = self.endpoint.intake();
        while let Some(received) =
            self.endpoint.receive(&mut intake, &self.context, &self.reactor.processes, &self.children)
        {
            match received {
                Received::Event(event) => self.inbox.push_back(event),
                Received::Node { run, from, message } => self.receive_from_node(run, from, message),
            }
        }
    }

    fn receive_from_node(&mut self, run: Run, from: crate::link::Identity, message: FromNode) {
        let now = self.context.now();
        let Some(is_first) = self.children.meet(run, &self.context.logger) else { return };
        if is_first {
            self.streams_meet(run);
            self.ask_what_was_held(run);
        }
        let Some(child) = self.children.get_mut(run.child) else { return };
        let connection = translate::connection(&from, None);
        match message {
            FromNode::Hello { pid } => {
                self.upgrade.replaced().is_back(run);
                self.ask_what_was_held(run);
                debug!(self.context.logger, "child node connected"; "pid" => pid);
            }
            FromNode::Up => {
                self.inbox.push_back(Event::Ready(run));
                self.endpoint.send(&from, &ToNode::UpSeen);
            }
            FromNode::Rollup { seq, rollup } => {
                self.upgrade.replaced().beat(run);
                child.has_contact(run, now);
                let rollup = translate::rollup(&rollup);
                if let Some(root) = self.above.root_mut() {
                    root.take_beat_of(run.child, &rollup);
                }
                let beat = Beat { seq, connection, rollup: Some(rollup), ..Beat::default() };
                self.inbox.push_back(Event::Beat(run, Box::new(beat)));
            }
            FromNode::Events { first, events } => {
                let Some(link) = child.link_of(run) else { return };
                // Events that were received before are not published again.
                let Some(taken) = link.take_events(first, events.len()) else { return };
                let through = link.events_through();
                self.endpoint.lost_events(run, taken.missing);
                for event in events.into_iter().skip(taken.again) {
                    self.happened(now, Some(run.child), InFlightEvent { event, own: false });
                }
                self.endpoint.send(&from, &ToNode::EventsSeen { through });
            }
            FromNode::Escalating { cause, explanation } => {
                let Some(link) = child.link_of(run) else { return };
                link.has_given_up = true;
                self.children.look_now(run, now);
                self.inbox.push_back(Event::Escalating { run, cause, explanation });
                self.endpoint.send(&from, &ToNode::EscalatingSeen);
            }
            FromNode::Children { seq, spec, holds } => {
                if !self.children.note(run, spec, holds) {
                    self.endpoint.drop_malformed();
                }
                self.endpoint.send(&from, &ToNode::ChildrenSeen { seq });
            }
            FromNode::Reply { request, reply } => self.reply_from_below(run, request, reply),
        }
    }

    fn receive_from_parent(&mut self) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(message) = self.above.uplink().and_then(|uplink| uplink.receive()) else { break };
            match message {
                Ok(ToNode::Request { request, verb, void_after_ms: end, .. }) if clock::machine_millis() > end => {
                    debug!(self.context.logger, "late request dropped");
                    self.obey(late(request, &verb));
                }
                Ok(ToNode::Request { request, within_ms, by, verb, incarnation, above, .. }) => {
                    let asker = Asker::Parent { request };
                    let meant = Meant::of(incarnation, above);
                    self.request(Request { asker, within_ms, by, meant, shown: None }, verb);
                }
                Ok(ToNode::Holding { request }) => self.upgrade.holding(request),
                // The uplink has handled the acknowledgement.
                Ok(
                    ToNode::UpSeen | ToNode::EventsSeen { .. } | ToNode::ChildrenSeen { .. } | ToNode::EscalatingSeen,
                ) => {}
                Err(_) => self.endpoint.drop_malformed(),
            }
        }
    }

    /// Handles SIGHUP: the root's file is read again.
    fn reload_by_signal(&mut self) {
        let refused = self.upgrade.refuses_change(None);
        let Some(root) = self.above.root_mut() else { return };
        // Reported even if the reload is refused, since a service manager waits for its end.
        root.reloading(self.context.now());
        match refused {
            Some(why) => error!(self.context.logger, "SIGHUP: {}; nothing changed", why),
            None => root.file_mut().read_again(&self.context, &mut self.reactor),
        }
    }

    /// Takes the root's file that a thread has read again, and reloads the tree by it.
    fn take_reading(&mut self) {
        let Some(root) = self.above.root_mut() else { return };
        let read = root.file_mut().take_read(&self.context, &mut self.reactor);
        let Some((tree, file)) = read.filter(|_| !self.phase.is_closing()) else { return };
        if let Err(refused) = self.reload_root(Asker::None, "SIGHUP".into(), tree, false, None) {
            error!(self.context.logger, "SIGHUP: {}; nothing changed", refused; "file" => file);
        }
    }

    /// Continues the due cleanups. A child of which no process is left has exited.
    pub(super) fn clear_remains(&mut self, now: Time) {
        let processes = &mut self.reactor.processes;
        let Some(mut round) = self.children.begin_cleanup(now, &self.context, processes, &self.core) else {
            return;
        };
        loop {
            self.did(Work::Cleanup);
            let (probes, beside, processes) = (&self.probes, &self.beside, &mut self.reactor.processes);
            let ending = |run| probes.is_ending(run) || beside.is_ending(run);
            match self.children.clean_up_next(&mut round, &self.context, processes, ending) {
                None => return,
                Some(Looked::Waits) => {}
                Some(Looked::GivenUp(event)) => self.inbox.push_back(event),
                Some(Looked::Cleared(run)) => self.exited(run),
            }
        }
    }

    /// A child's process has ended, and no process of it is left here.
    fn exited(&mut self, run: Run) {
        let (placed, mut around) = self.placed();
        if !placed.clears_below(run, &mut around) {
            self.exit_is_over(run);
        }
    }

    pub(super) fn exit_is_over(&mut self, run: Run) {
        self.children.drain_output(run, &self.context, &mut self.reactor, &mut self.streams);
        let Some(events) = self.children.cleared(run, &self.core, &self.context) else { return };
        self.endpoint.ended(run);
        self.requests_lost_node(run);
        self.inbox.extend(events);
    }

    fn read_signals(&mut self) {
        for caught in self.reactor.caught() {
            if !self.phase.closing().is_some_and(|closing| closing.takes(caught, &self.context.logger)) {
                self.caught(caught);
            }
        }
    }

    pub(super) fn caught(&mut self, caught: Caught) {
        let is_root = self.above.is_root();
        match caught {
            Caught::ChildExited => self.reactor.processes.one_has_exited(),
            Caught::Terminate { from_parent, sender } if !is_root => {
                self.stopping_signals += 1;
                if from_parent {
                    self.inbox.push_back(Event::Stop(StopReason::Asked));
                } else if self.stopping_signals == 1 {
                    warn!(self.context.logger, "SIGTERM from a process other than the parent: graceful shutdown"; "sender" => sender);
                    self.ordered(StopCause::Signal(process::signal_from("SIGTERM", sender)), false);
                    self.inbox.push_back(Event::Stop(StopReason::Stranger));
                } else {
                    self.children.hurry(self.context.clock.now());
                    self.inbox.push_back(Event::StopNow);
                }
            }
            // Also if nothing is placed: its exit status shows whether an operator has stopped the tree first.
            Caught::Terminate { from_parent: true, .. }
                if self.stopping_signals == 0 && self.context.place.hosting.is_some() =>
            {
                info!(self.context.logger, "ended here by the host's agent: what is placed stays for the next root");
                self.stopping_signals += 1;
                self.inbox.push_back(Event::Stop(StopReason::HandOver));
            }
            Caught::Terminate { .. } | Caught::Interrupt if is_root => {
                self.stopping_signals += 1;
                let words = match caught {
                    Caught::Terminate { sender, .. } => process::signal_from("SIGTERM", sender),
                    _ => process::signal_from("SIGINT", None),
                };
                self.ordered(StopCause::Signal(words), false);
                if self.stopping_signals == 1 {
                    info!(self.context.logger, "graceful shutdown; a second signal kills at once");
                    self.inbox.push_back(Event::Stop(StopReason::Asked));
                } else {
                    warn!(self.context.logger, "second signal: killing at once");
                    self.children.hurry(self.context.clock.now());
                    self.inbox.push_back(Event::StopNow);
                }
            }
            Caught::Quit if is_root => {
                warn!(self.context.logger, "SIGQUIT: panic of the whole tree");
                self.children.hurry(self.context.clock.now());
                self.ordered(StopCause::Signal(process::signal_from("SIGQUIT", None)), true);
                self.inbox.push_back(Event::StopNow);
            }
            Caught::User1 => {
                for child in self.children.iter() {
                    if let Some(file) = &child.file {
                        file.reopen();
                    }
                }
                if is_root {
                    info!(self.context.logger, "log files reopened");
                }
                self.children.signal_nodes(10, &self.context.logger);
            }
            Caught::User2 if is_root => self.upgrade_by_signal(),
            Caught::User2 if self.children.are_placed(&self.context.place) => {
                self.inbox.push_back(Event::Stop(StopReason::HandOver))
            }
            Caught::User2 => {}
            Caught::Hangup { sender }
                if is_root && self.starter.is_some_and(|parent| process::is_hangup(sender, parent)) =>
            {
                warn!(self.context.logger, "terminal closed: graceful shutdown");
                self.stopping_signals += 1;
                self.ordered(StopCause::Signal("SIGHUP, terminal closed".into()), false);
                self.inbox.push_back(Event::Stop(StopReason::Asked));
            }
            Caught::Hangup { .. } if is_root => self.reload_by_signal(),
            // Other nodes ignore signals of the terminal; the root handles them.
            Caught::Terminate { .. } | Caught::Interrupt | Caught::Quit | Caught::Hangup { .. } => {}
        }
    }

    /// Hands in why this node is to end, where it is not its parent's order.
    pub(super) fn ordered(&mut self, why: StopCause, kill: bool) {
        self.inbox.push_back(Event::Ordered { why, kill });
    }

    fn receive_from_operators(&mut self) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(inbound) = self.above.root_mut().and_then(Root::receive) else { break };
            match codec::decode_ask(&inbound.frames) {
                Ok(ask) => {
                    let by = asker::operator(inbound.peer, ask.via.as_deref());
                    let asker = Asker::Operator { to: inbound.from, request: ask.request };
                    if inbound.peer.is_some_and(|peer| peer.uid != 0 && peer.uid != process::own_uid()) {
                        self.refuse_stranger(&asker);
                        continue;
                    }
                    if !ask.is_via_printable() {
                        let message = format!("via is not 1 to {} printable characters", Ask::VIA_MAX);
                        self.reply(&asker, refused(Refusal::NotUnderstood, message));
                        continue;
                    }
                    let Ask { within_ms, verb, incarnation, above, .. } = ask;
                    let meant = Meant::of(incarnation, above);
                    self.request(Request { asker, within_ms, by, meant, shown: None }, verb);
                    self.did(Work::Answering);
                }
                Err(malformed) => {
                    debug!(self.context.logger, "malformed request dropped"; "why" => %malformed);
                    self.endpoint.drop_malformed_of(&self.reactor.processes, inbound.peer);
                }
            }
        }
    }
}
