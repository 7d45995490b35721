//! Values written as TOML.

use super::expand::escape;
use crate::text::is_obeyed;
use std::fmt::Write as _;

/// A key, without quotes if possible.
pub fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !text.is_empty() && text.chars().all(bare) { text.to_owned() } else { basic(text) }
}

/// A quoted TOML string; `$` is not escaped.
pub fn basic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // All these characters are in the Basic Multilingual Plane, so four digits are enough.
            c if is_obeyed(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A quoted TOML string in which `$` is escaped for [`expand`](super::expand).
pub(super) fn string(text: &str) -> String {
    basic(&escape(text))
}

/// An array of such strings.
pub(super) fn strings(values: &[String]) -> String {
    array(values, |value| string(value))
}

pub(super) fn array<T>(values: &[T], one: impl Fn(&T) -> String) -> String {
    format!("[{}]", values.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A value without special characters, in quotes.
pub(super) fn quote(value: &impl std::fmt::Display) -> String {
    format!("\"{value}\"")
}

/// A table in one line.
pub(super) fn inline(pairs: impl IntoIterator<Item = (String, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}
