//! Names of signals, as Linux numbers them. A table and not a call to the system: this room does no I/O.

/// Name without `SIG`, and number (signal(7), the column for x86, ARM and most others).
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The highest number that a signal can have, SIGRTMAX.
pub const MAX: i32 = 64;

/// The number of the signal called `name`: `TERM`, `SIGTERM`, in either case, or a number from 1 to 64.
pub fn number(name: &str) -> Option<i32> {
    let upper = name.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS
        .iter()
        .find(|(known, _)| *known == short)
        .map(|(_, number)| *number)
        .or_else(|| short.parse().ok().filter(|number| (1..=MAX).contains(number)))
}

/// The name, without `SIG`, of the signal with this number; `None` for the real-time signals, which have none.
pub fn name(number: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SIGNALS.iter().map(|(name, _)| *name)
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
    }
}
