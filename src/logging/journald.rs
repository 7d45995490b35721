//! The log as entries of systemd's journal.

use crate::logs::journald::{Entry, Journald, priority};
use slog::{Drain, KV, Key, Level, Never, OwnedKVList, Record, Serializer};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// The key of a record's values that names the node.
const NODE: &str = "node";

/// A drain that sends a node's log to systemd's journal.
#[derive(Debug, Clone)]
pub(crate) struct ToJournald(Arc<Mutex<Journald>>);

impl ToJournald {
    pub(super) fn new(instance: &str) -> ToJournald {
        ToJournald(Arc::new(Mutex::new(Journald::open(instance))))
    }

    /// Sends an entry of treevisor's own log, with additional fields.
    pub(super) fn send<'a>(
        &self,
        level: Level,
        message: &str,
        fields: impl IntoIterator<Item = (&'static str, &'a str)>,
    ) {
        let mut entry = Entry::new(message.as_bytes(), priority_of(level), "treevisor");
        fields.into_iter().for_each(|(name, value)| entry.add(name, value.as_bytes()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).send(entry);
    }
}

/// The priority of syslog(3).
pub(super) fn priority_of(level: Level) -> u8 {
    match level {
        Level::Critical => priority::CRITICAL,
        Level::Error => priority::ERROR,
        Level::Warning => priority::WARNING,
        Level::Info => priority::INFO,
        Level::Debug | Level::Trace => priority::DEBUG,
    }
}

impl Drain for ToJournald {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let mut fields = RecordFields::default();
        // A value that cannot be written is left out.
        let _ = record.kv().serialize(record, &mut fields);
        let _ = values.serialize(record, &mut fields);
        let RecordFields { mut values, node } = fields;
        let mut message = record.msg().to_string();
        // slog passes the values in reverse order.
        values.reverse();
        for (key, value) in values {
            let _ = write!(message, ", {key}: {value}");
        }
        self.send(record.level(), &message, node.as_deref().map(|node| ("TREEVISOR_PATH", node)));
        Ok(())
    }
}

#[derive(Default)]
struct RecordFields {
    values: Vec<(Key, String)>,
    node: Option<String>,
}

impl Serializer for RecordFields {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        match key == NODE {
            true => self.node = Some(value.to_string()),
            false => self.values.push((key, value.to_string())),
        }
        Ok(())
    }
}
