//! The record of a cluster in the store, and the certificates whose serials are drawn from it.

use super::failed::Failed;
use crate::host::identity::{Certificate, SigningKey};
use crate::host::way::Way;
use crate::hosts::record::{self, Cluster, Host, Key};
use crate::ids::Name;
use crate::link::PublicKey;
use crate::spec::host::HostFile;
use crate::store::{Answer, Ask, Store, Version};
use crate::time::Span;

/// So long the store is waited for.
pub(super) const ANSWER: Span = Span::from_secs(5);

/// So often another one may change the record before ours.
const TRIES: u32 = 10;

/// The records of one cluster.
pub(super) struct Cell {
    pub(super) store: Box<dyn Store>,
    pub(super) cluster: String,
}

impl Cell {
    pub(super) fn open(host: &HostFile, signing: &SigningKey, way: Way<'_>) -> Result<Cell, Failed> {
        let store = way(host, signing).map_err(|error| Failed::new(error.to_string()))?;
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

    /// Whether a host of this cluster was ever there.
    pub(super) fn has_hosts(&mut self) -> Result<bool, Failed> {
        let prefix = record::prefix(&self.cluster);
        match self.ask(&Ask::Read { prefix }) {
            Answer::Records(all) => {
                let cluster = &self.cluster;
                Ok(all.iter().any(|record| matches!(Key::parse(cluster, &record.key), Some(Key::Host(_)))))
            }
            answer => Err(no_answer(answer)),
        }
    }

    /// Writes the record of the cluster if it has this version. Whether it has.
    pub(super) fn swap(&mut self, expected: Option<Version>, cluster: &Cluster) -> Result<bool, Failed> {
        let new = record::write(cluster).map_err(|error| Failed::of(&error))?;
        let key = Key::Cluster.in_store(&self.cluster);
        match self.ask(&Ask::Swap { key, expected, new }) {
            Answer::Done(_) => Ok(true),
            Answer::Lost(_) | Answer::Unknown(_) => {
                // A question that was sent twice is lost to itself, and one without an answer may have been carried
                // out.
                Ok(self.read()?.is_some_and(|(_, found)| found == *cluster))
            }
            answer => Err(no_answer(answer)),
        }
    }

    /// Changes the record of the cluster, which has to be that of this key.
    pub(super) fn change<T>(
        &mut self,
        signing: &SigningKey,
        mut change: impl FnMut(&mut Cluster) -> T,
    ) -> Result<T, Failed> {
        for _ in 0..TRIES {
            let Some((version, mut cluster)) = self.read()? else {
                return Err(Failed::new(format!("the store has no record of the cluster {}", self.cluster))
                    .hint("`treevisor host init` writes it, on the first host"));
            };
            if cluster.issuer != signing.issuer() {
                return Err(Failed::new(format!("the keys of this host are of another cluster {}", self.cluster))
                    .hint("its store holds a cluster of the same name that was made by another `host init`"));
            }
            let done = change(&mut cluster);
            if self.swap(Some(version), &cluster)? {
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

/// Whether a host can be called so, before a serial is drawn for it.
pub(super) fn is_name(name: &str) -> Result<(), Failed> {
    let wrong = || Failed::new(format!("{name:?} is no name of a host")).hint("write 1 to 32 of a-z 0-9 and -");
    Name::parse(name).map(drop).map_err(|_| wrong())
}

/// The next serial, for this host besides those that it has.
pub(super) fn issue(name: &str, cluster: &mut Cluster) -> u64 {
    cluster.serial += 1;
    cluster.issued.entry(name.to_owned()).or_default().insert(cluster.serial);
    cluster.serial
}

/// The certificate of a key, as it is written.
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
