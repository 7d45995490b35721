//! Options that several verbs share, and the parsers of their values.

use super::failure::{ExitCode, Failure};
use super::timestamp::Timestamp;
use super::zone::Zone;
use crate::ids::Path;
use crate::logs::journald;
use crate::time::Span;
use clap::{Args, ValueEnum};
use std::fs;
use std::os::unix::fs::FileTypeExt;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum ColorMode {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb".
    Auto,
    /// On pipes and in files too.
    Always,
    /// Plain text, on a terminal too.
    Never,
}

/// Which instance is meant.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The instance; needed only where several run
    #[arg(short, long, value_name = "NAME", env = "TREEVISOR_INSTANCE", hide_env_values = true)]
    pub instance: Option<String>,
}

/// Whose times are shown and read.
#[derive(Debug, Clone, Copy, Args)]
pub struct Times {
    /// Times are of UTC, not local; those in JSON always are
    #[arg(long)]
    pub utc: bool,
}

impl Times {
    /// The time zone that the option selects.
    pub(super) fn zone(self) -> Zone {
        if self.utc { Zone::Utc } else { Zone::Local }
    }
}

pub(super) fn span(text: &str) -> Result<Span, String> {
    Span::parse(text).map_err(|error| error.to_string())
}

pub(super) fn positive_span(text: &str) -> Result<Span, String> {
    match span(text)? {
        Span::ZERO => Err("it must be longer than 0s".into()),
        span => Ok(span),
    }
}

pub(super) fn path(text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(|error| error.to_string())
}

pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::read(text, crate::os::clock::wall())
}

/// What is shown while a tree runs.
#[derive(Debug, Clone, Copy, Args)]
pub struct Show {
    /// How much of its own doings treevisor logs: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true)]
    pub log_level: LogLevel,
    /// How log and output are written: term, for people; json, one object a line; or journald, to systemd's journal
    #[arg(long, value_name = "FORMAT", default_value = "term", hide_possible_values = true)]
    pub log_format: LogFormat,
    /// Do not show the output of the workers
    #[arg(long)]
    pub no_output: bool,
}

impl Show {
    /// Checks that systemd's journal exists if the log is to go there.
    pub(super) fn can_be_written(&self) -> Result<(), Failure> {
        if self.log_format != LogFormat::Journald {
            return Ok(());
        }
        let path = journald::socket_path();
        let why = match fs::metadata(&path) {
            Ok(there) if there.file_type().is_socket() => return Ok(()),
            Ok(_) => "it is no socket".to_owned(),
            Err(error) => error.to_string(),
        };
        let message = format!("cannot write to systemd's journal: {}: {why}", path.display());
        Err(Failure::new(ExitCode::Failed, message).hint("`--log-format term` or `json` need no journal"))
    }
}

/// How log and output are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum LogFormat {
    /// For people, in colours on a terminal.
    Term,
    /// One JSON object a line.
    Json,
    /// Entries of systemd's journal.
    Journald,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// Supervision acted.
    Warn,
    /// Life events.
    Info,
    /// Each event and action.
    Debug,
    /// Frames; not in release builds.
    Trace,
}

impl From<LogLevel> for slog::Level {
    fn from(level: LogLevel) -> slog::Level {
        match level {
            LogLevel::Error => slog::Level::Error,
            LogLevel::Warn => slog::Level::Warning,
            LogLevel::Info => slog::Level::Info,
            LogLevel::Debug => slog::Level::Debug,
            LogLevel::Trace => slog::Level::Trace,
        }
    }
}
