//! What the root has reported of the tree a while ago: for those that ask often, scrapes that come at one time share
//! one question, and for those that ask while it does not answer.

use super::ask::Asker;
use super::shared::now_ms;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::view::StatusView;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::Mutex;

/// An answer of the root is used again for so many milliseconds.
const FRESH_MS: u64 = 1_000;

/// The last answer, how long it took, and when it came.
#[derive(Default)]
pub(super) struct Recent(Mutex<Option<(u64, Span, Arc<StatusView>)>>);

impl Recent {
    /// The status of the tree, and how long it took: scrapes that come at one time share one question.
    pub(super) async fn status(&self, asker: &Asker) -> Option<(Span, Arc<StatusView>)> {
        let mut last = self.0.lock().await;
        let begun = now_ms();
        if let Some((at, took, status)) = &*last
            && begun < at + FRESH_MS
        {
            return Some((*took, Arc::clone(status)));
        }
        let status = asker.status(&Path::root()).await.ok()?;
        let now = now_ms();
        let took = Span::from_millis(now - begun);
        *last = Some((now, took, Arc::clone(&status)));
        Some((took, status))
    }
}

/// What `/plain` has shown last: when, of which path, and what.
#[derive(Default)]
pub(super) struct Last(std::sync::Mutex<Option<(u64, Path, Arc<StatusView>)>>);

impl Last {
    /// What is shared is never left half changed.
    fn lock(&self) -> MutexGuard<'_, Option<(u64, Path, Arc<StatusView>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it in place of the one before.
    pub(super) fn keep(&self, path: &Path, status: &Arc<StatusView>) {
        *self.lock() = Some((now_ms(), path.clone(), Arc::clone(status)));
    }

    /// Of this path, and how old it is.
    pub(super) fn of(&self, path: &Path) -> Option<(Span, Arc<StatusView>)> {
        let last = self.lock();
        let (at, _, status) = last.as_ref().filter(|(_, known, _)| known == path)?;
        Some((Span::from_millis(now_ms().saturating_sub(*at)), Arc::clone(status)))
    }
}
