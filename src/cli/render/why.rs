//! The text of `treevisor why`: labels in a column of their own, and wrapped text.

use super::look::Look;
use super::style;
use super::table::{Cell, paint, shorten};
use crate::explain::ExplanationText;

/// The text of `treevisor why`: the state, and the paragraphs with their labels in a column of their own.
pub fn told(text: &ExplanationText, look: Look) -> String {
    let mut out = String::new();
    for line in lines(text, look) {
        line.iter().for_each(|part| paint(&mut out, &part.text, part.style, look));
        out.push('\n');
    }
    out
}

/// As [`told`], as lines of several parts.
pub(in crate::cli) fn lines(text: &ExplanationText, look: Look) -> Vec<Vec<Cell>> {
    /// The width of the longest label with a gap.
    const INDENT: usize = 13;
    /// Longer lines are hard to read, however wide the terminal is.
    const WIDTH_MAX: usize = 110;
    /// The least width for wrapping.
    const WIDTH_MIN: usize = 24;
    let width = look.width.map(|width| width.min(WIDTH_MAX).saturating_sub(INDENT).max(WIDTH_MIN));
    let gap = |label: &str| Cell::new(" ".repeat(INDENT - label.len()), style::PLAIN);
    let headline = wrap(&text.headline, width.map(|width| width + INDENT)).into_iter();
    let mut lines: Vec<Vec<Cell>> = headline.map(|line| vec![Cell::new(line, style::NAME)]).collect();
    for paragraph in &text.paragraphs {
        let style = match paragraph.label {
            "First cause" | "First known" => style::BAD,
            "Next" => style::GOOD,
            _ => style::QUIET,
        };
        for (at, line) in wrap(&paragraph.text, width).into_iter().enumerate() {
            let label = if at == 0 { paragraph.label } else { "" };
            lines.push(vec![Cell::new(label, style), gap(label), Cell::new(line, style::PLAIN)]);
        }
        for line in paragraph.notes.iter().flat_map(|note| wrap(note, width)) {
            lines.push(vec![gap(""), Cell::new(line, style::PLAIN)]);
        }
        for quote in &paragraph.quotes {
            let quote = shorten(quote, width.unwrap_or(usize::MAX).saturating_sub(2), look);
            lines.push(vec![gap(""), Cell::new(format!("| {quote}"), style::QUIET)]);
        }
    }
    lines
}

/// Wraps `text` to lines of at most `width` characters, at blanks if possible.
pub(in crate::cli) fn wrap(text: &str, width: Option<usize>) -> Vec<&str> {
    let Some(width) = width else { return vec![text] };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(width) {
        // The blank may come directly after the last character that fits.
        let at = match rest[end..].starts_with(' ') {
            true => end,
            false => rest[..end].rfind(' ').filter(|at| *at > 0).unwrap_or(end),
        };
        lines.push(rest[..at].trim_end());
        rest = rest[at..].trim_start();
    }
    lines.push(rest);
    lines
}
