//! What a worker reports, when it is worth a frame, and that it arrives or does no harm.

use super::connection::{Connection, time_left};
use super::frames::{Beat, Message};
use super::supervised::{EnvError, Supervised};
use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// A connection that could not be made, or that is gone, is not tried again for so long. Short beside any sensible
/// interval, long beside what a try costs.
const RECONNECT_GAP: Duration = Duration::from_millis(50);

/// How long the first message of a connection may wait for the node's half of the handshake. It comes from libzmq's own
/// thread within a fraction of a millisecond, unless the node is stopped or the machine is swamped; the message then
/// stays due, and the next call sends it without waiting. It is waited for once in a connection's life.
const HANDSHAKE_WAIT: Duration = Duration::from_millis(10);

/// Beats are never closer than this, however short the interval: far from what a node takes from one child in a second.
const BEAT_GAP_MIN: Duration = Duration::from_millis(10);

/// The interval that is reckoned with where the node expects no beats.
const INTERVAL_ASSUMED: Duration = Duration::from_secs(1);

/// The first beat after a lease is sent when this much time has passed since the last one: a lease that is no longer
/// needed hides a hang, so its end is sent sooner than other news, but a loop around short leases must not flood.
const LEASE_END_GAP: Duration = Duration::from_millis(20);

/// Longer leases are cut to this, so that sums of times stay within their bounds.
const LEASE_MAX: Duration = Duration::from_secs(365 * 86_400);

/// While a delivery waits for room in the node's backlog or buffer, it looks again this often.
const DELIVERY_STEP: Duration = Duration::from_millis(5);

/// A worker's heart: reports to the supervisor that the worker is alive.
///
/// See the [module](super) for how it is used. Every method returns within microseconds, whatever state the supervisor
/// is in, with two exceptions: the first message of a connection may wait up to 10 ms, and [`Heart::deliver`] waits up
/// to its limit. Without a supervisor it does nothing.
#[derive(Debug, Default)]
pub struct Heart {
    live: Option<Box<Live>>,
}

/// What became of what was sent, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The node's process has taken all of it; its loop reads it next.
    Taken,
    /// There is no supervisor, or this is a forked child that does not send for its parent.
    NotSupervised,
}

/// Why a delivery came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeliverError {
    /// The node could not be reached in time; the error is that of the last try.
    Unreachable(io::Error),
    /// The node is there, and has not taken it in time.
    NotTaken(io::Error),
}

impl fmt::Display for DeliverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeliverError::Unreachable(_) => "cannot reach the supervisor",
            DeliverError::NotTaken(_) => "the supervisor has not taken the message in time",
        })
    }
}

impl std::error::Error for DeliverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DeliverError::Unreachable(cause) | DeliverError::NotTaken(cause) => Some(cause),
        }
    }
}

impl Heart {
    /// The heart of this process, from its environment. It begins to connect, so that the connection is ready when the
    /// first beat comes. It is silent when the process is not supervised, and also when the environment is of no use: a
    /// worker must not fail for its supervisor's sake. [`Heart::try_from_env`] distinguishes the two.
    pub fn from_env() -> Heart {
        Heart::try_from_env().unwrap_or_default()
    }

    /// As [`Heart::from_env`], but returns an error when the environment is of no use.
    ///
    /// # Errors
    /// `TREEVISOR_ENDPOINT` is set, so there is a supervisor, but it or the token cannot be used.
    pub fn try_from_env() -> Result<Heart, EnvError> {
        let supervised = Supervised::read(std::env::var_os)?;
        let mut live = supervised.map(|supervised| Box::new(Live::new(supervised)));
        if let Some(live) = &mut live
            && live.connect(now())
            && let Some(connection) = &mut live.connection
            && let Err(error) = connection.flush()
        {
            live.lose(&error);
        }
        if let Some(live) = &mut live
            && live.connection.is_none()
        {
            // The first beat need not wait until a second try is allowed.
            live.last_connect = None;
        }
        Ok(Heart { live })
    }

    /// A heart that does nothing.
    pub const fn silent() -> Heart {
        Heart { live: None }
    }

    /// Leaves the sequence number out of the beats. For a process that is not the only one to beat for its worker, such
    /// as one of a pool: each would count for itself, and the node would take the lower numbers for old beats. A heart
    /// that is made in a forked child of a process with a heart does so by itself.
    #[must_use]
    pub fn uncounted(mut self) -> Heart {
        if let Some(live) = &mut self.live {
            live.counts = false;
            live.seq = 0;
        }
        self
    }

    /// Whether there is a supervisor: the environment names a node.
    pub fn is_supervised(&self) -> bool {
        self.live.is_some()
    }

    /// How often the node expects a beat; `None` when it expects none.
    pub fn interval(&self) -> Option<Duration> {
        self.live.as_ref()?.at.interval
    }

    /// Where in the tree this worker stands.
    pub fn path(&self) -> Option<&str> {
        self.live.as_ref()?.at.path.as_deref()
    }

    /// Which start of the worker this is.
    pub fn incarnation(&self) -> Option<u64> {
        self.live.as_ref()?.at.incarnation
    }

    /// How many beats were not sent because the node was gone, or had left no room.
    pub fn dropped(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.dropped)
    }

    /// Reports how much is done so far, from the next beat on. With `progress = true` for this worker, a number that
    /// does not move is a hang. Any change counts, whatever the direction.
    pub fn progress(&mut self, done: u64) -> &mut Heart {
        if let Some(live) = &mut self.live {
            live.said.progress = Some(done);
        }
        self
    }

    /// Reports how much waits to be done, from the next beat on. With 0 the progress may stand still.
    pub fn pending(&mut self, waiting: u64) -> &mut Heart {
        if let Some(live) = &mut self.live {
            live.said.pending = Some(waiting);
        }
        self
    }

    /// Reports in a few words what the worker does, from the next beat on; operators see it. At most 256 bytes of one
    /// line; the rest is cut. An empty text reports nothing.
    pub fn status(&mut self, text: &str) -> &mut Heart {
        if let Some(live) = &mut self.live
            && live.said.status.as_deref() != Some(text)
        {
            live.said.status = Some(text.to_owned());
        }
        self
    }

    /// Announces with the next beat, and only with that, that no other may come for so long: a lease, for a piece of
    /// work that cannot beat. The beat after it ends it. Such a beat is not held back.
    ///
    /// ```
    /// # let mut heart = treevisor_client::Heart::silent();
    /// # fn compact_the_database() {}
    /// heart.busy_for(std::time::Duration::from_secs(90)).beat();
    /// compact_the_database();
    /// heart.beat();
    /// ```
    pub fn busy_for(&mut self, limit: Duration) -> &mut Heart {
        if let Some(live) = &mut self.live {
            live.lease = Some(limit.min(LEASE_MAX));
        }
        self
    }

    /// Beats, if it is time: a call that comes less than a quarter of the interval after the last beat sends nothing,
    /// so it can stand in the innermost loop. What it held back goes with the next one that is sent.
    pub fn beat(&mut self) {
        if let Some(live) = &mut self.live {
            live.beat(now());
        }
    }

    /// Reports that the worker is ready. It is sent again on each new connection and until the node's socket has taken
    /// it.
    pub fn ready(&mut self) {
        if let Some(live) = &mut self.live {
            live.said_ready = true;
            live.due.ready = true;
            live.transmit(now());
        }
    }

    /// Reports that the worker is stopping. Repeated as [`Heart::ready`] is.
    pub fn stopping(&mut self) {
        if let Some(live) = &mut self.live {
            live.said_stopping = true;
            live.due.stopping = true;
            live.transmit(now());
        }
    }

    /// Waits until the node has taken all that was reported, a beat that was held back included, but no longer than
    /// `limit`.
    ///
    /// This is for a process that ends right after its only beat: a message that is merely written is lost if the
    /// process ends before the node has made its acquaintance. It closes the connection; a later beat makes a new one.
    /// What could not be delivered is still due, and the next call of any kind tries again.
    ///
    /// # Errors
    /// The node is not there, or does not take it, or refuses the connection.
    pub fn deliver(&mut self, limit: Duration) -> Result<Delivered, DeliverError> {
        match &mut self.live {
            Some(live) => live.deliver(now() + limit.min(LEASE_MAX)),
            None => Ok(Delivered::NotSupervised),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a worker has no node's clock to ask")]
fn now() -> Instant {
    Instant::now()
}

/// Messages that have been asked for and are not yet with the kernel.
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
struct Live {
    at: Supervised,
    /// The process that it beats for. A forked child inherits this record, and must not be taken for its parent.
    owner: u32,
    counts: bool,
    seq: u64,
    /// Progress, pending, status and the present lease; the number is filled in when it is sent.
    said: Beat,
    /// The lease that the next beat announces.
    lease: Option<Duration>,
    /// The lease that stands until the next beat is sent ends here.
    leased_until: Option<Instant>,
    /// When a beat was last sent or tried.
    last_beat: Option<Instant>,
    /// A beat was asked for, and nothing has been sent since.
    held_back: bool,
    said_ready: bool,
    said_stopping: bool,
    due: Due,
    /// What is in the connection's buffer, and due again if the connection breaks before the kernel has it.
    in_flight: Due,
    /// What this connection has been given.
    entrusted: Due,
    connection: Option<Connection>,
    /// [`HANDSHAKE_WAIT`]; a test has more time.
    patience: Duration,
    /// This connection's handshake has been waited for.
    waited: bool,
    last_connect: Option<Instant>,
    last_error: Option<io::ErrorKind>,
    dropped: u64,
}

/// The process in which the first heart was made; forked children inherit it.
static FIRST_PROCESS: OnceLock<u32> = OnceLock::new();

impl Live {
    fn new(at: Supervised) -> Live {
        let owner = std::process::id();
        Live {
            at,
            owner,
            counts: *FIRST_PROCESS.get_or_init(|| owner) == owner,
            seq: 0,
            said: Beat::default(),
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

    fn beat(&mut self, now: Instant) {
        let lease = self.lease.take();
        self.held_back = true;
        self.said.busy_for = lease;
        if !self.is_time(now, lease) {
            return;
        }
        self.last_beat = Some(now);
        self.due.beat = true;
        if !self.transmit(now) {
            self.dropped += 1;
        }
    }

    /// Whether a beat at `now` is worth a frame.
    fn is_time(&self, now: Instant, lease: Option<Duration>) -> bool {
        let Some(last) = self.last_beat else { return true };
        let since = now.saturating_duration_since(last);
        let gap = (self.at.interval.unwrap_or(INTERVAL_ASSUMED) / 4).max(BEAT_GAP_MIN);
        // After a beat that was dropped the next call may try again, but not each of a thousand calls.
        let gap = if self.due.beat { gap.min(RECONNECT_GAP) } else { gap };
        match (lease, self.leased_until) {
            // The lease that stands does nearly as well.
            (Some(lease), Some(until)) if until + gap >= now + lease => since >= gap,
            (Some(_), _) => true,
            (None, Some(_)) => since >= LEASE_END_GAP.min(gap),
            (None, None) => since >= gap,
        }
    }

    /// Brings all that is due as far as it goes without waiting. True when the kernel has all of it.
    fn transmit(&mut self, now: Instant) -> bool {
        // Asked of the system each time, which costs less than the send that follows.
        if std::process::id() != self.owner {
            return false;
        }
        if let Some(connection) = &mut self.connection {
            match connection.pump() {
                Ok(()) if connection.is_flushed() => self.in_flight = Due::default(),
                // The node has not read what it has. A queue of old beats would be of no use to it.
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
            // The rest of it goes with the next call.
            Ok(()) => false,
            Err(error) => {
                self.lose(&error);
                false
            }
        }
    }

    /// Whether messages may be sent on this connection; the first time it is asked, it gives the node a moment.
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
                // This may be another node than the one that has received it.
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

    /// The connection is of no use; what the kernel did not have of it is due again.
    fn lose(&mut self, error: &io::Error) {
        self.last_error = Some(error.kind());
        self.connection = None;
        self.due = self.due.and(std::mem::take(&mut self.in_flight));
    }

    /// The frames of all that is due: ready before the beat, and stopping last.
    fn compose(&mut self, now: Instant) -> Vec<Vec<Vec<u8>>> {
        let mut messages = Vec::with_capacity(3);
        if self.due.ready {
            messages.push(Message::Ready);
        }
        if self.due.beat {
            self.held_back = false;
            self.leased_until = self.said.busy_for.map(|lease| now + lease);
            if self.counts {
                self.seq += 1;
            }
            messages.push(Message::Beat(Beat { seq: self.seq, ..self.said.clone() }));
        }
        if self.due.stopping {
            messages.push(Message::Stopping);
        }
        messages.iter().map(|message| message.frames(&self.at.token)).collect()
    }

    fn deliver(&mut self, deadline: Instant) -> Result<Delivered, DeliverError> {
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
            // Nothing was ever sent.
            return Ok(Delivered::Taken);
        };
        connection.finish(deadline).map_err(|error| {
            // How much of it has arrived is not known. Any of it may come twice.
            self.due = self.due.and(self.entrusted);
            DeliverError::NotTaken(error)
        })?;
        // The next connection is made when there is something new to report, and need not wait for that.
        self.last_connect = None;
        Ok(Delivered::Taken)
    }
}

#[cfg(test)]
mod tests;
