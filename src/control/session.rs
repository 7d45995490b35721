//! A session with the root of an instance: requests and their replies, each with a time limit.

use super::find::is_running;
use crate::ids::Path;
use crate::instance::runtime::RuntimeDir;
use crate::link::{Context, Dealer, Identity, LinkError, RouterLimits, Waited};
use crate::os::clock::{self, Clock};
use crate::os::lock;
use crate::time::{Span, Time};
use crate::wire::codec;
use crate::wire::message::{Ask, Meant, Refusal, Reply, RootReply, Verb};
use crate::wire::view::{EventView, StatusView};
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

mod error;
mod forwarded;

pub use error::AskError;
use forwarded::Forwarded;

/// How often a wait is interrupted to check whether the instance still runs. A waiting tool may poll a few times a
/// second; a node must not.
const LOOK_EVERY: Span = Span::from_millis(200);

/// A request without a reply is sent again after this time, as the request or the reply may be lost. The root
/// recognizes it and does not carry it out twice.
const AGAIN: Span = Span::from_secs(1);

/// The same for a request that has been accepted: from then on a reply comes every second.
const AGAIN_WHEN_ACCEPTED: Span = Span::from_secs(2);

/// A request that the root refused because it had too many is sent again after this time.
const FULL: Span = Span::from_millis(50);

/// How often a follower sends `StillFollowing`; the root forgets it after ten seconds without.
pub(super) const STILL_THERE_EVERY: Span = Span::from_secs(3);

/// How long the last messages of a root that has ended may take through libzmq's thread.
const LAST_REPLY_WITHIN: Span = Span::from_millis(100);

/// Time limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the first reply, and between one and the next: a root reports every second that it is still at work.
    pub first: Span,
    /// Until the last reply.
    pub overall: Span,
}

/// Which events are to be read.
#[derive(Debug, Clone)]
pub struct EventsWanted {
    /// Events at this path or below it.
    pub path: Path,
    /// Events of these kinds; events of all kinds if empty.
    pub kinds: Vec<String>,
    /// Events from this number on: the [`EventsRead::next`] of an earlier reading of the same run.
    pub from: Option<u64>,
    /// Go on with those to come, until the instance ends.
    pub follow: bool,
}

/// Some events, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsRead {
    /// Oldest first.
    pub events: Vec<EventView>,
    /// How many events were lost before these because the reader was too slow.
    pub lost: u64,
    /// How many events of this run the root no longer has in memory; the journal may have them.
    pub forgotten: u64,
    /// Further events happened after the request arrived.
    pub caught_up: bool,
    /// Number of the event after these, counted from the beginning of the run.
    pub next: u64,
}

/// A session with the root of an instance.
#[derive(Debug)]
pub struct Session {
    runtime: RuntimeDir,
    /// The root's process id, if the instance's file could be read.
    root: Option<u32>,
    /// Set if the root runs on another host.
    forwarded: Option<Forwarded>,
    /// Declared before the context, to be dropped first: dropping the context waits until all its sockets are closed.
    dealer: Dealer,
    _context: Context,
    clock: Clock,
    last_request: u64,
    via: Option<String>,
    meant: Option<Meant>,
    /// Requests without a last reply, by number.
    unanswered: HashMap<u64, Unanswered>,
    /// How often the socket has reconnected.
    reconnections: u64,
    /// The output whose reader is watched, see [`Session::ends_with_reader_of`].
    output: Option<OwnedFd>,
}

/// A request without a last reply.
#[derive(Debug)]
struct Unanswered {
    /// The request as it was sent.
    frames: Vec<Vec<u8>>,
    /// How long the next reply may take.
    within: Span,
    /// When it is sent again, and the end of these attempts.
    again: Time,
    until: Time,
}

impl Session {
    /// Connects to the root of the instance in `runtime`. Only the first request shows whether the root answers.
    ///
    /// # Errors
    /// [`AskError::Link`], and [`AskError::Runtime`] if another user may have put the instance there.
    pub fn connect(runtime: &RuntimeDir) -> Result<Session, AskError> {
        runtime.check_found().map_err(AskError::Runtime)?;
        let context = Context::of_tool().map_err(AskError::Link)?;
        let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
        // By this identity the root recognizes requests that are sent again.
        let own = Identity::drawn().map_err(|cause| AskError::Link(LinkError::Context { cause }))?;
        let dealer = Dealer::connect_and_report(&context, &runtime.control_socket(), own.as_bytes(), limits);
        let dealer = dealer.map_err(AskError::Link)?;
        Ok(Session {
            runtime: runtime.clone(),
            root: runtime.read_instance().ok().map(|instance| instance.pid),
            forwarded: Forwarded::of(runtime),
            dealer,
            _context: context,
            clock: Clock::start(),
            last_request: 0,
            via: None,
            meant: None,
            unanswered: HashMap::new(),
            reconnections: 0,
            output: None,
        })
    }

    /// Sets on whose behalf further requests are made: at most [`Ask::VIA_MAX`] printable characters. Events that the
    /// requests cause name it beside this process.
    pub fn on_behalf_of(&mut self, via: Option<String>) {
        self.via = via;
    }

    /// Restricts further requests to this process of their child; they are refused for another.
    pub fn means(&mut self, meant: Meant) {
        self.meant = Some(meant);
    }

    /// From now on every wait ends when `output` has no reader any more. Otherwise a tool that follows a quiet tree
    /// would notice only at its next write that its reader is gone.
    pub fn ends_with_reader_of(&mut self, output: OwnedFd) {
        self.output = Some(output);
    }

    /// Sends one request and waits for its last reply. `progress` is called whenever the root reports what the request
    /// waits for, with that text and the time since the request.
    ///
    /// # Errors
    /// Every [`AskError`] but those of the tool itself.
    pub fn ask(&mut self, verb: Verb, limits: Limits, progress: &mut dyn FnMut(&str, Span)) -> Result<Reply, AskError> {
        self.ask_through(verb, limits, &mut |reply, since| progress(reply.waits_for().unwrap_or_default(), since))
    }

    /// As [`Session::ask`], but `each` is given every reply before the last one.
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

    /// The state of the tree at and below `path`.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn status(&mut self, path: &Path, limit: Span) -> Result<StatusView, AskError> {
        let limits = Limits { first: limit, overall: limit };
        match self.ask(Verb::status(path.clone()), limits, &mut |_, _| {})? {
            Reply::Status { status } => Ok(*status),
            _ => Err(AskError::something_else()),
        }
    }

    /// Reads the wanted events, oldest first. `each` can stop the reading.
    ///
    /// With `follow` it returns when the instance has ended, also if another root runs in its place already. If this
    /// process was suspended for so long that the root has forgotten it, the reading continues where it was, with the
    /// number of lost events.
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
        // A quiet tree sends a follower nothing, so a `Ping` is needed to check that the root answers.
        if follow {
            self.ask(Verb::Ping, Limits { first, overall: first }, &mut |_, _| {})?;
        }
        let ask = |from| Verb::Events { path: wanted.path.clone(), kinds: wanted.kinds.clone(), from, follow };
        let mut request = self.send(ask(wanted.from), first)?;
        let mut next_number = wanted.from;
        let begun = self.clock.now();
        let mut silent_at = begun + first;
        let mut told = begun;
        let mut reconnections = self.reconnections;
        loop {
            let now = self.clock.now();
            if follow && now.since(told) >= STILL_THERE_EVERY {
                // A full queue means a root that does not read now; the next turn tries again.
                let _ = self.send(Verb::StillFollowing { request }, first);
                told = now;
            }
            let reply = self.next_followed(request, now + LOOK_EVERY);
            if self.reconnections != reconnections
                && !matches!(reply, Err(AskError::Gone | AskError::Cut | AskError::ReaderLeft))
                && !self.root_has_exited()
            {
                // Replies to this request may have been lost with the old connection, and a reply that came over the
                // new one may follow them. So the events are requested again, from the end of the last reply.
                reconnections = self.reconnections;
                self.unanswered.remove(&request);
                let _ = self.send(Verb::Unfollow { request }, first);
                request = self.send(ask(next_number), first)?;
                continue;
            }
            match reply {
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
                Ok(None) if follow || self.clock.now() < silent_at => {}
                Ok(None) => return Err(AskError::NoAnswer { limit: self.clock.now().since(begun) }),
                Err(AskError::Gone) if follow => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits, at most `limit`, until no process holds the instance's lock any more, and returns whether that is so.
    ///
    /// A root answers before it has removed all its files. A start of the instance directly after the answer must not
    /// find it still running.
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

    /// Whether the root that this session connected to has exited; another root may answer in its place then.
    pub fn root_has_exited(&self) -> bool {
        self.root.is_some_and(|root| !crate::os::process::is_alive(root))
    }

    /// Whether the root has ended and another one runs in its place. A request is for the run that it was sent to: a
    /// path or an incarnation may mean something else in this one.
    fn is_replaced(&self) -> bool {
        self.root_has_exited() && self.runtime.read_instance().is_ok_and(|instance| Some(instance.pid) != self.root)
    }

    /// Whether the files of the instance were removed although its root runs; the root is about to create them again.
    fn is_swept(&self) -> bool {
        let missing = self.runtime.lock_file().symlink_metadata().is_err();
        missing && self.root.is_some_and(crate::os::process::is_alive)
    }

    /// The time on the session's clock.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(super) fn send(&mut self, verb: Verb, within: Span) -> Result<u64, AskError> {
        if self.forwarded.as_ref().is_some_and(Forwarded::is_cut) {
            return Err(self.gone());
        }
        self.last_request += 1;
        let is_answered = !verb.is_notice();
        let via = self.via.clone();
        let (incarnation, above) = Meant::fields(self.meant.clone());
        let ask = Ask { request: self.last_request, within_ms: within.as_millis(), verb, via, incarnation, above };
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

    /// Has a request sent again if `told` refuses it because the root has too many. Returns whether that is so and time
    /// is left for it.
    fn sent_again(&mut self, told: &RootReply) -> bool {
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

    /// Sends unanswered requests again, unchanged: those without a reply for a while, or all after a reconnection, as a
    /// root that was upgraded may have replied before the new connection was made. None to a root of another run.
    fn ask_again(&mut self, reconnected: bool) {
        if self.root_has_exited() {
            return;
        }
        let now = self.clock.now();
        self.unanswered.retain(|_, waits| waits.until > now);
        for waits in self.unanswered.values_mut().filter(|waits| reconnected || waits.again <= now) {
            // A full queue means a root that does not read now.
            send(&mut self.dealer, &waits.frames);
            waits.again = now + AGAIN;
        }
    }

    fn reconnected(&mut self) {
        self.reconnections += 1;
        match &mut self.forwarded {
            // The endpoint was closed meanwhile, and may lead to another run now.
            Some(forwarded) => forwarded.cut(),
            None => self.ask_again(true),
        }
    }

    /// Why there is nothing more to wait for: the end of the instance, unless its root runs on another host and only
    /// the way there has ended.
    fn gone(&mut self) -> AskError {
        match &mut self.forwarded {
            Some(forwarded) => {
                forwarded.cut();
                if forwarded.has_ended() { AskError::Gone } else { AskError::Cut }
            }
            None => AskError::Gone,
        }
    }

    /// The next reply to `request`; `None` when none has come by `until`.
    pub(super) fn next_reply(&mut self, request: u64, until: Time) -> Result<Option<Reply>, AskError> {
        Ok(self.next_reply_among(|number| number == request, until)?.map(|(_, reply)| reply))
    }

    /// As [`Session::next_reply`], for a follower: [`AskError::Gone`] if another root answers, or none yet. Its events
    /// and lines are those of another run; those of the former root come first.
    pub(super) fn next_followed(&mut self, request: u64, until: Time) -> Result<Option<Reply>, AskError> {
        match self.next_reply(request, until) {
            Ok(None | Some(Reply::Refused { why: Refusal::Forgotten, .. })) if self.root_has_exited() => {
                Err(AskError::Gone)
            }
            reply => reply,
        }
    }

    /// The next reply to one of several requests, and its number; `None` when none has come by `until`.
    pub(super) fn next_reply_among(
        &mut self,
        wanted: impl Fn(u64) -> bool,
        until: Time,
    ) -> Result<Option<(u64, Reply)>, AskError> {
        loop {
            // Checked before the queue is read, so that a root's last message is not missed.
            let is_cut = self.forwarded.as_ref().is_some_and(Forwarded::is_cut);
            let there = !is_cut && (is_running(&self.runtime) || self.is_swept()) && !self.is_replaced();
            while let Some(frames) = self.dealer.receive() {
                if self.dealer.has_reconnected() {
                    self.reconnected();
                }
                let told = codec::decode_told(&frames).map_err(|error| AskError::NotUnderstood(error.to_string()))?;
                if !self.sent_again(&told) && wanted(told.request) {
                    return Ok(Some((told.request, told.reply)));
                }
            }
            if !there {
                // A root closes its sockets before it releases the lock. So its last messages have arrived in this
                // process, but libzmq's thread may not have passed them on yet.
                if self.dealer.wait_input(LAST_REPLY_WITHIN.as_duration()) {
                    continue;
                }
                return Err(self.gone());
            }
            let now = self.clock.now();
            if now >= until {
                return Ok(None);
            }
            self.ask_again(false);
            let limit = until.since(now).min(LOOK_EVERY).as_duration();
            match self.dealer.wait(self.output.as_ref().map(AsFd::as_fd), limit) {
                Waited::Reconnected => self.reconnected(),
                Waited::OutputClosed => return Err(AskError::ReaderLeft),
                Waited::Input | Waited::Nothing => {}
            }
        }
    }
}

fn send(dealer: &mut Dealer, frames: &[Vec<u8>]) -> bool {
    dealer.send(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
