//! How a delivery ends.

use std::fmt;
use std::io;

/// The result of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The node's process has received everything; its loop reads it next.
    Taken,
    /// There is no supervisor, or this is a forked child that does not send for its parent.
    NotSupervised,
}

/// Why a delivery failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeliverError {
    /// The node could not be reached in time; the error is that of the last attempt.
    Unreachable(io::Error),
    /// The node was reached, and has not received everything in time.
    NotTaken(io::Error),
}

impl fmt::Display for DeliverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeliverError::Unreachable(_) => "cannot reach the supervisor",
            DeliverError::NotTaken(_) => "the supervisor has not taken the message in time",
        })
    }
}

impl std::error::Error for DeliverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DeliverError::Unreachable(cause) | DeliverError::NotTaken(cause) => Some(cause),
        }
    }
}
