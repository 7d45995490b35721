//! Times, numbers and limits in systemd's forms.

use super::super::draft::{Draft, Note};
use super::unit::Unit;
use crate::time::Span;
use std::collections::BTreeMap;

/// A time: `90`, `1min 30s`, `500ms`, `2w`.
pub(super) fn span(text: &str) -> Option<Span> {
    let mut total = Span::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let long = |seconds: u64| Some(format!("{}s", number.parse::<u64>().ok()?.checked_mul(seconds)?));
        let one = match unit {
            "" | "s" | "sec" | "second" | "seconds" => format!("{number}s"),
            "ms" | "msec" => format!("{number}ms"),
            "us" | "usec" | "µs" | "μs" => format!("{number}us"),
            "m" | "min" | "minute" | "minutes" => format!("{number}m"),
            "h" | "hr" | "hour" | "hours" => format!("{number}h"),
            "d" | "day" | "days" => format!("{number}d"),
            "w" | "week" | "weeks" => long(7 * 86_400)?,
            "M" | "month" | "months" => long(2_629_800)?,
            "y" | "year" | "years" => long(31_557_600)?,
            _ => return None,
        };
        total += Span::parse(&one).ok()?;
        rest = tail.trim_start();
    }
    Some(total)
}

/// A number with a suffix that is a power of 1024.
fn amount(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor: u64 = match &text[digits..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        "P" => 1 << 50,
        "E" => 1 << 60,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

/// The soft or the hard limit in TOML. `LimitCPU` is in seconds, `LimitRTTIME` in microseconds.
fn half(name: &str, text: &str) -> Option<String> {
    let text = text.trim();
    if text == "infinity" {
        return Some("\"unlimited\"".to_owned());
    }
    let number = match name {
        "cpu" => span(text)?.as_nanos().div_ceil(1_000_000_000),
        "rttime" => match amount(text) {
            Some(micros) => micros,
            None => span(text)?.as_nanos() / 1000,
        },
        // A signed value is a nice value, which the limit counts in the opposite direction: 20 - nice.
        "nice" if text.starts_with(['+', '-']) => {
            let nice: i64 = text.parse().ok()?;
            u64::try_from(20_i64.checked_sub(nice)?).ok()?
        }
        _ => amount(text)?,
    };
    Some(number.to_string())
}

/// Converts `LimitNOFILE=soft:hard` and similar. All limits of a unit become one key.
pub(super) fn limits(unit: &Unit<'_>, worker: &mut Draft) {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut notes: Vec<Note> = Vec::new();
    let mut from = None;
    for setting in unit.effective("Service").filter(|setting| setting.key.starts_with("Limit")) {
        let name = setting.key["Limit".len()..].to_ascii_lowercase();
        let value = match setting.value.split_once(':') {
            Some((soft, hard)) => half(&name, soft)
                .zip(half(&name, hard))
                .map(|(soft, hard)| format!("{{ soft = {soft}, hard = {hard} }}")),
            None => half(&name, &setting.value),
        };
        let Some(value) = value else {
            notes.push(setting.note("write the number into `limits`"));
            continue;
        };
        // A draft of its own checks whether the value is valid.
        let mut tried = Draft::default();
        tried.set("limits", format!("{{ {name} = {value} }}"), Some(setting));
        match tried.notes.pop() {
            Some(note) => notes.push(note),
            None => {
                from = Some(setting);
                all.insert(name, value);
            }
        }
    }
    let pairs: Vec<_> = all.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !pairs.is_empty() {
        worker.set("limits", format!("{{ {} }}", pairs.join(", ")), from);
    }
    worker.notes.append(&mut notes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, meant) in [
            ("90", "1m30s"),
            ("1min 30s", "1m30s"),
            ("5min20s", "5m20s"),
            ("500ms", "500ms"),
            ("2h", "2h"),
            ("0", "0s"),
            ("1.5s", "1.5s"),
            ("2 weeks 1d", "15d"),
        ] {
            assert_eq!(span(text), Span::parse(meant).ok(), "{text}");
        }
        assert_eq!((span("soon"), span(""), span("infinity")), (None, None, None));
    }

    #[test]
    fn halves_of_limits() {
        for (name, text, right) in [
            ("nofile", "infinity", Some("\"unlimited\"")),
            ("as", "2G", Some("2147483648")),
            ("cpu", "1min", Some("60")),
            ("rttime", "1ms", Some("1000")),
            ("rttime", "5", Some("5")),
            ("nice", "-5", Some("25")),
            ("nice", "30", Some("30")),
            ("nofile", "many", None),
        ] {
            assert_eq!(half(name, text).as_deref(), right, "{name} {text}");
        }
    }
}
