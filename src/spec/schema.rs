//! The JSON schema of the file, for editors: they complete keys, show what a key means, and underline what is wrong.
//!
//! What a key means and what its value looks like comes from its row in the table of keys. A test puts values of every
//! kind under every key and has both reader and schema judge them. Draft 7 is what editors understand best: the
//! language server of most of them, taplo, reads later drafts in its later versions only.
//!
//! A schema sees one value at a time. What values must be together is for `treevisor check`.

use super::keys::{beat, known, listen, process, ready, settings};
use super::kind::{COUNT_GROUP, Kind};
use super::shape::{command, properties, reference, size, span, table};
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// The schema.
pub fn schema() -> Value {
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

/// A worker or a supervisor. Editors look for keys in `properties` first, so all of them stand there; which of them go
/// together is said after that.
fn child() -> Value {
    let only = |kind: Kind| json!({ "propertyNames": { "enum": shown(kind) } });
    let mut worker = only(Kind::Worker);
    worker["properties"] = json!({ "heartbeat": reference("worker-heartbeat") });
    let mut supervisor = only(Kind::Supervisor);
    supervisor["properties"] = json!({ "heartbeat": reference("supervisor-heartbeat") });
    // Its copies are placed ones.
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
