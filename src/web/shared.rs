//! The hub, shared by threads and connections.

use super::hub::Hub;
use crate::os::clock;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The hub behind its lock, which is held only briefly.
pub(super) struct Shared {
    hub: Mutex<Hub>,
    /// Notified when something is due before the time that `tick` returned last.
    wakes: Notify,
    /// Notified when the hub has changed, for [`Shared::wait_for`].
    news: Notify,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared { hub: Mutex::new(Hub::new()), wakes: Notify::new(), news: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Hub> {
        // A poisoned lock is used all the same, as no change is ever left half done.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the hub has changed.
    pub(super) fn wake(&self) {
        self.wakes.notify_one();
        self.news.notify_waiters();
    }

    /// Waits until something may be due, at most `ms` milliseconds.
    pub(super) async fn woken(&self, ms: u64) {
        let _ = timeout(Duration::from_millis(ms), self.wakes.notified()).await;
    }

    /// Waits until `find` returns something, at most `limit`.
    pub(super) async fn wait_for<T>(&self, limit: Duration, find: impl Fn(&mut Hub) -> Option<T>) -> Option<T> {
        timeout(limit, async {
            loop {
                let news = self.news.notified();
                if let Some(found) = find(&mut self.lock()) {
                    return found;
                }
                // A change between `find` and this wait may be missed, so the wait is short.
                let _ = timeout(Duration::from_millis(100), news).await;
            }
        })
        .await
        .ok()
    }
}

/// Milliseconds of a monotonic clock.
pub(super) fn now_ms() -> u64 {
    clock::machine_millis()
}
