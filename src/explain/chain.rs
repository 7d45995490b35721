//! Follows the chain of causes, from the last event back to the first cause.
//!
//! Most events name their cause by its id. Some cannot: a signal or an exit status that passes from one process to
//! another carries no id. Such causes are found by the order of events at the two paths.

use super::meaning;
use super::types::Step;
use crate::explain::sentence;
use crate::ids::{Path, ReportId};
use crate::wire::view::event::StopWhy;
use crate::wire::view::{EventBody, EventView};
use std::collections::{HashMap, HashSet};

/// The exit statuses of a supervisor that gave up, and of one that could not start its children.
const GAVE_UP: i32 = 10;
const NOT_STARTED: i32 = 11;

/// A process that has run this long counts as healthy here, whatever the `reset` of its backoff is.
const HEALTHY_MS: u64 = 10_000;

/// The events of a tree, to be looked up.
pub(super) struct EventLog<'a> {
    events: &'a [EventView],
    by_id: HashMap<ReportId, usize>,
}

/// A chain of events by their place, oldest first.
#[derive(Default)]
pub(super) struct Found {
    pub steps: Vec<usize>,
    pub complete: bool,
}

impl<'a> EventLog<'a> {
    pub(super) fn of(events: &'a [EventView]) -> EventLog<'a> {
        let by_id = events.iter().enumerate().map(|(at, event)| (event.id, at)).collect();
        EventLog { events, by_id }
    }

    /// The last event of a path's own life. Not counted are a late beat that came after all, events that do not change
    /// the state, and those of a process beside it.
    pub(super) fn last_about(&self, path: &Path) -> Option<usize> {
        // A host that could not be reached for a while and can be again explains nothing any more.
        let mut over = None;
        self.events.iter().rposition(|event| {
            if event.path != *path {
                return false;
            }
            if matches!(event.body, EventBody::Reachable(_)) {
                over = event.cause;
            }
            is_of_its_life(event) && over != Some(event.id)
        })
    }

    /// The chain of causes behind the state of a path; `runs`: whether the tree runs.
    pub(super) fn behind(&self, path: &Path, runs: bool) -> Found {
        match self.anchor(path, runs) {
            Some(anchor) => self.back_from(anchor),
            None => Found { steps: Vec::new(), complete: true },
        }
    }

    /// The chain of causes behind an event, and the decision of its supervisor that followed.
    pub(super) fn around(&self, id: ReportId) -> Option<Found> {
        let at = *self.by_id.get(&id)?;
        let decides = |event: &EventView| {
            event.cause == Some(id)
                && matches!(event.body, EventBody::Restarting(_) | EventBody::FailedOver(_) | EventBody::GaveUp(_))
        };
        let decision = self.events[at..].iter().position(decides).map(|after| at + after);
        Some(self.back_from(decision.unwrap_or(at)))
    }

    fn back_from(&self, anchor: usize) -> Found {
        let mut steps = vec![anchor];
        let mut seen = HashSet::from([anchor]);
        let mut complete = true;
        let mut at = anchor;
        loop {
            match self.cause(at) {
                Cause::None => break,
                Cause::Forgotten => {
                    complete = false;
                    break;
                }
                // No treevisor writes events that name each other in a circle, but a damaged file may contain them.
                Cause::Is(cause) if !seen.insert(cause) => break,
                Cause::Is(cause) => {
                    steps.push(cause);
                    at = cause;
                }
            }
        }
        steps.reverse();
        // A hang begins with a late beat, so the two are shown as one.
        if let [first, second, ..] = steps[..]
            && is_late(&self.events[first])
            && matches!(self.events[second].body, EventBody::Hung(_))
        {
            steps.remove(0);
        }
        Found { steps, complete }
    }

    /// The event that led to the present state: the last one about the path, unless a supervisor above it has ended
    /// since. Children that are killed with their supervisor have no event of their own.
    fn anchor(&self, path: &Path, runs: bool) -> Option<usize> {
        let own = self.last_about(path);
        let mut above = path.parent();
        let mut ended = None;
        while let Some(supervisor) = above {
            let end = self.events.iter().rposition(|event| {
                event.path == supervisor
                    && match event.body {
                        EventBody::Exited(_) => true,
                        // No supervisor above the root reports its exit.
                        EventBody::GaveUp(_)
                        | EventBody::AutoShutdown(_)
                        | EventBody::Stopping(_)
                        | EventBody::Panic(_) => supervisor.is_root() && !runs,
                        _ => false,
                    }
            });
            if end > own && end > ended {
                ended = end;
            }
            above = supervisor.parent();
        }
        match ended {
            Some(end) => self.last_about(&self.events[end].path),
            // There is no event about the path: its supervisor has not started it yet, or has ended.
            None => own.or_else(|| match path.parent() {
                Some(above) => self.last_about(&above),
                // A root that cannot start a child ends without an event about itself.
                None if !runs => self.events.iter().rposition(|event| {
                    is_failed_start(event) && event.path.parent().is_some_and(|above| above.is_root())
                }),
                None => None,
            }),
        }
    }

    fn cause(&self, at: usize) -> Cause {
        let event = &self.events[at];
        let named = event.cause.map(|id| self.by_id.get(&id).copied());
        let from_start = match named {
            Some(Some(cause)) => is_start(&self.events[cause]),
            Some(None) | None => false,
        };
        if matches!(event.body, EventBody::Exited(_))
            && (named.is_none() || from_start)
            && let Some(cause) = self.end_of_a_supervisor(at)
        {
            return Cause::Is(cause);
        }
        match named {
            // The start of a child is not the cause of its failure.
            Some(Some(_)) if from_start && is_failure(event) => Cause::None,
            Some(Some(cause)) => Cause::Is(cause),
            // The event that is no longer in memory can only be the start of this child.
            Some(None) if is_failure(event) && !follows_an_end(event) => Cause::None,
            Some(None) => Cause::Forgotten,
            None => match self.order_from_above(at) {
                Some(cause) => Cause::Is(cause),
                None => Cause::None,
            },
        }
    }

    /// The cause of a supervisor's exit, if the parent got nothing but the exit status.
    fn end_of_a_supervisor(&self, at: usize) -> Option<usize> {
        let exit = &self.events[at];
        let exited = exit.exited()?;
        let of = |event: &EventView, is: fn(&EventBody) -> bool| event.path == exit.path && is(&event.body);
        let began = self.last_before(at, |event| of(event, |body| matches!(body, EventBody::Starting)))?;
        let since = |wanted: &dyn Fn(&EventView) -> bool| self.last_before(at, wanted).filter(|cause| *cause > began);
        match (exited.code, exited.signal) {
            (Some(GAVE_UP), _) => since(&|event| of(event, |body| matches!(body, EventBody::GaveUp(_)))),
            (Some(NOT_STARTED), _) => {
                since(&|event| event.path.parent().as_ref() == Some(&exit.path) && is_failed_start(event))
            }
            (Some(0), _) => since(&|event| of(event, |body| matches!(body, EventBody::AutoShutdown(_)))),
            (None, Some(_)) => since(&|event| event.path == exit.path && stops_for(event, &StopWhy::Signal)),
            _ => None,
        }
    }

    /// The cause of a stop ordered by the parent, which is a signal and so carries no id.
    fn order_from_above(&self, at: usize) -> Option<usize> {
        let event = &self.events[at];
        if !stops_for(event, &StopWhy::SupervisorEnds) {
            return None;
        }
        let above = event.path.parent()?;
        let orders = |event: &EventView| matches!(event.body, EventBody::Stopping(_) | EventBody::Panic(_));
        self.last_before(at, |other| other.path == above && orders(other))
    }

    fn last_before(&self, at: usize, wanted: impl Fn(&EventView) -> bool) -> Option<usize> {
        self.events[..at].iter().rposition(wanted)
    }

    /// An event of a chain as a step of it.
    pub(super) fn step(&self, at: usize, chain: &[usize]) -> Step {
        let event = &self.events[at];
        Step {
            category: meaning::category(event),
            text: sentence::of(event),
            meaning: self.meaning(at),
            times: if is_failure(event) { self.times(at, chain) } else { 1 },
            with: match event.body {
                EventBody::Restarting(_) | EventBody::FailedOver(_) => self.restarted_with(event),
                _ => Vec::new(),
            },
            event: event.clone(),
        }
    }

    /// The meaning of an event; for an exit also which process it was and which version it ran.
    fn meaning(&self, at: usize) -> Vec<String> {
        let event = &self.events[at];
        let mut meaning = meaning::of(event);
        let is_its =
            |other: &EventView| is_aside(other) && other.path == event.path && other.incarnation == event.incarnation;
        if matches!(event.body, EventBody::Exited(_))
            && let Some(before) = self.last_before(at, is_its)
        {
            meaning.extend(meaning::before_exit(&self.events[before]));
        }
        meaning
    }

    /// How many failures in a row the child had up to this one, without a healthy run in between. Counted are at most
    /// as many as the restart window of the chain's next decision holds.
    fn times(&self, at: usize, chain: &[usize]) -> u64 {
        let decision = chain.iter().filter(|step| **step > at).map(|step| &self.events[*step]);
        let used = decision.filter_map(|event| match &event.body {
            EventBody::Restarting(restarting) => Some(restarting.used),
            EventBody::GaveUp(gave_up) => Some(gave_up.used),
            _ => None,
        });
        let used = used.take(1).next().map_or(1, u64::from);
        let failed = &self.events[at];
        let mut lives = HashMap::new();
        let mut runs = HashSet::new();
        let (mut times, mut earliest) = (0, None);
        let of_child = |event: &&EventView| {
            event.path == failed.path && event.id.node == failed.id.node && event.beside == failed.beside
        };
        for event in self.events.iter().rev().filter(of_child) {
            if let Some(uptime) = event.exited().and_then(|exited| exited.uptime_ms) {
                lives.insert(event.incarnation, uptime);
            }
            // The exit of a hung process comes after the event of its failure. Both are of one node, and its clock may
            // have been set back.
            let is_later = event.incarnation > failed.incarnation || event.id.seq > failed.id.seq;
            if is_later || !is_failure(event) || runs.contains(&event.incarnation) {
                continue;
            }
            if earliest.and_then(|life| lives.get(&life)).is_some_and(|uptime| *uptime >= HEALTHY_MS) {
                break;
            }
            runs.insert(event.incarnation);
            earliest = Some(event.incarnation);
            // One event may stand for many.
            times += event.times();
            if times >= used {
                break;
            }
        }
        times.max(1)
    }

    fn restarted_with(&self, restart: &EventView) -> Vec<Path> {
        let of_group = |event: &&EventView| {
            event.cause == Some(restart.id)
                && event.path != restart.path
                && matches!(event.body, EventBody::Starting | EventBody::Stopping(_))
        };
        let mut with: Vec<Path> = Vec::new();
        for event in self.events.iter().filter(of_group) {
            if !with.contains(&event.path) {
                with.push(event.path.clone());
            }
        }
        with
    }
}

enum Cause {
    None,
    /// The event names a cause that is no longer in memory.
    Forgotten,
    Is(usize),
}

fn is_start(event: &EventView) -> bool {
    matches!(event.body, EventBody::Starting | EventBody::Started(_) | EventBody::Ready)
}

/// Whether the event can explain the state of the child at its path. The others occur while its process goes on as
/// before, and name no cause: the chain would end there.
fn is_of_its_life(event: &EventView) -> bool {
    match &event.body {
        EventBody::BeatLate(_)
        | EventBody::Reachable(_)
        | EventBody::Dropped(_)
        | EventBody::MainPid(_)
        | EventBody::Reloaded(_)
        | EventBody::Rollout(_)
        | EventBody::Upgraded(_)
        | EventBody::UpgradeFailed(_) => false,
        EventBody::Starting
        | EventBody::Started(_)
        | EventBody::Ready
        | EventBody::Unreachable(_)
        | EventBody::Hung(_)
        | EventBody::Exited(_)
        | EventBody::KillFailed(_)
        | EventBody::Restarting(_)
        | EventBody::FailedOver(_)
        | EventBody::NoHost(_)
        | EventBody::Stopping(_)
        | EventBody::Stopped
        | EventBody::Escalated(_)
        | EventBody::GaveUp(_)
        | EventBody::AutoShutdown(_)
        | EventBody::Succeeded(_)
        | EventBody::Panic(_)
        | EventBody::Held(_)
        | EventBody::Released(_)
        | EventBody::StartFailed(_)
        | EventBody::Other { .. } => event.beside.is_none(),
    }
}

fn is_late(event: &EventView) -> bool {
    matches!(event.body, EventBody::BeatLate(_))
}

/// Whether the same incarnation goes on, with another main process or another executable.
fn is_aside(event: &EventView) -> bool {
    matches!(event.body, EventBody::MainPid(_) | EventBody::Upgraded(_) | EventBody::UpgradeFailed(_))
}

fn is_failed_start(event: &EventView) -> bool {
    matches!(event.body, EventBody::StartFailed(_))
}

fn stops_for(event: &EventView, why: &StopWhy) -> bool {
    matches!(&event.body, EventBody::Stopping(stopping) if stopping.why == *why)
}

/// Whether the event is a failure itself, not a consequence of one.
pub(super) fn is_failure(event: &EventView) -> bool {
    match &event.body {
        EventBody::Hung(_) | EventBody::StartFailed(_) | EventBody::Panic(_) => true,
        EventBody::Exited(exited) => !exited.is_expected() && !exited.done,
        _ => false,
    }
}

/// Whether a failed start was caused by an exit of the started process, and not by the attempt to start it.
fn follows_an_end(event: &EventView) -> bool {
    match &event.body {
        EventBody::StartFailed(failed) => {
            matches!(failed.stage.as_str(), "ready" | "start-timeout" | "beat" | "panic")
        }
        _ => false,
    }
}
