//! What failed below a supervisor lately: where nothing is wrong with itself, that is what is asked for.

use super::chain::is_failure;
use super::types::{Below, Explanation};
use crate::ids::Path;
use crate::wire::view::EventView;
use std::collections::HashSet;

impl Explanation {
    /// Adds what failed below it since this moment; where nothing has, the last that did before.
    pub fn look_below(&mut self, events: &[EventView], since: Option<String>) {
        self.below = below(events, &self.path, since).or_else(|| below(events, &self.path, None));
        if let Some(below) = &self.below {
            let path = &below.last.path;
            self.hints.insert(0, format!("`treevisor why {path}` explains the last one"));
        }
    }
}

fn below(events: &[EventView], path: &Path, since: Option<String>) -> Option<Below> {
    let mut children: Vec<(Path, u64)> = Vec::new();
    let mut last = None;
    // A hang and the failed start that an exit is made into belong to one end.
    let mut ends = HashSet::new();
    for event in events.iter().rev() {
        if since.as_ref().is_some_and(|since| event.at < *since) {
            break;
        }
        let is_below = event.path != *path && event.path.is_within(path);
        if !is_below || !is_failure(event) || !ends.insert((&event.path, event.id.node, event.incarnation)) {
            continue;
        }
        last = last.or(Some(event));
        match children.iter_mut().find(|(path, _)| *path == event.path) {
            Some((_, times)) => *times += event.times(),
            None => children.push((event.path.clone(), event.times())),
        }
    }
    let failures = children.iter().map(|(_, times)| times).sum();
    Some(Below { since, failures, children, last: last?.clone() })
}
