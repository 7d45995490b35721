//! The fence, as the agent's child: it is started, poked, and started again.

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
use slog::{Logger, info, warn};
use std::error::Error;
use std::os::fd::{AsFd, AsRawFd};

/// A fence that ends is started again no sooner.
const AGAIN: Span = Span::from_millis(100);

/// The fence.
pub(super) struct Guard {
    poke: Wake,
    answered: Wake,
    running: Option<Running>,
    again: Option<Time>,
}

struct Running {
    pidfd: PidFd,
    pid: u32,
    tag: Tag,
    answer: AnswerView,
}

impl Guard {
    /// One that is not started yet.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(reactor: &mut Reactor) -> Result<Guard, Box<dyn Error>> {
        let (poke, answered) = (Wake::new()?, Wake::new()?);
        reactor.watch(answered.as_raw_fd(), Source::Answered)?;
        Ok(Guard { poke, answered, running: None, again: Some(Time::ZERO) })
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.again
    }

    /// Starts it, if it is to be started by now. Without one no lease is renewed, so an error ends nothing else.
    pub(super) fn due(
        &mut self,
        lease: &LeasePage,
        place: &Exclusive,
        now: Time,
        reactor: &mut Reactor,
        logger: &Logger,
    ) {
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
            // None at the death of its parent: that is when it is needed.
            ..PlanSpec::new(vec![process::self_exe().into(), "fence".into()])
        })?;
        let spawned = plan.spawn()?;
        let tag = reactor.watch(spawned.pidfd.as_raw_fd(), Source::Fence)?;
        Ok(Running { pidfd: spawned.pidfd, pid: spawned.pid, tag, answer: view })
    }

    /// Has it answer this number.
    pub(super) fn poke(&self, lease: &LeasePage, number: u64) {
        lease.poke(number);
        self.poke.ring();
    }

    /// The deadline lies before the one that stood there.
    pub(super) fn wake(&self) {
        self.poke.ring();
    }

    /// What it has answered.
    pub(super) fn answered(&self) -> Option<u64> {
        self.answered.heard();
        self.running.as_ref().map(|running| running.answer.answer()).filter(|number| *number > 0)
    }

    /// It is not needed any more: nothing is left that runs by the lease, and nothing will be started.
    pub(super) fn end(&mut self) {
        self.again = None;
        if let Some(running) = self.running.take() {
            let _ = running.pidfd.signal_child(running.pid, libc::SIGKILL);
            // It runs before all others, and so it dies before all others.
            running.pidfd.wait_exit(Span::from_millis(200));
            let _ = running.pidfd.wait();
        }
    }

    /// It has ended, perhaps.
    pub(super) fn ended(&mut self, now: Time, reactor: &mut Reactor, logger: &Logger) {
        let Some(running) = self.running.take() else { return };
        let Ok(Some(status)) = running.pidfd.wait() else {
            self.running = Some(running);
            return;
        };
        warn!(logger, "the fence has ended; it is started again"; "pid" => running.pid, "code" => status.code,
            "signal" => status.signal);
        reactor.unwatch(running.pidfd.as_raw_fd(), running.tag);
        self.again = Some(now + AGAIN);
    }
}
