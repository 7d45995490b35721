//! What keeps a cluster's few records: each with a version, changed by compare-and-swap and by nothing else.
//!
//! A store is asked one question at a time, by a thread that may wait, and answers within a limit: with what it has, or
//! that it does not. [`Answer::Unknown`] is never taken for a yes or a no. Time is the caller's: what a lease is
//! reckoned from is the moment *before* the question was sent.
//!
//! What is needed of a store is little, so that others can stand behind the same trait: a swap is atomic, and no
//! version that a record had comes back. Reads may be stale. No watch, no lease, no transaction over two records.
//!
//! | file | what |
//! | --- | --- |
//! | [`etcd`] | etcd, by HTTP and JSON |
//! | [`memory`] | for tests |
use crate::time::Span;

pub mod etcd;
pub mod memory;

/// Changes with each write of a record. Of two versions only whether they are the same means something.
pub type Version = u64;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The whole key.
    pub key: String,
    /// Its version.
    pub version: Version,
    /// Its content.
    pub value: Vec<u8>,
}

/// What a store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// All records whose key begins with this.
    Read {
        /// The beginning of the keys.
        prefix: String,
    },
    /// Writes the record if it still has this version.
    Swap {
        /// The whole key.
        key: String,
        /// The version that it has to have; `None`: there has to be none.
        expected: Option<Version>,
        /// The content that it is to have.
        new: Vec<u8>,
    },
    /// How the store itself does.
    Health,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a `Read`.
    Records(Vec<Record>),
    /// To a `Swap`: it is written, and has this version.
    Done(Version),
    /// To a `Swap`: it is not written and will not be, as the record has another version: this one, or there is none.
    /// Where the same question was sent twice, the record may be what the first has written.
    Lost(Option<Record>),
    /// To a `Health`.
    Health(Health),
    /// No answer came within the limit, or none that settles the question: a write may have happened, or happen later.
    Unknown(String),
}

/// How a store does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Its version, as it names itself.
    pub version: String,
    /// Bytes that it has on its disk.
    pub size: u64,
    /// Bytes beyond which it refuses writes, where that is known.
    pub quota: Option<u64>,
    /// What it complains of, such as `NOSPACE`. With one in force it may refuse every write.
    pub alarms: Vec<String>,
}

/// A store, or a way to one.
pub trait Store: Send {
    /// Asks, and waits for the answer, no longer than the limit.
    fn ask(&mut self, ask: &Ask, limit: Span) -> Answer;
}
