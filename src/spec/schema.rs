//! The JSON schema of the file, for editors: they complete keys, show what a key means, and underline what is wrong.
//!
//! The description and the value of a key come from its row in the table of keys. A test tries values of every kind for
//! every key and compares the verdicts of reader and schema. The schema is of draft 7, which editors support best:
//! taplo, the language server of most, supports later drafts only in its later versions.
//!
//! A schema checks one value at a time. Conditions between values are checked by `treevisor check`.

use super::keys::{beat, known, listen, process, ready, settings};
use super::kind::{COUNT_GROUP, Kind};
use super::shape::{command, properties, reference, size, span, table};
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// The JSON schema of a tree's file, draft 7, as text.
pub fn text() -> String {
    // `{:#}` of a JSON value is the same value with line breaks.
    format!("{:#}\n", schema())
}

/// The JSON schema of a tree's file, draft 7.
fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A supervision tree of treevisor",
        "description": "A supervision tree: what runs, under which supervisor, and what happens when it fails.",
        "type": "object",
        "properties": properties(&known(Kind::Top)),
        "additionalProperties": false,
        "oneOf": [{ "required": ["child"] }, { "required": ["include"] }],
        "definitions": {
            "child": child(),
            "defaults": table(&known(Kind::Defaults)),
            "command": command(),
            "span": span(false),
            "positive-span": span(true),
            "size": size(true),
            "worker-heartbeat": beat::schema(true),
            "supervisor-heartbeat": beat::schema(false),
            "source": beat::source_schema(),
            "ready": ready::schema(),
            "socket": listen::socket_schema(),
            "backoff": settings::backoff_schema(),
            "limit": process::limit_schema(false),
            "limit-in-bytes": process::limit_schema(true),
        },
    })
}

/// The schema of a worker or a supervisor. Editors complete keys from `properties`, so that has all keys; which of them
/// can be combined comes after it.
fn child() -> Value {
    let only = |kind: Kind| json!({ "propertyNames": { "enum": shown(kind) } });
    let mut worker = only(Kind::Worker);
    worker["properties"] = json!({ "heartbeat": reference("worker-heartbeat") });
    let mut supervisor = only(Kind::Supervisor);
    supervisor["properties"] = json!({ "heartbeat": reference("supervisor-heartbeat") });
    // A supervisor can have a `count` only if it is placed.
    supervisor["dependencies"] = json!({ "count": ["placement"] });
    json!({
        "type": "object",
        "title": "A child",
        "description": "A worker, which has a `command`, or a supervisor, which has children of its own.",
        "properties": properties(&known(Kind::Unclear)),
        "additionalProperties": false,
        "required": ["name"],
        "oneOf": [{ "required": ["command"] }, { "required": ["child"] }, { "required": ["include"] }],
        "if": { "required": ["command"] },
        "then": worker,
        "else": supervisor,
    })
}

/// The keys that people write in a table of this kind.
fn shown(kind: Kind) -> Vec<&'static str> {
    known(kind).iter().map(|key| key.name()).filter(|key| *key != COUNT_GROUP).collect()
}
