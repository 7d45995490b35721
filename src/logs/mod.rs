//! What children print: captured, cut into lines, kept, shown, written to files. Supervision never sees it.
//!
//! The path of the output: a worker writes into a pipe; [`capture`] reads a bounded share of it in each turn of the
//! node's loop and emits whole lines ([`lines`]). Each line goes to the child's [`ring`] (its last output), to its file
//! if it has one ([`rotate`]), and to the operator ([`console`]). Older lines can be read from the files ([`past`]).
//!
//! This room guarantees:
//! - A pipe is always emptied, so a supervisor never blocks a worker. Only if the disk of its log file is slow, the
//!   worker waits for the disk, until that has written nothing for a second.
//! - Memory does not grow with the output of workers: every buffer is bounded, and what does not fit is dropped,
//!   counted, and reported once there is room again.
//! - No write waits for a reader or for a disk: the files of `log = { file = … }` are written by a thread ([`writer`]).
//! - The output of a worker cannot control the operator's terminal ([`text`](crate::text)).
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
pub(crate) use lost::{Lost, Unreported};
pub(crate) use writer::{LogFile, Writer};

#[cfg(test)]
mod tests;
