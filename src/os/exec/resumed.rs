//! A program that was executed in the place of another one.
use super::variables::{OLD_FILE, RESUME, WAY_BACK};
use super::way_back::WayBack;
use crate::os::{kept, thread};
use std::io;
use std::os::fd::OwnedFd;

/// What the program before has left.
#[derive(Debug)]
pub struct Resumed {
    snapshot: OwnedFd,
    old: Option<OwnedFd>,
    came_back: Option<String>,
}

impl Resumed {
    /// Whether this program was executed in the place of another one, and what that left. To be called first of all and
    /// once, while there is one thread: the variables that say so are removed. From here on the loop runs on this
    /// thread.
    ///
    /// Signals are blocked as they were in the program before.
    ///
    /// # Errors
    /// A variable does not name a descriptor.
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

    /// Why this program is here again, when the one that was to take its place could not.
    pub fn came_back(&self) -> Option<&str> {
        self.came_back.as_deref()
    }

    /// Makes sure that whatever goes wrong from here on leads back to the program before: see [`WayBack`]. The snapshot
    /// is given besides. For this program itself when it is here again there is no other: what goes wrong ends it.
    ///
    /// `limit` are the seconds that the program before has for its part. Before this, dispositions of signals are set
    /// ([`signals::begin_in_place`](crate::os::signals::begin_in_place)), and afterwards no more until the commit.
    ///
    /// # Errors
    /// This is not the main thread, or the kernel's. The way back is taken at once then, where there is one.
    pub fn arm(self, limit: u32) -> io::Result<(OwnedFd, WayBack)> {
        let way_back = WayBack::arm(&self.snapshot, self.old, self.came_back.is_none(), limit)?;
        Ok((self.snapshot, way_back))
    }
}

/// A descriptor that the program before has left.
fn left((name, value): &(&str, String)) -> io::Result<OwnedFd> {
    value
        .parse()
        .ok()
        .and_then(|number| kept::take(number).ok())
        .ok_or_else(|| io::Error::other(format!("{name}={value} names no descriptor that another program has left")))
}
