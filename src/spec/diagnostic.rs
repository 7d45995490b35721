//! Diagnostics: what is wrong with a file, where, and what would be right.

use crate::text::{clean, cut, is_obeyed, page};
use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How severe a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is started from a file with an error.
    Error,
    /// The file is valid, but may not mean what its author intended.
    Warning,
}

/// One finding about a file.
///
/// Its JSON form has the fields `severity`, `code`, `file`, `line`, `column`, `message` and `hint` (or null).
#[derive(Debug, Clone, Serialize)]
pub struct Diagnostic {
    /// With an error nothing is started from the file.
    pub severity: Severity,
    /// For a warning: shown by `check` only, not at a start.
    #[serde(skip)]
    pub is_advice: bool,
    /// A stable word for the kind of finding, such as `unknown-key`.
    pub code: &'static str,
    /// The file, as it was named by the user or by an `include`.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Its line, counted from 1; 0 if the finding is about the file as a whole, such as one that cannot be read.
    pub line: u32,
    /// The column in characters, counted from 1; 0 if the finding is about the file as a whole.
    pub column: u32,
    /// The range in the file in bytes, on character boundaries.
    #[serde(skip)]
    pub span: Range<usize>,
    /// What is wrong, for people.
    pub message: String,
    /// The text beside the caret; may be empty.
    #[serde(skip)]
    pub label: String,
    /// What would be right.
    pub hint: Option<String>,
    /// The text of the whole file, from which lines are shown.
    #[serde(skip)]
    pub(super) text: Arc<str>,
}

impl Diagnostic {
    /// Whether the file cannot be used because of this.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line, as compilers print it for editors: `shop.toml:3:1: error: unknown key`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", clean(&self.file.to_string_lossy()))?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, " {severity}: {}", page(&self.message))
    }
}

fn lossy<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.to_string_lossy())
}

/// The finding as compilers show it: message, the line with a caret, what would be right. With `colour` in the colours
/// and box characters of a terminal, else in plain ASCII; wrapped at `width` columns.
pub fn render(diagnostic: &Diagnostic, colour: bool, width: usize) -> String {
    let theme = if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::none() };
    let handler = miette::GraphicalReportHandler::new_themed(theme)
        .with_width(width.max(20))
        .with_context_lines(1)
        .with_links(false)
        // Long lines are cut by the terminal, not folded into the frame, where the caret would lose its line.
        .with_wrap_lines(true);
    let shown = Shown { diagnostic, source: Window::around(diagnostic) };
    let mut out = String::new();
    match handler.render_report(&mut out, &shown) {
        Ok(()) => out,
        // If miette cannot draw the report, the one-line form is shown.
        Err(fmt::Error) => format!("{diagnostic}\n"),
    }
}

/// `text` with control characters replaced by as many bytes, so that spans remain valid.
fn same_length(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_obeyed(c) && !matches!(c, '\n' | '\t' | '\r') {
            (0..c.len_utf8()).for_each(|_| out.push('?'));
        } else {
            out.push(c);
        }
        out
    })
}

/// A piece of the user's text inside a message: in backticks, control characters escaped, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if is_obeyed(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('`');
    out
}

/// The word of `known` that is most similar to `word`, if one is similar enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = plain(word);
    // One typing error is allowed in a short word, two or more in a longer one.
    let allowed = if plain.chars().count() <= 4 { 1 } else { 2 + plain.chars().count() / 10 };
    // A very long word is not a typing error, and computing the distance takes time quadratic in its length.
    if plain.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&plain, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The word in treevisor's spelling: lower case, `-` instead of `_`.
pub(super) fn plain(word: &str) -> String {
    word.trim().to_lowercase().replace(['_', ' '], "-")
}

/// The lines around a diagnostic. miette gets only these, so that a file with ten thousand errors is not scanned ten
/// thousand times.
#[derive(Debug)]
struct Window {
    file: String,
    text: String,
    /// How many bytes and lines of the file come before the window.
    offset: usize,
    line: usize,
    /// How many bytes of the window's first line come before the window, if the diagnostic is about that line.
    column: usize,
}

impl Window {
    /// Lines on each side; more than the one that is shown.
    const LINES: usize = 3;

    /// Bytes on each side; of a longer line the part around the caret is shown.
    const BYTES: usize = 1_000;

    fn around(diagnostic: &Diagnostic) -> Window {
        let Diagnostic { text, span, line, .. } = diagnostic;
        let own = text[..span.start].rfind('\n').map_or(0, |end| end + 1);
        let mut start = own;
        for _ in 0..Window::LINES {
            start = text[..start.saturating_sub(1)].rfind('\n').map_or(0, |end| end + 1);
        }
        let mut end = span.start;
        for _ in 0..=Window::LINES {
            end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
        }
        let start = start.max(cut(text, span.start.saturating_sub(Window::BYTES)).len());
        let end = end.min(cut(text, span.start + Window::BYTES).len());
        let before = text[start..span.start].matches('\n').count();
        Window {
            file: clean(&diagnostic.file.to_string_lossy()).into_owned(),
            text: same_length(&text[start..end]),
            offset: start,
            line: (*line as usize).saturating_sub(1 + before),
            column: start.saturating_sub(own),
        }
    }
}

impl miette::SourceCode for Window {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let start = span.offset().checked_sub(self.offset).ok_or(miette::MietteError::OutOfBounds)?;
        let found = self.text.read_span(&(start, span.len()).into(), lines_before, lines_after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.file.clone(),
            found.data(),
            (found.span().offset() + self.offset, found.span().len()).into(),
            found.line() + self.line,
            found.column() + if found.line() == 0 { self.column } else { 0 },
            found.line_count(),
        )))
    }
}

/// A diagnostic in the form that miette takes.
#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: Window,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.diagnostic.line == 0 {
            write!(f, "{}: ", clean(&self.diagnostic.file.to_string_lossy()))?;
        }
        f.write_str(&page(&self.diagnostic.message))
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.hint.as_ref().map(|hint| Box::new(page(hint)) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        (self.diagnostic.line > 0).then_some(&self.source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        if self.diagnostic.line == 0 {
            return None;
        }
        let span = self.diagnostic.span.clone();
        // Only the first line of a span is marked, as miette would draw all lines of a longer one.
        let shown = cut(&self.diagnostic.text[span.clone()], Window::BYTES);
        let first = shown.lines().next().map_or(0, |line| line.trim_end().len());
        let label = miette::LabeledSpan::new_primary_with_span(
            Some(page(&self.diagnostic.label).into_owned()).filter(|label| !label.is_empty()),
            (span.start, first.min(span.len())),
        );
        Some(Box::new(std::iter::once(label)))
    }
}
