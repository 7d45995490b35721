//! Trees drawn with branches.

use super::look::Look;
use super::style;
use super::table::{Cell, Column, Table};

/// The branches before a name: for each level, whether more siblings follow.
#[derive(Debug, Clone, Default)]
pub struct Branches(Vec<bool>);

impl Branches {
    /// The branches of a child; `last`: whether it is the last sibling.
    pub fn below(&self, last: bool) -> Branches {
        let mut levels = self.0.clone();
        levels.push(!last);
        Branches(levels)
    }

    /// The branches as text.
    pub fn draw(&self, look: Look) -> String {
        let Some((here, above)) = self.0.split_last() else { return String::new() };
        let (through, fork, corner) =
            if look.unicode { ("│  ", "├─ ", "└─ ") } else { ("|  ", "|- ", "`- ") };
        let mut text = String::new();
        for more in above {
            text.push_str(if *more { through } else { "   " });
        }
        text.push_str(if *here { fork } else { corner });
        text
    }
}

/// Draws a tree whose rows are a name, its rules, and a note; for `check`.
pub fn plain_tree(rows: Vec<[String; 3]>, look: Look) -> String {
    let styles = [style::NAME, style::PLAIN, style::QUIET];
    let rows =
        rows.into_iter().map(|row| row.into_iter().zip(styles).map(|(t, s)| Cell::new(t, s)).collect()).collect();
    let columns =
        vec![Column::left("TREE", 0), Column::left("RULES", 1).cut_to(24), Column::left("COMMAND", 2).cut_to(12)];
    Table { columns, rows }.draw(look)
}
