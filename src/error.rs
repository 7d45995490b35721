//! An error with all its causes on one line.

use std::error::Error;
use std::fmt;

/// Prints an error and every cause behind it, joined by `: `. Error types in this crate tell their own level only;
/// this is the one place where the levels are put together, at a log line or at the terminal.
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
