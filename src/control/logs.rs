//! Reading what workers print.

use super::session::{AskError, STILL_THERE_EVERY, Session};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::{Refusal, Reply, Verb};
use crate::wire::view::LogView;
use std::ops::ControlFlow;

/// Which lines are to be read.
#[derive(Debug, Clone)]
pub struct LogsAsked {
    /// The workers at and below these paths.
    pub paths: Vec<Path>,
    /// At most this many of the lines in memory, the last ones; all of them if `None`.
    pub lines: Option<u64>,
    /// Only lines from this time on: milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Go on with the lines to come.
    pub follow: bool,
}

/// Lines that were read, in one reply.
#[derive(Debug, Default)]
pub struct LogsRead {
    /// The lines; those of one worker in their order.
    pub lines: Vec<LogView>,
    /// How many lines were lost before these.
    pub lost: u64,
    /// An unknown number of lines was lost before these, because the root had forgotten this reader.
    pub gap: bool,
    /// With these lines, all that was in memory has been sent.
    pub caught_up: bool,
    /// With `caught_up`: supervisors that are down or did not answer, so that lines below them are missing.
    pub silent: Vec<Path>,
}

impl Session {
    /// Reads the lines that are in memory and, with `follow`, those to come. `each` can stop the reading.
    ///
    /// A follower returns when the instance has ended, also if another root runs in its place already.
    ///
    /// # Errors
    /// Every [`AskError`] but those of the tool itself.
    pub fn logs(
        &mut self,
        asked: &LogsAsked,
        first: Span,
        each: &mut dyn FnMut(LogsRead) -> ControlFlow<()>,
    ) -> Result<(), AskError> {
        let verb =
            |lines| Verb::Logs { paths: asked.paths.clone(), lines, since_ms: asked.since_ms, follow: asked.follow };
        let mut request = self.send(verb(asked.lines), first)?;
        let begun = self.now();
        let mut silent_at = begun + first;
        let mut told = begun;
        let mut caught_up = false;
        let mut gap = false;
        let mut received = 0;
        loop {
            let now = self.now();
            if now.since(told) >= STILL_THERE_EVERY {
                // A full queue means a root that does not read now; the next turn tries again.
                let _ = self.send(Verb::StillFollowing { request }, first);
                told = now;
            }
            let until = if caught_up { now + STILL_THERE_EVERY } else { silent_at };
            match self.next_followed(request, until) {
                // The reply is a duplicate, or replies before it are missing, as after a hot upgrade of the root.
                Ok(Some(Reply::Logs { nth, .. })) if nth > 0 && nth != received + 1 => {
                    let again = nth > received;
                    let verb = Verb::LogsSeen { request, replies: 0, through: Some(received), again };
                    let _ = self.send(verb, first);
                }
                Ok(Some(Reply::Logs { lines, lost, caught_up: all_told, silent, nth })) => {
                    silent_at = self.now() + first;
                    received = received.max(nth);
                    // The root sends `caught_up` again when the request had to be sent anew.
                    let now_caught_up = all_told && !caught_up;
                    caught_up |= all_told;
                    let gap = std::mem::take(&mut gap);
                    if each(LogsRead { lines, lost, gap, caught_up: now_caught_up, silent }).is_break() {
                        let _ = self.send(Verb::Unfollow { request }, first);
                        return Ok(());
                    }
                    if all_told && !asked.follow {
                        return Ok(());
                    }
                    let through = Some(received).filter(|_| nth > 0);
                    // Acknowledged only after `each` has written the lines, so that a slow writer slows down the root's
                    // sending.
                    let _ = self.send(Verb::LogsSeen { request, replies: 1, through, again: false }, first);
                }
                // This process was suspended, or could not write, for so long that the root has forgotten it.
                Ok(Some(Reply::Refused { why: Refusal::Forgotten, .. })) if caught_up => {
                    request = self.send(verb(Some(0)), first)?;
                    received = 0;
                    gap = true;
                }
                Ok(Some(Reply::Refused { why, message })) => return Err(AskError::Refused { why, message }),
                Ok(Some(_)) => return Err(AskError::something_else()),
                Ok(None) if caught_up => {}
                Ok(None) => return Err(AskError::NoAnswer { limit: self.now().since(begun) }),
                Err(AskError::Gone) if asked.follow => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
