//! The start of a program that was executed in place of another one.
use super::variables::{OLD_FILE, RESUME, WAY_BACK};
use super::way_back::WayBack;
use crate::os::{kept, thread};
use std::io;
use std::os::fd::OwnedFd;

/// What the former program has passed on.
#[derive(Debug)]
pub struct Resumed {
    snapshot: OwnedFd,
    old: Option<OwnedFd>,
    came_back: Option<String>,
}

impl Resumed {
    /// Whether this program was executed in place of another one, and what that has passed on. Call it once, first of
    /// all, while there is one thread: it removes the environment variables. From here on the loop runs on this thread.
    ///
    /// Signals are still blocked, as they were in the former program.
    ///
    /// # Errors
    /// A variable names no valid descriptor.
    pub fn take() -> io::Result<Option<Resumed>> {
        let [snapshot, old, came_back] = [RESUME, OLD_FILE, WAY_BACK].map(|name| {
            let value = std::env::var_os(name);
            if value.is_some() {
                // SAFETY: there is no other thread yet that could read the environment.
                unsafe { std::env::remove_var(name) };
            }
            value.map(|value| (name, value.to_string_lossy().into_owned()))
        });
        let Some(snapshot) = snapshot else { return Ok(None) };
        let resumed = Resumed {
            snapshot: left(&snapshot)?,
            old: old.as_ref().map(left).transpose()?,
            came_back: came_back.map(|(_, why)| why),
        };
        thread::stay_on_main();
        Ok(Some(resumed))
    }

    /// Why this program was executed again, if the program that was to replace it has failed.
    pub fn came_back(&self) -> Option<&str> {
        self.came_back.as_deref()
    }

    /// Makes sure that any failure from here on leads back to the former program: see [`WayBack`]. Also returns the
    /// snapshot. A program that was itself executed again after a failure has no way back: a failure ends it.
    ///
    /// `limit` is the time in seconds that the former program gets if it has to resume. Signal dispositions must be set
    /// before this call ([`signals::begin_in_place`](crate::os::signals::begin_in_place)), and not changed again until
    /// the commit.
    ///
    /// # Errors
    /// This is not the main thread, or the kernel's error. Then the way back is taken at once, if there is one.
    pub fn arm(self, limit: u32) -> io::Result<(OwnedFd, WayBack)> {
        let way_back = WayBack::arm(&self.snapshot, self.old, self.came_back.is_none(), limit)?;
        Ok((self.snapshot, way_back))
    }
}

/// A descriptor that the former program has passed on.
fn left((name, value): &(&str, String)) -> io::Result<OwnedFd> {
    value
        .parse()
        .ok()
        .and_then(|number| kept::take(number).ok())
        .ok_or_else(|| io::Error::other(format!("{name}={value} names no descriptor that another program has left")))
}
