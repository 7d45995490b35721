//! An error with all its causes on one line.

use std::error::Error;
use std::fmt;
use std::io;

/// Prints an error and every cause behind it, joined by `: `. Error types in this crate print their own level only;
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

/// The system's words for an error, without the "(os error 2)" behind them.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// The system's words for an error number.
pub fn errno_words(errno: i32) -> String {
    plain(&io::Error::from_raw_os_error(errno))
}
