//! What only the root has: the operators' endpoint, the history of events and the pipe to the journal, what is saved
//! about the tree, the keeper, the service manager, and the panic socket.

pub(super) mod carried;
pub(super) mod file;
mod journal;
pub(super) mod keeper;
mod panic_socket;
pub(super) mod segments;
pub(super) mod service_manager;
pub(super) mod state_lock;

pub(super) use self::file::TreeFile;
pub(super) use self::journal::Journal;
pub(super) use self::keeper::Keeper;
pub(super) use self::service_manager::ServiceManager;

use self::panic_socket::PanicSocket;
use super::context::Context;
use super::end;
use super::history::{EventBatch, History};
use super::hosted::Hosted;
use super::reactor::{Reactor, Source};
use crate::explain::{Present, explain, tell_short};
use crate::ids::Path;
use crate::instance::runtime::InstanceFile;
use crate::link::{Context as Sockets, Inbound, LinkError, Pull, Router};
use crate::logs::Format;
use crate::os::epoll::PollError;
use crate::os::{clock, process};
use crate::supervision::{ChildId, End, Fact, Rollup, Supervisor};
use crate::time::{Span, Time};
use crate::wire::journal::{EndNote, Note};
use crate::wire::view::HoldView;
use slog::{Logger, error, info, warn};
use std::fs::File;
use std::io::Write;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

/// How many lines the explanation has that a root prints when it ends by itself.
const END_LINES: usize = 10;

/// The parts of a node that only the root has.
pub(super) struct Root {
    control: Router,
    history: History,
    file: TreeFile,
    /// The path by which the root was first started; after an upgrade, a link in it may lead to another executable.
    start_path: PathBuf,
    /// The pipe to the keeper, which writes the journal, if one is kept.
    journal: Option<Journal>,
    /// The holds, as they were last written to the journal.
    holds: Vec<HoldView>,
    /// Set from the end of the start to the end of the tree.
    keeper: Option<Keeper>,
    /// The service manager that has started the root and is sent the tree's health.
    service_manager: Option<Box<ServiceManager>>,
    /// The socket on which any message panics the first child.
    panic_socket: Option<PanicSocket>,
    /// Where to report once that the tree is up, if it was started in the background.
    ready: Option<File>,
    /// The lease of this host, where a host's agent has started the root.
    hosted: Option<Box<Hosted>>,
}

impl Root {
    pub(super) fn new(control: Router, file: TreeFile, journal: Option<Journal>, hosted: Option<Hosted>) -> Root {
        Root {
            control,
            history: History::new(),
            file,
            start_path: process::start_path(),
            journal,
            holds: Vec::new(),
            keeper: None,
            service_manager: None,
            panic_socket: None,
            ready: None,
            hosted: hosted.map(Box::new),
        }
    }

    // While the tree starts.

    pub(super) fn watch_control(&self, reactor: &mut Reactor) -> Result<(), PollError> {
        reactor.watch(self.control.fd(), Source::Control).map(drop)
    }

    pub(super) fn watch_lease(&self, reactor: &mut Reactor) -> Result<(), PollError> {
        self.hosted.as_ref().map_or(Ok(()), |hosted| hosted.watch(reactor))
    }

    /// Binds the socket on which any message panics the first child. Returns its descriptor.
    pub(super) fn bind_panic_socket(&mut self, sockets: &Sockets, endpoint: &str) -> Result<RawFd, LinkError> {
        let socket = Pull::bind(sockets, endpoint)?;
        let fd = socket.fd();
        self.panic_socket = Some(PanicSocket::Bound(socket));
        Ok(fd)
    }

    pub(super) fn take_keeper_on(&mut self, keeper: Keeper, reactor: &mut Reactor) -> Result<(), PollError> {
        self.keeper.insert(keeper).watch(reactor)
    }

    /// The tree runs from here on. With `ready` it was started in the background, and so is not the process that a
    /// service manager has started.
    pub(super) fn begin(&mut self, ready: Option<OwnedFd>, logger: &Logger) {
        self.service_manager = if ready.is_none() { ServiceManager::from_env(logger).map(Box::new) } else { None };
        self.ready = ready.map(File::from);
    }

    /// After an upgrade: replaces the keeper by one of the new version.
    pub(super) fn goes_on(&mut self, context: &Context, reactor: &mut Reactor) {
        let lines = self.journal.as_ref().map(Journal::ends);
        if self.keeper.as_mut().is_some_and(|keeper| keeper.hand_over(lines, context)) {
            self.take_new_keeper_on(context, reactor);
        }
    }

    /// Whether the keeper before still runs.
    pub(super) fn replaces_its_keeper(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::is_taking_over)
    }

    // Parts that the rest of the node uses.

    /// The operators' endpoint.
    pub(super) fn control(&mut self) -> &mut Router {
        &mut self.control
    }

    /// What tools use from outside: the operators' endpoint, and the description of the instance.
    pub(super) fn outside(&mut self) -> (&mut Router, &InstanceFile) {
        (&mut self.control, self.file.instance())
    }

    /// The history of events, and the endpoint on which followers are sent events.
    pub(super) fn events_out(&mut self) -> (&History, &mut Router) {
        (&self.history, &mut self.control)
    }

    pub(super) fn file(&self) -> &TreeFile {
        &self.file
    }

    pub(super) fn start_path(&self) -> &std::path::Path {
        &self.start_path
    }

    pub(super) fn file_mut(&mut self) -> &mut TreeFile {
        &mut self.file
    }

    // The turn of the loop.

    pub(super) fn has_input(&self) -> bool {
        self.control.has_input() || self.panic_socket.as_ref().is_some_and(PanicSocket::has_input)
    }

    pub(super) fn receive(&mut self) -> Option<Inbound> {
        self.control.receive()
    }

    /// Whether a message has come on the panic socket. After an upgrade it may have to be bound first.
    pub(super) fn is_to_panic(&mut self, context: &Context, sockets: &Sockets, reactor: &mut Reactor) -> bool {
        let Some(socket) = &mut self.panic_socket else { return false };
        socket.due(context.now(), sockets, &context.logger, reactor);
        socket.drain()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        [
            self.journal.as_ref().and_then(Journal::next_deadline),
            self.keeper.as_ref().and_then(Keeper::next_deadline),
            self.service_manager.as_ref().and_then(|manager| manager.next_deadline()),
            self.panic_socket.as_ref().and_then(PanicSocket::next_deadline),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// To be called once in every turn.
    pub(super) fn due(&mut self, now: Time, core: &Supervisor, context: &Context, reactor: &mut Reactor) {
        if let Some(manager) = &mut self.service_manager {
            manager.due(now, core, self.file.is_being_read());
        }
        if self.keeper.as_mut().is_some_and(|keeper| keeper.is_due(now)) {
            self.start_keeper_again(context, reactor);
        }
    }

    pub(super) fn lease(&mut self) -> Option<&mut Hosted> {
        self.hosted.as_deref_mut()
    }

    /// Passes events on, without waiting.
    pub(super) fn flush(&mut self, now: Time) {
        // The journal first: an event that a follower has seen is kept, even if this process is killed between the two.
        if let Some(journal) = &mut self.journal {
            journal.feed(now, &self.history);
        }
    }

    pub(super) fn events(&mut self, batch: EventBatch) {
        if let Some(manager) = &mut self.service_manager {
            manager.mark_changed();
        }
        self.history.push(batch);
    }

    /// The causes of the root's state, from the first one on, in a few lines: an operator may have nothing else to
    /// read.
    fn explanation(&self, root: &Path) -> Vec<String> {
        tell_short(&explain(&self.history.views(), root, &Present::Over(None)), END_LINES)
    }

    // The service manager, and the process that has started the tree in the background.

    pub(super) fn beat(&mut self, now: Time) {
        if let Some(manager) = &mut self.service_manager {
            manager.beat(now);
        }
    }

    pub(super) fn tree_is_up(&mut self, now: Time, core: &Supervisor) {
        if let Some(manager) = &mut self.service_manager {
            manager.tree_is_up(now, core);
        }
        if let Some(mut file) = self.ready.take() {
            // The process that started us may have exited; that is no reason to stop.
            let _ = writeln!(file, "up");
        }
    }

    pub(super) fn reloading(&mut self, now: Time) {
        if let Some(manager) = &mut self.service_manager {
            manager.reloading(now);
        }
    }

    /// Sends a watchdog message now, since the next step may take long.
    pub(super) fn feed(&mut self, now: Time) {
        if let Some(manager) = &mut self.service_manager {
            manager.feed(now);
        }
    }

    /// An upgrade of this process begins.
    pub(super) fn is_replaced(&mut self, now: Time) {
        if let Some(manager) = &mut self.service_manager {
            manager.is_replaced(now);
        }
    }

    pub(super) fn note(&mut self, fact: &Fact) {
        if let Some(manager) = &mut self.service_manager {
            manager.note(fact);
        }
    }

    pub(super) fn take_beat_of(&mut self, child: ChildId, rollup: &Rollup) {
        if let Some(manager) = &mut self.service_manager {
            manager.take_beat_of(child, rollup);
        }
    }

    // The keeper and the journal.

    pub(super) fn keeper_ended(&mut self, context: &Context, reactor: &mut Reactor) {
        if self.keeper.as_mut().is_some_and(|keeper| keeper.has_ended(context, reactor)) {
            self.start_keeper_again(context, reactor);
        }
    }

    fn start_keeper_again(&mut self, context: &Context, reactor: &mut Reactor) {
        let lines = self.journal.as_ref().map(Journal::ends);
        if self.keeper.as_mut().is_some_and(|keeper| keeper.start_again(lines, context)) {
            self.take_new_keeper_on(context, reactor);
        }
    }

    fn take_new_keeper_on(&mut self, context: &Context, reactor: &mut Reactor) {
        let Some(keeper) = &mut self.keeper else { return };
        self.file.set_keeper(keeper.pid());
        if let Err(error) = context.place.runtime.write_instance(self.file.instance()) {
            warn!(context.logger, "cannot write the new keeper into the instance file"; "error" => %error);
        }
        if let Err(error) = keeper.watch(reactor) {
            error!(context.logger, "cannot watch the keeper"; "error" => %error);
        }
        // The new keeper has not received the holds that its predecessor has.
        self.write_holds(context.now());
    }

    /// Writes the holds with which the tree begins, if it was `handed` any: the keeper does not know them yet, and a
    /// child that is gone is not to be held when it is back.
    pub(super) fn begin_holds(&mut self, now: Time, handed: bool, holds: Vec<HoldView>) {
        self.holds = holds;
        if handed {
            self.write_holds(now);
        }
    }

    /// Writes the holds to the journal, if they have changed.
    pub(super) fn keep_holds(&mut self, now: Time, holds: Vec<HoldView>) {
        if self.holds != holds {
            self.holds = holds;
            self.write_holds(now);
        }
    }

    fn write_holds(&mut self, now: Time) {
        if let Some(journal) = &mut self.journal {
            journal.note(&Note::Holds { at: clock::rfc3339_nanos(clock::wall()), holds: self.holds.clone() });
            // At once: what is reported as held, or as up, is so even if this process is killed right after.
            journal.feed(now, &self.history);
        }
    }

    // While the tree ends.

    /// Reports that the tree will not be up, to the process that waits for it.
    pub(super) fn end_waiting(&mut self) {
        if let Some(mut file) = self.ready.take() {
            let _ = writeln!(file, "failed the tree ended before it was up");
        }
    }

    /// Writes to the log and to stderr why the tree has ended by itself. Waits for a slow reader of the log at most for
    /// `patience`.
    pub(super) fn report_end(&self, end: End, context: &Context, patience: Span) {
        let end::Texts { log: Some(text), is_error, .. } = end::texts(end) else { return };
        if !is_error {
            info!(context.logger, "{}", text);
            return;
        }
        let why = self.explanation(&context.place.path);
        if context.place.log_format == Format::Json {
            error!(context.logger, "{}", text; "exit_code" => end.code(), "why" => slog::Serde(why));
            return;
        }
        error!(context.logger, "{}", text);
        // The explanation is worth the wait for a slow reader.
        context.log_handle.finish(patience);
        context.log_handle.say(format_args!("treevisor: {text} (exit code {})", end.code()));
        for line in why {
            context.log_handle.say(format_args!("  {line}"));
        }
    }

    /// The last report to a service manager.
    pub(super) fn end_service_manager(&mut self, end: End, context: &Context) {
        if self.service_manager.is_none() {
            return;
        }
        let first_cause = match end {
            End::GaveUp | End::StartFailed => self.explanation(&context.place.path).into_iter().next(),
            _ => None,
        };
        if let Some(manager) = &mut self.service_manager {
            manager.end(context.now(), end, first_cause);
        }
    }

    /// Begins to write the last lines of the journal.
    pub(super) fn begin_journal_end(&mut self, end: End) {
        let Some(journal) = &mut self.journal else { return };
        let at = clock::rfc3339_nanos(clock::wall());
        journal.begin_end(&last_notes(end, at, journal.run(), !self.holds.is_empty()));
    }

    /// Writes the rest of the journal. Returns whether all is in the pipe.
    pub(super) fn go_on_journal_end(&mut self, now: Time) -> bool {
        self.journal.as_mut().is_none_or(|journal| journal.go_on_ending(now, &self.history))
    }

    /// Announces that the tree has ended in order, does `meanwhile` while the keeper ends, and closes the operators'
    /// endpoint.
    pub(super) fn close(self, dismissal: Span, linger: Span, meanwhile: impl FnOnce()) {
        drop(self.journal);
        let keeper = self.keeper.map(Keeper::dismiss);
        meanwhile();
        keeper.into_iter().for_each(|keeper| keeper.wait(dismissal));
        self.control.close(linger);
    }
}

/// The last lines in the journal of a run with this end. `holds`: the journal has holds.
fn last_notes(end: End, at: String, run: &str, holds: bool) -> Vec<Note> {
    // An operator's stop ends all holds: the next start of the tree holds nothing.
    let released = (holds && end == End::Stopped).then(|| Note::Holds { at: at.clone(), holds: Vec::new() });
    // A tree that was terminated by a signal ends by that signal, and so has no exit code.
    let code = Some(end.code()).filter(|_| end != End::Terminated);
    let text = end::texts(end).journal.into();
    let ended = Note::End(EndNote { at, run: run.to_owned(), killed: false, code, signal: None, text });
    released.into_iter().chain([ended]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_end_with_a_tree_that_an_operator_stops_and_with_no_other() {
        let notes = |end, holds| last_notes(end, "2026-01-02T03:04:05.000000000Z".into(), "run", holds);
        for end in [End::Stopped, End::Terminated, End::GaveUp, End::StartFailed] {
            let held = notes(end, true);
            let (last, before) = held.split_last().unwrap();
            let Note::End(last) = last else { panic!("the end is the last line: {last:?}") };
            assert!(!last.killed && last.run == "run" && last.signal.is_none(), "{last:?}");
            assert_eq!(last.code.is_none(), end == End::Terminated, "{last:?}");
            match before {
                [] => assert_ne!(end, End::Stopped),
                [Note::Holds { holds, .. }] => assert!(end == End::Stopped && holds.is_empty()),
                other => panic!("{other:?}"),
            }
            assert_eq!(notes(end, false).len(), 1, "nothing was held");
        }
    }
}
