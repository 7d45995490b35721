//! Reading what workers print.

use super::session::{AskError, STILL_THERE_EVERY, Session};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::{Refusal, Reply, Verb};
use crate::wire::view::LogView;
use std::ops::ControlFlow;

/// What is to be read.
#[derive(Debug, Clone)]
pub struct LogsAsked {
    /// The workers at and below these paths.
    pub paths: Vec<Path>,
    /// The last so many lines of those that are in memory; all of them without it.
    pub lines: Option<u64>,
    /// None that are older: milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Go on with what is printed from now on.
    pub follow: bool,
}

/// Some of what was read.
#[derive(Debug, Default)]
pub struct LogsRead {
    /// The lines; those of one worker in their order.
    pub lines: Vec<LogView>,
    /// So many lines were lost before these.
    pub lost: u64,
    /// An unknown number of lines was lost before these: we were away for too long.
    pub gap: bool,
    /// With these lines, all that was in memory has been sent.
    pub caught_up: bool,
    /// Supervisors below which no process could be asked; with `caught_up`.
    pub silent: Vec<Path>,
}

impl Session {
    /// Reads the lines that are in memory, and goes on with those to come when asked to. `each` may end it.
    ///
    /// A follower returns when the instance has ended.
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
            match self.next_reply(request, until) {
                // It came before, or others before it are missing, as after an upgrade of the root.
                Ok(Some(Reply::Logs { nth, .. })) if nth > 0 && nth != received + 1 => {
                    let again = nth > received;
                    let verb = Verb::LogsSeen { request, replies: 0, through: Some(received), again };
                    let _ = self.send(verb, first);
                }
                Ok(Some(Reply::Logs { lines, lost, caught_up: all_told, silent, nth })) => {
                    silent_at = self.now() + first;
                    received = received.max(nth);
                    // Sent a second time when it had to be asked for anew.
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
                    // Only now: a tool that writes slowly reads slowly, and the root has to be sent that.
                    let _ = self.send(Verb::LogsSeen { request, replies: 1, through, again: false }, first);
                }
                // We were stopped, or could not write, for so long that the root has taken us for gone.
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
