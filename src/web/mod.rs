//! The console in the browser: a process of its own that speaks the control protocol with the root, as any tool does,
//! and HTTP with browsers.
//!
//! Killing, stopping or flooding it does not affect the tree. hyper and axum serve the network on one thread; requests
//! to the root have threads of their own. `host`, `keys`, `assets`, `table`, `ring`, `outbox`, `connection_limiter` and
//! `hub` use no descriptors, and are tested without.

mod act;
mod answers;
mod app;
mod ask;
mod assets;
mod cluster;
mod config;
mod connection_limiter;
mod feed;
mod guard;
mod history;
mod host;
mod hub;
mod keys;
mod keys_in_use;
mod known;
mod live;
mod login;
mod outbox;
mod page;
mod past;
mod plain;
mod reading;
mod recent;
mod ring;
mod routes;
mod schedule;
mod scrape;
mod serve;
mod shared;
mod store;
mod stream;
mod table;
#[cfg(test)]
mod testing;
mod write_backlog;

pub(crate) use config::{Config, Texts};
pub(crate) use host::PublicUrl;
pub(crate) use keys::Access;

use crate::control::{self, FindError, Instance, RuntimeDir, StateDir};
use crate::ids::Name;
use crate::instance::runtime::check_owner;
use crate::os::clock;
use crate::os::fd;
use crate::os::listener::{ListenError, Listener};
use crate::os::net::bound_send_buffer;
use crate::os::process::is_alive;
use crate::os::signals::{Caught, Signals};
use crate::spec::listen::{Address, Listen};
use crate::time::Span;
use app::App;
use feed::Feed;
use known::Known;
use serve::Server;
use shared::now_ms;
use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net as unix;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use store::Store;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::sleep;
use treevisor_client::{Heart, notify};

/// Why the console cannot run or be used.
#[derive(Debug)]
pub(crate) enum WebError {
    /// A socket cannot be opened to listen.
    Listen(ListenError),
    /// The instance cannot be found.
    Find(FindError),
    /// There is no state directory for keys.
    NoState,
    /// Keys cannot be read or written.
    Keys(io::Error),
    /// No console of this instance runs.
    NotRunning(Name),
    /// The console of this instance serves no pages.
    NoPages(Name),
    /// Another error of the system.
    System(io::Error),
}

impl fmt::Display for WebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebError::Listen(_) => f.write_str("cannot listen"),
            WebError::Find(_) => f.write_str("cannot tell which instance is meant"),
            WebError::NoState => {
                f.write_str("there is no directory for keys: TREEVISOR_STATE_DIR and HOME are not set")
            }
            WebError::Keys(_) => f.write_str("cannot use the keys"),
            WebError::NotRunning(name) => write!(f, "no console of \"{name}\" runs"),
            WebError::NoPages(name) => write!(f, "the console of \"{name}\" serves no pages"),
            WebError::System(_) => f.write_str("cannot begin"),
        }
    }
}

impl std::error::Error for WebError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WebError::Listen(cause) => Some(cause),
            WebError::Find(cause) => Some(cause),
            WebError::Keys(cause) | WebError::System(cause) => Some(cause),
            WebError::NoState | WebError::NotRunning(_) | WebError::NoPages(_) => None,
        }
    }
}

/// How often to look for an instance that does not run yet.
const LOOK_FOR: Span = Span::from_millis(500);

/// How often the file of keys is checked for changes by another process, in milliseconds.
const LOOK_AT_KEYS_MS: u64 = 500;

/// How often the permission of open streams is checked again, in milliseconds.
const LOOK_AT_STREAMS_MS: u64 = 1_000;

/// How long a notification to the supervisor may take.
const NOTIFY_WITHIN: Duration = Duration::from_millis(100);

/// Most bytes that the kernel buffers for a client.
const SEND_BUFFER: usize = 128 << 10;

/// How long the last messages to pages may take.
const LAST_MESSAGES: Duration = Duration::from_millis(100);

/// Serves until a signal ends it.
///
/// # Errors
/// Every [`WebError`] but `NotRunning` and `NoPages`.
pub(crate) fn serve(config: Config) -> Result<(), WebError> {
    let opened = open(&config)?;
    let known = Arc::new(OnceLock::new());
    match named(config.instance.as_deref())? {
        Some(name) => drop(known.set(known_as(name)?)),
        None => (config.texts.say)("no instance runs; the first one that does is shown"),
    }
    let signals = Signals::install().map_err(WebError::System)?;
    let (to, mut ends) = channel(1);
    ended(signals, to.clone());
    let url = url_of(&config, &opened);
    let app = Arc::new(App::new(config, Arc::clone(&known)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(8)
        .build()
        .map_err(WebError::System)?;
    runtime.block_on(async {
        let server = Server::new(Arc::clone(&app), routes::routes(Arc::clone(&app)));
        for door in &opened {
            let socket = door.listener.as_fd().try_clone_to_owned().map_err(WebError::System)?;
            match door.address {
                Address::Tcp(_) => server.tcp(net::TcpListener::from(socket)),
                Address::Unix(_) | Address::Abstract(_) => server.unix(unix::UnixListener::from(socket)),
            }
            .map_err(WebError::System)?;
        }
        tokio::spawn(tick(Arc::clone(&app)));
        let shared = Arc::clone(&app.shared);
        let announced = Arc::clone(&app);
        thread::spawn(move || keep(&app, &url, &to));
        let ended = ends.recv().await;
        let _ = notify("STOPPING=1", NOTIFY_WITHIN);
        // Pages get a last message, if that can be sent at once.
        shared.lock().end(now_ms());
        sleep(if shared.lock().pages() > 0 { LAST_MESSAGES } else { Duration::ZERO }).await;
        if let Some(known) = announced.known.get() {
            known.store.remove_running();
        }
        ended.unwrap_or(Ok(()))
    })
}

/// Does what is due by time alone, and sends the heartbeat, on the thread that serves: so a hang of that thread is
/// noticed.
async fn tick(app: Arc<App>) {
    let mut heart = Heart::from_env();
    let every =
        heart.interval().map_or(u64::MAX, |interval| u64::try_from(interval.as_millis() / 2).unwrap_or(u64::MAX));
    let watchdog = watchdog_ms();
    let (mut beaten, mut looked) = (0, 0);
    loop {
        let now = now_ms();
        if now >= beaten + every.min(watchdog).min(1_000) {
            beaten = now;
            heart.beat();
            if watchdog < u64::MAX {
                let _ = notify("WATCHDOG=1", NOTIFY_WITHIN);
            }
        }
        if now >= looked + LOOK_AT_STREAMS_MS {
            looked = now;
            app.end_streams();
        }
        let next = app.shared.lock().tick(now, clock::rfc3339_now);
        app.shared.woken(next.min(every.min(watchdog).max(10))).await;
    }
}

/// Milliseconds between notifications for the watchdog of sd_notify; `u64::MAX` if none is asked for.
fn watchdog_ms() -> u64 {
    let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse::<u64>().ok());
    micros.map_or(u64::MAX, |micros| micros / 2_000)
}

/// A listening socket with its address.
struct Opened {
    address: Address,
    listener: Listener,
}

fn open(config: &Config) -> Result<Vec<Opened>, WebError> {
    let open = |address: &Address| {
        let mut wanted = Listen::new(address.clone());
        if let Address::Unix(path) = address {
            wanted.mode = Some(0o600);
            check_directory_of(path).map_err(WebError::System)?;
        }
        let listener = Listener::open(&wanted).map_err(WebError::Listen)?;
        // With a small send buffer, a page that reads slowly is noticed early.
        bound_send_buffer(listener.as_fd(), SEND_BUFFER).map_err(WebError::System)?;
        let address = match address {
            // The kernel may have chosen the port.
            Address::Tcp(_) => local_address(&listener).map(Address::Tcp).map_err(WebError::System)?,
            other => other.clone(),
        };
        Ok(Opened { address, listener })
    };
    config.listen.iter().map(open).collect()
}

fn local_address(listener: &Listener) -> io::Result<SocketAddr> {
    net::TcpListener::from(listener.as_fd().try_clone_to_owned()?).local_addr()
}

/// Checks that no other user can replace the socket's file.
fn check_directory_of(socket: &Path) -> io::Result<()> {
    let directory = match socket.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    check_owner(directory, true).map_err(io::Error::other)
}

/// The URL for a browser: the public one, or else one for this machine.
fn url_of(config: &Config, opened: &[Opened]) -> String {
    if let Some(public) = &config.public_url {
        return public.to_string();
    }
    let tcp = opened.iter().find_map(|door| match door.address {
        Address::Tcp(address) => Some(address),
        Address::Unix(_) | Address::Abstract(_) => None,
    });
    match tcp {
        Some(address) if address.ip().is_unspecified() => format!("http://localhost:{}/", address.port()),
        Some(address) => format!("http://{address}/"),
        // Browsers reach a UNIX socket only through a forwarder of the user's own.
        None => "http://localhost/".to_owned(),
    }
}

fn known_as(name: Name) -> Result<Known, WebError> {
    let runtime =
        RuntimeDir::of(&control::own_base(), &name).map_err(|error| WebError::Find(FindError::Runtime(error)))?;
    let state = StateDir::own(&name).ok_or(WebError::NoState)?;
    Ok(Known { runtime, store: Store::of(state.clone()), state, name })
}

fn store_of(name: &Name) -> Result<Store, WebError> {
    StateDir::own(name).map(Store::of).ok_or(WebError::NoState)
}

/// The name of the instance: the wanted one, whether it runs or not, or else the only one that runs; `None` if none
/// runs.
fn named(wanted: Option<&str>) -> Result<Option<Name>, WebError> {
    if let Some(wanted) = wanted {
        let bad = |cause| WebError::Find(FindError::BadName { name: wanted.to_owned(), cause });
        return Name::parse(wanted).map(Some).map_err(bad);
    }
    match control::find(&control::own_base(), None) {
        Ok(Instance { name, .. }) => Ok(Some(name)),
        Err(FindError::NoneRuns { .. }) => Ok(None),
        Err(error) => Err(WebError::Find(error)),
    }
}

/// Makes a link to the console of an instance, with a key for one login.
///
/// # Errors
/// [`WebError::NotRunning`], [`WebError::NoPages`], and those of keys and instances.
pub(crate) fn link(instance: Option<&str>, may: Access) -> Result<String, WebError> {
    let name = named_or_kept(instance)?;
    let store = store_of(&name)?;
    let running = store.read_running().map_err(WebError::Keys)?.filter(|running| is_alive(running.pid));
    let running = running.ok_or(WebError::NotRunning(name.clone()))?;
    if running.no_pages {
        return Err(WebError::NoPages(name));
    }
    let (key, _) = store.login_key(may).map_err(WebError::Keys)?;
    Ok(with_key(&running.url, &key))
}

/// Replaces all keys and sessions. Returns the new keys: for viewing, and for acting.
///
/// # Errors
/// Those of keys and instances.
pub(crate) fn renew(instance: Option<&str>) -> Result<(String, String), WebError> {
    let name = named_or_kept(instance)?;
    let (view, act) = store_of(&name)?.renew().map_err(WebError::Keys)?;
    Ok((view.text(), act.text()))
}

fn named_or_kept(instance: Option<&str>) -> Result<Name, WebError> {
    let base = control::own_base();
    named(instance)?.ok_or(WebError::Find(FindError::NoneRuns { base }))
}

fn with_key(url: &str, key: &keys::Secret) -> String {
    format!("{url}#key={}", key.text())
}

/// Waits for a signal that ends the console.
fn ended(mut signals: Signals, to: Sender<Result<(), WebError>>) {
    thread::spawn(move || {
        loop {
            // The call fails only when a signal interrupts it.
            let _ = fd::wait_readable_any(&[signals.as_fd()], None);
            for signal in signals.drain() {
                let ends = !matches!(signal, Caught::User1 | Caught::ChildExited);
                if ends && to.blocking_send(Ok(())).is_err() {
                    return;
                }
            }
        }
    });
}

/// Finds the instance, prints the link, and watches the file of keys. READY=1 is sent once a link can be made; if no
/// instance runs it is sent at once, since the wait for one has no bound.
fn keep(app: &App, url: &str, ends: &Sender<Result<(), WebError>>) {
    let ready = || drop(notify("READY=1", NOTIFY_WITHIN));
    let waits = app.known.get().is_none();
    if waits {
        ready();
    }
    let known = match instance(&app.known, || named(None)?.map(known_as).transpose(), || clock::pause(LOOK_FOR)) {
        Ok(known) => known,
        Err(error) => {
            let _ = ends.blocking_send(Err(error));
            return;
        }
    };
    let mut feed = Feed::new(known.clone(), Arc::clone(&app.shared));
    // Done before the link is printed, so that a page opened at once finds the root.
    feed.look();
    if let Err(error) = announce(app, known, url) {
        let _ = ends.blocking_send(Err(error));
        return;
    }
    if !waits {
        ready();
    }
    let mut looked = now_ms();
    loop {
        let pause = feed.look();
        clock::pause(pause);
        if now_ms() >= looked + LOOK_AT_KEYS_MS {
            looked = now_ms();
            app.refresh_keys(known);
        }
    }
}

/// The instance, as soon as one runs. Any other error than that none runs ends the wait: if two have begun, one that
/// was left of them later would not be the one that is meant.
fn instance(
    known: &OnceLock<Known>,
    mut find: impl FnMut() -> Result<Option<Known>, WebError>,
    mut pause: impl FnMut(),
) -> Result<&Known, WebError> {
    loop {
        if let Some(known) = known.get() {
            return Ok(known);
        }
        match find()? {
            Some(found) => drop(known.set(found)),
            None => pause(),
        }
    }
}

fn announce(app: &App, known: &Known, url: &str) -> Result<(), WebError> {
    known.store.write_running(url, app.config.no_pages).map_err(WebError::Keys)?;
    let texts = app.config.texts;
    if app.config.no_pages {
        // There is nothing to log in to.
        app.keys.change(&known.store, |_| ()).map_err(WebError::Keys)?;
        (texts.print)(&format!("the metrics of \"{}\" are at {url}metrics", known.name));
        return Ok(());
    }
    if app.config.supervised {
        // A worker's output is kept and can be read by clients that may only view, so the link with its key is not
        // printed.
        app.keys.change(&known.store, |_| ()).map_err(WebError::Keys)?;
        (texts.print)(&format!(
            "the console of \"{0}\" is at {url}; `treevisor web --url -i {0}` prints a link",
            known.name
        ));
        return Ok(());
    }
    let login_key = || known.store.login_key(app.capped(Access::Act)).map(|(key, keys)| (key, Some(keys)));
    let key = app.keys.take(login_key).map_err(WebError::Keys)?;
    (texts.print)(&with_key(url, &key));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_an_instance_ends_with_the_first_one_or_with_an_error() {
        let (_base, app) = App::in_test();
        let found = app.known.get().unwrap().clone();
        for several in [false, true] {
            let (known, mut looks, mut pauses) = (OnceLock::new(), 0, 0);
            let find = || {
                looks += 1;
                match looks {
                    1 | 2 => Ok(None),
                    _ if several => Err(WebError::Find(FindError::Several { names: vec![found.name.clone()] })),
                    _ => Ok(Some(found.clone())),
                }
            };
            match instance(&known, find, || pauses += 1) {
                Ok(known) => assert!(!several && known.name == found.name),
                Err(error) => assert!(several && matches!(error, WebError::Find(FindError::Several { .. }))),
            }
            assert_eq!((looks, pauses), (3, 2));
        }
    }
}
