//! How a child is shown: its row in `status`, and the facts about a life that is over.

use super::child::Child;
use super::phase::{DownReason, Phase, Wait};
use super::report::{LastBeats, ProcessHistory};
use super::state::{BeatStatus, ChildStatus, State};
use crate::spec::policy::Restart;
use crate::time::{Span, Time};

impl Child {
    /// The life of its process up to `now`; for the report of its end.
    pub(super) fn past(&self, now: Time) -> ProcessHistory {
        let process = self.process();
        ProcessHistory {
            ran: self.began.map_or(Span::ZERO, |began| now.since(began)),
            killed: process.and_then(|process| process.killed),
            beats: self.last_beats(now),
            status: process.and_then(|process| process.status.clone()),
            out_of_memory: false,
        }
    }

    /// Its beats so far, if it promised any.
    pub(super) fn last_beats(&self, now: Time) -> Option<LastBeats> {
        self.process().and_then(|process| process.watch.as_deref()).map(|watch| watch.last_beats(now))
    }

    /// The state that users see. All phases are mapped to states here and nowhere else.
    pub(super) fn shown(&self) -> State {
        if self.lost.is_some() {
            return State::Stopping;
        }
        match &self.phase {
            Phase::Starting { .. } | Phase::Down(DownReason::Queued) => State::Starting,
            Phase::Running(_) => State::Running,
            Phase::Stopping { .. } | Phase::Killing { .. } => State::Stopping,
            Phase::Waiting { .. } => State::Waiting,
            Phase::Down(DownReason::Idle | DownReason::Manual) => State::Stopped,
            Phase::Down(DownReason::Undecided { normal, .. }) => match (self.member.policy.restart, normal) {
                (Restart::Permanent, _) | (Restart::Transient, false) => State::Waiting,
                (Restart::Transient, true) | (Restart::Temporary, _) => State::Exited,
            },
            Phase::Held => State::Held,
            Phase::Ended => State::Exited,
        }
    }

    /// The pid of its process, including one that cannot be killed.
    pub(super) fn status_pid(&self) -> Option<u32> {
        self.pid().or(self.lost.as_ref().map(|lost| lost.stuck.pid))
    }

    /// Its row in `status`.
    pub(super) fn status(&self, now: Time) -> ChildStatus {
        let process = self.process();
        let beats = self.member.policy.heartbeat.map(|promise| {
            let seen = process.and_then(|process| process.watch.as_ref()).map(|watch| watch.status(now));
            seen.unwrap_or(BeatStatus { promise, age: None, beats: 0, missed: 0, settled: 0 })
        });
        ChildStatus {
            id: self.id,
            name: self.member.name.clone(),
            kind: self.member.kind,
            state: self.shown(),
            done: self.is_done(),
            beside: Vec::new(),
            unstarted: self.is_manual(),
            pid: self.status_pid(),
            incarnation: self.incarnation,
            started: self.began,
            there_since: process.filter(|process| process.pid.is_some()).map(|process| process.since),
            restarts: self.restarts,
            exits: self.tally.exits(),
            restart: self.member.policy.restart,
            ready: self.member.policy.ready,
            beats,
            last_exit: self.last_exit,
            waits_until: match &self.phase {
                Phase::Waiting { wait: Wait::Until(until), .. } => Some(*until),
                Phase::Waiting { wait: Wait::Charge | Wait::Due | Wait::Gone | Wait::Freed | Wait::Host, .. }
                | Phase::Starting { .. }
                | Phase::Running(_)
                | Phase::Stopping { .. }
                | Phase::Killing { .. }
                | Phase::Down(_)
                | Phase::Held
                | Phase::Ended => None,
            },
            waits_for_host: matches!(self.phase, Phase::Waiting { wait: Wait::Host, .. }),
            stuck: self.lost.as_ref().map(|lost| lost.stuck.clone()),
            behind: self.behind,
            status: process.and_then(|process| process.status.clone()),
            word: process.and_then(|process| process.said.as_ref()).and_then(|said| said.word),
            main_pid: process.and_then(|process| process.said.as_ref()).and_then(|said| said.main_pid),
            sources: process.and_then(|process| process.watch.as_ref()).map_or(Vec::new(), |watch| watch.sources(now)),
            rollup: process.and_then(|process| process.rollup.as_ref()).map(|known| known.0.clone()),
        }
    }
}
