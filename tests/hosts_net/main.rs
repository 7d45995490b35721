//! Three hosts in network namespaces, three members of the store, one tree that only one host may run, a subtree of it
//! that is placed by itself, and faults. Workers write down when they run, where, and by which claim; afterwards it is
//! judged whether two hosts ever ran one of both at once.
//!
//! It needs root, ip(8), nsenter(1), etcd and a cgroup that can be killed with one write; where something is missing it
//! prints that, and shows nothing. `HOSTS_FAULTS=200 HOSTS_SEED=7` makes more faults, in another order, and
//! `HOSTS_FAULT=KillAgent` all of one kind. With `HOSTS_QUIET=1`, on a machine that does nothing else, times are
//! judged, too: a fail-over, an agent that is killed, and that nothing is disturbed by faults of other hosts.
#![cfg(feature = "hosts")]
#![allow(clippy::disallowed_methods, reason = "tests look at the clock to know when something is broken")]

mod cluster;
mod faults;
mod net;
mod observe;
mod summary;

use cluster::Cluster;
use faults::{Fault, Plan};
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use summary::Summary;
use treevisor::os::{clock, process};

/// What has not happened after this long is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Faults where no other number is asked for.
const FAULTS: usize = 12;

/// Waits for something that no descriptor shows. Whether it has come.
pub(crate) fn until(limit: Duration, what: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !what() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// CLOCK_BOOTTIME in nanoseconds.
pub(crate) fn now() -> u64 {
    clock::both().boottime.as_nanos()
}

/// No test: what the deployed tree runs. It writes until it is killed.
#[test]
fn worker() {
    let Some(file) = std::env::var_os("HOSTS_NET_LINES") else { return };
    let word = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is missing"));
    let (path, host, token) = (word("TREEVISOR_PATH"), word("TREEVISOR_HOST"), word("TREEVISOR_FENCE"));
    let mut file = File::options().append(true).open(file).unwrap();
    let pid = std::process::id();
    loop {
        // In one write, so that no line is torn.
        file.write_all(format!("{} {path} {host} {token} {pid}\n", now()).as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn missing() -> Option<String> {
    if process::own_uid() != 0 {
        return Some("it needs root".into());
    }
    let is_missing = |program: &&&str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    };
    ["ip", "nsenter", "etcd"].iter().find(is_missing).map(|program| format!("{program} is not installed"))
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn no_two_hosts_run_it_at_once_whatever_fails() {
    let started = match missing() {
        Some(what) => Err(what),
        None => Cluster::start(),
    };
    let mut cluster = match started {
        Ok(cluster) => cluster,
        Err(why) => {
            eprintln!("skipped: no hosts in namespaces here: {why}");
            return;
        }
    };
    let (count, seed) = (number("HOSTS_FAULTS", FAULTS), number("HOSTS_SEED", 1));
    let mut done: Vec<Fault> = Vec::new();
    if !cluster.has_disks {
        eprintln!("without a frozen disk: no file system can be mounted here");
    }
    let only = std::env::var("HOSTS_FAULT").ok();
    for plan in Plan::in_some_order(count, seed, cluster.has_disks, only.as_deref()) {
        let fault = plan.inflict(&mut cluster);
        eprintln!("{fault}");
        done.push(fault);
    }
    let summary = Summary::of(&done, &cluster.observer.judge());
    eprintln!("{summary}");
    assert!(summary.overlaps.is_empty(), "{:?}", summary.overlaps);
    if std::env::var("HOSTS_QUIET").is_ok_and(|quiet| quiet == "1") {
        summary.judge_times();
    }
}
