//! What a node keeps while an upgrade is under way: its course, the executable, the rehearsal, and when to go on.

use super::behind::LeftBehind;
use super::course::{Course, Wanted};
use super::rehearsal::Rehearsal;
use super::replaced::{Answered, ReplacedNodes, Taken};
use super::reports::{AGAIN, Reports};
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
use crate::wire::upgrade::{self, State, Supervisor, Upgrade};
use crate::wire::view::EventView;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

/// The version of this program.
pub(in crate::node) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The state of an upgrade in a node.
#[derive(Default)]
pub(in crate::node) struct Upgrading {
    course: Option<Course>,
    /// The new executable.
    file: Option<Executable>,
    rehearsal: Option<Rehearsal>,
    /// Whether the upgrade follows when the rehearsals of all nodes have succeeded.
    then: bool,
    /// The nodes that an earlier upgrade has not reached, with their versions.
    behind: LeftBehind,
    /// When to try again to be replaced.
    again: Option<Time>,
    /// The child nodes that are being replaced.
    replaced: ReplacedNodes,
    reports: Reports,
}

/// The part in the snapshot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedUpgrading {
    course: Option<Course>,
    behind: LeftBehind,
}

impl Upgrading {
    pub(in crate::node) fn pack(&self) -> CarriedUpgrading {
        let Upgrading { course, file: _, rehearsal: _, then: _, behind, again: _, replaced: _, reports: _ } = self;
        CarriedUpgrading { course: course.clone(), behind: behind.clone() }
    }

    /// Takes the state over from the snapshot. Child nodes have to connect again, so questions to them are held.
    pub(in crate::node) fn unpack(
        carried: CarriedUpgrading,
        now: Time,
        nodes: impl IntoIterator<Item = Run>,
    ) -> Upgrading {
        let CarriedUpgrading { course, behind } = carried;
        Upgrading { course, behind, replaced: ReplacedNodes::that_connect(now, nodes), ..Upgrading::default() }
    }

    pub(in crate::node) fn next_deadline(&self) -> Option<Time> {
        let rehearsal = self.rehearsal.as_ref().and_then(Rehearsal::deadline);
        let course = self.course.as_ref().and_then(Course::next_deadline);
        let deadlines = [
            self.replaced.next_deadline(),
            rehearsal,
            self.again,
            course,
            self.course.as_ref().and_then(|course| self.reports.due(course)),
        ];
        deadlines.into_iter().flatten().min()
    }

    // The course.

    /// The course, while an upgrade is under way.
    pub(in crate::node) fn course(&self) -> Option<&Course> {
        self.course.as_ref()
    }

    /// An operator's upgrade begins with the rehearsal of the tree; `check`: nothing follows it. Returns whether nodes
    /// that run `file` already are to stay as they are, since an earlier upgrade has not reached all others.
    pub(in crate::node) fn begins_whole(&mut self, check: bool, file: &Executable) -> bool {
        self.then = !check;
        !self.behind.is_empty() && file.is_own()
    }

    /// Begins this node's part. `path` is the node's, `nodes` are its child nodes.
    pub(in crate::node) fn begin(
        &mut self,
        now: Time,
        wanted: Wanted,
        file: Executable,
        path: &Path,
        nodes: Vec<(Run, Path)>,
    ) {
        let to = self.course.take().map(|course| course.to().to_owned());
        let stays = wanted.rest && file.is_own();
        let state = if wanted.check { State::Ready } else { State::Upgraded };
        self.course = Some(Course::new(now, wanted, VERSION.into(), to, nodes));
        self.file = Some(file);
        self.reports.begin();
        if stays {
            self.own_is_over(path, state, None, None);
        }
    }

    /// The rehearsal of the tree has succeeded, and the upgrade follows.
    pub(in crate::node) fn begin_after_rehearsal(&mut self, now: Time, path: &Path, nodes: Vec<(Run, Path)>) {
        if let (Some(course), Some(file)) = (&self.course, self.file.take()) {
            let wanted = Wanted { check: false, ..course.wanted.clone() };
            self.begin(now, wanted, file, path, nodes);
            self.again = Some(now);
        }
    }

    /// Whether an upgrade follows the rehearsal of the tree, which is over; asked once.
    pub(in crate::node) fn goes_beyond_rehearsal(&mut self) -> bool {
        let is_check = self.course.as_ref().is_some_and(|course| course.wanted.check);
        is_check && std::mem::take(&mut self.then)
    }

    /// The upgrade of the tree is over: keeps which nodes it has not reached.
    pub(in crate::node) fn keep_behind(&mut self) {
        if let Some(behind) = self.course.as_ref().and_then(Course::behind) {
            self.behind.renew(behind);
        }
    }

    /// The results so far.
    pub(in crate::node) fn result(&self, course: &Course) -> Upgrade {
        self.behind.corrected(course.upgrade())
    }

    /// See [`Course::take_silent`].
    pub(in crate::node) fn take_silent(&mut self) -> Vec<((Run, Path), String)> {
        self.course.as_mut().map(Course::take_silent).unwrap_or_default()
    }

    /// This image has replaced another one, and has these child nodes.
    pub(in crate::node) fn found_below(&mut self, nodes: Vec<(Run, Path)>) {
        if let Some(course) = &mut self.course {
            course.found_below(nodes);
        }
    }

    /// Everything that has to be tried again is tried soon.
    pub(in crate::node) fn try_again(&mut self, now: Time) {
        self.again = Some(now + AGAIN);
    }

    /// Gives up on child nodes that are silent. Returns whether this node's own rehearsal is wanted.
    pub(in crate::node) fn due(&mut self, now: Time) -> bool {
        let Some(course) = &mut self.course else { return false };
        course.due(now);
        course.wants_rehearsal()
    }

    /// The executable that replaces this one.
    ///
    /// # Errors
    /// There is none, in words.
    pub(in crate::node) fn file(&self) -> Result<&Executable, String> {
        self.file.as_ref().ok_or_else(|| "the executable is gone".into())
    }

    // The rehearsal.

    pub(in crate::node) fn is_rehearsing(&self) -> bool {
        self.rehearsal.is_some()
    }

    /// The rehearsal that runs now.
    pub(in crate::node) fn rehearsal(&mut self) -> Option<&mut Rehearsal> {
        self.rehearsal.as_mut()
    }

    /// Begins the rehearsal of this node with a snapshot of its state.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(in crate::node) fn rehearse(
        &mut self,
        snapshot: &OwnedFd,
        context: &Context,
        reactor: &mut Reactor,
    ) -> Result<(), String> {
        self.rehearsal = Some(Rehearsal::begin(self.file()?, snapshot, context, reactor)?);
        Ok(())
    }

    /// The rehearsal of this node, which is at `path`, is over, or could not be started. The result is the version of
    /// the executable, or why it cannot go on.
    pub(in crate::node) fn rehearsed(&mut self, result: Result<String, String>, path: &Path) {
        self.rehearsal = None;
        match (result, &mut self.course) {
            (Ok(version), Some(course)) => {
                course.is_to(version);
                self.own_is_over(path, State::Ready, None, None);
            }
            (Ok(_), None) => {}
            (Err(why), _) => self.own_is_over(path, State::Failed, None, Some(why)),
        }
    }

    // The nodes below.

    /// The child nodes that are being replaced.
    pub(in crate::node) fn replaced(&mut self) -> &mut ReplacedNodes {
        &mut self.replaced
    }

    /// See [`ReplacedNodes::take_due`]. Begins a turn: only child nodes that have still to connect are tried again.
    pub(in crate::node) fn take_due(
        &mut self,
        now: Time,
        waits: impl Fn(&Question) -> bool,
        send: impl FnMut(&Question) -> bool,
    ) -> Taken {
        let taken = self.replaced.take_due(now, waits, send);
        self.again = (!taken.is_all).then(|| now + AGAIN);
        taken
    }

    /// The child nodes whose turn it is, and what they are to be asked for.
    pub(in crate::node) fn next_below(&mut self) -> Option<(Wanted, Vec<(Run, Path)>)> {
        let course = self.course.as_mut()?;
        Some((course.wanted.clone(), course.next()))
    }

    /// A child node whose turn it is was sent the order under this number, or could not be reached.
    pub(in crate::node) fn asked(&mut self, now: Time, request: u64, child: (Run, Path), reached: bool) {
        let Some(course) = &mut self.course else { return };
        let node = child.0;
        match reached {
            true => course.asked(now, request, child),
            false => course.not_reached(now, child),
        }
        if reached && !course.wanted.check {
            self.replaced.ordered(now, node);
        }
    }

    /// A child node has replied.
    pub(in crate::node) fn answered(&mut self, now: Time, run: Run, request: u64, reply: Reply) -> Answered {
        let Some(course) = self.course.as_mut().filter(|course| course.has_asked(request)) else {
            return Answered::Other(reply);
        };
        let leaves = course.is_left_by(&reply);
        course.answered(now, request, reply);
        if leaves {
            self.replaced.leaves(now, run);
            return Answered::Leaves;
        }
        if !course.has_asked(request) {
            self.replaced.is_back(run);
        }
        Answered::Reachable
    }

    // Reports.

    /// Whether to send the asker now what is known so far.
    pub(in crate::node) fn reports_now(&mut self, now: Time) -> bool {
        self.course.as_ref().is_some_and(|course| self.reports.are_due(now, course, self.then))
    }

    /// See [`Reports::waits_above`].
    pub(in crate::node) fn waits_above(&self) -> bool {
        self.course.as_ref().is_some_and(|course| self.reports.waits_above(course))
    }

    /// See [`Reports::before_gap`].
    pub(in crate::node) fn before_gap(&mut self, now: Time) -> Option<(u64, Reply)> {
        self.reports.before_gap(now, self.course.as_ref()?)
    }

    /// See [`Reports::works_on`].
    pub(in crate::node) fn works_on(&mut self, why: &str) -> Option<(u64, Reply)> {
        self.reports.works_on(why, self.course.as_ref()?)
    }

    /// The parent holds its questions to this node, which has reported on the order of this number.
    pub(in crate::node) fn holding(&mut self, request: u64) {
        if let Some(course) = &self.course {
            self.reports.holding(request, course);
        }
    }

    /// An event has happened in the tree.
    pub(in crate::node) fn has_happened(&mut self, event: &EventView) {
        self.behind.has_happened(event);
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
        self.behind.refuses(at, VERSION)
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
        self.reports.end();
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

    /// The process of a child node has ended.
    pub(in crate::node) fn lost(&mut self, gone: Run) {
        self.replaced.lost(gone);
        self.course.iter_mut().for_each(|course| course.lost(gone));
    }
}

#[cfg(test)]
mod tests;
