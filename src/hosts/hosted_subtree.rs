//! A placed subtree on the host that runs it, or is to run it: the order of its parent's agent, and its state. Its
//! claim decides whether it may run here.

use super::event::RunId;
use super::loss::Loss;
use super::message::{Ended, Failure, Outcome, Place, ReportBody, Subject};
use super::record::{Want, WantState};
use crate::time::Time;
use serde_json::Value;

/// The state of a placed subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The subtree is to be claimed and started.
    Wanted,
    /// The subtree runs, or is being started.
    Running(Running),
    /// Nothing of the subtree is left. The claim is kept until the parent has decided what follows.
    Over { how: HostedRunEnd, noted: bool },
    /// The subtree is not started again, and its claim is set free.
    Done,
}

/// A run of a placed subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) run: RunId,
    /// The process id of the top node; `None` until it exists.
    pub(super) pid: Option<u32>,
    /// The digest of the spec that the run has.
    digest: String,
    /// Whether it was taken over from an earlier parent.
    adopted: bool,
    /// Whether its parent, or an earlier one, has ordered it to stop.
    pub(super) ends: bool,
    /// Set when this host ends it for its own reasons.
    pub(super) by_host: Option<Loss>,
    /// Whether it is not to be started again.
    done: bool,
    /// The order to start after it: the parent's host, and the order.
    next: Option<(String, Box<Place>)>,
}

/// How a run has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostedRunEnd {
    /// By itself, or because its parent has ordered it.
    Ended(Ended, Value),
    /// Because this host has ended it.
    ByHost(Loss),
    /// It could not be started.
    Failed(Failure),
}

/// What follows from an order of a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until another order or event arrives.
    Wait,
    Answer(Outcome),
    /// The run has a new parent. It is reloaded if its spec has changed; then this answer is sent.
    Adopt {
        run: RunId,
        reload: bool,
        answer: Outcome,
    },
    /// Ask the run to stop.
    Stop(RunId),
    /// Kill the run, without a stop before.
    Kill(RunId),
    /// It is not taken over: check first whether it may be started.
    Begin,
}

/// A subtree that a parent has ordered from this host.
#[derive(Debug, Clone)]
pub(super) struct HostedSubtree {
    /// The latest order of its parent.
    pub(super) place: Box<Place>,
    /// The host of the parent's agent.
    pub(super) parent: String,
    pub(super) state: State,
    /// When a report without acknowledgement is sent again.
    pub(super) again: Time,
}

impl HostedSubtree {
    pub(super) fn new(parent: &str, place: Box<Place>) -> HostedSubtree {
        HostedSubtree { place, parent: parent.to_owned(), state: State::Wanted, again: Time::ZERO }
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.place.subject
    }

    /// Whether the present order is later than this one.
    pub(super) fn is_later(&self, subject: &Subject) -> bool {
        self.subject().is_after(subject.root_token, subject.run)
    }

    /// The present run, if there is one.
    pub(super) fn run(&self) -> Option<RunId> {
        match &self.state {
            State::Running(running) => Some(running.run),
            State::Wanted | State::Over { .. } | State::Done => None,
        }
    }

    /// Whether it is killed at the deadline of the lease.
    pub(super) fn runs_by_lease(&self) -> bool {
        self.place.placement.by_lease()
    }

    /// The order for its claim, as a root's is in the store.
    pub(super) fn want(&self) -> Want {
        let state = if self.state == State::Done { WantState::Down } else { WantState::Up };
        Want { bundle: self.place.digest.clone(), serial: self.subject().run, state, ..Want::default() }
    }

    /// Whether the claim is kept without anything being started.
    pub(super) fn rests(&self) -> bool {
        matches!(self.state, State::Over { .. })
    }

    /// Handles an order of a parent that is not older than the present one.
    pub(super) fn asked(&mut self, parent: &str, place: &Place, token: u64) -> Next {
        let same = self.subject() == &place.subject;
        match &mut self.state {
            State::Wanted if same => Next::Wait,
            State::Running(running) if same => match running.pid {
                Some(pid) => Next::Answer(running.answer(token, pid)),
                None => Next::Wait,
            },
            State::Over { how: HostedRunEnd::Failed(failure), .. } if same => {
                Next::Answer(Outcome::Failed(failure.clone()))
            }
            // The answer to a start; the end is reported separately.
            State::Over { .. } if same => Next::Answer(Outcome::Started { token, pid: 0 }),
            State::Running(running) => {
                let (has, gets) = (&self.place.placement, &place.placement);
                let alike = has.exclusive == gets.exclusive && has.is_pinned() == gets.is_pinned();
                if running.ends || running.by_host.is_some() || !place.placement.adopt || !alike {
                    running.next = Some((parent.to_owned(), Box::new(place.clone())));
                    let first = !std::mem::replace(&mut running.ends, true);
                    return if first && running.pid.is_some() { Next::Stop(running.run) } else { Next::Wait };
                }
                running.adopted = true;
                (self.parent, self.place) = (parent.to_owned(), Box::new(place.clone()));
                // A run that is being started has the spec of the order that has started it.
                let Some(pid) = running.pid else { return Next::Wait };
                let reload = running.takes_spec(&place.digest);
                Next::Adopt { run: running.run, reload, answer: running.answer(token, pid) }
            }
            State::Wanted | State::Over { .. } | State::Done => Next::Begin,
        }
    }

    /// Replaces the order; nothing runs.
    pub(super) fn begin(&mut self, parent: &str, place: Box<Place>) {
        *self = HostedSubtree::new(parent, place);
    }

    /// The start of a run was ordered.
    pub(super) fn started(&mut self, run: RunId) {
        self.state = State::Running(Running {
            run,
            pid: None,
            digest: self.place.digest.clone(),
            adopted: false,
            ends: false,
            by_host: None,
            done: false,
            next: None,
        });
    }

    /// The run has a process. Returns the answer for the parent, and whether the spec has changed since the start was
    /// ordered.
    pub(super) fn is_there(&mut self, pid: u32, token: u64) -> Option<(Outcome, bool)> {
        let State::Running(running) = &mut self.state else { return None };
        running.pid = Some(pid);
        let reload = running.takes_spec(&self.place.digest);
        Some((running.answer(token, pid), reload))
    }

    /// Orders the end: with `kill` by SIGKILL, with `done` for good.
    pub(super) fn end(&mut self, kill: bool, done: bool) -> Next {
        match &mut self.state {
            State::Running(running) => {
                running.next = None;
                running.done |= done;
                let first = !std::mem::replace(&mut running.ends, true);
                match (kill, running.pid) {
                    (true, Some(_)) => Next::Kill(running.run),
                    (false, Some(_)) if first => Next::Stop(running.run),
                    (true | false, _) => Next::Wait,
                }
            }
            State::Wanted | State::Over { .. } if done => {
                self.state = State::Done;
                Next::Wait
            }
            State::Wanted => {
                self.state =
                    State::Over { how: HostedRunEnd::ByHost(Loss::of("it was not started yet")), noted: false };
                Next::Wait
            }
            State::Over { .. } | State::Done => Next::Wait,
        }
    }

    /// The order of this run counts no more, and the claim is to be set free, unless a later order is there. Only a run
    /// that was started by the order is killed: an earlier one may be in use, or is stopping, and ends in order.
    pub(super) fn withdraw(&mut self, subject: &Subject) -> Next {
        let (kill, next) = match &self.state {
            State::Running(running) => (!running.adopted, running.next.as_ref()),
            State::Wanted | State::Over { .. } | State::Done => (true, None),
        };
        let next_is_later = next.is_some_and(|(_, next)| next.subject.is_after(subject.root_token, subject.run));
        if self.is_later(subject) || next_is_later {
            return Next::Wait;
        }
        self.end(kill && self.subject() == subject, true)
    }

    /// The run has ended, and nothing of it is left.
    pub(super) fn over(&mut self, how: HostedRunEnd) {
        let State::Running(running) = &mut self.state else { return };
        let how = match running.by_host.take() {
            Some(loss) => HostedRunEnd::ByHost(loss),
            None => how,
        };
        let (done, next) = (running.done, running.next.take());
        match next {
            Some((parent, place)) => self.begin(&parent, place),
            None if done => self.state = State::Done,
            None => {
                self.state = State::Over { how, noted: false };
                self.again = Time::ZERO;
            }
        }
    }

    /// The parent has acknowledged the report of the end.
    pub(super) fn noted(&mut self) {
        if let State::Over { noted, .. } = &mut self.state {
            *noted = true;
        }
    }

    /// The report of the end, until the parent has acknowledged it.
    pub(super) fn unreported(&self) -> Option<ReportBody> {
        match &self.state {
            State::Over { how, noted: false } => match how {
                HostedRunEnd::Ended(end, detail) => Some(ReportBody::Exited { end: *end, detail: detail.clone() }),
                HostedRunEnd::ByHost(loss) => Some(ReportBody::Lost(loss.clone())),
                HostedRunEnd::Failed(_) => None,
            },
            State::Over { .. } | State::Wanted | State::Running(_) | State::Done => None,
        }
    }
}

impl Running {
    /// Sets the spec of the run. Returns whether it has changed.
    fn takes_spec(&mut self, digest: &str) -> bool {
        let other = self.digest != digest;
        digest.clone_into(&mut self.digest);
        other
    }

    fn answer(&self, token: u64, pid: u32) -> Outcome {
        if self.adopted { Outcome::Adopted { token, pid } } else { Outcome::Started { token, pid } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(run: u64, digest: &str) -> Box<Place> {
        let mut place = Place { digest: digest.into(), ..Place::default() };
        place.subject.run = run;
        place.placement.adopt = true;
        Box::new(place)
    }

    #[test]
    fn another_spec_that_comes_before_the_process_is_there_is_a_reload_once_it_is() {
        let mut subtree = HostedSubtree::new("a", place(1, "old"));
        subtree.started(5);
        assert!(matches!(subtree.asked("a", &place(2, "new"), 1), Next::Wait));
        assert_eq!(subtree.is_there(77, 1), Some((Outcome::Adopted { token: 1, pid: 77 }, true)));
        assert!(matches!(subtree.asked("a", &place(3, "new"), 1), Next::Adopt { run: 5, reload: false, .. }));
        assert!(matches!(subtree.asked("a", &place(4, "newer"), 1), Next::Adopt { run: 5, reload: true, .. }));
    }

    #[test]
    fn an_order_that_is_withdrawn_kills_only_what_it_has_started() {
        let subject = |run| place(run, "d").subject;
        let running = || {
            let mut subtree = HostedSubtree::new("a", place(1, "d"));
            subtree.started(5);
            subtree.is_there(77, 1);
            subtree
        };
        assert_eq!(running().withdraw(&subject(1)), Next::Kill(5));
        assert_eq!(running().withdraw(&subject(0)), Next::Wait);
        let mut of_before = running();
        assert_eq!((of_before.withdraw(&subject(2)), of_before.withdraw(&subject(2))), (Next::Stop(5), Next::Wait));
        let mut taken_over = running();
        assert!(matches!(taken_over.asked("a", &place(2, "d"), 1), Next::Adopt { .. }));
        assert_eq!(taken_over.withdraw(&subject(2)), Next::Stop(5));
        // The order to start after it stays, if it is a later one.
        for (withdrawn, stays) in [(2, true), (3, false)] {
            let (mut stopping, mut third) = (running(), place(3, "d"));
            third.placement.adopt = false;
            assert_eq!(stopping.asked("a", &third, 1), Next::Stop(5));
            assert_eq!(stopping.withdraw(&subject(withdrawn)), Next::Wait);
            stopping.over(HostedRunEnd::Ended(Ended::Code(0), Value::Null));
            assert_eq!(stopping.state == State::Wanted, stays, "{withdrawn}");
        }
    }
}
