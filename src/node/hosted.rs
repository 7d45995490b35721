//! The lease of a root, or of the top node of a placed subtree, that its host's agent has started: this process is dead
//! when it is over, whatever else goes wrong.
//!
//! The agent hands down its page, on which the deadline stands. Before anything else is done, the kernel is asked to
//! kill this process at that deadline, and all below it dies with it. An alarm then wakes the loop once two thirds of
//! the time have passed; by then the page shows a later deadline, and the kernel gets that one. Both timers run on
//! CLOCK_BOOTTIME, which counts the time in which the machine was suspended.
//!
//! What no agent has started has none of this.

use super::luggage::{Number, OrBack, Packing, Unpacking};
use super::reactor::{Reactor, Source};
use crate::hosts::Start;
use crate::os::alarm::Alarm;
use crate::os::clock::{self, Both};
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

/// The number of the descriptor of the page. It stays in the environment, where another image of the program finds it.
pub const VARIABLE: &str = "TREEVISOR_LEASE";

/// With less than this left the page is looked at no more often: the agent asks the tree to stop long before.
const LEAST: Span = Span::from_millis(100);

/// Why the agent has started this root here, where its host was lost: the first event of its history.
pub(super) fn failed_over() -> Option<FailedOver> {
    let is_failover = env::var(START).is_ok_and(|start| start == Start::Failover.as_str());
    is_failover.then(|| FailedOver { from: env::var(FROM).ok(), ..FailedOver::default() })
}

/// What such a process runs by.
pub(super) struct Hosted {
    page: OwnedFd,
    view: LeaseView,
    timer: DeadMan,
    alarm: Alarm,
}

/// The same, as another image of the program goes on with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedHosted {
    page: Number,
}

impl Hosted {
    /// The lease that was handed to this process, if one was. From here on it is killed at the deadline.
    ///
    /// # Errors
    /// There is no such page, or the kernel refuses a timer: nothing may be started then.
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

    /// What wakes the loop when the page is to be looked at.
    pub(super) fn fd(&self) -> RawFd {
        self.alarm.as_fd().as_raw_fd()
    }

    /// The loop is woken by its alarm from here on.
    pub(super) fn watch(&self, reactor: &mut Reactor) -> Result<(), PollError> {
        reactor.watch(self.fd(), Source::Lease).map(drop)
    }

    /// Looks at the page, and sets the kernel's timer to the deadline that stands there.
    ///
    /// # Errors
    /// The kernel's: it kills this process at the deadline that it has.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let (deadline, now) = read(&self.view);
        let rearmed = self.timer.rearm(deadline.on_boottime(now));
        self.alarm.set(next_look(deadline, now))?;
        rearmed
    }

    /// What goes over. The timer does not: it ends with the image that has set it.
    pub(super) fn pack(&self, packing: &mut Packing<'_>) -> CarriedHosted {
        CarriedHosted { page: packing.descriptor(&self.page, Kind::File, "the lease of the host") }
    }

    /// What another image of the program was run by.
    pub(super) fn unpack(carried: CarriedHosted, unpacking: &mut Unpacking<'_>, reactor: &mut Reactor) -> Hosted {
        let hosted = Hosted::by(unpacking.take(carried.page)).or_back("arming the timer of the host's lease");
        hosted.watch(reactor).or_back("watching the alarm of the host's lease");
        hosted
    }
}

/// Another image of the program was here, and its timer has ended with it: arms one before anything else is done. It is
/// to be kept until [`Hosted::unpack`] has made its own.
///
/// # Errors
/// As [`Hosted::from_env`].
pub(super) fn arm_again() -> io::Result<Option<DeadMan>> {
    let Some(number) = number()? else { return Ok(None) };
    let (deadline, now) = read(&LeaseView::inherited(number)?);
    DeadMan::arm(deadline.on_boottime(now)).map(Some)
}

/// The page first, and the clock afterwards.
fn read(view: &LeaseView) -> (Deadline, Both) {
    let deadline = view.deadline();
    (deadline, clock::both())
}

/// When two thirds of what is left have passed, on CLOCK_BOOTTIME.
fn next_look(deadline: Deadline, now: Both) -> Time {
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

    fn in_secs(now: Both, secs: u64) -> Deadline {
        let span = Span::from_secs(secs);
        Deadline(Both { boottime: now.boottime + span, raw: now.raw + span })
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
