//! A deterministic simulation of whole trees.
//!
//! Many supervision cores, a fake kernel and a fake network, all driven from one seed in virtual time: `world` is the
//! course of events and `queue` what comes next, `node` the shell around each core, `kernel` and `network` what stands
//! below, `scenarios` what a seed means, `faults` what befalls a tree, `stray` what comes to a node at the wrong time,
//! `reloads` other sets of children and rolling restarts while it runs, `requests` what operators ask, `probes` how a
//! node sees that a worker is ready, `checkers` what must hold, `twin` a core that is written down and made again
//! beside each that is not, `mutations` how we know that the checkers see. Of the program's pure halves, the flow to
//! readers does not run here: `src/node/streams/random.rs` plays a reader of lines, with the two nodes between it and a
//! worker.
//!
//! | variable | meaning |
//! |---|---|
//! | `SIM_SEEDS` | how many seeds `seeds` runs, 2,000 unless it is set |
//! | `SIM_FROM` | the first of them |
//! | `SIM_TWINS` | how many seeds go with twins, 400 unless it is set |
//! | `SIM_SEED` | the one that `replay` runs, with its whole log on stdout under `--nocapture` |
//!
//! A seed that fails is replayed with `SIM_SEED=… cargo test --test sim -- replay --nocapture`.

mod checkers;
#[path = "../otp/fact.rs"]
mod fact;
mod faults;
mod kernel;
mod mutations;
mod network;
mod node;
mod probes;
mod queue;
mod reloads;
mod requests;
mod rng;
mod scenarios;
mod seeds;
#[path = "../otp/stray.rs"]
mod stray;
#[path = "../otp/twin.rs"]
mod twin;
mod world;

use checkers::{Rule, Violation};
use mutations::{MUTATIONS, Mutation};
use scenarios::Scenario;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Outcome, World};

/// Lines of the log that a failure prints; the whole of it is in a file.
const LAST_LINES: usize = 80;

/// What two thousand scenarios show between them. Without it a change in `scenarios` could make them blind unnoticed.
const WANTED: &[&str] = &[
    "a daemon is left",
    "a debugger",
    "a frame of an earlier run",
    "a lease",
    "a node is killed",
    "a node is stopped",
    "a process cannot be killed",
    "a panic past a supervisor that hangs",
    "a probe takes too long",
    "a readiness probe fails",
    "a readiness probe is answered",
    "a reload",
    "a reload is taken back",
    "a rolling restart is asked for",
    "a request",
    "a start by hand",
    "a step is done",
    "a request that came too late",
    "a request that was carried out",
    "a request that was not answered below",
    "a request to what is down",
    "a status with a silent part",
    "a stranger's SIGTERM",
    "a supervisor ends without what cannot be killed",
    "a supervisor that did not run",
    "a worker hangs",
    "a worker names another main process",
    "an escalation that is not acknowledged",
    "an exit after the escalation",
    "answer: already present",
    "answer: already started",
    "answer: kill failed",
    "answer: not found",
    "answer: ok",
    "answer: overtaken",
    "a copy goes back",
    "a copy has settled",
    "a copy is rolled",
    "a roll-out that is left as it was stopped",
    "a successor comes early",
    "a successor has settled",
    "a successor is started",
    "answer: restarting",
    "answer: rollout stopped",
    "answer: running",
    "answer: start failed",
    "auto_shutdown",
    "a child that cannot be asked to stop",
    "bad weather",
    "beat_late",
    "end: auto-shutdown",
    "end: gave up",
    "end: orphaned",
    "end: panicked",
    "end: start failed",
    "end: stopped",
    "end: terminated",
    "escalated",
    "gave_up",
    "held",
    "held again",
    "hung",
    "kill_failed",
    "panic",
    "ready",
    "reloaded",
    "restarting",
    "rollout",
    "settled",
    "start_failed",
    "the machine stands still",
    "the root ends without what cannot be killed",
    "what was given up on is gone",
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

fn run(seed: u64, mutation: Option<Mutation>, keep_log: bool) -> Outcome {
    guarded(|| World::run(seed, mutation, keep_log))
}

/// A panic of the core is a violation like any other.
fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
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
    let again = run(seed, None, true);
    let mut whole = Scenario::new(seed).describe();
    for line in &again.log {
        let _ = writeln!(whole, "{line}");
    }
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sim-{seed}.log"));
    let written = std::fs::write(&file, &whole).map_or_else(|error| error.to_string(), |()| file.display().to_string());
    let last = again.log.len().saturating_sub(LAST_LINES);
    format!(
        "seed {seed}: {violation}\n\n{}\n  … {last} lines …\n{}\n\nwhole log: {written}\nreplay with: \
         SIM_SEED={seed} cargo test --test sim -- replay --nocapture\n",
        Scenario::new(seed).describe(),
        again.log[last..].join("\n"),
    )
}

/// Runs seeds on all processors until one fails. Returns what was seen.
fn run_all(seeds: impl Fn(u64) -> Option<u64> + Sync) -> BTreeMap<Cow<'static, str>, u64> {
    run_all_as(seeds, |seed| run(seed, None, false))
}

fn run_all_as(
    seeds: impl Fn(u64) -> Option<u64> + Sync,
    run_one: impl Fn(u64) -> Outcome + Sync,
) -> BTreeMap<Cow<'static, str>, u64> {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(BTreeMap::<u64, Violation>::new());
    let seen = Mutex::new(BTreeMap::<Cow<'static, str>, u64>::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(seed);
                    let mut sums = seen.lock().expect("no thread panics with it");
                    *sums.entry("steps".into()).or_default() += outcome.steps;
                    for (what, count) in outcome.seen {
                        *sums.entry(what).or_default() += count;
                    }
                    drop(sums);
                    if let Some(violation) = outcome.violation {
                        let mut failed = failed.lock().expect("no thread panics with it");
                        failed.insert(seed, violation);
                        if failed.len() >= 10 {
                            return;
                        }
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
    seen.into_inner().expect("no thread panics with it")
}

/// Two thousand trees, and everything that can befall one has befallen some of them.
#[test]
fn seeds() {
    let from = number("SIM_FROM").unwrap_or(0);
    let count = number("SIM_SEEDS").unwrap_or(2_000);
    let seen = run_all(|at| (at < count).then_some(from + at));
    println!("{seen:#?}");
    if count >= 2_000 {
        let missing: Vec<_> = WANTED.iter().filter(|what| !seen.contains_key(**what)).collect();
        assert!(missing.is_empty(), "no scenario has shown {missing:?}");
    }
}

/// In every node of many trees a twin takes in what the core takes in, and is written down and made again at random: it
/// does the same, step by step.
#[test]
fn what_is_written_down_and_made_again_does_the_same() {
    let count = number("SIM_TWINS").unwrap_or(400);
    let seen = run_all_as(|at| (at < count).then_some(at), |seed| guarded(|| World::run_with_twins(seed)));
    let of = |what: &str| seen.get(what).copied().unwrap_or_default();
    let (steps, again) = (of("a twin goes along"), of("a twin is made again"));
    println!("{steps} steps of twins, which were made again {again} times");
    if count >= 400 {
        assert!(steps >= 100_000 && again >= 10_000, "only {steps} steps, made again {again} times");
    }
}

/// Seeds that once showed something show nothing any more.
#[test]
fn regressions() {
    run_all(|at| seeds::REGRESSIONS.get(at as usize).map(|(seed, _)| *seed));
}

/// One seed with its log.
#[test]
fn replay() {
    let Some(seed) = number("SIM_SEED") else { return };
    let outcome = run(seed, None, true);
    println!("{}", Scenario::new(seed).describe());
    for line in &outcome.log {
        println!("{line}");
    }
    println!("{} steps, {:#?}", outcome.steps, outcome.seen);
    if let Some(violation) = outcome.violation {
        panic!("seed {seed}: {violation}");
    }
}

/// Hours of many workers: what the root does does not depend on how many stand below the supervisors that it sees.
fn the_root_does_no_more(hours: u64, below: [(u64, u64); 2]) {
    let work = below.map(|(leaves, workers)| {
        let outcome = World::live(Scenario::regular(hours, leaves, workers), 0, None, false, None);
        assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
        let work = ["a turn of the root", "an event of the root", "an action of the root"].map(|it| outcome.seen[it]);
        let [turns, events, actions] = work;
        let all = 100 * leaves * workers;
        let root = format!("of the root {turns} turns, {events} events, {actions} actions");
        println!("{all} workers: {} steps; {root}; {:?}", outcome.steps, outcome.seen);
        work
    });
    let grown = work[0].iter().zip(work[1]).find(|(small, large)| *large * 10 > **small * 11);
    assert!(grown.is_none(), "the root does more: {work:?}");
}

#[test]
fn the_root_of_a_larger_tree_does_no_more() {
    the_root_does_no_more(1, [(1, 1), (2, 10)]);
}

/// `cargo test --release --test sim -- --ignored --nocapture a_million`
#[test]
#[ignore = "a million workers for a day: 169 million steps, 8.1 minutes of CPU time, 2.6 GiB"]
fn a_million_workers() {
    the_root_does_no_more(24, [(1, 1), (100, 100)]);
}

/// The same seed makes the same history, to the letter.
#[test]
fn a_seed_replays_the_same() {
    for seed in 0..20 {
        let (one, other) = (run(seed, None, true), run(seed, None, true));
        let differ = one.log.iter().zip(&other.log).find(|(one, other)| one != other);
        assert!(differ.is_none() && one.log.len() == other.log.len(), "seed {seed}: {differ:?}");
        assert!(one.log.len() > 10, "seed {seed} has no history");
        let unlogged = run(seed, None, false);
        assert_eq!((unlogged.steps, unlogged.seen), (one.steps, one.seen), "seed {seed}: the log changes the history");
    }
}

/// The checkers see what is wrong: each breach is found by one of the first seeds, by a rule that fits.
#[test]
fn mutations_are_caught() {
    for (mutation, rules) in MUTATIONS {
        let found = (0..3_000).find_map(|seed| run(seed, Some(*mutation), false).violation.map(|found| (seed, found)));
        match found {
            Some((seed, violation)) => {
                println!("{mutation:?}: seed {seed}: {violation}");
                assert!(
                    rules.contains(&violation.rule),
                    "{mutation:?} breaks another rule at seed {seed}: {violation}"
                );
            }
            None => panic!("no run shows {mutation:?}"),
        }
    }
}

/// No rule is blind: each is the only one by which some breach may be found.
#[test]
fn each_rule_has_a_mutation_of_its_own() {
    let is_blind = |rule: &&Rule| MUTATIONS.iter().all(|(_, rules)| *rules != [**rule].as_slice());
    let blind: Vec<_> = Rule::ALL.iter().filter(is_blind).collect();
    assert!(blind.is_empty(), "no mutation shows {blind:?}");
}
