//! A conversation with the root of an instance: one question, its replies, each within a limit.

use super::find::is_running;
use crate::ids::Path;
use crate::instance::runtime::RuntimeDir;
use crate::link::{Context, Dealer, Identity, LinkError, RouterLimits, Waited};
use crate::os::clock::{self, Clock};
use crate::os::lock;
use crate::time::{Span, Time};
use crate::wire::codec;
use crate::wire::message::{Ask, Outcome, Refusal, Reply, Told, Verb};
use crate::wire::view::EventView;
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};
use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

/// How often a wait is interrupted to see whether the instance is still there. A tool that waits may turn a few times
/// a second; a node may not.
const LOOK_EVERY: Span = Span::from_millis(200);

/// Without a reply for so long the same is asked again: the request or the reply may be lost, and the root does not do
/// it twice.
const AGAIN: Span = Span::from_secs(1);

/// As much after it has been accepted: from then on a reply comes every second.
const AGAIN_WHEN_ACCEPTED: Span = Span::from_secs(2);

/// A root that has too many requests is asked again after this.
const FULL: Span = Span::from_millis(50);

/// A follower reports that it is there this often; the root forgets it after ten seconds.
pub(super) const STILL_THERE_EVERY: Span = Span::from_secs(3);

/// How long the last messages of a root that has ended may take from the kernel to us.
const LAST_REPLY_WITHIN: Span = Span::from_millis(100);

/// How long something may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the first reply, and between one and the next: a root reports every second that it is still at work.
    pub first: Span,
    /// Until the last one.
    pub overall: Span,
}

/// Which events are to be read.
#[derive(Debug, Clone)]
pub struct EventsWanted {
    /// Where: at this path or below it.
    pub path: Path,
    /// Of these kinds; of all when it is empty.
    pub kinds: Vec<String>,
    /// None before this number: the [`EventsRead::next`] of an earlier reading of the same run.
    pub from: Option<u64>,
    /// Go on with those to come, until the instance ends.
    pub follow: bool,
}

/// Some events, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsRead {
    /// The events.
    pub events: Vec<EventView>,
    /// So many were lost before these: the reader was too slow.
    pub lost: u64,
    /// So many of this run the root did not have any more; the journal may have them.
    pub forgotten: u64,
    /// What follows happens after the question was asked.
    pub caught_up: bool,
    /// Number of the event after these, counted from the beginning of the run.
    pub next: u64,
}

/// A conversation.
#[derive(Debug)]
pub struct Session {
    runtime: RuntimeDir,
    /// The root's process, as far as it was written down.
    root: Option<u32>,
    /// Stands before the context: libzmq waits for its sockets when the context is dropped.
    dealer: Dealer,
    _context: Context,
    clock: Clock,
    last_request: u64,
    via: Option<String>,
    incarnation: Option<u64>,
    /// What was asked and has no last reply yet.
    unanswered: HashMap<u64, Unanswered>,
    /// Where the answers are written to, when they are not worth waiting for without a reader.
    output: Option<OwnedFd>,
}

/// A request without a last reply.
#[derive(Debug)]
struct Unanswered {
    /// As it was sent.
    frames: Vec<Vec<u8>>,
    /// How long the next reply may take.
    within: Span,
    /// When it is sent again, and until when that is done.
    again: Time,
    until: Time,
}

impl Session {
    /// Connects to the root of the instance in `runtime`. Whether it answers is seen with the first question.
    ///
    /// # Errors
    /// [`AskError::Link`].
    pub fn connect(runtime: &RuntimeDir) -> Result<Session, AskError> {
        let context = Context::new().map_err(AskError::Link)?;
        let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
        // By it the root recognizes what is asked again.
        let own = Identity::drawn().map_err(|cause| AskError::Link(LinkError::Context { cause }))?;
        let dealer = Dealer::connect_and_report(&context, &runtime.control_socket(), own.as_bytes(), limits);
        let dealer = dealer.map_err(AskError::Link)?;
        Ok(Session {
            runtime: runtime.clone(),
            root: runtime.read_instance().ok().map(|instance| instance.pid),
            dealer,
            _context: context,
            clock: Clock::start(),
            last_request: 0,
            via: None,
            incarnation: None,
            unanswered: HashMap::new(),
            output: None,
        })
    }

    /// Sets on whose behalf all is asked from now on: at most [`Ask::VIA_MAX`] printable characters, which the events
    /// that follow from it name beside this process.
    pub fn on_behalf_of(&mut self, via: Option<String>) {
        self.via = via;
    }

    /// What is asked from now on is meant for this incarnation of its child alone.
    pub fn means(&mut self, incarnation: u64) {
        self.incarnation = Some(incarnation);
    }

    /// Ends every wait from now on when `output` has no reader any more: a tool that follows something quiet would
    /// otherwise outlive its reader until it has the next thing to write.
    pub fn ends_with_reader_of(&mut self, output: OwnedFd) {
        self.output = Some(output);
    }

    /// Asks for one thing and waits for its last reply. `progress` gets what is being waited for, and for how long
    /// already, whenever the root reports it.
    ///
    /// # Errors
    /// Every [`AskError`] but those of the tool itself.
    pub fn ask(&mut self, verb: Verb, limits: Limits, progress: &mut dyn FnMut(&str, Span)) -> Result<Reply, AskError> {
        self.ask_through(verb, limits, &mut |reply, since| progress(reply.waits_for().unwrap_or_default(), since))
    }

    /// The same, with the whole of each reply before the last one.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn ask_through(
        &mut self,
        verb: Verb,
        limits: Limits,
        each: &mut dyn FnMut(&Reply, Span),
    ) -> Result<Reply, AskError> {
        let begun = self.clock.now();
        let request = self.send(verb, limits.first)?;
        let overall = begun + limits.overall;
        let mut silent_at = overall.min(begun + limits.first);
        let mut waiting_for: Option<String> = None;
        loop {
            match self.next_reply(request, silent_at)? {
                Some(Reply::Refused { why, message }) => return Err(AskError::Refused { why, message }),
                Some(reply) => {
                    let Some(what) = reply.waits_for().map(str::to_owned) else { return Ok(reply) };
                    silent_at = overall.min(self.clock.now() + limits.first);
                    each(&reply, self.clock.now().since(begun));
                    waiting_for = Some(what);
                }
                None => {
                    return Err(match waiting_for {
                        None => AskError::NoAnswer { limit: self.clock.now().since(begun) },
                        Some(what) if self.clock.now() >= overall => {
                            AskError::NotDone { waiting_for: what, limit: limits.overall }
                        }
                        Some(what) => AskError::FellSilent { waiting_for: what },
                    });
                }
            }
        }
    }

    /// Reads the events that are wanted. `each` gets them oldest first, and may end it.
    ///
    /// A follower returns when the instance has ended. One that was stopped for so long that the root has forgotten it
    /// goes on where it was, and gets the number of events that it has lost.
    ///
    /// # Errors
    /// Every [`AskError`] but those of the tool itself.
    pub fn events(
        &mut self,
        wanted: &EventsWanted,
        first: Span,
        each: &mut dyn FnMut(EventsRead) -> ControlFlow<()>,
    ) -> Result<(), AskError> {
        let follow = wanted.follow;
        // A tree in which nothing happens sends a follower nothing, so whether the root answers must be found out
        // another way.
        if follow {
            self.ask(Verb::Ping, Limits { first, overall: first }, &mut |_, _| {})?;
        }
        let ask = |from| Verb::Events { path: wanted.path.clone(), kinds: wanted.kinds.clone(), from, follow };
        let mut request = self.send(ask(wanted.from), first)?;
        let mut next_number = wanted.from;
        let begun = self.clock.now();
        let mut silent_at = begun + first;
        let mut told = begun;
        loop {
            let now = self.clock.now();
            if follow && now.since(told) >= STILL_THERE_EVERY {
                // A full queue means a root that does not read now; the next turn tries again.
                let _ = self.send(Verb::StillFollowing { request }, first);
                told = now;
            }
            let until = if follow { now + STILL_THERE_EVERY } else { silent_at };
            match self.next_reply(request, until) {
                Ok(Some(Reply::Events { events, lost, end, forgotten, caught_up, next })) => {
                    silent_at = self.clock.now() + first;
                    next_number = Some(next);
                    if each(EventsRead { events, lost, forgotten, caught_up, next }).is_break() {
                        if follow {
                            let _ = self.send(Verb::Unfollow { request }, first);
                        }
                        return Ok(());
                    }
                    if end {
                        return Ok(());
                    }
                }
                Ok(Some(Reply::Refused { why: Refusal::Forgotten, .. })) if follow => {
                    request = self.send(ask(next_number), first)?;
                }
                Ok(Some(Reply::Refused { why, message })) => return Err(AskError::Refused { why, message }),
                Ok(Some(_)) => return Err(AskError::something_else()),
                Ok(None) if follow => {}
                Ok(None) => return Err(AskError::NoAnswer { limit: self.clock.now().since(begun) }),
                Err(AskError::Gone) if follow => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until no process holds the instance's lock any more, at most `limit`, and returns whether that came.
    ///
    /// A root answers before it has put everything away; a start of the instance right after must not meet it.
    pub fn wait_gone(&self, limit: Span) -> bool {
        let end = self.clock.now() + limit;
        while lock::is_held(&self.runtime.lock_file()) || self.is_swept() {
            if self.clock.now() >= end {
                return false;
            }
            clock::pause(Span::from_millis(2));
        }
        true
    }

    /// Whether the root that this conversation began with has exited, and another one may answer in its place.
    pub fn root_has_exited(&self) -> bool {
        self.root.is_some_and(|root| !crate::os::process::is_alive(root))
    }

    /// The files of the instance are gone, but its root is not: it is about to put them back.
    fn is_swept(&self) -> bool {
        let missing = self.runtime.lock_file().symlink_metadata().is_err();
        missing && self.root.is_some_and(crate::os::process::is_alive)
    }

    /// The time of this conversation.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(super) fn send(&mut self, verb: Verb, within: Span) -> Result<u64, AskError> {
        self.last_request += 1;
        let is_answered = !matches!(verb, Verb::StillFollowing { .. } | Verb::Unfollow { .. } | Verb::LogsSeen { .. });
        let (via, incarnation) = (self.via.clone(), self.incarnation);
        let ask = Ask { request: self.last_request, within_ms: within.as_millis(), verb, via, incarnation };
        let frames = codec::encode_ask(&ask);
        if !send(&mut self.dealer, &frames) {
            return Err(AskError::NoAnswer { limit: Span::ZERO });
        }
        if is_answered {
            let now = self.clock.now();
            let waits = Unanswered { frames, within, again: now + AGAIN, until: now + within };
            self.unanswered.insert(ask.request, waits);
        }
        Ok(ask.request)
    }

    /// Sends a request once more that the root has not taken, for it had too many; returns whether that was so, and
    /// there is time left.
    fn sent_again(&mut self, told: &Told) -> bool {
        let Some(mut waits) = self.unanswered.remove(&told.request) else { return false };
        let now = self.clock.now();
        let full = match told.reply {
            _ if told.reply.waits_for().is_some() => {
                (waits.again, waits.until) = (now + AGAIN_WHEN_ACCEPTED, now + waits.within);
                self.unanswered.insert(told.request, waits);
                return false;
            }
            Reply::Refused { why, .. } => why == Refusal::Full,
            _ => false,
        };
        if !full || now + FULL >= waits.until {
            return false;
        }
        clock::pause(FULL);
        let sent = send(&mut self.dealer, &waits.frames);
        waits.again = now + AGAIN;
        self.unanswered.insert(told.request, waits);
        sent
    }

    /// Asks again, unchanged, what has had no reply for a while, or all when the connection was made again: a root that
    /// was replaced may have replied before it stood.
    fn ask_again(&mut self, reconnected: bool) {
        let now = self.clock.now();
        self.unanswered.retain(|_, waits| waits.until > now);
        for waits in self.unanswered.values_mut().filter(|waits| reconnected || waits.again <= now) {
            // A full queue means a root that does not read now.
            send(&mut self.dealer, &waits.frames);
            waits.again = now + AGAIN;
        }
    }

    /// The next reply to `request`; `None` when none has come by `until`.
    pub(super) fn next_reply(&mut self, request: u64, until: Time) -> Result<Option<Reply>, AskError> {
        Ok(self.next_reply_among(|number| number == request, until)?.map(|(_, reply)| reply))
    }

    /// The next reply to one of several requests, and its number; `None` when none has come by `until`.
    pub(super) fn next_reply_among(
        &mut self,
        wanted: impl Fn(u64) -> bool,
        until: Time,
    ) -> Result<Option<(u64, Reply)>, AskError> {
        loop {
            // Looked at before the queue is, so that a root's last message is not missed.
            let there = is_running(&self.runtime) || self.is_swept();
            while let Some(frames) = self.dealer.receive() {
                let told = codec::decode_told(&frames).map_err(|error| AskError::NotUnderstood(error.to_string()))?;
                if !self.sent_again(&told) && wanted(told.request) {
                    return Ok(Some((told.request, told.reply)));
                }
            }
            if !there {
                // It closes its sockets before it lets go of the lock, so its last messages are here, if not yet
                // through libzmq's thread.
                if self.dealer.wait_input(LAST_REPLY_WITHIN.as_duration()) {
                    continue;
                }
                return Err(AskError::Gone);
            }
            let now = self.clock.now();
            if now >= until {
                return Ok(None);
            }
            self.ask_again(false);
            let limit = until.since(now).min(LOOK_EVERY).as_duration();
            match self.dealer.wait(self.output.as_ref().map(AsFd::as_fd), limit) {
                Waited::Reconnected => self.ask_again(true),
                Waited::OutputClosed => return Err(AskError::ReaderLeft),
                Waited::Input | Waited::Nothing => {}
            }
        }
    }
}

fn send(dealer: &mut Dealer, frames: &[Vec<u8>]) -> bool {
    dealer.send(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum AskError {
    /// There is no way to the root.
    Link(LinkError),
    /// The instance has ended.
    Gone,
    /// The root has not answered.
    NoAnswer {
        /// For so long.
        limit: Span,
    },
    /// The root began to do it, and then sent nothing more.
    FellSilent {
        /// What it was doing.
        waiting_for: String,
    },
    /// It takes longer than the tool was to wait. It goes on all the same.
    NotDone {
        /// What is being done.
        waiting_for: String,
        /// How long was waited.
        limit: Span,
    },
    /// The root will not or cannot.
    Refused {
        /// Why, for programs.
        why: Refusal,
        /// Why, for people.
        message: String,
    },
    /// It was done with another end than asked for.
    Failed {
        /// Which.
        outcome: Outcome,
        /// More in words; may be empty.
        detail: String,
    },
    /// The output has no reader any more.
    ReaderLeft,
    /// The root has another version of the protocol.
    NotUnderstood(String),
}

impl AskError {
    /// A reply has come that does not belong to what was asked.
    pub fn something_else() -> AskError {
        AskError::NotUnderstood("an answer to something else".into())
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Link(_) => f.write_str("cannot reach the root"),
            AskError::Gone => f.write_str("the instance has ended"),
            AskError::NoAnswer { limit } => write!(f, "the root does not answer, after {}", limit.coarse()),
            AskError::FellSilent { waiting_for } => {
                write!(f, "the root stopped responding; its last message: {waiting_for}")
            }
            AskError::NotDone { waiting_for, limit } => write!(f, "not done after {}: {waiting_for}", limit.coarse()),
            AskError::Refused { message, .. } => f.write_str(message),
            AskError::Failed { outcome, detail } => {
                let word = match outcome {
                    Outcome::Ok => "it is done",
                    Outcome::Running => "it runs already",
                    Outcome::Restarting => "it is being restarted",
                    Outcome::NotFound => "there is no such child",
                    Outcome::AlreadyPresent => "a child of that name is there already",
                    Outcome::AlreadyStarted => "a child of that name runs already",
                    Outcome::KillFailed => "it could not be killed",
                    Outcome::StartFailed => "it could not be started",
                    Outcome::RolloutStopped => "a copy did not come up",
                    Outcome::Overtaken => "something stronger came between",
                };
                if detail.is_empty() { f.write_str(word) } else { write!(f, "{word}: {detail}") }
            }
            AskError::ReaderLeft => f.write_str("the output is closed"),
            AskError::NotUnderstood(what) => write!(f, "the root's answer was not understood: {what}"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AskError::Link(cause) => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
