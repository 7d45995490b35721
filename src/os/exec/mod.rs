//! Another program in the place of this one, in the same process: execveat(2), and the way back.
//!
//! What the process has stays: its number, its children, the descriptors that are kept, what was set with umask, limits
//! and the like. What goes are memory, handlers and all threads but the one that executes, which becomes the main
//! thread. The kernel takes the end of a thread for the end of a parent: children that one of the others had started
//! would get their parent-death signals. So the thread that executes is the one that has started them all, and from
//! then on that is the main one: its loop does not run beside it any more
//! ([`thread::beside_main`](super::thread::beside_main)).
//!
//! ```text
//! old program                      new program                        old program again
//! Gap::begin     signals wait
//! Gap::execute ──────────────────▶ Resumed::take
//!                                  Resumed::arm
//!                                  …restores itself… ── what fails ──▶ Resumed::take, with the reason
//!                                  WayBack::commit                     Resumed::arm, WayBack::commit
//! ```

mod gap;
mod resumed;
mod variables;
mod way_back;

pub use self::gap::{Gap, Order};
pub use self::resumed::Resumed;
pub use self::way_back::{WayBack, go_back};

#[cfg(test)]
mod tests;
