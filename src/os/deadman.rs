//! A timer of the kernel that kills this process at its deadline: timer_create(2) on CLOCK_BOOTTIME with SIGKILL. No
//! process has to be alive for it, and one that is stopped, spins or is frozen dies of it as well.
//!
//! The kernel drops it at an exec, and a child of fork(2) has none: each image of a program arms its own. The first
//! process of a pid namespace is spared by the kernel, so it must not be that.
use super::alarm::timespec;
use crate::time::Time;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::io;

/// The timer. Dropped, it is disarmed.
#[derive(Debug)]
pub struct DeadMan {
    timer: Timer,
    at: Time,
}

impl DeadMan {
    /// From here on this process is killed at a moment of CLOCK_BOOTTIME; at once if that has passed.
    ///
    /// # Errors
    /// The kernel's: this process is not killed then.
    pub fn arm(at: Time) -> io::Result<DeadMan> {
        let notify = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        let timer = Timer::new(ClockId::CLOCK_BOOTTIME, SigEvent::new(notify))?;
        let mut armed = DeadMan { timer, at };
        armed.rearm(at)?;
        Ok(armed)
    }

    /// Sets another moment, with no moment in between at which none is set.
    ///
    /// # Errors
    /// The kernel's: the moment before is still set.
    pub fn rearm(&mut self, at: Time) -> io::Result<()> {
        self.timer.set(Expiration::OneShot(timespec(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.at = at;
        Ok(())
    }

    /// The moment that is set.
    pub fn at(&self) -> Time {
        self.at
    }

    /// From here on this process is not killed.
    pub fn disarm(self) {}
}

#[cfg(test)]
mod tests;
