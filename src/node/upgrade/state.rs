//! The state of a node in the snapshot of a hot upgrade. Everything else is made anew, or is empty at the end of a
//! turn.

use super::upgrading::CarriedUpgrading;
use crate::ids::{Incarnation, Name, Path, Token};
use crate::logs::Format;
use crate::logs::Unreported;
use crate::logs::stream_file::StreamFile;
use crate::node::beside::CarriedBeside;
use crate::node::children::CarriedChildren;
use crate::node::directory::CarriedDirectory;
use crate::node::endpoint::carried::CarriedEndpoint;
use crate::node::fold::Folds;
use crate::node::hooks::carried::CarriedHooks;
use crate::node::limits::Limits;
use crate::node::probes::carried::CarriedProbes;
use crate::node::record::Hosting;
use crate::node::requests;
use crate::node::root::carried::CarriedRoot;
use crate::node::streams::Streams;
use crate::node::unknown_children::CarriedUnknownChildren;
use crate::node::uplink::CarriedUplink;
use crate::spec::exec::Limit;
use crate::supervision::{Member, Place as Where};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The state of the shell.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedNode {
    pub place: CarriedPlace,
    /// The file that stdout and stderr of a tree in the background are.
    pub output: Option<StreamFile>,
    /// Lost lines of the log. Missing where there are none, and in the snapshot of an earlier version.
    #[serde(default, skip_serializing_if = "Unreported::is_none")]
    pub log: Unreported,
    pub children: CarriedChildren,
    pub endpoint: CarriedEndpoint,
    pub directory: CarriedDirectory,
    pub above: CarriedAbove,
    pub strangers: CarriedUnknownChildren,
    pub probes: CarriedProbes,
    pub beside: CarriedBeside,
    pub hooks: CarriedHooks,
    pub limits: Limits,
    pub streams: Streams,
    pub requests: requests::Carried,
    pub folds: Folds,
    pub release_memory_at: Option<Time>,
    pub stalled: Span,
    pub stopping_signals: u32,
    pub had_terminal: bool,
    /// Missing where there was no terminal, and in the snapshot of an earlier version: then 0, which is no process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starter: Option<u32>,
    pub upgrade: CarriedUpgrading,
}

/// The node's place in the tree.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedPlace {
    pub instance: Name,
    pub path: Path,
    pub incarnation: Incarnation,
    #[serde(with = "crate::files::exact")]
    pub runtime: PathBuf,
    pub mark: String,
    #[serde(with = "crate::files::exact::option")]
    pub base_group: Option<PathBuf>,
    pub base_group_by_itself: bool,
    pub log_level: usize,
    pub log_format: Format,
    pub output_format: Format,
    pub show_output: bool,
    pub nofile: Limit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosting: Option<Hosting>,
    pub family: Token,
}

/// What is above the node.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::node) enum CarriedAbove {
    Parent(Box<CarriedUplink>),
    Operators(Box<CarriedRoot>),
}

impl CarriedNode {
    /// What the core needs to restore a child: the name and policy from the spec that the child has in this role
    /// (`place`).
    pub(in crate::node) fn member(&self, name: &Name, place: Where) -> Option<Member> {
        match place {
            Where::Asked(request) => self.requests.asked(request, name).map(crate::node::children::member),
            Where::Present(child) | Where::Next(child) | Where::Wanted(child) | Where::Former(child) => {
                self.children.member(name, child, place)
            }
        }
    }
}
