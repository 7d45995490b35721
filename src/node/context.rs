//! What every part of a node may look at: where the node stands, what time it is, and where it logs.

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
use std::ffi::OsString;

/// What is the same for all parts of a node.
pub(super) struct Context {
    pub clock: Clock,
    pub pid: u32,
    pub place: Place,
    pub logger: Logger,
    /// For events, whose sentences begin with the path that they are about.
    pub event_logger: Logger,
    pub log_handle: LogHandle,
    /// What every process of this node inherits of our own environment.
    pub base_environment: Vec<(OsString, OsString)>,
}

impl Context {
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }
}

/// Where a node stands, and what it passes on to its children.
pub(super) struct Place {
    pub instance: Name,
    pub path: Path,
    pub incarnation: Incarnation,
    pub runtime: RuntimeDir,
    pub mark: Mark,
    /// The cgroup directory that belongs to this subtree.
    pub base_group: Option<Group>,
    pub log_level: slog::Level,
    pub log_format: Format,
    pub output_format: Format,
    pub show_output: bool,
    /// Writes the log files of workers.
    pub files: Writer,
    /// The limit of open files that workers get.
    pub nofile: Limit,
    /// What places children on other hosts.
    pub hosting: Option<Hosting>,
    /// What the names of all our child nodes begin with; see `speakers`.
    pub family: Token,
    /// Which peers may connect as a child.
    pub door: Door,
}
