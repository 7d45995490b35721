//! What all requests share.

use super::ask::Asker;
use super::config::Config;
use super::keys::{Keys, May, Secret, Tries};
use super::known::Known;
use super::store::now_ms;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The console.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) known: Arc<OnceLock<Known>>,
    pub(super) asker: Asker,
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
        let asker = Asker::start(Arc::clone(&known));
        App { config, known, asker, keys: Mutex::new(None), tries: Mutex::new(Tries::new()) }
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

    /// Whether one more login may be tried now.
    pub(super) fn may_try(&self) -> bool {
        locked(&self.tries).allow(now_ms())
    }
}
