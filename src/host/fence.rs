//! The process beside the agent that kills what runs by the lease, at its deadline: `treevisor-host fence`.
//!
//! It sleeps on a timer of CLOCK_BOOTTIME, is scheduled before other processes, locked in memory and spared when memory
//! runs out. It starts no process, and when its moment comes it makes one write, to a file that is open already, and
//! asks for no memory. Past the deadline it watches the cgroup and kills whatever appears there.
//!
//! The agent renews its lease only after the fence has answered a poke, so a fence that is stopped or gone ends the
//! lease. The fence ignores the signals by which programs are stopped: a service manager that stops a unit sends them
//! to all of its processes, and this one has to outlive the others.
//!
//! # When the agent is gone
//!
//! It kills at once, and ends when it has seen that nothing is left. To wait for the deadline would be as safe, but of
//! no use: nothing would renew the lease or supervise what still runs, and the next agent has to clear it away anyway
//! before it begins. It must not stay longer: its page is that of the agent that is gone, whose deadline stands still,
//! and by that it would kill what the next agent starts in the same cgroup.
use crate::os::alarm::Alarm;
use crate::os::cgroup::switch::Switch;
use crate::os::clock::Both;
use crate::os::epoll::{Interest, Poller, Ready};
use crate::os::page::{AnswerPage, Deadline, LeaseView};
use crate::os::pidfd::PidFd;
use crate::os::wake::Wake;
use crate::os::{clock, fd, realtime, signals};
use crate::time::{Span, Time};
use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// What the agent hands to it, each at a number of its own.
pub mod handed {
    use super::RawFd;
    /// The agent's page: deadline and poke.
    pub const LEASE: RawFd = 3;
    /// The page that it answers on.
    pub const ANSWER: RawFd = 4;
    /// Rung by the agent when it has written to its page.
    pub const POKE: RawFd = 5;
    /// Rung by the fence when it has answered.
    pub const ANSWERED: RawFd = 6;
    /// The directory of the cgroup of all that runs by the lease.
    pub const CGROUP: RawFd = 7;
    /// The agent itself, as a pidfd.
    pub const AGENT: RawFd = 8;
}

/// Above what is scheduled normally, below what keeps a machine alive.
const PRIORITY: i32 = 50;

/// So often what does not die is killed anew.
const AGAIN: Span = Span::from_millis(50);

/// What it needs of the world.
struct Fence {
    lease: LeaseView,
    answer: AnswerPage,
    poke: Wake,
    answered: Wake,
    switch: Switch,
    agent: PidFd,
    alarm: Alarm,
    /// The switch goes by its number.
    _cgroup: OwnedFd,
    poller: Poller,
    /// The deadline for which all was killed last.
    killed_for: Option<Deadline>,
    /// The agent has ended.
    gone: bool,
}

/// Runs as the fence of the agent that has handed over what it needs. Returns the exit status: 0 when the agent is
/// gone, and nothing is left.
pub fn run() -> i32 {
    signals::ignore_all_stopping();
    for refused in realtime::take(PRIORITY) {
        // It does its work all the same, less surely. This is the last that is written: from here on a reader of stderr
        // that does not read would hold it up.
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

    /// Until the agent is gone and nothing is left.
    fn guard(&mut self) -> i32 {
        let mut ready: Vec<Ready> = Vec::with_capacity(8);
        loop {
            // Poke, deadline and clock in this order: what is answered was there when the clock was read.
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
            // What is due and stays so would wake it up for ever. Past the deadline it is woken by the cgroup.
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
            // It can be read from now on. Where it cannot be taken out, the fence is woken too often, for as long as it
            // still is there.
            let _ = self.poller.remove(self.agent.as_raw_fd());
        }
        gone
    }

    /// One write first, which is enough for all but what `kill_each` is for.
    fn kill(&mut self, deadline: Deadline, now: Both) {
        // Refused, it is tried again.
        let _ = self.switch.kill();
        if self.killed_for.replace(deadline) == Some(deadline) {
            self.switch.kill_each();
        } else if deadline != Deadline::default() {
            let Both { boottime, raw } = deadline.0;
            self.answer.cleared(now.boottime.since(boottime).max(now.raw.since(raw)));
        }
    }
}

/// The next look, on CLOCK_BOOTTIME. The other clock has no timer, and a time daemon may slew the two against each
/// other; so it looks again when an eighth is left, and again, until what is left is too short for that to make a
/// difference.
fn wake_at(left: Span, boottime: Time) -> Time {
    let eighth = Span::from_nanos(left.as_nanos() / 8);
    if eighth < Span::from_millis(1) {
        boottime + left
    } else {
        boottime + Span::from_nanos(left.as_nanos() - eighth.as_nanos())
    }
}
