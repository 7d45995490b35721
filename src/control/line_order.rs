//! The order of lines of several workers. Pure.

use crate::ids::Path;
use crate::wire::view::LogView;
use std::collections::BTreeMap;

/// The lines of each worker, in their order.
pub fn by_worker(lines: Vec<LogView>) -> BTreeMap<Path, Vec<LogView>> {
    let mut workers: BTreeMap<Path, Vec<LogView>> = BTreeMap::new();
    for line in lines {
        workers.entry(line.path.clone()).or_default().push(line);
    }
    workers
}

/// Sorts all lines by time. Lines of one worker keep their order, also if the clock was set back, and lines without a
/// time come first.
pub fn in_order(workers: BTreeMap<Path, Vec<LogView>>) -> Vec<LogView> {
    let mut timed: Vec<(String, LogView)> = Vec::new();
    for lines in workers.into_values() {
        let mut latest = String::new();
        for line in lines {
            // All times have the same form, so they are compared as text.
            if let Some(at) = line.at.as_ref().filter(|at| **at > latest) {
                latest.clone_from(at);
            }
            timed.push((latest.clone(), line));
        }
    }
    timed.sort_by(|a, b| a.0.cmp(&b.0));
    timed.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, at: &str, text: &str) -> LogView {
        let at = (!at.is_empty()).then(|| at.to_owned());
        LogView { at, ..LogView::untimed(Path::parse(path).unwrap(), text.to_owned()) }
    }

    #[test]
    fn lines_are_interleaved_and_each_workers_own_stay_in_order() {
        let lines = vec![
            line("/b", "02", "b1"),
            line("/a", "01", "a1"),
            line("/a", "03", "a2"),
            // As if the clock had been set back.
            line("/a", "00", "a3"),
            line("/b", "03", "b2"),
            line("/c", "", "c1"),
        ];
        let texts: Vec<String> = in_order(by_worker(lines)).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["c1", "a1", "b1", "a2", "a3", "b2"]);
    }
}
