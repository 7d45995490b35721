//! The hub as threads and connections share it.

use super::hub::Hub;
use crate::os::clock;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The hub behind its lock, which is held for moments only.
pub(super) struct Shared {
    hub: Mutex<Hub>,
    /// There is something to do before the time that was named last.
    wakes: Notify,
    /// Something may be known now that was waited for.
    news: Notify,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared { hub: Mutex::new(Hub::new()), wakes: Notify::new(), news: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Hub> {
        // It is never left half changed.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was put in.
    pub(super) fn wake(&self) {
        self.wakes.notify_one();
        self.news.notify_waiters();
    }

    /// Waits until there may be something to do: for so many milliseconds at most.
    pub(super) async fn woken(&self, ms: u64) {
        let _ = timeout(Duration::from_millis(ms), self.wakes.notified()).await;
    }

    /// What `find` finds, if it does so in time.
    pub(super) async fn wait_for<T>(&self, limit: Duration, find: impl Fn(&mut Hub) -> Option<T>) -> Option<T> {
        timeout(limit, async {
            loop {
                let news = self.news.notified();
                if let Some(found) = find(&mut self.lock()) {
                    return found;
                }
                // What happens between the look and this would go unnoticed for a moment.
                let _ = timeout(Duration::from_millis(100), news).await;
            }
        })
        .await
        .ok()
    }
}

/// Milliseconds of a clock that never jumps.
pub(super) fn now_ms() -> u64 {
    clock::machine_millis()
}
