//! A read barrier: before a child is declared late or hung, all is read that had been sent until then. Measured with
//! 2,000 children that disconnect at one moment: 464 to 677 were wrongly declared late in each of four trials, most
//! likely since libzmq's one I/O thread was behind; with the barrier none was in 13 trials (docs/performance.md).
//!
//! A beat that has been sent passes three places on its way to the loop: the kernel's buffer of its connection,
//! libzmq's one I/O thread, and the queue of its peer in the ROUTER. That the loop has taken all that the ROUTER showed
//! proves nothing about the first two, and with two thousand siblings that connect or leave at one moment the thread is
//! behind for a tenth of a second and more. Nor is a message that the node sends to itself enough: the thread gets 256
//! connections at a time, a level-triggered one that was ready before may be ahead of its turn, and a ROUTER serves its
//! peers in turn. So the places are emptied in their order, and what is shown at each step rests on libzmq's source
//! (4.3.5):
//!
//! 1. **Kernel.** The sockets of this process that belong to the ROUTER hold no byte that was not read, and no
//!    connection waits to be accepted: all that was sent before this look is with the thread, or past it.
//! 2. **Thread.** A message that the node now sends to itself comes back. The thread handles one connection after the
//!    other (`epoll_t::loop`), and what it has read from one is in that peer's queue, decoded and announced, before it
//!    turns to the next (`in_event_internal` ends with `flush`). So what it had read before the message's bytes were
//!    there is announced before the message is. Announcements come through one mailbox, in order.
//! 3. **Queues.** The ROUTER has nothing more to show: to ask it empties the mailbox and looks into every queue
//!    (`get_events`). Where a peer sends without end, one more turn of the loop after the message's does as well, since
//!    a turn takes one message of every peer at least (see [`super::Intake`]).
//!
//! Both first steps are made twice: a connection that the thread was just accepting shows neither as waiting nor as
//! open. It is open at the second look, since the thread has been elsewhere in between.
//!
//! What a queue has no room for (`QUEUE` messages of one peer wait) stays with the thread; then the loop has read from
//! that peer, and more often than any verdict asks for. What a child has handed to a library of its own, and that has
//! not written, has not been sent. Datagrams of sd_notify have none of these places; they are read in every turn.
//!
//! That costs two ways through the thread, a fraction of a millisecond, a few system calls a descriptor, and only when
//! a verdict is due.

use crate::link::{Context as Sockets, Dealer, Identity, RouterLimits};
use crate::time::{Span, Time};
use std::path::Path;

/// How long a verdict waits for the barrier. If libzmq's thread is behind by more than that, children are judged all
/// the same.
const WAITED: Span = Span::from_secs(1);

/// When the kernel's buffers are checked again if they were not empty.
const LOOK_AGAIN: Span = Span::from_millis(1);

/// How often the first two places are emptied, see the [module](self).
const ROUNDS: u8 = 2;

/// What the barrier checks, and what it sends.
trait BarrierIo {
    /// Whether the kernel holds unread bytes of children that are to be judged.
    fn unread(&mut self) -> bool;
    /// Sends the message with this number to the node itself. Returns false if it cannot be sent.
    fn send(&mut self, number: u64) -> bool;
    /// Whether messages wait in the ROUTER.
    fn queued(&mut self) -> bool;
}

/// The state of the barrier, without descriptors.
#[derive(Debug, Default)]
struct Steps {
    /// The number of the last message to the node itself.
    number: u64,
    run: Option<BarrierRun>,
}

/// A run of the barrier that is under way.
#[derive(Debug, Clone, Copy)]
struct BarrierRun {
    /// When the first verdict began to wait.
    first: Time,
    /// When this run ends, everything that was sent before this time has been read.
    until: Time,
    /// Rounds through kernel and thread that are left, this one included.
    rounds: u8,
    stage: Stage,
}

/// The place that is being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Kernel { look_at: Time },
    Thread,
    Queues { turned: bool },
}

/// What is known after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything that was sent before this time has been read.
    Until(Time),
    /// The barrier is under way. It is to be asked again when a message has come, or at [`Steps::deadline`].
    Wait,
    /// The barrier cannot be completed, or not in time.
    Unknown,
}

impl Steps {
    /// Goes on as far as possible. Called once a turn, after all that was received has been read.
    fn step(&mut self, now: Time, io: &mut impl BarrierIo) -> Progress {
        let begun = BarrierRun { first: now, until: now, rounds: ROUNDS, stage: Stage::Kernel { look_at: now } };
        let run = self.run.get_or_insert(begun);
        if now.since(run.first) >= WAITED {
            return Progress::Unknown;
        }
        match run.stage {
            Stage::Kernel { look_at } if now < look_at => Progress::Wait,
            Stage::Kernel { .. } => {
                if io.unread() {
                    // A round goes on only when the kernel's buffers are empty.
                    run.stage = Stage::Kernel { look_at: now + LOOK_AGAIN };
                    return Progress::Wait;
                }
                if run.rounds == ROUNDS {
                    run.until = now;
                }
                self.number += 1;
                run.stage = Stage::Thread;
                if io.send(self.number) { Progress::Wait } else { Progress::Unknown }
            }
            Stage::Thread => Progress::Wait,
            Stage::Queues { turned } if turned || !io.queued() => Progress::Until(run.until),
            Stage::Queues { .. } => {
                run.stage = Stage::Queues { turned: true };
                Progress::Wait
            }
        }
    }

    /// The message to the node itself with this number has come back.
    fn take(&mut self, number: u64, now: Time) {
        let Some(run) = self.run.as_mut().filter(|run| run.stage == Stage::Thread) else { return };
        if number == self.number {
            run.rounds = run.rounds.saturating_sub(1);
            run.stage = match run.rounds {
                0 => Stage::Queues { turned: false },
                _ => Stage::Kernel { look_at: now },
            };
        }
    }

    /// Starts again for what was sent since, within the time limit of the first start.
    fn again(&mut self, now: Time) {
        if let Some(run) = &mut self.run {
            *run = BarrierRun { rounds: ROUNDS, stage: Stage::Kernel { look_at: now }, ..*run };
        }
    }

    /// When to step again if nothing comes before.
    fn deadline(&self) -> Option<Time> {
        let run = self.run?;
        let last = run.first + WAITED;
        match run.stage {
            Stage::Kernel { look_at } => Some(look_at.min(last)),
            Stage::Thread | Stage::Queues { .. } => Some(last),
        }
    }
}

/// The barrier, with the node's connection to itself.
pub(super) struct Barrier {
    dealer: Dealer,
    /// The routing id of this connection. It is random, so no peer can take it.
    name: Identity,
    steps: Steps,
}

impl Barrier {
    /// Connects to the socket that the node has bound at `socket`.
    pub(super) fn connect(sockets: &Sockets, socket: &Path) -> Result<Barrier, String> {
        let name = Identity::drawn().map_err(|error| error.to_string())?;
        // The limits must also let the ROUTER's half of the handshake pass.
        let limits = RouterLimits { frame_bytes_max: 512, frames_max: 1 };
        let dealer = Dealer::connect(sockets, socket, name.as_bytes(), limits)
            .map_err(|error| crate::error::Chain(&error).to_string())?;
        Ok(Barrier { dealer, name, steps: Steps::default() })
    }

    /// Takes a message if it is one of the barrier's own. Returns whether it is.
    pub(super) fn take(&mut self, now: Time, from: &Identity, frames: &[Vec<u8>]) -> bool {
        if *from != self.name {
            return false;
        }
        if let Some(number) = frames.first().and_then(|frame| frame.as_slice().try_into().ok()) {
            self.steps.take(u64::from_be_bytes(number), now);
        }
        true
    }

    /// Goes on as far as possible. Called once a turn, after all that was received has been read. `unread`: whether the
    /// kernel holds unread bytes that matter. `queued`: whether messages wait in the ROUTER.
    pub(super) fn step(&mut self, now: Time, unread: impl FnMut() -> bool, queued: impl FnMut() -> bool) -> Progress {
        let Barrier { dealer, steps, .. } = self;
        steps.step(now, &mut Before { dealer, unread, queued })
    }

    /// Starts again for what was sent since, within the time limit of the first start.
    pub(super) fn again(&mut self, now: Time) {
        self.steps.again(now);
    }

    /// While the barrier is under way: when it must be asked again at the latest.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.steps.deadline()
    }

    /// Ends a barrier that is under way: no verdict waits for it any more.
    pub(super) fn forget(&mut self) {
        self.steps.run = None;
    }
}

/// The closures by which the barrier checks the places, and its connection to the node itself.
struct Before<'a, U, Q> {
    dealer: &'a mut Dealer,
    unread: U,
    queued: Q,
}

impl<U: FnMut() -> bool, Q: FnMut() -> bool> BarrierIo for Before<'_, U, Q> {
    fn unread(&mut self) -> bool {
        (self.unread)()
    }

    fn send(&mut self, number: u64) -> bool {
        // A full queue holds messages of barriers that were given up; this one is given up too.
        self.dealer.send(&[&number.to_be_bytes()])
    }

    fn queued(&mut self) -> bool {
        (self.queued)()
    }
}

#[cfg(test)]
mod tests;
