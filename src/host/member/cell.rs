//! The record of a cluster in the store, and the certificates whose serials it counts.

use super::failed::Failed;
use crate::host::identity::{Certificate, Signers, SigningKey};
use crate::host::store_opener::StoreOpener;
use crate::hosts::record::{self, ClaimKey, Cluster, Host, HostState, Key, OwnState, Ownership};
use crate::link::PublicKey;
use crate::spec::host::{HostFile, is_host_name};
use crate::store::{self, Answer, Ask, Store, Version};
use crate::time::Span;
use std::collections::BTreeMap;

/// Limit for an answer of the store.
pub(super) const ANSWER: Span = Span::from_secs(5);

/// Bytes of the cluster's record that are kept free for the replacement of the signing key, which makes room.
const ROOM: usize = 1024;

/// How often another writer may change the record first before the command fails.
const TRIES: u32 = 10;

/// The records of one cluster.
pub(super) struct Cell {
    pub(super) store: Box<dyn Store>,
    pub(super) cluster: String,
}

impl Cell {
    pub(super) fn open(host: &HostFile, signers: &Signers, opener: StoreOpener<'_>) -> Result<Cell, Failed> {
        let store = opener(host, signers).map_err(|error| Failed::new(error.to_string()))?;
        Ok(Cell { store, cluster: host.cluster.clone() })
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        self.store.ask(ask, ANSWER)
    }

    /// The record with this key.
    fn one(&mut self, key: &Key) -> Result<Option<(Version, Vec<u8>)>, Failed> {
        let key = key.in_store(&self.cluster);
        match self.ask(&Ask::Read { prefix: key.clone() }) {
            Answer::Records(all) => {
                Ok(all.into_iter().find(|record| record.key == key).map(|record| (record.version, record.value)))
            }
            answer => Err(no_answer(answer)),
        }
    }

    pub(super) fn read(&mut self) -> Result<Option<(Version, Cluster)>, Failed> {
        let found = self.one(&Key::Cluster)?;
        let read = |(version, value): (Version, Vec<u8>)| Ok((version, record::read(&value)?));
        found.map(read).transpose().map_err(|error: record::RecordError| Failed::of(&error))
    }

    pub(super) fn host(&mut self, name: &str) -> Result<Option<Host>, Failed> {
        let found = self.one(&Key::Host(name.to_owned()))?;
        found.map(|(_, value)| record::read(&value)).transpose().map_err(|error| Failed::of(&error))
    }

    /// The record of a host, and the claims of pinned subtrees that it holds. Both are from one read, so no claim is
    /// missing that the host has made before that record.
    pub(super) fn host_with_pinned(&mut self, name: &str) -> Result<(Option<Host>, Vec<ClaimKey>), Failed> {
        let (mut host, mut pinned) = (None, Vec::new());
        for record in self.all()? {
            match Key::parse(&self.cluster, &record.key) {
                Some(Key::Host(of)) if of == name => {
                    host = Some(record::read(&record.value).map_err(|error| Failed::of(&error))?);
                }
                Some(Key::Own(key)) => {
                    let own = record::read::<Ownership>(&record.value).unwrap_or_default();
                    if own.pinned && own.state == OwnState::Held && own.host == name {
                        pinned.push(key);
                    }
                }
                _ => {}
            }
        }
        Ok((host, pinned))
    }

    /// Marks the record of a dead host as removed, if it has one.
    pub(super) fn mark_removed(&mut self, name: &str) -> Result<(), Failed> {
        let key = Key::Host(name.to_owned());
        for _ in 0..TRIES {
            let Some((version, value)) = self.one(&key)? else { return Ok(()) };
            let found: Host = record::read(&value).map_err(|error| Failed::of(&error))?;
            if found.state != HostState::Dead || found.removed {
                return Ok(());
            }
            let new = record::write(&Host { removed: true, ..found }).map_err(|error| Failed::of(&error))?;
            // A write whose outcome is unknown is seen at the next read.
            self.ask(&Ask::Swap { key: key.in_store(&self.cluster), expected: Some(version), new });
        }
        Err(Failed::new(format!("the record of {name} is changed by others all the time")).hint("try again"))
    }

    /// The records of all hosts that the cluster has ever had, by name. An unreadable record counts as an empty one.
    pub(super) fn hosts(&mut self) -> Result<BTreeMap<String, Host>, Failed> {
        let all = self.all()?;
        let host = |record: store::Record| match Key::parse(&self.cluster, &record.key) {
            Some(Key::Host(name)) => Some((name, record::read(&record.value).unwrap_or_default())),
            _ => None,
        };
        Ok(all.into_iter().filter_map(host).collect())
    }

    /// All records of the cluster.
    fn all(&mut self) -> Result<Vec<store::Record>, Failed> {
        match self.ask(&Ask::Read { prefix: record::prefix(&self.cluster) }) {
            Answer::Records(all) => Ok(all),
            answer => Err(no_answer(answer)),
        }
    }

    /// Writes the record of the cluster if it still has this version. Returns whether it was written.
    pub(super) fn swap(&mut self, expected: Option<Version>, cluster: &Cluster) -> Result<bool, Failed> {
        let new = record::write(cluster).map_err(|error| Failed::of(&error))?;
        let key = Key::Cluster.in_store(&self.cluster);
        match self.ask(&Ask::Swap { key, expected, new }) {
            Answer::Done(_) => Ok(true),
            Answer::Lost(_) | Answer::Unknown(_) => {
                // The swap may have been carried out all the same: one that was sent twice is lost to its own first
                // write.
                Ok(self.read()?.is_some_and(|(_, found)| found == *cluster))
            }
            answer => Err(no_answer(answer)),
        }
    }

    /// Reads the record of the cluster, which must have been issued by one of these keys.
    pub(super) fn read_own(&mut self, signers: &Signers) -> Result<(Version, Cluster), Failed> {
        let Some((version, cluster)) = self.read()? else {
            return Err(Failed::new(format!("the store has no record of the cluster {}", self.cluster))
                .hint("`treevisor host init` writes it, on the first host"));
        };
        if !signers.issuers().contains(&cluster.issuer) {
            return Err(Failed::new(format!("the keys of this host are not those of the cluster {}", self.cluster))
                .hint("it was made by another `host init`, or this host was away during a `host rotate --cluster`"));
        }
        Ok((version, cluster))
    }

    /// Changes the record of the cluster, which must have been issued by one of these keys. `change` may be called
    /// repeatedly.
    pub(super) fn change<T>(
        &mut self,
        signers: &Signers,
        mut change: impl FnMut(&mut Cluster) -> T,
    ) -> Result<T, Failed> {
        for _ in 0..TRIES {
            let (version, mut cluster) = self.read_own(signers)?;
            let before = cluster.clone();
            let done = change(&mut cluster);
            if cluster == before || self.swap(Some(version), &cluster)? {
                return Ok(done);
            }
        }
        Err(Failed::new("the record of the cluster is changed by others all the time").hint("try again"))
    }
}

fn no_answer(answer: Answer) -> Failed {
    let why = match answer {
        Answer::Unknown(why) => why,
        _ => "it has answered something else".into(),
    };
    Failed::new(format!("the store does not answer: {why}"))
}

/// Checks the name of a host, by the rule of its file, before a serial is drawn for it.
pub(super) fn is_name(name: &str) -> Result<(), Failed> {
    let wrong = || Failed::new(format!("{name:?} is no name of a host")).hint("write 1 to 32 of a-z 0-9 and -");
    is_host_name(name).then_some(()).ok_or_else(wrong)
}

/// Checks that the signing key is not being replaced; nothing is certified meanwhile.
pub(super) fn is_settled(cluster: &Cluster) -> Result<(), Failed> {
    let settled = cluster.next.is_empty() && cluster.former.is_empty();
    settled.then_some(()).ok_or_else(changes)
}

/// Checks that a certificate may be issued: the signing key is not being replaced, and the record has room.
pub(super) fn may_issue(cluster: &Cluster) -> Result<(), Failed> {
    is_settled(cluster)?;
    let has_room = record::write(cluster).is_ok_and(|value| value.len() + ROOM <= record::RECORD_MAX);
    has_room.then_some(()).ok_or_else(|| {
        Failed::new("the record of the cluster is full of hosts and revoked certificates")
            .hint("`treevisor host rotate --cluster` makes room: it forgets what was revoked")
    })
}

/// The error while the signing key of the cluster is being replaced.
pub(super) fn changes() -> Failed {
    Failed::new("the key by which the cluster signs is being replaced")
        .hint("try again when `treevisor host rotate --cluster` is done; typed again it goes on")
}

/// Draws the next serial for this host, in addition to those that it has.
pub(super) fn issue(name: &str, cluster: &mut Cluster) -> u64 {
    cluster.serial += 1;
    cluster.issued.entry(name.to_owned()).or_default().insert(cluster.serial);
    cluster.serial
}

/// Makes the certificate of a public key, as text.
pub(super) fn certificate(
    cluster: &str,
    name: &str,
    serial: u64,
    signing: &SigningKey,
    public: &PublicKey,
) -> Result<String, Failed> {
    let certificate =
        Certificate { cluster: cluster.to_owned(), name: name.to_owned(), public: public.clone(), serial };
    certificate.sign(signing).ok_or_else(|| Failed::new(format!("{name:?} is no name of a host")))
}
