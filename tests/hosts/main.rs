//! Several hosts in virtual time: real agents before a store, a network and clocks that do whatever may happen to them.
//!
//! `scenario` is what a seed means, `world` the course of events, `machine` a host, `store` the store, `checkers` what
//! must hold, `breaches` how we know that the checkers see. Here a tree is its root alone. Subtrees that are placed
//! below a root are in `src/hosts/seeking/tests/random.rs`, and with them that a fail-over charges nothing (I5) and an
//! adoption touches no process (I7).
//!
//! | variable | meaning |
//! |---|---|
//! | `HOSTS_SEEDS` | how many seeds `seeds` runs, 200 unless it is set |
//! | `HOSTS_FROM` | the first of them |
//! | `HOSTS_SEED` | the one that `replay` runs, with its whole log on stdout under `--nocapture` |

mod breaches;
mod checkers;
mod machine;
#[allow(dead_code)]
#[path = "../sim/rng.rs"]
mod rng;
mod scenario;
mod store;
mod world;

use breaches::{BREACHES, Breach};
use checkers::{Rule, Violation};
use scenario::Scenario;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Outcome, World};

/// Lines of the log that a failure prints.
const LAST_LINES: usize = 60;

/// What two hundred scenarios show between them.
const WANTED: &[&str] = &[
    "a cut",
    "a cut inwards",
    "a cut outwards",
    "a drain",
    "a fence is stopped",
    "a host is forgotten",
    "a machine is suspended",
    "a request comes twice",
    "a root ends",
    "a run is ended before it has begun",
    "a start after the deadline",
    "all is cleared",
    "an agent has ended without its store",
    "an agent has left",
    "an agent is killed",
    "an agent is stopped",
    "an agent is stopped in the middle of a turn",
    "an orderly end",
    "asked to stop before the deadline",
    "drained",
    "failed_over",
    "fenced",
    "host_back",
    "host_lost",
    "moved",
    "no_host",
    "power is off",
    "start: failover",
    "start: move",
    "start: normal",
    "store_back",
    "store_lost",
    "the store is down",
    "what is asked to stop does not",
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// A panic of the core is a violation like any other.
fn run(seed: u64, breach: Option<Breach>, keep_log: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| World::run(seed, breach, keep_log))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "a panic without words".into());
        Outcome { violation: Some(Violation { rule: Rule::Panicked, text }), ..Outcome::default() }
    })
}

/// Prints all that is needed to understand and to replay a failure.
fn explain(seed: u64, violation: &Violation) -> String {
    let log = run(seed, None, true).log;
    let last = log.len().saturating_sub(LAST_LINES);
    format!(
        "seed {seed}: {violation}\n{:?}\n  … {last} lines …\n{}\nreplay with: HOSTS_SEED={seed} cargo test --test hosts -- replay \
         --nocapture\n",
        Scenario::new(seed, None),
        log[last..].join("\n"),
    )
}

/// Many histories, in none of which anything is broken, and which show between them all that can happen.
#[test]
fn seeds() {
    let from = number("HOSTS_FROM").unwrap_or(0);
    let count = number("HOSTS_SEEDS").unwrap_or(200);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(BTreeMap::<u64, Violation>::new());
    let sums = Mutex::new((BTreeMap::<&str, u64>::new(), 0_u64, Vec::<u64>::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || failed.lock().expect("no thread panics with it").len() >= 5 {
                        return;
                    }
                    let outcome = run(from + at, None, false);
                    let mut sums = sums.lock().expect("no thread panics with it");
                    for (what, count) in outcome.seen {
                        *sums.0.entry(what).or_default() += count;
                    }
                    sums.1 += outcome.virtual_time;
                    sums.2.extend(outcome.settled);
                    if let Some(violation) = outcome.violation {
                        failed.lock().expect("no thread panics with it").insert(from + at, violation);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panics with it");
    if let Some((seed, violation)) = failed.iter().next() {
        let others: Vec<String> = failed.iter().map(|(seed, violation)| format!("{seed}: {violation}")).collect();
        panic!("{}\nall that failed:\n{}", explain(*seed, violation), others.join("\n"));
    }
    let (seen, time, mut settled) = sums.into_inner().expect("no thread panics with it");
    settled.sort_unstable();
    let at =
        |part: usize| settled.get(settled.len() * part / 100).or(settled.last()).map_or(0.0, |ns| *ns as f64 / 1e9);
    println!("{seen:#?}\n{:.1} h of virtual time", time as f64 / 3.6e12);
    println!(
        "all runs again after the last fault: median {:.1} s, 95 % {:.1} s, at most {:.1} s",
        at(50),
        at(95),
        at(100)
    );
    if count >= 200 {
        let missing: Vec<_> = WANTED.iter().filter(|what| !seen.contains_key(**what)).collect();
        assert!(missing.is_empty(), "no scenario has shown {missing:?}");
    }
}

/// One seed with its log.
#[test]
fn replay() {
    let Some(seed) = number("HOSTS_SEED") else { return };
    println!("{:?}", Scenario::new(seed, None));
    let outcome = run(seed, None, true);
    for line in &outcome.log {
        println!("{line}");
    }
    if let Some(violation) = outcome.violation {
        panic!("seed {seed}: {violation}");
    }
}

/// The same seed makes the same history, to the letter.
#[test]
fn a_seed_replays_the_same() {
    for seed in 0..5 {
        let (one, other) = (run(seed, None, true), run(seed, None, true));
        assert!(one.log == other.log && one.log.len() > 100, "seed {seed}");
        assert_eq!(run(seed, None, false).seen, one.seen, "seed {seed}: the log changes the history");
    }
}

/// The checkers see what is wrong: with each rule broken, two hosts execute the same in one of the first seeds.
#[test]
fn breaches_are_caught() {
    for (breach, first) in BREACHES {
        let found = std::iter::once(*first)
            .chain(0..2_000)
            .find_map(|seed| run(seed, Some(*breach), false).violation.map(|found| (seed, found)));
        match found {
            Some((seed, violation)) => {
                println!("{breach:?}: seed {seed}: {violation}");
                assert_eq!(violation.rule, Rule::Overlap, "{breach:?} breaks another rule at seed {seed}: {violation}");
            }
            None => panic!("no run shows {breach:?}"),
        }
    }
}
