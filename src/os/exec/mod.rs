//! Replaces this program by another one in the same process (hot upgrade): execveat(2), and the way back.
//!
//! The process keeps its pid, its children, the descriptors that are kept, and settings such as umask and limits. It
//! loses memory, signal handlers, and all threads but the one that executes, which becomes the main thread. The kernel
//! treats the end of a thread as the end of a parent: children that another thread had started would get their
//! parent-death signals. So the thread that executes must be the one that has started all children. From then on it is
//! the main thread, and the loop runs on it, no longer beside it ([`thread::beside_main`](super::thread::beside_main)).
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
