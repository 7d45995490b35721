//! The boot record that a node hands down to a child node.

use crate::hosts::message::Place;
use crate::ids::{Incarnation, Name, Path, ReportId, Token};
use crate::logs::Format;
use crate::logs::stream_file::StreamFile;
use crate::spec::exec::Limit;
use crate::spec::policy::Heartbeat;
use crate::spec::tree::SupervisorSpec;
use crate::wire::json;
use crate::wire::view::HoldView;
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// The boot record. It is read from an inherited descriptor, so that nothing is read from disk again and no secret is
/// on a command line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeBoot {
    pub instance: Name,
    pub handed: Handed,
    pub here: HostContext,
    pub spec: SupervisorSpec,
}

/// The part that the parent decides, on whichever host the child node runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Handed {
    pub path: Path,
    pub incarnation: Incarnation,
    /// The parent's report of this start. It is the cause of what the child node starts.
    #[serde(default)]
    pub cause: Option<ReportId>,
    pub token: Token,
    /// The identity under which to connect to the parent. It is a secret, as the token is; see `speakers`.
    pub name: String,
    /// The heartbeat that the parent expects of this node.
    pub heartbeat: Option<Heartbeat>,
    /// The holds below this node, from its earlier processes.
    #[serde(default)]
    pub holds: Vec<HoldView>,
    pub log_level: usize,
    pub log_format: Format,
    pub output_format: Format,
    pub show_output: bool,
}

/// The part that depends on the host on which the child node runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostContext {
    /// The endpoint to connect to: that of the parent, or that of the host's agent, which relays.
    pub parent: PathBuf,
    pub runtime: PathBuf,
    pub mark: String,
    /// The cgroup of the node's children. The node's own process is in a leaf beside it.
    #[serde(with = "crate::files::exact::option")]
    pub cgroup: Option<PathBuf>,
    /// Whether processes have to enter cgroups by themselves here.
    pub cgroup_by_itself: bool,
    /// The file that stdout and stderr of a tree in the background are.
    pub output: Option<StreamFile>,
    /// The limit of open files that the tree was started with. Workers get this limit.
    pub nofile: Limit,
    /// The agent that places this node's children on other hosts. `None` for a node that is placed itself, and for a
    /// tree on one host.
    #[serde(default)]
    pub hosting: Option<Hosting>,
}

/// The agent of this host, which has started the root of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hosting {
    /// The agent's process id. When the agent ends, everything that it has started here ends with it.
    pub agent: u32,
    /// The token of the root's claim.
    pub root_token: u64,
}

/// What a node sends with the order to place a child node ([`Place::boot`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlacedBoot {
    /// The parent's endpoint. The agent of the parent's host connects to it in the child's place.
    #[serde(with = "crate::files::exact")]
    pub parent: PathBuf,
    pub handed: Handed,
}

impl PlacedBoot {
    pub(crate) fn to_value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }

    /// # Errors
    /// It is no such record, or that of another version.
    pub(crate) fn read(value: &serde_json::Value) -> serde_json::Result<PlacedBoot> {
        PlacedBoot::deserialize(value)
    }
}

/// The bytes of the boot record for a child node that is placed on this host, as it reads them from [`BOOT_FD`].
///
/// # Errors
/// What the parent has sent cannot be read, since it is of another version.
#[allow(dead_code, reason = "the agent of the host calls it")]
pub(crate) fn boot_of_placed(place: &Place, here: HostContext) -> Result<Vec<u8>, String> {
    let PlacedBoot { parent: _, handed } =
        PlacedBoot::read(&place.boot).map_err(|error| format!("its boot record cannot be read: {error}"))?;
    let spec = json::from_slice(&place.spec).map_err(|error| format!("its spec cannot be read: {error}"))?;
    let instance =
        Name::parse(&place.subject.instance).map_err(|error| format!("the instance cannot be called so: {error}"))?;
    serde_json::to_vec(&NodeBoot { instance, handed, here, spec }).map_err(|error| error.to_string())
}

#[cfg(test)]
impl Handed {
    /// Such a part for the node `/db`, for tests.
    pub(crate) fn of_test(token: Token, name: &str) -> Handed {
        Handed {
            path: Path::parse("/db").unwrap(),
            incarnation: Incarnation(3),
            cause: None,
            token,
            name: name.into(),
            heartbeat: None,
            holds: Vec::new(),
            log_level: 4,
            log_format: Format::Plain,
            output_format: Format::Plain,
            show_output: true,
        }
    }
}

/// The descriptor from which a child node reads its boot record.
pub(crate) const BOOT_FD: RawFd = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::message::Subject;
    use std::sync::Arc;

    #[test]
    fn a_placed_node_gets_what_a_local_one_gets() {
        let handed = Handed::of_test(Token([7; 16]), "secret");
        let here = || HostContext {
            parent: "/run/relay".into(),
            runtime: "/run/shop".into(),
            mark: "mark".into(),
            cgroup: Some("/sys/fs/cgroup/x".into()),
            cgroup_by_itself: false,
            output: None,
            nofile: Limit { soft: Some(1024), hard: None },
            hosting: None,
        };
        let boot = PlacedBoot { parent: "/run/shop/root".into(), handed: handed.clone() };
        let place = Place {
            subject: Subject { instance: "shop".into(), path: "/db".into(), run: 3, root_token: 9 },
            spec: Arc::new(serde_json::to_vec(&SupervisorSpec::default()).unwrap()),
            boot: boot.to_value().unwrap(),
            ..Place::default()
        };
        assert_eq!(PlacedBoot::read(&place.boot).unwrap(), boot);
        let record: NodeBoot = json::from_slice(&boot_of_placed(&place, here()).unwrap()).unwrap();
        assert_eq!((record.instance.as_str(), &record.handed), ("shop", &handed));
        assert_eq!((record.here.parent, record.here.runtime), (here().parent, here().runtime));
        let other = Place { boot: serde_json::Value::Null, ..place };
        assert!(boot_of_placed(&other, here()).is_err());
    }
}
