//! Output of the tool. Nothing here panics when the reader is gone.

use super::failure::{ExitCode, Failure};
use super::options::ColorMode;
use super::render::colour_for;
use crate::error::Chain;
use crate::logging::{Format, complaint};
use crate::text;
use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::io::{self, Write};

/// stdout, for results.
pub struct Out {
    stream: io::BufWriter<io::StdoutLock<'static>>,
}

impl Out {
    /// Locks stdout until this is dropped.
    pub fn open() -> Out {
        Out { stream: io::BufWriter::new(io::stdout().lock()) }
    }

    /// Writes `text` and flushes it.
    ///
    /// # Errors
    /// `Failure::reader_left` if the reader is gone, and a failure that names the cause for other errors, such as a
    /// full disk.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
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
