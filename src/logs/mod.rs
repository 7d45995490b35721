//! What children print: captured, cut into lines, kept, shown, written to files. Supervision never sees it.
//!
//! The way of a byte: a worker writes into a pipe; [`capture`] takes a fair share of it in each turn of the node's loop
//! and hands on whole lines ([`lines`]); each goes to the child's [`ring`] (its last output), to its file where it has
//! one ([`rotate`]) and to the operator ([`console`]). What is no longer kept can be read from the files again
//! ([`past`]).
//!
//! What this room promises:
//! - a pipe is always emptied, so a worker is never blocked by its supervisor; where the disk with its log file is
//!   behind, it waits for the disk, but for no more than a second;
//! - nothing grows with what workers print: every buffer has a bound, and what does not fit is dropped, counted and
//!   spoken of once there is room again;
//! - no write waits for a reader, and none for a disk: the files of `log = { file = … }` are written beside the loop
//!   ([`writer`]);
//! - what a worker prints cannot paint the operator's terminal ([`text`](crate::text)).
//!
//! [`lines`], [`live`] and [`ring`] are pure. This room may import `spec::exec` and `os`.

mod beside;
pub(crate) mod capture;
pub(crate) mod console;
mod format;
pub(crate) mod journald;
pub(crate) mod lines;
pub(crate) mod live;
mod lost;
pub(crate) mod outlet;
pub(crate) mod past;
mod queue;
pub(crate) mod ring;
pub(crate) mod rotate;
pub(crate) mod stream_file;
pub(crate) mod writer;

pub(crate) use format::Format;
pub(crate) use lines::{Line, Stream};
#[cfg(test)]
pub(crate) use lost::Lost;
pub(crate) use writer::{LogFile, Writer};

#[cfg(test)]
mod tests;
