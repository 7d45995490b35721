//! The status of the tree for those who ask often: scrapes that come at one time share one question.

use super::ask::Asker;
use super::shared::now_ms;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::view::StatusView;
use std::sync::Arc;
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
