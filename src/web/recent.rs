//! Recent answers of the root: scrapes share an answer that is fresh enough, and `/plain` shows the last one while the
//! root does not answer.

use super::ask::Asker;
use super::shared::now_ms;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::view::StatusView;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::Mutex;

/// How long an answer of the root is reused, in milliseconds.
const FRESH_MS: u64 = 1_000;

/// The last answer: when it came, how long it took, and the status.
#[derive(Default)]
pub(super) struct Recent(Mutex<Option<(u64, Span, Arc<StatusView>)>>);

impl Recent {
    /// The status of the tree, and how long the root took to answer. Simultaneous scrapes share one request.
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

/// The last status that `/plain` has shown: its time, path and content.
#[derive(Default)]
pub(super) struct Last(std::sync::Mutex<Option<(u64, Path, Arc<StatusView>)>>);

impl Last {
    /// A poisoned lock is used all the same, as no change is ever left half done.
    fn lock(&self) -> MutexGuard<'_, Option<(u64, Path, Arc<StatusView>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the last status.
    pub(super) fn keep(&self, path: &Path, status: &Arc<StatusView>) {
        *self.lock() = Some((now_ms(), path.clone(), Arc::clone(status)));
    }

    /// The last status, if it is of this path, and its age.
    pub(super) fn of(&self, path: &Path) -> Option<(Span, Arc<StatusView>)> {
        let last = self.lock();
        let (at, _, status) = last.as_ref().filter(|(_, known, _)| known == path)?;
        Some((Span::from_millis(now_ms().saturating_sub(*at)), Arc::clone(status)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::known::Known;
    use super::super::shared::Shared;
    use super::super::testing::status;
    use super::*;
    use crate::control::session::testing::Root;
    use crate::link::Inbound;
    use crate::os::clock;
    use crate::wire::codec;
    use crate::wire::message::Reply;
    use std::collections::BTreeSet;
    use std::sync::OnceLock;
    use std::thread;
    use std::time::Duration;
    use tokio::runtime::Builder;

    #[test]
    fn scraped_ten_times_a_second_the_root_is_asked_once_a_second() {
        let (mut root, _) = Root::new();
        let known = Arc::new(OnceLock::from(Known::in_test(root.directory.path())));
        let asker = Asker::start(known, Arc::new(Shared::new()));
        let begun = now_ms();
        let scrapes = thread::spawn(move || {
            let recent = Arc::new(Recent::default());
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                for _ in 0..3 {
                    // All at one time.
                    let ten: Vec<_> = (0..10)
                        .map(|_| {
                            let (recent, asker) = (Arc::clone(&recent), asker.clone());
                            tokio::spawn(async move { recent.status(&asker).await.unwrap() })
                        })
                        .collect();
                    for scrape in ten {
                        assert_eq!(*scrape.await.unwrap().1, status(&["/a"]));
                    }
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
            });
        });
        let mut asked = BTreeSet::new();
        while !scrapes.is_finished() {
            match root.router.receive() {
                // A request may be sent again.
                Some(Inbound { from, frames, .. }) => {
                    let ask = codec::decode_ask(&frames).unwrap();
                    root.tell(&from, ask.request, Reply::Status { status: Box::new(status(&["/a"])) });
                    asked.insert(ask.request);
                }
                None => clock::pause(Span::from_millis(1)),
            }
        }
        scrapes.join().unwrap();
        let most = 1 + (now_ms() - begun) / FRESH_MS;
        assert!((1..=most).contains(&(asked.len() as u64)), "{asked:?}");
    }
}
