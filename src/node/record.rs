//! What a node hands down to a child node.

use crate::ids::{Incarnation, Name, Path, ReportId, Token};
use crate::logs::Format;
use crate::logs::stream_file::StreamFile;
use crate::spec::exec::Limit;
use crate::spec::policy::Heartbeat;
use crate::spec::tree::SupervisorSpec;
use crate::wire::view::HoldView;
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// What a node hands down to a child node, over an inherited descriptor: nothing is read from disk again, and nothing
/// secret stands on a command line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NodeBoot {
    pub instance: Name,
    pub path: Path,
    pub incarnation: Incarnation,
    /// The parent's report of this start, which is the cause of what is started below.
    #[serde(default)]
    pub cause: Option<ReportId>,
    pub token: Token,
    /// Under which name to connect to the parent: a secret as the token is, see `speakers`.
    pub name: String,
    /// The parent's endpoint.
    pub parent: PathBuf,
    pub runtime: PathBuf,
    pub mark: String,
    /// The cgroup of our children; this process sits in a leaf beside it.
    #[serde(with = "crate::files::exact::option")]
    pub cgroup: Option<PathBuf>,
    /// Whether processes have to enter cgroups by themselves here.
    pub cgroup_by_itself: bool,
    /// What the parent expects of us.
    pub heartbeat: Option<Heartbeat>,
    pub spec: SupervisorSpec,
    /// What is held down below this node, whatever processes it had.
    #[serde(default)]
    pub holds: Vec<HoldView>,
    pub log_level: usize,
    pub log_format: Format,
    pub output_format: Format,
    pub show_output: bool,
    /// What the streams are of a tree in the background.
    pub output: Option<StreamFile>,
    /// The limit of open files that the tree was started with: workers get it back.
    pub nofile: Limit,
}

/// Where a child node finds its boot record.
pub(super) const BOOT_FD: RawFd = 3;
