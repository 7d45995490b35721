//! The read barrier: has all been read that had been sent? Used before a child is declared late or hung.
//!
//! A beat that has been sent passes three places on its way to the loop: the kernel's buffer of its connection,
//! libzmq's one I/O thread, and the queue of its peer in the ROUTER. That the loop has taken all that the ROUTER showed
//! proves nothing about the first two, and with two thousand siblings that connect or leave at one moment the thread is
//! behind for a tenth of a second and more. Nor is a message that the node sends to itself enough: the thread gets 256
//! connections at a time, a level-triggered one that was ready before may be ahead of its turn, and a ROUTER serves its
//! peers in turn. So the places are emptied in their order, and what is shown at each step rests on libzmq's source
//! (4.3.5):
//!
//! 1. **Kernel.** The sockets of this process that belong to the ROUTER hold no byte that was not read, and no connection waits
//!    to be accepted: all that was sent before this look is with the thread, or past it.
//! 2. **Thread.** A message that the node now sends to itself comes back. The thread handles one connection after the other
//!    (`epoll_t::loop`), and what it has read from one is in that peer's queue, decoded and announced, before it turns to the
//!    next (`in_event_internal` ends with `flush`). So what it had read before the echo's bytes were there is announced before
//!    the echo is. Announcements come through one mailbox, in order.
//! 3. **Queues.** The ROUTER has nothing more to show: to ask it empties the mailbox and looks into every queue
//!    (`get_events`). Where a peer sends without end, one more turn of the loop after the echo's does as well, since a
//!    turn takes one message of every peer at least (`Node::hear_children`).
//!
//! Both first steps are made twice: a connection that the thread was just accepting shows neither as waiting nor as open. It is
//! open at the second look, since the thread has been elsewhere in between.
//!
//! What a queue has no room for (`QUEUE` messages of one peer wait) stays with the thread; then the loop has read from
//! that peer, and more often than any verdict asks for. What a child has handed to a library of its own, and that has
//! not written, has not been sent. Datagrams of sd_notify have none of these places; they are read in every turn.
//!
//! That costs two ways through the thread, a fraction of a millisecond, a few system calls a descriptor, and only when a verdict
//! is due.

use super::turn::Node;
use crate::link::{Context, Dealer, Identity, RouterLimits};
use crate::os::{connected, random};
use crate::time::{Span, Time};
use slog::warn;
use std::path::Path;

/// How long a verdict waits for the barrier. A thread that is behind by more than that is no longer a reason to spare a child.
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

/// The barrier without its descriptors.
#[derive(Debug, Default)]
struct Barrier {
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
enum Heard {
    /// All that had been sent until this moment.
    Until(Time),
    /// It is to be asked again when something has come, or when [`Barrier::deadline`] is over.
    Wait,
    /// Not known, or not in time.
    Unknown,
}

impl Barrier {
    /// Goes on as far as it can, once a turn and after everything that has come was read.
    fn step(&mut self, now: Time, sight: &mut impl Sight) -> Heard {
        let begun = Pass { first: now, until: now, rounds: ROUNDS, stage: Stage::Kernel { look_at: now } };
        let pass = self.pass.get_or_insert(begun);
        if now.since(pass.first) >= WAITED {
            return Heard::Unknown;
        }
        match pass.stage {
            Stage::Kernel { look_at } if now < look_at => Heard::Wait,
            Stage::Kernel { .. } => {
                if sight.unread() {
                    // From here on the first round is as good as none.
                    pass.stage = Stage::Kernel { look_at: now + LOOK_AGAIN };
                    return Heard::Wait;
                }
                if pass.rounds == ROUNDS {
                    pass.until = now;
                }
                self.number += 1;
                pass.stage = Stage::Thread;
                if sight.send(self.number) { Heard::Wait } else { Heard::Unknown }
            }
            Stage::Thread => Heard::Wait,
            Stage::Queues { turned } if turned || !sight.queued() => Heard::Until(pass.until),
            Stage::Queues { .. } => {
                pass.stage = Stage::Queues { turned: true };
                Heard::Wait
            }
        }
    }

    /// The message to ourselves with this number has come back.
    fn hear(&mut self, number: u64, now: Time) {
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

/// The node's connection to itself, with the barrier for which it is.
pub(super) struct Echo {
    dealer: Dealer,
    /// A name that cannot be guessed.
    name: Identity,
    barrier: Barrier,
}

impl Echo {
    /// Connects to the socket that the node has bound there.
    fn connect(context: &Context, socket: &Path) -> Result<Echo, String> {
        let mut name = [0; 16];
        random::fill(&mut name).map_err(|error| error.to_string())?;
        // A name must not begin with a zero byte, which is libzmq's.
        name[0] |= 1;
        // The other side's half of the handshake must fit too.
        let limits = RouterLimits { frame_bytes_max: 512, frames_max: 1 };
        let dealer =
            Dealer::connect(context, socket, &name, limits).map_err(|error| crate::error::Chain(&error).to_string())?;
        Ok(Echo { dealer, name: Identity::new(&name), barrier: Barrier::default() })
    }

    /// Whether a message is one of these. Then it is taken in, and is of no other sender.
    pub fn hear(&mut self, now: Time, from: &Identity, frames: &[Vec<u8>]) -> bool {
        if *from != self.name {
            return false;
        }
        if let Some(number) = frames.first().and_then(|frame| frame.as_slice().try_into().ok()) {
            self.barrier.hear(u64::from_be_bytes(number), now);
        }
        true
    }

    /// When the barrier must be asked again at the latest, while it is under way.
    pub fn deadline(&self) -> Option<Time> {
        self.barrier.deadline()
    }

    /// The answer is no longer needed.
    pub fn forget(&mut self) {
        self.barrier.pass = None;
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

impl Node {
    /// Whether the deadlines may be judged now, with all read that was sent by any child that would be declared late or
    /// hung. If not, it is to be asked again when something has come or [`Echo::deadline`] is over.
    pub(super) fn may_judge(&mut self, now: Time) -> bool {
        let suspects = self.core.suspects(now, None);
        if suspects.is_empty() {
            self.echo.iter_mut().for_each(Echo::forget);
            return true;
        }
        if self.echo.is_none() {
            match Echo::connect(&self.sockets, &self.router_socket) {
                Ok(echo) => self.echo = Some(echo),
                Err(why) => {
                    warn!(self.context.logger, "cannot connect to the own socket; whether all beats were read is not known";
                    "error" => why)
                }
            }
        }
        // Without one a verdict rests on what the loop has read.
        let Some(mut echo) = self.echo.take() else { return true };
        let unread = || {
            // Where that cannot be seen, the other steps are all there is.
            let found = connected::unread(|socket| self.hears_at(socket)).unwrap_or_default();
            // What is sent by a child that is not in question proves nothing for others, however much it is.
            let matters = |pid: Option<u32>| match pid {
                Some(pid) if pid == self.context.pid => false,
                Some(pid) => self.reactor.processes.child_of(pid).is_none_or(|run| suspects.contains(&run.child)),
                None => true,
            };
            found.into_iter().any(matters)
        };
        let mut before = Before { dealer: &mut echo.dealer, unread, queued: || self.router.has_input() };
        let may = match echo.barrier.step(now, &mut before) {
            Heard::Wait => false,
            Heard::Until(until) if self.core.has_suspects(now, Some(until)) => {
                // Another child's time has run out since. What it has sent meanwhile may lie unread.
                echo.barrier.again(now);
                false
            }
            Heard::Until(_) | Heard::Unknown => {
                echo.forget();
                true
            }
        };
        self.echo = Some(echo);
        may
    }

    /// Whether beats come to the socket with this address.
    fn hears_at(&self, socket: Option<&Path>) -> bool {
        match socket {
            Some(path) => {
                let of_pull = |endpoint: &str| endpoint.strip_prefix("ipc://").is_some_and(|at| Path::new(at) == path);
                path == self.router_socket || self.pulls.iter().any(|pull| of_pull(&pull.endpoint))
            }
            None => !self.pulls.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests;
