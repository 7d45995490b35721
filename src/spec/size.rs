//! Sizes in bytes, as `10MB` or `64 KiB`.

/// Units and what they multiply by. `k`, `M`, `G` alone are missing on purpose: half of the world reads them as powers
/// of 1000, the other half as powers of 1024.
const UNITS: &[(&str, u64)] = &[
    ("b", 1),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
];

/// The largest size: what a TOML integer can hold.
pub(super) const MAX: u64 = i64::MAX as u64;

/// Reads a size.
///
/// # Errors
/// What is wrong, as a text that can follow "cannot read the size …: ".
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it begins with a number, as in \"10MB\"".into());
    }
    let unit = unit.trim();
    if unit.is_empty() {
        return Err(format!("a unit is missing; write \"{number}MB\", \"{number}KiB\" or \"{number}B\""));
    }
    if let "k" | "m" | "g" | "t" = unit.to_ascii_lowercase().as_str() {
        let big = unit.to_ascii_uppercase();
        return Err(format!(
            "\"{unit}\" is ambiguous; write \"{number}{big}B\" (powers of 1000) or \"{number}{big}iB\" (of 1024)"
        ));
    }
    let Some((_, factor)) = UNITS.iter().find(|(known, _)| unit.eq_ignore_ascii_case(known)) else {
        return Err("the units are B, kB, KiB, MB, MiB, GB, GiB, TB, TiB".into());
    };
    let bytes = match number.split_once('.') {
        None => number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)),
        Some(_) => number.parse::<f64>().ok().map(|n| (n * *factor as f64).round() as u64),
    };
    bytes.filter(|bytes| *bytes <= MAX).ok_or_else(|| format!("\"{number}\" is not a number that fits"))
}

/// Reads a size in which a single letter stands for a power of 1024, as in systemd and the kernel (`512M`), and the
/// form of Kubernetes (`512Mi`).
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_binary(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let plain = text.strip_suffix(['i', 'I']).unwrap_or(text);
    let alone = plain.ends_with(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T']);
    if alone { parse(&format!("{plain}iB")) } else { parse(text) }
}

/// The shortest text that a limit reads as this many bytes: `1G` rather than `1073741824`.
pub fn binary(bytes: u64) -> String {
    const UNITS: [(&str, u64); 8] = [
        ("T", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("G", 1 << 30),
        ("GB", 1_000_000_000),
        ("M", 1 << 20),
        ("MB", 1_000_000),
        ("K", 1 << 10),
        ("kB", 1_000),
    ];
    let unit = UNITS.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor) && bytes > 0);
    unit.map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("10MB", 10_000_000), ("10 MiB", 10 << 20), ("1.5kB", 1_500), ("0b", 0), ("2TiB", 2 << 40), ("7KIB", 7168)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "10", "10K", "10 m", "1..2MB", "9999999999TB", "10 parsecs", "-1MB"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for (text, bytes) in [
            ("10M", 10 << 20),
            (" 1.5 k ", 1536),
            ("2G", 2 << 30),
            ("1t", 1 << 40),
            ("2Mi", 2 << 20),
            ("3MB", 3_000_000),
        ] {
            assert_eq!(parse_binary(text), Ok(bytes), "{text}");
        }
        for text in ["1G", "1536M", "2TB", "512MB", "64K", "3kB", "1001B", "1025B"] {
            assert_eq!(binary(parse_binary(text).unwrap()), text);
        }
        for text in ["", "M", "i", "10", "10i", "1P"] {
            assert!(parse_binary(text).is_err(), "{text}");
        }
    }
}
