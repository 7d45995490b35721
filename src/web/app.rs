//! The state that all requests share.

use super::act::Actions;
use super::answers::Refused;
use super::ask::{Asker, Unanswered};
use super::cluster::Cluster;
use super::config::Config;
use super::keys::{Access, Proof, Secret, Tries};
use super::keys_in_use::KeysInUse;
use super::known::Known;
use super::recent::{Last, Recent};
use super::shared::{self, Shared};
use axum::http::StatusCode;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Semaphore;
use treevisor_client::PATH;

/// The state of the console.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) known: Arc<OnceLock<Known>>,
    pub(super) shared: Arc<Shared>,
    pub(super) asker: Asker,
    pub(super) actions: Actions,
    /// Limits how many threads read journals and output at a time.
    pub(super) readers: Arc<Semaphore>,
    pub(super) recent: Recent,
    pub(super) cluster: Cluster,
    pub(super) last: Last,
    /// The console's own path, if it is a worker of the tree.
    pub(super) own_path: Option<String>,
    /// How many requests were answered with each HTTP status.
    answered: Mutex<BTreeMap<u16, u64>>,
    pub(super) keys: KeysInUse,
    tries: Mutex<Tries>,
}

/// The console's own path in the tree that it shows, given the environment. `-i` may name another tree than the one
/// that the console is a worker of.
fn own_path(shown: Option<&str>, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    (env("TREEVISOR_INSTANCE").as_deref() == shown).then(|| env(PATH)).flatten()
}

/// Locks a mutex. A poisoned one is used all the same, as no change is ever left half done.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    pub(super) fn new(config: Config, known: Arc<OnceLock<Known>>) -> App {
        let shared = Arc::new(Shared::new());
        let asker = Asker::start(Arc::clone(&known), Arc::clone(&shared));
        let (readers, keys, tries) = (Arc::new(Semaphore::new(4)), KeysInUse::new(), Mutex::new(Tries::new()));
        let own_path = own_path(config.instance.as_deref(), |name| std::env::var(name).ok());
        let (actions, recent, last, answered) = (Actions::new(), Recent::default(), Last::default(), Mutex::default());
        let cluster = Cluster::default();
        App { config, known, shared, asker, actions, readers, recent, cluster, last, own_path, answered, keys, tries }
    }

    /// The instance, if it has been found already.
    pub(super) fn known(&self) -> Result<&Known, Refused> {
        self.known.get().ok_or_else(|| Unanswered::Gone.into())
    }

    /// Notes that a request needs the present tree, so that the root is followed for a while from now on.
    pub(super) fn use_hub(&self) {
        self.shared.lock().uses(shared::now_ms());
        self.asker.look();
    }

    pub(super) fn count(&self, status: u16) {
        *locked(&self.answered).entry(status).or_default() += 1;
    }

    /// How many requests were answered with each HTTP status.
    pub(super) fn answered(&self) -> BTreeMap<u16, u64> {
        locked(&self.answered).clone()
    }

    /// The permission of a key or session, reduced to viewing if the console is read-only.
    pub(super) fn capped(&self, may: Access) -> Access {
        if self.config.read_only { Access::View } else { may }
    }

    pub(super) fn bearer(&self, key: &Secret) -> Option<Access> {
        self.keys.bearer(key).map(|may| self.capped(may))
    }

    pub(super) fn session(&self, token: &Secret) -> Option<Access> {
        self.keys.session(token).map(|may| self.capped(may))
    }

    /// Uses the keys and sessions that the file has now. Blocks on the file.
    pub(super) fn refresh_keys(&self, known: &Known) {
        if let Err(error) = self.keys.refresh(&known.store) {
            (self.config.texts.say)(&format!("no key and no session of the console holds: {error}"));
        }
    }

    /// The refusal of a client that has proved nothing. Before the file of keys is read, its session may be valid: the
    /// client is to try again, not to log in.
    pub(super) fn unproved(&self, log_in: &str) -> Refused {
        match self.known() {
            _ if self.keys.are_read() => Refused::new(StatusCode::UNAUTHORIZED, log_in),
            Ok(_) => Refused::unavailable("the console is starting: it has not read its keys yet"),
            Err(gone) => gone,
        }
    }

    /// Ends the streams of clients whose session is over or whose key was replaced.
    pub(super) fn end_streams(&self) {
        let mut hub = self.shared.lock();
        hub.end_unless(|proof| match proof {
            Proof::Kernel => true,
            Proof::Key(key) => self.bearer(key).is_some(),
            Proof::Session(token) => self.session(token).is_some(),
        });
    }

    /// The name of the cookie, for a browser that has connected to this port. A browser sends cookies to all ports of a
    /// host, so the name has the instance in it. It has the port too: otherwise two instances of one name, of different
    /// users, would log each other out.
    pub(super) fn cookie_name(&self, port: Option<u16>) -> String {
        let name = self.known.get().map_or_else(|| "tv".into(), |known| format!("tv-{}", known.name));
        port.map_or_else(|| name.clone(), |port| format!("{name}-{port}"))
    }

    /// Whether one more login with a wrong key is allowed now.
    pub(super) fn may_try(&self) -> bool {
        locked(&self.tries).allow(shared::now_ms())
    }
}

#[cfg(test)]
impl App {
    /// The console of an instance that does not run, in a directory of its own.
    pub(super) fn in_test() -> (tempfile::TempDir, Arc<App>) {
        let base = tempfile::tempdir().unwrap();
        let known = OnceLock::from(Known::in_test(base.path()));
        let (plain, moment) = (|_: &_| String::new(), |_: &str| Err(String::new()));
        let config = Config {
            instance: None,
            listen: Vec::new(),
            public_url: None,
            read_only: false,
            no_pages: false,
            open_metrics: false,
            supervised: false,
            texts: super::config::Texts { plain, moment, print: |_| {}, say: |_| {} },
        };
        (base, Arc::new(App::new(config, Arc::new(known))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_worker_of_another_tree_is_not_its_own() {
        let env = |name: &str| match name {
            "TREEVISOR_INSTANCE" => Some("shop".to_owned()),
            PATH => Some("/console".to_owned()),
            _ => None,
        };
        assert_eq!(own_path(Some("shop"), env).as_deref(), Some("/console"));
        assert_eq!((own_path(Some("other"), env), own_path(None, env)), (None, None));
        assert_eq!(own_path(Some("shop"), |_| None), None);
    }
}
