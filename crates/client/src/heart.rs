//! The heart of a worker: what it reports, when a report is sent, and how it is delivered without ever blocking the
//! worker.

mod live;

use self::live::{LEASE_MAX, Live, now};
use super::delivery::{DeliverError, Delivered};
use super::supervised::{EnvError, Supervised};
use std::time::Duration;

/// A worker's heart: reports to the supervisor that the worker is alive.
///
/// See the [module](super) for how it is used. Every method returns within microseconds, whatever state the supervisor
/// is in, with two exceptions: the first message of a connection may wait up to 10 ms, and [`Heart::deliver`] waits up
/// to its limit. Without a supervisor it does nothing.
#[derive(Debug, Default)]
pub struct Heart {
    live: Option<Box<Live>>,
}

impl Heart {
    /// The heart of this process, from its environment. It begins to connect, so that the connection is ready for the
    /// first beat. It is silent if the process is not supervised, and also if the environment is invalid: a worker must
    /// not fail because of its supervisor. [`Heart::try_from_env`] distinguishes the two.
    pub fn from_env() -> Heart {
        Heart::try_from_env().unwrap_or_default()
    }

    /// As [`Heart::from_env`], but returns an error if the environment is invalid.
    ///
    /// # Errors
    /// `TREEVISOR_ENDPOINT` is set, so there is a supervisor, but it or the token cannot be used.
    pub fn try_from_env() -> Result<Heart, EnvError> {
        let mut live = Supervised::read(std::env::var_os)?.map(|supervised| Box::new(Live::new(supervised)));
        if let Some(live) = &mut live {
            live.begin_to_connect(now());
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
            live.do_not_count();
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

    /// The path of this worker in the tree.
    pub fn path(&self) -> Option<&str> {
        self.live.as_ref()?.at.path.as_deref()
    }

    /// The incarnation of this worker: the number of its start, from 1.
    pub fn incarnation(&self) -> Option<u64> {
        self.live.as_ref()?.at.incarnation
    }

    /// How many beats were not sent because the node was gone or its buffer was full.
    pub fn dropped(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.dropped)
    }

    /// Reports how much is done so far, from the next beat on. With `progress = true` for this worker, a number that
    /// does not move is a hang. Any change counts, whatever the direction.
    pub fn progress(&mut self, done: u64) -> &mut Heart {
        if let Some(live) = &mut self.live {
            live.news.progress = Some(done);
        }
        self
    }

    /// Reports how much waits to be done, from the next beat on. With 0 the progress may stand still.
    pub fn pending(&mut self, waiting: u64) -> &mut Heart {
        if let Some(live) = &mut self.live {
            live.news.pending = Some(waiting);
        }
        self
    }

    /// Reports in a few words what the worker does, from the next beat on; operators see it. At most 256 bytes of one
    /// line; the rest is cut. An empty text reports nothing.
    pub fn status(&mut self, text: &str) -> &mut Heart {
        if let Some(live) = &mut self.live
            && live.news.status.as_deref() != Some(text)
        {
            live.news.status = Some(text.to_owned());
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
            live.ready(now());
        }
    }

    /// Reports that the worker is stopping. Repeated as [`Heart::ready`] is.
    pub fn stopping(&mut self) {
        if let Some(live) = &mut self.live {
            live.stopping(now());
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
