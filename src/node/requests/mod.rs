//! What operators ask: answered here, given to the core, or passed down to the node that can.
//!
//! Every request has a limit. A change that takes long is `Accepted` at once and again every second; a node below that
//! does not answer is shown as such, or passed over, and never waited for without bound.

mod gather;
mod status;

use self::gather::Gathered;
pub(super) use self::gather::Heard;
use self::status::{down_state, status_limit};
use super::above::Above;
use super::children::{Handle, What, group_path};
use super::history::Wanted;
use super::taps::{LogsPart, Wish};
use super::translate;
use super::turn::Node;
use crate::ids::Path;
use crate::link::Identity;
use crate::os::cgroup::Group;
use crate::os::descendants::stamp::Stamp;
use crate::os::descendants::{self, below};
use crate::os::{clock, pidfd, process, stuck};
use crate::spec::policy::Heartbeat;
use crate::spec::tree::{ChildSpec, SupervisorSpec, TreeSpec};
use crate::supervision::{Answer, ChildId, Command, Event, RequestId, Run, State, StopCause, StopReason};
use crate::time::{Span, Time};
use crate::wire::codec;
use crate::wire::message::{Outcome, Refusal, Reply, ToNode, Told, Verb};
use crate::wire::view::ChildView;
use slog::{info, warn};
use std::collections::{BTreeMap, HashSet};

/// A node below has this long for its first reply to a change; then the nearest one that answers acts in its place.
const CHANGE_BELOW: Span = Span::from_millis(300);

/// Progress of a request that is being carried out is sent this often.
const PROGRESS_EVERY: Span = Span::from_secs(1);

/// A node below that has accepted a request and then sends nothing for so long is gone.
const SILENCE_BELOW: Span = Span::from_secs(4);

/// What one look at a subtree that is killed past its node may take; then the loop goes on.
const PASS: Span = Span::from_millis(10);

/// Requests that may wait at one time.
const PENDING_MAX: usize = 1_024;

/// The receiver of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asker {
    /// An operator's tool at the control endpoint.
    Operator { to: Identity, request: u64 },
    /// Our parent, for a caller above.
    Parent { request: u64 },
    /// No receiver.
    Nobody,
}

enum Waits {
    /// For the core's answer.
    Core { what: String },
    /// For a node below, which was asked to change something.
    Below { run: Run, verb: Verb, path: Path, accepted: bool },
    /// For the parts of a status; the view is complete but for them.
    Gather { view: Box<ChildView>, missing: Vec<(Run, u64)> },
    /// For a part of another request's status.
    Part { of: u64 },
    /// For a subtree to be empty that was killed past a node that does not answer.
    Emptying { path: Path, hold: bool, since: Time },
    /// For the core and for child nodes, which all have a part in a change.
    Gathered(Box<Gathered>),
    /// For a child node to do its part of such a change.
    PartOfReload { of: u64, run: Run, by: String, verb: Box<Verb> },
    /// For our own end.
    OwnEnd,
}

struct Pending {
    asker: Asker,
    waits: Waits,
    /// When to do something about it.
    due: Time,
}

pub(super) struct Requests {
    next: u64,
    pending: BTreeMap<u64, Pending>,
}

impl Requests {
    pub fn new() -> Requests {
        Requests { next: 1, pending: BTreeMap::new() }
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// A number for a request without a receiver.
    pub fn without_asker(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn add(&mut self, asker: Asker, waits: Waits, due: Time) -> u64 {
        let number = self.without_asker();
        self.pending.insert(number, Pending { asker, waits, due });
        number
    }
}

/// What a path means to a node.
enum Target {
    /// The node itself.
    Own,
    /// A child of its own.
    Child(ChildId),
    /// Something below one of its child nodes.
    Below(ChildId),
    Nowhere,
}

impl Node {
    pub(super) fn request(&mut self, asker: Asker, within_ms: u64, by: String, verb: Verb) {
        if self.requests.pending.len() >= PENDING_MAX {
            self.reply(&asker, refused(Refusal::Full, "too many requests are waiting; try again".into()));
            return;
        }
        let path = match &verb {
            Verb::Ping => {
                self.reply(&asker, done(Outcome::Ok, String::new()));
                return;
            }
            Verb::Events { path, kinds, from, follow } => {
                let (wanted, from, follow) = (Wanted::new(path.clone(), kinds), *from, *follow);
                self.begin_events(asker, wanted, from, follow);
                return;
            }
            Verb::Logs { paths, lines, since_ms, follow } => {
                let wish = Wish { paths: paths.clone(), lines: *lines, since_ms: *since_ms, follow: *follow };
                self.begin_logs(asker, wish);
                return;
            }
            Verb::LogsSeen { request, replies } => {
                self.logs_seen(&asker, *request, *replies);
                return;
            }
            Verb::Unfollow { request } | Verb::StillFollowing { request } => {
                let (now, request) = (self.context.now(), *request);
                if let Verb::Unfollow { .. } = verb {
                    self.unfollow_logs(&asker, request);
                } else if self.logs_heard(&asker, request, 0) {
                    return;
                }
                let (Asker::Operator { to, .. }, Some(root)) = (&asker, self.above.root_mut()) else { return };
                let history = root.history();
                if let Verb::Unfollow { .. } = verb {
                    history.unfollow(to, request);
                } else if !history.still_following(now, to, request) {
                    // It was stopped, or its machine slept. Without a reply it would wait for events for ever.
                    let follower = Asker::Operator { to: to.clone(), request };
                    let message = "nothing was heard of this follower for ten seconds, so it was told nothing more";
                    self.reply(&follower, refused(Refusal::Forgotten, message.into()));
                }
                return;
            }
            Verb::Spec => {
                self.tell_spec(&asker);
                return;
            }
            Verb::Reload { .. } => {
                self.request_reload(asker, by, verb);
                return;
            }
            Verb::ReloadBelow { .. } => {
                self.request_reload_below(asker, by, verb);
                return;
            }
            Verb::Scale { path, count } => {
                let (path, count) = (path.clone(), *count);
                self.request_scale(asker, within_ms, by, path, count);
                return;
            }
            Verb::StartChild { path, .. }
            | Verb::RemoveChild { path }
            | Verb::Status { path }
            | Verb::Stop { path }
            | Verb::Restart { path }
            | Verb::Panic { path, .. }
            | Verb::Signal { path, .. }
            | Verb::Reset { path }
            | Verb::RestartChild { path }
            | Verb::DeleteChild { path } => path.clone(),
        };
        match self.target(&path) {
            Target::Nowhere => self.reply(&asker, no_such_path(&path)),
            Target::Own => self.request_own(asker, within_ms, by, verb),
            Target::Child(child) => self.request_child(asker, within_ms, by, verb, child),
            Target::Below(child) => self.request_below(asker, within_ms, by, verb, path, child),
        }
    }

    pub(super) fn refuse_stranger(&mut self, asker: Asker) {
        let message = "only root and the user that started the tree may do this".to_string();
        self.reply(&asker, refused(Refusal::NotAllowed, message));
    }

    fn target(&self, path: &Path) -> Target {
        if *path == self.context.place.path {
            return Target::Own;
        }
        let Some(step) = path.step_below(&self.context.place.path) else { return Target::Nowhere };
        let Some(child) = self.core.find(step) else { return Target::Nowhere };
        let Some(handle) = self.children.get(child) else { return Target::Nowhere };
        if handle.path == *path {
            return Target::Child(child);
        }
        match &handle.what {
            What::Node(below) if below.now().find(&handle.path, path).is_some() => Target::Below(child),
            What::Node(_) | What::Worker(_) => Target::Nowhere,
        }
    }

    fn request_own(&mut self, asker: Asker, within_ms: u64, by: String, verb: Verb) {
        let now = self.context.now();
        match verb {
            Verb::Status { .. } => {
                let view = ChildView::Supervisor(Box::new(self.own_view(now)));
                self.gather_status(asker, within_ms, view, None);
            }
            Verb::Stop { .. } => {
                self.ordered(StopCause::Operator(by), false);
                self.inbox.push_back(Event::Stop(StopReason::Asked));
                self.begin_own_end(asker, now);
            }
            Verb::Panic { .. } => {
                warn!(self.context.logger, "the whole tree is panicked by an operator");
                self.children.cleanups.hurry(now);
                self.ordered(StopCause::Operator(by), true);
                self.inbox.push_back(Event::StopNow);
                self.begin_own_end(asker, now);
            }
            Verb::StartChild { child, .. } => match serde_json::from_value::<ChildSpec>(child) {
                Ok(child) => self.add_child(asker, by, child),
                Err(error) => self.reply(&asker, refused(Refusal::NotUnderstood, format!("no child: {error}"))),
            },
            Verb::Reset { .. } => {
                info!(self.context.logger, "failures are forgotten"; "path" => %self.context.place.path, "by" => &by);
                let request = self.begin_change(asker, format!("{} is being reset", self.context.place.path));
                self.inbox.push_back(Event::Asked { request, command: Command::Reset(None), by });
            }
            Verb::Signal { .. } => {
                let message = format!("{} is a supervisor; signals go to workers", self.context.place.path);
                self.reply(&asker, refused(Refusal::NotAllowed, message));
            }
            Verb::RemoveChild { .. } | Verb::Restart { .. } | Verb::RestartChild { .. } | Verb::DeleteChild { .. } => {
                let message = "nothing stands above the root that could start it again; restart its children, or stop \
                               the tree and start it"
                    .to_string();
                self.reply(&asker, refused(Refusal::NotAllowed, message));
            }
            Verb::Ping
            | Verb::Events { .. }
            | Verb::Logs { .. }
            | Verb::LogsSeen { .. }
            | Verb::Unfollow { .. }
            | Verb::StillFollowing { .. }
            | Verb::Spec
            | Verb::Scale { .. }
            | Verb::Reload { .. }
            | Verb::ReloadBelow { .. } => {}
        }
    }

    fn begin_own_end(&mut self, asker: Asker, now: Time) {
        self.reply(&asker, accepted(format!("{} is ending", self.context.place.path)));
        self.requests.add(asker, Waits::OwnEnd, now + PROGRESS_EVERY);
    }

    fn request_child(&mut self, asker: Asker, within_ms: u64, by: String, verb: Verb, child: ChildId) {
        let now = self.context.now();
        let Some(handle) = self.children.get(child) else { return };
        let path = handle.path.clone();
        let (command, what) = match verb {
            Verb::Status { .. } => {
                let Some(view) = self.child_view(now, child) else { return };
                self.gather_status(asker, within_ms, view, Some(child));
                return;
            }
            Verb::Stop { .. } => (Command::Terminate(child), format!("{path} is stopping")),
            Verb::Restart { .. } => (Command::Cycle(child), format!("{path} is restarting")),
            Verb::RestartChild { .. } => (Command::Restart(child), format!("{path} is starting")),
            Verb::DeleteChild { .. } => (Command::Delete(child), format!("{path} is being removed")),
            Verb::Panic { hold, .. } => (Command::Panic { child, hold }, format!("{path} is being killed")),
            Verb::RemoveChild { .. } => return self.remove_child(asker, by, child),
            Verb::Signal { signal, .. } => return self.signal_child(&asker, &by, child, signal),
            Verb::Reset { .. } if handle.has_live_process() && handle.is_node() => {
                // Its own window is its own affair; how often it has failed is ours.
                let request = RequestId(self.requests.without_asker());
                self.inbox.push_back(Event::Asked { request, command: Command::Reset(Some(child)), by: by.clone() });
                return self.request_below(asker, within_ms, by, verb, path, child);
            }
            Verb::Reset { .. } => {
                info!(self.context.logger, "failures are forgotten"; "path" => %path, "by" => &by);
                (Command::Reset(Some(child)), format!("{path} is being reset"))
            }
            // Of a child node only the node itself can have another child.
            Verb::StartChild { .. } if handle.is_node() => {
                return self.request_below(asker, within_ms, by, verb, path, child);
            }
            Verb::StartChild { .. } => {
                let message = format!("{path} is a worker; children are added to a supervisor");
                return self.reply(&asker, refused(Refusal::NotAllowed, message));
            }
            Verb::Ping
            | Verb::Events { .. }
            | Verb::Logs { .. }
            | Verb::LogsSeen { .. }
            | Verb::Unfollow { .. }
            | Verb::StillFollowing { .. }
            | Verb::Spec
            | Verb::Scale { .. }
            | Verb::Reload { .. }
            | Verb::ReloadBelow { .. } => return,
        };
        let request = self.begin_change(asker, what);
        self.inbox.push_back(Event::Asked { request, command, by });
    }

    /// Sends a signal to the process of a worker, and to no other: what it has started is its own affair.
    fn signal_child(&mut self, asker: &Asker, by: &str, child: ChildId, signal: i32) {
        let Some(handle) = self.children.get(child) else { return };
        let path = &handle.path;
        let process = handle.process.as_ref().filter(|process| process.status.is_none());
        let reply = match process {
            _ if handle.is_node() => {
                let message = format!("{path} is a supervisor; signals go to workers");
                refused(Refusal::NotAllowed, message)
            }
            None => refused(Refusal::Down, format!("{path} has no process; `treevisor status {path}` shows its state")),
            Some(process) => match process.pidfd.signal_child(process.pid, signal) {
                Ok(()) => {
                    info!(self.context.logger, "a worker is sent a signal"; "path" => %path, "signal" => signal, "by" => by);
                    done(Outcome::Ok, String::new())
                }
                Err(error) if pidfd::is_gone(&error) => {
                    refused(Refusal::Down, format!("the process of {path} has just ended"))
                }
                Err(error) => {
                    let why = stuck::why_alive(process.pid, Some(error.raw_os_error().unwrap_or(0)));
                    let message = format!("process {} of {path} cannot be sent it: {why}", process.pid);
                    refused(Refusal::NotAllowed, message)
                }
            },
        };
        self.reply(asker, reply);
    }

    fn request_below(&mut self, asker: Asker, within_ms: u64, by: String, verb: Verb, path: Path, child: ChildId) {
        let now = self.context.now();
        let Some(handle) = self.children.get(child) else { return };
        let node_path = handle.path.clone();
        let running = handle.process.as_ref().filter(|process| process.status.is_none());
        let Some((run, identity)) = running.map(|process| (process.run, process.link.to().cloned())) else {
            if let Verb::Status { .. } = verb {
                // Nothing runs below a supervisor that is down, and that is the answer.
                let state = self.core.child(now, child).map_or(State::Stopped, |status| status.state);
                if let Some(view) = self.spec_view(&path, down_state(state)) {
                    self.reply_view(&asker, view);
                }
                return;
            }
            let released = self.release_below(child, &verb);
            let message = format!(
                "{node_path} is down, so there is nothing below it to ask; restart {node_path} first{released}"
            );
            self.reply(&asker, refused(Refusal::Down, message));
            return;
        };
        let status = matches!(verb, Verb::Status { .. });
        let levels = if status { self.levels() } else { 0 };
        let limit =
            if status { status_limit(within_ms, levels) } else { CHANGE_BELOW.min(Span::from_millis(within_ms)) };
        // A node that cannot answer gets no request.
        let patience = if status { self.patience_with(run, limit) } else { Some(limit) };
        let identity = identity.filter(|_| patience.is_some());
        let limit = patience.unwrap_or(limit);
        let below_ms = if status { status::status_below(limit, levels) } else { below(limit) };
        let waits = Waits::Below { run, verb: verb.clone(), path, accepted: false };
        let number = self.requests.add(asker, waits, now + limit);
        let sent = identity.is_some_and(|to| self.tell_node(&to, &ask_below(number, below_ms, by, verb)));
        if !sent && let Some(pending) = self.requests.pending.get_mut(&number) {
            // It has not introduced itself, or its queue is full: treated like one that does not answer.
            pending.due = now;
        }
    }

    // Another set of children.

    fn tell_spec(&mut self, asker: &Asker) {
        let reply = match self.own_tree().map(|(tree, config)| (serde_json::to_value(tree), config)) {
            Some((Ok(tree), config)) => Reply::Spec { tree, config },
            Some((Err(error), _)) => refused(Refusal::NotUnderstood, format!("the tree cannot be told: {error}")),
            None => refused(Refusal::NotAllowed, "only the root knows the whole tree".into()),
        };
        self.reply(asker, reply);
    }

    fn request_reload(&mut self, asker: Asker, by: String, verb: Verb) {
        let Verb::Reload { tree, prune, config } = verb else { return };
        if !self.above.is_root() {
            self.reply(&asker, refused(Refusal::NotAllowed, "only the root reloads the tree".into()));
            return;
        }
        let asked = match serde_json::from_value::<TreeSpec>(tree) {
            Ok(tree) => self
                .reload_root(asker.clone(), by, tree, prune, config)
                .map_err(|e| (Refusal::NotAllowed, e.to_string())),
            Err(error) => Err((Refusal::NotUnderstood, format!("the new tree was not understood: {error}"))),
        };
        if let Err((why, message)) = asked {
            self.reply(&asker, refused(why, message));
        }
    }

    fn request_reload_below(&mut self, asker: Asker, by: String, verb: Verb) {
        let Verb::ReloadBelow { spec, heartbeat, generation, prune, .. } = verb else { return };
        if !matches!(asker, Asker::Parent { .. }) {
            self.reply(&asker, refused(Refusal::NotAllowed, "only a supervisor tells this to its child".into()));
            return;
        }
        if self.was_heard(&asker) {
            return;
        }
        let parts = serde_json::from_value::<SupervisorSpec>(spec)
            .and_then(|spec| Ok((spec, serde_json::from_value::<Option<Heartbeat>>(heartbeat)?)));
        match parts {
            Ok((spec, uplink)) => self.begin_reload(asker, by, generation, spec, uplink, prune),
            Err(error) => {
                let message = format!("the new subtree was not understood: {error}");
                self.reply(&asker, refused(Refusal::NotUnderstood, message));
            }
        }
    }

    /// The path names workers by what they have in common, which is no child: the way goes to the supervisor above.
    fn request_scale(&mut self, asker: Asker, within_ms: u64, by: String, path: Path, count: u32) {
        let above = path.parent().unwrap_or_else(Path::root);
        match self.target(&above) {
            Target::Own if path.is_root() => self.reply(&asker, no_such_path(&path)),
            Target::Own => {
                if let Err((why, message)) = self.scale(asker.clone(), by, &path, count) {
                    self.reply(&asker, refused(why, message));
                }
            }
            Target::Child(child) | Target::Below(child) if self.children.get(child).is_some_and(Handle::is_node) => {
                self.request_below(asker, within_ms, by, Verb::Scale { path: path.clone(), count }, path, child);
            }
            Target::Child(_) | Target::Below(_) | Target::Nowhere => self.reply(&asker, no_such_path(&path)),
        }
    }

    // Events.

    fn begin_events(&mut self, asker: Asker, wanted: Wanted, from: Option<u64>, follow: bool) {
        let now = self.context.now();
        let known = self.path_is_known(&wanted.path);
        if !self.above.is_root() {
            return;
        }
        if !known {
            self.reply(&asker, no_such_path(&wanted.path));
            return;
        }
        let (Asker::Operator { to, request }, Some(root)) = (&asker, self.above.root_mut()) else { return };
        if !root.history().add_follower(now, (to.clone(), *request), wanted, from, follow) {
            self.reply(&asker, refused(Refusal::Busy, "too many tools follow the events already".into()));
        }
    }

    pub(super) fn path_is_known(&self, path: &Path) -> bool {
        !matches!(self.target(path), Target::Nowhere)
    }

    // Replies.

    pub(super) fn answered(&mut self, request: RequestId, answer: Answer) {
        self.incoming.remove(&request);
        let (outcome, detail) = translate::answer(answer);
        if self.core_has_done_its_part(request, outcome, detail.clone()) {
            return;
        }
        let Some(pending) = self.requests.pending.remove(&request.0) else { return };
        self.reply(&pending.asker, done(outcome, detail));
    }

    pub(super) fn reply_from_below(&mut self, run: Run, request: u64, reply: Reply) {
        let now = self.context.now();
        let reply = match reply {
            Reply::Logs { lines, lost, caught_up, silent } => {
                self.logs_from_below(run, request, LogsPart { lines, lost, caught_up, silent });
                return;
            }
            reply => reply,
        };
        let Some(pending) = self.requests.pending.get_mut(&request) else {
            // A node that refuses its lines counts as one that does not answer.
            self.logs_refused_below(request);
            return;
        };
        match (&mut pending.waits, reply) {
            (Waits::Part { of }, Reply::Subtree { subtree }) => {
                let of = *of;
                self.requests.pending.remove(&request);
                self.part_arrived(of, request, run, *subtree);
            }
            (Waits::Below { accepted, .. }, Reply::Accepted { waiting_for }) => {
                *accepted = true;
                pending.due = now + SILENCE_BELOW;
                let asker = pending.asker.clone();
                self.reply(&asker, Reply::Accepted { waiting_for });
            }
            (Waits::PartOfReload { .. }, reply) => self.part_answered(request, reply),
            (Waits::Below { .. }, Reply::Subtree { subtree }) => {
                let asker = pending.asker.clone();
                self.requests.pending.remove(&request);
                self.reply_view(&asker, *subtree);
            }
            (Waits::Below { .. }, reply) => {
                let asker = pending.asker.clone();
                self.requests.pending.remove(&request);
                self.reply(&asker, reply);
            }
            _ => {}
        }
    }

    /// A child node's process is gone: callers that wait for its reply wait no longer.
    pub(super) fn requests_lost_node(&mut self, gone: Run) {
        self.parts_lost_node(gone);
        self.logs_lost_node(gone);
        let lost: Vec<u64> = self
            .requests
            .pending
            .iter()
            .filter(|(_, pending)| matches!(&pending.waits, Waits::Below { run, .. } if *run == gone))
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            let Some(pending) = self.requests.pending.remove(&number) else { continue };
            let Waits::Below { path, verb, .. } = pending.waits else { continue };
            let reply = match verb {
                // What was to be stopped or killed is gone with its supervisor.
                Verb::Stop { .. } | Verb::Panic { hold: false, .. } => {
                    done(Outcome::Ok, format!("{path} is gone with the supervisor above it"))
                }
                verb => {
                    let released = self.release_below(gone.child, &verb);
                    refused(Refusal::Down, format!("the supervisor above {path} went down meanwhile{released}"))
                }
            };
            self.reply(&pending.asker, reply);
        }
        let gathers: Vec<u64> = self
            .requests
            .pending
            .iter_mut()
            .filter_map(|(number, pending)| match &mut pending.waits {
                Waits::Gather { missing, .. } => {
                    let before = missing.len();
                    missing.retain(|(run, _)| *run != gone);
                    (before > 0 && missing.is_empty()).then_some(*number)
                }
                _ => None,
            })
            .collect();
        for number in gathers {
            self.finish_gather(number);
        }
    }

    /// Handles the requests whose time has come.
    pub(super) fn requests_due(&mut self, now: Time) {
        if self.requests.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        let due: Vec<u64> =
            self.requests.pending.iter().filter(|(_, p)| p.due <= now).map(|(number, _)| *number).collect();
        for number in due {
            let Some(pending) = self.requests.pending.get_mut(&number) else { continue };
            match &mut pending.waits {
                Waits::Core { what } => {
                    let (asker, what) = (pending.asker.clone(), what.clone());
                    pending.due = now + PROGRESS_EVERY;
                    self.reply(&asker, accepted(what));
                }
                Waits::OwnEnd => {
                    let asker = pending.asker.clone();
                    pending.due = now + PROGRESS_EVERY;
                    self.reply(&asker, accepted(format!("{} is ending", self.context.place.path)));
                }
                Waits::Gathered(gathered) => {
                    let (asker, what) = (pending.asker.clone(), gathered.waiting_for());
                    pending.due = now + PROGRESS_EVERY;
                    self.reply(&asker, accepted(what));
                }
                Waits::PartOfReload { .. } => self.tell_part(number, now),
                Waits::Gather { .. } => self.finish_gather(number),
                Waits::Part { of } => {
                    let of = *of;
                    self.requests.pending.remove(&number);
                    self.part_is_late(of, number);
                }
                Waits::Below { .. } => self.below_is_silent(number, now),
                Waits::Emptying { .. } => self.go_on_emptying(number, now),
            }
        }
    }

    /// A node below did not answer in time.
    fn below_is_silent(&mut self, number: u64, now: Time) {
        let Some(pending) = self.requests.pending.remove(&number) else { return };
        let Waits::Below { run, verb, path, accepted: was_accepted } = pending.waits else { return };
        match verb {
            Verb::Status { .. } => {
                if let Some(view) = self.spec_view(&path, "unreachable") {
                    self.reply_view(&pending.asker, view);
                }
            }
            Verb::Panic { hold, .. } => {
                warn!(self.context.logger, "the supervisor above does not answer, the subtree is killed past it";
                    "path" => %path);
                self.reply(&pending.asker, accepted(format!("{path} is being killed past its supervisor")));
                let waits = Waits::Emptying { path, hold, since: now };
                let number = self.requests.add(pending.asker, waits, now);
                self.go_on_emptying(number, now);
            }
            verb => {
                let released = self.release_below(run.child, &verb);
                let word = if was_accepted { "no longer answers" } else { "does not answer" };
                let message = format!(
                    "the supervisor above {path} {word}; it is replaced when its beats are missed, or at once by \
                     `treevisor panic {}`{released}",
                    path.parent().unwrap_or_else(Path::root)
                );
                self.reply(&pending.asker, refused(Refusal::NoAnswer, message));
            }
        }
    }

    /// Kills a subtree past the nodes above it, until nothing of it is left.
    fn go_on_emptying(&mut self, number: u64, now: Time) {
        let Some(pending) = self.requests.pending.get(&number) else { return };
        let Waits::Emptying { path, hold, since } = &pending.waits else { return };
        let (path, hold, since) = (path.clone(), *hold, *since);
        let mut one = None;
        let in_group = match group_path(&self.context.place, &path).map(|at| Group::open(&at)) {
            Some(Ok(group)) if group.populated() => {
                let _ = group.kill();
                one = group.members().unwrap_or_default().into_iter().find(|pid| process::is_alive(*pid));
                true
            }
            Some(Ok(_)) | None => false,
            // No such group: the child has never been started.
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => false,
            Some(Err(_)) => true,
        };
        // Once the group is empty: what has left it, or where there is none, all of it.
        let mut refused_kill = None;
        let left = in_group || {
            let found = self.kill_below(&path);
            (one, refused_kill) = (found.some.first().copied(), found.refused);
            found.count > 0
        };
        if left && now.since(since) < SILENCE_BELOW {
            let pause = Span::from_millis(2).max(now.since(since).scaled(0.1));
            if let Some(pending) = self.requests.pending.get_mut(&number) {
                pending.due = now + pause;
            }
            return;
        }
        let Some(pending) = self.requests.pending.remove(&number) else { return };
        let reply = if left {
            let survivor = refused_kill.map(|(pid, errno)| (pid, Some(errno))).or(one.map(|pid| (pid, None)));
            let why = match survivor {
                Some((pid, errno)) => {
                    format!("process {pid} of {path} cannot be killed: {}", stuck::why_alive(pid, errno))
                }
                None => format!("whether anything of {path} is left cannot be seen"),
            };
            done(Outcome::KillFailed, why)
        } else if hold {
            let message = format!(
                "{path} was killed past its supervisor, which does not answer and so cannot be told to leave it down; \
                 hold the supervisor instead"
            );
            refused(Refusal::NoAnswer, message)
        } else {
            self.hooks.killed_past_its_node(&path, &self.children, &self.context, &mut self.reactor);
            done(Outcome::Ok, format!("the supervisor above {path} does not answer; it was killed past it"))
        };
        self.reply(&pending.asker, reply);
    }

    /// Kills what belongs to a path below one of our child nodes, past the nodes above it; what there was. It is all
    /// below that node's process: what is left when it exits is adopted by us, and cleaned up with it.
    fn kill_below(&self, path: &Path) -> descendants::Left {
        let child = self.children.towards(path);
        let Some((handle, process)) = child.and_then(|(_, handle)| Some((handle, handle.process.as_ref()?))) else {
            return descendants::Left::default();
        };
        let What::Node(below) = &handle.what else { return descendants::Left::default() };
        let mark = &self.context.place.mark;
        let mut stamps = HashSet::from([Stamp::of_child(mark, path)]);
        below.now().for_each_supervisor(&handle.path, &mut |at, spec| {
            let children =
                spec.children.iter().map(|child| at.child(&child.name)).filter(|child| child.is_within(path));
            stamps.extend(children.map(|child| Stamp::of_child(mark, &child)));
        });
        let cleared =
            below::clear_below(process.pid, PASS, |pid| match Stamp::read(pid).filter(|stamp| stamp.is_of(mark)) {
                Some(stamp) => stamps.contains(&stamp),
                // It has set that limit itself.
                None => descendants::is_marked(pid, mark, path),
            });
        let mut left = cleared.left.get(&0).cloned().unwrap_or_default();
        left.count = cleared.count();
        left
    }

    /// What of our children could not be killed, by path, process and reason.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let children = self.core.children(self.context.now());
        let lost = children.iter().filter_map(|child| Some((self.children.get(child.id)?, child.stuck.as_ref()?)));
        lost.map(|(handle, stuck)| format!("{}: {stuck}", handle.path)).collect()
    }

    /// This node ends: callers that wait get a reply.
    pub(super) fn finish_requests(&mut self) {
        let numbers: Vec<u64> = self.requests.pending.keys().copied().collect();
        for number in numbers {
            let Some(pending) = self.requests.pending.remove(&number) else { continue };
            let reply = match pending.waits {
                Waits::OwnEnd => match self.left_behind() {
                    left if left.is_empty() => done(Outcome::Ok, String::new()),
                    left => done(Outcome::KillFailed, format!("the tree has ended without {}", left.join("; "))),
                },
                Waits::Part { .. } | Waits::PartOfReload { .. } => continue,
                _ => done(Outcome::Overtaken, format!("{} has ended", self.context.place.path)),
            };
            self.reply(&pending.asker, reply);
        }
    }

    pub(super) fn reply(&mut self, asker: &Asker, reply: Reply) {
        // A caller that gets the reply is to find it done.
        self.tell_children();
        match (asker, &mut self.above) {
            (Asker::Operator { to, request }, Above::Operators(root)) => {
                let frames = codec::encode_told(&Told { request: *request, reply });
                let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                // An asker that is gone or does not read has lost its reply.
                let _ = root.control().send(to, &frames);
            }
            (Asker::Parent { request }, Above::Parent(uplink)) => uplink.reply(*request, reply),
            (Asker::Operator { .. } | Asker::Parent { .. } | Asker::Nobody, _) => {}
        }
    }
}

/// What a node below may take of a limit, in milliseconds: its reply has a way to go.
fn below(limit: Span) -> u64 {
    limit.as_millis().saturating_sub(50).max(20)
}

/// A request for a node below, void as soon as we no longer wait for it.
pub(super) fn ask_below(request: u64, within_ms: u64, by: String, verb: Verb) -> ToNode {
    ToNode::Request { request, within_ms, void_after_ms: clock::machine_millis() + within_ms, by, verb }
}

fn accepted(waiting_for: String) -> Reply {
    Reply::Accepted { waiting_for }
}

fn done(outcome: Outcome, detail: String) -> Reply {
    Reply::Done { outcome, detail }
}

pub(super) fn refused(why: Refusal, message: String) -> Reply {
    Reply::Refused { why, message }
}

pub(super) fn no_such_path(path: &Path) -> Reply {
    refused(Refusal::NoSuchPath, format!("there is no {path} in this tree; `treevisor status` shows what there is"))
}
