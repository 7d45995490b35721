//! Child nodes that are being replaced by another executable: how long questions to them are held, and how long they
//! may send no heartbeats.

use crate::node::requests::Question;
use crate::supervision::Run;
use crate::time::{Span, Time};
use crate::wire::message::Reply;
use std::collections::HashMap;

/// How long questions to a child node that is being replaced are held at most. After that they are sent all the same.
const AWAY: Span = Span::from_secs(5);

/// How long a child node that was ordered to be replaced may send no heartbeats: until it can be replaced
/// ([`REST`](super::course::REST)), until the next image has given up, and until the former one has made itself again
/// (each has [`LIMIT`](super::rehearsal::LIMIT)); and 3 s to execute and to connect.
const SPARED: Span = Span::from_secs(28);

/// The child nodes that are being replaced.
#[derive(Default)]
pub(in crate::node) struct ReplacedNodes {
    /// Those that cannot be asked now.
    away: HashMap<Run, Away>,
    /// Those that may send no heartbeats for a while.
    spared: HashMap<Run, Spared>,
}

struct Away {
    /// When the questions are sent at the latest.
    until: Time,
    /// The questions that are held until then.
    held: Vec<Question>,
    /// Whether the child node has to connect to this image again. Otherwise it is itself being replaced.
    connects: bool,
}

struct Spared {
    /// When it is judged again at the latest.
    until: Time,
    /// Whether it is reachable again. From its next heartbeat on it is judged again.
    back: bool,
}

/// Whether a question to a child node is held.
#[derive(Debug, PartialEq)]
pub(in crate::node) enum Hold {
    /// It is held until this time, or until the child node can be reached.
    Until(Time),
    /// It is to be sent now.
    Not(Question),
}

/// Questions that are no longer held.
pub(in crate::node) struct Taken {
    /// The numbers of questions that were sent.
    pub(in crate::node) sent: Vec<u64>,
    /// Questions that are to be sent.
    pub(in crate::node) ask: Vec<Question>,
    /// Whether no child node with questions has still to connect.
    pub(super) is_all: bool,
}

/// What a reply of a child node means for an upgrade.
pub(in crate::node) enum Answered {
    /// The reply is about something else.
    Other(Reply),
    /// The child node is about to be replaced.
    Leaves,
    Reachable,
}

impl ReplacedNodes {
    /// This image has just replaced another one. Child nodes have to connect again, so questions to them are held.
    pub(super) fn that_connect(now: Time, nodes: impl IntoIterator<Item = Run>) -> ReplacedNodes {
        let away = |run| (run, Away { until: now + AWAY, held: Vec::new(), connects: true });
        ReplacedNodes { away: nodes.into_iter().map(away).collect(), spared: HashMap::new() }
    }

    /// When held questions are sent at the latest.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.away.values().filter(|away| !away.held.is_empty()).map(|away| away.until).min()
    }

    /// A child node was ordered to be replaced. It is so as soon as it can be, and works until then.
    pub(super) fn ordered(&mut self, now: Time, node: Run) {
        self.spared.insert(node, Spared { until: now + SPARED, back: false });
    }

    /// A child node is about to be replaced: questions to it are held from now on. A report that is repeated does not
    /// make them wait for longer.
    pub(super) fn leaves(&mut self, now: Time, node: Run) {
        let away = self.away.entry(node).or_insert(Away { until: now + AWAY, held: Vec::new(), connects: false });
        // The image that had to connect again has done so, and is replaced itself: it would take a question with it.
        if std::mem::take(&mut away.connects) {
            away.until = now + AWAY;
        }
    }

    /// Holds a question to a child node that is being replaced. Gives other questions back.
    pub(in crate::node) fn hold(&mut self, now: Time, question: Question) -> Hold {
        match self.away.get_mut(&question.node) {
            Some(away) if away.until > now => {
                away.held.push(question);
                Hold::Until(away.until)
            }
            _ => Hold::Not(question),
        }
    }

    /// Takes the questions that need no longer be held: their time is over, or the child node can be reached. To find
    /// out whether a child node has connected again, its first question is sent by `send`, which returns whether that
    /// has worked. Questions of which `waits` returns false are dropped.
    pub(super) fn take_due(
        &mut self,
        now: Time,
        waits: impl Fn(&Question) -> bool,
        mut send: impl FnMut(&Question) -> bool,
    ) -> Taken {
        let late = self.away.extract_if(|_, away| away.until <= now);
        let ask = late.flat_map(|(_, away)| away.held).collect();
        let mut taken = Taken { sent: Vec::new(), ask, is_all: true };
        for away in self.away.values_mut().filter(|away| away.connects) {
            away.held.retain(&waits);
            let Some(first) = away.held.first() else { continue };
            if send(first) {
                taken.sent.push(away.held.remove(0).request);
                taken.ask.append(&mut away.held);
                away.until = now;
            } else {
                taken.is_all = false;
            }
        }
        taken
    }

    /// A child node can be reached again: takes the questions that were held for it.
    pub(in crate::node) fn take_held(&mut self, run: Run) -> Vec<Question> {
        self.away.remove(&run).map(|away| away.held).unwrap_or_default()
    }

    /// Why an overdue child node is not declared hung: it is being replaced. The next image has a time limit of its
    /// own, after which the former one goes on.
    pub(in crate::node) fn spares(&self, run: Run, now: Time) -> Option<String> {
        let spared = self.spared.get(&run)?;
        (now < spared.until).then(|| "it is being replaced by another executable".to_owned())
    }

    /// A child node is reachable again, whichever of its images runs. It is spared until its next heartbeat.
    pub(in crate::node) fn is_back(&mut self, run: Run) {
        self.spared.entry(run).and_modify(|spared| spared.back = true);
    }

    /// A child node has sent a heartbeat.
    pub(in crate::node) fn beat(&mut self, run: Run) {
        self.spared.retain(|spared, how| *spared != run || !how.back);
    }

    /// The process of a child node has ended.
    pub(super) fn lost(&mut self, gone: Run) {
        self.spared.remove(&gone);
        self.away.remove(&gone);
    }
}

#[cfg(test)]
mod tests;
