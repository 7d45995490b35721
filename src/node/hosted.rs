//! The lease that a root, or the top node of a placed subtree, runs by if the agent of its host has started it. This
//! process must be dead when the lease has expired, whatever else fails.
//!
//! The agent hands down a shared page with the lease's deadline. Before anything else, this process has the kernel kill
//! it at that deadline (`os/deadman.rs`); parent-death signals then end all processes below it. An alarm wakes the loop
//! once two thirds of the time have passed; by then the agent should have written a later deadline, and the kernel's
//! timer is set to that one. Both timers run on CLOCK_BOOTTIME, which includes the time in which the machine was
//! suspended.
//!
//! A node that was not started by an agent has no lease.

use super::luggage::{Number, OrRollBack, Packing, Unpacking};
use super::reactor::{Reactor, Source};
use crate::hosts::Start;
use crate::os::alarm::Alarm;
use crate::os::clock::{self, LeaseTime};
use crate::os::deadman::DeadMan;
use crate::os::epoll::PollError;
use crate::os::fd;
use crate::os::page::{Deadline, LeaseView};
use crate::spec::exec::{FROM, START};
use crate::time::{Span, Time};
use crate::wire::snapshot::Kind;
use crate::wire::view::event::FailedOver;
use serde::{Deserialize, Serialize};
use std::env;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// The environment variable with the number of the page's file descriptor. It stays set, so that the next image of the
/// program finds the page after a hot upgrade.
pub const VARIABLE: &str = "TREEVISOR_LEASE";

/// The shortest time to the next reading of the page. With less left on the lease, the agent has long asked the tree to
/// stop.
const LEAST: Span = Span::from_millis(100);

/// The first event of a root that the agent has started as a fail-over from a lost host. `None` for other roots.
pub(super) fn failed_over() -> Option<FailedOver> {
    let is_failover = env::var(START).is_ok_and(|start| start == Start::Failover.as_str());
    is_failover.then(|| FailedOver { from: env::var(FROM).ok(), ..FailedOver::default() })
}

/// The lease of this process: its page, and the two timers.
pub(super) struct Hosted {
    page: OwnedFd,
    view: LeaseView,
    timer: DeadMan,
    alarm: Alarm,
}

/// The lease in the snapshot of a hot upgrade.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedHosted {
    page: Number,
}

impl Hosted {
    /// The lease that was handed to this process, if there is one. From now on the kernel kills this process at the
    /// deadline.
    ///
    /// # Errors
    /// The page cannot be opened, or the kernel refuses a timer. Nothing may be started then.
    pub(super) fn from_env() -> io::Result<Option<Hosted>> {
        number()?.map(|number| Hosted::by(fd::inherited(number)?)).transpose()
    }

    fn by(page: OwnedFd) -> io::Result<Hosted> {
        let view = LeaseView::of(&page)?;
        let (deadline, now) = read(&view);
        let timer = DeadMan::arm(deadline.on_boottime(now))?;
        let alarm = Alarm::new()?;
        alarm.set(next_look(deadline, now))?;
        Ok(Hosted { page, view, timer, alarm })
    }

    /// The descriptor of the alarm: readable when the page is to be read again.
    pub(super) fn fd(&self) -> RawFd {
        self.alarm.as_fd().as_raw_fd()
    }

    /// From now on the alarm wakes the loop.
    pub(super) fn watch(&self, reactor: &mut Reactor) -> Result<(), PollError> {
        reactor.watch(self.fd(), Source::Lease).map(drop)
    }

    /// Reads the page, and sets the kernel's timer to the deadline on it.
    ///
    /// # Errors
    /// The timer cannot be set. The kernel kills this process at the deadline that was set before.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let (deadline, now) = read(&self.view);
        let rearmed = self.timer.rearm(deadline.on_boottime(now));
        self.alarm.set(next_look(deadline, now))?;
        rearmed
    }

    /// Writes the lease into the snapshot of a hot upgrade. The kernel's timer ends with the image that has set it.
    pub(super) fn pack(&self, packing: &mut Packing<'_>) -> CarriedHosted {
        CarriedHosted { page: packing.descriptor(&self.page, Kind::File, "the lease of the host") }
    }

    /// Takes the lease over from the snapshot, and sets both timers again.
    pub(super) fn unpack(carried: CarriedHosted, unpacking: &mut Unpacking<'_>, reactor: &mut Reactor) -> Hosted {
        let hosted = Hosted::by(unpacking.take(carried.page)).or_roll_back("arming the timer of the host's lease");
        hosted.watch(reactor).or_roll_back("watching the alarm of the host's lease");
        hosted
    }
}

/// Sets the kernel's timer again after a hot upgrade, since it ended with the image before. Called before anything
/// else. The result is to be kept until [`Hosted::unpack`] has set its own timer.
///
/// # Errors
/// As [`Hosted::from_env`].
pub(super) fn arm_again() -> io::Result<Option<DeadMan>> {
    let Some(number) = number()? else { return Ok(None) };
    let (deadline, now) = read(&LeaseView::inherited(number)?);
    DeadMan::arm(deadline.on_boottime(now)).map(Some)
}

/// Reads the page first and the clock afterwards, so that the time left is never taken for longer than it is.
fn read(view: &LeaseView) -> (Deadline, LeaseTime) {
    let deadline = view.deadline();
    (deadline, clock::both())
}

/// The time on CLOCK_BOOTTIME at which two thirds of the remaining time have passed.
fn next_look(deadline: Deadline, now: LeaseTime) -> Time {
    let left = deadline.left(now);
    now.boottime + left.scaled(2.0 / 3.0).max(LEAST)
}

fn number() -> io::Result<Option<RawFd>> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("{VARIABLE} is no number of a descriptor"));
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::page::LeasePage;

    fn in_secs(now: LeaseTime, secs: u64) -> Deadline {
        let span = Span::from_secs(secs);
        Deadline(LeaseTime { boottime: now.boottime + span, raw: now.raw + span })
    }

    #[test]
    fn the_kernel_knows_the_deadline_that_stands_on_the_page() {
        let (page, now) = (LeasePage::new().unwrap(), clock::both());
        page.set(in_secs(now, 1_000));
        let mut hosted = Hosted::by(page.fd().try_clone_to_owned().unwrap()).unwrap();
        let armed = hosted.timer.at();
        assert!(armed.since(now.boottime) > Span::from_secs(999), "{armed:?}");
        page.set(in_secs(now, 2_000));
        hosted.look().unwrap();
        assert!(hosted.timer.at().since(now.boottime) > Span::from_secs(1_999));
    }

    #[test]
    fn it_looks_while_a_third_of_the_time_is_left_and_never_without_a_rest() {
        let now = clock::both();
        assert_eq!(next_look(in_secs(now, 15), now).since(now.boottime).as_millis(), 10_000);
        assert_eq!(next_look(Deadline::default(), now).since(now.boottime), LEAST);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let file = fd::memfd_with("test", b"no page").unwrap();
        assert!(Hosted::by(file).is_err());
    }
}
