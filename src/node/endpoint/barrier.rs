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

/// How long a verdict waits for the barrier. A thread that is behind by more than that is no longer a reason to spare a
/// child.
const WAITED: Span = Span::from_secs(1);

/// After so long the kernel's buffers are looked at again, when the thread has not emptied them.
const LOOK_AGAIN: Span = Span::from_millis(1);

/// So many times all is asked for, see the [module](self).
const ROUNDS: u8 = 2;

/// What the barrier reads, and what it makes others do.
trait Sight {
    /// Whether bytes that matter lie in the kernel.
    fn unread(&mut self) -> bool;
    /// Sends the message to the node itself. False when it cannot be sent.
    fn send(&mut self, number: u64) -> bool;
    /// Whether messages wait in the ROUTER.
    fn queued(&mut self) -> bool;
}

/// The places that are emptied, without their descriptors.
#[derive(Debug, Default)]
struct Steps {
    /// Of the last message to ourselves.
    number: u64,
    pass: Option<Pass>,
}

/// A barrier that is under way.
#[derive(Debug, Clone, Copy)]
struct Pass {
    /// Since when verdicts wait.
    first: Time,
    /// What had been sent until then will have been read.
    until: Time,
    /// Rounds that are left, this one included.
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

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// All that had been sent until this moment.
    Until(Time),
    /// It is to be asked again when something has come, or when [`Steps::deadline`] is over.
    Wait,
    /// Not known, or not in time.
    Unknown,
}

impl Steps {
    /// Goes on as far as it can, once a turn and after everything that has come was read.
    fn step(&mut self, now: Time, sight: &mut impl Sight) -> Progress {
        let begun = Pass { first: now, until: now, rounds: ROUNDS, stage: Stage::Kernel { look_at: now } };
        let pass = self.pass.get_or_insert(begun);
        if now.since(pass.first) >= WAITED {
            return Progress::Unknown;
        }
        match pass.stage {
            Stage::Kernel { look_at } if now < look_at => Progress::Wait,
            Stage::Kernel { .. } => {
                if sight.unread() {
                    // From here on the first round is as good as none.
                    pass.stage = Stage::Kernel { look_at: now + LOOK_AGAIN };
                    return Progress::Wait;
                }
                if pass.rounds == ROUNDS {
                    pass.until = now;
                }
                self.number += 1;
                pass.stage = Stage::Thread;
                if sight.send(self.number) { Progress::Wait } else { Progress::Unknown }
            }
            Stage::Thread => Progress::Wait,
            Stage::Queues { turned } if turned || !sight.queued() => Progress::Until(pass.until),
            Stage::Queues { .. } => {
                pass.stage = Stage::Queues { turned: true };
                Progress::Wait
            }
        }
    }

    /// The message to ourselves with this number has come back.
    fn take(&mut self, number: u64, now: Time) {
        let Some(pass) = self.pass.as_mut().filter(|pass| pass.stage == Stage::Thread) else { return };
        if number == self.number {
            pass.rounds = pass.rounds.saturating_sub(1);
            pass.stage = match pass.rounds {
                0 => Stage::Queues { turned: false },
                _ => Stage::Kernel { look_at: now },
            };
        }
    }

    /// Asks for what has come since, within the time of the first question.
    fn again(&mut self, now: Time) {
        if let Some(pass) = &mut self.pass {
            *pass = Pass { rounds: ROUNDS, stage: Stage::Kernel { look_at: now }, ..*pass };
        }
    }

    /// When to step again, if nothing comes before.
    fn deadline(&self) -> Option<Time> {
        let pass = self.pass?;
        let last = pass.first + WAITED;
        match pass.stage {
            Stage::Kernel { look_at } => Some(look_at.min(last)),
            Stage::Thread | Stage::Queues { .. } => Some(last),
        }
    }
}

/// The barrier, with the node's connection to itself.
pub(super) struct Barrier {
    dealer: Dealer,
    /// A name that cannot be guessed.
    name: Identity,
    steps: Steps,
}

impl Barrier {
    /// Connects to the socket that the node has bound there.
    pub(super) fn connect(sockets: &Sockets, socket: &Path) -> Result<Barrier, String> {
        let name = Identity::drawn().map_err(|error| error.to_string())?;
        // The other side's half of the handshake must fit too.
        let limits = RouterLimits { frame_bytes_max: 512, frames_max: 1 };
        let dealer = Dealer::connect(sockets, socket, name.as_bytes(), limits)
            .map_err(|error| crate::error::Chain(&error).to_string())?;
        Ok(Barrier { dealer, name, steps: Steps::default() })
    }

    /// Whether a message is one of its own. Then it is taken in, and is of no other sender.
    pub(super) fn take(&mut self, now: Time, from: &Identity, frames: &[Vec<u8>]) -> bool {
        if *from != self.name {
            return false;
        }
        if let Some(number) = frames.first().and_then(|frame| frame.as_slice().try_into().ok()) {
            self.steps.take(u64::from_be_bytes(number), now);
        }
        true
    }

    /// Goes on as far as it can, once a turn and after everything that has come was read. `unread`: bytes that matter
    /// lie in the kernel; `queued`: messages wait in the ROUTER.
    pub(super) fn step(&mut self, now: Time, unread: impl FnMut() -> bool, queued: impl FnMut() -> bool) -> Progress {
        let Barrier { dealer, steps, .. } = self;
        steps.step(now, &mut Before { dealer, unread, queued })
    }

    /// Asks for what has come since, within the time of the first question.
    pub(super) fn again(&mut self, now: Time) {
        self.steps.again(now);
    }

    /// When the barrier must be asked again at the latest, while it is under way.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.steps.deadline()
    }

    /// The answer is no longer needed.
    pub(super) fn forget(&mut self) {
        self.steps.pass = None;
    }
}

/// What lies before the loop, with a way to send to ourselves.
struct Before<'a, U, Q> {
    dealer: &'a mut Dealer,
    unread: U,
    queued: Q,
}

impl<U: FnMut() -> bool, Q: FnMut() -> bool> Sight for Before<'_, U, Q> {
    fn unread(&mut self) -> bool {
        (self.unread)()
    }

    fn send(&mut self, number: u64) -> bool {
        // A queue that is full has questions in it that were given up, and then this one is too.
        self.dealer.send(&[&number.to_be_bytes()])
    }

    fn queued(&mut self) -> bool {
        (self.queued)()
    }
}

#[cfg(test)]
mod tests;
