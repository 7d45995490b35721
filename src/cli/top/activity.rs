//! Recent beats and restarts of each child: one number for each look, for a bounded time.

use crate::ids::Path;
use crate::wire::view::ChildView;
use std::collections::{HashMap, VecDeque};

/// How many looks are kept.
pub(super) const LOOKS: usize = 120;

/// Counts between two looks, the latest last.
#[derive(Debug, Clone, Default)]
struct Track {
    beats: VecDeque<u64>,
    restarts: VecDeque<u64>,
    /// Restarts since the last look.
    pending: u64,
    /// The number of beats at the last look, and the incarnation.
    seen: (u64, u64),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Activity(HashMap<Path, Track>);

impl Activity {
    pub(super) fn restart(&mut self, path: &Path) {
        // Only known paths are counted, so that events cannot make the table grow.
        if let Some(track) = self.0.get_mut(path) {
            track.pending += 1;
        }
    }

    /// Takes in a look at the tree. Children that no longer exist are removed.
    pub(super) fn look(&mut self, root: &ChildView) {
        let mut tracks = HashMap::with_capacity(self.0.len());
        self.look_below(root, &mut tracks);
        self.0 = tracks;
    }

    fn look_below(&mut self, view: &ChildView, tracks: &mut HashMap<Path, Track>) {
        let known = self.0.remove(view.path());
        let first = known.is_none();
        let mut track = known.unwrap_or_default();
        let beats = view.heartbeat().map_or(0, |beats| beats.beats);
        let before = if track.seen.1 == view.incarnation() { track.seen.0 } else { 0 };
        // Beats before the first look do not count.
        push(&mut track.beats, if first { 0 } else { beats.saturating_sub(before) });
        push(&mut track.restarts, std::mem::take(&mut track.pending));
        track.seen = (beats, view.incarnation());
        tracks.insert(view.path().clone(), track);
        view.children().iter().for_each(|child| self.look_below(child, tracks));
    }

    /// Beats of a subtree, the latest last.
    pub(super) fn beats(&self, path: &Path) -> Vec<u64> {
        self.sum(path, |track| &track.beats)
    }

    /// Restarts of a subtree, the latest last.
    pub(super) fn restarts(&self, path: &Path) -> Vec<u64> {
        self.sum(path, |track| &track.restarts)
    }

    fn sum(&self, path: &Path, of: impl Fn(&Track) -> &VecDeque<u64>) -> Vec<u64> {
        let mut sum = vec![0; LOOKS];
        let mut longest = 0;
        for (_, track) in self.0.iter().filter(|(other, _)| other.is_within(path)) {
            let values = of(track);
            longest = longest.max(values.len());
            for (at, value) in values.iter().rev().enumerate() {
                sum[LOOKS - 1 - at] += value;
            }
        }
        sum.split_off(LOOKS - longest)
    }
}

fn push(values: &mut VecDeque<u64>, value: u64) {
    values.push_back(value);
    if values.len() > LOOKS {
        values.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::render::testing::shop;
    use super::*;

    #[test]
    fn a_subtree_has_the_activity_of_all_below_it() {
        let mut activity = Activity::default();
        let mut view = shop().root;
        let path = |text| Path::parse(text).unwrap();
        activity.restart(&path("/web/jobs"));
        activity.look(&view);
        for _ in 0..2 {
            let ChildView::Supervisor(root) = &mut view else { panic!() };
            let ChildView::Supervisor(web) = &mut root.children[1] else { panic!() };
            let ChildView::Worker(api) = &mut web.children[0] else { panic!() };
            api.heartbeat.as_mut().unwrap().beats += 3;
            activity.restart(&path("/web/jobs"));
            activity.look(&view);
        }
        assert_eq!(activity.beats(&path("/web")), [0, 3, 3]);
        assert_eq!(activity.beats(&path("/db")), [0, 0, 0]);
        // The first restart came before the child was known.
        assert_eq!(activity.restarts(&Path::root()), [0, 1, 1]);
        for _ in 0..LOOKS {
            activity.look(&view);
        }
        assert_eq!(activity.beats(&Path::root()).len(), LOOKS);
    }
}
