//! Keys for the set-up of a process: its user, environment, limits, and stop signal.

use super::super::diagnostic::{nearest, quoted};
use super::super::exec::{EnvFile, Limit, RESERVED, StdinSpec};
use super::super::fields::Layer;
use super::super::quote::{array, inline, key, string};
use super::super::shape::{Shape, any, filled, integer, reference, refuse_others, shapes, text_like, word};
use super::super::source::{At, Finding, Places};
use super::super::value::{Scope, Value};
use crate::signal;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::DeValue;

/// Resource limits of getrlimit(2), and whether they count bytes, so that a size may be written.
const LIMITS: &[(&str, bool)] = &[
    ("as", true),
    ("core", true),
    ("cpu", false),
    ("data", true),
    ("fsize", true),
    ("locks", false),
    ("memlock", true),
    ("msgqueue", true),
    ("nice", false),
    ("nofile", false),
    ("nproc", false),
    ("rss", true),
    ("rtprio", false),
    ("rttime", false),
    ("sigpending", false),
    ("stack", true),
];

shapes! {
    /// A user or group, by name or number.
    Account: String, account, |text: &String| string(text), any([filled(), integer(0, i64::from(u32::MAX) - 1)]);
    /// One file of variables, or an array of them.
    EnvFiles: Vec<EnvFile>, env_files, |files: &Vec<EnvFile>| match &**files {
        [one] => show_env_file(one),
        several => array(several, show_env_file),
    }, any([env_file_schema(), json!({ "type": "array", "items": env_file_schema() })]);
    Stdin: StdinSpec, |scope: &mut Scope<'_>, value| Some(match &*scope.filled(value)? {
        "/dev/null" | "null" => StdinSpec::Null,
        "inherit" => StdinSpec::Inherit,
        file => StdinSpec::File { file: file.into() },
    }), |stdin: &StdinSpec| match stdin {
        StdinSpec::Null => "\"/dev/null\"".into(),
        StdinSpec::Inherit => "\"inherit\"".into(),
        StdinSpec::File { file } => string(&file.to_string_lossy()),
    }, filled();
    /// A file mode mask.
    Umask: u32, |scope: &mut Scope<'_>, value| octal(scope, value, "a file mode mask", "umask = \"022\""),
        |mask: &u32| format!("\"{mask:03o}\""),
        any([text_like("(?:0o)?0*[0-7]{1,3}"), integer(0, 0o777)]);
    /// A signal that asks a program to stop.
    StopSignal: i32, stop_signal, show_signal, signal_schema();
    /// Exit codes, each once.
    ExitCodes: Vec<i32>, exit_codes, |codes: &Vec<i32>| array(codes, i32::to_string),
        json!({ "type": "array", "items": integer(0, 255), "uniqueItems": true });
}

fn account(scope: &mut Scope<'_>, value: Value<'_>) -> Option<String> {
    match value.value {
        // The highest id means "no change" to setresuid(2).
        DeValue::Integer(_) => scope.integer(value, 0..=i64::from(u32::MAX - 1)).map(|id| id.to_string()),
        _ => scope.filled(value),
    }
}

fn env_files(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Vec<EnvFile>> {
    match value.value {
        DeValue::Array(array) => {
            let files: Vec<_> = value.elements(array).into_iter().map(|item| env_file(scope, item)).collect();
            files.into_iter().collect()
        }
        DeValue::String(_) => env_file(scope, value).map(|file| vec![file]),
        _ => {
            scope.wrong_type(value, "a path, or an array of paths", "env-file = \"secrets.env\"");
            None
        }
    }
}

/// Reads the name of a file of variables, relative to the file that names it, and makes it absolute.
fn env_file(scope: &mut Scope<'_>, value: Value<'_>) -> Option<EnvFile> {
    let text = scope.filled(value)?;
    let (optional, name) = text.strip_prefix('-').map_or((false, &*text), |name| (true, name));
    if name.is_empty() {
        scope.bad_value(value, "`env-file` does not say which file".into(), "write env-file = \"-secrets.env\"");
        return None;
    }
    let beside = scope.findings.sources.path(value.place.file).parent().unwrap_or(Path::new(""));
    let path = beside.join(name);
    Some(EnvFile { path: std::path::absolute(&path).unwrap_or(path), optional })
}

fn show_env_file(file: &EnvFile) -> String {
    let sign = if file.optional { "-" } else { "" };
    string(&format!("{sign}{}", file.path.to_string_lossy()))
}

fn env_file_schema() -> Json {
    text_like("(?!-$).+")
}

/// A file mode, or a mask of one. `right` is an example.
pub(super) fn octal(scope: &mut Scope<'_>, value: Value<'_>, what: &str, right: &str) -> Option<u32> {
    let mask = match value.value {
        DeValue::String(_) => {
            let text = scope.text(value)?;
            let octal = text.strip_prefix("0o").unwrap_or(&text);
            (octal.bytes().all(|c| c.is_ascii_digit())).then(|| u32::from_str_radix(octal, 8).ok()).flatten()
        }
        // A decimal number is refused, as readers would take it for an octal one.
        DeValue::Integer(number) if number.radix() == 8 || number.as_str() == "0" => {
            u32::from_str_radix(number.as_str(), 8).ok()
        }
        DeValue::Integer(_) => None,
        _ => {
            scope.wrong_type(value, what, right);
            return None;
        }
    };
    if mask.is_none_or(|mask| mask > 0o777) {
        let written = scope.written(value);
        let none = what.strip_prefix("a ").unwrap_or(what);
        let unquoted = right.replace(" = \"", " = 0o").replace('"', "");
        scope.bad_value(value, format!("{written} is no {none}"), format!("write it in octal: {right}, or {unquoted}"));
        return None;
    }
    mask
}

fn stop_signal(scope: &mut Scope<'_>, value: Value<'_>) -> Option<i32> {
    let number = match value.value {
        DeValue::Integer(_) => scope.integer(value, 1..=i64::from(signal::MAX)).and_then(|n| i32::try_from(n).ok())?,
        DeValue::String(_) => {
            let text = scope.text(value)?;
            let Some(number) = signal::number(&text) else {
                let upper = text.to_ascii_uppercase();
                let short = upper.strip_prefix("SIG").unwrap_or(&upper);
                // `nearest` cannot be used here, as it compares in lower case.
                let meant = signal::names().find(|name| strsim::damerau_levenshtein(short, name) <= 1);
                let finding = Finding::error("bad-value", value.place, format!("{} is no signal", quoted(&text)))
                    .hint("write a name such as \"TERM\", \"INT\" or \"QUIT\", or a number");
                scope.report(match meant {
                    Some(meant) => finding.label(format!("did you mean \"{meant}\"?")),
                    None => finding.label("not known"),
                });
                return None;
            };
            number
        }
        _ => {
            scope.wrong_type(value, "a signal", "stop-signal = \"TERM\"");
            return None;
        }
    };
    match signal::name(number) {
        Some("KILL") => {
            scope.bad_value(
                value,
                "KILL is no stop signal: it cannot be handled".into(),
                "write shutdown = \"brutal-kill\" instead",
            );
            None
        }
        Some("STOP") => {
            let hint = "write \"TERM\", or another signal that the program takes as a request to end";
            scope.bad_value(value, "STOP freezes a program and does not end it".into(), hint);
            None
        }
        _ => Some(number),
    }
}

fn show_signal(number: &i32) -> String {
    signal::name(*number).map_or_else(|| number.to_string(), string)
}

/// A signal by name or number, in either case and with or without `SIG`; those that a program cannot catch are
/// excluded.
fn signal_schema() -> Json {
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

fn exit_codes(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Vec<i32>> {
    let DeValue::Array(array) = value.value else {
        scope.wrong_type(value, "an array of exit codes", "success-codes = [0]");
        return None;
    };
    let mut codes = Vec::new();
    for item in value.elements(array) {
        let Some(code) = scope.integer(item, 0..=255).and_then(|code| i32::try_from(code).ok()) else { continue };
        if codes.contains(&code) {
            scope.bad_value(item, format!("duplicate exit code {code}"), "remove one of them");
        } else {
            codes.push(code);
        }
    }
    Some(codes)
}

/// Reads a table whose keys the user chooses; entries of several layers are merged one by one. `read` reads one entry.
fn entries<K: Ord, T>(
    scope: &mut Scope<'_>,
    values: &[Value<'_>],
    right: &str,
    read: impl Fn(&mut Scope<'_>, Value<'_>, Finder<'_>) -> Option<(K, T)>,
) -> Option<At<BTreeMap<K, T>>> {
    let mut all = BTreeMap::new();
    for value in values {
        let Some(layer) = Layer::of(*value, None) else {
            scope.wrong_type(*value, "a table", right);
            continue;
        };
        for (name, at) in layer.keys() {
            let Some(item) = layer.entry(name) else { continue };
            let finding = |code, message: String| Finding::error(code, at, message);
            if let Some((name, read)) = read(scope, item, &finding) {
                all.entry(name).or_insert(read);
            }
        }
    }
    Some(At { value: all, place: values.first()?.place })
}

/// Makes a finding about the name of an entry.
type Finder<'f> = &'f dyn Fn(&'static str, String) -> Finding;

/// Variables of an environment.
pub(in crate::spec) struct Environment;

impl Shape for Environment {
    type Parsed = BTreeMap<String, String>;

    fn merge(&self, scope: &mut Scope<'_>, values: &[Value<'_>], _: &mut Places) -> Option<At<Self::Parsed>> {
        entries(scope, values, "env = { NAME = \"value\" }", |scope, item, finding| {
            let name = item.key;
            if name.is_empty() || name.contains(['=', '\0']) {
                scope.report(
                    finding("bad-value", format!("{} is no name of a variable", quoted(name)))
                        .hint("a name is not empty and holds neither `=` nor NUL"),
                );
                return None;
            }
            if RESERVED.contains(&name) {
                let message = format!("{} is set by treevisor itself", quoted(name));
                scope.report(finding("reserved-variable", message).hint("remove it"));
                return None;
            }
            let text = match item.value {
                DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
                DeValue::String(_) => scope.text(item),
                _ => {
                    let written = scope.written(item);
                    scope.wrong_type(item, "a string", &format!("it in quotes: \"{}\"", written.trim_matches('"')));
                    None
                }
            };
            Some((name.to_owned(), text?))
        })
    }

    fn show(&self, env: &Self::Parsed) -> String {
        inline(env.iter().map(|(name, value)| (key(name), string(value))))
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[^=\\u0000]+$", "not": { "enum": RESERVED } },
            "additionalProperties": { "type": ["string", "integer"] },
        })
    }
}

pub(in crate::spec) struct Limits;

impl Shape for Limits {
    type Parsed = BTreeMap<String, Limit>;

    fn merge(&self, scope: &mut Scope<'_>, values: &[Value<'_>], _: &mut Places) -> Option<At<Self::Parsed>> {
        entries(scope, values, "limits = { nofile = 1024 }", |scope, item, finding| {
            let name = item.key;
            let Some((known, bytes)) = LIMITS.iter().find(|(known, _)| *known == name) else {
                let names = || LIMITS.iter().map(|(known, _)| *known);
                let plain = name.to_lowercase();
                let plain = plain.strip_prefix("rlimit_").unwrap_or(&plain);
                let meant = names().find(|known| *known == plain).or_else(|| nearest(plain, names()));
                let finding = finding("unknown-key", format!("unknown limit {}", quoted(name)))
                    .hint(format!("limits are: {}", names().collect::<Vec<_>>().join(", ")));
                scope.report(match meant {
                    Some(meant) => finding.label(format!("did you mean `{meant}`?")),
                    None => finding.label("not known"),
                });
                return None;
            };
            Some(((*known).to_owned(), soft_and_hard(scope, item, *bytes)?))
        })
    }

    fn show(&self, limits: &Self::Parsed) -> String {
        inline(limits.iter().map(|(name, limit)| (name.clone(), show_limit(limit))))
    }

    fn schema(&self) -> Json {
        let all: Map<String, Json> = LIMITS
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), reference(if *bytes { "limit-in-bytes" } else { "limit" })))
            .collect();
        json!({ "type": "object", "properties": all, "additionalProperties": false })
    }
}

const SOFT_AND_HARD: [&str; 2] = ["soft", "hard"];

/// One number for both limits, or a table with each.
fn soft_and_hard(scope: &mut Scope<'_>, item: Value<'_>, bytes: bool) -> Option<Limit> {
    let Some(layer) = Layer::of(item, None) else {
        return limit(scope, item, bytes).map(|both| Limit { soft: both, hard: both });
    };
    refuse_others(scope, layer, &SOFT_AND_HARD, "`limits`", |_| None);
    let [soft, hard] = SOFT_AND_HARD.map(|key| {
        let value = layer.get(key)?;
        Some(At { value: limit(scope, value, bytes)?, place: value.place })
    });
    for key in SOFT_AND_HARD.into_iter().filter(|key| !layer.has(key)) {
        scope.bad_value(item, format!("`{key}` is missing"), "write both, or one number for both");
    }
    let (soft, hard) = (soft?, hard?);
    if soft.value.unwrap_or(u64::MAX) > hard.value.unwrap_or(u64::MAX) {
        let place = Value { place: soft.place, ..item };
        scope.bad_value(place, "the soft limit is above the hard one".into(), "lower it, or raise `hard`");
        return None;
    }
    Some(Limit { soft: soft.value, hard: hard.value })
}

/// One limit; the inner `None` is "unlimited".
fn limit(scope: &mut Scope<'_>, value: Value<'_>, bytes: bool) -> Option<Option<u64>> {
    match value.value {
        DeValue::String(text) if text == "unlimited" => Some(None),
        DeValue::String(text) if !bytes || text.starts_with(|c: char| c.is_alphabetic()) => {
            scope.choice(value, &[("unlimited", None)], &[("infinity", "unlimited"), ("none", "unlimited")])
        }
        DeValue::String(_) | DeValue::Integer(_) => scope.size_or_zero(value).map(Some),
        _ => {
            scope.wrong_type(value, "a limit", &format!("{} = 1024, or \"unlimited\"", value.key));
            None
        }
    }
}

fn show_limit(limit: &Limit) -> String {
    let one = |limit: Option<u64>| limit.map_or_else(|| "\"unlimited\"".to_owned(), |limit| limit.to_string());
    if limit.soft == limit.hard {
        return one(limit.soft);
    }
    inline([("soft".to_owned(), one(limit.soft)), ("hard".to_owned(), one(limit.hard))])
}

/// One limit, or the soft and the hard one.
pub(in crate::spec) fn limit_schema(bytes: bool) -> Json {
    let unlimited = word(["unlimited"]);
    let one = if bytes {
        any([unlimited, super::super::shape::size(false)])
    } else {
        any([unlimited, json!({ "type": "integer", "minimum": 0 })])
    };
    let both: Map<String, Json> = SOFT_AND_HARD.iter().map(|key| ((*key).to_owned(), one.clone())).collect();
    any([
        one,
        json!({ "type": "object", "properties": both, "additionalProperties": false, "required": SOFT_AND_HARD }),
    ])
}
