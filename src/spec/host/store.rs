//! The table `store` of a host's file.

use crate::spec::diagnostic::quoted;
use crate::spec::fields::{Fields, Layer};
use crate::spec::keys::switch::Table;
use crate::spec::policy::words;
use crate::spec::quote::strings;
use crate::spec::shape::{Boolean, Filename, a_word, filled, keys, shapes};
use crate::spec::source::{Finding, Place};
use crate::spec::value::{Scope, Value};
use serde_json::json;
use std::net::IpAddr;
use std::path::PathBuf;
use toml::de::DeValue;

/// The store that keeps the cluster's records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreFile {
    /// The kind of store.
    pub kind: StoreKind,
    /// Its members, as URLs without a path; never empty.
    pub endpoints: Vec<String>,
    /// The certificate authority of its members; set if one of them is reached by `https://`.
    pub ca: Option<PathBuf>,
    /// The client certificate of this host.
    pub cert: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
    /// Whether this host runs a member, if hosts of the cluster run the store, under certificates of the cluster's own
    /// authority; `None` if they do not.
    pub run: Option<bool>,
    /// This host is a witness: it runs a voting member, and nothing is placed on it.
    pub witness: bool,
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// etcd, by its gateway for HTTP and JSON.
    #[default]
    Etcd,
}

words! { StoreKind { "etcd" Etcd } }

keys! {
    STORE of StoreFile {
        "kind" => a_word(&[]), always(kind), default("\"etcd\"");
        "What kind of store it is."
        "endpoints" => Endpoints, always(endpoints);
        "Its members, as URLs: [\"https://10.0.0.1:2379\", …]."
        "ca" => Filename, optional(ca);
        "The authority by which its members are known."
        "cert" => Filename, optional(cert);
        "The certificate that this host shows to it."
        "key" => Filename, optional(key);
        "The key to that."
        "run" => Boolean, optional(run);
        "Hosts of the cluster run the store, under certificates of its own: true: a member of it here; false: on others only. \
         Default: it is run by other means."
        "witness" => Boolean, always(witness), default("false");
        "true: this host votes by its member of the store, and nothing is ever placed on it: the third one of two hosts."
    }
}

pub(super) static STORE_TABLE: Table<StoreFile> =
    Table::new("store", &[STORE], "a table", "[store] with endpoints = [\"https://10.0.0.1:2379\"]");

shapes! {
    /// The members of the store.
    Endpoints: Vec<String>, endpoints, |all: &Vec<String>| strings(all),
        json!({ "type": "array", "minItems": 1, "items": filled() });
}

pub(super) fn store(scope: &mut Scope<'_>, value: Value<'_>) -> Option<StoreFile> {
    let mut store = StoreFile::default();
    let layer = Layer::of(value, None);
    let fields = STORE_TABLE.read_alone(scope, value, &mut store)?;
    if !layer?.has("endpoints") {
        scope.judge(
            Finding::error("missing-key", value.place, "`endpoints` is missing")
                .hint("write endpoints = [\"https://10.0.0.1:2379\"]"),
        );
    }
    let by_tls = store.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
    if store.run.is_some() {
        by_own_authority(scope, &store, &fields);
    } else if let (true, None, Some(place)) = (by_tls, &store.ca, fields.meant("endpoints")) {
        scope.judge(Finding::error("missing-key", place, "`ca` is missing: no other authority is believed").hint(
            "write ca = \"/etc/treevisor/store/ca.pem\", the certificate of the authority that has signed theirs",
        ));
    }
    if let (true, Some(place)) = (store.witness && store.run != Some(true), fields.meant("witness")) {
        scope.judge(
            Finding::error("bad-value", place, "a witness without a member of the store has no vote").hint(
                "write run = true, or remove `witness`; an etcd that is run by other means votes without an agent",
            ),
        );
    }
    if let (Some(place), None) | (None, Some(place)) = (fields.meant("cert"), fields.meant("key")) {
        scope.judge(
            Finding::error("bad-value", place, "a certificate and its key go together")
                .hint("write both `cert` and `key`, or neither"),
        );
    }
    Some(store)
}

/// A store that hosts run uses certificates of the cluster's own authority, which each host can make, so others must
/// not be configured.
fn by_own_authority(scope: &mut Scope<'_>, store: &StoreFile, fields: &Fields<'_>) {
    if let Some(place) = ["ca", "cert", "key"].iter().find_map(|key| fields.meant(key)) {
        scope.judge(
            Finding::error("bad-value", place, "a store that hosts run has certificates of the cluster's own")
                .hint("remove `ca`, `cert` and `key`; or `run`, where the store is run by other means"),
        );
    }
    if let (true, Some(place)) =
        (store.endpoints.iter().any(|endpoint| !endpoint.starts_with("https://")), fields.meant("endpoints"))
    {
        scope.judge(
            Finding::error("bad-value", place, "a store that hosts run is reached by https://")
                .hint("write \"https://HOST:2379\", with the host of a member's `address`"),
        );
    }
}

fn endpoints(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Vec<String>> {
    let DeValue::Array(array) = value.value else {
        scope.wrong_type(value, "an array of URLs", "endpoints = [\"https://10.0.0.1:2379\"]");
        return None;
    };
    if array.is_empty() {
        scope.bad_value(value, "`endpoints` is empty".into(), "name at least one member of the store");
        return None;
    }
    let all: Vec<_> = value.elements(array).into_iter().map(|item| endpoint(scope, item)).collect();
    let open = |found: &Endpoint| !found.tls && !found.is_loopback;
    let several = all.iter().flatten().filter(|found| open(found)).count();
    if let Some(found) = all.iter().flatten().find(|found| open(found)) {
        // One warning for all of them.
        let more = if several > 1 { format!(", nor are {} more", several - 1) } else { String::new() };
        scope.report(
            Finding::warning("store-in-the-clear", found.place, "records travel unencrypted, and unproved")
                .label(format!("not on loopback{more}"))
                .hint(
                    "with write access to them things can be made to stop, or run twice: use https:// with `ca`, `cert` and `key`, \
                     unless the network is yours alone",
                ),
        );
    }
    all.into_iter().map(|found| Some(found?.text)).collect()
}

/// A member of the store, as written in the file.
struct Endpoint {
    text: String,
    tls: bool,
    is_loopback: bool,
    place: Place,
}

fn endpoint(scope: &mut Scope<'_>, item: Value<'_>) -> Option<Endpoint> {
    let text = scope.filled(item)?;
    let Some((tls, host)) = url(&text) else {
        scope.report(
            Finding::error("bad-value", item.place, format!("{} is no address of a member", quoted(&text)))
                .hint("write \"https://HOST:PORT\"; http:// is for loopback"),
        );
        return None;
    };
    let is_loopback = is_loopback(host);
    Some(Endpoint { text: text.trim_end_matches('/').to_owned(), tls, is_loopback, place: item.place })
}

/// Whether a URL has the scheme `https`, and its host.
pub(super) fn url(text: &str) -> Option<(bool, &str)> {
    let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '@', '?', '#', ' ']) {
        return None;
    }
    let colon = match authority.rfind(']') {
        Some(end) => end + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(colon);
    let port_fits = port.is_empty() || port[1..].parse::<u16>().is_ok_and(|port| port > 0) && port.starts_with(':');
    (!host.is_empty() && port_fits).then_some((tls, host))
}

fn is_loopback(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || plain.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
