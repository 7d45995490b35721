//! Names of signals, as Linux numbers them. A table and not a call to the system: rooms that do no I/O read it.

use std::borrow::Cow;

/// Name and number (signal(7), the column for x86, ARM and most others).
const SIGNALS: &[(&str, i32)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// The highest number that a signal can have, SIGRTMAX.
pub(crate) const MAX: i32 = 64;

/// The number of the signal called `name`: `TERM`, `SIGTERM`, in either case, or a number from 1 to 64.
pub(crate) fn number(name: &str) -> Option<i32> {
    let upper = name.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS
        .iter()
        .find(|(known, _)| known[3..] == *short)
        .map(|(_, number)| *number)
        .or_else(|| short.parse().ok().filter(|number| (1..=MAX).contains(number)))
}

/// The name, without `SIG`, of the signal with this number; `None` for the real-time signals, which have none.
pub(crate) fn name(number: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, known)| *known == number).map(|(name, _)| &name[3..])
}

/// The name of a signal, as kill(1) writes it with `SIG` in front; `signal 40` where there is none.
pub(crate) fn full_name(number: i32) -> Cow<'static, str> {
    match SIGNALS.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("signal {number}")),
    }
}

/// All names, without `SIG`.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SIGNALS.iter().map(|(name, _)| &name[3..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(number("TERM"), Some(15));
        assert_eq!(number("sigusr1"), Some(10));
        assert_eq!(number("34"), Some(34));
        assert_eq!(number("0"), None);
        assert_eq!(number("65"), None);
        assert_eq!(number("SIG"), None);
        assert_eq!(name(15), Some("TERM"));
        assert_eq!(name(40), None);
        assert_eq!(full_name(1), "SIGHUP");
        assert_eq!(full_name(9), "SIGKILL");
        assert_eq!(full_name(15), "SIGTERM");
        assert_eq!(full_name(31), "SIGSYS");
        assert_eq!(full_name(0), "signal 0");
        assert_eq!(full_name(40), "signal 40");
        assert_eq!(full_name(-1), "signal -1");
    }
}
