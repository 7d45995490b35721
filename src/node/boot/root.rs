//! The root of a tree: what it creates outside of its process before it runs, and removes when it has ended.

use super::failure::{BootError, while_trying};
use super::instance::{sweep_stale, take_instance};
use super::whole::{LaidOut, Shown, WholeTree, open};
use super::wiring::{NodeParts, draw_family, node_logger};
use crate::error::Chain;
use crate::ids::{Incarnation, Mark, Path};
use crate::instance::runtime::{InstanceFile, RuntimeDir};
use crate::instance::state::{STATE_VARIABLE, StateDir};
use crate::link::{self, Context as Sockets, Router};
use crate::logging;
use crate::logs::stream_file::{self, StreamFile};
use crate::logs::{Format, Writer};
use crate::node::above::Above;
use crate::node::context::Place;
use crate::node::directory::Held;
use crate::node::endpoint::doors;
use crate::node::hosted::Hosted;
use crate::node::reach;
use crate::node::record::Hosting;
use crate::node::root::file::tree_paths;
use crate::node::root::segments::JournalRecord;
use crate::node::root::{Journal, Keeper, Root, TreeFile, service_manager, state_lock};
use crate::os::cgroup::tree::Tree;
use crate::os::clock::{self, Clock};
use crate::os::lock::LockFile;
use crate::os::{descendants, fd, process, random, signals};
use crate::spec::exec::{FENCE, Limit};
use crate::spec::tree::{Containment, JournalSpec, TreeSpec};
use crate::supervision::Event;
use crate::time::Time;
use crate::wire::journal::{Note, RunNote};
use crate::wire::view::HoldView;
use slog::{Logger, info, warn};
use std::cell::Cell;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The options of `treevisor start` and `treevisor run`.
pub struct RootOptions {
    /// The checked tree.
    pub tree: TreeSpec,
    /// The file that the tree was read from, as it is shown to people.
    pub config: PathBuf,
    /// The directory of the sockets and the lock.
    pub runtime: RuntimeDir,
    /// The directory of the journal. `None` if the user has no state directory.
    pub state: Option<StateDir>,
    /// From which level on lines are logged.
    pub log_level: slog::Level,
    /// The format of the log, on stderr.
    pub log_format: Format,
    /// The format of the workers' output, on stdout.
    pub output_format: Format,
    /// The first line that is shown on a terminal. It names the command that shows the tree.
    pub first_line: Option<String>,
    /// Whether workers' output is shown.
    pub show_output: bool,
    /// For a tree in the background: the file that stdout and stderr are.
    pub output: Option<StreamFile>,
    /// For `--detach`: where one line reports that the tree is up ("up") or has failed to start ("failed TEXT").
    pub ready: Option<OwnedFd>,
    /// For `treevisor run --command`: a ZeroMQ endpoint on which any message panics the first child.
    pub panic_button: Option<String>,
    /// Gives these options another name if an instance of this name runs already. `None`: no other name is tried.
    pub another_name: Option<fn(RootOptions) -> Option<RootOptions>>,
    /// Reads from the journal what was held when the last run ended, unless an operator has stopped that run.
    pub read_holds: fn(&StateDir) -> Vec<HoldView>,
}

/// Runs a tree until it ends. Returns the exit status.
pub(super) fn run(options: RootOptions) -> i32 {
    let mut ready = options.ready.as_ref().and_then(|fd| fd.try_clone().ok()).map(std::fs::File::from);
    let format = options.log_format;
    signals::go_on_in_background();
    fd::complain_of_crashes();
    stream_file::set(options.output.clone());
    match prepare(options) {
        Ok(root) => root.run(Some(Event::Begin)),
        Err(error) => {
            let text = Chain(&error).to_string();
            fd::complain(format_args!("{}", logging::complaint(format, &text)));
            service_manager::report_no_beginning(&text, error.code());
            if let Some(ready) = &mut ready {
                // If the reader is gone, no process waits for the line, so the error does not matter.
                let _ = writeln!(ready, "failed {text}");
            }
            error.code()
        }
    }
}

fn prepare(options: RootOptions) -> Result<WholeTree, BootError> {
    // Before anything else: from here on the kernel kills this process when the lease of its host has expired.
    let hosted = Hosted::from_env().map_err(while_trying("run by the lease of the host"))?;
    if !descendants::has_proc_of_its_own() {
        let why =
            "/proc is that of another pid namespace, and shows other pids; mount it anew (`unshare --mount-proc`)";
        return Err(while_trying("find the processes of the tree")(why));
    }
    // Early: a terminal that goes meanwhile is not found any more, and its SIGHUP waits for the handlers.
    let starter = process::has_terminal().then(process::parent);
    let (mut options, held) = take_name(options)?;
    let mut held = Some(held);
    let mut laid_out = LaidOut { runtime: options.runtime.clone(), tree: None, keeper: None };
    let shown = Shown {
        starter,
        panic_button: options.panic_button.take(),
        ready: options.ready.take(),
        output: options.output.take().map(|file| file.path),
    };
    let begun = lay_out(options, hosted, &mut laid_out).and_then(|parts| open(parts, shown, &mut laid_out, &mut held));
    match begun {
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

/// Creates the parts of the root, and what it needs outside of its process: cgroups, journal, keeper, control endpoint.
fn lay_out(options: RootOptions, hosted: Option<Hosted>, laid_out: &mut LaidOut) -> Result<NodeParts, BootError> {
    let RootOptions { tree, config, runtime, state, log_level, log_format, output_format, show_output, .. } = options;
    let clock = Clock::start();
    let (event_logger, log_handle) = logging::root(log_level, log_format, tree.name.as_str());
    if let Some(line) = options.first_line {
        log_handle.say(line);
    }
    let logger = node_logger(&event_logger, &Path::root());
    sweep_stale(&runtime, &logger);
    reach::check(&Path::root(), &tree.root, &runtime).map_err(BootError::Closed)?;

    let nofile = fd::raise_nofile().map_err(while_trying("raise the limit of open files"))?;
    // Process 1 of a pid namespace adopts what others start there. A program that has executed treevisor in its place
    // may have had children.
    let outsiders = std::process::id() == 1 || descendants::below::has_children();
    descendants::become_subreaper().map_err(while_trying("become the reaper of orphans"))?;
    let mark = random::mark().map_err(while_trying("draw the tree's mark"))?;
    laid_out.tree = contain(&tree, &mark, &logger)?;
    let cgroups = laid_out.tree.as_ref();
    let mut file = instance_file(&tree, config, &mark, cgroups, &clock);
    let Memory { holds, record, journal, state_lock } =
        remember(&tree, state, options.read_holds, &run_note(&file), &logger)?;
    let state = record.as_ref().map(|record| (StateDir::at(&record.directory), state_lock));
    let lines = record.zip(journal.as_ref().map(Journal::ends));
    // From here on the keeper cleans up if this process is killed.
    let keeper =
        Keeper::start(&runtime, &mark, cgroups.map(Tree::path), lines).map_err(while_trying("start the keeper"))?;
    file.keeper_pid = Some(keeper.pid());
    laid_out.keeper = Some(keeper);

    let (family, children) = (draw_family()?, tree.root.children.len());
    let place = Place {
        instance: tree.name,
        path: Path::root(),
        incarnation: Incarnation::FIRST,
        runtime: runtime.clone(),
        mark,
        base_group: cgroups.map(|tree| tree.root().clone()),
        limits_memory: Cell::default(),
        log_level,
        log_format,
        output_format,
        show_output,
        files: Writer::new(),
        nofile: Limit { soft: Some(nofile.soft_before), hard: Some(nofile.hard) },
        hosting: hosted.as_ref().and_then(|_| hosting()),
        family,
        door: doors::for_children(process::own_uid(), family, children, fd::nofile_limit()),
    };
    fd::make_room(doors::descriptors(children));
    let sockets = Sockets::new().map_err(BootError::Link)?;
    let control = bind_control(&sockets, &runtime, &logger)?;
    let root = Root::new(control, TreeFile::new(file, state, tree.containment, tree.journal), journal, hosted);
    Ok(NodeParts {
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
    })
}

/// Claims the instance of this name, or of another name if that is allowed.
fn take_name(mut options: RootOptions) -> Result<(RootOptions, Held), BootError> {
    loop {
        let error = match take_instance(&options.tree.name, &options.runtime) {
            Ok(held) => return Ok((options, held)),
            Err(error) => error,
        };
        match (&error, options.another_name) {
            (BootError::AlreadyRunning { .. }, Some(renamed)) => options = renamed(options).ok_or(error)?,
            _ => return Err(error),
        }
    }
}

/// Creates the cgroups of the tree. Returns `None` if the tree runs without cgroups.
fn contain(tree: &TreeSpec, mark: &Mark, logger: &Logger) -> Result<Option<Tree>, BootError> {
    if tree.containment == Containment::Group {
        return Ok(None);
    }
    match Tree::create(tree.name.as_str(), mark) {
        Ok(cgroups) => Ok(Some(cgroups)),
        Err(reason) if tree.containment == Containment::Cgroup => {
            Err(BootError::Containment { reason: reason.to_string() })
        }
        Err(reason) => {
            info!(logger, "no usable cgroup v2: containment by process group and descendants";
                "reason" => %reason);
            Ok(None)
        }
    }
}

/// The agent that has started this process, and the token of the root's claim that it has handed down.
fn hosting() -> Option<Hosting> {
    let root_token = std::env::var(FENCE).ok()?.parse().ok()?;
    Some(Hosting { agent: process::parent(), root_token })
}

/// The content of `instance.json`, by which tools find the instance.
fn instance_file(tree: &TreeSpec, config: PathBuf, mark: &Mark, cgroups: Option<&Tree>, clock: &Clock) -> InstanceFile {
    let mut paths = Vec::new();
    tree_paths(&Path::root(), &tree.root, &mut paths);
    InstanceFile {
        name: tree.name.clone(),
        pid: std::process::id(),
        started_at: clock::rfc3339_nanos(clock.wall_of(Time::ZERO)),
        version: env!("CARGO_PKG_VERSION").to_string(),
        mark: mark.to_string(),
        containment: if cgroups.is_some() { "cgroup" } else { "group" }.to_string(),
        cgroup: cgroups.map(|tree| tree.path().to_path_buf()),
        keeper_pid: None,
        config,
        tree_paths: paths,
    }
}

/// What was kept from the last run (the holds), and the journal of this one.
#[derive(Default)]
struct Memory {
    holds: Vec<HoldView>,
    record: Option<JournalRecord>,
    journal: Option<Journal>,
    state_lock: Option<LockFile>,
}

fn remember(
    tree: &TreeSpec,
    state: Option<StateDir>,
    read_holds: fn(&StateDir) -> Vec<HoldView>,
    run: &RunNote,
    logger: &Logger,
) -> Result<Memory, BootError> {
    let Some(JournalSpec { max_size, keep }) = tree.journal else { return Ok(Memory::default()) };
    let Some((state, state_lock)) = journal_directory(state, logger) else { return Ok(Memory::default()) };
    let directory = state.path().to_owned();
    Ok(Memory {
        holds: read_holds(&state),
        record: Some(JournalRecord { directory, max_size, keep, run: Note::Run(run.clone()) }),
        journal: Some(Journal::open(run.run.clone()).map_err(while_trying("make a pipe"))?),
        state_lock,
    })
}

/// Binds the operators' endpoint.
fn bind_control(sockets: &Sockets, runtime: &RuntimeDir, logger: &Logger) -> Result<Router, BootError> {
    let limits = doors::operators_limits();
    let door = doors::for_operators(process::own_uid(), fd::nofile_limit());
    let control = Router::bind_behind(sockets, &runtime.control_socket(), limits, door).map_err(BootError::Link)?;
    if !link::has_doors() {
        warn!(
            logger,
            "this program runs on the system's libzmq, not on treevisor's edited build: it may abort when descriptors run \
            out, and cannot reject connections; senders are checked with each message, connections counted periodically"
        );
    }
    Ok(control)
}

/// The journal's record of the run that begins.
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

/// Prepares the directory of the journal, and locks it. Without a journal the tree runs all the same, since supervision
/// matters more than history.
fn journal_directory(state: Option<StateDir>, logger: &Logger) -> Option<(StateDir, Option<LockFile>)> {
    let Some(state) = state else {
        warn!(logger, "events are not kept on disk: no state directory";
            "set" => STATE_VARIABLE, "or" => "HOME");
        return None;
    };
    if let Err(error) = state.create() {
        // The keeper tries again with every event: the file system may be mounted later.
        warn!(logger, "cannot create the state directory: events are not kept on disk";
            "directory" => %state.path().display(), "error" => %error, "set" => STATE_VARIABLE);
    }
    match state_lock::take(&state) {
        Ok(lock) => Some((state, lock)),
        Err(pid) => {
            warn!(logger, "another tree of this name runs with another runtime directory and writes to the state \
                directory: this one keeps no events on disk, and holds made in it end with it";
                "directory" => %state.path().display(), "pid" => pid, "set" => STATE_VARIABLE);
            None
        }
    }
}
