//! The JSON schema of the file, for editors: they complete keys, show what a key means, and underline what is wrong.
//!
//! Which table knows which keys, the words that a key takes, and the names of limits and signals come from where the
//! reader has them; what a value looks like is said here once more, in the schema's own terms. A test puts values of
//! every kind under every key and has both judge them. Draft 7 is what editors understand best: the language server of
//! most of them, taplo, reads later drafts in its later versions only.
//!
//! A schema sees one value at a time. What values must be together is for `treevisor check`.

use super::keys::{self, COUNT_GROUP, Kind};
use serde_json::{Map, Value, json};
use shapes::{any, command, limit, reference, size, span, switch, word};
use texts::{About, backoff_key, beat_key, journal_key, log_key, source_key, tree_key};

mod shapes;
#[cfg(test)]
mod tests;
mod texts;

/// The schema.
pub fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A supervision tree of treevisor",
        "description": "What runs, who watches whom, and what happens when something dies.",
        "type": "object",
        "properties": properties(Kind::Top),
        "additionalProperties": false,
        "oneOf": [{ "required": ["child"] }, { "required": ["include"] }],
        "definitions": {
            "child": child(),
            "defaults": table(Kind::Defaults),
            "command": command(),
            "span": span(false),
            "positive-span": span(true),
            "size": size(true),
            "worker-heartbeat": switch(table(Kind::Small("heartbeat", keys::BEAT))),
            "supervisor-heartbeat": switch(table(Kind::Small("heartbeat", keys::NODE_BEAT))),
            "source": source(),
            "backoff": switch(table(Kind::Small("backoff", keys::BACKOFF))),
            "limit": limit(false),
            "limit-in-bytes": limit(true),
        },
    })
}

/// A worker or a supervisor. Editors look for keys in `properties` first, so all of them stand there; which of them go
/// together is said after that.
fn child() -> Value {
    let only = |kind: Kind| json!({ "propertyNames": { "enum": known(kind).collect::<Vec<_>>() } });
    let mut worker = only(Kind::Worker);
    worker["properties"] = json!({ "heartbeat": reference("worker-heartbeat") });
    let mut supervisor = only(Kind::Supervisor);
    supervisor["properties"] = json!({ "heartbeat": reference("supervisor-heartbeat") });
    json!({
        "type": "object",
        "title": "A child",
        "description": "A worker, which has a `command`, or a supervisor, which has children of its own.",
        "properties": properties(Kind::Unclear),
        "additionalProperties": false,
        "required": ["name"],
        "oneOf": [{ "required": ["command"] }, { "required": ["child"] }, { "required": ["include"] }],
        "if": { "required": ["command"] },
        "then": worker,
        "else": supervisor,
    })
}

/// The keys that people write in a table of this kind.
fn known(kind: Kind) -> impl Iterator<Item = &'static str> {
    kind.keys().filter(|key| *key != COUNT_GROUP)
}

fn properties(kind: Kind) -> Value {
    let mut all = Map::new();
    for key in known(kind) {
        // A test sees to it that no key lacks its type.
        if let Some((value, about)) = describe(kind, key) {
            all.insert(key.to_owned(), with(value, about));
        }
    }
    Value::Object(all)
}

/// A table with the keys of this kind and no others.
fn table(kind: Kind) -> Value {
    json!({ "type": "object", "properties": properties(kind), "additionalProperties": false })
}

/// What a value must be, and what is said of its key.
fn describe(kind: Kind, key: &str) -> Option<(Value, About)> {
    Some(match kind {
        Kind::Small("heartbeat", _) => beat_key(key)?,
        Kind::Small("backoff", _) => backoff_key(key)?,
        Kind::Small("log", _) => log_key(key)?,
        Kind::Small("journal", _) => journal_key(key)?,
        Kind::Small("source", _) => source_key(key)?,
        Kind::Small(..) => return None,
        Kind::Top | Kind::Supervisor | Kind::Worker | Kind::Unclear | Kind::Defaults => tree_key(kind, key)?,
    })
}

fn with(mut value: Value, about: About) -> Value {
    let About(description, default) = about;
    // In this draft, what stands beside a `$ref` is passed over.
    if value.get("$ref").is_some() {
        value = json!({ "allOf": [value] });
    }
    value["description"] = description.into();
    if let Some(default) = default {
        value["default"] = default;
    }
    value
}

/// One source of beats.
fn source() -> Value {
    let (ways, _) = keys::SOURCE.split_at(keys::SOURCE.len() - 1);
    let mut table = table(Kind::Small("source", keys::SOURCE));
    table["oneOf"] = ways.iter().map(|way| json!({ "required": [way] })).collect();
    // Nothing is asked, so no answer can be late.
    table["not"] = json!({ "required": ["push", "timeout"] });
    any([word(&[("zmq", ()), ("notify", ())]), table])
}
