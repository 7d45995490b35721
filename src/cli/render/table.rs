//! Tables and lines that fit a width: wide cells are cut, less important columns are left out, and nothing is wrapped.

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
    /// If the table is too wide, columns of the highest rank are left out first; those of rank 0 never.
    pub rank: u8,
    /// It may be cut to this many characters before other columns are left out.
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

/// Columns of space between two of the table.
const GAP: usize = 2;

/// Columns up to this rank are left out only after the first column has been cut, if that may be cut.
const AFTER_NAMES: u8 = 5;

impl Table {
    /// Draws the table. Empty columns are left out, and columns that do not fit are cut or left out.
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

    /// The row of headings.
    pub(crate) fn heads(&self) -> Vec<Cell> {
        self.columns.iter().map(|column| Cell::new(column.head, style::HEAD)).collect()
    }

    /// The width of each column; 0 for those that are left out.
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

    /// Makes the columns fit into `width`: cuts columns, then leaves them out by rank, cutting the first one in between
    /// if it may be cut. Remaining room is given back to columns that were cut.
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

/// The cells of a row, padded to align them. Padding has no style, and there is none at the end of a line.
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

/// One line of several parts, cut to the width.
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

/// A text cut to `width` columns, with a mark if it was cut.
pub(in crate::cli) fn shorten(text: &str, width: usize, look: Look) -> String {
    crate::text::shorten(text, width, if look.unicode { '…' } else { '~' })
}
