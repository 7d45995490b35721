//! What a child reports of itself (beats, sd_notify), and how each report changes the child's state.

use super::child::Child;
use super::event::{Beat, Notice};
use super::phase::{Phase, StopBegun};
use super::types::{ReportedState, Stale};
use crate::spec::policy::Shutdown;
use crate::time::{Span, Time};

impl Child {
    /// Takes in a beat: the status and roll-up that it reports, and the sign of life. Fails for an old beat, and for a
    /// child without a process.
    pub(super) fn beat(&mut self, now: Time, beat: Beat) -> Result<(), Stale> {
        let process = self.process_mut().filter(|process| process.pid.is_some()).ok_or(Stale)?;
        if process.watch.as_mut().is_some_and(|watch| !watch.beat(now, &beat)) {
            return Err(Stale);
        }
        if beat.status.is_some() {
            process.status = beat.status;
        }
        if let Some(rollup) = beat.rollup {
            process.rollup = Some(Box::new((rollup, now)));
        }
        Ok(())
    }

    /// Takes in an sd_notify message of the child. Returns the former main pid if the child has named another process
    /// as its main one.
    pub(super) fn notice(&mut self, now: Time, notice: Notice) -> Result<Option<u32>, Stale> {
        let shutdown = self.member.policy.shutdown;
        let process = self.process_mut().filter(|process| process.pid.is_some()).ok_or(Stale)?;
        let Notice { word, status, main_pid, last_failure, limit, extend, hung: _ } = notice;
        if let Some(text) = status {
            process.status = Some(text).filter(|text| !text.is_empty());
        }
        if word.is_some() || main_pid.is_some() || last_failure.is_some() {
            let said = process.said.get_or_insert_default();
            said.word = word.or(said.word);
            said.main_pid = main_pid.or(said.main_pid);
            said.last_failure = last_failure.or(said.last_failure.take());
        }
        if let Some(watch) = process.watch.as_deref_mut() {
            if let Some(limit) = limit {
                watch.set_limit(limit);
            }
            // A child that is stopping has left the loop that beats. Its silence is allowed for as long as its shutdown
            // timeout.
            if word == Some(ReportedState::Stopping) {
                match shutdown {
                    Shutdown::BrutalKill => {}
                    Shutdown::After(time) => watch.spare(now + time),
                    Shutdown::Infinity => watch.spare(now + Span::MAX),
                }
            }
            if let Some(time) = extend {
                watch.spare(now + time);
            }
        }
        if let (Some(time), Phase::Starting { deadline, .. } | Phase::Stopping { deadline, .. }) =
            (extend, &mut self.phase)
        {
            *deadline = deadline.map(|deadline| deadline.max(now + time));
        }
        let before = main_pid.and_then(|main| self.process_mut()?.pid.replace(main));
        Ok(before.filter(|before| Some(*before) != main_pid))
    }

    /// The request to stop, or the kill, that was sent to the former main process: a new main process has to get it as
    /// well.
    pub(super) fn asked_before(&self) -> Option<StopBegun> {
        match &self.phase {
            Phase::Stopping { .. } => Some(StopBegun::Ask),
            Phase::Killing { .. } => Some(StopBegun::Kill),
            Phase::Starting { .. }
            | Phase::Running(_)
            | Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Held
            | Phase::Ended => None,
        }
    }
}
