//! CPU usage of children, since their start or since the last look.

use crate::ids::Path;
use crate::wire::view::{ChildView, UsageView};
use std::collections::HashMap;

/// A shorter time is too short to compute a share.
const WORTH_NAMING_MS: u64 = 100;

/// CPU shares of children between two looks. Before the second look, shares are averages since the start, as in ps(1).
#[derive(Debug, Clone, Default)]
pub struct Shares {
    seen: HashMap<Path, Sample>,
    /// In percent of one CPU.
    shares: HashMap<Path, f64>,
}

/// A sample of a process. Its uptime serves as the clock, as both numbers are of the same moment, however long the
/// answer took.
#[derive(Debug, Clone, Copy)]
struct Sample {
    pid: u32,
    uptime_ms: u64,
    cpu_ms: u64,
}

impl Shares {
    /// Takes in the next look.
    pub fn look(&mut self, root: &ChildView) {
        let mut seen = HashMap::new();
        let mut shares = HashMap::new();
        self.look_below(root, &mut seen, &mut shares);
        (self.seen, self.shares) = (seen, shares);
    }

    fn look_below(&self, view: &ChildView, seen: &mut HashMap<Path, Sample>, shares: &mut HashMap<Path, f64>) {
        if let Some(now) = sample(view) {
            let before = self.seen.get(view.path()).filter(|before| before.pid == now.pid);
            let from = before.map_or((0, 0), |before| (before.uptime_ms, before.cpu_ms));
            let passed = now.uptime_ms.saturating_sub(from.0);
            let kept = self.shares.get(view.path()).copied();
            // If too little time has passed, the earlier share is kept.
            let share =
                if passed >= WORTH_NAMING_MS { Some(share(now.cpu_ms.saturating_sub(from.1), passed)) } else { kept };
            if let Some(share) = share {
                shares.insert(view.path().clone(), share);
            }
            let sample = if passed >= WORTH_NAMING_MS { now } else { before.copied().unwrap_or(now) };
            seen.insert(view.path().clone(), sample);
        }
        view.children().iter().for_each(|child| self.look_below(child, seen, shares));
    }

    /// The share of a child in percent of one CPU; `None` if unknown.
    pub fn of(&self, view: &ChildView) -> Option<f64> {
        match self.shares.get(view.path()) {
            Some(share) => Some(*share),
            None if self.seen.is_empty() => {
                sample(view).filter(|now| now.uptime_ms >= WORTH_NAMING_MS).map(|now| share(now.cpu_ms, now.uptime_ms))
            }
            None => None,
        }
    }
}

fn sample(view: &ChildView) -> Option<Sample> {
    let (pid, uptime_ms) = (view.pid()?, view.uptime_ms()?);
    Some(Sample { pid, uptime_ms, cpu_ms: view.usage()?.cpu_ms })
}

fn share(cpu_ms: u64, passed_ms: u64) -> f64 {
    cpu_ms as f64 * 100.0 / passed_ms.max(1) as f64
}

/// A share as text: `0.3`, `12`, `250`.
pub fn share_words(share: f64) -> String {
    if share < 9.95 { format!("{share:.1}") } else { format!("{share:.0}") }
}

/// An amount of memory in at most four characters and a unit: `812K`, `3.1M`, `120M`, `1.5G`.
pub fn memory_words(bytes: u64) -> String {
    let mut amount = bytes as f64 / 1024.0;
    for unit in ["K", "M", "G", "T"] {
        if amount < 1023.5 || unit == "T" {
            return if amount < 9.95 && unit != "K" {
                format!("{amount:.1}{unit}")
            } else {
                format!("{amount:.0}{unit}")
            };
        }
        amount /= 1024.0;
    }
    String::new()
}

/// The resources that all processes of a subtree use together.
pub fn total(view: &ChildView) -> UsageView {
    let own = view.usage().unwrap_or(UsageView { cpu_ms: 0, memory_bytes: 0, processes: 0 });
    view.children().iter().map(total).fold(own, |sum, part| UsageView {
        cpu_ms: sum.cpu_ms.saturating_add(part.cpu_ms),
        memory_bytes: sum.memory_bytes.saturating_add(part.memory_bytes),
        processes: sum.processes.saturating_add(part.processes),
    })
}

/// The sum of all shares in a subtree; `None` if none is known.
pub fn total_share(view: &ChildView, shares: &Shares) -> Option<f64> {
    let below = view.children().iter().filter_map(|child| total_share(child, shares));
    shares.of(view).into_iter().chain(below).reduce(|sum, part| sum + part)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{supervisor, worker};
    use super::*;

    fn tree(pid: u32, uptime_ms: u64, cpu_ms: u64) -> ChildView {
        let mut a = worker("/a", "running");
        (a.pid, a.uptime_ms) = (Some(pid), Some(uptime_ms));
        a.usage = Some(UsageView { cpu_ms, memory_bytes: 4096, processes: 2 });
        ChildView::Supervisor(Box::new(supervisor("/", vec![ChildView::Worker(Box::new(a))])))
    }

    #[test]
    fn shares_are_those_since_the_start_and_then_those_since_the_last_look() {
        let mut shares = Shares::default();
        let of = |shares: &Shares, root: &ChildView| shares.of(&root.children()[0]);
        let root = tree(7, 10_000, 1_000);
        assert_eq!(of(&shares, &root), Some(10.0));
        shares.look(&root);
        assert_eq!(of(&shares, &root), Some(10.0));
        let next = tree(7, 11_000, 1_500);
        shares.look(&next);
        assert_eq!(of(&shares, &next), Some(50.0));
        // A second look in the same moment keeps the known share.
        shares.look(&tree(7, 11_010, 1_510));
        assert_eq!(of(&shares, &next), Some(50.0));
        // For another process the calculation begins anew.
        let other = tree(8, 500, 500);
        shares.look(&other);
        assert_eq!(of(&shares, &other), Some(100.0));
        assert_eq!(total(&other), UsageView { cpu_ms: 500, memory_bytes: 4096, processes: 2 });
        assert_eq!(total_share(&other, &shares), Some(100.0));
    }

    #[test]
    fn numbers_are_short() {
        let shares = [0.0, 0.34, 9.94, 9.96, 250.2].map(share_words);
        assert_eq!(shares, ["0.0", "0.3", "9.9", "10", "250"]);
        let sizes = [0, 900 << 10, 1023 << 10, 1 << 20, 9 << 20, 120 << 20, 1536 << 20, 3 << 40].map(memory_words);
        assert_eq!(sizes, ["0K", "900K", "1023K", "1.0M", "9.0M", "120M", "1.5G", "3.0T"]);
    }
}
