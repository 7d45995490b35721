//! A store in the memory of this process, for tests: all its clones are the same store.
use super::{Answer, Ask, Health, Record, Store, Version};
use crate::time::Span;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store in the memory of this process, for tests.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    records: BTreeMap<String, Record>,
    /// The latest version of any record. As in etcd, one counter serves all records, so no version is used twice, even
    /// when a record is deleted and created again.
    last: Version,
    silent: bool,
}

impl Memory {
    /// While `silent` is set, the store answers nothing and writes nothing.
    pub fn set_silent(&self, silent: bool) {
        self.content().silent = silent;
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn ask(&mut self, ask: &Ask, _limit: Span) -> Answer {
        let mut content = self.content();
        if content.silent {
            return Answer::Unknown("the store does not answer".to_owned());
        }
        match ask {
            Ask::Read { prefix } => {
                let found = content.records.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(prefix));
                Answer::Records(found.map(|(_, record)| record.clone()).collect())
            }
            Ask::Swap { key, expected, new } => {
                let found = content.records.get(key);
                if found.map(|record| record.version) != *expected {
                    return Answer::Lost(found.cloned());
                }
                content.last += 1;
                let record = Record { key: key.clone(), version: content.last, value: new.clone() };
                content.records.insert(key.clone(), record);
                Answer::Done(content.last)
            }
            Ask::Health => Answer::Health(Health { version: "memory".to_owned(), ..Health::default() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Span = Span::from_secs(1);

    fn swap(store: &mut Memory, key: &str, expected: Option<Version>, new: &str) -> Answer {
        store.ask(&Ask::Swap { key: key.into(), expected, new: new.into() }, LIMIT)
    }

    #[test]
    fn a_record_is_changed_by_whom_it_has_not_changed_for() {
        let mut store = Memory::default();
        let mut other = store.clone();
        assert_eq!(swap(&mut store, "/a/x", None, "1"), Answer::Done(1));
        let there = Record { key: "/a/x".into(), version: 1, value: b"1".into() };
        assert_eq!(swap(&mut other, "/a/x", None, "2"), Answer::Lost(Some(there.clone())));
        assert_eq!(swap(&mut other, "/a/y", Some(1), "2"), Answer::Lost(None));
        assert_eq!(swap(&mut other, "/b", None, "3"), Answer::Done(2));
        assert_eq!(store.ask(&Ask::Read { prefix: "/a/".into() }, LIMIT), Answer::Records(vec![there]));
        other.set_silent(true);
        assert!(matches!(swap(&mut store, "/a/x", Some(1), "4"), Answer::Unknown(_)));
        other.set_silent(false);
        assert_eq!(swap(&mut store, "/a/x", Some(1), "4"), Answer::Done(3));
    }
}
