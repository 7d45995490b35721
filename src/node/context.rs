//! What every part of a node may read: the node's place in the tree, the clock, and the loggers.

use super::rate::RepeatedLines;
use super::record::Hosting;
use crate::ids::{Incarnation, Mark, Name, Path, Token};
use crate::instance::runtime::RuntimeDir;
use crate::link::Door;
use crate::logging::LogHandle;
use crate::logs::{Format, Writer};
use crate::os::cgroup::Group;
use crate::os::clock::Clock;
use crate::spec::exec::Limit;
use crate::time::Time;
use slog::Logger;
use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::Display;

/// What is the same for all parts of a node.
pub(super) struct Context {
    pub clock: Clock,
    pub pid: u32,
    pub place: Place,
    pub logger: Logger,
    /// The logger for events: their sentences begin with the path that they are about.
    pub event_logger: Logger,
    pub log_handle: LogHandle,
    /// The variables that every process of this node inherits from the node's own environment.
    pub base_environment: Vec<(OsString, OsString)>,
    pub lines: RepeatedLines,
}

impl Context {
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Whether a line that a storm of restarts repeats is to be logged now.
    pub(super) fn logs_again(&self, what: impl Display, path: impl Display) -> bool {
        self.lines.is_due(format!("{what} {path}"), self.now())
    }
}

/// A node's place in the tree, and the settings that it passes on to its children.
pub(super) struct Place {
    pub instance: Name,
    pub path: Path,
    pub incarnation: Incarnation,
    pub runtime: RuntimeDir,
    pub mark: Mark,
    /// The cgroup of this subtree; `None` where the tree runs without cgroups.
    pub base_group: Option<Group>,
    /// Whether that cgroup has a memory limit. The process of this supervisor is in none that has it.
    pub limits_memory: Cell<bool>,
    pub log_level: slog::Level,
    pub log_format: Format,
    pub output_format: Format,
    pub show_output: bool,
    /// Writes the log files of workers.
    pub files: Writer,
    /// The limit of open files for workers.
    pub nofile: Limit,
    /// The agent that places children on other hosts, if the host has one.
    pub hosting: Option<Hosting>,
    /// The prefix of the identities of all child nodes; see `speakers`.
    pub family: Token,
    /// Decides which peers may connect to the endpoint for children.
    pub door: Door,
}
