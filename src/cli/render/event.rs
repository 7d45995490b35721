//! The lines of `treevisor events`.

use super::look::Look;
use super::people;
use super::style;
use super::table::paint;
use super::why::wrap;
use crate::explain::sentence::words;
use crate::text::clean;
use crate::wire::view::EventView;
use std::fmt::Write;

/// Most characters of the column for paths; longer paths move the text of their own line only.
const PATH_WIDTH_MAX: usize = 32;

/// If there is less room than this, the text goes below the path.
const ROOM_MIN: usize = 36;

/// Renders a list of events. In a pipe each event is one complete line. On a terminal the date is shown where it
/// changes, and long texts are wrapped.
#[derive(Debug, Default)]
pub struct Events {
    /// The width of the longest path so far, so that texts are aligned.
    path_width: usize,
    date: String,
    /// Whether the id of each event is shown.
    ids: bool,
}

impl Events {
    /// No events yet; `ids` shows the id of each.
    pub fn new(ids: bool) -> Events {
        Events { ids, ..Events::default() }
    }

    /// Widens the column for the paths of these events.
    pub fn expect(&mut self, events: &[EventView]) {
        let widest = events.iter().map(|event| event.path.as_str().len()).max().unwrap_or(0);
        self.path_width = self.path_width.max(widest).min(PATH_WIDTH_MAX);
    }

    /// Appends one line; on a terminal a long text takes more.
    pub fn write(&mut self, event: &EventView, look: Look, out: &mut String) {
        let event = people::event(event, look);
        let (at, words, style) = (short_time(&event.at), words(&event), style::of_event(&event.body));
        // Wide enough for the id of a node's millionth event.
        let id = if self.ids { format!("{:<16}", event.id.to_string()) } else { String::new() };
        let Some(width) = look.width else {
            paint(out, &at, style::QUIET, look);
            let _ = write!(out, "  {id}{:1$}  ", event.path.as_str(), self.path_width);
            paint(out, &words, style, look);
            out.push('\n');
            return;
        };
        let (date, time) = at.split_once(' ').unwrap_or(("", &at));
        if self.date != date {
            date.clone_into(&mut self.date);
            paint(out, date, style::HEAD, look);
            out.push('\n');
        }
        paint(out, time, style::QUIET, look);
        let _ = write!(out, "  {id}");
        let beside = time.len() + 2 + id.len();
        let mut indent = beside + self.path_width + 2;
        let path = event.path.as_str();
        let is_below = path.len() > self.path_width || width < indent + ROOM_MIN;
        if width < indent + ROOM_MIN {
            indent = beside;
        }
        paint(out, path, style::QUIET, look);
        match is_below {
            true => out.push('\n'),
            false => out.extend(std::iter::repeat_n(' ', indent - beside - path.len())),
        }
        for (at, line) in wrap(&words, Some(width.saturating_sub(indent).max(1))).into_iter().enumerate() {
            if at > 0 || is_below {
                let _ = write!(out, "{:indent$}", "");
            }
            paint(out, line, style, look);
            out.push('\n');
        }
    }
}

/// Writes a time as events and log lines show it.
pub fn time(at: &str, look: Look, out: &mut String) {
    paint(out, &short_time(&look.zone.rfc3339(at)), style::QUIET, look);
}

/// `2026-01-02T03:04:05.678901234Z` as `2026-01-02 03:04:05.678Z`, without the Z if it is local; any other text is
/// returned unchanged.
pub(in crate::cli) fn short_time(at: &str) -> String {
    let at = clean(at);
    match at.split_once('T') {
        Some((date, time)) if time.is_ascii() && time.len() >= 13 => {
            format!("{date} {}{}", &time[..12], if time.ends_with('Z') { "Z" } else { "" })
        }
        _ => at.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::view::testing;
    use serde_json::json;

    fn shown(look: Look) -> String {
        let mut out = String::new();
        let mut events = Events::default();
        let exited = json!({"signal": 11, "output": ["one", "two\nthree"]});
        let all = [
            EventView {
                at: "2026-01-02T03:04:05.678901234Z".into(),
                ..testing::event(1, "/web/api", "exited", exited)
            },
            EventView { at: "2026-01-03T00:00:00.000000000Z".into(), ..testing::event(2, "/", "ready", json!({})) },
        ];
        events.expect(&all);
        all.iter().for_each(|event| events.write(event, look, &mut out));
        out
    }

    #[test]
    fn an_event_is_one_line_in_a_pipe() {
        assert_eq!(
            shown(Look::PLAIN),
            "2026-01-02 03:04:05.678Z  /web/api  was killed by SIGSEGV (last output: two\\nthree)\n\
             2026-01-03 00:00:00.000Z  /         is ready\n"
        );
    }

    #[test]
    fn on_a_terminal_dates_stand_where_they_change_and_words_below_each_other() {
        let wide = "\
2026-01-02
03:04:05.678Z  /web/api  was killed by SIGSEGV (last output:
                         two\\nthree)
2026-01-03
00:00:00.000Z  /         is ready
";
        assert_eq!(shown(Look { width: Some(64), ..Look::PLAIN }), wide);
        let narrow = "\
2026-01-02
03:04:05.678Z  /web/api
               was killed by SIGSEGV
               (last output: two\\nthree)
2026-01-03
00:00:00.000Z  /
               is ready
";
        assert_eq!(shown(Look { width: Some(40), ..Look::PLAIN }), narrow);
    }
}
