//! Replacing the signing key of a cluster: the steps of a host, and those of the operator's command.
//! [`crate::hosts::renewal`] has their order.

use super::cell::{Cell, certificate, issue};
use super::failed::Failed;
use super::files::{Aside, member};
use crate::error::Chain;
use crate::host::etcd;
use crate::host::identity::{Keys, SigningKey, Trust, key_file, verify};
use crate::host::store_opener::StoreOpener;
use crate::hosts::record::{Cluster, Host, HostState};
use crate::hosts::renewal::{Advance, advance};
use crate::spec::host::HostFile;
use crate::store::Version;
use crate::wire::member::MemberReply;
use std::collections::BTreeMap;
use std::path::Path;

/// The hint where a host does not show which keys it accepts.
const RUNNING: &str = "a host has to run, with `listen` in its file and a version of treevisor that can do this: \
                       `treevisor hosts` shows them; one that is gone for good is taken away by \
                       `treevisor host remove NAME`";

/// The hint where hosts are away.
const AWAY: &str = "start them, or take away what is gone for good: `treevisor host remove NAME`";

const DONE: &str = "the cluster signs by another key; nothing that was certified by the former one is taken any more";

/// Writes the keys of this host with this second signing key, which is accepted from now on, or without one. Returns
/// them.
pub(in crate::host) fn with(place: &Path, keys: &Keys, also: Option<SigningKey>) -> Result<Keys, String> {
    put(place, keys, Keys { also, ..keys.clone() })
}

/// Certifies this host by its second signing key, which becomes its first. Returns the new keys.
pub(in crate::host) fn certified(
    host: &HostFile,
    place: &Path,
    keys: &Keys,
    opener: StoreOpener<'_>,
) -> Result<Keys, String> {
    let also = keys.also.clone().ok_or("it has no other key to sign by")?;
    let mut store = Cell::open(host, &keys.signers(), opener).map_err(|failed| failed.message)?;
    // A serial whose certificate could not be written is used again, since this is tried until it succeeds. The
    // certificate has the same text each time.
    let drawn = |cluster: &mut Cluster| cluster.drawn(&host.name).unwrap_or_else(|| issue(&host.name, cluster));
    let serial = store.change(&keys.signers(), drawn);
    let cert = serial.and_then(|serial| certificate(&host.cluster, &host.name, serial, &also, &keys.curve.public));
    let cert = cert.map_err(|failed| failed.message)?;
    let others = Keys { signing: also, also: Some(keys.signing.clone()), cert, ..keys.clone() };
    // All members accept this certificate by now; this host's member shows it from its next connection on.
    if let Some(at) = host.member() {
        etcd::certify(&at, &others.signers()).map_err(|error| Chain(&*error).to_string())?;
    }
    put(place, keys, others)
}

/// Drops the second signing key of this host, and the older ones of its certificates. Returns the new keys.
pub(in crate::host) fn alone(
    host: &HostFile,
    place: &Path,
    keys: &Keys,
    opener: StoreOpener<'_>,
) -> Result<Keys, String> {
    let trust = Trust { cluster: &host.cluster, name: &host.name, issuers: &[*keys.signing.public()], revoked: &[] };
    if let Ok(own) = verify(&keys.cert, &trust) {
        let mut store = Cell::open(host, &keys.signers(), opener).map_err(|failed| failed.message)?;
        let kept = store.change(&keys.signers(), |cluster| {
            if let Some(issued) = cluster.issued.get_mut(&host.name) {
                issued.retain(|serial| *serial >= own.serial);
            }
        });
        kept.map_err(|failed| failed.message)?;
    }
    with(place, keys, None)
}

/// Writes the keys `others`, which replace `keys`. Refused where the file has another key pair by now.
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

/// One step of the operator's command: moves the record of the cluster on where all hosts have completed the last step.
/// With `begin`, a change of keys is begun where none is in progress.
pub(super) fn renew(file: &Path, begin: bool, opener: StoreOpener<'_>) -> Result<MemberReply, Failed> {
    let (host, own) = member(file)?;
    let signers = own.signers();
    let mut store = Cell::open(&host, &signers, opener)?;
    let (version, cluster) = store.read_own(&signers)?;
    let hosts = store.hosts()?;
    let is_exposed = |key: &String| cluster.exposed.contains(key);
    let waiting = |line: Option<String>, hosts| Ok(MemberReply::Waiting { lines: line.into_iter().collect(), hosts });
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
            // A lost swap means that another command has moved the record on, or that a host was removed at this
            // moment.
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
        Advance::Settled => {
            let mut next = cluster.clone();
            if next.forgets() && !store.swap(Some(version), &next)? {
                return waiting(None, Vec::new());
            }
            Ok(MemberReply::Done { lines: vec![DONE.to_owned()] })
        }
    }
}

/// The error where hosts do not show which keys they accept: the key cannot be replaced then.
fn unseen(behind: &[String], hosts: &BTreeMap<String, Host>) -> Failed {
    let never: Vec<&str> = behind.iter().map(String::as_str).filter(|name| !hosts.contains_key(*name)).collect();
    let (which, what, right) = match never.as_slice() {
        [] => (behind.join(", "), "do not show which keys they take", RUNNING),
        never => (never.join(", "), "were never started", AWAY),
    };
    Failed::new(format!("all hosts have to be there for this, and these {what}: {which}")).hint(right)
}

/// Checks that all hosts renew their leases.
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

/// Whether hosts are behind because the change is still in progress.
fn is_under_way(cluster: &Cluster, behind: &[String], hosts: &BTreeMap<String, Host>) -> bool {
    let changes = !cluster.next.is_empty() || !cluster.former.is_empty();
    let is_at_it = |name: &String| hosts.get(name).is_some_and(|host| host.issuers.contains(&cluster.issuer));
    changes || behind.iter().all(is_at_it)
}

/// Draws a signing key, keeps it in this host's file besides the present one, and announces it in the cluster's record.
/// Returns `false` where the record was changed meanwhile; the file is restored then.
fn begun(store: &mut Cell, file: &Path, version: Version, cluster: &Cluster, name: &str) -> Result<bool, Failed> {
    let also = SigningKey::draw().map_err(|error| Failed::of(&error))?;
    let place = key_file(file);
    // The file is read again: a second key in it may be the former one, which this host's agent has not dropped yet,
    // and the agent may have changed its keys since they were read.
    let (_, own) = member(file)?;
    let cluster = Cluster { next: also.issuer(), drawn_by: name.to_owned(), ..cluster.clone() };
    written(&place, &Keys { also: Some(also), ..own.clone() })?;
    let is_known = store.swap(Some(version), &cluster);
    if matches!(is_known, Ok(false)) {
        written(&place, &own)?;
    }
    is_known
}
