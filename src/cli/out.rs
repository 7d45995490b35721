//! Where the tool's words go. Nothing here panics: a reader that has left is an ending like any other.

use super::failure::{ExitCode, Failure};
use super::options::When;
use super::render::colour_for;
use crate::error::Chain;
use crate::logging::{Format, complaint};
use crate::text;
use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::io::{self, Write};

/// stdout, for the answers.
pub struct Out {
    stream: io::BufWriter<io::StdoutLock<'static>>,
}

impl Out {
    /// Opens it, and holds it until it is dropped.
    pub fn open() -> Out {
        Out { stream: io::BufWriter::new(io::stdout().lock()) }
    }

    /// Writes `text` and makes sure that it has arrived.
    ///
    /// # Errors
    /// `Failure::reader_left` when the reader is gone, and a failure that names the cause when the disk is full.
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

/// JSON as it may reach a terminal: the same value, with nothing in it that a terminal acts upon.
///
/// # Errors
/// Never for what consists of strings, numbers, lists and maps.
pub fn json_line(value: &impl serde::Serialize) -> Result<String, Failure> {
    let line = serde_json::to_string(value)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot write JSON: {}", Chain(&error))))?;
    Ok(match text::json(&line) {
        Cow::Borrowed(_) => line,
        Cow::Owned(escaped) => escaped,
    } + "\n")
}

/// Prints something on stderr, in a line of its own, with the program's name in front. A failure to write that cannot
/// be reported.
pub fn say(when: When, text: &str) {
    labelled(when, "treevisor:", Style::new().bold(), text);
}

/// Prints what went wrong, and what to do about it.
pub fn complain(when: When, failure: &Failure) {
    if failure.message.is_empty() {
        return;
    }
    labelled(when, "treevisor:", AnsiColor::Red.on_default().bold(), &failure.message);
    if let Some(hint) = &failure.hint {
        labelled(when, "hint:", AnsiColor::Cyan.on_default(), hint);
    }
}

/// Prints what went wrong as a record of a log in JSON, and leaves nothing to be printed.
pub(super) fn complain_as_log(failure: Failure) -> Failure {
    let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    raw_error(&format!("{}\n", complaint(Format::Json, &format!("{}{hint}", failure.message))));
    Failure { code: failure.code, message: String::new(), hint: None }
}

fn labelled(when: When, label: &str, style: Style, text: &str) {
    let (mut stderr, text) = (io::stderr().lock(), text::page(text));
    let line = if colour_for(&io::stderr(), when) {
        format!("{style}{label}{style:#} {text}\n")
    } else {
        format!("{label} {text}\n")
    };
    let _ = stderr.write_all(line.as_bytes());
}

/// Writes a page to stderr: see `text::page`.
pub fn raw_error(text: &str) {
    let _ = io::stderr().lock().write_all(text::page(text).as_bytes());
}
