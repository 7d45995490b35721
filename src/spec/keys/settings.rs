//! `backoff`, `log` and `journal`: settings that can be switched off.

use super::super::exec::LogSpec;
use super::super::policy::{Backoff, Update, UpdateOrder};
use super::super::shape::{
    Duration, Filename, Number, Positive, Shape, Size, a_whole, a_word, keys, reference, shapes, table,
};
use super::super::source::{At, Finding, Places};
use super::super::tree::JournalSpec;
use super::super::value::{Scope, Value};
use super::switch::{SwitchValue, Table};
use crate::time::Span;
use serde_json::Value as Json;
use std::path::PathBuf;
use toml::de::DeValue;

/// A log file is rotated before it grows beyond this many bytes, unless `max-size` says otherwise.
pub const LOG_MAX_SIZE: u64 = 10 << 20;

/// How many rotated log files are kept unless `keep` says otherwise.
pub const LOG_KEEP: u32 = 5;

/// The defaults of a `backoff` table.
pub const BACKOFF: Backoff = Backoff {
    initial: Span::from_millis(100),
    max: Span::from_secs(5),
    factor: 2.0,
    jitter: 0.1,
    reset: Span::from_secs(60),
};

keys! {
    DELAYS of Backoff {
        "initial" => Positive, always(initial), default("\"100ms\"");
        "The first delay."
        "max" => Positive, always(max), default("\"5s\"");
        "The longest delay."
        "factor" => Number(1, 1000), always(factor), default("2");
        "Each delay is the one before times this."
        "jitter" => Number(0, 1), always(jitter), default("0.1");
        "Each delay is stretched or shrunk at random by up to this part of it."
        "reset" => Positive, always(reset), default("\"1m\"");
        "A run of at least this long makes the next delay the first one again."
    }
    UPDATES of Update {
        "at-once" => a_whole(1, super::super::tree::COUNT_MAX as i64), always(at_once), default("1");
        "So many copies are replaced at a time."
        "order" => a_word(&[("start-before-stop", "start-first"), ("stop-before-start", "stop-first")]),
            unless(UpdateOrder::StopFirst, order), default("\"stop-first\"");
        "\"stop-first\": the old process of a copy is gone before the new one is started. \"start-first\": the new one is up, \
         and has settled, before the old one is stopped."
        "settle" => Duration, always(settle), default("\"5s\"");
        "A copy must be up for so long before the next one is replaced."
    }
    FILE of LogFile {
        "file" => Filename, always(file);
        "The file; relative to where the tree was started."
        "max-size" => Size, always(max_size), default("\"10MiB\"");
        "It is rotated before it grows beyond this."
        "keep" => a_whole(0, 1000), always(keep), default("5");
        "Old files that are kept: FILE.1 to FILE.N."
    }
    FILES of JournalSpec {
        "max-size" => JournalSize, always(max_size), default("\"2MiB\"");
        "The next file begins before one grows beyond this: 64KiB or more."
        "keep" => a_whole(0, 1000), always(keep), default("7");
        "Full files that are kept beside the current one."
    }
}

pub(super) static BACKOFF_TABLE: Table<Backoff> = Table::new(
    "backoff",
    &[DELAYS],
    "a table or false",
    "backoff = { initial = \"100ms\", max = \"5s\" }, or backoff = false",
);

/// Delays between restarts; `None` for none.
pub(in crate::spec) struct Delays;

impl Shape for Delays {
    type Parsed = Option<Backoff>;

    fn merge(&self, scope: &mut Scope<'_>, values: &[Value<'_>], places: &mut Places) -> Option<At<Self::Parsed>> {
        let (switched, mut delays) = BACKOFF_TABLE.read(scope, values, places, || BACKOFF)?;
        let place = switched.place;
        if switched.is == SwitchValue::Off {
            return Some(At { value: None, place });
        }
        // If only one of the two is written, the default of the other is adapted to it.
        let written = |key| switched.fields.meant(key).is_some();
        match (written("initial"), written("max")) {
            (true, false) => delays.max = delays.max.max(delays.initial),
            (false, true) => delays.initial = delays.initial.min(delays.max),
            _ => {}
        }
        let Backoff { initial, max, .. } = delays;
        if max < initial {
            scope.judge(
                Finding::error("bad-value", place, "the longest delay is below the first one")
                    .label(format!("initial = \"{initial}\", max = \"{max}\""))
                    .hint("raise `max`, or lower `initial`"),
            );
        }
        Some(At { value: Some(delays), place })
    }

    fn show(&self, delays: &Self::Parsed) -> String {
        match delays {
            None => "false".into(),
            Some(delays) if *delays == BACKOFF => "true".into(),
            Some(delays) => BACKOFF_TABLE.show(delays),
        }
    }

    fn schema(&self) -> Json {
        reference("backoff")
    }
}

/// The JSON schema of a backoff.
pub(in crate::spec) fn backoff_schema() -> Json {
    BACKOFF_TABLE.schema()
}

/// A log file, while it is read, before it becomes a [`LogSpec`].
pub(in crate::spec) struct LogFile {
    file: PathBuf,
    max_size: u64,
    keep: u32,
}

pub(super) static LOG: Table<LogFile> = Table {
    true_is_a_table: false,
    ..Table::new("log", &[FILE], "a table, true or false", "log = { file = \"x.log\" }, or true, or false")
};

/// Where the output of a worker goes.
pub(in crate::spec) struct Log;

impl Shape for Log {
    type Parsed = LogSpec;

    fn merge(&self, scope: &mut Scope<'_>, values: &[Value<'_>], places: &mut Places) -> Option<At<LogSpec>> {
        let fresh = || LogFile { file: PathBuf::new(), max_size: LOG_MAX_SIZE, keep: LOG_KEEP };
        let (switched, log) = LOG.read(scope, values, places, fresh)?;
        let place = switched.place;
        let value = match switched.is {
            SwitchValue::Off => LogSpec::Discard,
            SwitchValue::On => LogSpec::Capture,
            SwitchValue::Table => {
                if log.file.as_os_str().is_empty() {
                    scope.judge(
                        Finding::error("bad-value", place, "`log` has no `file`")
                            .hint("write log = { file = \"x.log\" }; here, or in the worker if this is `[defaults]`"),
                    );
                }
                LogSpec::File { file: log.file, max_size: log.max_size, keep: log.keep }
            }
        };
        Some(At { value, place })
    }

    fn show(&self, log: &LogSpec) -> String {
        match log {
            LogSpec::Capture => "true".into(),
            LogSpec::Discard => "false".into(),
            LogSpec::File { file, max_size, keep } => {
                LOG.show(&LogFile { file: file.clone(), max_size: *max_size, keep: *keep })
            }
        }
    }

    fn schema(&self) -> Json {
        LOG.schema()
    }
}

pub(super) static UPDATE: Table<Update> =
    Table::new("update", &[UPDATES], "a table", "update = { at-once = 1, order = \"stop-first\", settle = \"5s\" }");

/// How the copies of a `count` are updated by a reload.
pub(in crate::spec) struct Updates;

impl Shape for Updates {
    type Parsed = Update;

    fn merge(&self, scope: &mut Scope<'_>, values: &[Value<'_>], places: &mut Places) -> Option<At<Update>> {
        if let Some(switch) = values.iter().find(|value| matches!(value.value, DeValue::Boolean(_))) {
            scope.wrong_type(*switch, "a table", UPDATE.right);
            return None;
        }
        let (switched, update) = UPDATE.read(scope, values, places, Update::default)?;
        Some(At { value: update, place: switched.place })
    }

    fn show(&self, update: &Update) -> String {
        UPDATE.show(update)
    }

    fn schema(&self) -> Json {
        table(&UPDATE.rows())
    }
}

pub(super) static JOURNAL: Table<JournalSpec> = Table::new(
    "journal",
    &[FILES],
    "a table, true or false",
    "journal = { max-size = \"2MiB\", keep = 7 }, or true, or false",
);

shapes! {
    /// A size that a file of the journal can have.
    JournalSize: u64, journal_size, u64::to_string, reference("size");
    /// The settings of the journal; `None` for no journal.
    Journal: Option<JournalSpec>, journal, |journal: &Option<JournalSpec>| match journal {
        Some(journal) => JOURNAL.show(journal),
        None => "false".into(),
    }, JOURNAL.schema();
}

fn journal_size(scope: &mut Scope<'_>, value: Value<'_>) -> Option<u64> {
    let size = scope.size(value)?;
    if size < JournalSpec::MAX_SIZE_LEAST {
        let what = format!("{size} bytes are too few for a file of the journal");
        scope.bad_value(value, what, "write \"64KiB\" or more, or journal = false to keep none");
        return None;
    }
    Some(size)
}

fn journal(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Option<JournalSpec>> {
    let (switched, journal) = JOURNAL.read(scope, &[value], &mut Places::new(), JournalSpec::default)?;
    Some((switched.is != SwitchValue::Off).then_some(journal))
}
