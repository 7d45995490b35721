//! One line of `treevisor events`.

use super::look::Look;
use super::style;
use super::table::paint;
use crate::explain::sentence::words;
use crate::text::clean;
use crate::wire::view::EventView;
use std::fmt::Write;

/// One line of `treevisor events`. `path_width` is that of the longest path so far, so that the words stand below each
/// other.
pub fn event(event: &EventView, path_width: usize, look: Look) -> String {
    let mut out = String::new();
    time(&event.at, look, &mut out);
    let _ = write!(out, "  {:path_width$}  ", event.path.as_str());
    paint(&mut out, &words(event), style::of_event(&event.body), look);
    out.push('\n');
    out
}

/// A time, as events and lines show it.
pub fn time(at: &str, look: Look, out: &mut String) {
    paint(out, &short_time(at), style::QUIET, look);
}

/// `2026-01-02T03:04:05.678901234Z` as `2026-01-02 03:04:05.678Z`; anything else as it is.
pub(in crate::cli) fn short_time(at: &str) -> String {
    let at = clean(at);
    match (at.split_once('T'), at.ends_with('Z')) {
        (Some((date, time)), true) if time.is_ascii() && time.len() >= 13 => format!("{date} {}Z", &time[..12]),
        _ => at.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::view::testing;
    use serde_json::json;

    #[test]
    fn an_event_is_one_line() {
        let detail = json!({"signal": 11, "output": ["one", "two\nthree"]});
        let view = EventView {
            at: "2026-01-02T03:04:05.678901234Z".into(),
            ..testing::event(1, "/web/api", "exited", detail)
        };
        assert_eq!(
            event(&view, 10, Look::PLAIN),
            "2026-01-02 03:04:05.678Z  /web/api    was killed by SIGSEGV (last output: two\\nthree)\n"
        );
    }
}
