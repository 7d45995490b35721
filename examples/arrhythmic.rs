//! Arrhythmia: a worker whose heart cannot keep time, in Rust.
//!
//! ```sh
//! cargo build --example arrhythmic
//! treevisor run --heartbeat 1s --misses 2 -- target/debug/examples/arrhythmic
//! ```
//!
//! Each turn of its loop takes a random time of up to three intervals, then it beats; and in one turn out of ten it
//! panics. Its supervisor takes the long pauses for a hang and the crash for what it is.
#![allow(clippy::disallowed_methods, reason = "the bans are for supervisors; a worker may sleep")]

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

fn main() {
    let mut heart = treevisor::client::Heart::from_env();
    let interval = heart.interval().map_or(1_000, |interval| interval.as_millis() as u64);
    for turn in 1.. {
        std::thread::sleep(Duration::from_millis(below(3 * interval)));
        assert!(below(10) > 0, "my heart!");
        heart.status(&format!("turn {turn}"));
        heart.beat();
    }
}

/// A random number: hashers are made with random keys.
fn below(limit: u64) -> u64 {
    RandomState::new().hash_one(0) % limit
}
