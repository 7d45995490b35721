//! The latest failures below a supervisor. They answer `why` for a supervisor that has no failure of its own.

use super::chain::is_failure;
use super::types::{Below, Explanation};
use crate::ids::Path;
use crate::wire::view::EventView;
use std::collections::HashSet;

impl Explanation {
    /// Adds the failures below the path since this moment; if there are none, those before it.
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
    // A hang, and a failed start that follows an exit, belong to the same end of a process and count once.
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
