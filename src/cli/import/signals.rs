//! Signals by the names that other supervisors use.

use super::draft::{Draft, Setting};
use crate::spec::print::basic;

/// The first and the last real-time signal of the GNU C library.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Sets a worker's stop signal. KILL cannot be handled, so it becomes `shutdown = "brutal-kill"`.
pub(super) fn stop_signal(text: &str, setting: &Setting, worker: &mut Draft) {
    match signal(text) {
        Some(value) => worker.set("stop-signal", value, Some(setting)),
        None => worker.set("shutdown", "\"brutal-kill\"", Some(setting)),
    }
}

/// Sets the signal that a hung worker gets before it is killed.
pub(super) fn hang_signal(text: &str, setting: Option<&Setting>, worker: &mut Draft) {
    if let Some(value) = signal(text) {
        worker.set("hang-signal", value, setting);
    }
}

/// A signal in TOML; `None` is KILL.
fn signal(text: &str) -> Option<String> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if matches!(name, "KILL" | "9") {
        return None;
    }
    let number = name.parse().ok().or_else(|| real_time(name));
    Some(number.map_or_else(|| basic(name), |number: i32| number.to_string()))
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-1`.
fn real_time(name: &str) -> Option<i32> {
    let (base, offset) = match name.split_at_checked(5)? {
        ("RTMIN", offset) => (RTMIN, offset),
        ("RTMAX", offset) => (RTMAX, offset),
        _ => return None,
    };
    let offset: i32 = match offset.chars().next() {
        None => 0,
        Some('+' | '-') => offset.parse().ok()?,
        _ => return None,
    };
    base.checked_add(offset).filter(|number| (RTMIN..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let setting =
            Setting { file: "x".into(), line: 1, section: String::new(), key: "KillSignal".into(), value: "X".into() };
        for (text, right) in [
            ("sigint", "stop-signal = \"INT\""),
            ("TERM", "stop-signal = \"TERM\""),
            ("SIGRTMIN+3", "stop-signal = 37"),
            ("RTMAX-1", "stop-signal = 63"),
            ("15", "stop-signal = 15"),
            ("kill", "shutdown = \"brutal-kill\""),
        ] {
            let mut worker = Draft::new("x");
            stop_signal(text, &setting, &mut worker);
            let toml = worker.to_toml();
            assert!(toml.contains(right), "{text}: {toml}");
        }
        for text in ["RTMIN+40", "RTMIN3", "NO", "STOP"] {
            let mut worker = Draft::new("x");
            stop_signal(text, &setting, &mut worker);
            assert_eq!((worker.notes.len(), worker.has("stop-signal")), (1, false), "{text}");
        }
    }
}
