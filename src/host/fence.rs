//! The process beside the agent that kills what runs by the lease at the deadline: `treevisor-host fence`.
//!
//! The fence sleeps on a timer of CLOCK_BOOTTIME. It has real-time priority, is locked in memory, and is spared when
//! memory runs out. It starts no process; at the deadline it makes one write, to a file that is open already, and
//! allocates no memory. Past the deadline it watches the cgroup and kills whatever appears there.
//!
//! The agent renews its lease only after the fence has answered a poke, so a fence that is stopped or gone ends the
//! lease. The fence ignores the signals that stop programs: a service manager sends them to all processes of a unit,
//! and the fence has to outlive the others.
//!
//! # When the agent is gone
//!
//! When the agent has died, the fence kills at once, and exits when nothing is left. Waiting for the deadline would be
//! as safe, but useless: nothing would renew the lease or supervise what still runs, and the next agent has to kill it
//! anyway before it begins. The fence must not stay longer: its page is that of the dead agent, whose deadline does not
//! move any more, and by that deadline the fence would kill what the next agent starts in the same cgroup.
use crate::os::alarm::Alarm;
use crate::os::cgroup::switch::Switch;
use crate::os::clock::LeaseTime;
use crate::os::epoll::{Interest, Poller, Ready};
use crate::os::page::{AnswerPage, Deadline, LeaseView};
use crate::os::pidfd::PidFd;
use crate::os::wake::Wake;
use crate::os::{clock, fd, realtime, signals};
use crate::time::{Span, Time};
use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// The descriptors that the agent hands over, each at a fixed number.
pub mod handed {
    use super::RawFd;
    /// The agent's page, with the deadline and the last poke.
    pub const LEASE: RawFd = 3;
    /// The page on which the fence answers.
    pub const ANSWER: RawFd = 4;
    /// Signalled by the agent after it has written to its page.
    pub const POKE: RawFd = 5;
    /// Signalled by the fence after it has answered.
    pub const ANSWERED: RawFd = 6;
    /// The directory of the cgroup of everything that runs by the lease.
    pub const CGROUP: RawFd = 7;
    /// The agent's process, as a pidfd.
    pub const AGENT: RawFd = 8;
}

/// Real-time priority, of 1 to 99: above normal scheduling, below what keeps a machine alive.
const PRIORITY: i32 = 50;

/// How often processes that do not die are killed again.
const AGAIN: Span = Span::from_millis(50);

/// The fence, with what it was handed.
struct Fence {
    lease: LeaseView,
    answer: AnswerPage,
    poke: Wake,
    answered: Wake,
    switch: Switch,
    agent: PidFd,
    alarm: Alarm,
    /// Keeps the descriptor open, whose number the switch uses.
    _cgroup: OwnedFd,
    poller: Poller,
    /// The deadline of the last kill.
    killed_for: Option<Deadline>,
    /// Whether the agent has exited.
    gone: bool,
}

/// Runs as the fence of the agent that has handed over the descriptors. Returns the exit status: 0 when the agent is
/// gone and nothing is left.
pub fn run() -> i32 {
    signals::ignore_all_stopping();
    for refused in realtime::take(PRIORITY) {
        // The fence works without this too, but less reliably. Nothing is written after this: a reader of stderr that
        // does not read would block the fence.
        fd::complain(format_args!("treevisor-host: the fence {}", crate::error::Chain(&refused)));
    }
    match Fence::take_over() {
        Ok(mut fence) => fence.guard(),
        Err(error) => {
            fd::complain(format_args!("treevisor-host: the fence cannot begin: {}", crate::error::Chain(&*error)));
            1
        }
    }
}

impl Fence {
    fn take_over() -> Result<Fence, Box<dyn Error>> {
        Fence::with(
            fd::inherited(handed::LEASE)?,
            fd::inherited(handed::ANSWER)?,
            Wake::from_owned(fd::inherited(handed::POKE)?),
            Wake::from_owned(fd::inherited(handed::ANSWERED)?),
            fd::inherited(handed::CGROUP)?,
            fd::inherited(handed::AGENT)?,
        )
    }

    fn with(
        lease: OwnedFd,
        answer: OwnedFd,
        poke: Wake,
        answered: Wake,
        cgroup: OwnedFd,
        agent: OwnedFd,
    ) -> Result<Fence, Box<dyn Error>> {
        let (lease, answer) = (LeaseView::of(&lease)?, AnswerPage::of(answer)?);
        let (switch, agent, alarm) = (Switch::at(&cgroup)?, PidFd::from_owned(agent), Alarm::new()?);
        let mut poller = Poller::new()?;
        let watched = [
            (poke.as_raw_fd(), Interest::READ),
            (agent.as_raw_fd(), Interest::READ),
            (alarm.as_fd().as_raw_fd(), Interest::READ),
            (switch.as_raw_fd(), Interest::PRIORITY),
        ];
        for (descriptor, interest) in watched {
            let tag = poller.next_tag();
            poller.add(descriptor, tag, interest)?;
        }
        Ok(Fence {
            lease,
            answer,
            poke,
            answered,
            switch,
            agent,
            alarm,
            _cgroup: cgroup,
            poller,
            killed_for: None,
            gone: false,
        })
    }

    /// Runs until the agent is gone and nothing is left. Returns the exit status.
    fn guard(&mut self) -> i32 {
        let mut ready: Vec<Ready> = Vec::with_capacity(8);
        loop {
            // Poke, deadline and clock are read in this order: so a poke that is answered was written before the clock
            // was read, and the deadline is at least as new as it.
            let (rung, poke, deadline) = (self.poke.take(), self.lease.poke(), self.lease.deadline());
            let now = clock::both();
            self.gone = self.gone || self.agent_is_gone();
            let Ok(populated) = self.switch.populated() else {
                fd::complain(
                    "treevisor-host: the fence ends: the cgroup that it kills is gone, or cannot be looked at",
                );
                return 1;
            };
            let over = self.gone || deadline.passed(now);
            let mut limit = None;
            if over && populated {
                self.kill(deadline, now);
                limit = Some(AGAIN);
            } else if self.gone {
                return 0;
            }
            // Past the deadline the alarm would fire all the time, so it is unset; the cgroup's events wake the fence
            // instead.
            let set = if over { self.alarm.unset() } else { self.alarm.set(wake_at(deadline.left(now), now.boottime)) };
            if set.is_err() {
                limit = Some(Span::from_millis(1));
            }
            if rung {
                self.answer.answer(poke);
                self.answered.ring();
            }
            if self.poller.wait(limit, &mut ready).is_err() {
                clock::pause(Span::from_millis(1));
            }
        }
    }

    fn agent_is_gone(&mut self) -> bool {
        let gone = self.agent.wait_exit(Span::ZERO);
        if gone {
            // From now on the pidfd is always readable. Where it cannot be removed from the poller, the fence wakes up
            // without need until it exits.
            let _ = self.poller.remove(self.agent.as_raw_fd());
        }
        gone
    }

    /// Kills by one write first; `kill_each` is for the processes that are still there at the next call.
    fn kill(&mut self, deadline: Deadline, now: LeaseTime) {
        // An error is ignored, as the kill is repeated.
        let _ = self.switch.kill();
        if self.killed_for.replace(deadline) == Some(deadline) {
            self.switch.kill_each();
        } else if deadline != Deadline::default() {
            let LeaseTime { boottime, raw } = deadline.0;
            self.answer.cleared(now.boottime.since(boottime).max(now.raw.since(raw)));
        }
    }
}

/// The time of the next look, on CLOCK_BOOTTIME. CLOCK_MONOTONIC_RAW has no timers, and a time daemon may slew the two
/// clocks against each other. So the fence looks again when an eighth of the time is left, repeatedly, until the rest
/// is too short for that to matter.
fn wake_at(left: Span, boottime: Time) -> Time {
    let eighth = Span::from_nanos(left.as_nanos() / 8);
    if eighth < Span::from_millis(1) {
        boottime + left
    } else {
        boottime + Span::from_nanos(left.as_nanos() - eighth.as_nanos())
    }
}
