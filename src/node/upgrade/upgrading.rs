//! What a node keeps while an upgrade is under way: its course, the executable, and the child nodes that cannot be
//! asked.

use super::course::Course;
use super::rehearsal::Rehearsal;
use crate::ids::Path;
use crate::node::asker::Asker;
use crate::node::children::{Children, Program};
use crate::node::context::Context;
use crate::node::reactor::Reactor;
use crate::node::requests::Question;
use crate::os::executable::{Executable, Identity};
use crate::supervision::Run;
use crate::time::{Span, Time};
use crate::wire::message::{Reply, Verb};
use crate::wire::upgrade::{self, State, Supervisor};
use crate::wire::view::{EventBody, EventView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// The version of this program.
pub(in crate::node) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long questions to a child node that is being replaced are held at most. After that they are sent all the same.
const AWAY: Span = Span::from_secs(5);

/// How long a child node that was ordered to be replaced may send no heartbeats: until it can be replaced
/// ([`REST`](super::course::REST)), until the next image has given up, and until the former one has made itself again
/// (each has [`LIMIT`](super::rehearsal::LIMIT)); and 3 s to execute and to connect.
const SPARED: Span = Span::from_secs(28);

/// How soon this node tries again to be replaced, or to reach a child node.
pub(in crate::node) const AGAIN: Span = Span::from_millis(20);

/// How often a node that waits for child nodes reports that to its parent, which gives up on a silent one.
const REPORT_EVERY: Span = Span::from_secs(5);

/// The state of an upgrade in a node.
#[derive(Default)]
pub(in crate::node) struct Upgrading {
    pub(in crate::node) course: Option<Course>,
    /// The new executable.
    pub(in crate::node) file: Option<Executable>,
    pub(in crate::node) rehearsal: Option<Rehearsal>,
    /// Whether the upgrade follows when the rehearsals of all nodes have succeeded.
    pub(in crate::node) then: bool,
    /// The nodes that an earlier upgrade has not reached, with their versions.
    pub(in crate::node) behind: Vec<(Path, String)>,
    /// When to try again to be replaced.
    pub(in crate::node) again: Option<Time>,
    /// Child nodes that cannot be asked now.
    pub(in crate::node) away: HashMap<Run, Away>,
    /// Child nodes that may send no heartbeats for a while, since they are being replaced.
    pub(in crate::node) spared: HashMap<Run, Spared>,
    /// Whether the parent holds its questions to this node, which is about to be replaced.
    pub(in crate::node) held_above: bool,
    /// How many results were reported to the asker.
    pub(in crate::node) told: usize,
    /// When the parent was last sent a report.
    pub(in crate::node) told_at: Option<Time>,
}

/// A child node that cannot be asked now.
pub(in crate::node) struct Away {
    /// When the questions are sent at the latest.
    pub(in crate::node) until: Time,
    /// The questions that are held until then.
    pub(in crate::node) held: Vec<Question>,
    /// Whether the child node has to connect to this image again. Otherwise it is itself being replaced.
    pub(in crate::node) connects: bool,
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
}

/// A child node that may send no heartbeats for a while.
pub(in crate::node) struct Spared {
    /// When it is judged again at the latest.
    pub(in crate::node) until: Time,
    /// Whether it is reachable again. From its next heartbeat on it is judged again.
    pub(in crate::node) back: bool,
}

/// The part in the snapshot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedUpgrading {
    course: Option<Course>,
    behind: Vec<(Path, String)>,
}

impl Upgrading {
    pub(in crate::node) fn pack(&self) -> CarriedUpgrading {
        let Upgrading {
            course,
            file: _,
            rehearsal: _,
            then: _,
            behind,
            again: _,
            away: _,
            spared: _,
            held_above: _,
            told: _,
            told_at: _,
        } = self;
        CarriedUpgrading { course: course.clone(), behind: behind.clone() }
    }

    /// Takes the state over from the snapshot. Child nodes have to connect again, so questions to them are held.
    pub(in crate::node) fn unpack(
        carried: CarriedUpgrading,
        now: Time,
        nodes: impl IntoIterator<Item = Run>,
    ) -> Upgrading {
        let CarriedUpgrading { course, behind } = carried;
        let away =
            nodes.into_iter().map(|run| (run, Away { until: now + AWAY, held: Vec::new(), connects: true })).collect();
        Upgrading { course, behind, away, ..Upgrading::default() }
    }

    pub(in crate::node) fn next_deadline(&self) -> Option<Time> {
        let away = self.away.values().filter(|away| !away.held.is_empty()).map(|away| away.until);
        let rehearsal = self.rehearsal.as_ref().and_then(Rehearsal::deadline);
        let course = self.course.as_ref().and_then(Course::next_deadline);
        away.chain(rehearsal).chain(self.again).chain(course).chain(self.report_due()).min()
    }

    /// When to report to the parent next. While this node waits for its own replacement it reports nothing: to the
    /// parent, a report without results is the sign that it is being replaced, and any other that it was replaced.
    fn report_due(&self) -> Option<Time> {
        let course = self.course.as_ref().filter(|course| course.waits_below())?;
        let to_parent = matches!(course.wanted.asker, Asker::Parent { .. });
        to_parent.then(|| self.told_at.map_or(Time::ZERO, |at| at + REPORT_EVERY))
    }

    /// Whether to send the asker now what is known so far: an operator when more is known, and the parent every few
    /// seconds.
    pub(in crate::node) fn reports_now(&mut self, now: Time) -> bool {
        let Some(course) = &self.course else { return false };
        match course.wanted.asker {
            Asker::Operator { .. } => {
                let known = course.known();
                known > std::mem::replace(&mut self.told, known) && !self.then
            }
            Asker::Parent { .. } => {
                let due = self.report_due().is_some_and(|at| at <= now);
                if due {
                    self.told_at = Some(now);
                }
                due
            }
            Asker::None => false,
        }
    }

    /// Why a request is refused: an upgrade is under way, or an earlier one has not reached the part of the tree that
    /// the request would change. `None` if it is not refused.
    pub(in crate::node) fn refuses(&self, verb: &Verb) -> Option<String> {
        let at = match verb {
            Verb::Reload { .. } | Verb::AbortReload => None,
            Verb::StartChild { path, .. } | Verb::RemoveChild { path } | Verb::Scale { path, .. } => Some(path),
            _ => return None,
        };
        self.refuses_change(at)
    }

    /// The same for a change at a path, or of the whole tree (`None`).
    pub(in crate::node) fn refuses_change(&self, at: Option<&Path>) -> Option<String> {
        let course = self.course.as_ref().filter(|course| !course.wanted.check || self.then);
        if let Some(course) = course {
            return Some(upgrade::Refusal::UnderWay { to: course.to().to_owned() }.to_string());
        }
        let within = |behind: &&(Path, String)| at.is_none_or(|at| at.is_within(&behind.0));
        let (path, version) = self.behind.iter().find(within)?;
        Some(upgrade::left_behind(path.as_str(), version, VERSION))
    }

    pub(in crate::node) fn is_check(&self) -> bool {
        self.course.as_ref().is_some_and(|course| course.wanted.check)
    }

    /// The part of this node, which is at `path`, has ended with this result.
    pub(in crate::node) fn own_is_over(
        &mut self,
        path: &Path,
        state: State,
        gap: Option<Span>,
        message: Option<String>,
    ) {
        let Some(course) = &mut self.course else { return };
        let (path, gap_ms) = (path.to_string(), gap.map(Span::as_millis));
        course.own_is_over(Supervisor { path, state, version: VERSION.into(), gap_ms, message });
    }

    /// Nothing below this node is upgraded: all supervisors there are reported as kept.
    pub(in crate::node) fn keep_below(&mut self, children: &Children) {
        let Some(course) = &mut self.course else { return };
        let mut kept = Vec::new();
        for child in children.iter() {
            if let Program::Node(below) = &child.what {
                below.now().for_each_supervisor(&child.path, &mut |path, _| {
                    let (path, version) = (path.to_string(), VERSION.to_owned());
                    kept.push(Supervisor { path, state: State::Kept, version, gap_ms: None, message: None });
                });
            }
        }
        course.keep_below(kept);
    }

    pub(in crate::node) fn end_course(&mut self) {
        (self.course, self.file, self.rehearsal, self.again) = (None, None, None, None);
        self.held_above = false;
    }

    /// This node ends, and the upgrade with it. A rehearsal is killed, and waited for over several turns. Returns the
    /// asker once.
    pub(in crate::node) fn end_with_the_node(
        &mut self,
        now: Time,
        context: &Context,
        reactor: &mut Reactor,
    ) -> Option<Asker> {
        if let Some(rehearsal) = &mut self.rehearsal
            && rehearsal.end(now, context, reactor)
        {
            self.rehearsal = None;
        }
        (self.file, self.again, self.then) = (None, None, false);
        Some(self.course.take()?.wanted.asker)
    }

    /// Where child nodes find the executable that they are ordered to take, and its identity. `None` if there is none
    /// to be taken.
    ///
    /// # Errors
    /// It cannot be looked at now.
    pub(in crate::node) fn executable(&self) -> Option<io::Result<(PathBuf, Value)>> {
        let pid = std::process::id();
        let (path, identity) = match (self.course.as_ref()?.wanted.check, &self.file) {
            (true, Some(file)) => (format!("/proc/{pid}/fd/{}", file.as_fd().as_raw_fd()), Ok(file.identity())),
            (true, None) => return None,
            // This node runs it already.
            (false, _) => (format!("/proc/{pid}/exe"), Identity::own()),
        };
        Some(identity.and_then(|identity| Ok((path.into(), serde_json::to_value(identity)?))))
    }

    /// A supervisor has ended or was started again, and all below it with it. So they run what the supervisor above
    /// them runs: none is behind any more, unless that one is.
    pub(in crate::node) fn has_happened(&mut self, event: &EventView) {
        let anew = matches!(event.body, EventBody::Exited(_) | EventBody::Started(_)) && event.beside.is_none();
        if self.behind.is_empty() || !anew {
            return;
        }
        let above = event.path.parent();
        if !self.behind.iter().any(|(path, _)| Some(path) == above.as_ref()) {
            self.behind.retain(|(path, _)| !path.is_within(&event.path));
        }
    }

    /// Whether this node waits for its parent, which has ordered the upgrade, to hold its questions. When it does, all
    /// that it had sent before was read.
    pub(in crate::node) fn waits_above(&self) -> bool {
        !self.held_above && self.ordered_by_parent().is_some()
    }

    /// The number of the parent's order, if a parent has ordered the upgrade.
    fn ordered_by_parent(&self) -> Option<u64> {
        match self.course.as_ref()?.wanted.asker {
            Asker::Parent { request } => Some(request),
            Asker::Operator { .. } | Asker::None => None,
        }
    }

    /// The report to the parent that this node is about to be replaced, if it is due, with the number of the order.
    pub(in crate::node) fn before_gap(&mut self, now: Time) -> Option<(u64, Reply)> {
        let (request, course) = (self.ordered_by_parent()?, self.course.as_ref()?);
        if self.told_at.is_some_and(|at| now < at + AGAIN) {
            return None;
        }
        self.told_at = Some(now);
        Some((request, Reply::Upgraded { upgrade: Box::new(course.upgrade()) }))
    }

    /// The parent holds its questions to this node, which has reported on the order of this number.
    pub(in crate::node) fn holding(&mut self, request: u64) {
        self.held_above |= self.ordered_by_parent() == Some(request);
    }

    /// The report to the parent that this node cannot be replaced yet, if the parent holds its questions: it sends them
    /// then.
    pub(in crate::node) fn works_on(&mut self, why: &str) -> Option<(u64, Reply)> {
        let request = self.ordered_by_parent().filter(|_| std::mem::take(&mut self.held_above))?;
        Some((request, Reply::Accepted { waiting_for: why.to_owned() }))
    }

    /// A child node was ordered to be replaced. It is so as soon as it can be, and works until then.
    pub(in crate::node) fn ordered(&mut self, now: Time, node: Run) {
        self.spared.insert(node, Spared { until: now + SPARED, back: false });
    }

    /// A child node is about to be replaced: questions to it are held from now on. A report that is repeated does not
    /// make them wait for longer.
    pub(in crate::node) fn leaves(&mut self, now: Time, node: Run) {
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
    pub(in crate::node) fn take_due(
        &mut self,
        now: Time,
        waits: impl Fn(&Question) -> bool,
        mut send: impl FnMut(&Question) -> bool,
    ) -> Taken {
        let late = self.away.extract_if(|_, away| away.until <= now);
        let mut taken = Taken { sent: Vec::new(), ask: late.flat_map(|(_, away)| away.held).collect() };
        for away in self.away.values_mut().filter(|away| away.connects) {
            away.held.retain(&waits);
            let Some(first) = away.held.first() else { continue };
            if send(first) {
                taken.sent.push(away.held.remove(0).request);
                taken.ask.append(&mut away.held);
                away.until = now;
            } else {
                self.again = Some(now + AGAIN);
            }
        }
        taken
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
    pub(in crate::node) fn lost(&mut self, gone: Run) {
        self.spared.remove(&gone);
        self.away.remove(&gone);
        self.course.iter_mut().for_each(|course| course.lost(gone));
    }
}

#[cfg(test)]
mod tests;
