//! `treevisor metrics`: one page for Prometheus, to stdout or into a file.

use super::agent;
use super::change::ask_failed;
use super::failure::{ExitCode, Failure};
use super::instance::{anywhere, near, not_found};
use super::options::Target;
use super::out::Out;
use super::targets::pattern;
use crate::control::{FindError, Session};
use crate::ids::Path;
use crate::metrics::{self, Wanted};
use crate::os::clock::Clock;
use crate::pattern::Pattern;
use crate::time::Span;
use crate::wire::view::StatusView;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::{self, PathBuf};
use std::{fs, process};

/// Limit for the answer.
const LIMIT: Span = Span::from_secs(5);

/// Whether workers have series of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Workers {
    /// Each of them.
    All,
    /// None: what is printed of them is the sums of their supervisors.
    None,
}

/// Print the tree's metrics once, for Prometheus
///
/// Asks the root for the state of the tree, and prints it in Prometheus' text format: each child's state, ends and
/// restarts, heartbeats, CPU and memory, and each supervisor's sums. With PATTERN, only what is about paths like one of
/// these. With --output the page is written beside FILE and renamed, so a reader never sees half of it: for the
/// textfile collector of the node exporter, by cron. `treevisor web` serves the same at /metrics. With --hosts it asks
/// the agent of this machine's host instead, and prints what that shows of the cluster.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit codes:
  0  the page is complete
  3  no such instance runs; with --output, the page has that: treevisor_up 0
  4  no such path in the tree; with --output, the page has what there is
  5  no answer in 5s; with --output, the page has that: treevisor_up 0
  6  with --hosts: no agent runs here; with --output, the page has that: treevisor_agent_up 0

Examples:
  treevisor metrics
  treevisor metrics --workers none          only supervisors, with their sums
  treevisor metrics --usage false '/web/**' one subtree, without CPU and memory
  treevisor metrics -i shop --output /var/lib/prometheus/node-exporter/shop.prom
  treevisor metrics --hosts                 the cluster's store, hosts and trees
")]
pub struct Metrics {
    /// Only what is about these paths or patterns: `*` within a name, `**` across levels (quote them)
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    pub paths: Vec<Pattern>,
    #[command(flatten)]
    pub target: Target,
    /// The cluster of this host, in place of a tree
    #[arg(long, conflicts_with_all = ["paths", "workers", "usage"])]
    pub hosts: bool,
    /// all: each worker has series of its own; or none
    #[arg(long, value_name = "WHICH", default_value = "all", hide_possible_values = true)]
    pub workers: Workers,
    /// Whether CPU, memory and processes are among them: true or false
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, hide_possible_values = true)]
    pub usage: bool,
    /// Write into this file, which has the whole page or the one before
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

pub(super) fn run(args: Metrics) -> Result<ExitCode, Failure> {
    let output = args.output.as_deref();
    if let Some(file) = output {
        can_be_replaced(file)?;
    }
    if args.hosts {
        names_no_instance(&args)?;
        return of_hosts(output);
    }
    let wanted = Wanted { workers: args.workers == Workers::All, usage: args.usage, paths: args.paths };
    let instance = match anywhere(args.target.instance.as_deref()) {
        Ok(instance) => instance,
        Err(error) => {
            if let (Some(file), FindError::NoneRuns { .. } | FindError::NotRunning { .. }) = (output, &error) {
                replace(file, &metrics::without(args.target.instance.as_deref()).into_text())?;
            }
            return Err(not_found("measure", &Path::root(), &error));
        }
    };
    let clock = Clock::start();
    let asked = Session::connect(&instance.runtime).and_then(|mut session| session.status(&Path::root(), LIMIT));
    let status = match asked {
        Ok(status) => status,
        Err(error) => {
            if let Some(file) = output {
                replace(file, &metrics::without(Some(instance.name.as_str())).into_text())?;
            }
            return Err(ask_failed("measure", &Path::root(), &instance, error));
        }
    };
    let page = metrics::of(&status, clock.now().since(crate::time::Time::ZERO), &wanted).into_text();
    let missing = wanted.paths.iter().find_map(|pattern| nothing_like(pattern, &status));
    match (output, missing) {
        (Some(file), missing) => {
            replace(file, &page)?;
            missing.map_or(Ok(ExitCode::Done), Err)
        }
        (None, Some(missing)) => Err(missing),
        (None, None) => {
            Out::open().write(&page)?;
            Ok(ExitCode::Done)
        }
    }
}

/// Refuses `-i` with `--hosts`. The environment variable may name an instance, as it is meant for other verbs.
fn names_no_instance(args: &Metrics) -> Result<(), Failure> {
    match &args.target.instance {
        Some(named) if std::env::var("TREEVISOR_INSTANCE").ok().as_ref() != Some(named) => {
            let message = format!("cannot measure the hosts of \"{named}\": --hosts asks no instance");
            Err(Failure::new(ExitCode::Usage, message).hint("leave --instance out"))
        }
        _ => Ok(()),
    }
}

/// Prints the metrics of the cluster.
fn of_hosts(output: Option<&path::Path>) -> Result<ExitCode, Failure> {
    let mut page = metrics::Page::default();
    let asked = agent::hosts("measure the hosts");
    match &asked {
        Ok(view) => metrics::hosts::add(&mut page, view),
        Err(_) => metrics::hosts::silent(&mut page),
    }
    match output {
        Some(file) => replace(file, &page.into_text())?,
        None if asked.is_ok() => Out::open().write(&page.into_text())?,
        None => {}
    }
    asked.map(|_| ExitCode::Done)
}

/// The failure if no path of the tree matches a pattern.
fn nothing_like(pattern: &Pattern, status: &StatusView) -> Option<Failure> {
    let known: Vec<Path> = status.root.all().into_iter().map(|view| view.path().clone()).collect();
    if known.iter().any(|path| pattern.matches(path)) {
        return None;
    }
    let message =
        format!("cannot measure {} of \"{}\": nothing in this tree is called so", pattern.as_str(), status.instance);
    let failure = Failure::new(ExitCode::NoPath, message);
    let like = match pattern {
        Pattern::Path(path) => near(path, known.into_iter()),
        Pattern::Glob(_) => None,
    };
    Some(match like {
        Some(like) => failure.hint(format!("did you mean {like}?")),
        None => failure.hint("`treevisor status` shows the paths of the tree"),
    })
}

/// Refuses an output that is not a regular file: a rename would replace a device or a pipe.
fn can_be_replaced(file: &path::Path) -> Result<(), Failure> {
    match fs::metadata(file) {
        Ok(found) if !found.is_file() => {
            let message = format!("cannot write {}: it is no regular file", file.display());
            Err(Failure::new(ExitCode::Usage, message).hint("without --output the page goes to stdout"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Replaces the page atomically. The temporary file has a name that no collector reads.
fn replace(file: &path::Path, page: &str) -> Result<(), Failure> {
    let name = file.file_name().ok_or_else(|| {
        Failure::new(ExitCode::Usage, format!("cannot write {}: it has no name of a file", file.display()))
    })?;
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}", process::id()));
    let beside = file.with_file_name(beside);
    let written = fs::write(&beside, page).and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| {
        // Errors are ignored, as the file may not exist.
        let _ = fs::remove_file(&beside);
        Failure::new(ExitCode::Failed, format!("cannot write {}: {error}", file.display()))
    })
}
