//! The whole of `treevisor why`: labels in a column of their own, and text that is broken at blanks.

use super::look::Look;
use super::style;
use super::table::{paint, shorten};
use crate::explain::Told;
use std::fmt::Write;

/// The whole of `treevisor why`: the state, and the paragraphs with their labels in a column of their own.
pub fn told(told: &Told, look: Look) -> String {
    /// As wide as the longest label, and a gap.
    const INDENT: usize = 13;
    /// Longer lines are hard to read, however wide the terminal is.
    const WIDTH_MAX: usize = 110;
    /// Narrower than this there is no use in wrapping.
    const WIDTH_MIN: usize = 24;
    let width = look.width.map(|width| width.min(WIDTH_MAX).saturating_sub(INDENT).max(WIDTH_MIN));
    let mut out = String::new();
    for line in wrap(&told.headline, width.map(|width| width + INDENT)) {
        paint(&mut out, line, style::NAME, look);
        out.push('\n');
    }
    for paragraph in &told.paragraphs {
        let style = match paragraph.label {
            "First cause" | "First known" => style::BAD,
            "Next" => style::GOOD,
            _ => style::QUIET,
        };
        for (at, line) in wrap(&paragraph.text, width).into_iter().enumerate() {
            let label = if at == 0 { paragraph.label } else { "" };
            paint(&mut out, label, style, look);
            let _ = writeln!(out, "{:1$}{line}", "", INDENT - label.len());
        }
        for line in paragraph.notes.iter().flat_map(|note| wrap(note, width)) {
            let _ = writeln!(out, "{:INDENT$}{line}", "");
        }
        for quote in &paragraph.quotes {
            let _ = write!(out, "{:INDENT$}", "");
            paint(
                &mut out,
                &format!("| {}", shorten(quote, width.unwrap_or(usize::MAX).saturating_sub(2), look)),
                style::QUIET,
                look,
            );
            out.push('\n');
        }
    }
    out
}

/// `text` in lines of at most `width` characters, broken at blanks where there are some.
pub(super) fn wrap(text: &str, width: Option<usize>) -> Vec<&str> {
    let Some(width) = width else { return vec![text] };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(width) {
        // The blank may stand right behind the last character that fits.
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
