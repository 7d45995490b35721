//! The store: one register for each key, swapped by version. Reads may be stale, each key by itself.

use crate::machine::Instant;
use std::collections::BTreeMap;
use treevisor::hosts::{Answer, Stored};

/// How long what was overwritten can still be read.
const KEPT: u64 = 10_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct Store {
    records: BTreeMap<String, Vec<(Instant, u64, Vec<u8>)>>,
    version: u64,
}

impl Store {
    pub(crate) fn get(&self, key: &str) -> Option<&(Instant, u64, Vec<u8>)> {
        self.records.get(key)?.last()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.records.iter().filter_map(|(key, all)| Some((key.as_str(), all.last()?.2.as_slice())))
    }

    pub(crate) fn put(&mut self, at: Instant, key: &str, value: Vec<u8>) -> u64 {
        self.version += 1;
        let all = self.records.entry(key.to_owned()).or_default();
        // The last one before that time is what stood then.
        let old = all.iter().rposition(|(written, ..)| written + KEPT < at).unwrap_or(0);
        all.drain(..old);
        all.push((at, self.version, value));
        self.version
    }

    pub(crate) fn swap(&mut self, at: Instant, key: &str, expected: Option<u64>, new: Vec<u8>) -> Answer {
        match self.get(key) {
            present if present.map(|(_, version, _)| *version) == expected => Answer::Done(self.put(at, key, new)),
            present => Answer::Lost(present.map(|(_, version, value)| Stored {
                key: key.to_owned(),
                version: *version,
                value: value.clone(),
            })),
        }
    }

    /// All records, each as it stood `behind` ago.
    pub(crate) fn read(&self, at: Instant, mut behind: impl FnMut() -> u64) -> Answer {
        let mut records = Vec::new();
        for (key, all) in &self.records {
            let then = at.saturating_sub(behind());
            if let Some((_, version, value)) = all.iter().rev().find(|(written, ..)| *written <= then) {
                records.push(Stored { key: key.clone(), version: *version, value: value.clone() });
            }
        }
        Answer::Records(records)
    }
}
