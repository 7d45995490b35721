//! What a start and a restart from a snapshot have in common.

use super::failure::{BootError, while_trying};
use crate::ids::{Path, ReportId, Token};
use crate::link::Context as Sockets;
use crate::logging::{self, LogHandle};
use crate::logs::Unreported;
use crate::logs::console::Console;
use crate::logs::journald;
use crate::node::above::Above;
use crate::node::children::{Child, Output};
use crate::node::context::{Context, Place};
use crate::node::directory::Directory;
use crate::node::endpoint::Endpoint;
use crate::node::rate::RepeatedLines;
use crate::node::reactor::{Reactor, Source};
use crate::os::clock::Clock;
use crate::os::random;
use crate::spec::policy::{Heartbeat, SupervisorPolicy};
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
use crate::supervision::{Config, Supervisor};
use crate::wire::view::HoldView;
use slog::{Logger, o};
use std::ffi::OsString;
use std::os::fd::RawFd;

/// The logger of a node. Its lines carry the node's path; the text of a line about a child begins with the child's
/// path.
pub(super) fn node_logger(plain: &Logger, path: &Path) -> Logger {
    plain.new(o!("node" => path.to_string()))
}

/// Draws the secret prefix of the identities of this node's child nodes.
pub(super) fn draw_family() -> Result<Token, BootError> {
    let mut family = Token([0; 16]);
    random::fill(&mut family.0).map_err(while_trying("draw random numbers"))?;
    Ok(family)
}

/// The parts of a new node. They differ between the root and other nodes.
pub(super) struct NodeParts {
    pub clock: Clock,
    pub place: Place,
    pub spec: SupervisorSpec,
    pub holds: Vec<HoldView>,
    pub above: Above,
    pub sockets: Sockets,
    pub heartbeat: Option<Heartbeat>,
    /// The parent's report of the start of this node.
    pub cause: Option<ReportId>,
    pub event_logger: Logger,
    pub log_handle: LogHandle,
    /// Whether this process may adopt processes that nothing of the tree has started.
    pub outsiders: bool,
}

/// Binds the socket for the children.
pub(super) fn bind_endpoint(
    place: &Place,
    children: &[ChildSpec],
    sockets: Sockets,
) -> Result<(Endpoint, Directory), BootError> {
    let socket = place.runtime.node_socket(&place.path);
    let nodes = children.iter().any(ChildSpec::is_supervisor);
    let endpoint = Endpoint::bind(sockets, &socket, place.door.clone(), nodes).map_err(BootError::Link)?;
    // A worker that runs as another user must reach the socket of its node, but never the control endpoint.
    let foreign_beats = children.iter().any(|child| {
        matches!(&child.kind, ChildKind::Worker(exec) if exec.user.is_some() && child.policy.heartbeat.is_some())
    });
    if foreign_beats {
        place.runtime.open_to_others(&socket).map_err(while_trying("let workers of other users reach their node"))?;
    }
    Ok((endpoint, Directory::new(foreign_beats)))
}

/// The descriptors that every node watches from its first turn on.
pub(super) fn awaited(reactor: &Reactor, endpoint: &Endpoint, place: &Place, above: &Above) -> Vec<(RawFd, Source)> {
    let mut all = vec![(endpoint.fd(), Source::Router), (reactor.signals_fd(), Source::Signals)];
    all.extend(place.files.fd().map(|fd| (fd, Source::LogFiles)));
    if let Above::Parent(uplink) = above {
        all.extend(uplink.awaited());
    }
    all
}

/// The context after a hot upgrade. `lost` is what the log of the image before has lost.
pub(super) fn context_again(clock: Clock, place: Place, lost: Unreported) -> Context {
    let (event_logger, log_handle) = logging::root(place.log_level, place.log_format, place.instance.as_str());
    log_handle.take_over(lost);
    context_of(clock, place, event_logger, log_handle)
}

/// The context of a node: its place in the tree, its clock and its loggers.
pub(super) fn context_of(clock: Clock, place: Place, event_logger: Logger, log_handle: LogHandle) -> Context {
    let logger = node_logger(&event_logger, &place.path);
    let (pid, base_environment) = (std::process::id(), inherited_environment());
    let lines = RepeatedLines::default();
    Context { clock, pid, place, logger, event_logger, log_handle, base_environment, lines }
}

/// The destination of the workers' output.
pub(super) fn output_of(place: &Place) -> Output {
    let mut console = Console::stdout(place.output_format, place.instance.as_str());
    let (writer, bell) = (place.files.clone(), place.files.clone());
    console.rings(move || bell.ring());
    Output::new(console, writer)
}

pub(super) fn children_of(specs: Vec<ChildSpec>, holds: &[HoldView], place: &Place) -> Vec<Child> {
    let mut children: Vec<Child> = Vec::with_capacity(specs.len());
    for spec in specs {
        let mut child = Child::new(spec, place, children.last());
        child.remember_holds(holds);
        children.push(child);
    }
    children
}

/// Makes the core. `numbers`: four bytes that distinguish the ids of its reports from those of other nodes, and a seed.
pub(super) fn core(
    policy: SupervisorPolicy,
    children: &[Child],
    heartbeat: Option<Heartbeat>,
    numbers: [u8; 12],
) -> Supervisor {
    let (node, seed) = numbers.split_at(4);
    Supervisor::new(Config {
        policy,
        members: children.iter().map(Child::member).collect(),
        uplink: heartbeat,
        node: u32::from_ne_bytes(node.try_into().expect("four bytes were split off")),
        seed: u64::from_ne_bytes(seed.try_into().expect("eight bytes are left")),
    })
    .holding(children.iter().filter(|child| child.hold.is_some()).map(|child| child.name.as_str()))
}

/// This process's environment without the variables that are meant for it alone. With them, a worker would take the
/// service manager that has started the tree, or the node above, for its own.
fn inherited_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .filter(|(key, _)| {
            let key = key.to_string_lossy();
            // The address of journald is the same for all processes.
            !(key.starts_with("TREEVISOR_") && key != journald::SOCKET_VARIABLE
                || key.starts_with("WATCHDOG_")
                || key.starts_with("LISTEN_")
                || key == "NOTIFY_SOCKET"
                || key == "INVOCATION_ID")
        })
        .collect()
}
