//! How a node starts: the root from a checked tree, every other node from the boot record of its parent.

use super::above::Above;
use super::children::{Children, Handle, Output};
use super::close::GOODBYE;
use super::context::{Context, Place};
use super::diary::Diary;
use super::directory::{Directory, Held};
use super::endpoint::{Endpoint, PullError, doors};
use super::fold::Folds;
use super::hooks::Hooks;
use super::probes::Probes;
use super::processes::Processes;
use super::reactor::{Reactor, Source};
use super::record::{BOOT_FD, NodeBoot};
use super::requests::Requests;
use super::root::file::tree_paths;
use super::root::keeper::clear_tree;
use super::root::segments::JournalRecord;
use super::root::{Journal, Keeper, Root, TreeFile, service_manager};
use super::taps::Taps;
use super::turn::Node;
use super::uplink::Uplink;
use crate::error::Chain;
use crate::ids::{Incarnation, Mark, Name, Path, ReportId, Token};
use crate::instance::runtime::{BASE_VARIABLE, InstanceFile, RuntimeDir};
use crate::instance::state::{STATE_VARIABLE, StateDir};
use crate::link::{self, Context as Sockets, Router, RouterLimits};
use crate::logging::{self, LogHandle};
use crate::logs::console::Console;
use crate::logs::stream_file::{self, StreamFile};
use crate::logs::{Format, Writer};
use crate::os::cgroup::Group;
use crate::os::cgroup::tree::Tree;
use crate::os::claim::{Claim, Claimed, Holder};
use crate::os::clock::{self, Clock};
use crate::os::descendants;
use crate::os::epoll::Poller;
use crate::os::lock::{self, LockFile};
use crate::os::signals::{self, Signals};
use crate::os::{fd, process, random, thread};
use crate::spec::exec::{BeatSource, Limit};
use crate::spec::policy::Heartbeat;
use crate::spec::tree::{ChildKind, Containment, JournalSpec, SupervisorSpec, TreeSpec};
use crate::supervision::{ChildId, Supervisor};
use crate::time::{Span, Time};
use crate::wire;
use crate::wire::journal::{Note, RunNote};
use crate::wire::view::HoldView;
use slog::{Logger, error, info, o, warn};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

/// What `treevisor start` and `treevisor run` decide before the tree begins.
pub struct RootOptions {
    /// The checked tree.
    pub tree: TreeSpec,
    /// The file that it came from, for people.
    pub config: PathBuf,
    /// Where sockets and the lock lie.
    pub runtime: RuntimeDir,
    /// Where the journal is kept; `None` where the user has no place for such things.
    pub state: Option<StateDir>,
    /// What is logged.
    pub log_level: slog::Level,
    /// How the log looks, on stderr.
    pub log_format: Format,
    /// How the workers' output looks, on stdout.
    pub output_format: Format,
    /// Whether workers' output is shown.
    pub show_output: bool,
    /// The file that the streams are of a tree in the background.
    pub output: Option<StreamFile>,
    /// Where to report that the tree is up: one line, "up" or "failed TEXT"; for `--detach`.
    pub ready: Option<OwnedFd>,
    /// A ZeroMQ endpoint on which any message panics the first child: the origin's button.
    pub panic_button: Option<String>,
    /// Reads from a journal what was held down when the last run ended without an order of an operator.
    pub read_holds: fn(&StateDir) -> Vec<HoldView>,
}

/// Why a node could not begin.
#[derive(Debug)]
pub(super) enum BootError {
    AlreadyRunning { instance: Name, pid: Option<u32> },
    Runtime { path: PathBuf, cause: Box<dyn std::error::Error> },
    Containment { reason: String },
    Closed { path: Path, uid: u32, directory: PathBuf, mode: u32 },
    Link(crate::link::LinkError),
    Prepare { what: &'static str, cause: Box<dyn std::error::Error> },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::AlreadyRunning { instance, pid } => {
                write!(f, "the instance \"{instance}\" runs already")?;
                if let Some(pid) = pid {
                    write!(f, ", as process {pid}")?;
                }
                write!(f, "; stop it with `treevisor stop -i {instance}`, or give this tree another name")
            }
            BootError::Runtime { path, .. } => write!(
                f,
                "cannot prepare the runtime directory {} (set {BASE_VARIABLE} to a directory of your own)",
                path.display()
            ),
            BootError::Closed { path, uid, directory, mode } => write!(
                f,
                "{path} runs as uid {uid}, which cannot reach the tree's sockets: the directory {} is closed to others \
                 (its mode is {mode:04o}); set {BASE_VARIABLE} to a directory that they may pass, such as /run/treevisor",
                directory.display()
            ),
            BootError::Containment { reason } => write!(
                f,
                "containment = \"cgroup\" is asked for, but no cgroup v2 can be used here: {reason}; \
                 give the tree a writable cgroup, or choose \"auto\""
            ),
            BootError::Link(_) => f.write_str("cannot open the tree's sockets"),
            BootError::Prepare { what, .. } => write!(f, "cannot {what}"),
        }
    }
}

impl std::error::Error for BootError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BootError::AlreadyRunning { .. } | BootError::Containment { .. } | BootError::Closed { .. } => None,
            BootError::Link(cause) => Some(cause),
            BootError::Runtime { cause, .. } | BootError::Prepare { cause, .. } => Some(cause.as_ref()),
        }
    }
}

/// Turns any error into a [`BootError::Prepare`] that names what was being done.
pub(super) fn while_trying<E: Into<Box<dyn std::error::Error>>>(what: &'static str) -> impl FnOnce(E) -> BootError {
    move |cause| BootError::Prepare { what, cause: cause.into() }
}

/// Runs a whole tree in this process, as its root, until it ends. Returns the exit status of `treevisor start`.
pub fn run_root(options: RootOptions) -> i32 {
    run_beside(|| root_of(options))
}

/// Runs a node that another node has started, until it ends. Returns its exit status.
pub fn run_node() -> i32 {
    run_beside(child_node)
}

fn run_beside(work: impl FnOnce() -> i32 + Send + 'static) -> i32 {
    thread::beside_main(work).unwrap_or_else(|error| {
        fd::complain(format_args!("treevisor: cannot start the thread of a supervisor's loop: {error}"));
        1
    })
}

fn root_of(options: RootOptions) -> i32 {
    let mut ready = options.ready.as_ref().and_then(|fd| fd.try_clone().ok()).map(std::fs::File::from);
    let format = options.log_format;
    signals::go_on_in_background();
    fd::complain_of_crashes();
    stream_file::set(options.output.clone());
    match WholeTree::prepare(options) {
        Ok(root) => root.run(),
        Err(error) => {
            let text = Chain(&error).to_string();
            fd::complain(format_args!("{}", logging::complaint(format, &text)));
            service_manager::tell_no_beginning(&text, 1);
            if let Some(ready) = &mut ready {
                // No process reads it, so none waits for it either.
                let _ = writeln!(ready, "failed {text}");
            }
            1
        }
    }
}

fn child_node() -> i32 {
    signals::go_on_in_background();
    fd::complain_of_crashes();
    match prepare_node() {
        Ok(mut node) => {
            let end = node.run();
            node.leave(end)
        }
        Err(error) => {
            fd::complain(format_args!("treevisor: a node could not begin: {}", Chain(&error)));
            1
        }
    }
}

/// The root, and what it has laid out.
struct WholeTree {
    node: Node,
    laid_out: LaidOut,
}

/// What a root has made outside of itself, to be taken back at its end, or when it cannot begin.
struct LaidOut {
    runtime: RuntimeDir,
    tree: Option<Tree>,
    /// Until the node has it.
    keeper: Option<Keeper>,
}

impl LaidOut {
    /// Removes it all. Only for the holder of the lock.
    fn remove(self) {
        if let Some(keeper) = self.keeper {
            keeper.dismiss(GOODBYE);
        }
        if let Some(tree) = self.tree {
            tree.remove();
        }
        self.runtime.remove();
    }
}

impl WholeTree {
    fn prepare(options: RootOptions) -> Result<WholeTree, BootError> {
        let mut held = Some(take_instance(&options.tree.name, &options.runtime)?);
        let mut laid_out = LaidOut { runtime: options.runtime.clone(), tree: None, keeper: None };
        match WholeTree::lay_out(options, &mut held, &mut laid_out) {
            Ok(node) => Ok(WholeTree { node, laid_out }),
            Err(error) => {
                laid_out.remove();
                if let Some(held) = held {
                    held.release();
                }
                Err(error)
            }
        }
    }

    /// Makes everything. Sockets are bound before anything is written.
    fn lay_out(options: RootOptions, held: &mut Option<Held>, laid_out: &mut LaidOut) -> Result<Node, BootError> {
        let RootOptions {
            tree,
            config,
            runtime,
            state,
            log_level,
            log_format,
            output_format,
            show_output,
            output,
            ready,
            panic_button,
            read_holds,
        } = options;
        let clock = Clock::start();
        let instance = tree.name.clone();
        let path = Path::root();

        let (event_logger, log_handle) = logging::root(log_level, log_format);
        let logger = node_logger(&event_logger, &path);
        sweep_stale(&runtime, &logger);
        check_way_of_others(&tree.root, &runtime)?;

        let nofile = fd::raise_nofile().map_err(while_trying("raise the limit of open files"))?;
        // What others start in our pid namespace, and what the program before us in this process has started.
        let outsiders = std::process::id() == 1 || descendants::below::has_children();
        descendants::become_subreaper().map_err(while_trying("become the reaper of orphans"))?;
        let mark = random::mark().map_err(while_trying("draw the tree's mark"))?;
        match tree.containment {
            Containment::Group => {}
            wanted => match Tree::create(instance.as_str(), &mark) {
                Ok(cgroups) => laid_out.tree = Some(cgroups),
                Err(reason) if wanted == Containment::Cgroup => {
                    return Err(BootError::Containment { reason: reason.to_string() });
                }
                Err(reason) => {
                    info!(logger, "cgroup v2 cannot be used, containment is by process group and descendants";
                        "reason" => %reason);
                }
            },
        }
        let cgroups = laid_out.tree.as_ref();

        let mut paths = Vec::new();
        tree_paths(&path, &tree.root, &mut paths);
        let (containment, kept) = (tree.containment, tree.journal);
        let mut file = InstanceFile {
            name: instance.clone(),
            pid: std::process::id(),
            started_at: clock::rfc3339_nanos(clock.wall_of(Time::ZERO)),
            version: env!("CARGO_PKG_VERSION").to_string(),
            mark: mark.to_string(),
            containment: if cgroups.is_some() { "cgroup" } else { "group" }.to_string(),
            cgroup: cgroups.map(|tree| tree.path().to_path_buf()),
            keeper_pid: None,
            config,
            tree_paths: paths,
        };
        let run = run_note(&file);
        let holds = match (&tree.journal, &state) {
            (Some(_), Some(state)) => read_holds(state),
            (None, _) | (_, None) => Vec::new(),
        };
        let record = tree.journal.and_then(|spec| journal_record(state, spec, &run, &logger));
        let journal = match &record {
            Some(_) => Some(Journal::open(run.run).map_err(while_trying("make a pipe"))?),
            None => None,
        };
        let outputs = record.as_ref().map(|record| StateDir::at(&record.directory));
        let lines = record.zip(journal.as_ref().map(Journal::reader));
        // From here on something cleans up after us, should we be killed.
        let keeper =
            Keeper::start(&runtime, &mark, cgroups.map(Tree::path), lines).map_err(while_trying("start the keeper"))?;
        file.keeper_pid = Some(keeper.pid());
        laid_out.keeper = Some(keeper);

        let family = draw_family()?;
        let place = Place {
            instance,
            path,
            incarnation: Incarnation::FIRST,
            runtime: runtime.clone(),
            mark,
            base_group: cgroups.map(|tree| tree.root().clone()),
            log_level,
            log_format,
            output_format,
            show_output,
            files: Writer::new(),
            nofile: Limit { soft: Some(nofile.soft_before), hard: Some(nofile.hard) },
            family,
            door: doors::for_children(process::own_uid(), family, tree.root.children.len(), fd::nofile_limit()),
        };
        fd::make_room(descriptors(tree.root.children.len()));
        let sockets = Sockets::new().map_err(BootError::Link)?;
        let control_limits = RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max: wire::NODE_FRAMES_MAX };
        let door = doors::for_operators(process::own_uid(), fd::nofile_limit());
        let control = Router::bind_behind(&sockets, &runtime.control_socket(), control_limits, door);
        let control = control.map_err(BootError::Link)?;
        if !link::has_doors() {
            info!(
                logger,
                "this libzmq cannot turn connections away: who speaks is looked at with each message, and \
                connections are counted now and then"
            );
        }
        let root = Root::new(control, TreeFile::new(file, outputs, containment, kept), journal);
        let mut node = make_node(Parts {
            clock,
            place,
            spec: tree.root,
            holds,
            above: Above::Operators(Box::new(root)),
            sockets,
            heartbeat: None,
            cause: None,
            event_logger,
            log_handle,
            outsiders,
        })?;
        let holds = node.holds();
        let Node { above, context, reactor, endpoint, .. } = &mut node;
        if let Above::Operators(root) = above {
            root.watch_control(reactor).map_err(while_trying("watch the control socket"))?;
            if let Some(address) = panic_button {
                let socket = root.bind_panic_socket(endpoint.sockets(), &address).map_err(BootError::Link)?;
                reactor.watch(socket.fd(), Source::PanicSocket).map_err(while_trying("watch the panic button"))?;
            }
            runtime
                .write_instance(root.file().instance())
                .map_err(|cause| BootError::Runtime { path: runtime.path().to_path_buf(), cause: cause.into() })?;
            if let Some(keeper) = laid_out.keeper.take() {
                root.take_keeper_on(keeper, reactor).map_err(while_trying("watch the keeper"))?;
            }
            root.file().write_outputs(&context.logger);
            root.keep_holds(holds);
            root.begin(ready, &context.logger);
        }
        if let Some(mut held) = held.take() {
            held.link = output.and_then(|file| link_to_output(&runtime, file.path));
            node.directory.hold(&runtime, held);
        }
        node.directory.guard(&node.context.place.runtime, &mut node.reactor);
        Ok(node)
    }

    fn run(mut self) -> i32 {
        let end = self.node.run();
        let held = self.node.directory.root.take();
        let code = self.node.leave(end);
        self.laid_out.remove();
        // Last: while it is held, no other root may lay out the directory.
        if let Some(held) = held {
            held.release();
        }
        code
    }
}

/// What a node logs about itself carries its path; what it logs about its children begins with theirs.
fn node_logger(plain: &Logger, path: &Path) -> Logger {
    plain.new(o!("node" => path.to_string()))
}

/// The journal's note on the run that begins.
fn run_note(file: &InstanceFile) -> RunNote {
    RunNote {
        at: file.started_at.clone(),
        run: file.run().to_owned(),
        instance: file.name.to_string(),
        version: file.version.clone(),
        pid: file.pid,
        boot: process::boot_id(),
        config: file.config.to_string_lossy().into_owned(),
    }
}

/// Lays out the journal's place. A tree that has none runs all the same: supervision matters more than history.
fn journal_record(state: Option<StateDir>, spec: JournalSpec, run: &RunNote, logger: &Logger) -> Option<JournalRecord> {
    let Some(state) = state else {
        warn!(logger, "events are not kept on disk, as there is no place for them";
            "set" => STATE_VARIABLE, "or" => "HOME");
        return None;
    };
    if let Err(error) = state.create() {
        // The keeper tries again with every event: what is missing may be mounted later.
        warn!(logger, "cannot make the directory in which events are kept";
            "directory" => %state.path().display(), "error" => %error, "set" => STATE_VARIABLE);
    }
    let JournalSpec { max_size, keep } = spec;
    Some(JournalRecord { directory: state.path().to_owned(), max_size, keep, run: Note::Run(run.clone()) })
}

/// How many descriptors a supervisor will use, roughly: of each child its process, its output, its cgroup, a connection
/// and a socket for notifications, and its own.
pub(super) fn descriptors(children: usize) -> usize {
    128 + 5 * children
}

/// How long a holder that may just be ending is waited for.
const ENDING: Span = Span::from_millis(300);

/// Makes the runtime directory and takes what shows that the instance is running: a name that no cleaner of files can
/// take away, and the lock that tools look at. A lock whose holder has exited is the keeper's, which is cleaning up and
/// soon done.
fn take_instance(instance: &Name, runtime: &RuntimeDir) -> Result<Held, BootError> {
    let wrong = |cause: Box<dyn std::error::Error>| BootError::Runtime { path: runtime.path().to_path_buf(), cause };
    let runs = |pid| Err(BootError::AlreadyRunning { instance: instance.clone(), pid });
    let patience = Clock::start();
    let claim = loop {
        runtime.create_base().map_err(|e| wrong(e.into()))?;
        match runtime.claim_name().and_then(|name| Claim::take(&name)) {
            Ok(Claimed::Ours(claim)) => break Some(claim),
            Ok(Claimed::Held(Holder::Own { pid })) => {
                // A root that is ending has given back its lock before.
                let ending = !process::is_alive(pid) || !lock::is_held(&runtime.lock_file());
                if !ending || patience.now() > Time::ZERO + ENDING {
                    return runs(Some(pid));
                }
                clock::pause(Span::from_millis(10));
            }
            // Where another user has taken the name, or none can be had, the lock alone has to do.
            Ok(Claimed::Held(Holder::Stranger { .. })) | Err(_) => break None,
        }
    };
    loop {
        runtime.create().map_err(|e| wrong(e.into()))?;
        match LockFile::acquire(&runtime.lock_file()) {
            Ok(lock) => return Ok(Held::new(lock, claim)),
            Err(lock::LockError::Held { pid }) => {
                let cleaning = pid.is_none_or(|pid| !process::is_alive(pid));
                if !cleaning || patience.now() > Time::ZERO + Span::from_secs(3) {
                    return runs(pid);
                }
                clock::pause(Span::from_millis(10));
            }
            Err(error) => return Err(wrong(error.into())),
        }
    }
}

/// Leaves a link to the output in the runtime directory, where one looks for what belongs to a tree that runs.
fn link_to_output(runtime: &RuntimeDir, output: PathBuf) -> Option<(PathBuf, PathBuf)> {
    let link = runtime.output_file();
    if output == link {
        return None;
    }
    if link.is_symlink() {
        let _ = std::fs::remove_file(&link);
    }
    // What an earlier version has left there is not ours to remove.
    std::os::unix::fs::symlink(&output, &link).ok().map(|()| (link, output))
}

/// The first worker of another user that is to reach a socket of its node, if others are kept from the directory.
fn check_way_of_others(tree: &SupervisorSpec, runtime: &RuntimeDir) -> Result<(), BootError> {
    let mut other = None;
    tree.for_each_supervisor(&Path::root(), &mut |path, supervisor| {
        for child in &supervisor.children {
            if let ChildKind::Worker(exec) = &child.kind
                && let Some(account) =
                    exec.account.as_ref().filter(|account| ![0, process::own_uid()].contains(&account.uid))
                && (exec.speaks_by_notify(&child.policy)
                    || child.policy.heartbeat.is_some() && exec.sources.contains(&BeatSource::Zmq))
            {
                other.get_or_insert_with(|| (path.child(&child.name), account.uid));
            }
        }
    });
    match (other, runtime.closed_to_others()) {
        (Some((path, uid)), Some((directory, mode))) => Err(BootError::Closed { path, uid, directory, mode }),
        _ => Ok(()),
    }
}

/// Clears what an earlier run of this instance left behind when root and keeper were killed together.
fn sweep_stale(runtime: &RuntimeDir, logger: &Logger) {
    let Ok(stale) = runtime.read_instance() else { return };
    warn!(logger, "an earlier run of this instance was killed, clearing what it left";
        "pid" => stale.pid, "started_at" => &stale.started_at);
    let left = clear_tree(stale.cgroup.as_deref(), &stale.mark, &stale.paths());
    if !left.is_none() {
        error!(logger, "what an earlier run left cannot be killed, and runs beside this one"; "left" => %left);
    }
    runtime.remove_sockets();
}

fn prepare_node() -> Result<Node, BootError> {
    let clock = Clock::start();
    let mut text = Vec::new();
    fd::inherited(BOOT_FD)
        .map(std::fs::File::from)
        .and_then(|mut file| file.read_to_end(&mut text))
        .map_err(while_trying("read what the parent node handed down"))?;
    let boot: NodeBoot =
        wire::json::from_slice(&text).map_err(while_trying("understand what the parent node handed down"))?;
    drop(text);
    stream_file::set(boot.output.clone());
    let log_level = slog::Level::from_usize(boot.log_level).unwrap_or(slog::Level::Info);
    let (event_logger, log_handle) = logging::root(log_level, boot.log_format);
    descendants::become_subreaper().map_err(while_trying("become the reaper of orphans"))?;
    let base_group = match &boot.cgroup {
        Some(path) => {
            let group = Group::open_entered_by_itself(path, boot.cgroup_by_itself);
            Some(group.map_err(while_trying("open the subtree's cgroup"))?)
        }
        None => None,
    };
    fd::make_room(descriptors(boot.spec.children.len()));
    let sockets = Sockets::new().map_err(BootError::Link)?;
    let uplink = Uplink::connect(&sockets, &boot).map_err(BootError::Link)?;
    let family = draw_family()?;
    let place = Place {
        instance: boot.instance,
        path: boot.path,
        incarnation: boot.incarnation,
        runtime: RuntimeDir::at(boot.runtime),
        mark: Mark::parse(&boot.mark).map_err(while_trying("read the tree's mark"))?,
        base_group,
        log_level,
        log_format: boot.log_format,
        output_format: boot.output_format,
        show_output: boot.show_output,
        files: Writer::new(),
        nofile: boot.nofile,
        family,
        door: doors::for_children(process::own_uid(), family, boot.spec.children.len(), fd::nofile_limit()),
    };
    make_node(Parts {
        clock,
        place,
        spec: boot.spec,
        holds: boot.holds,
        above: Above::Parent(Box::new(uplink)),
        sockets,
        heartbeat: boot.heartbeat,
        cause: boot.cause,
        event_logger,
        log_handle,
        outsiders: false,
    })
}

/// What the names of our child nodes will begin with.
fn draw_family() -> Result<Token, BootError> {
    let mut family = Token([0; 16]);
    random::fill(&mut family.0).map_err(while_trying("draw random numbers"))?;
    Ok(family)
}

/// What differs between the root and other nodes.
struct Parts {
    clock: Clock,
    place: Place,
    spec: SupervisorSpec,
    holds: Vec<HoldView>,
    above: Above,
    sockets: Sockets,
    heartbeat: Option<Heartbeat>,
    /// The parent's report of our start.
    cause: Option<ReportId>,
    event_logger: Logger,
    log_handle: LogHandle,
    /// It may adopt processes that nothing of it has started.
    outsiders: bool,
}

fn make_node(parts: Parts) -> Result<Node, BootError> {
    let Parts { clock, place, spec, holds, above, sockets, heartbeat, cause, event_logger, log_handle, outsiders } =
        parts;
    let signals = Signals::install().map_err(while_trying("install signal handlers"))?;
    let signals_fd = signals.fd();

    let socket = place.runtime.node_socket(&place.path);
    let nodes = spec.children.iter().any(|child| child.is_supervisor());
    let mut endpoint = Endpoint::bind(sockets, socket.clone(), place.door.clone(), nodes).map_err(BootError::Link)?;
    let mut directory = Directory::new(socket.clone());
    // A worker under another user must reach its node, though never the control endpoint.
    let foreign_beats = spec.children.iter().any(|child| {
        matches!(&child.kind, ChildKind::Worker(exec) if exec.user.is_some() && child.policy.heartbeat.is_some())
    });
    if foreign_beats {
        directory.opened();
        place.runtime.open_to_others(&socket).map_err(while_trying("let workers of other users reach their node"))?;
    }

    let mut numbers = [0u8; 12];
    random::fill(&mut numbers).map_err(while_trying("draw random numbers"))?;
    let (node_number, seed) = numbers.split_at(4);
    let poller = Poller::new().map_err(while_trying("open an epoll"))?;
    let mut reactor = Reactor::new(poller, signals, Processes::new(outsiders));
    let mut watch = |fd: RawFd, source: Source| reactor.watch(fd, source).map_err(while_trying("watch a descriptor"));
    watch(endpoint.fd(), Source::Router)?;
    watch(signals_fd, Source::Signals)?;
    if let Some(fd) = place.files.fd() {
        watch(fd, Source::LogFiles)?;
    }
    if let Above::Parent(uplink) = &above {
        watch(uplink.fd(), Source::Uplink)?;
    }

    let mut handles: Vec<Handle> = Vec::with_capacity(spec.children.len());
    for child in spec.children {
        let mut handle = Handle::new(child, &place, handles.last());
        handle.remember_holds(&holds);
        handles.push(handle);
    }
    for (id, handle) in (0..).map(ChildId).zip(&handles) {
        endpoint.bind_pulls(id, Some(&handle.what), &mut reactor).map_err(|error| match error {
            PullError::Link(error) => BootError::Link(error),
            PullError::Watch(error) => while_trying("watch a descriptor")(error),
        })?;
    }
    let is_root = above.is_root();
    let core = Supervisor::new(crate::supervision::Config {
        policy: spec.policy,
        members: handles.iter().map(Handle::member).collect(),
        uplink: heartbeat,
        node: u32::from_ne_bytes(node_number.try_into().expect("four bytes were split off")),
        seed: u64::from_ne_bytes(seed.try_into().expect("eight bytes are left")),
    })
    .started_by(cause)
    .holding(handles.iter().filter(|handle| handle.hold.is_some()).map(|handle| handle.name.as_str()));
    let core = if is_root { core.as_root() } else { core };

    let writer = place.files.clone();
    let mut console = Console::stdout(place.output_format);
    let bell = place.files.clone();
    console.rings(move || bell.ring());
    let logger = node_logger(&event_logger, &place.path);
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
        policy: spec.policy,
        children: Children::new(handles, Output::new(console, writer)),
        endpoint,
        directory,
        above,
        probes: Probes::default(),
        hooks: Hooks::new(spec.hooks, is_root),
        taps: Taps::default(),
        requests: Requests::new(),
        incoming: HashMap::new(),
        reload_heard: None,
        inbox: VecDeque::new(),
        actions: Vec::new(),
        untold: Vec::new(),
        folds: Folds::default(),
        console_retry: None,
        ended: None,
        diary: Diary::default(),
        stopping_signals: 0,
        had_terminal: process::has_terminal(),
    };
    // Holds of children that no longer exist are dropped, here and in the nodes above.
    node.children.changed = node.holds() != holds;
    Ok(node)
}

/// Our own environment without what is meant for us alone: a worker must not take the service manager that started the
/// tree, or the node above, for its own.
fn inherited_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .filter(|(key, _)| {
            let key = key.to_string_lossy();
            !(key.starts_with("TREEVISOR_")
                || key.starts_with("WATCHDOG_")
                || key.starts_with("LISTEN_")
                || key == "NOTIFY_SOCKET"
                || key == "INVOCATION_ID")
        })
        .collect()
}
