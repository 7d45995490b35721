//! The fence as the agent's child process: starts it, pokes it, and replaces it when it ends or does not answer.

use super::place::Exclusive;
use super::reactor::{Reactor, Source};
use crate::host::fence::handed;
use crate::os::epoll::Tag;
use crate::os::page::{AnswerView, LeasePage, blank_answer};
use crate::os::pidfd::PidFd;
use crate::os::process;
use crate::os::spawn::{self, PlanSpec};
use crate::os::wake::Wake;
use crate::time::{Span, Time};
use slog::{Logger, error, info, warn};
use std::error::Error;
use std::os::fd::{AsFd, AsRawFd};

/// Delay before a fence that has ended is started again.
const AGAIN: Span = Span::from_millis(100);

/// A fence that has not answered for this long is replaced. The lease lasts longer than this without an answer.
const SILENCE: Span = Span::from_secs(1);

/// The fence process, or its next start.
pub(super) struct Guard {
    poke: Wake,
    answered: Wake,
    running: Option<Running>,
    again: Option<Time>,
    watchdog: FenceWatchdog,
}

/// The last poke, and when the fence counts as silent.
#[derive(Debug, Default)]
struct FenceWatchdog {
    last: u64,
    silent_at: Option<Time>,
}

impl FenceWatchdog {
    fn poked(&mut self, number: u64, now: Time) {
        self.last = number;
        self.silent_at.get_or_insert(now + SILENCE);
    }

    /// Whether the fence is silent by now, given the number of its last answer. Returns true once for each silence.
    fn is_silent(&mut self, answer: u64, now: Time) -> bool {
        if answer == self.last {
            self.silent_at = None;
        }
        self.silent_at.take_if(|at| *at <= now).is_some()
    }

    fn credit(&mut self, lost: Span) {
        self.silent_at = self.silent_at.map(|at| at + lost);
    }
}

struct Running {
    pidfd: PidFd,
    pid: u32,
    tag: Tag,
    answer: AnswerView,
}

impl Guard {
    /// Makes the part; the fence is started by [`Guard::due`].
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(reactor: &mut Reactor) -> Result<Guard, Box<dyn Error>> {
        let (poke, answered) = (Wake::new()?, Wake::new()?);
        reactor.watch(answered.as_raw_fd(), Source::Answered)?;
        Ok(Guard { poke, answered, running: None, again: Some(Time::ZERO), watchdog: FenceWatchdog::default() })
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        [self.again, self.watchdog.silent_at].into_iter().flatten().min()
    }

    /// Adds time in which the agent did not run to the deadline: whether the fence has run meanwhile is unknown.
    pub(super) fn credit(&mut self, lost: Span) {
        self.watchdog.credit(lost);
    }

    /// Kills the fence if it is silent by now. It may be a stopped process, which SIGKILL ends as well. Until there is
    /// another fence, the kernel's timers kill at the deadline of the lease.
    fn replace(&mut self, now: Time, logger: &Logger) {
        let Some(running) = &self.running else { return };
        if self.watchdog.is_silent(running.answer.answer(), now) {
            error!(logger, "the fence does not answer, and is replaced: without it the lease is not renewed"; "pid" => running.pid);
            // `ended` takes its exit; until then no other fence is started.
            let _ = running.pidfd.signal_child(running.pid, libc::SIGKILL);
        }
    }

    /// Starts the fence if that is due, and replaces it if it does not answer. An error is only logged: without a fence
    /// no lease is renewed.
    pub(super) fn due(
        &mut self,
        lease: &LeasePage,
        place: &Exclusive,
        now: Time,
        reactor: &mut Reactor,
        logger: &Logger,
    ) {
        self.replace(now, logger);
        if self.again.take_if(|at| *at <= now).is_none() {
            return;
        }
        match self.start(lease, place, reactor) {
            Ok(running) => {
                info!(logger, "the fence is there"; "pid" => running.pid);
                self.running = Some(running);
            }
            Err(error) => {
                warn!(logger, "cannot start the fence: the lease is not renewed without it"; "error" => %error);
                self.again = Some(now + Span::from_secs(1));
            }
        }
    }

    fn start(&self, lease: &LeasePage, place: &Exclusive, reactor: &mut Reactor) -> Result<Running, Box<dyn Error>> {
        let answer = blank_answer()?;
        let view = AnswerView::of(&answer)?;
        let (cgroup, agent) = (place.directory()?, PidFd::open(std::process::id())?);
        let stderr = std::io::stderr();
        let plan = spawn::prepare(PlanSpec {
            stderr: Some(stderr.as_fd()),
            extra: vec![
                (lease.fd(), handed::LEASE),
                (answer.as_fd(), handed::ANSWER),
                (self.poke.as_fd(), handed::POKE),
                (self.answered.as_fd(), handed::ANSWERED),
                (cgroup.as_fd(), handed::CGROUP),
                (agent.as_fd(), handed::AGENT),
            ],
            // No parent-death signal: the fence is needed when the agent dies.
            ..PlanSpec::new(vec![process::self_exe().into(), "fence".into()])
        })?;
        let spawned = plan.spawn()?;
        let tag = reactor.watch(spawned.pidfd.as_raw_fd(), Source::Fence).inspect_err(|_| {
            // A fence whose exit cannot be watched must not run. An error means that it has ended already.
            let _ = spawned.pidfd.signal_child(spawned.pid, libc::SIGKILL);
        })?;
        Ok(Running { pidfd: spawned.pidfd, pid: spawned.pid, tag, answer: view })
    }

    /// Asks the fence to answer with this number.
    pub(super) fn poke(&mut self, lease: &LeasePage, number: u64, now: Time) {
        lease.poke(number);
        if self.running.is_some() {
            self.watchdog.poked(number, now);
        }
        self.poke.ring();
    }

    /// The deadline was moved to an earlier moment: the fence has to read it.
    pub(super) fn wake(&self) {
        self.poke.ring();
    }

    /// The number of the fence's last answer.
    pub(super) fn answered(&self) -> Option<u64> {
        self.answered.take();
        self.running.as_ref().map(|running| running.answer.answer()).filter(|number| *number > 0)
    }

    /// Ends the fence: nothing that runs by the lease is left, and nothing will be started.
    pub(super) fn end(&mut self) {
        self.again = None;
        if let Some(running) = self.running.take() {
            let _ = running.pidfd.signal_child(running.pid, libc::SIGKILL);
            // The fence has real-time priority, so it dies at once.
            running.pidfd.wait_exit(Span::from_millis(200));
            let _ = running.pidfd.wait();
        }
    }

    /// Takes the exit of the fence, if it has ended, and schedules its next start.
    pub(super) fn ended(&mut self, now: Time, reactor: &mut Reactor, logger: &Logger) {
        let Some(running) = self.running.take() else { return };
        let Ok(Some(status)) = running.pidfd.wait() else {
            self.running = Some(running);
            return;
        };
        warn!(logger, "the fence has ended; it is started again"; "pid" => running.pid, "code" => status.code,
            "signal" => status.signal);
        reactor.unwatch(running.pidfd.as_raw_fd(), running.tag);
        self.watchdog.silent_at = None;
        self.again = Some(now + AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn a_fence_that_does_not_answer_is_silent_once() {
        let mut watchdog = FenceWatchdog::default();
        assert!(!watchdog.is_silent(0, at(0)), "it was asked nothing");
        watchdog.poked(7, at(0));
        // A second poke does not restart the time of silence.
        watchdog.poked(8, at(300));
        assert!(!watchdog.is_silent(0, at(999)));
        assert!(watchdog.is_silent(0, at(1000)) && !watchdog.is_silent(0, at(2000)));
        watchdog.poked(9, at(3000));
        assert!(watchdog.is_silent(8, at(4000)), "an answer to an earlier one is none");
    }

    #[test]
    fn an_answer_that_is_there_counts_before_it_is_read_and_so_does_lost_time() {
        let mut watchdog = FenceWatchdog::default();
        watchdog.poked(7, at(0));
        assert!(!watchdog.is_silent(7, at(9000)));
        watchdog.poked(8, at(10_000));
        watchdog.credit(Span::from_secs(5));
        assert!(!watchdog.is_silent(7, at(15_500)) && watchdog.is_silent(7, at(16_000)));
    }
}
