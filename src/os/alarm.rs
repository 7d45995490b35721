//! A timer as a file descriptor, on CLOCK_BOOTTIME: a suspension of the machine counts, and a timer that has ended
//! meanwhile fires at the resume.
use crate::time::Time;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A timer whose descriptor becomes readable at the time that is set.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// A timer without a time.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Alarm> {
        Ok(Alarm(TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?))
    }

    /// Sets the timer to a time of CLOCK_BOOTTIME, in place of the former one, and makes the descriptor unreadable. A
    /// time in the past fires at once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&self, at: Time) -> io::Result<()> {
        Ok(self.0.set(Expiration::OneShot(timespec(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Clears the time, and makes the descriptor unreadable.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unset(&self) -> io::Result<()> {
        Ok(self.0.unset()?)
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A time for timer_settime(2) and timerfd_settime(2), of 1 ns at least: zero would unset the timer.
pub(super) fn timespec(at: Time) -> TimeSpec {
    TimeSpec::from_duration(std::time::Duration::from_nanos(at.as_nanos().max(1)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::PATIENCE;
    use super::*;
    use crate::os::clock;
    use crate::os::fd::wait_readable_any;
    use crate::time::Span;

    fn is_due(alarm: &Alarm, limit: Span) -> bool {
        wait_readable_any(&[alarm.as_fd()], Some(limit)).unwrap()
    }

    #[test]
    fn it_is_due_at_its_moment_and_not_before() {
        let alarm = Alarm::new().unwrap();
        assert!(!is_due(&alarm, Span::ZERO));
        let at = clock::both().boottime + Span::from_millis(20);
        alarm.set(at).unwrap();
        assert!(is_due(&alarm, PATIENCE));
        assert!(clock::both().boottime >= at);
        alarm.unset().unwrap();
        assert!(!is_due(&alarm, Span::ZERO));
        alarm.set(at).unwrap();
        assert!(is_due(&alarm, PATIENCE));
        // Setting the timer again makes it unreadable.
        alarm.set(at + Span::from_secs(1000)).unwrap();
        assert!(!is_due(&alarm, Span::ZERO));
    }

    #[test]
    fn what_has_passed_is_due_at_once() {
        let alarm = Alarm::new().unwrap();
        for past in [Time::ZERO, Time::from_nanos(1), clock::both().boottime] {
            alarm.set(past).unwrap();
            assert!(is_due(&alarm, PATIENCE), "{past:?}");
        }
    }
}
