//! A placed subtree on the host that runs it, or is to: what the agent of its parent has ordered, and what has become
//! of that. Whether it may run here is the claim's affair.

use super::event::RunId;
use super::loss::Loss;
use super::message::{Ended, Failure, Outcome, Place, Subject, What};
use super::record::{Want, WantState};
use crate::time::Time;
use serde_json::Value;

/// What there is of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It is to be claimed and started.
    Wanted,
    /// By this order.
    Running(Running),
    /// Nothing of it is left. Its claim is kept until the parent has decided what follows.
    Over { how: Over, noted: bool },
    /// It does not come back: its claim is set free.
    Done,
}

/// A process of it, or one that is about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) run: RunId,
    /// `None` until it exists.
    pub(super) pid: Option<u32>,
    /// The digest of the spec that it has.
    digest: String,
    /// It was there before its present parent.
    adopted: bool,
    /// Its parent, or an earlier one, has ordered its end.
    pub(super) ends: bool,
    /// This host ends it for its own sake, and why.
    pub(super) by_host: Option<Loss>,
    /// It does not come back after that.
    done: bool,
    /// What is to be started after it.
    next: Option<(String, Box<Place>)>,
}

/// How it has come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// By itself, or by order of its parent.
    Ended(Ended, Value),
    /// By this host's.
    ByHost(Loss),
    /// There never was a process.
    Failed(Failure),
}

/// What follows from a parent's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, for now.
    Wait,
    /// This is the answer.
    Answer(Outcome),
    /// It has a new parent; it gets its spec as a reload if that is another one. Then this is the answer.
    Adopt { run: RunId, reload: bool, answer: Outcome },
    /// Ask it to stop.
    Stop(RunId),
    /// Kill it.
    Kill(RunId),
    /// It is not taken over: whether it may be started is to be seen first.
    Begin,
}

/// A subtree that a parent has asked this host for.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    /// The last order.
    pub(super) place: Box<Place>,
    /// The host of the agent that has sent it.
    pub(super) parent: String,
    pub(super) state: State,
    /// When what is not acknowledged is sent again.
    pub(super) again: Time,
}

impl Guest {
    pub(super) fn new(parent: &str, place: Box<Place>) -> Guest {
        Guest { place, parent: parent.to_owned(), state: State::Wanted, again: Time::ZERO }
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.place.subject
    }

    /// It was ordered later than this.
    pub(super) fn is_later(&self, subject: &Subject) -> bool {
        self.subject().is_after(subject.root_token, subject.run)
    }

    /// Its run, while there is one.
    pub(super) fn run(&self) -> Option<RunId> {
        match &self.state {
            State::Running(running) => Some(running.run),
            State::Wanted | State::Over { .. } | State::Done => None,
        }
    }

    /// Whether it is killed at the end of the lease.
    pub(super) fn runs_by_lease(&self) -> bool {
        self.place.placement.by_lease()
    }

    /// What its claim is to make of it.
    pub(super) fn want(&self) -> Want {
        let state = if self.state == State::Done { WantState::Down } else { WantState::Up };
        Want { bundle: self.place.digest.clone(), serial: self.subject().run, state, ..Want::default() }
    }

    /// Its claim is kept, and nothing is started.
    pub(super) fn rests(&self) -> bool {
        matches!(self.state, State::Over { .. })
    }

    /// A parent asks for it, with an order that is not an earlier one.
    pub(super) fn asked(&mut self, parent: &str, place: &Place, token: u64) -> Next {
        let same = self.subject() == &place.subject;
        match &mut self.state {
            State::Wanted if same => Next::Wait,
            State::Running(running) if same => match running.pid {
                Some(pid) => Next::Answer(running.answer(token, pid)),
                None => Next::Wait,
            },
            State::Over { how: Over::Failed(failure), .. } if same => Next::Answer(Outcome::Failed(failure.clone())),
            // That it has ended is reported besides.
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
                // One that is being started has the spec that its start was ordered with.
                let Some(pid) = running.pid else { return Next::Wait };
                let reload = running.takes_spec(&place.digest);
                Next::Adopt { run: running.run, reload, answer: running.answer(token, pid) }
            }
            State::Wanted | State::Over { .. } | State::Done => Next::Begin,
        }
    }

    /// It is to be started by another order; nothing of it runs.
    pub(super) fn begin(&mut self, parent: &str, place: Box<Place>) {
        *self = Guest::new(parent, place);
    }

    /// Its start is ordered.
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

    /// It has a process. The answer to its parent, and whether it was given another spec since its start was ordered.
    pub(super) fn is_there(&mut self, pid: u32, token: u64) -> Option<(Outcome, bool)> {
        let State::Running(running) = &mut self.state else { return None };
        running.pid = Some(pid);
        let reload = running.takes_spec(&self.place.digest);
        Some((running.answer(token, pid), reload))
    }

    /// Its end is ordered; with `kill` at once, with `done` for good.
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
                self.state = State::Over { how: Over::ByHost(Loss::of("it was not started yet")), noted: false };
                Next::Wait
            }
            State::Over { .. } | State::Done => Next::Wait,
        }
    }

    /// Nothing of its run is left.
    pub(super) fn over(&mut self, how: Over) {
        let State::Running(running) = &mut self.state else { return };
        let how = match running.by_host.take() {
            Some(loss) => Over::ByHost(loss),
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

    /// The parent has taken note of how it has ended.
    pub(super) fn noted(&mut self) {
        if let State::Over { noted, .. } = &mut self.state {
            *noted = true;
        }
    }

    /// What is to be reported, until the parent has taken note of it.
    pub(super) fn unreported(&self) -> Option<What> {
        match &self.state {
            State::Over { how, noted: false } => match how {
                Over::Ended(end, detail) => Some(What::Exited { end: *end, detail: detail.clone() }),
                Over::ByHost(loss) => Some(What::Lost(loss.clone())),
                Over::Failed(_) => None,
            },
            State::Over { .. } | State::Wanted | State::Running(_) | State::Done => None,
        }
    }
}

impl Running {
    /// It has this spec from here on; whether that is another one.
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
        let mut guest = Guest::new("a", place(1, "old"));
        guest.started(5);
        assert!(matches!(guest.asked("a", &place(2, "new"), 1), Next::Wait));
        assert_eq!(guest.is_there(77, 1), Some((Outcome::Adopted { token: 1, pid: 77 }, true)));
        assert!(matches!(guest.asked("a", &place(3, "new"), 1), Next::Adopt { run: 5, reload: false, .. }));
        assert!(matches!(guest.asked("a", &place(4, "newer"), 1), Next::Adopt { run: 5, reload: true, .. }));
    }
}
