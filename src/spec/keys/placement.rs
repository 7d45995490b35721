//! `placement`: on which hosts of a cluster a tree, or a subtree of it, may run, and the labels that hosts have.

use super::super::advice;
use super::super::diagnostic::quoted;
use super::super::fields::{Fields, Layer};
use super::super::quote::{array, inline, key, string};
use super::super::shape::{Boolean, Duration, Key, Row, any, filled, keys, properties, rows, shapes};
use super::super::source::{Finding, Place};
use super::super::tree::{PlacementSpec, Spread};
use super::super::value::{Scope, Value, name};
use crate::ids::Name;
use crate::time::Span;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use toml::de::DeValue;

/// The longest name of a host or a cluster.
const NAME_MAX: usize = 32;

keys! {
    /// Where something may run.
    WHERE of PlacementSpec {
        "hosts" => Ranks, unless(Vec::<Vec<String>>::new(), hosts);
        "These only, the first rather than the second: [\"a\", \"b\", [\"c\", \"d\"]]. By default all, alike."
        "require" => Labels, unless(BTreeMap::<String, String>::new(), require);
        "Labels that a host must have: { disk = \"ssd\" }."
    }
    /// Further keys of a subtree's placement.
    HOW of PlacementSpec {
        "spread" => Spreads, unless(Spread::Off, spread), default("false");
        "Of a `count`: true for hosts that have the fewest of its copies; the name of a label for those among whose value of it the \
         fewest are."
        "apart" => Siblings, unless(Vec::<Name>::new(), apart);
        "Names of siblings: never on a host where one of them is."
        "exclusive" => Boolean, unless(true, exclusive), default("true");
        "Never on two hosts at once: killed when its host cannot renew its lease. false: it runs on, and two copies are possible \
         while hosts are cut off from each other."
        "takeover" => Boolean, unless(false, takeover), default("false");
        "Moved to a host of higher preference once that has been sound for its `settle`."
        "delay" => Duration, unless(Span::ZERO, delay), default("\"0s\"");
        "Waited between the loss of its host and the start on another."
        "adopt" => Boolean, optional(adopt);
        "Whether a root that is started on another host takes over the running subtree; by default under one-for-one alone."
        "move-on-give-up" => Boolean, unless(true, move_on_give_up), default("true");
        "After it has given up, another host is preferred for a while."
    }
}

/// The keys of a subtree's `placement`.
pub(super) fn all_rows() -> Vec<&'static dyn Row> {
    rows(WHERE).into_iter().chain(rows(HOW)).collect()
}

shapes! {
    /// The name of a host or a cluster: a part of keys in the store, so it is short and plain.
    HostName: String, host_name, |name: &String| string(name), name_schema();
    /// Labels of a host, or those that are asked for.
    Labels: BTreeMap<String, String>, labels, show_labels, json!({
        "type": "object", "additionalProperties": filled(),
    });
    /// Ranks of hosts, in order of preference.
    Ranks: Vec<Vec<String>>, hosts, show_hosts, hosts_schema();
    /// How the copies of a `count` are spread.
    Spreads: Spread, spread, show_spread, any([json!({ "type": "boolean" }), filled()]);
    Siblings: Vec<Name>, siblings, |names: &Vec<Name>| array(names, |name| string(name.as_str())), json!({
        "type": "array", "items": filled(),
    });
    /// Where a tree may run.
    Placement: PlacementSpec, |scope: &mut Scope<'_>, value| placement(scope, value, &[WHERE]), show, schema(rows(WHERE));
    /// Where a subtree may run.
    Placed: PlacementSpec, |scope: &mut Scope<'_>, value| placement(scope, value, &[WHERE, HOW]), show, schema(all_rows());
}

fn name_schema() -> Json {
    super::super::shape::text_like(&format!("[a-z0-9-]{{1,{NAME_MAX}}}"))
}

/// Whether a host or a cluster can have this name.
pub fn is_host_name(text: &str) -> bool {
    misfit(text).is_none()
}

/// Why a host or a cluster cannot have this name; `None`: it can.
fn misfit(text: &str) -> Option<String> {
    let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    match text.chars().find(|c| !fits(*c)) {
        Some(other) => Some(format!("{other:?} is none of them")),
        None if text.is_empty() => Some("it is empty".into()),
        None if text.len() > NAME_MAX => Some(format!("it has {}", text.len())),
        None => None,
    }
}

fn host_name(scope: &mut Scope<'_>, value: Value<'_>) -> Option<String> {
    let text = scope.text(value)?;
    let Some(label) = misfit(&text) else { return Some(text) };
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

/// Reads a placement; `tables` are the keys that are allowed.
fn placement(scope: &mut Scope<'_>, value: Value<'_>, tables: &[&[Key<PlacementSpec>]]) -> Option<PlacementSpec> {
    let placement = match value.value {
        DeValue::Array(_) => PlacementSpec { hosts: hosts(scope, value)?, ..PlacementSpec::default() },
        DeValue::Table(_) => {
            let layer = Layer::of(value, None)?;
            let known: Vec<_> = tables.iter().flat_map(|keys| keys.iter().map(|key| key.name)).collect();
            for (key, place) in layer.keys().filter(|(key, _)| !known.contains(key)) {
                let of_subtrees = |key: &str| {
                    HOW.iter().any(|other| other.name == key).then_some("it is a key of a supervisor's `placement`")
                };
                let advice = advice::unknown(key, &known, "`placement`", of_subtrees);
                scope.report(
                    Finding::error("placement-unknown-key", place, advice.message)
                        .label(advice.label)
                        .hint(advice.hint),
                );
            }
            let mut fields = Fields::new(vec![layer], "");
            let mut placement = PlacementSpec::default();
            tables.iter().for_each(|keys| fields.fill(scope, None, keys, &mut placement));
            // An invalid value has been reported already.
            if fields.places.keys().any(|key| fields.meant(key).is_none()) {
                return None;
            }
            placement
        }
        _ => {
            scope.wrong_type(value, "an array of hosts, or a table", RIGHT);
            return None;
        }
    };
    let is_top = tables.len() == 1;
    if is_top && placement == PlacementSpec::default() {
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

/// Ranks of hosts: each is one host by its name, or an array of equally good ones.
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

fn show_hosts(hosts: &[Vec<String>]) -> String {
    array(hosts, |names| match names.as_slice() {
        [one] => string(one),
        several => array(several, |name| string(name)),
    })
}

fn spread(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Spread> {
    match value.value {
        DeValue::Boolean(false) => Some(Spread::Off),
        DeValue::Boolean(true) => Some(Spread::Hosts),
        DeValue::String(_) => scope.filled(value).map(Spread::Label),
        _ => {
            scope.wrong_type(value, "true, false, or the name of a label", "spread = true, or spread = \"zone\"");
            None
        }
    }
}

fn show_spread(spread: &Spread) -> String {
    match spread {
        Spread::Off => "false".into(),
        Spread::Hosts => "true".into(),
        Spread::Label(label) => string(label),
    }
}

fn siblings(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Vec<Name>> {
    let DeValue::Array(array) = value.value else {
        scope.wrong_type(value, "an array of names", "apart = [\"db\"]");
        return None;
    };
    value.elements(array).into_iter().map(|item| name(scope, item)).collect()
}

/// Writes a placement, as an array of hosts if it has nothing else.
fn show(placement: &PlacementSpec) -> String {
    let rest = PlacementSpec { hosts: placement.hosts.clone(), ..PlacementSpec::default() };
    if !placement.hosts.is_empty() && *placement == rest {
        return show_hosts(&placement.hosts);
    }
    let keys = WHERE.iter().chain(HOW);
    let written = keys.filter_map(|key| Some((key.name.to_owned(), key.field.show(placement)?)));
    inline(written)
}

fn hosts_schema() -> Json {
    let rank = any([name_schema(), json!({ "type": "array", "minItems": 1, "items": name_schema() })]);
    json!({ "type": "array", "minItems": 1, "items": rank })
}

fn schema(keys: Vec<&'static dyn Row>) -> Json {
    let least = usize::from(keys.len() == WHERE.len());
    let table = json!({
        "type": "object", "properties": properties(&keys), "additionalProperties": false, "minProperties": least,
    });
    any([hosts_schema(), table])
}
