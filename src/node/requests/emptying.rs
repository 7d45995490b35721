//! A subtree that is killed past the supervisors above it, since they do not answer: it is inspected and killed until
//! nothing is left of it, or for as long as a node is waited for. Pure: the results of the looks come from outside.

use super::replies::{PROGRESS_EVERY, SILENCE_BELOW, accepted, done, refused};
use crate::ids::Path;
use crate::node::children::Look;
use crate::time::{Span, Time};
use crate::wire::message::{Outcome, Refusal, Reply};
use serde::{Deserialize, Serialize};

/// The subtree, and since when it is being killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Emptying {
    pub path: Path,
    pub hold: bool,
    pub since: Time,
}

/// The next step after a look.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Look again at this time.
    Again(Time),
    /// The request is over, with this reply.
    Over {
        /// It was killed, and what may be left of it is waited for no longer.
        killed: bool,
        reply: Reply,
    },
}

impl Emptying {
    /// The report that it is not over yet.
    pub(super) fn progress(&self) -> Reply {
        accepted(format!("{} is being killed past its supervisor", self.path))
    }

    /// Whether the asker is due another progress report by the next look. Without any it would not know a slow end
    /// from a root that hangs.
    pub(super) fn reports(&self, now: Time, next: Time) -> bool {
        let reports_until = |at: Time| at.since(self.since).as_millis() / PROGRESS_EVERY.as_millis();
        reports_until(next) > reports_until(now)
    }

    /// Decides the next step by what a look has found.
    pub(super) fn looked(&self, now: Time, look: Look) -> Next {
        let Emptying { path, hold, since } = self;
        let past = now.since(*since);
        match look {
            Look::Left(_) if past < SILENCE_BELOW => Next::Again(now + Span::from_millis(2).max(past.scaled(0.1))),
            Look::Left(one) => {
                let killed = one.is_some() && !hold;
                let why = match one {
                    Some((pid, why)) => format!("process {pid} of {path} cannot be killed: {why}"),
                    None => format!("whether anything of {path} is left cannot be seen"),
                };
                Next::Over { killed, reply: done(Outcome::KillFailed, why) }
            }
            Look::Empty if *hold => {
                let message = format!(
                    "{path} was killed past its supervisor, which does not answer and so cannot be asked to leave it \
                     down; hold the supervisor instead"
                );
                Next::Over { killed: false, reply: refused(Refusal::NoAnswer, message) }
            }
            Look::Empty => {
                let detail = format!("the supervisor above {path} does not answer; it was killed past it");
                Next::Over { killed: true, reply: done(Outcome::Ok, detail) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_until_nothing_is_left_or_for_as_long_as_a_node_is_waited_for() {
        let since = Time::ZERO + Span::from_secs(1);
        let emptying = Emptying { path: Path::parse("/web/api").unwrap(), hold: false, since };
        assert_eq!(emptying.looked(since, Look::Left(None)), Next::Again(since + Span::from_millis(2)));
        let later = since + Span::from_secs(2);
        assert_eq!(emptying.looked(later, Look::Left(None)), Next::Again(later + Span::from_millis(200)));
        let over = emptying.looked(since + SILENCE_BELOW, Look::Left(Some((7, "it is stuck".into()))));
        let why = "process 7 of /web/api cannot be killed: it is stuck";
        assert_eq!(over, Next::Over { killed: true, reply: done(Outcome::KillFailed, why.into()) });
        let unseen = emptying.looked(since + SILENCE_BELOW, Look::Left(None));
        assert!(matches!(unseen, Next::Over { killed: false, reply: Reply::Done { .. } }), "{unseen:?}");
        assert!(matches!(emptying.looked(later, Look::Empty), Next::Over { killed: true, .. }));
        // Meanwhile it is reported that it goes on.
        let (mut now, mut reports) = (since, 0);
        while let Next::Again(next) = emptying.looked(now, Look::Left(None)) {
            reports += u64::from(emptying.reports(now, next));
            now = next;
        }
        assert_eq!(reports, SILENCE_BELOW.as_millis() / PROGRESS_EVERY.as_millis());
        let held = Emptying { hold: true, ..emptying };
        let over = held.looked(later, Look::Empty);
        assert!(
            matches!(over, Next::Over { killed: false, reply: Reply::Refused { why: Refusal::NoAnswer, .. } }),
            "{over:?}"
        );
    }
}
