//! A subtree that is killed past the supervisors above it, since they do not answer: it is inspected and killed until
//! nothing is left of it, or for as long as a node is waited for. Pure: the results of the looks come from outside.
//!
//! A node that was only slow restarts what is killed past it, and answers the request that it was sent before, if only
//! that it has read it too late. From then on it is left alone: to kill what it has started since would use up its
//! restart intensity.

use super::node_reader::Order;
use super::replies::{PROGRESS_EVERY, SILENCE_BELOW, accepted, done, refused};
use crate::ids::Path;
use crate::node::asker::Asker;
use crate::node::children::Look;
use crate::supervision::Run;
use crate::time::{Span, Time};
use crate::wire::message::{Outcome, Refusal, Reply, Verb};
use serde::{Deserialize, Serialize};

/// The subtree, and since when it is being killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Emptying {
    pub path: Path,
    pub hold: bool,
    pub since: Time,
    /// The node that was asked, whose answer may still come. Not in the snapshot of an upgrade: the connection that
    /// the answer would come by is lost.
    #[serde(skip)]
    pub node: Option<Run>,
    /// What the last look has found.
    #[serde(skip)]
    last: Found,
}

/// What a look has found of a subtree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Found {
    /// Nothing, or there was no look.
    #[default]
    Nothing,
    /// It cannot be seen whether something is left: only another host can kill there.
    Unseen,
    /// This process, since this time, and why it is alive.
    Process(u32, Time, String),
}

/// A process that SIGKILL has not ended for so long is not one that was started meanwhile, nor one that takes its time.
const SURVIVES: Span = Span::from_millis(100);

/// What a node replies that reads a request to panic after it has expired: that it does nothing, and works.
pub fn late(request: u64, verb: &Verb) -> Vec<Order> {
    let Verb::Panic { path, .. } = verb else { return Vec::new() };
    let message = format!("the supervisor above {path} has read the request too late");
    vec![Order::Reply(Asker::Parent { request }, refused(Refusal::NoAnswer, message))]
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
    /// Begins now. `node`: the node whose answer may still come.
    pub(super) fn new(path: Path, hold: bool, now: Time, node: Option<Run>) -> Emptying {
        Emptying { path, hold, since: now, node, last: Found::Nothing }
    }

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
    pub(super) fn looked(&mut self, now: Time, look: Look) -> Next {
        self.last = match (&look, &self.last) {
            (Look::Empty, _) => Found::Nothing,
            (Look::Left(None), _) => Found::Unseen,
            (Look::Left(Some((pid, why))), Found::Process(before, first, _)) if before == pid => {
                Found::Process(*pid, *first, why.clone())
            }
            (Look::Left(Some((pid, why))), _) => Found::Process(*pid, now, why.clone()),
        };
        let Emptying { path, hold, since, node, last: _ } = &*self;
        let past = now.since(*since);
        let again = Next::Again(now + Span::from_millis(2).max(past.scaled(0.1)));
        match look {
            Look::Left(_) if past < SILENCE_BELOW => again,
            // The node may still answer that it leaves the subtree down; what it starts until then is killed.
            Look::Empty if *hold && node.is_some() && past < SILENCE_BELOW => again,
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

    /// Decides the next step by the answer of the node, which was only slow.
    pub(super) fn answered(&mut self, now: Time, reply: Reply) -> Next {
        match reply {
            // It carries out the request itself, and has its time for that.
            Reply::Accepted { .. } => {
                self.since = now + SILENCE_BELOW;
                Next::Again(self.since)
            }
            Reply::Refused { .. } if !self.hold && self.last == Found::Unseen => Next::Over { killed: false, reply },
            Reply::Refused { .. } if !self.hold => {
                if let Found::Process(pid, first, why) = &self.last
                    && now.since(*first) >= SURVIVES
                {
                    let why = format!("process {pid} of {} cannot be killed: {why}", self.path);
                    return Next::Over { killed: true, reply: done(Outcome::KillFailed, why) };
                }
                // What was asked for is gone: that was killed before.
                let detail =
                    format!("the supervisor above {} did not answer in time; it was killed past it", self.path);
                Next::Over { killed: true, reply: done(Outcome::Ok, detail) }
            }
            reply => Next::Over { killed: false, reply },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::supervision::ChildId;

    const RUN: Run = Run { child: ChildId(0), incarnation: Incarnation(1) };

    #[test]
    fn it_is_looked_at_until_nothing_is_left_or_for_as_long_as_a_node_is_waited_for() {
        let since = Time::ZERO + Span::from_secs(1);
        let mut emptying = Emptying::new(Path::parse("/web/api").unwrap(), false, since, None);
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
        let mut held = Emptying { hold: true, ..emptying };
        let over = held.looked(later, Look::Empty);
        assert!(
            matches!(over, Next::Over { killed: false, reply: Reply::Refused { why: Refusal::NoAnswer, .. } }),
            "{over:?}"
        );
        // For as long as a node may answer that it leaves it down, this is waited for.
        let mut held = Emptying { node: Some(RUN), ..held };
        assert_eq!(held.looked(later, Look::Empty), Next::Again(later + Span::from_millis(200)));
        assert!(matches!(held.looked(since + SILENCE_BELOW, Look::Empty), Next::Over { killed: false, .. }));
        let down = done(Outcome::Ok, String::new());
        assert_eq!(held.answered(later, down.clone()), Next::Over { killed: false, reply: down });
    }

    #[test]
    fn a_node_that_answers_late_is_left_alone_from_then_on() {
        let since = Time::ZERO + Span::from_secs(1);
        let answered = since + Span::from_millis(100);
        let of = |hold| Emptying::new(Path::parse("/web/api").unwrap(), hold, since, Some(RUN));
        // It carries out the request, and has its time for that, and is looked past then.
        let mut emptying = of(false);
        let Next::Again(at) = emptying.answered(answered, accepted("stopping".into())) else { panic!() };
        assert_eq!(at, answered + SILENCE_BELOW);
        assert_eq!(emptying.looked(at, Look::Left(None)), Next::Again(at + Span::from_millis(2)));
        // It refuses, since it has restarted the incarnation that was meant.
        let gone = refused(Refusal::Changed, "incarnation 2 runs".into());
        let over = of(false).answered(answered, gone.clone());
        assert!(
            matches!(over, Next::Over { killed: true, reply: Reply::Done { outcome: Outcome::Ok, .. } }),
            "{over:?}"
        );
        assert_eq!(of(true).answered(answered, gone.clone()), Next::Over { killed: false, reply: gone.clone() });
        // What is on another host, only the node there can kill.
        let mut unseen = of(false);
        let _ = unseen.looked(since, Look::Left(None));
        assert_eq!(unseen.answered(answered, gone.clone()), Next::Over { killed: false, reply: gone.clone() });
        // A process that survives is no new one.
        let mut stuck = of(false);
        for at in [since, answered] {
            let _ = stuck.looked(at, Look::Left(Some((7, "it is stuck".into()))));
        }
        let over = stuck.answered(answered, gone.clone());
        assert!(matches!(over, Next::Over { reply: Reply::Done { outcome: Outcome::KillFailed, .. }, .. }), "{over:?}");
        let mut anew = of(false);
        for (at, pid) in [(since, 7), (answered, 8)] {
            let _ = anew.looked(at, Look::Left(Some((pid, "it dies".into()))));
        }
        let over = anew.answered(answered, gone);
        assert!(matches!(over, Next::Over { reply: Reply::Done { outcome: Outcome::Ok, .. }, .. }), "{over:?}");
    }
}
