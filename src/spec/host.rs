//! The configuration file of a host: its cluster, its name, the store, and the times of its lease.
//!
//! As for the file of a tree, a table of keys decides how it is read, and all errors are reported at once with their
//! places.

use super::diagnostic::{Diagnostic, quoted};
use super::disk::Disk;
use super::fields::{Fields, Layer};
pub use super::keys::placement::is_host_name;
use super::keys::placement::{HostName, Labels};
use super::keys::process::Environment;
use super::overlay::{Overlay, Texts};
use super::quote::string;
use super::shape::{Duration, Positive, keys, refuse_others, rows, shapes, table};
use super::source::{Finding, Findings, Place};
use super::value::{Scope, Value};
use crate::time::Span;
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use store::{STORE_TABLE, store, url};
pub use store::{StoreFile, StoreKind};

/// The instance name that is reserved for a host's own tree.
pub const INSTANCE: &str = "host";

/// The shortest lease. With a shorter one, one leader election of the store would use up most of it.
const LEASE_MIN: Span = Span::from_secs(5);

/// The shortest interval of renewals. An attempt has a third of the interval, and needs that much for an answer.
const RENEW_MIN: Span = Span::from_millis(300);

/// A host, as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostFile {
    /// The name of the cluster, which is the first part of its keys in the store.
    pub cluster: String,
    /// The name of this host in the cluster.
    pub name: String,
    /// Where its agent listens for the agents of other hosts, and where they find it; `None` if agents do not connect
    /// to each other.
    pub mesh: Option<MeshFile>,
    /// The host's labels, which placements can require.
    pub labels: BTreeMap<String, String>,
    /// The length of the lease. Until it has passed since a renewal was sent, other hosts do not take over what runs
    /// here.
    pub lease: Span,
    /// The interval of renewals.
    pub renew: Span,
    /// How long before the end of the lease everything exclusive must be dead here.
    pub guard: Span,
    /// How long before that point it is asked to stop.
    pub stop_before: Span,
    /// How long a host must be healthy before it is preferred again.
    pub settle: Span,
    /// The store that keeps the cluster's records.
    pub store: StoreFile,
    /// Environment variables that all trees started here inherit.
    pub env: BTreeMap<String, String>,
}

/// How the agents of other hosts reach this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshFile {
    /// `tcp://ADDRESS:PORT`, to bind to.
    pub listen: String,
    /// `HOST:PORT`, as others connect to it.
    pub address: String,
}

/// The result of reading a host's file.
#[derive(Debug, Clone)]
pub struct Read {
    /// The host, if there is no error.
    pub host: Option<HostFile>,
    /// Errors and warnings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// The keys as written in the file, before it is checked whether required ones are missing.
#[derive(Debug, Default)]
pub(in crate::spec) struct Written {
    cluster: Option<String>,
    name: Option<String>,
    listen: Option<SocketAddr>,
    address: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    lease: Option<Span>,
    renew: Option<Span>,
    guard: Option<Span>,
    stop_before: Option<Span>,
    settle: Option<Span>,
    store: Option<StoreFile>,
    env: Option<BTreeMap<String, String>>,
}

keys! {
    HOST of Written {
        "cluster" => HostName, optional(cluster);
        "The cluster's name: the same on all its hosts."
        "name" => HostName, optional(name);
        "This host's name in it: another one on each host."
        "listen" => Listen, optional(listen);
        "Where the agents of other hosts connect to this one: \"tcp://0.0.0.0:7411\"; needs the keys of host.key. Without it \
         they are not connected with each other."
        "address" => Address, optional(address);
        "Where they find it, as HOST:PORT. Default: what `listen` names, where that is one address."
        "labels" => Labels, optional(labels);
        "What a tree's `placement` can require: { disk = \"ssd\" }."
        "lease" => Positive, optional(lease), default("\"15s\"");
        "So long after its last renewal another host may take over what runs here: 5s or more."
        "renew" => Positive, optional(renew);
        "How often the lease is renewed. Default: a fifth of it."
        "guard" => Positive, optional(guard);
        "So long before the lease ends everything exclusive is killed here. Default: lease / 7.5."
        "stop-before" => Duration, optional(stop_before);
        "So long before that it is asked to stop. Default: a fifth of the lease."
        "settle" => Positive, optional(settle), default("\"1m\"");
        "A host is preferred again once it has been sound for so long."
        "store" => Store, optional(store);
        "Where the cluster's records are kept."
        "env" => Environment, optional(env);
        "What everything that is started here inherits."
    }
}

shapes! {
    /// Where an agent listens.
    Listen: SocketAddr, listen, |at: &SocketAddr| string(&format!("tcp://{at}")),
        json!({ "type": "string", "pattern": "^tcp://.+:[0-9]+$" });
    /// The address at which other hosts reach it.
    Address: String, address, |at: &String| string(at), json!({ "type": "string", "pattern": "^.+:[0-9]+$" });
    /// The table of the store.
    Store: StoreFile, store, |of: &StoreFile| STORE_TABLE.show(of), table(&STORE_TABLE.rows());
}

/// Reads a host's file. `env` gives the values of `${VAR}`. A file that cannot be read is a diagnostic like any other.
pub fn read(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Read {
    let mut findings = Findings::default();
    let texts = Texts::new();
    let left = Cell::new(Some(Disk::REGULAR.files));
    // A host's file cannot include others, so a second file is refused.
    let none = || io::Error::new(io::ErrorKind::Unsupported, "the file of a host includes no others");
    let files = |path: &Path| left.take().map_or_else(|| Err(none()), |read| read(path));
    let disk = Disk { files: &files, matching: &|_, _| Err(none()), env_files: &files, elsewhere: false };
    let overlay = Overlay::load(file, env, disk, &texts, &mut findings);
    let host = overlay.top().and_then(|top| {
        let judging = !overlay.broken;
        Reader { scope: Scope { findings: &mut findings, env, judging, copy: None, numbered: false } }.host(top)
    });
    let host = host.filter(|_| !findings.has_errors());
    Read { host, diagnostics: findings.finish().0 }
}

struct Reader<'a> {
    scope: Scope<'a>,
}

impl Reader<'_> {
    fn host(&mut self, top: Layer<'_>) -> Option<HostFile> {
        let top = Layer { kind: None, ..top };
        let known: Vec<_> = rows(HOST).iter().map(|row| row.name()).collect();
        refuse_others(&mut self.scope, top, &known, "the file of a host", not_yet);
        let mut fields = Fields::new(vec![top], "");
        let mut written = Written::default();
        fields.fill(&mut self.scope, None, HOST, &mut written);
        let place = top.keys().map(|(_, place)| place).min_by_key(|place| place.start());
        let place = place.unwrap_or(Place::new(top.file, 0..0));
        for (key, right) in [
            ("cluster", "cluster = \"shop\": the same on all hosts"),
            ("name", "name = \"a\": another one on each host"),
            ("store", "[store] with endpoints = [\"https://10.0.0.1:2379\"]"),
        ] {
            if !top.has(key) {
                self.scope.judge(
                    Finding::error("missing-key", place, format!("{} is missing", quoted(key)))
                        .hint(format!("write {right}")),
                );
            }
        }
        self.env(&written, &fields);
        let mesh = self.mesh(&written, &fields);
        let runs = written.store.as_ref().is_some_and(|store| store.run == Some(true));
        if let (true, None, Some(place)) = (runs, written.listen, fields.meant("store")) {
            self.scope.judge(
                Finding::error("missing-key", place, "`listen` is missing: other hosts reach the member of the store that `run` asks for at this one's address")
                    .hint("write listen = \"tcp://0.0.0.0:7411\" and address = \"10.0.0.1:7411\""),
            );
        }
        let times = self.times(&written, &fields);
        let [lease, renew, guard, stop_before, settle] = times;
        Some(HostFile {
            cluster: written.cluster?,
            name: written.name?,
            mesh,
            labels: written.labels.unwrap_or_default(),
            lease,
            renew,
            guard,
            stop_before,
            settle,
            store: written.store?,
            env: written.env.unwrap_or_default(),
        })
    }

    /// The times of the lease: lease, renew, guard, stop-before, settle. They are checked against the bounds within
    /// which two hosts never run the same tree, and one lost answer of the store has no effect.
    fn times(&mut self, written: &Written, fields: &Fields<'_>) -> [Span; 5] {
        let lease = written.lease.unwrap_or(Span::from_secs(15));
        let guard = written.guard.unwrap_or(part(lease.times(2), 15).max(Span::from_millis(500)));
        let stop_before = written.stop_before.unwrap_or(part(lease, 5));
        let renew = written.renew.unwrap_or(part(lease, 5));
        let settle = written.settle.unwrap_or(Span::from_secs(60).max(lease.times(2)));
        let mut wrong = |keys: &[&str], message: String, hint: String| {
            if let Some(place) = keys.iter().find_map(|key| fields.meant(key)) {
                self.scope.judge(Finding::error("bad-value", place, message).hint(hint));
            }
        };
        if lease < LEASE_MIN {
            wrong(
                &["lease"],
                format!("a lease of {lease} is too short"),
                format!("write {LEASE_MIN} or more: an election of the store takes one or two seconds"),
            );
        }
        if renew < RENEW_MIN {
            wrong(
                &["renew", "lease"],
                format!("a renewal every {} is too often", renew.decimal()),
                format!("write {RENEW_MIN} or more: a member of the store has a third of it to answer"),
            );
        }
        let least = part(lease, 20) + Span::from_millis(300);
        if guard < least {
            wrong(
                &["guard"],
                format!("a guard of {guard} is too short for a lease of {lease}"),
                format!("write {} or more: clocks differ, and a kill takes its time", least.decimal()),
            );
        }
        let left = part(lease - guard - stop_before, 3);
        if renew > left {
            let hint = format!(
                "lease, less `guard` ({}) and `stop-before` ({}), must hold three renewals: renew = \"{}\" or less",
                guard.decimal(),
                stop_before.decimal(),
                Span::from_millis(left.as_millis()).decimal()
            );
            let keys = ["renew", "stop-before", "guard", "lease"];
            wrong(&keys, format!("a renewal every {} is too seldom for a lease of {lease}", renew.decimal()), hint);
        }
        if settle < lease.times(2) {
            wrong(
                &["settle"],
                format!("to settle for {settle} is too short for a lease of {lease}"),
                format!("write {} or more, twice the lease", lease.times(2)),
            );
        }
        [lease, renew, guard, stop_before, settle]
    }

    /// How other hosts reach this one.
    fn mesh(&mut self, written: &Written, fields: &Fields<'_>) -> Option<MeshFile> {
        let Some(listen) = written.listen else {
            if let Some(place) = fields.meant("address") {
                self.scope.judge(
                    Finding::error("missing-key", place, "`listen` is missing: nothing is at this address")
                        .hint("write listen = \"tcp://0.0.0.0:7411\", or remove the line"),
                );
            }
            return None;
        };
        let place = fields.meant("listen")?;
        if written.address.is_none() && listen.ip().is_unspecified() {
            self.scope.judge(
                Finding::error(
                    "missing-key",
                    place,
                    "`address` is missing: all addresses of this machine are none for others",
                )
                .hint(format!("write address = \"10.0.0.1:{}\", where the other hosts find this one", listen.port())),
            );
            return None;
        }
        let address = written.address.clone().unwrap_or_else(|| listen.to_string());
        Some(MeshFile { listen: format!("tcp://{listen}"), address })
    }

    fn env(&mut self, written: &Written, fields: &Fields<'_>) {
        let own = written.env.iter().flatten().map(|(name, _)| name).find(|name| name.starts_with("TREEVISOR_"));
        if let (Some(name), Some(place)) = (own, fields.meant("env")) {
            let message = format!("{} is set by treevisor itself", quoted(name));
            self.scope.judge(Finding::error("reserved-variable", place, message).hint("remove it"));
        }
    }
}

/// A span divided by `number`.
fn part(span: Span, number: u64) -> Span {
    Span::from_nanos(span.as_nanos() / number)
}

/// Keys that are planned and not supported yet: they get a message of their own.
fn not_yet(key: &str) -> Option<&'static str> {
    Some(match key {
        "watchdog" => "a hardware watchdog is not fed yet; remove the line",
        "endpoints" | "kind" | "ca" | "cert" | "key" => "it belongs into the table [store]",
        _ => return None,
    })
}

fn listen(scope: &mut Scope<'_>, value: Value<'_>) -> Option<SocketAddr> {
    let text = scope.filled(value)?;
    let parsed = text.strip_prefix("tcp://").and_then(|rest| rest.parse::<SocketAddr>().ok());
    let found = parsed.filter(|at| at.port() > 0);
    if found.is_none() {
        let hint = "write \"tcp://0.0.0.0:7411\", or one address of this machine and a port: \"tcp://10.0.0.1:7411\"";
        scope.bad_value(value, format!("{} is no place to listen at", quoted(&text)), hint);
    }
    found
}

fn address(scope: &mut Scope<'_>, value: Value<'_>) -> Option<String> {
    let text = scope.filled(value)?;
    let with_port = url(&format!("https://{text}")).is_some() && text.rsplit(':').next().is_some_and(is_port);
    let is_specific = !text.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_unspecified());
    if with_port && is_specific && !text.ends_with('/') {
        return Some(text);
    }
    scope.bad_value(
        value,
        format!("{} is no address of a host", quoted(&text)),
        "write \"10.0.0.1:7411\" or \"NAME:7411\": where the other hosts find this one",
    );
    None
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

pub mod member;
pub mod new;
mod store;

#[cfg(test)]
mod tests;
