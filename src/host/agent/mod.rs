//! The process that acts for a host: `treevisor-host agent`, a worker of the host's own tree.
//!
//! ```text
//!                    the core: crate::hosts
//!                      ▲ events    │ actions
//!        ┌─────────────┴───────────▼──────────────┐
//!  store, two threads · fence · roots · disk, a thread · tools
//! ```
//!
//! The agent is the parent process of everything that runs here by the lease: when it is killed, parent-death signals
//! kill all of that, and the fence cleans up.

mod asked;
mod beside;
mod bundles;
mod connections;
mod deliver;
mod deploys;
mod disk;
mod fetches;
mod guard;
mod joins;
mod looks;
mod members;
mod mesh;
mod operators;
mod others;
mod pages;
mod parents;
mod place;
mod placed;
mod reactor;
mod reading;
mod relay;
mod renew;
mod report;
mod runs;
mod signing;
mod stores;
mod subtrees;
mod tools;
mod top;
mod turn;
mod view;
mod waiting;
mod wishes;

use super::identity::{Keys, key_file};
use super::store_opener::etcd_of;
use crate::error::Chain;
use crate::hosts::{Agent, HostInfo, Settings, Timing};
use crate::ids::Name;
use crate::instance::runtime::{self, RuntimeDir};
use crate::instance::state::{self, StateDir};
use crate::logging::{self, Format};
use crate::os::alarm::Alarm;
use crate::os::clock;
use crate::os::page::LeasePage;
use crate::os::signals::Signals;
use crate::os::{fd, process, random};
use crate::spec::exec::Limit;
use crate::spec::host::{self, HostFile};
use crate::time::{Span, Time};
use crate::wire::hosts::SOCKET;
use crate::wire::tvh1::header::PROTOCOL;
use connections::Connections;
use slog::{Level, Logger, error};
use std::collections::VecDeque;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use treevisor_client::Heart;
use turn::Shell;

/// The limit on open files of this process. Each host and each root here needs a few; and before a peer shows its key,
/// it costs a descriptor and some memory, so that a limit of a million would be one of many gigabytes.
const OPEN_FILES: u64 = 8_192;

/// Runs the agent of the host that this file describes, until it is asked to end. Returns the exit status: 2 where the
/// file has errors.
pub fn run(file: &Path) -> i32 {
    fd::complain_of_crashes();
    let (logger, log) = logging::root(Level::Info, Format::Plain, host::INSTANCE);
    let read = host::read(file, &|name| std::env::var(name).ok());
    // The command that has started the agent has shown the warnings.
    for found in read.diagnostics.iter().filter(|found| found.is_error()) {
        error!(logger, "{}", found);
    }
    let Some(host) = read.host else {
        log.settle(Span::from_millis(500));
        return 2;
    };
    match shell(host, file, logger.clone(), log.clone()) {
        Ok(shell) => shell.run(),
        Err(error) => {
            error!(logger, "the agent cannot begin: {}", Chain(&*error));
            log.settle(Span::from_millis(500));
            1
        }
    }
}

/// Makes the agent with all its parts.
fn shell(file: HostFile, path: &Path, logger: Logger, log: logging::LogHandle) -> Result<Shell, Box<dyn Error>> {
    let place = match place::Exclusive::lay_out() {
        Ok(place) => Some(place),
        Err(why) => {
            error!(logger, "nothing can run on this host by a lease: {}", why);
            None
        }
    };
    let nofile = fd::raise_nofile_to(OPEN_FILES)?;
    let name = Name::parse(host::INSTANCE)?;
    let (runtime, base) = (runtime::own_base(), state::own_base().ok_or("there is no state directory")?);
    let directory = RuntimeDir::of(&runtime, &name)?;
    directory.create()?;
    let state = StateDir::of(&base, &name);
    let bundles = bundles::Bundles::below(&state)?;
    let connections = Connections::begin(&file, path)?;
    let mut about = about(&file, place.is_some(), &bundles.id()?);
    runs::sweep_sockets(directory.path());
    placed::sweep(&runtime);
    let places = disk::Places { state, base: base.clone(), runtime: runtime.clone() };
    let operators = |_| Ok::<_, Box<dyn Error>>(operators::Operators::new(&runtime, directory.path(), drawn()?)?);
    let operators = connections.as_ref().map(operators).transpose()?;
    let mut reactor = reactor::Reactor::new()?;
    let keys = file.store.run.and_then(|_| Keys::read(&key_file(path)).transpose()).transpose()?;
    let etcd = etcd_of(&file, keys.map(|keys| keys.signers()).as_ref())?;
    let signing = connections.as_ref().map(|on| signing::Signing::new(&file, etcd.endpoints(), on)).transpose()?;
    if let (Some(connections), Some(signing)) = (&connections, &signing) {
        (about.cert, about.issuers) = (connections.cert().to_owned(), signing.shown(connections.keys()));
    }
    let settings = settings(&file, about)?;
    let attempt = settings.timing.attempt;
    if file.store.run.is_some() {
        members::follow(etcd.clone(), &file, logger.clone())?;
    }
    let heart = Heart::from_env();
    let mut shell = Shell {
        attempt,
        own_key: turn::own_key(&file),
        core: Agent::new(settings),
        lease: LeasePage::new()?,
        place,
        guard: guard::Guard::new(&mut reactor)?,
        runs: runs::Runs::new(launch_config(&file, runtime, base, nofile)),
        subtrees: placed::Subtrees::default(),
        relay: relay::Relay::new(directory.path().join("nodes")),
        stores: stores::Stores::start(&etcd)?,
        disk: disk::Disk::start(bundles, places, file.env.clone())?,
        parents: parents::Parents::default(),
        tools: tools::Tools::bind(&directory.path().join(SOCKET))?,
        operators,
        connections,
        signing,
        deploys: deploys::Deploys::new(&file.cluster, &file.name),
        fetches: fetches::Fetches::default(),
        looks: looks::Looks::numbered(drawn()?),
        awaited: Vec::new(),
        rekeying: None,
        bundles: Vec::new(),
        health: None,
        health_at: clock::both().boottime + Span::from_secs(1),
        store_lost: false,
        store_answered: None,
        beat_at: heart.interval().map(|_| Time::ZERO),
        heart,
        is_ready: false,
        reactor,
        alarm: Alarm::new()?,
        signals: Signals::install()?,
        inbox: VecDeque::new(),
        actions: Vec::new(),
        ended: None,
        file,
        logger,
        log,
    };
    turn::watch(&mut shell)?;
    Ok(shell)
}

/// A random number from which an agent process counts.
fn drawn() -> std::io::Result<u32> {
    let mut bytes = [0; 4];
    random::fill(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// The settings of the core.
fn settings(file: &HostFile, about: HostInfo) -> Result<Settings, Box<dyn Error>> {
    let HostFile { lease, renew, guard, stop_before, settle, .. } = *file;
    let usual = Timing::of(lease);
    let attempt = usual.attempt.min(Span::from_nanos(renew.as_nanos() / 3));
    let look = usual.look.min(renew);
    let timing = Timing { lease, renew, attempt, guard, stop_before, look, settle };
    Ok(Settings::new(&file.name, &file.cluster, timing, about)?)
}

/// What the record of this host shows about it.
fn about(file: &HostFile, cgroup: bool, state_id: &str) -> HostInfo {
    HostInfo {
        // Another state directory counts as another machine: so of two agents with the same name, neither takes the
        // record of the other for that of its own earlier process.
        boot: format!("{}/{}", process::boot_id(), state_id),
        address: file.mesh.as_ref().map(|mesh| mesh.address.clone()).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        // Earlier versions do not know `witness`; without a cgroup they place nothing here either.
        cgroup: cgroup && !file.store.witness,
        witness: file.store.witness,
        labels: file.labels.clone(),
        ..HostInfo::default()
    }
}

/// What roots are started with: the environment without the variables that are for this process alone.
fn launch_config(file: &HostFile, runtime: PathBuf, state: PathBuf, nofile: fd::Nofile) -> runs::LaunchConfig {
    let ours = ["TREEVISOR_", "WATCHDOG_", "LISTEN_"];
    let env = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        !ours.iter().any(|prefix| name.starts_with(prefix)) && name != "NOTIFY_SOCKET" && name != "INVOCATION_ID"
    });
    let added = file.env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let beside = || process::self_exe_name().with_file_name("treevisor");
    runs::LaunchConfig {
        program: std::env::var_os("TREEVISOR_EXE").map_or_else(beside, PathBuf::from),
        env: env.chain(added).collect(),
        runtime,
        state,
        host: file.name.clone(),
        nofile: Limit { soft: Some(nofile.soft_before), hard: Some(nofile.hard) },
    }
}
