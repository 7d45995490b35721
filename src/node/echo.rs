//! Has all been read that had been sent? Asked before a child is called late or hung.
//!
//! The loop reads what libzmq's own thread has taken in, and it can see that it was late itself, but not that this thread
//! is: with two thousand siblings that connect or leave at one moment it is behind for a tenth of a second and more, and
//! beats lie in the kernel meanwhile. So the node sends itself a message over its own socket. The thread comes to ready
//! connections in the order in which they became so, so when the echo is there, every beat that had been sent before is too.
//!
//! That costs one way through the thread, a fraction of a millisecond, and only when a verdict is due.

use super::turn::Node;
use crate::link::{Context, Dealer, Identity, RouterLimits};
use crate::os::random;
use crate::time::{Span, Time};
use slog::warn;
use std::path::Path;

/// How long an echo is waited for. A thread that is behind by more than that is no longer a reason to spare anybody.
const WAITED: Span = Span::from_millis(500);

/// The node's connection to itself.
pub(super) struct Echo {
    dealer: Dealer,
    /// A name that nobody can guess.
    name: Identity,
    number: u64,
    asking: Option<Asking>,
}

/// A question that is under way.
#[derive(Debug, Clone, Copy)]
struct Asking {
    /// Since when verdicts wait.
    first: Time,
    /// When this question was asked: what had been sent until then will have been read with the answer.
    last: Time,
    answered: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// All that had been sent until this moment.
    Until(Time),
    /// The answer is still to come.
    Wait,
    /// It does not come, or not in time.
    Unknown,
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
        Ok(Echo { dealer, name: Identity::new(&name), number: 0, asking: None })
    }

    /// Whether a message is one of these. Then it is taken in, and nobody else's.
    pub fn hear(&mut self, from: &Identity, frames: &[Vec<u8>]) -> bool {
        if *from != self.name {
            return false;
        }
        if let Some(asking) = &mut self.asking {
            asking.answered |= frames.first().is_some_and(|frame| **frame == self.number.to_be_bytes());
        }
        true
    }

    /// Until when an answer is waited for, if one is.
    pub fn deadline(&self) -> Option<Time> {
        self.asking.filter(|asking| !asking.answered).map(|asking| asking.first + WAITED)
    }

    /// Nobody wants to know any more.
    pub fn forget(&mut self) {
        self.asking = None;
    }

    /// Asks, or asks anew what has come since.
    fn ask(&mut self, now: Time) {
        self.number += 1;
        // A queue that is full has questions in it that were given up, and then this one is too.
        let sent = self.dealer.send(&[&self.number.to_be_bytes()]);
        let first = self.asking.map_or(now, |asking| asking.first);
        self.asking = sent.then_some(Asking { first, last: now, answered: false });
    }

    fn heard(&self, now: Time) -> Heard {
        match self.asking {
            Some(asking) if now.since(asking.first) >= WAITED => Heard::Unknown,
            Some(asking) if asking.answered => Heard::Until(asking.last),
            Some(_) => Heard::Wait,
            None => Heard::Unknown,
        }
    }
}

impl Node {
    /// Whether the deadlines may be judged now, with all read that anybody had sent who would be called late or hung.
    /// If not, it is to be asked again when something has come or [`Echo::deadline`] is over.
    pub(super) fn may_judge(&mut self, now: Time) -> bool {
        if !self.core.has_suspects(now, None) {
            self.echo.iter_mut().for_each(Echo::forget);
            return true;
        }
        if self.echo.is_none() {
            match Echo::connect(&self.context, &self.router_socket) {
                Ok(echo) => self.echo = Some(echo),
                Err(why) => {
                    warn!(self.logger, "cannot connect to the own socket; whether all beats were read is not known";
                    "error" => why)
                }
            }
        }
        // Without one a verdict is as good as what the loop knows.
        let Some(echo) = &mut self.echo else { return true };
        if echo.asking.is_none() {
            echo.ask(now);
        }
        match echo.heard(now) {
            Heard::Wait => return false,
            Heard::Until(asked) if self.core.has_suspects(now, Some(asked)) => {
                // Somebody's time has run out since. What he has sent meanwhile may lie unread.
                echo.ask(now);
                return false;
            }
            Heard::Until(_) | Heard::Unknown => echo.forget(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Router;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn a_verdict_waits_for_what_was_sent_before_and_not_for_ever() {
        let directory = tempfile::tempdir().expect("a directory");
        let context = Context::new().expect("a context");
        let socket = directory.path().join("s");
        let limits = RouterLimits { frame_bytes_max: 64, frames_max: 8 };
        let mut router = Router::bind(&context, &socket, limits).expect("a router");
        let mut child = Dealer::connect(&context, &socket, b"child", limits).expect("a dealer");
        let mut echo = Echo::connect(&context, &socket).expect("an echo");
        assert!(child.send(&[b"connected"]));
        let hear = |router: &mut Router| loop {
            if let Some(message) = router.receive() {
                return message;
            }
            std::thread::yield_now();
        };
        hear(&mut router);

        assert!(child.send(&[b"beat"]));
        echo.ask(at(0));
        assert_eq!((echo.heard(at(1)), echo.deadline()), (Heard::Wait, Some(at(500))));
        let mut beats = 0;
        while echo.heard(at(2)) == Heard::Wait {
            let message = hear(&mut router);
            beats += usize::from(!echo.hear(&message.from, &message.frames));
        }
        assert_eq!(beats, 1, "the beat came first");
        assert_eq!((echo.heard(at(2)), echo.deadline()), (Heard::Until(at(0)), None));

        // Asked anew, it goes on to wait; no longer than the first time allows.
        echo.ask(at(400));
        assert_eq!((echo.heard(at(499)), echo.deadline()), (Heard::Wait, Some(at(500))));
        assert_eq!(echo.heard(at(500)), Heard::Unknown);
        echo.forget();
        assert_eq!(echo.deadline(), None);
        // What comes late answers nothing any more.
        echo.ask(at(600));
        let late = hear(&mut router);
        assert!(echo.hear(&late.from, &late.frames));
        assert_eq!(echo.heard(at(601)), Heard::Wait);
    }
}
