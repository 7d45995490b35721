//! The records of a cluster, as they stand in its store: JSON of at most [`RECORD_MAX`] bytes below
//! `/treevisor/CLUSTER/`.
//!
//! A reader passes over members that it does not know, and takes those that are missing as their defaults, so that
//! hosts of two versions read each other's records. No time in a record is acted upon: those that are there are for
//! people.

use crate::ids::{Name, Path};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// So much of a digest stands in a host's record.
const DIGEST_SHOWN: usize = 16;

/// How a host's record lists a bundle.
pub(super) fn listed(instance: &str, digest: &str) -> String {
    format!("{instance}/{}", digest.chars().take(DIGEST_SHOWN).collect::<String>())
}

/// No record is longer; one that is counts as unreadable.
pub const RECORD_MAX: usize = 8 * 1024;

/// A note in a record has so many characters at most, so that the record keeps within its limit.
const NOTE_MAX: usize = 200;

/// A text as a record can bear it.
pub(super) fn note(text: &str) -> String {
    text.chars().take(NOTE_MAX).collect()
}

/// What the store calls a record's version. Two are equal or not; nothing else is known of them.
pub type Version = u64;

/// Labels of a host, and those that are required of one.
pub type Labels = BTreeMap<String, String>;

/// `host/NAME`: one host, and its lease.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Which life of the host in the cluster this is.
    pub epoch: u64,
    /// Drawn anew for each write of its own: by it a host finds out which of its attempts has arrived.
    pub seq: u64,
    /// Whether the epoch goes on.
    pub state: HostState,
    /// D of this host: so long its record must stand unchanged before others may declare it dead.
    pub ttl_ms: u64,
    /// Of `/proc/sys/kernel/random/boot_id`, or what else differs from machine to machine and from boot to boot.
    pub boot: String,
    /// Where its agent listens.
    pub address: String,
    /// Its certificate.
    pub cert: String,
    /// The public halves of the signing keys that it takes, in all that it runs; its own certificate is by the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// What can be required of it.
    pub labels: Labels,
    /// The version of its program.
    pub version: String,
    /// The protocol of its agent.
    pub protocol: u32,
    /// Nothing new is placed there, and what is there leaves.
    pub draining: bool,
    /// It has cgroups that can be killed with one write. Without, nothing exclusive is placed there.
    pub cgroup: bool,
    /// It has a vote in the store, and nothing is placed there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub witness: bool,
    /// How many claims it holds.
    pub placed: u32,
    /// By which host it was declared dead; its own name where it has left in order.
    pub by: Option<String>,
    /// It was not lost within the last `settle`: hosts of which that is true are preferred.
    pub settled: bool,
    /// Bundles that are on its disk, each as `INSTANCE/` and the beginning of its digest, those that some `want` names
    /// before others.
    pub bundles: Vec<String>,
    /// Instances whose root has lately given up there.
    pub tried: BTreeMap<String, Tried>,
    /// What keeps it from being of use, for people.
    pub note: Option<String>,
    /// An operator has sworn that it is off: of this epoch not even what needs no lease runs any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sworn: bool,
    /// It is no host of the cluster any more: dead, and for good.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

impl Host {
    /// Whether it is to be shown: of one that was removed it counts alone that it is dead.
    pub fn is_shown(&self) -> bool {
        !(self.removed && self.state == HostState::Dead)
    }

    /// Whether nothing runs there any more of this epoch of it, by a lease or not: it has left, was removed, or is off
    /// by the word of an operator.
    pub(super) fn is_empty(&self, name: &str) -> bool {
        self.state == HostState::Dead && (self.by.as_deref() == Some(name) || self.sworn || self.removed)
    }

    /// Whether it shows that it has this bundle of this instance.
    pub fn has_bundle(&self, instance: &str, digest: &str) -> bool {
        self.bundles.contains(&listed(instance, digest))
    }

    /// The same, as whichever instance.
    pub fn has_digest(&self, digest: &str) -> bool {
        let of = |has: &String| has.split_once('/').is_some_and(|(instance, _)| *has == listed(instance, digest));
        self.bundles.iter().any(of)
    }

    /// The record in a value. One that cannot be read is that of no host: dead, in no epoch.
    pub(super) fn of(value: &[u8]) -> Host {
        read(value).unwrap_or_default()
    }
}

/// Whether a host's epoch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// As far as is known.
    Live,
    /// It is over: nothing exclusive of this epoch runs any more. What a record without a state means, too: that of no
    /// host.
    #[default]
    Dead,
}

/// A root has given up on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tried {
    /// The serial of the [`Want`] that it was started for; with another one the host is free to try again.
    pub serial: u64,
    /// Why it has ended.
    pub note: String,
}

/// `own/INSTANCE/PATH`: on which host a subtree may run. Never deleted, so that its token only grows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// The host that holds it, or held it last.
    pub host: String,
    /// In which of that host's epochs.
    pub epoch: u64,
    /// Larger with each new owner.
    pub token: u64,
    /// Whether it is held.
    pub state: OwnState,
    /// Since when, in milliseconds since 1970: for people.
    pub since: u64,
    /// The token of the root that has placed it; of a root its own.
    pub root_token: u64,
    /// Of a placed subtree: the number of the order by which it was claimed, or that has ended last before it was set
    /// free.
    pub run: u64,
    /// The bundle that it was started from.
    pub digest: String,
    /// It runs there without a lease too, so that neither the end of that one nor a later epoch ends the claim: its
    /// host sets it free, unless it has left, was removed, or an operator has sworn that it is off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Why it was set free, where it was.
    pub freed: Option<Freed>,
    /// The same for people.
    pub note: Option<String>,
}

impl Own {
    /// The record in a value. One that cannot be read is held, by no host and so for ever, with no token: it is for an
    /// operator.
    pub(super) fn of(value: &[u8]) -> Own {
        read(value).unwrap_or_default()
    }
}

/// Whether a claim is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnState {
    /// By its host in its epoch, unless that is over. What a record without a state means, too.
    #[default]
    Held,
    /// Nothing of it is left on the host that held it last.
    Free,
}

/// Why a claim was set free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freed {
    /// It was no longer wanted, or has ended by itself.
    Stopped,
    /// Its host was to be empty, or to end.
    Drained,
    /// It has given up there, or could not be started.
    GaveUp,
    /// It was claimed, but never started.
    Unused,
    /// For a reason of a later version.
    #[serde(other)]
    Other,
}

/// `want/INSTANCE`: what is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Want {
    /// The digest of the bundle.
    pub bundle: String,
    /// Larger with each order of an operator: a host on which the root gave up under an earlier one may try again.
    pub serial: u64,
    /// Whether it is to run.
    pub state: WantState,
    /// The host that wrote this last.
    pub by: String,
    /// When, in milliseconds since 1970: for people.
    pub at: u64,
    /// Where the root may run, from the top level of the bundle.
    pub placement: Placement,
    /// Why it is down, where no operator has ordered it.
    pub note: Option<String>,
}

/// Whether an instance is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WantState {
    /// On one of the hosts.
    Up,
    /// On none.
    #[default]
    Down,
}

/// On which hosts something may run, and where rather.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// These only, the first rather than the second. Empty: all of the cluster, alike.
    pub hosts: Vec<Choice>,
    /// Labels that the host must have.
    pub require: Labels,
}

/// One rank of a [`Placement`]: `"a"`, or equals, `["c", "d"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choice {
    /// One host.
    One(String),
    /// Several that are as good as each other.
    Equals(Vec<String>),
}

impl Placement {
    /// At which rank a host stands; `None` where it may not be used.
    pub fn rank(&self, host: &str) -> Option<usize> {
        if self.hosts.is_empty() {
            return Some(0);
        }
        self.hosts.iter().position(|choice| match choice {
            Choice::One(name) => name == host,
            Choice::Equals(names) => names.iter().any(|name| name == host),
        })
    }
}

/// `cluster`: what the hosts have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970: for people.
    pub created: u64,
    /// The public half of the key that signs certificates.
    pub issuer: String,
    /// That of the key which is to sign them when all hosts have it; empty where it does not change.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// The host that has drawn that one: the others get it from there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub drawn_by: String,
    /// That of the key which has signed them before, and is taken until all hosts have other certificates.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub former: String,
    /// Those of all these which a host has that was removed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed: BTreeSet<String>,
    /// The highest serial of a certificate so far.
    pub serial: u64,
    /// Serials of certificates that are no longer taken.
    pub revoked: Vec<u64>,
    /// Serials of those that were issued to a host, by its name, and not revoked.
    pub issued: BTreeMap<String, BTreeSet<u64>>,
    /// Hosts that run a member of the store; none where it is run by other means.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<String>,
    /// So many hosts run one, the first ones; none means three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<usize>,
}

impl Cluster {
    /// How many hosts run a member of the store: the first ones of the cluster.
    pub fn seats(&self) -> usize {
        self.seats.unwrap_or(3)
    }

    /// The host is one no more: the serials of its certificates, which are revoked. It may have each key that signs, or
    /// is to sign.
    pub fn removes(&mut self, host: &str) -> BTreeSet<u64> {
        self.members.remove(host);
        let serials = self.issued.remove(host).unwrap_or_default();
        if !serials.is_empty() {
            self.revoked.extend(&serials);
            self.exposed.extend([&self.issuer, &self.next].into_iter().filter(|key| !key.is_empty()).cloned());
        }
        serials
    }
}

/// Why the value of a record is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError(String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

/// Reads a record's value.
///
/// # Errors
/// It is too long, or not the JSON of such a record.
pub fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, RecordError> {
    fits(value.len())?;
    serde_json::from_slice(value).map_err(|error| RecordError(format!("the record cannot be read: {error}")))
}

/// Writes a record's value.
///
/// # Errors
/// It would be too long.
pub fn write<T: Serialize>(record: &T) -> Result<Vec<u8>, RecordError> {
    let value = serde_json::to_vec(record)
        .map_err(|error| RecordError(format!("the record cannot be written as JSON: {error}")))?;
    fits(value.len())?;
    Ok(value)
}

fn fits(length: usize) -> Result<(), RecordError> {
    if length > RECORD_MAX {
        return Err(RecordError(format!("the record has {length} bytes; a record has {RECORD_MAX} at most")));
    }
    Ok(())
}

/// Which record a key names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `host/NAME`
    Host(String),
    /// `own/INSTANCE/PATH`
    Own(ClaimKey),
    /// `want/INSTANCE`
    Want(String),
    /// `cluster`
    Cluster,
}

/// What a claim is about: a subtree of an instance. A path begins with a slash, and that of the root is `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// The instance.
    pub instance: String,
    /// The path of the subtree in it.
    pub path: String,
}

impl ClaimKey {
    /// The claim of an instance's root.
    pub fn root(instance: &str) -> ClaimKey {
        ClaimKey { instance: instance.to_owned(), path: "/".to_owned() }
    }
}

/// `shop/` of the root of shop, `shop/db` of what stands below.
impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.instance, self.path)
    }
}

/// What all keys of a cluster begin with: `/treevisor/CLUSTER/`.
pub fn prefix(cluster: &str) -> String {
    format!("/treevisor/{cluster}/")
}

impl Key {
    /// The key in the store.
    pub fn in_store(&self, cluster: &str) -> String {
        let prefix = prefix(cluster);
        match self {
            Key::Host(name) => format!("{prefix}host/{name}"),
            Key::Own(ClaimKey { instance, path }) => format!("{prefix}own/{instance}/{path}"),
            Key::Want(instance) => format!("{prefix}want/{instance}"),
            Key::Cluster => format!("{prefix}cluster"),
        }
    }

    /// Which record of the cluster this is; `None` if it is none that is known.
    pub fn parse(cluster: &str, key: &str) -> Option<Key> {
        let rest = key.strip_prefix(&prefix(cluster))?;
        let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
        match kind {
            "cluster" if rest == "cluster" => Some(Key::Cluster),
            "host" if is_name(name) => Some(Key::Host(name.to_owned())),
            "want" if is_name(name) => Some(Key::Want(name.to_owned())),
            "own" => {
                let (instance, path) = name.split_once('/')?;
                let known = is_name(instance) && Path::parse(path).is_ok_and(|read| read.as_str() == path);
                known.then(|| Key::Own(ClaimKey { instance: instance.to_owned(), path: path.to_owned() }))
            }
            _ => None,
        }
    }
}

/// Whether a host or an instance can have this name. What else stands in a store is not looked at: directories are
/// named so.
fn is_name(text: &str) -> bool {
    Name::parse(text).is_ok()
}

#[cfg(test)]
mod tests;
