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

/// The same where hosts are away.
const AWAY: &str = "start them, or take away what is gone for good: `treevisor host remove NAME`";

const DONE: &str = "the cluster signs by another key; nothing that was certified by the former one is taken any more";

/// A second key of this host, which it takes as well from now on; or none.
pub(in crate::host) fn with(place: &Path, keys: &Keys, also: Option<SigningKey>) -> Result<Keys, String> {
    put(place, keys, Keys { also, ..keys.clone() })
}

/// The keys of this host with a certificate by its second signing key, which is its first from now on.
pub(in crate::host) fn certified(host: &HostFile, place: &Path, keys: &Keys, way: Way<'_>) -> Result<Keys, String> {
    let also = keys.also.clone().ok_or("it has no other key to sign by")?;
    let mut store = Cell::open(host, &keys.signers(), way).map_err(|failed| failed.message)?;
    let serial = store.change(&keys.signers(), |cluster| issue(&host.name, cluster));
    let cert = serial.and_then(|serial| certificate(&host.cluster, &host.name, serial, &also, &keys.curve.public));
    let cert = cert.map_err(|failed| failed.message)?;
    let others = Keys { signing: also, also: Some(keys.signing.clone()), cert, ..keys.clone() };
    // All members take it by now, and it is shown with the next connection.
    if let Some(at) = host.member() {
        etcd::certify(&at, &others.signers()).map_err(|error| Chain(&*error).to_string())?;
    }
    put(place, keys, others)
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

/// The agent, which has `keys`, has these from now on.
fn put(place: &Path, keys: &Keys, others: Keys) -> Result<Keys, String> {
    let there = Keys::read(place).map_err(|error| Chain(&error).to_string())?;
    if there.is_some_and(|there| there.curve != keys.curve) {
        return Err(format!("{} has another key pair of this host, which it is about to take over", place.display()));
    }
    written(place, &others).map_err(|failed| failed.message)?;
    Ok(others)
}

fn written(place: &Path, keys: &Keys) -> Result<(), Failed> {
    Aside::write(place, &keys.text(), 0o600)?.replace()
}

/// One step of the operator's command: the cluster is carried on where all hosts have come as far. With `begin` one is
/// begun where none is under way.
pub(super) fn renew(file: &Path, begin: bool, way: Way<'_>) -> Result<MemberTold, Failed> {
    let (host, own) = member(file)?;
    let signers = own.signers();
    let mut store = Cell::open(&host, &signers, way)?;
    let (version, cluster) = store.read_own(&signers)?;
    let hosts = store.hosts()?;
    let is_exposed = |key: &String| cluster.exposed.contains(key);
    let waiting = |line: Option<String>, hosts| Ok(MemberTold::Waiting { lines: line.into_iter().collect(), hosts });
    let draw = |store: &mut Cell, why: &str| {
        let others: Vec<String> = cluster.issued.keys().map(|name| called(name, &hosts)).collect();
        let line = format!("{why}; it goes to {}", others.join(", "));
        waiting(begun(store, file, version, &cluster, &host.name)?.then_some(line), Vec::new())
    };
    match advance(&cluster, &host.name, &signers.issuers(), |name| hosts.get(name)) {
        Advance::Write(next) => {
            let line = match next.former.is_empty() {
                true => "each host has a certificate by it: the former one is taken no more",
                false => "all hosts have it: each is certified by it now",
            };
            // Where it is lost, another command has carried it on, or a host was removed at this moment.
            let went_on = store.swap(Some(version), &next)?;
            waiting(went_on.then(|| line.to_owned()), Vec::new())
        }
        Advance::Draw if is_exposed(&cluster.next) => {
            draw(&mut store, "a host that was removed may have the key that was to come: another one is drawn")
        }
        Advance::Draw => draw(&mut store, "no host has the key that was to come: another one is drawn"),
        Advance::Wait(behind) if begin && !is_under_way(&cluster, &behind, &hosts) => Err(unseen(&behind, &hosts)),
        Advance::Wait(behind) => waiting(None, behind),
        Advance::Settled if begin || is_exposed(&cluster.issuer) => {
            are_live(&cluster, &hosts)?;
            draw(
                &mut store,
                match begin {
                    true => "another key is drawn to sign by",
                    false => "a host that was removed meanwhile may have that key: another one is drawn",
                },
            )
        }
        Advance::Settled => Ok(MemberTold::Done { lines: vec![DONE.to_owned()] }),
    }
}

/// Hosts do not show which keys they take, without which none can be replaced.
fn unseen(behind: &[String], hosts: &BTreeMap<String, Host>) -> Failed {
    let never: Vec<&str> = behind.iter().map(String::as_str).filter(|name| !hosts.contains_key(*name)).collect();
    let (which, what, right) = match never.as_slice() {
        [] => (behind.join(", "), "do not show which keys they take", RUNNING),
        never => (never.join(", "), "were never started", AWAY),
    };
    Failed::new(format!("all hosts have to be there for this, and these {what}: {which}")).hint(right)
}

/// All hosts renew their leases.
fn are_live(cluster: &Cluster, hosts: &BTreeMap<String, Host>) -> Result<(), Failed> {
    let is_away = |name: &&str| hosts.get(*name).is_none_or(|host| host.state != HostState::Live);
    let away: Vec<&str> = cluster.issued.keys().map(String::as_str).filter(is_away).collect();
    if away.is_empty() {
        return Ok(());
    }
    let message = format!("all hosts have to be there for this, and these are not: {}", away.join(", "));
    Err(Failed::new(message).hint(AWAY))
}

fn called(name: &str, hosts: &BTreeMap<String, Host>) -> String {
    match hosts.get(name).map(|host| host.address.as_str()) {
        None | Some("") => name.to_owned(),
        Some(address) => format!("{name} ({address})"),
    }
}

/// Whether hosts are behind because they are still at it.
fn is_under_way(cluster: &Cluster, behind: &[String], hosts: &BTreeMap<String, Host>) -> bool {
    let changes = !cluster.next.is_empty() || !cluster.former.is_empty();
    let is_at_it = |name: &String| hosts.get(name).is_some_and(|host| host.issuers.contains(&cluster.issuer));
    changes || behind.iter().all(is_at_it)
}

/// Draws a key, keeps it beside the present one, and has the cluster know of it. Not where the record is another one by
/// now: whether it was.
fn begun(store: &mut Cell, file: &Path, version: Version, cluster: &Cluster, name: &str) -> Result<bool, Failed> {
    let also = SigningKey::draw().map_err(|error| Failed::of(&error))?;
    let place = key_file(file);
    // What lies there as well may be the former one, which this host's agent has yet to drop. It may have changed its
    // keys since they were read.
    let (_, own) = member(file)?;
    let cluster = Cluster { next: also.issuer(), drawn_by: name.to_owned(), ..cluster.clone() };
    written(&place, &Keys { also: Some(also), ..own.clone() })?;
    let is_known = store.swap(Some(version), &cluster);
    if matches!(is_known, Ok(false)) {
        written(&place, &own)?;
    }
    is_known
}
