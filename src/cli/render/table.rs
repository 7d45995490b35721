//! Tables and lines that fit a width: what is wide is cut, what matters less is left out, and nothing is ever wrapped.

use super::look::Look;
use super::style;
use anstyle::Style;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// One field of a table, or one part of a line.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Cell {
    pub text: String,
    pub style: Style,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Cell {
        Cell { text: text.into(), style }
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    pub head: &'static str,
    pub right: bool,
    /// When the table is too wide, columns of high rank go first; 0 stays.
    pub rank: u8,
    /// It may be cut to this many characters before any column goes.
    pub cut_to: Option<usize>,
}

impl Column {
    pub(crate) const fn left(head: &'static str, rank: u8) -> Column {
        Column { head, right: false, rank, cut_to: None }
    }

    pub(crate) const fn right(head: &'static str, rank: u8) -> Column {
        Column { head, right: true, rank, cut_to: None }
    }

    pub(crate) const fn cut_to(mut self, width: usize) -> Column {
        self.cut_to = Some(width);
        self
    }
}

pub(in crate::cli) struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

/// Between columns.
const GAP: usize = 2;

/// Columns up to this rank go only when the first has been cut, where it may be.
const AFTER_NAMES: u8 = 5;

impl Table {
    /// Draws the table. Columns in which nothing stands are left out, and what does not fit is cut or left out.
    pub(crate) fn draw(&self, look: Look) -> String {
        let widths = self.widths(look.width);
        let mut out = String::new();
        for row in std::iter::once(&self.heads()).chain(&self.rows) {
            for cell in fields(&self.columns, row, &widths, look) {
                paint(&mut out, &cell.text, cell.style, look);
            }
            out.push('\n');
        }
        out
    }

    /// The first row.
    pub(crate) fn heads(&self) -> Vec<Cell> {
        self.columns.iter().map(|column| Cell::new(column.head, style::HEAD)).collect()
    }

    /// How wide each column is to be; 0 for those that are left out.
    pub(crate) fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let natural = |column: usize| {
            let widest = self.rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
            if widest == 0 { 0 } else { widest.max(self.columns[column].head.len()) }
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(natural).collect();
        if let Some(width) = width {
            self.fit(&mut widths, width);
        }
        widths
    }

    /// Cuts columns, then drops them by rank, the first being cut in between where it may be, until all fit into
    /// `width`; what is left then goes to those that were cut.
    fn fit(&self, widths: &mut [usize], width: usize) {
        let total = |widths: &[usize]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
        };
        let natural = widths.to_vec();
        let mut by_rank: Vec<usize> = (0..widths.len()).filter(|at| self.columns[*at].rank > 0).collect();
        by_rank.sort_by_key(|at| std::cmp::Reverse(self.columns[*at].rank));
        for at in by_rank.iter().copied() {
            let over = total(widths).saturating_sub(width);
            if let Some(least) = self.columns[at].cut_to {
                widths[at] = widths[at].saturating_sub(over).max(least.min(widths[at]));
            }
        }
        for at in by_rank {
            if let Some(least) = self.columns[0].cut_to.filter(|_| self.columns[at].rank <= AFTER_NAMES) {
                let over = total(widths).saturating_sub(width);
                widths[0] = widths[0].saturating_sub(over).max(least.min(widths[0]));
            }
            if total(widths) <= width {
                break;
            }
            widths[at] = 0;
        }
        let over = total(widths).saturating_sub(width);
        widths[0] = widths[0].saturating_sub(over).max(1);
        for at in 0..widths.len() {
            if widths[at] > 0 {
                let spare = width.saturating_sub(total(widths));
                widths[at] += spare.min(natural[at] - widths[at].min(natural[at]));
            }
        }
    }
}

/// A row as the parts of its line, padded so that they stand below each other. Nothing but text is styled, and nothing
/// is left standing at the end of a line.
pub(in crate::cli) fn fields(columns: &[Column], row: &[Cell], widths: &[usize], look: Look) -> Vec<Cell> {
    let last = (0..row.len()).rev().find(|at| widths[*at] > 0 && !row[*at].text.is_empty());
    let mut parts = Vec::new();
    let mut gap = 0;
    for (at, cell) in row.iter().enumerate() {
        if widths[at] == 0 || last.is_none_or(|last| at > last) {
            continue;
        }
        let text = shorten(&cell.text, widths[at], look);
        let padding = widths[at].saturating_sub(text.width());
        let (before, after) = if columns[at].right { (padding, 0) } else { (0, padding) };
        if gap + before > 0 {
            parts.push(Cell::new(" ".repeat(gap + before), style::PLAIN));
        }
        parts.push(Cell::new(text, cell.style));
        if Some(at) != last && after > 0 {
            parts.push(Cell::new(" ".repeat(after), style::PLAIN));
        }
        gap = GAP;
    }
    parts
}

/// One line of several parts, cut where the width ends.
pub(in crate::cli) fn line(parts: &[Cell], look: Look) -> String {
    let mut out = String::new();
    let mut left = look.width.unwrap_or(usize::MAX);
    for part in parts {
        let text = shorten(&part.text, left, look);
        left -= text.width().min(left);
        paint(&mut out, &text, part.style, look);
        if text.len() != part.text.len() {
            break;
        }
    }
    out.push('\n');
    out
}

pub(in crate::cli) fn paint(out: &mut String, text: &str, style: Style, look: Look) {
    if look.colour && style != Style::new() && !text.is_empty() {
        let _ = write!(out, "{style}{text}{style:#}");
    } else {
        out.push_str(text);
    }
}

/// The beginning of a text that fits into `width` columns, marked where it was cut.
pub(in crate::cli) fn shorten(text: &str, width: usize, look: Look) -> String {
    crate::text::shorten(text, width, if look.unicode { '…' } else { '~' })
}
