//! The log as the foreground shows it on a terminal: each record as one line, cut to the terminal's width.

use crate::logs::live::Live;
use crate::logs::outlet::Outlet;
use crate::os::clock;
use anstyle::{AnsiColor, Style};
use slog::{Drain, KV, Key, Level, Never, OwnedKVList, Record, Serializer};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

/// A drain that lays out log records on the terminal, and events, which have colours of their own.
#[derive(Debug, Clone)]
pub(super) struct OnTerminal {
    outlet: Arc<Mutex<Outlet>>,
    live: Live,
    level: Level,
}

impl OnTerminal {
    pub(super) fn new(outlet: Arc<Mutex<Outlet>>, live: Live, level: Level) -> OnTerminal {
        OnTerminal { outlet, live, level }
    }

    /// Writes an event of a child at `path`.
    pub(super) fn write(&self, level: Level, path: &str, style: Style, words: &str) {
        if !level.is_at_least(self.level) {
            return;
        }
        // The width is read for each line, so that a resized window takes effect at once.
        let columns = terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
        let line = self.live.line(path, style, &clock::local_time_of_day(), words, columns);
        let mut outlet = Outlet::locked(&self.outlet);
        outlet.push(line.as_bytes());
        if level.is_at_least(Level::Error) {
            outlet.flush();
        }
    }
}

impl Drain for OnTerminal {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let mut keys = Keys { path: None, words: record.msg().to_string() };
        // A value that cannot be written is left out.
        let _ = record.kv().serialize(record, &mut keys);
        let _ = values.serialize(record, &mut keys);
        let style = match record.level() {
            Level::Critical | Level::Error => AnsiColor::Red.on_default().bold(),
            Level::Warning => AnsiColor::Magenta.on_default(),
            Level::Info | Level::Debug | Level::Trace => Style::new(),
        };
        self.write(record.level(), keys.path.as_deref().unwrap_or("/"), style, &keys.words);
        Ok(())
    }
}

/// Collects the message followed by its keys; the value of `path`, or else of `node`, goes into the column for paths.
struct Keys {
    path: Option<String>,
    words: String,
}

impl Serializer for Keys {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        if matches!(key, "path" | "node") {
            self.path.get_or_insert(value.to_string());
            return Ok(());
        }
        Ok(write!(self.words, ", {key}: {value}")?)
    }
}
