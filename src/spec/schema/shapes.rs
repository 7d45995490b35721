//! What values look like, in the schema's terms.

use super::super::keys;
use super::super::raw::LIMITS;
use crate::ids::Name;
use crate::signal;
use serde_json::{Map, Value, json};

/// Text with a variable in it may become anything.
const VARIABLE: &str = r"\$[{$]";

/// A number as durations and sizes have it.
pub(super) const NUMBER: &str = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)";

/// `true`, `false` or this table.
pub(super) fn switch(table: Value) -> Value {
    any([boolean(), table])
}

pub(super) fn any<const N: usize>(all: [Value; N]) -> Value {
    json!({ "anyOf": all.to_vec() })
}

pub(super) fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{definition}") })
}

pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn integer(low: i64, high: i64) -> Value {
    json!({ "type": "integer", "minimum": low, "maximum": high })
}

/// A string that says something.
pub(super) fn filled() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

/// A string that is like `pattern` as a whole, or has a variable in it.
pub(super) fn text_like(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^(?:{pattern})$|{VARIABLE}") })
}

/// One of these words, or a variable that holds one.
pub(super) fn word<T>(words: &[(&str, T)]) -> Value {
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    any([json!({ "enum": words }), json!({ "type": "string", "pattern": VARIABLE })])
}

pub(super) fn name() -> Value {
    text_like(&format!("(?!\\.{{1,2}}$)[A-Za-z0-9_.-]{{1,{}}}", Name::MAX_LEN))
}

pub(super) fn account() -> Value {
    any([filled(), integer(0, i64::from(u32::MAX) - 1)])
}

/// A command: words, or one string with at least one of them in it.
pub(super) fn command() -> Value {
    any([
        json!({ "type": "string", "pattern": r"^\s*[^\s#]" }),
        json!({
            "type": "array",
            "minItems": 1,
            "items": [{ "type": "string", "minLength": 1 }],
            "additionalItems": { "type": "string" },
        }),
    ])
}

/// A duration such as "1m30s": units from the largest to the smallest, each once.
pub(super) fn span(positive: bool) -> Value {
    let parts: String = ["d", "h", "(?:min|m)", "(?:sec|s)", "ms", "us", "ns"]
        .iter()
        .map(|unit| format!(r"(?:{NUMBER}{unit}\s*)?"))
        .collect();
    // At least one part; and where zero is none, a digit that is none.
    let first = if positive { "(?=.*[1-9])" } else { r"(?=\s*[0-9.])" };
    text_like(&format!(r"{first}\s*{parts}"))
}

/// A size: a number of bytes, or a string with a unit.
pub(super) fn size(positive: bool) -> Value {
    let first = if positive { "(?=.*[1-9])" } else { "" };
    let text = text_like(&format!(r"{first}\s*{NUMBER}\s*(?:[kKmMgGtT][iI]?)?[bB]\s*"));
    any([text, json!({ "type": "integer", "minimum": i64::from(positive) })])
}

pub(super) fn limits() -> Value {
    let all: Map<String, Value> = LIMITS
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), reference(if *bytes { "limit-in-bytes" } else { "limit" })))
        .collect();
    json!({ "type": "object", "properties": all, "additionalProperties": false })
}

/// One limit, or the soft and the hard one.
pub(super) fn limit(bytes: bool) -> Value {
    let unlimited = word(&[("unlimited", ())]);
    let one = if bytes {
        any([unlimited, size(false)])
    } else {
        any([unlimited, json!({ "type": "integer", "minimum": 0 })])
    };
    let both: Map<String, Value> = keys::LIMIT.iter().map(|key| ((*key).to_owned(), one.clone())).collect();
    any([one, json!({ "type": "object", "properties": both, "additionalProperties": false, "required": keys::LIMIT })])
}

/// A signal by name or number, in either case and with or without its first letters, but for those that a program
/// cannot catch.
pub(super) fn stop_signal() -> Value {
    let names: Vec<_> = signal::names().filter(|name| !matches!(*name, "KILL" | "STOP")).collect();
    let either_case = |name: &str| -> String {
        let both =
            |c: char| if c.is_ascii_uppercase() { format!("[{c}{}]", c.to_ascii_lowercase()) } else { c.to_string() };
        name.chars().map(both).collect()
    };
    let spelt: Vec<_> = names.iter().map(|name| either_case(name)).collect();
    let asks = |number: &i32| !matches!(signal::name(*number), Some("KILL" | "STOP"));
    let numbers: Vec<_> = (1..=signal::MAX).filter(asks).collect();
    let digits: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    let text = format!(r"\s*(?:(?:{})?(?:{}|0*(?:{})))\s*", either_case("SIG"), spelt.join("|"), digits.join("|"));
    any([json!({ "enum": names }), text_like(&text), json!({ "enum": numbers })])
}
