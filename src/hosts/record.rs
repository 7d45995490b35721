//! The records of a cluster in its store: JSON of at most [`RECORD_MAX`] bytes, below `/treevisor/CLUSTER/`.
//!
//! A reader ignores unknown fields, and takes missing ones as their defaults, so that hosts of two versions read each
//! other's records. Times in records are for people, and never acted upon.

use crate::ids::{Name, Path};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How many characters of a digest a host's record has.
const DIGEST_SHOWN: usize = 16;

/// A bundle as a host's record lists it.
pub(super) fn listed(instance: &str, digest: &str) -> String {
    format!("{instance}/{}", digest.chars().take(DIGEST_SHOWN).collect::<String>())
}

/// The largest size of a record in bytes; a longer one counts as unreadable.
pub const RECORD_MAX: usize = 8 * 1024;

/// The largest number of characters of a note, so that the record stays within its limit.
const NOTE_MAX: usize = 200;

/// Cuts a text to the length of a note.
pub(super) fn note(text: &str) -> String {
    text.chars().take(NOTE_MAX).collect()
}

/// The version of a record in the store. Versions can only be compared for equality.
pub type Version = u64;

/// Labels of a host, or labels required of a host.
pub type Labels = BTreeMap<String, String>;

/// `host/NAME`: one host, and its lease.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The number of the epoch: grows each time the host begins to hold a lease anew.
    pub epoch: u64,
    /// Drawn anew for each write of the host itself, which recognizes by it which of its writes has arrived.
    pub seq: u64,
    /// Whether the epoch is in progress.
    pub state: HostState,
    /// D of this host in milliseconds: how long its record must be unchanged before others may declare it dead.
    pub ttl_ms: u64,
    /// `/proc/sys/kernel/random/boot_id`, or another value that differs between machines and between boots; and after a
    /// slash the id of the state directory, which differs only between machines.
    pub boot: String,
    /// The address at which its agent listens.
    pub address: String,
    /// Binds its name to its public key.
    pub cert: String,
    /// The public halves of the signing keys that everything on this host accepts; the first has signed its
    /// certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// Labels, which a placement can require.
    pub labels: Labels,
    /// The version of treevisor.
    pub version: String,
    /// The protocol version of its agent.
    pub protocol: u32,
    /// Whether it is drained: nothing new is placed there, and what is there leaves.
    pub draining: bool,
    /// Whether it has cgroups that can be killed with one write. Without, nothing is placed there.
    pub cgroup: bool,
    /// Whether it is a witness: it has a vote in the store, and nothing is placed there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub witness: bool,
    /// The number of claims that it holds.
    pub placed: u32,
    /// The host that has declared it dead; its own name if it has left in order.
    pub by: Option<String>,
    /// Whether it was not lost within the last `settle`: settled hosts are preferred.
    pub settled: bool,
    /// The bundles on its disk, each as `INSTANCE/` and the beginning of its digest; first those that a `want` names.
    pub bundles: Vec<String>,
    /// Instances whose root has given up there lately.
    pub tried: BTreeMap<String, Tried>,
    /// Why the host cannot be used fully, for people.
    pub note: Option<String>,
    /// An operator has asserted that it is off: nothing of this epoch runs any more, not even what needs no lease.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sworn: bool,
    /// The host was removed from the cluster: dead, and for good.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

impl Host {
    /// Whether the host is shown: one that was removed is not, once it is dead.
    pub fn is_shown(&self) -> bool {
        !(self.removed && self.state == HostState::Dead)
    }

    /// Whether nothing of this epoch runs there any more, by a lease or not: the host has left, was removed, or is off
    /// as an operator has asserted.
    pub fn is_empty(&self, name: &str) -> bool {
        self.state == HostState::Dead && (self.by.as_deref() == Some(name) || self.sworn || self.removed)
    }

    /// Whether the record lists this bundle of this instance.
    pub fn has_bundle(&self, instance: &str, digest: &str) -> bool {
        self.bundles.contains(&listed(instance, digest))
    }

    /// Whether the record lists this bundle, of any instance.
    pub fn has_digest(&self, digest: &str) -> bool {
        let of = |has: &String| has.split_once('/').is_some_and(|(instance, _)| *has == listed(instance, digest));
        self.bundles.iter().any(of)
    }

    /// Reads the record. An unreadable one counts as that of no host: dead, in no epoch.
    pub(super) fn of(value: &[u8]) -> Host {
        read(value).unwrap_or_default()
    }
}

/// Whether a host's epoch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// In progress, as far as is known.
    Live,
    /// Ended: nothing exclusive of this epoch runs any more. Also the default of a record without a state.
    #[default]
    Dead,
}

/// A failure of a root on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tried {
    /// The serial of the [`Want`] that it was started for; under another one it may be tried there again.
    pub serial: u64,
    /// Why it has given up.
    pub note: String,
}

/// `own/INSTANCE/PATH`: which host may run a subtree. Never deleted, so that its token only grows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ownership {
    /// The host that holds the claim, or held it last.
    pub host: String,
    /// The epoch of that host.
    pub epoch: u64,
    /// The fencing token: larger with each new owner.
    pub token: u64,
    /// Whether the claim is held.
    pub state: OwnState,
    /// Since when, in milliseconds since 1970, for people.
    pub since: u64,
    /// The token of the root that has placed the subtree; for a root its own.
    pub root_token: u64,
    /// For a placed subtree, the number of the order by which it was claimed, or of the one that had ended last when
    /// the claim was set free.
    pub run: u64,
    /// The digest of the bundle or spec that it was started from.
    pub digest: String,
    /// Whether it runs without a lease too. The claim then outlasts the host's lease and epoch: only its host sets it
    /// free, unless that has left, was removed, or is off as an operator has asserted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Why it was set free, if it was.
    pub freed: Option<ReleaseReason>,
    /// The reason as text, for people.
    pub note: Option<String>,
}

impl Ownership {
    /// Reads the record. An unreadable one counts as held, by no host, with no token, and so for ever: an operator has
    /// to resolve that.
    pub(super) fn of(value: &[u8]) -> Ownership {
        read(value).unwrap_or_default()
    }
}

/// Whether a claim is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnState {
    /// By its host in its epoch, unless that has ended. Also the default of a record without a state.
    #[default]
    Held,
    /// Nothing of it is left on the host that held it last.
    Free,
}

/// Why a claim was set free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseReason {
    /// The subtree was not wanted any more, or had ended by itself.
    Stopped,
    /// Its host was drained, or its agent was stopping.
    Drained,
    /// The root has given up on that host, or could not be started.
    GaveUp,
    /// The claim was made, but nothing was started by it.
    Unused,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// `want/INSTANCE`: the order of what is to run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Want {
    /// The digest of the deployed bundle.
    pub bundle: String,
    /// Grows with each order of an operator: a host on which the root gave up under an earlier one may try again.
    pub serial: u64,
    /// Whether it is to run.
    pub state: WantState,
    /// The host that wrote this last.
    pub by: String,
    /// When, in milliseconds since 1970: for people.
    pub at: u64,
    /// Where the root may run, from the top level of the bundle.
    pub placement: Placement,
    /// Why it is down, if no operator has ordered that.
    pub note: Option<String>,
}

/// Whether an instance is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WantState {
    /// On one of the hosts.
    Up,
    /// Stopped on all of them.
    #[default]
    Down,
}

/// Which hosts may run something, and which are preferred.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// The only hosts that may, in the order of preference. Empty: all hosts of the cluster, equally.
    pub hosts: Vec<Choice>,
    /// Labels that the host must have.
    pub require: Labels,
}

/// One rank of a [`Placement`]: `"a"`, or several equals, `["c", "d"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choice {
    /// Preferred to all hosts of later ranks.
    One(String),
    /// Several with the same preference.
    Equals(Vec<String>),
}

impl Placement {
    /// The rank of a host, 0 for the most preferred; `None`: it may not be used.
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

/// `cluster`: what the hosts of a cluster have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// As in the keys of all its records.
    pub name: String,
    /// When it was made, in milliseconds since 1970, for people.
    pub created: u64,
    /// The public half of the key that signs certificates.
    pub issuer: String,
    /// The public half of the next signing key, which signs once all hosts have it; empty while the key is not changed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// The host that has drawn the next key, from which the others get it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub drawn_by: String,
    /// The public half of the former signing key, which is accepted until all hosts have new certificates.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub former: String,
    /// The public halves of keys that removed hosts have had.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed: BTreeSet<String>,
    /// The highest serial of a certificate so far.
    pub serial: u64,
    /// The value of `serial` when `issuer` began to sign: certificates up to it are signed by former keys. `None`: not
    /// known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Serials of the revoked certificates.
    pub revoked: Vec<u64>,
    /// Serials of the certificates issued to each host that are not revoked.
    pub issued: BTreeMap<String, BTreeSet<u64>>,
    /// The hosts that run a member of the store; empty if it is run by other means.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<String>,
    /// How many hosts run a member of the store, beginning with the first; `None` means three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<usize>,
}

impl Cluster {
    /// How many hosts run a member of the store, beginning with the first.
    pub fn seats(&self) -> usize {
        self.seats.unwrap_or(3)
    }

    /// Removes a host. Returns the serials of its certificates, which are revoked. The signing keys are noted as
    /// exposed, as the host may have them.
    pub fn removes(&mut self, host: &str) -> BTreeSet<u64> {
        self.members.remove(host);
        let serials = self.issued.remove(host).unwrap_or_default();
        if !serials.is_empty() {
            self.revoked.extend(&serials);
            self.exposed.extend([&self.issuer, &self.next].into_iter().filter(|key| !key.is_empty()).cloned());
        }
        serials
    }

    /// The serial that was drawn for the first certificate of this host by the present signing key. To be asked before
    /// the host has that certificate: no other serial is drawn for it while the key is being replaced.
    pub fn drawn(&self, host: &str) -> Option<u64> {
        let since = self.since?;
        self.issued.get(host)?.last().copied().filter(|serial| *serial > since)
    }

    /// Forgets the revoked certificates by former keys. To be called when all hosts accept the present key alone.
    /// Returns whether there were any.
    pub fn forgets(&mut self) -> bool {
        let (before, since) = (self.revoked.len(), self.since.unwrap_or_default());
        self.revoked.retain(|serial| *serial > since);
        self.revoked.len() < before
    }
}

/// Why the value of a record cannot be read or written.
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
/// It is too long, or not JSON of this kind of record.
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

/// The key of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `host/NAME`
    Host(String),
    /// `own/INSTANCE/PATH`
    Own(ClaimKey),
    /// `want/INSTANCE`
    Want(String),
    /// `cluster`, the only one.
    Cluster,
}

/// The subject of a claim: a subtree of an instance. A path begins with a slash; that of the root is `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// Name of the instance, as it was deployed.
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

/// `shop/` for the root of shop, `shop/db` for a subtree.
impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.instance, self.path)
    }
}

/// The prefix of all keys of a cluster: `/treevisor/CLUSTER/`.
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

    /// Reads a key of this cluster; `None`: it is of no known kind.
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

/// Whether a host or an instance can have this name. Other keys are ignored, as names are also used for directories.
fn is_name(text: &str) -> bool {
    Name::parse(text).is_ok()
}

#[cfg(test)]
mod tests;
