//! What all requests share.

use super::act::Actions;
use super::answers::Refused;
use super::ask::{Asker, Unanswered};
use super::cluster::Cluster;
use super::config::Config;
use super::keys::{Keys, May, Proof, Secret, Tries};
use super::known::Known;
use super::recent::{Last, Recent};
use super::shared::{self, Shared};
use super::store::now_ms;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Semaphore;
use treevisor_client::PATH;

/// The console.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) known: Arc<OnceLock<Known>>,
    pub(super) shared: Arc<Shared>,
    pub(super) asker: Asker,
    pub(super) actions: Actions,
    /// Reading journals and output takes threads: so many at a time.
    pub(super) readers: Semaphore,
    pub(super) recent: Recent,
    pub(super) cluster: Cluster,
    pub(super) last: Last,
    /// Its own path in the tree, where it is a worker of it.
    pub(super) own_path: Option<String>,
    /// How often it has answered with each status.
    answered: Mutex<BTreeMap<u16, u64>>,
    /// As they were read last.
    keys: Mutex<Option<Keys>>,
    tries: Mutex<Tries>,
}

/// What is shared is never left half changed.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    pub(super) fn new(config: Config, known: Arc<OnceLock<Known>>) -> App {
        let shared = Arc::new(Shared::new());
        let asker = Asker::start(Arc::clone(&known), Arc::clone(&shared));
        let (readers, keys, tries) = (Semaphore::new(4), Mutex::new(None), Mutex::new(Tries::new()));
        let own_path = config.supervised.then(|| std::env::var(PATH).ok()).flatten();
        let (actions, recent, last, answered) = (Actions::new(), Recent::default(), Last::default(), Mutex::default());
        let cluster = Cluster::default();
        App { config, known, shared, asker, actions, readers, recent, cluster, last, own_path, answered, keys, tries }
    }

    /// The instance, if it is known already.
    pub(super) fn known(&self) -> Result<&Known, Refused> {
        self.known.get().ok_or_else(|| Unanswered::Gone.into())
    }

    /// A request needs the tree as it is now, which is followed from now on for a while.
    pub(super) fn use_hub(&self) {
        self.shared.lock().uses(shared::now_ms());
        self.asker.look();
    }

    /// Counts an answer.
    pub(super) fn count(&self, status: u16) {
        *locked(&self.answered).entry(status).or_default() += 1;
    }

    /// How often it has answered with each status.
    pub(super) fn answered(&self) -> BTreeMap<u16, u64> {
        locked(&self.answered).clone()
    }

    /// Keys and sessions have changed.
    pub(super) fn set_keys(&self, keys: Option<Keys>) {
        *locked(&self.keys) = keys;
    }

    /// What is allowed at all, given what a key or a session allows.
    pub(super) fn capped(&self, may: May) -> May {
        if self.config.read_only { May::View } else { may }
    }

    pub(super) fn bearer(&self, key: &Secret) -> Option<May> {
        locked(&self.keys).as_ref()?.bearer(key).map(|may| self.capped(may))
    }

    pub(super) fn session(&self, token: &Secret) -> Option<May> {
        locked(&self.keys).as_ref()?.session(token, now_ms()).map(|may| self.capped(may))
    }

    /// Ends the streams of those that may not look on any more: their session is over, or their key is another one.
    pub(super) fn end_streams(&self) {
        let mut hub = self.shared.lock();
        hub.end_unless(|proof| match proof {
            Proof::Kernel => true,
            Proof::Key(key) => self.bearer(key).is_some(),
            Proof::Session(token) => self.session(token).is_some(),
        });
    }

    /// Whether the page of a session has sent this: no other page, and nothing that sees the cookie, has it.
    pub(super) fn is_page_of(&self, token: &Secret, csrf: &Secret) -> bool {
        locked(&self.keys).as_ref().is_some_and(|keys| keys.is_page_of(token, csrf, now_ms()))
    }

    /// The name of the cookie, for a browser that has reached us at this port. A browser sends cookies to all ports of
    /// a host, so each instance has its own; so have two of one name, as of two users, or one logs the other out.
    pub(super) fn cookie_name(&self, port: Option<u16>) -> String {
        let name = self.known.get().map_or_else(|| "tv".into(), |known| format!("tv-{}", known.name));
        port.map_or_else(|| name.clone(), |port| format!("{name}-{port}"))
    }

    /// Whether one more login may be tried now.
    pub(super) fn may_try(&self) -> bool {
        locked(&self.tries).allow(now_ms())
    }
}
