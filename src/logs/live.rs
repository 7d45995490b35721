//! Events for an interactive terminal: one line each, with the path in the same column as in the workers' output. Pure.

use super::console::{WIDTH_MAX, colour_of};
use crate::text::{self, cut_inside};
use anstyle::Style;
use std::fmt::Write;

/// On a terminal with fewer columns than this, times are left out.
const WITH_TIMES: usize = 60;

/// Paths take at most one third of the columns.
const SHARE: usize = 3;

/// The layout of the lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live {
    pub colour: bool,
    /// The width of the column of paths.
    pub column: usize,
}

/// The width of the column for these paths, on a terminal with `columns` columns.
pub(crate) fn column<'a>(paths: impl Iterator<Item = &'a str>, columns: usize) -> u8 {
    let widest = paths.map(str::len).max().unwrap_or(0);
    u8::try_from(widest.min(WIDTH_MAX).min(columns / SHARE)).unwrap_or(u8::MAX)
}

impl Live {
    /// One line, cut to `columns` if the width of the terminal is known. `time` is the local time.
    pub(crate) fn line(self, path: &str, style: Style, time: &str, words: &str, columns: Option<usize>) -> String {
        let columns = columns.unwrap_or(usize::MAX);
        let mut out = String::with_capacity(160);
        let shown = cut_inside(path, self.column.max(1), '…');
        // Paths are ASCII, so bytes are columns; except for the mark of a cut.
        let padding = self.column.saturating_sub(shown.chars().count());
        self.paint(&mut out, &format!("\x1b[{}m", colour_of(path)), &shown);
        let _ = write!(out, "{:padding$} ", "");
        self.paint(&mut out, &style.render().to_string(), "●");
        out.push(' ');
        let mut room = columns.saturating_sub(self.column.max(1) + 3);
        if columns >= WITH_TIMES {
            self.paint(&mut out, "\x1b[2m", time);
            out.push(' ');
            room = room.saturating_sub(time.len() + 1);
        }
        let mut clean = String::with_capacity(words.len());
        text::write_printable(words.as_bytes(), &mut clean);
        self.paint(&mut out, &style.render().to_string(), &text::shorten(&clean.replace('\t', " "), room, '…'));
        out.push('\n');
        out
    }

    fn paint(self, out: &mut String, sequence: &str, what: &str) {
        if self.colour && !sequence.is_empty() {
            let _ = write!(out, "{sequence}{what}\x1b[0m");
        } else {
            out.push_str(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Live = Live { colour: false, column: 8 };

    #[test]
    fn a_line_has_its_path_in_a_column_and_ends_where_the_terminal_ends() {
        let line =
            |path, columns| LIVE.line(path, Style::new(), "03:04:05", "exited with status 1 (last output: no", columns);
        assert_eq!(line("/db", None), "/db      ● 03:04:05 exited with status 1 (last output: no\n");
        assert_eq!(line("/db", Some(60)), "/db      ● 03:04:05 exited with status 1 (last output: no\n");
        assert_eq!(line("/web/api/jobs-1", Some(40)), "/w…obs-1 ● exited with status 1 (last o…\n");
        for columns in 0..80 {
            let cut = line("/db", Some(columns));
            assert!(cut.trim_end().chars().count() <= columns.max(11), "{columns}: {cut}");
        }
    }

    #[test]
    fn wide_characters_and_what_a_terminal_acts_upon_are_counted_as_shown() {
        let line = LIVE.line("/db", Style::new(), "", "\x1b[2J\n你好你好", Some(27));
        assert_eq!(line, "/db      ● \\x1b[2J\\n你好你…\n");
    }

    #[test]
    fn colours_end_where_they_began() {
        let live = Live { colour: true, ..LIVE };
        let line = live.line("/db", anstyle::AnsiColor::Red.on_default(), "03:04:05", "is down", Some(80));
        assert_eq!(line.matches("\x1b[0m").count(), 4, "{line:?}");
        assert!(line.contains("\x1b[31m●\x1b[0m \x1b[2m03:04:05\x1b[0m \x1b[31mis down\x1b[0m\n"), "{line:?}");
    }

    #[test]
    fn the_column_is_as_wide_as_its_paths_but_leaves_room_for_words() {
        let paths = ["/db", "/web/api", "/a/very/long/path/of/a/worker"];
        assert_eq!([80, 40, 12].map(|columns| column(paths.into_iter(), columns)), [24, 13, 4]);
        assert_eq!(column(paths[..2].iter().copied(), 80), 8);
    }
}
