//! `treevisor host run`: the host's own tree, with its agent.

use super::option::{self, FileOption};
use super::program::program;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::file;
use crate::cli::foreground::root_options;
use crate::cli::options::{ColorMode, Show};
use crate::ids::Name;
use crate::node::boot;
use crate::spec::exec::BeatSource;
use crate::spec::exec::ExecSpec;
use crate::spec::host::{HostFile, INSTANCE};
use crate::spec::policy::{Backoff, ChildPolicy, Heartbeat, Shutdown, SupervisorPolicy};
use crate::spec::probe::{Ask, Host, Probe, Server};
use crate::spec::resources::Resources;
use crate::spec::tree::{ChildKind, ChildSpec, Containment, Hooks, JournalSpec, SupervisorSpec, TreeSpec};
use crate::time::Span;
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Run this host: its agent, and the trees that the agent starts
///
/// Runs the host's own tree in the foreground, until it is stopped: an instance called `host` whose worker is the
/// agent; with `run = true` below [store] another one, `store`, is etcd. The agent keeps this host's lease in the
/// store, and starts the root of each deployed tree that is this host's to run. Stopped in order, the trees stop first,
/// and another host starts them then.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What runs here by the lease is killed with one write to a cgroup, so the host needs a cgroup of its
own that it may write (Delegate=yes with systemd). Without one it runs nothing, and `hosts`
shows that.

Examples:
  treevisor host run
  treevisor host run --file ./host.toml
  treevisor status -i host

Exit codes:
  0   it was stopped
  2   the file has errors
  10  the agent gave up: it could not be kept running
")]
pub struct Run {
    #[command(flatten)]
    pub file: FileOption,
    #[command(flatten)]
    pub show: Show,
}

/// Shutdown timeout of etcd, in which it transfers its leadership to another member.
const STORE_SHUTDOWN: Span = Span::from_secs(10);

/// Shutdown timeout of the agent, in which it stops the trees of this host. The agent's own timeouts for them are
/// shorter.
const SHUTDOWN: Span = Span::from_secs(90);

pub(super) fn run(args: Run, when: ColorMode) -> Result<i32, Failure> {
    args.show.can_be_written()?;
    let path = args.file.file;
    let read = option::read(&path);
    file::show(&read.diagnostics, when);
    if read.host.is_none() {
        let errors = read.diagnostics.iter().filter(|found| found.is_error()).count();
        let message = format!("cannot run the host of {}: it has {}", path.display(), file::count(errors, "error"));
        return Err(Failure::new(ExitCode::Usage, message));
    }
    let health = read.host.as_ref().and_then(HostFile::member).map(|at| at.health());
    let tree = tree(&program("run this host")?, &std::path::absolute(&path).unwrap_or(path), health)?;
    Ok(boot::run_root(root_options(&args.show, tree, PathBuf::new(), when)?))
}

/// The worker for the member of the store, which executes etcd. `health` is the address of its health check.
fn store(program: String, file: String, health: SocketAddr) -> ChildSpec {
    let server = Server { host: Host::Address(health.ip()), port: health.port() };
    // `/metrics` is answered also without a majority of members.
    let ask = Ask::Http(server, "/metrics".into());
    let mut exec = ExecSpec::new(vec![program, "store".into(), "--file".into(), file]);
    exec.sources = vec![BeatSource::Probe(Probe { ask, timeout: None })];
    let policy = ChildPolicy {
        shutdown: Shutdown::After(STORE_SHUTDOWN),
        // A long grace: etcd answers only once the other members have added it.
        heartbeat: Some(Heartbeat {
            interval: Span::from_secs(10),
            misses: 3,
            grace: Span::from_secs(60),
            progress: false,
        }),
        // A member that fails repeatedly must end neither the tree nor the agent, which can use the other members. With
        // these delays there is never a fourth restart within the window.
        backoff: Some(Backoff {
            initial: Span::from_secs(1),
            max: Span::from_secs(30),
            factor: 8.0,
            jitter: 0.0,
            reset: Span::from_secs(60),
        }),
        ..ChildPolicy::default()
    };
    let name = Name::parse("store").expect("it follows the rules for names");
    ChildSpec { name, policy, kind: ChildKind::Worker(Box::new(exec)), added: false, behind: false }
}

/// The host's own tree.
fn tree(program: &Path, file: &Path, health: Option<SocketAddr>) -> Result<TreeSpec, Failure> {
    let text = |path: &Path| {
        let wrong = || Failure::new(ExitCode::Usage, format!("cannot run this host: {} is not UTF-8", path.display()));
        path.to_str().map(str::to_owned).ok_or_else(wrong)
    };
    let (program, file) = (text(program)?, text(file)?);
    let store = health.map(|health| store(program.clone(), file.clone(), health));
    let command = vec![program, "agent".into(), "--file".into(), file];
    let name = |text: &str| Name::parse(text).expect("it follows the rules for names");
    let policy = ChildPolicy {
        shutdown: Shutdown::After(SHUTDOWN),
        heartbeat: Some(Heartbeat { grace: Span::from_secs(10), ..Heartbeat::default() }),
        ..ChildPolicy::default()
    };
    let agent = ChildSpec {
        name: name("agent"),
        policy,
        kind: ChildKind::Worker(Box::new(ExecSpec::new(command))),
        added: false,
        behind: false,
    };
    Ok(TreeSpec {
        name: name(INSTANCE),
        containment: Containment::Auto,
        journal: Some(JournalSpec::default()),
        placement: None,
        root: SupervisorSpec {
            policy: SupervisorPolicy::default(),
            hooks: Hooks::default(),
            resources: Resources::default(),
            placement: None,
            // Children stop in reverse order: the agent releases its claims while its member of the store still
            // answers.
            children: store.into_iter().chain([agent]).collect(),
        },
    })
}
