//! systemd's notification protocol, sd_notify(3): datagrams of lines `KEY=VALUE`, read without trusting their writer.
//!
//! The rules are systemd's: only the part before the first zero byte counts, unknown keys are ignored, and of a
//! repeated key the first one counts. An invalid value is ignored too, and sets [`Notification::flawed`].

use crate::text::cut_owned;
use crate::time::Span;

/// Most bytes in one datagram; longer ones are dropped. systemd's limit too (PIPE_BUF).
pub const DATAGRAM_MAX: usize = 4096;

/// Most bytes of a status text that are kept, and of a D-Bus error's name.
pub const TEXT_MAX: usize = 512;

/// The content of one datagram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notification {
    /// `READY=1`: the start, or the reloading, is over.
    pub ready: bool,
    /// `RELOADING=1`: the worker reads its configuration again; `READY=1` marks the end of that.
    pub reloading: bool,
    /// `STOPPING=1`: the worker is shutting down.
    pub stopping: bool,
    /// `WATCHDOG=`, `1` or `trigger`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=…`: the watchdog's new timeout; never zero.
    pub watchdog_limit: Option<Span>,
    /// `EXTEND_TIMEOUT_USEC=…`: the start, the stop, or the next beat may take this long, counted from now.
    pub extend: Option<Span>,
    /// `STATUS=…`: a text for people; empty to take back the last one.
    pub status: Option<String>,
    /// `MAINPID=…`: the pid of the process to watch.
    pub main_pid: Option<u32>,
    /// `ERRNO=…`: what went wrong, as errno(3) has it.
    pub errno: Option<i32>,
    /// `BUSERROR=…`: the same as the name of a D-Bus error.
    pub bus_error: Option<String>,
    /// `EXIT_STATUS=…`: the exit status that the worker is going to exit with.
    pub exit_status: Option<i32>,
    /// `BARRIER=1`: the descriptor sent with the datagram is to be closed once all earlier datagrams have been
    /// processed.
    pub barrier: bool,
    /// `FDSTORE=1`: the descriptors sent along are to be kept for the worker's next incarnation.
    pub fd_store: bool,
    /// A known key had an invalid value, or a line was no assignment.
    pub flawed: bool,
}

/// The value of `WATCHDOG=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watchdog {
    /// `1`: a beat.
    Alive,
    /// `trigger`: the worker reports itself hung and is to be treated so at once.
    Trigger,
}

impl Notification {
    /// Reads a datagram. Nothing in it is an error: lines that cannot be understood are ignored.
    pub fn parse(datagram: &[u8]) -> Notification {
        let mut notification = Notification::default();
        let text = datagram.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut seen: Vec<&[u8]> = Vec::new();
        for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
                // Empty lines are ignored; any other line without `=` is flawed.
                notification.flawed |= !line.is_empty();
                continue;
            };
            let (key, value) = (&line[..equals], &line[equals + 1..]);
            if KEYS.contains(&key) && !seen.contains(&key) {
                seen.push(key);
                notification.flawed |= notification.take(key, value).is_none();
            }
        }
        notification
    }

    /// Takes in one assignment; `None` if the value is invalid.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"READY" => self.ready = one(value)?,
            b"RELOADING" => self.reloading = one(value)?,
            b"STOPPING" => self.stopping = one(value)?,
            b"BARRIER" => self.barrier = one(value)?,
            b"FDSTORE" => self.fd_store = one(value)?,
            b"WATCHDOG" => {
                self.watchdog = Some(match value {
                    b"1" => Watchdog::Alive,
                    b"trigger" => Watchdog::Trigger,
                    _ => return None,
                });
            }
            b"WATCHDOG_USEC" => self.watchdog_limit = Some(micros(value).filter(|limit| !limit.is_zero())?),
            b"EXTEND_TIMEOUT_USEC" => self.extend = Some(micros(value)?),
            b"STATUS" => self.status = Some(text(value)),
            b"MAINPID" => self.main_pid = Some(number::<u32>(value).filter(|pid| (2..=i32::MAX as u32).contains(pid))?),
            b"ERRNO" => self.errno = Some(number::<i32>(value).filter(|errno| (1..=4095).contains(errno))?),
            b"BUSERROR" => self.bus_error = Some(text(value)),
            b"EXIT_STATUS" => self.exit_status = Some(number::<u8>(value)?.into()),
            _ => {}
        }
        Some(())
    }

    /// The reason of the failure that the worker reports, in words; `describe` returns the text of an error number.
    pub fn last_failure(&self, describe: impl Fn(i32) -> String) -> Option<String> {
        let parts = [
            self.errno.map(|errno| format!("{} (errno {errno})", describe(errno))),
            self.bus_error.clone().filter(|name| !name.is_empty()),
            self.exit_status.map(|status| format!("exit status {status}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The keys that are supported. `MONOTONIC_USEC`, which is sent with `RELOADING=1`, is not needed: each datagram is
/// processed when it arrives.
const KEYS: &[&[u8]] = &[
    b"READY",
    b"RELOADING",
    b"STOPPING",
    b"BARRIER",
    b"FDSTORE",
    b"WATCHDOG",
    b"WATCHDOG_USEC",
    b"EXTEND_TIMEOUT_USEC",
    b"STATUS",
    b"MAINPID",
    b"ERRNO",
    b"BUSERROR",
    b"EXIT_STATUS",
];

fn one(value: &[u8]) -> Option<bool> {
    (value == b"1").then_some(true)
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Microseconds; the highest number is systemd's "infinity".
fn micros(value: &[u8]) -> Option<Span> {
    number::<u64>(value).map(Span::from_micros)
}

/// Text of any bytes, cut at the limit.
fn text(value: &[u8]) -> String {
    cut_owned(String::from_utf8_lossy(value).into_owned(), TEXT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_key_is_read() {
        let none = Notification::default;
        let micros = |n| Some(Span::from_micros(n));
        let flawed = || Notification { flawed: true, ..none() };
        for (datagram, expected) in [
            ("READY=1", Notification { ready: true, ..none() }),
            ("RELOADING=1\nMONOTONIC_USEC=17", Notification { reloading: true, ..none() }),
            ("STOPPING=1\n", Notification { stopping: true, ..none() }),
            ("WATCHDOG=1", Notification { watchdog: Some(Watchdog::Alive), ..none() }),
            ("WATCHDOG=trigger", Notification { watchdog: Some(Watchdog::Trigger), ..none() }),
            ("WATCHDOG_USEC=20000000", Notification { watchdog_limit: micros(20_000_000), ..none() }),
            ("EXTEND_TIMEOUT_USEC=5", Notification { extend: micros(5), ..none() }),
            ("STATUS=Completed 66% of it", Notification { status: Some("Completed 66% of it".into()), ..none() }),
            ("STATUS=a=b", Notification { status: Some("a=b".into()), ..none() }),
            ("STATUS=", Notification { status: Some(String::new()), ..none() }),
            ("MAINPID=4711", Notification { main_pid: Some(4711), ..none() }),
            ("ERRNO=2", Notification { errno: Some(2), ..none() }),
            ("BUSERROR=org.x.Timeout", Notification { bus_error: Some("org.x.Timeout".into()), ..none() }),
            ("EXIT_STATUS=7", Notification { exit_status: Some(7), ..none() }),
            ("BARRIER=1", Notification { barrier: true, ..none() }),
            ("FDSTORE=1\nFDNAME=x", Notification { fd_store: true, ..none() }),
            // Several lines, an unknown key, a key twice, another kind of line end.
            (
                "READY=1\nSTATUS=up\nX_OURS=3\nSTATUS=later\r\nWATCHDOG=1",
                Notification { ready: true, status: Some("up".into()), watchdog: Some(Watchdog::Alive), ..none() },
            ),
            ("READY=1\0WATCHDOG=1", Notification { ready: true, ..none() }),
            // Datagrams without an effect.
            ("", none()),
            ("\n\n", none()),
            ("ready=1\nFDPOLL=0", none()),
            // An invalid line does not affect the others.
            ("READY=0", flawed()),
            ("READY=yes\nWATCHDOG=1", Notification { watchdog: Some(Watchdog::Alive), ..flawed() }),
            ("hello", flawed()),
            ("WATCHDOG=", flawed()),
            ("WATCHDOG_USEC=0", flawed()),
            ("WATCHDOG_USEC=-1", flawed()),
            ("WATCHDOG_USEC=99999999999999999999", flawed()),
            ("EXTEND_TIMEOUT_USEC=1s", flawed()),
            ("MAINPID=0", flawed()),
            ("MAINPID=1", flawed()),
            ("MAINPID=4294967295", flawed()),
            ("ERRNO=0", flawed()),
            ("ERRNO=70000", flawed()),
            ("EXIT_STATUS=256", flawed()),
        ] {
            assert_eq!(Notification::parse(datagram.as_bytes()), expected, "{datagram:?}");
        }
    }

    #[test]
    fn texts_are_of_any_bytes_and_bounded() {
        let notification = Notification::parse(b"STATUS=caf\xe9\nREADY=1");
        assert_eq!((notification.status.as_deref(), notification.ready), (Some("caf\u{fffd}"), true));
        let long = format!("STATUS={}", "\u{20ac}".repeat(400));
        let kept = Notification::parse(long.as_bytes()).status.unwrap();
        assert!(kept.len() <= TEXT_MAX && kept.len() > TEXT_MAX - 4 && kept.chars().all(|c| c == '\u{20ac}'));
    }

    #[test]
    fn a_failure_is_put_into_words() {
        let words = |datagram: &[u8]| Notification::parse(datagram).last_failure(|errno| format!("<{errno}>"));
        assert_eq!(words(b"READY=1"), None);
        assert_eq!(words(b"ERRNO=2").as_deref(), Some("<2> (errno 2)"));
        assert_eq!(
            words(b"ERRNO=2\nBUSERROR=a.b\nEXIT_STATUS=3").as_deref(),
            Some("<2> (errno 2), a.b, exit status 3")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_too_bad(datagram in proptest::collection::vec(any::<u8>(), 0..DATAGRAM_MAX)) {
            Notification::parse(&datagram);
        }

        #[test]
        fn no_line_spoils_another(noise in "(\\PC|=|\n|[0-9]|WATCHDOG=|STATUS=|_USEC=|MAINPID=){0,40}") {
            let noise = noise.replace("READY", "");
            let parsed = Notification::parse(format!("{noise}\nREADY=1").as_bytes());
            prop_assert!(parsed.ready);
            prop_assert!(parsed.status.is_none_or(|status| status.len() <= TEXT_MAX));
        }
    }
}
