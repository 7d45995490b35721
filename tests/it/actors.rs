//! Workers that this test binary plays itself, so that a tree of every kind of worker needs nothing to be installed.
//!
//! An actor is an ignored test of this file, which a tree starts by [`command`]. What it is to do stands in its
//! environment; without that, as when the ignored tests are run by hand, it does nothing.

use crate::probes::{GOOD, serve};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

/// The command that plays an actor, as TOML writes it.
pub(crate) fn command(actor: &str) -> String {
    command_of(&std::env::current_exe().unwrap(), actor)
}

/// The same with a copy of this binary.
pub(crate) fn command_of(binary: &Path, actor: &str) -> String {
    let test = format!("actors::{actor}");
    let words = [binary.to_str().unwrap(), "--exact", &test, "--ignored", "--nocapture", "--test-threads=1"];
    format!("{words:?}")
}

#[test]
#[ignore = "an actor: started by other tests"]
fn server() {
    // Answers `/health?full` at PORT, one visitor after the other.
    let Some(port) = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok()) else { return };
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let good = AtomicU8::new(GOOD);
    listener.incoming().flatten().for_each(|visitor| serve(visitor, &good));
}

#[test]
#[ignore = "an actor: started by other tests"]
fn pusher() {
    // The origin's worker: an empty message by a PUSH socket every tenth of a second, LIFE times (for ever without),
    // then silence.
    let Ok(endpoint) = std::env::var("PUSH") else { return };
    let life = std::env::var("LIFE").ok().and_then(|life| life.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let socket = zmq::Context::new().socket(zmq::PUSH).unwrap();
    socket.set_sndhwm(2).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(&endpoint).unwrap();
    for turn in 0.. {
        if turn < life {
            let _ = socket.send("", zmq::DONTWAIT);
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "an actor: started by other tests"]
fn client() {
    // Beats by the Rust client, which keeps its connection, twenty times a second.
    if std::env::var_os("CLIENT").is_none() {
        return;
    }
    let mut heart = treevisor::client::Heart::from_env();
    loop {
        heart.beat();
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "an actor: started by other tests"]
fn turncoat() {
    // Where its file belongs to root and is set-user-id, it becomes root's, as `sudo` does: its parent may not signal
    // it any more.
    if std::env::var_os("TURNCOAT").is_none() {
        return;
    }
    let root = nix::unistd::Uid::from_raw(0);
    let turned = nix::unistd::setresuid(root, root, root).is_ok();
    // The test's own words stand on the line before.
    println!("\nturned {}", if turned { "root" } else { "nothing" });
    loop {
        std::thread::park();
    }
}
