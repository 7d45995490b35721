//! What all nodes are made of, and how it is put together.

use super::failure::{BootError, while_trying};
use crate::ids::{Name, Path, ReportId, Token};
use crate::link::Context as Sockets;
use crate::logging::LogHandle;
use crate::logs::console::Console;
use crate::logs::journald;
use crate::node::above::Above;
use crate::node::beside::Beside;
use crate::node::children::{Child, Children, Output};
use crate::node::context::{Context, Place};
use crate::node::deadlines::Spin;
use crate::node::diary::Diary;
use crate::node::directory::Directory;
use crate::node::endpoint::{Endpoint, PullError};
use crate::node::fold::Folds;
use crate::node::hooks::Hooks;
use crate::node::limits::{self, Limits};
use crate::node::probes::Probes;
use crate::node::processes::Processes;
use crate::node::reactor::{Reactor, Source};
use crate::node::requests::Requests;
use crate::node::streams::Streams;
use crate::node::turn::Node;
use crate::node::upgrade::upgrading::Upgrading;
use crate::os::clock::Clock;
use crate::os::epoll::Poller;
use crate::os::signals::Signals;
use crate::os::{process, random};
use crate::spec::policy::{Heartbeat, SupervisorPolicy};
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
use crate::supervision::{ChildId, Config, Supervisor};
use crate::wire::view::HoldView;
use slog::{Logger, o};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::RawFd;

/// What a node logs about itself carries its path; what it logs about its children begins with theirs.
pub(super) fn node_logger(plain: &Logger, path: &Path) -> Logger {
    plain.new(o!("node" => path.to_string()))
}

/// What the names of our child nodes will begin with.
pub(super) fn draw_family() -> Result<Token, BootError> {
    let mut family = Token([0; 16]);
    random::fill(&mut family.0).map_err(while_trying("draw random numbers"))?;
    Ok(family)
}

/// What differs between the root and other nodes.
pub(super) struct Parts {
    pub clock: Clock,
    pub place: Place,
    pub spec: SupervisorSpec,
    pub holds: Vec<HoldView>,
    pub above: Above,
    pub sockets: Sockets,
    pub heartbeat: Option<Heartbeat>,
    /// The parent's report of our start.
    pub cause: Option<ReportId>,
    pub event_logger: Logger,
    pub log_handle: LogHandle,
    /// It may adopt processes that nothing of it has started.
    pub outsiders: bool,
}

/// Makes a node of its parts.
pub(super) fn wire_up(parts: Parts) -> Result<Node, BootError> {
    let Parts { clock, place, spec, holds, above, sockets, heartbeat, cause, event_logger, log_handle, outsiders } =
        parts;
    let limits = Limits::begin(spec.resources, &place).map_err(|limit| BootError::Limit { limit })?;
    let signals = Signals::install().map_err(while_trying("install signal handlers"))?;
    let (mut endpoint, directory) = bind_endpoint(&place, &spec.children, sockets)?;
    let mut numbers = [0u8; 12];
    random::fill(&mut numbers).map_err(while_trying("draw random numbers"))?;
    let mut reactor = watch(signals, &endpoint, &place, &above, outsiders)?;
    let behind: Vec<Name> = spec.children.iter().filter(|child| child.behind).map(|child| child.name.clone()).collect();
    let handles = handles(spec.children, &holds, &place);
    for (id, handle) in (0..).map(ChildId).zip(&handles) {
        endpoint.bind_pulls(id, Some(&handle.what), &mut reactor).map_err(|error| match error {
            PullError::Link(error) => BootError::Link(error),
            PullError::Watch(error) => while_trying("watch a descriptor")(error),
        })?;
    }
    let is_root = above.is_root();
    let core = core(spec.policy, &handles, heartbeat, numbers).started_by(cause);
    let core = core.behind(behind.iter().map(Name::as_str));
    let core = if is_root { core.as_root() } else { core };

    let mut console = Console::stdout(place.output_format, place.instance.as_str());
    let (writer, bell) = (place.files.clone(), place.files.clone());
    console.rings(move || bell.ring());
    let logger = node_logger(&event_logger, &place.path);
    let requests = Requests::new(place.path.clone(), logger.clone());
    let mut node = Node {
        context: Context {
            clock,
            pid: std::process::id(),
            place,
            logger,
            event_logger,
            log_handle,
            base_environment: inherited_environment(),
        },
        reactor,
        core,
        children: Children::new(handles, Output::new(console, writer)),
        endpoint,
        directory,
        above,
        probes: Probes::default(),
        beside: Beside::default(),
        hooks: Hooks::new(spec.hooks, is_root),
        limits,
        streams: Streams::default(),
        requests,
        inbox: VecDeque::new(),
        actions: Vec::new(),
        pending_reports: Vec::new(),
        folds: Folds::default(),
        console_retry: None,
        release_memory_at: None,
        ended: None,
        diary: Diary::default(),
        spin: Spin::default(),
        upgrade: Upgrading::default(),
        stopping_signals: 0,
        had_terminal: process::has_terminal(),
    };
    // Of a root nothing is to start then; of another node it is that worker's start that fails.
    let unopened = node.children.open_sockets();
    if let Some((path, error)) = unopened.into_iter().next().filter(|_| is_root) {
        return Err(BootError::Listen { path, error });
    }
    limits::complain(&node.context.place.path, node.limits.unset(), &node.context);
    // Holds of children that no longer exist are dropped, here and in the nodes above.
    node.children.changed = node.view().holds() != holds || !behind.is_empty();
    Ok(node)
}

/// Binds the socket of the children.
fn bind_endpoint(place: &Place, children: &[ChildSpec], sockets: Sockets) -> Result<(Endpoint, Directory), BootError> {
    let socket = place.runtime.node_socket(&place.path);
    let nodes = children.iter().any(ChildSpec::is_supervisor);
    let endpoint = Endpoint::bind(sockets, &socket, place.door.clone(), nodes).map_err(BootError::Link)?;
    // A worker under another user must reach its node, though never the control endpoint.
    let foreign_beats = children.iter().any(|child| {
        matches!(&child.kind, ChildKind::Worker(exec) if exec.user.is_some() && child.policy.heartbeat.is_some())
    });
    if foreign_beats {
        place.runtime.open_to_others(&socket).map_err(while_trying("let workers of other users reach their node"))?;
    }
    Ok((endpoint, Directory::new(foreign_beats)))
}

/// What every node waits for.
fn watch(
    signals: Signals,
    endpoint: &Endpoint,
    place: &Place,
    above: &Above,
    outsiders: bool,
) -> Result<Reactor, BootError> {
    let signals_fd = signals.fd();
    let poller = Poller::new().map_err(while_trying("open an epoll"))?;
    let mut reactor = Reactor::new(poller, signals, Processes::new(outsiders));
    let mut watch = |fd: RawFd, source: Source| reactor.watch(fd, source).map_err(while_trying("watch a descriptor"));
    watch(endpoint.fd(), Source::Router)?;
    watch(signals_fd, Source::Signals)?;
    if let Some(fd) = place.files.fd() {
        watch(fd, Source::LogFiles)?;
    }
    if let Above::Parent(uplink) = above {
        watch(uplink.fd(), Source::Uplink)?;
    }
    Ok(reactor)
}

fn handles(children: Vec<ChildSpec>, holds: &[HoldView], place: &Place) -> Vec<Child> {
    let mut handles: Vec<Child> = Vec::with_capacity(children.len());
    for child in children {
        let mut handle = Child::new(child, place, handles.last());
        handle.remember_holds(holds);
        handles.push(handle);
    }
    handles
}

/// `numbers`: four bytes by which its reports are told from those of other nodes, and a seed.
fn core(policy: SupervisorPolicy, handles: &[Child], heartbeat: Option<Heartbeat>, numbers: [u8; 12]) -> Supervisor {
    let (node, seed) = numbers.split_at(4);
    Supervisor::new(Config {
        policy,
        members: handles.iter().map(Child::member).collect(),
        uplink: heartbeat,
        node: u32::from_ne_bytes(node.try_into().expect("four bytes were split off")),
        seed: u64::from_ne_bytes(seed.try_into().expect("eight bytes are left")),
    })
    .holding(handles.iter().filter(|handle| handle.hold.is_some()).map(|handle| handle.name.as_str()))
}

/// Our own environment without what is meant for us alone: a worker must not take the service manager that started the
/// tree, or the node above, for its own.
pub(super) fn inherited_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .filter(|(key, _)| {
            let key = key.to_string_lossy();
            // Where the journal listens is the same for all.
            !(key.starts_with("TREEVISOR_") && key != journald::SOCKET_VARIABLE
                || key.starts_with("WATCHDOG_")
                || key.starts_with("LISTEN_")
                || key == "NOTIFY_SOCKET"
                || key == "INVOCATION_ID")
        })
        .collect()
}
