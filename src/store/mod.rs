//! The store that keeps the records of a cluster. Each record has a version, and is changed by compare-and-swap only.
//!
//! A thread that may block asks the store one question at a time, and gets an answer within a limit.
//! [`Answer::Unknown`] means that the outcome is unknown, and is never taken for success or failure. The store measures
//! no time: the caller counts a lease from the moment *before* the request was sent.
//!
//! The requirements are small, so that other stores can implement the same trait: a swap is atomic, and no version of a
//! record is ever used again. Reads may be stale. No watches, no leases, no transactions over two records.
//!
//! | file | what |
//! | --- | --- |
//! | [`etcd`] | etcd, by HTTP and JSON |
//! | [`memory`] | for tests |
use crate::time::Span;

pub mod etcd;
pub mod memory;

/// The version of a record, which changes with each write. Versions can only be compared for equality.
pub type Version = u64;

/// A record of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `/treevisor/CLUSTER/` and the record's own key.
    pub key: String,
    /// The store's number for this content.
    pub version: Version,
    /// As it was written.
    pub value: Vec<u8>,
}

/// A question to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Reads all records whose keys begin with `prefix`.
    Read {
        /// The beginning of the keys.
        prefix: String,
    },
    /// Writes the record if it still has the expected version.
    Swap {
        /// `/treevisor/CLUSTER/` and the record's own key.
        key: String,
        /// The version that the record must have; `None`: the record must not exist.
        expected: Option<Version>,
        /// What it is to contain.
        new: Vec<u8>,
    },
    /// Asks for the health of the store itself.
    Health,
}

/// The outcome of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Answer to a `Read`: the records.
    Records(Vec<Record>),
    /// Answer to a `Swap`: the record was written, and has this version.
    Done(Version),
    /// Answer to a `Swap`: the record was not written and will not be, as it does not have the expected version. With
    /// the record as it is; `None`: it does not exist. Where the same swap was sent twice, this may be the record that
    /// the first attempt has written.
    Lost(Option<Record>),
    /// Answer to a `Health`.
    Health(Health),
    /// No answer came within the limit, or none that settles the question: a write may have happened, or happen later.
    Unknown(String),
}

/// The health of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// The version of the store's software, as reported by the store.
    pub version: String,
    /// The size of its data on disk, in bytes.
    pub size: u64,
    /// The size in bytes beyond which the store refuses writes, if known.
    pub quota: Option<u64>,
    /// The active alarms, such as `NOSPACE`. While one is active the store may refuse every write.
    pub alarms: Vec<String>,
}

/// A store, or a client of one.
pub trait Store: Send {
    /// Asks the store, and blocks until it answers or the limit has passed.
    fn ask(&mut self, ask: &Ask, limit: Span) -> Answer;
}
