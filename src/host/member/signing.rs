//! Another key for the cluster to sign by. [`crate::hosts::renewal`] has the order in which it comes to the hosts: here
//! are the steps, those of a host and those of the operator's command.

use super::cell::{Cell, certificate, issue};
use super::failed::Failed;
use super::files::{Aside, member};
use crate::error::Chain;
use crate::host::etcd;
use crate::host::identity::{Keys, SigningKey, Trust, key_file, verify};
use crate::host::way::Way;
use crate::hosts::record::{Cluster, Host, HostState};
use crate::hosts::renewal::{Advance, advance};
use crate::spec::host::HostFile;
use crate::store::Version;
use crate::wire::member::MemberTold;
use std::collections::BTreeMap;
use std::path::Path;

/// What is right where a host does not show which keys it takes.
const RUNNING: &str = "a host has to run, with `listen` in its file and a version of treevisor that can do this: \
                       `treevisor hosts` shows them; one that is gone for good is taken away by \
                       `treevisor host remove NAME`";

const DONE: &str = "the cluster signs by another key; nothing that was certified by the former one is taken any more";

/// A second key of this host, which it takes as well from now on; or none.
pub(in crate::host) fn with(place: &Path, keys: &Keys, also: Option<SigningKey>) -> Result<Keys, String> {
    let keys = Keys { also, ..keys.clone() };
    written(place, &keys).map_err(|failed| failed.message)?;
    Ok(keys)
}

/// The keys of this host with a certificate by its second signing key, which is its first from now on.
pub(in crate::host) fn certified(host: &HostFile, place: &Path, keys: &Keys, way: Way<'_>) -> Result<Keys, String> {
    let also = keys.also.clone().ok_or("it has no other key to sign by")?;
    let mut store = Cell::open(host, &keys.signers(), way).map_err(|failed| failed.message)?;
    let serial = store.change(&keys.signers(), |cluster| issue(&host.name, cluster));
    let cert = serial.and_then(|serial| certificate(&host.cluster, &host.name, serial, &also, &keys.curve.public));
    let cert = cert.map_err(|failed| failed.message)?;
    let keys = Keys { signing: also, also: Some(keys.signing.clone()), cert, ..keys.clone() };
    // All members take it by now, and it is shown with the next connection.
    if let Some(at) = host.member() {
        etcd::certify(&at, &keys.signers()).map_err(|error| Chain(&*error).to_string())?;
    }
    written(place, &keys).map_err(|failed| failed.message)?;
    Ok(keys)
}

/// The keys of this host with its first signing key alone. Of its certificates that one is left which it has.
pub(in crate::host) fn alone(host: &HostFile, place: &Path, keys: &Keys, way: Way<'_>) -> Result<Keys, String> {
    let trust = Trust { cluster: &host.cluster, name: &host.name, issuers: &[*keys.signing.public()], revoked: &[] };
    if let Ok(own) = verify(&keys.cert, &trust) {
        let mut store = Cell::open(host, &keys.signers(), way).map_err(|failed| failed.message)?;
        let kept = store.change(&keys.signers(), |cluster| {
            if let Some(issued) = cluster.issued.get_mut(&host.name) {
                issued.retain(|serial| *serial >= own.serial);
            }
        });
        kept.map_err(|failed| failed.message)?;
    }
    with(place, keys, None)
}

fn written(place: &Path, keys: &Keys) -> Result<(), Failed> {
    Aside::write(place, &keys.text(), 0o600)?.replace()
}

/// One step of the operator's command: the cluster is carried on where all hosts have come as far. With `begin` one is
/// begun where none is under way.
pub(super) fn renew(file: &Path, begin: bool, way: Way<'_>) -> Result<MemberTold, Failed> {
    let (host, own) = member(file)?;
    let mut store = Cell::open(&host, &own.signers(), way)?;
    let (version, cluster) = store.read_own(&own.signers())?;
    let hosts = store.hosts()?;
    let went_on = |line: String| Ok(MemberTold::Waiting { lines: vec![line], hosts: Vec::new() });
    match advance(&cluster, |name| hosts.get(name)) {
        Advance::Write(next) => {
            swapped(&mut store, version, &next)?;
            went_on(match next.former.is_empty() {
                true => "each host has a certificate by it: the former one is taken no more".to_owned(),
                false => "all hosts have it: each is certified by it now".to_owned(),
            })
        }
        // What is to come is lost with the host that had it, and nothing is certified by it.
        Advance::Wait(_) if !cluster.next.is_empty() && is_lost(&cluster, &own, &hosts) => {
            begun(&mut store, file, own, version, &cluster)?;
            went_on("no host has the key that was to come: another one is drawn".to_owned())
        }
        Advance::Wait(behind) if begin && !is_under_way(&cluster, &behind, &hosts) => Err(Failed::new(format!(
            "all hosts have to be there for this, and of these it is not seen that they are: {}",
            behind.join(", ")
        ))
        .hint(RUNNING)),
        Advance::Wait(hosts) => Ok(MemberTold::Waiting { lines: Vec::new(), hosts }),
        Advance::Settled if begin => {
            let away: Vec<&str> = cluster
                .issued
                .keys()
                .filter(|name| hosts.get(*name).is_none_or(|host| host.state != HostState::Live))
                .map(String::as_str)
                .collect();
            if !away.is_empty() {
                let away = away.join(", ");
                return Err(Failed::new(format!("all hosts have to be there for this, and these are not: {away}"))
                    .hint("start them, or take away what is gone for good: `treevisor host remove NAME`"));
            }
            begun(&mut store, file, own, version, &cluster)?;
            let given: Vec<String> = cluster.issued.keys().map(|name| called(name, &hosts)).collect();
            went_on(format!("another key is drawn to sign by; it goes to {}", given.join(", ")))
        }
        Advance::Settled => Ok(MemberTold::Done { lines: vec![DONE.to_owned()] }),
    }
}

fn called(name: &str, hosts: &BTreeMap<String, Host>) -> String {
    match hosts.get(name).map(|host| host.address.as_str()) {
        None | Some("") => name.to_owned(),
        Some(address) => format!("{name} ({address})"),
    }
}

/// No host has the key that is to come: not this one, and none shows it. One that was removed gives it to none.
fn is_lost(cluster: &Cluster, own: &Keys, hosts: &BTreeMap<String, Host>) -> bool {
    let shown = |name: &String| hosts.get(name).is_some_and(|host| host.issuers.contains(&cluster.next));
    !own.signers().issuers().contains(&cluster.next) && !cluster.issued.keys().any(shown)
}

/// Whether hosts are behind because they are still at it.
fn is_under_way(cluster: &Cluster, behind: &[String], hosts: &BTreeMap<String, Host>) -> bool {
    let changes = !cluster.next.is_empty() || !cluster.former.is_empty();
    let is_at_it = |name: &String| hosts.get(name).is_some_and(|host| host.issuers.contains(&cluster.issuer));
    changes || behind.iter().all(is_at_it)
}

/// Draws a key, keeps it beside the present one, and has the cluster know of it.
fn begun(store: &mut Cell, file: &Path, own: Keys, version: Version, cluster: &Cluster) -> Result<(), Failed> {
    // What lies there may be the former one, which this host's agent has yet to drop.
    let also = SigningKey::draw().map_err(|error| Failed::of(&error))?;
    let next = also.issuer();
    written(&key_file(file), &Keys { also: Some(also), ..own })?;
    swapped(store, version, &Cluster { next, ..cluster.clone() })
}

fn swapped(store: &mut Cell, version: Version, cluster: &Cluster) -> Result<(), Failed> {
    if store.swap(Some(version), cluster)? {
        return Ok(());
    }
    Err(Failed::new("the record of the cluster was changed by another command at this moment").hint("try again"))
}
