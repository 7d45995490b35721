//! The machine behind a heart: which messages are due, when they are sent, and on which connection.

use crate::connection::{Connection, time_left};
use crate::delivery::{DeliverError, Delivered};
use crate::frames::{Beat, Message};
use crate::supervised::Supervised;
use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait before the next attempt after a connection has failed or was lost. Short compared with any sensible
/// interval, and long compared with the cost of an attempt.
const RECONNECT_GAP: Duration = Duration::from_millis(50);

/// How long the first message of a connection may wait for the node's half of the handshake. libzmq's thread sends it
/// within a fraction of a millisecond, unless the node is suspended or the machine overloaded. The message then remains
/// due, and a later call sends it without waiting: each connection waits only once.
const HANDSHAKE_WAIT: Duration = Duration::from_millis(10);

/// The least time between beats, however short the interval; this stays far below a node's limit for messages of one
/// child.
const BEAT_GAP_MIN: Duration = Duration::from_millis(10);

/// The interval that is assumed if the node expects no beats.
const INTERVAL_ASSUMED: Duration = Duration::from_secs(1);

/// The first beat after a lease is sent when this much time has passed since the last one: a lease that is no longer
/// needed hides a hang, so its end is sent sooner than other news, but a loop around short leases must not flood.
const LEASE_END_GAP: Duration = Duration::from_millis(20);

/// Longer leases are cut to this, so that sums of times stay within their bounds.
pub(super) const LEASE_MAX: Duration = Duration::from_secs(365 * 86_400);

/// How often a delivery that waits for room in the node's backlog or buffer tries again.
const DELIVERY_STEP: Duration = Duration::from_millis(5);

#[allow(clippy::disallowed_methods, reason = "a worker has no node's clock to ask")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Messages that are due: requested by a call, and not yet taken by the kernel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Due {
    ready: bool,
    beat: bool,
    stopping: bool,
}

impl Due {
    fn any(self) -> bool {
        self != Due::default()
    }

    fn and(self, other: Due) -> Due {
        Due {
            ready: self.ready || other.ready,
            beat: self.beat || other.beat,
            stopping: self.stopping || other.stopping,
        }
    }
}

/// The heart of a supervised process.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) at: Supervised,
    /// The id of the process that made this heart. A forked child inherits the record and must not send for its parent.
    owner: u32,
    counts: bool,
    seq: u64,
    /// Progress, pending, status and the present lease; the number is filled in when it is sent.
    pub(super) news: Beat,
    /// The lease that the next beat announces.
    pub(super) lease: Option<Duration>,
    /// When the lease ends that is in force until the next beat.
    leased_until: Option<Instant>,
    /// When a beat was last sent or attempted.
    last_beat: Option<Instant>,
    /// A beat was requested too early and held back, and nothing has been sent since.
    held_back: bool,
    said_ready: bool,
    said_stopping: bool,
    due: Due,
    /// Messages in the connection's buffer, which become due again if the connection breaks before the kernel has taken
    /// them.
    in_flight: Due,
    /// Messages that were given to this connection.
    entrusted: Due,
    connection: Option<Connection>,
    /// [`HANDSHAKE_WAIT`]; longer in tests.
    patience: Duration,
    /// Whether this connection has waited for its handshake.
    waited: bool,
    last_connect: Option<Instant>,
    last_error: Option<io::ErrorKind>,
    pub(super) dropped: u64,
}

/// The process in which the first heart was made; forked children inherit it.
static FIRST_PROCESS: OnceLock<u32> = OnceLock::new();

impl Live {
    pub(super) fn new(at: Supervised) -> Live {
        let owner = std::process::id();
        Live {
            at,
            owner,
            counts: *FIRST_PROCESS.get_or_init(|| owner) == owner,
            seq: 0,
            news: Beat::default(),
            lease: None,
            leased_until: None,
            last_beat: None,
            held_back: false,
            said_ready: false,
            said_stopping: false,
            due: Due::default(),
            in_flight: Due::default(),
            entrusted: Due::default(),
            connection: None,
            patience: HANDSHAKE_WAIT,
            waited: false,
            last_connect: None,
            last_error: None,
            dropped: 0,
        }
    }

    /// Connects, and writes what can be written at once, so that the connection is ready for the first beat.
    pub(super) fn begin_to_connect(&mut self, now: Instant) {
        if self.connect(now)
            && let Some(connection) = &mut self.connection
            && let Err(error) = connection.flush()
        {
            self.lose(&error);
        }
        if self.connection.is_none() {
            // A failed attempt here must not delay the attempt at the first beat.
            self.last_connect = None;
        }
    }

    /// Leaves the sequence number out of the beats, from now on.
    pub(super) fn do_not_count(&mut self) {
        self.counts = false;
        self.seq = 0;
    }

    pub(super) fn ready(&mut self, now: Instant) {
        self.said_ready = true;
        self.due.ready = true;
        self.transmit(now);
    }

    pub(super) fn stopping(&mut self, now: Instant) {
        self.said_stopping = true;
        self.due.stopping = true;
        self.transmit(now);
    }

    pub(super) fn beat(&mut self, now: Instant) {
        let lease = self.lease.take();
        self.held_back = true;
        self.news.busy_for = lease;
        if !self.is_time(now, lease) {
            return;
        }
        self.last_beat = Some(now);
        self.due.beat = true;
        if !self.transmit(now) {
            self.dropped += 1;
        }
    }

    /// Whether a beat at `now` is to be sent, not held back.
    fn is_time(&self, now: Instant, lease: Option<Duration>) -> bool {
        let Some(last) = self.last_beat else { return true };
        let since = now.saturating_duration_since(last);
        let gap = (self.at.interval.unwrap_or(INTERVAL_ASSUMED) / 4).max(BEAT_GAP_MIN);
        // After a dropped beat, another attempt is made after `RECONNECT_GAP`, not at each of a thousand calls.
        let gap = if self.due.beat { gap.min(RECONNECT_GAP) } else { gap };
        match (lease, self.leased_until) {
            // The lease in force is nearly as long as the new one.
            (Some(lease), Some(until)) if until + gap >= now + lease => since >= gap,
            (Some(_), _) => true,
            (None, Some(_)) => since >= LEASE_END_GAP.min(gap),
            (None, None) => since >= gap,
        }
    }

    /// Sends all due messages as far as is possible without waiting. Returns true if the kernel has taken all of them.
    fn transmit(&mut self, now: Instant) -> bool {
        // A system call each time, which costs less than the send that follows.
        if std::process::id() != self.owner {
            return false;
        }
        if let Some(connection) = &mut self.connection {
            match connection.pump() {
                Ok(()) if connection.is_flushed() => self.in_flight = Due::default(),
                // The node has not read the previous messages. Nothing is queued behind them, as old beats are of no
                // use.
                Ok(()) => return false,
                Err(error) => self.lose(&error),
            }
        }
        if !self.due.any() {
            return self.connection.is_some();
        }
        if self.connection.is_none() && !self.connect(now) {
            return false;
        }
        if !self.is_open() {
            return false;
        }
        let messages = self.compose(now);
        let Some(connection) = &mut self.connection else { return false };
        for message in &messages {
            connection.push(message);
        }
        self.entrusted = self.entrusted.and(self.due);
        self.in_flight = std::mem::take(&mut self.due);
        match connection.flush() {
            Ok(()) if connection.is_flushed() => {
                self.in_flight = Due::default();
                true
            }
            // The next call sends the rest.
            Ok(()) => false,
            Err(error) => {
                self.lose(&error);
                false
            }
        }
    }

    /// Whether messages may be sent on this connection. The first call for a connection waits briefly for the
    /// handshake.
    fn is_open(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        if connection.is_open() || std::mem::replace(&mut self.waited, true) {
            return connection.is_open();
        }
        match connection.shake_hands(self::now() + self.patience) {
            Ok(()) => connection.is_open(),
            Err(error) => {
                self.lose(&error);
                false
            }
        }
    }

    fn connect(&mut self, now: Instant) -> bool {
        if self.last_connect.is_some_and(|last| now.saturating_duration_since(last) < RECONNECT_GAP) {
            return false;
        }
        self.last_connect = Some(now);
        match Connection::open(&self.at.socket) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.waited = false;
                self.entrusted = Due::default();
                // The connection may lead to another node than the one that has received these messages.
                self.due.ready |= self.said_ready;
                self.due.stopping |= self.said_stopping;
                true
            }
            Err(error) => {
                self.last_error = Some(error.kind());
                false
            }
        }
    }

    /// Drops a broken connection; messages that the kernel has not taken become due again.
    fn lose(&mut self, error: &io::Error) {
        self.last_error = Some(error.kind());
        self.connection = None;
        self.due = self.due.and(std::mem::take(&mut self.in_flight));
    }

    /// The frames of all due messages: READY before the beat, STOPPING last.
    fn compose(&mut self, now: Instant) -> Vec<Vec<Vec<u8>>> {
        let mut messages = Vec::with_capacity(3);
        if self.due.ready {
            messages.push(Message::Ready);
        }
        if self.due.beat {
            self.held_back = false;
            self.leased_until = self.news.busy_for.map(|lease| now + lease);
            if self.counts {
                self.seq += 1;
            }
            messages.push(Message::Beat(Beat { seq: self.seq, ..self.news.clone() }));
        }
        if self.due.stopping {
            messages.push(Message::Stopping);
        }
        messages.iter().map(|message| message.frames(&self.at.token)).collect()
    }

    pub(super) fn deliver(&mut self, deadline: Instant) -> Result<Delivered, DeliverError> {
        if std::process::id() != self.owner {
            return Ok(Delivered::NotSupervised);
        }
        self.due.beat |= self.held_back;
        while (self.due.any() || self.in_flight.any()) && !self.transmit(now()) {
            if let Some(connection) = &mut self.connection
                && !connection.is_open()
            {
                match connection.shake_hands(deadline) {
                    Ok(()) if connection.is_open() => continue,
                    Ok(()) => {}
                    Err(error) => self.lose(&error),
                }
            }
            let Some(left) = time_left(deadline) else {
                let kind = self.last_error.unwrap_or(io::ErrorKind::TimedOut);
                return Err(match self.connection {
                    Some(_) => DeliverError::NotTaken(io::ErrorKind::TimedOut.into()),
                    None => DeliverError::Unreachable(kind.into()),
                });
            };
            #[allow(clippy::disallowed_methods, reason = "the one method that waits, and its doc has it")]
            thread::sleep(left.min(DELIVERY_STEP));
        }
        let Some(connection) = self.connection.take() else {
            // Nothing has been sent.
            return Ok(Delivered::Taken);
        };
        connection.finish(deadline).map_err(|error| {
            // It is unknown which messages have arrived, so all become due again; some may arrive twice.
            self.due = self.due.and(self.entrusted);
            DeliverError::NotTaken(error)
        })?;
        // The next message may connect at once, without `RECONNECT_GAP`.
        self.last_connect = None;
        Ok(Delivered::Taken)
    }
}

#[cfg(test)]
mod tests;
