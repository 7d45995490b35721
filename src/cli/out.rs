//! Output of the tool. Nothing here panics when the reader is gone.

use super::failure::{ExitCode, Failure};
use super::options::ColorMode;
use super::render::colour_for;
use crate::control::Session;
use crate::error::Chain;
use crate::logging::{Format, complaint};
use crate::text;
use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Results on stdout, which is locked and buffered.
pub struct Out<W: Write = io::StdoutLock<'static>> {
    stream: io::BufWriter<W>,
}

impl Out {
    /// Locks stdout until this is dropped.
    pub fn open() -> Out {
        Out::over(io::stdout().lock())
    }
}

impl<W: Write> Out<W> {
    fn over(stream: W) -> Out<W> {
        Out { stream: io::BufWriter::new(stream) }
    }

    /// Writes `text` and flushes it. A reader that is gone is no failure: neither what a verb changes nor its exit code
    /// depends on its reader.
    ///
    /// # Errors
    /// A failure that names the cause, such as a full disk.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.follow(text).or_else(|failure| if failure.is_reader_left() { Ok(()) } else { Err(failure) })
    }

    /// As [`Out::write`], for verbs that only read, and end without a reader.
    ///
    /// # Errors
    /// As [`Out::write`]; and `Failure::reader_left` if the reader is gone.
    pub fn follow(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.stream.write_all(text::page(text).as_bytes()).and_then(|()| self.stream.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::reader_left(),
            _ => Failure::new(ExitCode::Failed, format!("cannot write to stdout: {error}")),
        })
    }

    /// Writes `value` as one line of JSON.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub fn write_json(&mut self, value: &impl serde::Serialize) -> Result<(), Failure> {
        self.write(&json_line(value)?)
    }
}

/// JSON that is safe for a terminal: the same value, with control characters escaped.
///
/// # Errors
/// None for strings, numbers, lists and maps.
pub fn json_line(value: &impl serde::Serialize) -> Result<String, Failure> {
    let line = serde_json::to_string(value)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot write JSON: {}", Chain(&error))))?;
    Ok(match text::json(&line) {
        Cow::Borrowed(_) => line,
        Cow::Owned(escaped) => escaped,
    } + "\n")
}

/// Prints a line on stderr with the program's name in front. A write error is ignored, as it could not be reported.
pub fn say(when: ColorMode, text: &str) {
    labelled(when, "treevisor:", Style::new().bold(), text);
}

/// Prints a failure on stderr with its hint.
pub fn complain(when: ColorMode, failure: &Failure) {
    if failure.message.is_empty() {
        return;
    }
    labelled(when, "treevisor:", AnsiColor::Red.on_default().bold(), &failure.message);
    if let Some(hint) = &failure.hint {
        labelled(when, "hint:", AnsiColor::Cyan.on_default(), hint);
    }
}

/// Prints a failure as a log record in JSON, and returns one that prints nothing more.
pub(super) fn complain_as_log(failure: Failure) -> Failure {
    let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    raw_error(&format!("{}\n", complaint(Format::Json, &format!("{}{hint}", failure.message))));
    Failure { code: failure.code, message: String::new(), hint: None }
}

fn labelled(when: ColorMode, label: &str, style: Style, text: &str) {
    let (mut stderr, text) = (io::stderr().lock(), text::page(text));
    let line = if colour_for(&io::stderr(), when) {
        format!("{style}{label}{style:#} {text}\n")
    } else {
        format!("{label} {text}\n")
    };
    let _ = stderr.write_all(line.as_bytes());
}

/// Writes a text to stderr, cleaned by `text::page`.
pub fn raw_error(text: &str) {
    let _ = io::stderr().lock().write_all(text::page(text).as_bytes());
}

/// Has the session's waits end when stdout has no reader any more. If no descriptor can be duplicated for that, a
/// follower whose reader is gone ends at its next write.
pub(super) fn end_with_reader(session: &mut Session) {
    if let Ok(output) = io::stdout().as_fd().try_clone_to_owned() {
        session.ends_with_reader_of(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer whose every write fails.
    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_has_left_ends_followers_alone() {
        let mut out = Out::over(Fails(io::ErrorKind::BrokenPipe));
        for _ in 0..2 {
            assert!(out.write("a\n").is_ok() && out.write_json(&1).is_ok());
            assert!(out.follow("a\n").is_err_and(|failure| failure.is_reader_left()));
        }
        let mut out = Out::over(Fails(io::ErrorKind::StorageFull));
        for failure in [out.write("a\n"), out.follow("a\n")] {
            let failure = failure.unwrap_err();
            assert_eq!(failure.code, ExitCode::Failed.number());
            assert!(failure.message.starts_with("cannot write to stdout: "), "{}", failure.message);
        }
    }
}
