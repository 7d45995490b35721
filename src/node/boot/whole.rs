//! A node as a whole: made of its parts at its start, made of a snapshot after a hot upgrade, and packed into a
//! snapshot before one. These three stand in one file and name every field, so that a new field does not compile until
//! each of them handles it.

use super::carried::reactor_of;
use super::failure::{BootError, while_trying};
use super::instance::link_to_output;
use super::wiring::{NodeParts, awaited, bind_endpoint, children_of, context_again, context_of, core, output_of};
use crate::error::Chain;
use crate::ids::Name;
use crate::instance::runtime::RuntimeDir;
use crate::link::Context as Sockets;
use crate::logs::stream_file;
use crate::node::above::Above;
use crate::node::beside::Beside;
use crate::node::children::Children;
use crate::node::close::DISMISSAL;
use crate::node::context::Place;
use crate::node::deadlines::SpinDetector;
use crate::node::diary::Diary;
use crate::node::directory::{Directory, Held};
use crate::node::endpoint::{Endpoint, PullError, doors};
use crate::node::fold::Folds;
use crate::node::hooks::Hooks;
use crate::node::hosted;
use crate::node::limits::{self, Limits};
use crate::node::luggage::{OrRollBack, Packing, Unpacking, fail};
use crate::node::phase::Phase;
use crate::node::placed::Placed;
use crate::node::probes::Probes;
use crate::node::processes::Processes;
use crate::node::reactor::{Reactor, Source};
use crate::node::requests::Requests;
use crate::node::root::Keeper;
use crate::node::streams::Streams;
use crate::node::turn::Node;
use crate::node::upgrade::state::{CarriedAbove, CarriedNode};
use crate::node::upgrade::upgrading::Upgrading;
use crate::os::cgroup::tree::Tree;
use crate::os::clock::Clock;
use crate::os::epoll::Poller;
use crate::os::signals::{self, Signals};
use crate::os::{fd, memory, process, random};
use crate::supervision::{ChildId, Event, Snapshot, Supervisor};
use crate::wire::snapshot::{Facts, State};
use crate::wire::view::EventBody;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

/// Makes a node of its parts, at its start.
pub(super) fn wire_up(parts: NodeParts) -> Result<Node, BootError> {
    let NodeParts { clock, place, spec, holds, above, sockets, heartbeat, cause, event_logger, log_handle, outsiders } =
        parts;
    let limits = Limits::begin(spec.resources, &place).map_err(|limit| BootError::Limit { limit })?;
    let signals = Signals::install().map_err(while_trying("install signal handlers"))?;
    signals::deliver();
    let (mut endpoint, directory) = bind_endpoint(&place, &spec.children, sockets)?;
    let mut numbers = [0u8; 12];
    random::fill(&mut numbers).map_err(while_trying("draw random numbers"))?;
    let poller = Poller::new().map_err(while_trying("open an epoll"))?;
    let mut reactor = Reactor::new(poller, signals, Processes::new(outsiders));
    for (fd, source) in awaited(&reactor, &endpoint, &place, &above) {
        reactor.watch(fd, source).map_err(while_trying("watch a descriptor"))?;
    }
    let behind: Vec<Name> = spec.children.iter().filter(|child| child.behind).map(|child| child.name.clone()).collect();
    let children = children_of(spec.children, &holds, &place);
    for (id, child) in (0..).map(ChildId).zip(&children) {
        endpoint.bind_pulls(id, Some(&child.what), &mut reactor).map_err(|error| match error {
            PullError::Link(error) => BootError::Link(error),
            PullError::Watch(error) => while_trying("watch a descriptor")(error),
        })?;
    }
    let is_root = above.is_root();
    let core = core(spec.policy, &children, heartbeat, numbers).started_by(cause);
    let core = core.behind(behind.iter().map(Name::as_str));
    let core = if is_root { core.as_root() } else { core };

    let output = output_of(&place);
    let context = context_of(clock, place, event_logger, log_handle);
    let requests = Requests::new(context.place.path.clone(), context.logger.clone());
    let mut node = Node {
        context,
        reactor,
        core,
        children: Children::new(children, output),
        endpoint,
        directory,
        above,
        placed: Placed::default(),
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
        phase: Phase::Running,
        diary: Diary::default(),
        spin_detector: SpinDetector::default(),
        upgrade: Upgrading::default(),
        stopping_signals: 0,
        starter: None,
    };
    // If a socket cannot be opened, the root does not start; in another node the start of the worker with that socket
    // fails.
    let unopened = node.children.open_sockets();
    if let Some((path, error)) = unopened.into_iter().next().filter(|_| is_root) {
        return Err(BootError::Listen { path, error });
    }
    limits::complain(&node.context.place.path, node.limits.unset(), &node.context);
    // Holds of children that no longer exist are dropped here, and reported upward, so that they are dropped there too.
    if node.view().holds() != holds || !behind.is_empty() {
        node.children.mark_changed();
    }
    Ok(node)
}

/// What is outside of a new root: what it shows there, and the process that has started it.
pub(super) struct Shown {
    /// The parent of this process at its start, if it was started at a terminal.
    pub starter: Option<u32>,
    pub panic_button: Option<String>,
    pub ready: Option<OwnedFd>,
    /// The file that stdout and stderr of a tree in the background are.
    pub output: Option<PathBuf>,
}

/// Makes the root of its parts, writes the files by which tools find the instance, and gives the root its keeper.
/// Sockets are bound before any file is written.
pub(super) fn open(
    parts: NodeParts,
    shown: Shown,
    laid_out: &mut LaidOut,
    held: &mut Option<Held>,
) -> Result<Node, BootError> {
    let were_held = !parts.holds.is_empty();
    let mut node = wire_up(parts)?;
    node.starter = shown.starter;
    let holds = node.view().holds();
    let Node { above, context, reactor, endpoint, directory, .. } = &mut node;
    let runtime = &context.place.runtime;
    if let Some(root) = above.root_mut() {
        root.watch_control(reactor).map_err(while_trying("watch the control socket"))?;
        root.watch_lease(reactor).map_err(while_trying("watch the alarm of the host's lease"))?;
        if let Some(address) = shown.panic_button {
            let socket = root.bind_panic_socket(endpoint.sockets(), &address).map_err(BootError::Link)?;
            reactor.watch(socket, Source::PanicSocket).map_err(while_trying("watch the panic button"))?;
        }
        runtime
            .write_instance(root.file().instance())
            .map_err(|cause| BootError::Runtime { path: runtime.path().to_path_buf(), cause: cause.into() })?;
        if let Some(keeper) = laid_out.keeper.take() {
            root.take_keeper_on(keeper, reactor).map_err(while_trying("watch the keeper"))?;
        }
        root.file().write_outputs(&context.logger);
        root.begin_holds(context.now(), were_held, holds);
        root.begin(shown.ready, &context.logger);
    }
    if let Some(mut held) = held.take() {
        held.keep_link(shown.output.and_then(|file| link_to_output(runtime, file)));
        directory.hold(runtime, held, [endpoint.path(), &runtime.control_socket()]);
    }
    directory.guard(runtime, reactor);
    Ok(node)
}

/// The root, with what it has created outside of its process.
pub(super) struct WholeTree {
    pub(super) node: Node,
    pub(super) laid_out: LaidOut,
}

/// What a root has created outside of its process. It is removed when the root ends or cannot start.
pub(super) struct LaidOut {
    pub(super) runtime: RuntimeDir,
    pub(super) tree: Option<Tree>,
    /// The keeper, until the node takes it.
    pub(super) keeper: Option<Keeper>,
}

impl LaidOut {
    /// Removes all of it. Only the holder of the lock may call this.
    pub(super) fn remove(self) {
        if let Some(keeper) = self.keeper {
            keeper.dismiss().wait(DISMISSAL);
        }
        if let Some(tree) = self.tree {
            tree.remove();
        }
        self.runtime.remove();
    }
}

impl WholeTree {
    /// A root after a hot upgrade: what it has created outside of the process is still there.
    pub(super) fn again(node: Node) -> WholeTree {
        let Place { runtime, base_group, .. } = &node.context.place;
        let tree = base_group.clone().map(Tree::again);
        WholeTree { laid_out: LaidOut { runtime: runtime.clone(), tree, keeper: None }, node }
    }

    pub(super) fn run(mut self, begin: Option<Event>) -> i32 {
        if begin.is_some()
            && self.node.context.place.hosting.is_some()
            && let Some(over) = hosted::failed_over()
        {
            self.node.publish_own(EventBody::FailedOver(over));
        }
        let end = self.node.run(begin);
        let held = self.node.directory.give_up();
        let code = self.node.leave(end);
        self.laid_out.remove();
        // Last: as long as the lock is held, no other root may create the directory.
        if let Some(held) = held {
            held.release();
        }
        code
    }
}

/// Makes the node of its snapshot, after a hot upgrade.
pub(super) fn restore(state: State<CarriedNode, Snapshot>, mut unpacking: Unpacking<'_>) -> Node {
    if state.boot != process::boot_id() {
        fail("the snapshot is of another boot of the machine");
    }
    let clock = Clock::with_origin(state.clock);
    let now = clock.now();
    let core = Supervisor::restore(state.core, |name, place| state.node.member(name, place))
        .or_roll_back("making the supervisor again");
    let CarriedNode {
        place,
        output,
        log,
        children,
        endpoint,
        directory,
        above,
        strangers: unknown,
        probes,
        beside,
        hooks,
        limits,
        streams,
        requests,
        folds,
        release_memory_at,
        stalled,
        stopping_signals,
        had_terminal,
        starter,
        upgrade,
    } = state.node;
    stream_file::set(output);
    let count = children.count();
    let context = context_again(clock, Place::unpack(place, count), log);
    let limits = limits.go_on(&context.place);
    let mut reactor = reactor_of(unknown);
    let children = Children::unpack(children, &context.place, output_of(&context.place), &mut unpacking, &mut reactor);
    fd::make_room(doors::descriptors(count));
    let sockets = Sockets::new().or_roll_back("making a ZeroMQ context");
    let is_root = matches!(above, CarriedAbove::Operators(_));
    let above = Above::unpack(above, &sockets, &context, &mut unpacking, &mut reactor);
    let endpoint = Endpoint::unpack(endpoint, sockets, &children, &context, &mut unpacking, &mut reactor);
    for (fd, source) in awaited(&reactor, &endpoint, &context.place, &above) {
        reactor.watch(fd, source).or_roll_back("watching a descriptor");
    }
    let probes = Probes::unpack(probes, &children, &mut unpacking, &mut reactor);
    let beside = Beside::unpack(beside, &mut unpacking, &mut reactor);
    let hooks = Hooks::unpack(hooks, is_root, &mut unpacking, &mut reactor);
    let nodes: Vec<_> = children.nodes().map(|(run, _)| run).collect();
    Node {
        requests: Requests::unpack(requests, context.place.path.clone(), context.logger.clone()),
        directory: Directory::unpack(directory, &mut unpacking),
        upgrade: Upgrading::unpack(upgrade, now, nodes),
        context,
        reactor,
        core,
        children,
        endpoint,
        above,
        // A node with placed children is not upgraded, so there is nothing to take over.
        placed: Placed::default(),
        probes,
        beside,
        hooks,
        limits,
        streams,
        inbox: VecDeque::new(),
        actions: Vec::new(),
        pending_reports: Vec::new(),
        folds,
        console_retry: None,
        release_memory_at,
        phase: Phase::Running,
        diary: Diary::after(stalled),
        spin_detector: SpinDetector::default(),
        stopping_signals,
        starter: starter.or(had_terminal.then_some(0)),
    }
}

impl Node {
    /// The shell's part of the snapshot. Nothing is changed, since this image goes on if the next one cannot.
    pub(in crate::node) fn pack(&self, packing: &mut Packing<'_>) -> CarriedNode {
        let Node {
            context,
            reactor,
            core: _,
            children,
            endpoint,
            directory,
            above,
            placed: _,
            probes,
            beside,
            hooks,
            limits,
            streams,
            requests,
            // These three are empty at the end of a turn.
            inbox: _,
            actions: _,
            pending_reports: _,
            folds,
            // The next image tries to write at once.
            console_retry: _,
            release_memory_at,
            // A node that is ending is not upgraded.
            phase: _,
            diary,
            spin_detector: _,
            upgrade,
            stopping_signals,
            starter,
        } = self;
        CarriedNode {
            place: context.place.pack(),
            output: stream_file::get().cloned(),
            log: context.log_handle.unreported(),
            children: children.pack(packing),
            endpoint: endpoint.pack(packing),
            directory: directory.pack(packing),
            above: above.pack(packing),
            strangers: reactor.processes.pack(),
            probes: probes.pack(packing),
            beside: beside.pack(packing),
            hooks: hooks.pack(packing),
            limits: limits.clone(),
            streams: streams.clone(),
            requests: requests.pack(),
            folds: folds.clone(),
            release_memory_at: *release_memory_at,
            stalled: diary.stalled(),
            stopping_signals: *stopping_signals,
            had_terminal: starter.is_some(),
            starter: *starter,
            upgrade: upgrade.pack(),
        }
    }

    /// The snapshot in pieces, ready to be written.
    pub(in crate::node) fn written(
        &self,
        packing: Packing<'static>,
        node: CarriedNode,
        core: Snapshot,
    ) -> serde_json::Result<Vec<Cow<'static, [u8]>>> {
        packing.finish(|descriptors| Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: process::boot_id(),
            clock: self.context.clock.origin(),
            taken: self.context.now().as_nanos(),
            node,
            core,
            descriptors,
        })
    }

    /// The snapshot as a sealed file in memory, and the descriptors that belong to it. `what` names it in errors.
    pub(in crate::node) fn kept_snapshot(&self, name: &str, what: &str) -> Result<(OwnedFd, Vec<RawFd>), String> {
        let mut packing = Packing::default();
        let node = self.pack(&mut packing);
        let kept = packing.numbers();
        let pieces = self.written(packing, node, self.core.snapshot());
        let pieces = pieces.map_err(|error| format!("writing {what}: {}", Chain(&error)))?;
        let snapshot = memory::sealed(name, &pieces).map_err(|error| format!("keeping {what}: {}", Chain(&error)))?;
        Ok((snapshot, kept))
    }
}
