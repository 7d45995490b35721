//! Steps: children whose start is over when they have exited with a success code (D19).

use super::child::Child;
use super::phase::{DownReason, Phase, Target};
use super::types::{Exit, Kind};
use crate::spec::policy::{Ready, Restart};
use crate::time::Time;

impl Child {
    /// Whether it is a step: its start is over when its process exits with a success code.
    pub(super) fn is_up_at_exit(&self) -> bool {
        self.member.kind == Kind::Worker && self.member.policy.ready == Ready::Exit
    }

    /// Whether it is a step that is done, and has not failed since.
    pub(super) fn is_done(&self) -> bool {
        let over = matches!(self.phase, Phase::Ended | Phase::Down(DownReason::Undecided { normal: true, .. }));
        let success = |(exit, _): (Exit, Time)| exit.is_normal(&self.member.policy.success_codes);
        self.is_up_at_exit() && over && self.last_exit.is_some_and(success)
    }

    /// Whether it is a step that a new spec makes run again: it has ended, or its run failed and is not retried.
    pub(super) fn is_to_be_done_again(&self) -> bool {
        let over = match &self.phase {
            Phase::Ended | Phase::Down(DownReason::Undecided { normal: true, .. }) => true,
            Phase::Down(DownReason::Idle) => self.member.policy.restart == Restart::Temporary,
            Phase::Down(DownReason::Queued | DownReason::Manual | DownReason::Undecided { .. })
            | Phase::Waiting { .. }
            | Phase::Starting { .. }
            | Phase::Running(_)
            | Phase::Stopping { .. }
            | Phase::Killing { .. }
            | Phase::Held => false,
        };
        self.is_up_at_exit() && over && self.target == Target::Up
    }

    /// A step is done: its process exited with a success code, which ends its start.
    pub(super) fn done(&mut self) {
        self.target = Target::Up;
        self.delays.started();
    }
}
