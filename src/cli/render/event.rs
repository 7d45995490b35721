//! One line of `treevisor events`.

use super::table::paint;
use super::{Look, style};
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
    paint(&mut out, &words(event), style::of_kind(&event.kind), look);
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
    use crate::ids::{Path, ReportId};
    use serde_json::json;

    #[test]
    fn an_event_is_one_line() {
        let view = EventView {
            id: ReportId { node: 1, seq: 1 },
            at: "2026-01-02T03:04:05.678901234Z".into(),
            path: Path::parse("/web/api").unwrap(),
            kind: "exited".into(),
            pid: Some(7),
            incarnation: Some(1),
            cause: None,
            detail: json!({"signal": 11, "output": ["one", "two\nthree"]}).as_object().unwrap().clone(),
        };
        assert_eq!(
            event(&view, 10, Look::PLAIN),
            "2026-01-02 03:04:05.678Z  /web/api    was ended by SIGSEGV; its last words: two\\nthree\n"
        );
    }
}
