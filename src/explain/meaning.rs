//! The meaning of exit codes and signals, and the category of an event.

use super::failed_start;
use super::types::Category;
use crate::signal::full_name;
use crate::text::clean;
use crate::wire::view::event::{Exited, MemoryLimit, StopWhy};
use crate::wire::view::{EventBody, EventView};

pub(super) fn category(event: &EventView) -> Category {
    match &event.body {
        EventBody::Exited(exited) => of_exit(exited),
        EventBody::Hung(hung) if hung.no_progress => Category::Livelock,
        EventBody::Hung(_) => Category::Hang,
        EventBody::Panic(_) => Category::Panic,
        // The start waits for the end of the old process; the command is not at fault.
        EventBody::StartFailed(failed) if failed.stage == "kill" => Category::Decision,
        EventBody::StartFailed(_) => Category::StartFailed,
        EventBody::KillFailed(_) => Category::KillFailed,
        EventBody::Stopping(stopping) => match stopping.why {
            StopWhy::Operator => Category::Operator,
            StopWhy::Signal => Category::Signal,
            StopWhy::StartTimeout => Category::StartTimeout,
            StopWhy::Group | StopWhy::SupervisorEnds | StopWhy::Reload | StopWhy::Other(_) => Category::Decision,
        },
        EventBody::Restarting(_) | EventBody::FailedOver(_) | EventBody::NoHost(_) => Category::Decision,
        EventBody::Escalated(_) | EventBody::GaveUp(_) => Category::Escalation,
        EventBody::AutoShutdown(_) => Category::AutoShutdown,
        EventBody::Reloaded(_) | EventBody::Upgraded(_) | EventBody::UpgradeFailed(_) => Category::Operator,
        EventBody::Rollout(_) => Category::Decision,
        EventBody::Starting
        | EventBody::Started(_)
        | EventBody::Ready
        | EventBody::BeatLate(_)
        | EventBody::Unreachable(_)
        | EventBody::Reachable(_)
        | EventBody::Dropped(_)
        | EventBody::Stopped
        | EventBody::Held(_)
        | EventBody::Released(_)
        | EventBody::MainPid(_)
        | EventBody::Succeeded(_)
        | EventBody::Other { .. } => Category::Life,
    }
}

fn of_exit(exited: &Exited) -> Category {
    if exited.is_expected() || exited.done {
        return Category::Life;
    }
    match exited.signal {
        Some(9) if exited.oom_killed => Category::OutOfMemory,
        Some(9) if exited.limit.is_some() => Category::ResourceLimit,
        Some(9) if exited.machine_oom_kills.is_some() => Category::OutOfMemory,
        // SIGXCPU and SIGXFSZ.
        Some(24 | 25) => Category::ResourceLimit,
        // A program whose memory allocation has failed may end by SIGABRT too.
        Some(6) if wants_memory(exited) => Category::OutOfMemory,
        // SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS; and SIGPIPE, which a program gets for its own
        // write.
        Some(4 | 5 | 6 | 7 | 8 | 11 | 13 | 31) => Category::Crash,
        Some(_) => Category::KilledFromOutside,
        None if wants_memory(exited) => Category::OutOfMemory,
        None => Category::Exit,
    }
}

/// Whether the last output reports a failed allocation.
fn wants_memory(exited: &Exited) -> bool {
    const WORDS: [&str; 7] = [
        "memory exhausted",
        "Cannot allocate memory",
        "MemoryError",
        "std::bad_alloc",
        "memory allocation of",
        "out of memory",
        "Out of memory",
    ];
    printed(exited, &WORDS)
}

fn printed(exited: &Exited, words: &[&str]) -> bool {
    exited.output.iter().any(|line| words.iter().any(|word| line.contains(word)))
}

/// An amount of memory.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        // One decimal is enough to recognize growth.
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

/// A limit of memory, in a few words.
pub(super) fn memory_limit(limit: &MemoryLimit) -> String {
    let key = if limit.of.starts_with("/sys/") { "memory.max" } else { "memory-max" };
    format!("{key} of {}: {}", clean(&limit.of), bytes(limit.bytes))
}

/// The meaning of an event in sentences for people: first of its exit code or signal, then of its other fields.
pub(super) fn of(event: &EventView) -> Vec<String> {
    let mut meaning = Vec::new();
    match &event.body {
        EventBody::Exited(exited) if !exited.is_expected() && !exited.done => {
            if let Some(signal) = exited.signal {
                meaning.push(of_signal(exited, signal));
            } else if let Some(code) = exited.code {
                meaning.extend(of_code(code));
            }
            of_surroundings(exited, &mut meaning);
        }
        EventBody::Hung(hung) => meaning.extend(hung.probe.clone()),
        EventBody::KillFailed(_) => meaning.push(
            "SIGKILL ends a process only when the kernel lets it go, or lets its user be signalled; no second process of it \
             is started meanwhile"
                .into(),
        ),
        EventBody::StartFailed(failed) => {
            meaning.extend(failed_start::meaning(&failed.stage, failed.errno).map(str::to_owned));
        }
        _ => {}
    }
    meaning
}

/// A sentence about an earlier event that matters for the exit of the same process: the worker had named its main
/// process itself, or the supervisor had been upgraded.
pub(super) fn before_exit(event: &EventView) -> Option<String> {
    match &event.body {
        EventBody::MainPid(body) => {
            let main = event.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
            Some(format!("it was process{main}, which the worker had named in place of {} (MAINPID)", body.before))
        }
        EventBody::Upgraded(body) => {
            let (from, to) = (clean(&body.from), clean(&body.to));
            Some(format!("it ran {to}, to which it had been upgraded from {from} without a restart"))
        }
        _ => None,
    }
}

fn of_surroundings(exited: &Exited, meaning: &mut Vec<String>) {
    let signal = exited.signal;
    if exited.core_dumped {
        meaning.push("a core file was written".into());
    }
    if exited.forks_refused > 0 {
        let times = match exited.forks_refused {
            1 => "once".into(),
            times => format!("{times} times"),
        };
        meaning.push(format!("the kernel refused it a new process or thread {times}: its `pids-max` was reached"));
    }
    if exited.oom_killed && signal != Some(9) {
        meaning.push("one of its processes was killed by the kernel because the memory of its cgroup ran out".into());
    }
    if signal != Some(9) && wants_memory(exited) {
        let limited = exited.limits.contains_key("as") || exited.limits.contains_key("data");
        let limit = if limited { ", and the spec limits its memory (`limits`)" } else { "" };
        meaning.push(format!("its output reports an allocation that failed{limit}"));
    }
    if printed(exited, &["ddress already in use", "EADDRINUSE"]) {
        meaning.push("by its output, the address (the port) is taken: `ss -ltnp` shows by which process".into());
    }
    if printed(exited, &["Traceback (most recent call last)"]) {
        meaning.push("its output is that of a Python exception that was not caught".into());
    }
}

/// The conventional meaning of an exit code. Programs may use the codes in another way.
fn of_code(code: i32) -> Option<String> {
    // sysexits(3).
    let known = match code {
        0 => "success: a `permanent` child is restarted after it too, a `transient` one is not",
        1 => "the general code for failure",
        2 => "often wrong usage, or a shell's own error",
        10 => "of a supervisor: it gave up, too many restarts came too fast",
        11 => "of a supervisor: a child could not be started at boot",
        64 => "EX_USAGE: the command was used wrongly",
        65 => "EX_DATAERR: the input data was wrong",
        66 => "EX_NOINPUT: an input file is missing or cannot be read",
        67 => "EX_NOUSER: a user does not exist",
        68 => "EX_NOHOST: a host does not exist",
        69 => "EX_UNAVAILABLE: a service is not available",
        70 => "EX_SOFTWARE: an internal error of the program",
        71 => "EX_OSERR: an error of the operating system",
        72 => "EX_OSFILE: a system file is missing or wrong",
        73 => "EX_CANTCREAT: an output file cannot be made",
        74 => "EX_IOERR: an error of input or output",
        75 => "EX_TEMPFAIL: a failure that may pass",
        76 => "EX_PROTOCOL: a remote party broke the protocol",
        77 => "EX_NOPERM: a right is missing",
        78 => "EX_CONFIG: something is not configured, or wrongly",
        101 => "what a Rust program ends with after a panic",
        126 => "a shell found the command, but could not execute it",
        127 => "a shell did not find the command",
        129..=159 => {
            let name = full_name(code - 128);
            return Some(format!("128 + {}: a shell's code for a program that {name} has ended", code - 128));
        }
        _ => return None,
    };
    Some(known.to_owned())
}

fn of_signal(exited: &Exited, signal: i32) -> String {
    let known = match signal {
        4 => "an instruction that the processor does not have",
        5 => "a trap: a failed assertion of some languages, or a breakpoint without a debugger",
        6 => "it aborted itself: a failed assertion, or an error that the program or its runtime could not go on with",
        7 => "an access to memory that is not there: a mapped file that was cut short, or bad alignment",
        8 => "an arithmetic error: most often a division by zero",
        9 if exited.oom_killed && exited.memory_limit.is_some() => {
            let limit = exited.memory_limit.as_ref().map(memory_limit).unwrap_or_default();
            return format!("the kernel's out-of-memory killer ended it: a limit was reached, {limit}");
        }
        9 if exited.oom_killed => "the kernel's out-of-memory killer ended it: the memory of its cgroup had run out",
        9 if exited.limit.as_deref() == Some("cpu") => {
            "the kernel sent it: the hard limit of CPU time (cpu) was reached, or very nearly so"
        }
        9 => {
            return match exited.machine_oom_kills {
                Some(count) => format!(
                    "treevisor did not send it; the kernel's out-of-memory killer has ended {count} process{} of this \
                     machine since the last look, most likely this one",
                    if count == 1 { "" } else { "es" }
                ),
                None => "treevisor did not send it, and no memory ran out: a process outside the tree killed it".into(),
            };
        }
        11 => "an access to memory that is not its own, such as through a null pointer",
        13 => "it wrote to a pipe or socket that no process reads",
        24 => "the limit of CPU time (cpu) was reached",
        25 => "the limit of the size of files (fsize) was reached",
        31 => "a system call that is forbidden to it, for instance by a seccomp filter",
        _ => "treevisor did not send it: a process outside the tree did, or the program itself",
    };
    known.to_owned()
}
