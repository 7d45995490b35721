//! A worker that beats with three lines. It runs as well by itself, where the beats go nowhere.
//!
//! ```sh
//! cargo run --example worker
//! ```
//!
//! As a child in a tree it wants a line such as `heartbeat = { interval = "1s", misses = 3, progress = true }`.
#![allow(clippy::disallowed_methods, reason = "the bans are for supervisors; a worker may sleep")]

use std::time::{Duration, Instant};

fn main() {
    let mut heart = treevisor::client::Heart::from_env(); // The first line.
    let mut found = 0;
    for candidate in 2.. {
        if is_prime(candidate) {
            found += 1;
        }
        heart.progress(found); // The second counts the work done; a program watched for silence alone needs none.
        heart.beat(); // The third. Most calls send nothing, so it may stand in the innermost loop.
    }
}

/// The work: slow on purpose, a hundredth of a second for each number.
fn is_prime(candidate: u64) -> bool {
    let until = Instant::now() + Duration::from_millis(10);
    let prime = (2..candidate)
        .take_while(|divisor| divisor * divisor <= candidate)
        .all(|divisor| !candidate.is_multiple_of(divisor));
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    prime
}
