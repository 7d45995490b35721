//! `placement`: on which hosts of a cluster a tree may run, and the labels that hosts have.

use super::super::diagnostic::quoted;
use super::super::fields::Layer;
use super::super::quote::{array, inline, key, string};
use super::super::shape::{any, filled, refuse_others, shapes};
use super::super::source::{Finding, Place};
use super::super::tree::PlacementSpec;
use super::super::value::{Scope, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use toml::de::DeValue;

/// The longest name of a host or a cluster.
const NAME_MAX: usize = 32;

shapes! {
    /// The name of a host or a cluster: a part of keys in the store, so it is short and plain.
    HostName: String, host_name, |name: &String| string(name), name_schema();
    /// Labels of a host, or those that are asked for.
    Labels: BTreeMap<String, String>, labels, show_labels, json!({
        "type": "object", "additionalProperties": filled(),
    });
    /// Where a tree may run.
    Placement: PlacementSpec, placement, show, schema();
}

fn name_schema() -> Json {
    super::super::shape::text_like(&format!("[a-z0-9-]{{1,{NAME_MAX}}}"))
}

fn host_name(scope: &mut Scope<'_>, value: Value<'_>) -> Option<String> {
    let text = scope.text(value)?;
    let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    let label = match text.chars().find(|c| !fits(*c)) {
        Some(other) => format!("{other:?} is none of them"),
        None if text.is_empty() => "it is empty".into(),
        None if text.len() > NAME_MAX => format!("it has {}", text.len()),
        None => return Some(text),
    };
    scope.report(
        Finding::error("bad-name", value.place, format!("{} cannot be {}", quoted(value.key), quoted(&text)))
            .label(label)
            .hint(format!("it is 1 to {NAME_MAX} characters of a-z 0-9 -")),
    );
    None
}

fn labels(scope: &mut Scope<'_>, value: Value<'_>) -> Option<BTreeMap<String, String>> {
    let Some(layer) = Layer::of(value, None) else {
        scope.wrong_type(value, "a table", &format!("{} = {{ disk = \"ssd\" }}", value.key));
        return None;
    };
    let names = layer.keys().map(|(name, _)| name);
    let all: Vec<_> = names.map(|name| Some((name.to_owned(), scope.filled(layer.entry(name)?)?))).collect();
    all.into_iter().collect()
}

fn show_labels(labels: &BTreeMap<String, String>) -> String {
    inline(labels.iter().map(|(name, value)| (key(name), string(value))))
}

const RIGHT: &str = "placement = [\"a\", \"b\"]";

fn placement(scope: &mut Scope<'_>, value: Value<'_>) -> Option<PlacementSpec> {
    let placement = match value.value {
        DeValue::Array(_) => PlacementSpec { hosts: hosts(scope, value)?, require: BTreeMap::new() },
        DeValue::Table(_) => {
            let layer = Layer::of(value, None)?;
            refuse_others(scope, layer, &["hosts", "require"], "`placement`", |_| None);
            let hosts = layer.get("hosts").map(|value| hosts(scope, value));
            let require = layer.get("require").map(|value| labels(scope, value));
            PlacementSpec {
                hosts: hosts.unwrap_or(Some(Vec::new()))?,
                require: require.unwrap_or(Some(BTreeMap::new()))?,
            }
        }
        _ => {
            scope.wrong_type(value, "an array of hosts, or a table", RIGHT);
            return None;
        }
    };
    if placement == PlacementSpec::default() {
        empty(scope, value.place);
        return None;
    }
    Some(placement)
}

fn empty(scope: &mut Scope<'_>, place: Place) {
    scope.report(
        Finding::error("placement-empty", place, "no host is named")
            .hint(format!("write {RIGHT}, the first rather than the second; without the key every host may run it")),
    );
}

/// Ranks of hosts: one by its name, or several that are as good as each other.
fn hosts(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Vec<Vec<String>>> {
    let DeValue::Array(array) = value.value else {
        scope.wrong_type(value, "an array of hosts", RIGHT);
        return None;
    };
    if array.is_empty() {
        empty(scope, value.place);
        return None;
    }
    let mut known = Vec::new();
    let mut ranks = Vec::new();
    for item in value.elements(array) {
        let one = Value { key: "placement", ..item };
        let names = match item.value {
            DeValue::Array(equals) if equals.is_empty() => {
                empty(scope, item.place);
                return None;
            }
            DeValue::Array(equals) => one.elements(equals),
            _ => vec![one],
        };
        let mut rank = Vec::new();
        for name in names {
            let text = host_name(scope, name)?;
            if known.contains(&text) {
                let message = format!("the host {} is named twice", quoted(&text));
                scope.report(Finding::error("placement-twice", name.place, message).hint("remove one of them"));
                return None;
            }
            known.push(text.clone());
            rank.push(text);
        }
        ranks.push(rank);
    }
    Some(ranks)
}

fn show(placement: &PlacementSpec) -> String {
    let rank = |names: &Vec<String>| match names.as_slice() {
        [one] => string(one),
        several => array(several, |name| string(name)),
    };
    let hosts = (!placement.hosts.is_empty()).then(|| array(&placement.hosts, rank));
    if placement.require.is_empty() {
        return hosts.unwrap_or_default();
    }
    let hosts = hosts.map(|hosts| ("hosts".to_owned(), hosts));
    inline(hosts.into_iter().chain([("require".to_owned(), show_labels(&placement.require))]))
}

fn schema() -> Json {
    let rank = any([name_schema(), json!({ "type": "array", "minItems": 1, "items": name_schema() })]);
    let hosts = json!({ "type": "array", "minItems": 1, "items": rank });
    let require = json!({ "type": "object", "additionalProperties": filled() });
    let table = json!({
        "type": "object", "properties": { "hosts": hosts, "require": require }, "additionalProperties": false, "minProperties": 1,
    });
    any([hosts, table])
}
