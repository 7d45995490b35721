//! A node that another image of the program has left in this process.
//!
//! Until the commit, whatever goes wrong leads back to that image: so nothing is written, started or received before, and what
//! fails does not return (`luggage`).

use super::root::{LaidOut, WholeTree, control_limits};
use super::wiring::{inherited_environment, node_logger};
use crate::ids::{Mark, Path};
use crate::instance::runtime::RuntimeDir;
use crate::link::Context as Sockets;
use crate::logging;
use crate::logs::console::Console;
use crate::logs::{Writer, stream_file};
use crate::node::above::Above;
use crate::node::beside::Beside;
use crate::node::children::{Child, Children, Output};
use crate::node::context::{Context, Place};
use crate::node::diary::Diary;
use crate::node::directory::Directory;
use crate::node::endpoint::{Endpoint, doors};
use crate::node::hooks::Hooks;
use crate::node::luggage::{OrBack, Unpacking, fail};
use crate::node::probes::Probes;
use crate::node::processes::Processes;
use crate::node::reactor::{Reactor, Source};
use crate::node::requests::Requests;
use crate::node::root::Root;
use crate::node::strangers::{CarriedStrangers, Strangers};
use crate::node::turn::Node;
use crate::node::upgrade::rehearsal::LIMIT;
use crate::node::upgrade::state::{CarriedAbove, CarriedNode, CarriedPlace};
use crate::node::upgrade::upgrading::Upgrading;
use crate::node::uplink::Uplink;
use crate::os::cgroup::Group;
use crate::os::cgroup::tree::Tree;
use crate::os::clock::Clock;
use crate::os::epoll::Poller;
use crate::os::exec::Resumed;
use crate::os::memory::Mapped;
use crate::os::signals::{self, Signals};
use crate::os::{fd, process};
use crate::supervision::{Snapshot, Supervisor};
use crate::time::Time;
use crate::wire::snapshot::{self, State};
use std::collections::VecDeque;

/// Goes on with the node, until it ends. Returns the exit status.
pub(super) fn run(resumed: Resumed) -> i32 {
    let came_back = resumed.came_back().map(str::to_owned);
    signals::begin_in_place();
    signals::go_on_in_background();
    fd::complain_of_crashes();
    process::set_name("treevisor");
    let (snapshot, way_back) = match resumed.arm(LIMIT) {
        Ok(armed) => armed,
        Err(error) => fail(&format!("the way back cannot be prepared: {error}")),
    };
    let mapped = Mapped::of(&snapshot).or_back("mapping the snapshot");
    let (state, blobs) = snapshot::read::<CarriedNode, Snapshot>(&mapped).or_back("reading the snapshot");
    let unpacking = Unpacking::begin(&state.descriptors, blobs);
    let taken = Time::from_nanos(state.taken);
    let node = restore(state, unpacking, came_back.is_some());
    fault(&node.context.place.path, "restored", came_back.is_some());
    drop(mapped);
    drop(snapshot);
    if let Err(error) = way_back.commit() {
        slog::warn!(node.context.logger, "descriptors may be inherited by children"; "error" => %error);
    }
    go_on(node, taken, came_back)
}

/// From here on it is a node like any other.
fn go_on(mut node: Node, taken: Time, came_back: Option<String>) -> i32 {
    let lost = node.context.now().since(taken);
    node.diary.begin(node.context.now());
    if let Above::Parent(uplink) = &mut node.above {
        uplink.introduce();
    }
    let runtime = node.context.place.runtime.clone();
    if let Some(root) = node.above.root_mut() {
        root.goes_on();
    }
    if node.above.is_root() {
        node.directory.guard(&runtime, &mut node.reactor);
        node.children.changed = true;
    }
    node.begin_again(lost, came_back);
    if node.above.is_root() {
        let tree = node.context.place.base_group.clone().map(Tree::again);
        let laid_out = LaidOut { runtime, tree, keeper: None };
        return WholeTree { node, laid_out }.run(None);
    }
    let end = node.run(None);
    node.leave(end)
}

/// Makes the node of its snapshot.
fn restore(state: State<CarriedNode, Snapshot>, mut unpacking: Unpacking<'_>, came_back: bool) -> Node {
    if state.boot != process::boot_id() {
        fail("the snapshot is of another boot of the machine");
    }
    let clock = Clock::with_origin(state.clock);
    let now = clock.now();
    let core = Supervisor::restore(state.core, |name, place| state.node.member(name, place))
        .or_back("making the supervisor again");
    let CarriedNode {
        place,
        output,
        children,
        endpoint,
        directory,
        above,
        strangers,
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
        upgrade,
    } = state.node;
    fault(&place.path, "read", came_back);
    stream_file::set(output);
    let count = children.count();
    let place = place_of(place, count);
    let (event_logger, log_handle) = logging::root(place.log_level, place.log_format, place.instance.as_str());
    let logger = node_logger(&event_logger, &place.path);
    let pid = std::process::id();
    let base_environment = inherited_environment();
    let context = Context { clock, pid, place, logger, event_logger, log_handle, base_environment };
    let mut reactor = reactor_of(strangers);
    let output = output_of(&context);
    let children = Children::unpack(children, &context.place, output, &mut unpacking, &mut reactor);
    fd::make_room(doors::descriptors(count));
    let sockets = Sockets::new().or_back("making a ZeroMQ context");
    let is_root = matches!(above, CarriedAbove::Operators(_));
    let above = above_of(above, &sockets, &context, &mut unpacking, &mut reactor);
    let endpoint = Endpoint::unpack(endpoint, sockets, &children, &context, &mut unpacking, &mut reactor);
    watch(&mut reactor, &endpoint, &above, &context);
    let probes = Probes::unpack(probes, &children, &mut unpacking, &mut reactor);
    let beside = Beside::unpack(beside, &mut unpacking, &mut reactor);
    let hooks = Hooks::unpack(hooks, is_root, &mut unpacking, &mut reactor);
    let nodes = children.with_ids().filter(|(_, child)| Child::is_node(child));
    let nodes: Vec<_> = nodes.filter_map(|(id, _)| children.running_as(id)).collect();
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
        ended: None,
        diary: Diary::after(stalled),
        spin: crate::node::deadlines::Spin::default(),
        stopping_signals,
        had_terminal,
    }
}

fn above_of(
    carried: CarriedAbove,
    sockets: &Sockets,
    context: &Context,
    unpacking: &mut Unpacking<'_>,
    reactor: &mut Reactor,
) -> Above {
    match carried {
        CarriedAbove::Parent(uplink) => Above::Parent(Box::new(Uplink::unpack(*uplink, sockets))),
        CarriedAbove::Operators(root) => {
            let control = context.place.runtime.control_socket();
            let door = doors::for_operators(process::own_uid(), fd::nofile_limit());
            let ways = (sockets, control.as_path(), control_limits(), door);
            Above::Operators(Box::new(Root::unpack(*root, ways, &context.logger, unpacking, reactor)))
        }
    }
}

fn reactor_of(strangers: CarriedStrangers) -> Reactor {
    let signals = Signals::install().or_back("installing signal handlers");
    let mut processes = Processes::new(false);
    processes.unknown = Strangers::unpack(strangers);
    // What was adopted in the gap, and what has ended in it, shows in the first turn.
    processes.orphans_wait = true;
    Reactor::new(Poller::new().or_back("opening an epoll"), signals, processes)
}

fn output_of(context: &Context) -> Output {
    let mut console = Console::stdout(context.place.output_format, context.place.instance.as_str());
    let (writer, bell) = (context.place.files.clone(), context.place.files.clone());
    console.rings(move || bell.ring());
    Output::new(console, writer)
}

fn place_of(carried: CarriedPlace, children: usize) -> Place {
    let CarriedPlace {
        instance,
        path,
        incarnation,
        runtime,
        mark,
        base_group,
        base_group_by_itself,
        log_level,
        log_format,
        output_format,
        show_output,
        nofile,
        family,
    } = carried;
    Place {
        instance,
        path,
        incarnation,
        runtime: RuntimeDir::at(runtime),
        mark: Mark::parse(&mark).or_back("reading the tree's mark"),
        base_group: base_group.map(|path| {
            Group::open_entered_by_itself(&path, base_group_by_itself).or_back("opening the subtree's cgroup")
        }),
        log_level: slog::Level::from_usize(log_level).unwrap_or(slog::Level::Info),
        log_format,
        output_format,
        show_output,
        files: Writer::new(),
        nofile,
        family,
        door: doors::for_children(process::own_uid(), family, children, fd::nofile_limit()),
    }
}

/// What every node waits for, besides what the parts have begun to watch.
fn watch(reactor: &mut Reactor, endpoint: &Endpoint, above: &Above, context: &Context) {
    let signals = reactor.signals.fd();
    let mut all = vec![(endpoint.fd(), Source::Router), (signals, Source::Signals)];
    all.extend(context.place.files.fd().map(|fd| (fd, Source::LogFiles)));
    if let Above::Parent(uplink) = above {
        all.push((uplink.fd(), Source::Uplink));
    }
    for (fd, source) in all {
        reactor.watch(fd, source).or_back("watching a descriptor");
    }
}

/// What must not happen, where a test wants it: `TV_TEST_UPGRADE=/web restored panic`. Only in builds for tests.
#[cfg(debug_assertions)]
fn fault(path: &Path, place: &str, came_back: bool) {
    let wanted = std::env::var("TV_TEST_UPGRADE").unwrap_or_default();
    let mut words = wanted.split(' ');
    if came_back || words.next() != Some(path.as_str()) || words.next() != Some(place) {
        return;
    }
    match words.next() {
        Some("fail") => fail("a test wants it"),
        Some("abort") => std::process::abort(),
        Some("hang") => loop {
            std::hint::spin_loop();
        },
        _ => panic!("a test wants it"),
    }
}

#[cfg(not(debug_assertions))]
fn fault(_: &Path, _: &str, _: bool) {}
