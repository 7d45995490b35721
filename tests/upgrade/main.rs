//! A program in the place of another one, in real processes: what runs below it notices nothing, whatever goes wrong.
//!
//! Without the harness of libtest, whose tests run beside the main thread: here each image of the program begins with
//! its own `main`. The tests run first to last; arguments without a dash choose those whose names contain one of them.

#![allow(unsafe_code, reason = "what must not happen is done")]
#![allow(clippy::disallowed_methods, reason = "tests look at the clock to know when something is broken")]

mod image;

use image::{Plan, Report};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use treevisor::os::pidfd::PidFd;
use treevisor::time::Span;

/// What has not happened after this long is broken.
const PATIENCE: Span = Span::from_secs(120);

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("twenty_generations_keep_their_children", twenty_generations_keep_their_children),
    ("what_fails_leads_back", what_fails_leads_back),
    ("what_fails_beside_the_main_thread_leads_back_too", what_fails_beside_the_main_thread_leads_back_too),
    ("a_loop_without_end_leads_back", a_loop_without_end_leads_back),
    ("a_signal_waits_for_the_commit", a_signal_waits_for_the_commit),
    ("without_a_program_to_go_back_to_it_ends", without_a_program_to_go_back_to_it_ends),
    ("the_parent_death_signal_goes_along", the_parent_death_signal_goes_along),
];

fn main() -> ExitCode {
    if let Some(code) = image::run() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Vec<&str> = arguments.iter().map(String::as_str).filter(|text| !text.starts_with('-')).collect();
    let list = arguments.iter().any(|argument| argument == "--list");
    let mut failed = 0;
    for (name, test) in TESTS {
        if !chosen.is_empty() && !chosen.iter().any(|part| name.contains(part)) {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        let result = std::panic::catch_unwind(test);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(result.is_err());
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Runs a plan to its end.
#[track_caller]
fn run(plan: &Plan) -> Report {
    let (status, printed) = end_of(plan);
    assert!(status.success(), "{plan:?}: {status}\n{printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{plan:?}: {error}: {printed}"))
}

#[track_caller]
fn end_of(plan: &Plan) -> (std::process::ExitStatus, String) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .env(image::PLAN, serde_json::to_string(plan).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let in_time = PidFd::open(process.id()).unwrap().wait_exit(PATIENCE);
    if !in_time {
        process.kill().unwrap();
    }
    let status = process.wait().unwrap();
    assert!(in_time, "{plan:?}: it does not end");
    let mut printed = String::new();
    process.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    (status, printed)
}

/// What holds of every report, however the generations went.
#[track_caller]
fn holds(report: &Report, plan: &Plan) {
    assert_eq!(report.pids, [report.pids[0]].repeat(report.pids.len()), "one process: {report:?}");
    assert_eq!(report.children_alive, plan.children, "{report:?}");
    assert_eq!(report.children_reaped, plan.children, "still our children: {report:?}");
    assert!(report.lines > 0 && report.torn.is_empty(), "{report:?}");
    let first = report.descriptors[0];
    assert!(report.descriptors.iter().all(|count| *count == first), "descriptors: {:?}", report.descriptors);
}

fn twenty_generations_keep_their_children() {
    for beside in [false, true] {
        for context in [false, true] {
            let plan = Plan { generations: 20, children: 50, beside, context, ..Plan::default() };
            let report = run(&plan);
            holds(&report, &plan);
            assert_eq!(report.pids.len(), 21);
            assert!(report.came_back.is_empty(), "{report:?}");
        }
    }
}

#[track_caller]
fn leads_back(fault: &str, expected: &str, plan: Plan) {
    let plan = Plan { generations: 1, children: 5, fault: Some(fault.into()), ..plan };
    let report = run(&plan);
    holds(&report, &plan);
    // The old program, the new one, and the old one again.
    assert_eq!(report.pids.len(), 2, "{report:?}");
    let [came_back] = report.came_back.as_slice() else { panic!("{fault}: {report:?}") };
    assert!(came_back.contains(expected), "{fault}: {came_back}");
}

fn what_fails_leads_back() {
    for beside in [false, true] {
        for context in [false, true] {
            for (fault, expected) in [
                ("error", "descriptor 7 is no pipe"),
                ("drop", "it ended before it was done"),
                ("panic", "it panicked at tests/upgrade/image.rs"),
                ("abort", "it was ended by SIGABRT"),
                ("segv", "it was ended by SIGSEGV"),
                ("stack", "it was ended by SIGSEGV"),
                ("ill", "it was ended by SIGILL"),
            ] {
                leads_back(fault, expected, Plan { beside, context, ..Plan::default() });
            }
        }
    }
}

fn what_fails_beside_the_main_thread_leads_back_too() {
    for (fault, expected) in [
        ("panic-beside", "it panicked at tests/upgrade/image.rs"),
        ("abort-beside", "it was ended by SIGABRT"),
        ("segv-beside", "it was ended by SIGSEGV"),
    ] {
        leads_back(fault, expected, Plan { beside: true, context: true, ..Plan::default() });
    }
}

fn a_loop_without_end_leads_back() {
    for context in [false, true] {
        leads_back("loop", "it was not done in time", Plan { context, limit: 1, ..Plan::default() });
    }
}

fn a_signal_waits_for_the_commit() {
    for fault in [None, Some("segv".to_owned()), Some("panic".to_owned())] {
        let plan = Plan { generations: 1, children: 2, signal: true, fault, ..Plan::default() };
        let report = run(&plan);
        holds(&report, &plan);
        assert_eq!(report.signals, ["User1"], "{report:?}");
    }
}

fn without_a_program_to_go_back_to_it_ends() {
    let plan = Plan { generations: 1, children: 2, fault: Some("segv-always".into()), ..Plan::default() };
    let (status, printed) = end_of(&plan);
    assert_eq!((status.signal(), printed.as_str()), (Some(libc::SIGSEGV), ""));
}

fn the_parent_death_signal_goes_along() {
    for beside in [false, true] {
        let plan = Plan { generations: 3, children: 1, beside, death_signal: true, ..Plan::default() };
        let report = run(&plan);
        holds(&report, &plan);
        assert_eq!(report.death_signals, [libc::SIGTERM; 4], "{report:?}");
    }
}
