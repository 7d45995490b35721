//! A kernel timer that kills this process at a deadline: timer_create(2) on CLOCK_BOOTTIME with SIGKILL. It needs no
//! other process, and also ends a process that is stopped, frozen or in an endless loop.
//!
//! The timer does not survive exec, and a child of fork(2) does not have it: each image of a program must arm its own.
//! The kernel spares the first process of a pid namespace, so this process must not be that.
use super::alarm::timespec;
use crate::time::Time;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::io;

/// The timer. Dropping it disarms it.
#[derive(Debug)]
pub struct DeadMan {
    timer: Timer,
    at: Time,
}

impl DeadMan {
    /// Arms the timer: this process is killed at `at` on CLOCK_BOOTTIME, or at once if that has passed.
    ///
    /// # Errors
    /// The kernel's: then the process is not killed.
    pub fn arm(at: Time) -> io::Result<DeadMan> {
        let notify = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        let timer = Timer::new(ClockId::CLOCK_BOOTTIME, SigEvent::new(notify))?;
        let mut armed = DeadMan { timer, at };
        armed.rearm(at)?;
        Ok(armed)
    }

    /// Changes the deadline; at no time is the timer disarmed.
    ///
    /// # Errors
    /// The kernel's: then the former deadline stays.
    pub fn rearm(&mut self, at: Time) -> io::Result<()> {
        self.timer.set(Expiration::OneShot(timespec(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.at = at;
        Ok(())
    }

    /// When the timer fires.
    pub fn at(&self) -> Time {
        self.at
    }

    /// Disarms the timer: this process is not killed.
    pub fn disarm(self) {}
}

#[cfg(test)]
mod tests;
