//! `treevisor panic`: kills a subtree at once, by the root or from outside.

use super::change::done_line;
use super::failure::{ExitCode, Failure};
use super::instance::{find, near_path, not_found};
use super::options::{ColorMode, Target, positive_span};
use super::out::Out;
use super::targets::{Changes, Resolved, Sum, Targets, change_targets, resolve_targets};
use crate::control::force::{self, ForceError};
use crate::control::{self, Instance};
use crate::error::Chain;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::hosts::{HostReply, HostRequest};
use crate::wire::message::Verb;
use clap::Args;

/// Kill a part of the tree now
///
/// The big red button. All processes at and below PATH are killed at once, even if the supervisors in between are
/// hung or stopped. The supervisor above then restarts what was killed by its own strategy, as after any
/// crash. The panic of / ends the instance.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["paths", "all"]).required(true))]
#[command(after_long_help = "\
Examples:
  treevisor panic /web/api             kill it, and let its supervisor start it again
  treevisor panic --hold /web          kill it, and leave it down until `treevisor restart /web`
  treevisor panic '/web/jobs-*' /mail  several at once
  treevisor panic --force /            kill everything, even with the root itself hung
")]
pub struct Panic {
    #[command(flatten)]
    pub targets: Targets,
    #[command(flatten)]
    pub target: Target,
    /// Leave it down, until it is restarted by hand: also when the supervisors above it are replaced
    #[arg(long)]
    pub hold: bool,
    /// Find and kill the processes from outside, without any supervisor: for when the root hangs. They come back by
    /// their supervisor's strategy as soon as that runs again
    #[arg(long, conflicts_with = "hold")]
    pub force: bool,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "10s")]
    pub timeout: Span,
}

pub(super) fn run(args: Panic, when: ColorMode) -> Result<ExitCode, Failure> {
    let first = args.targets.first();
    if args.force {
        let instance = control::find_to_force(&control::own_base(), args.target.instance.as_deref())
            .map_err(|error| not_found("panic", &first, &error))?;
        return run_forced(&args, &instance, when);
    }
    if args.hold && args.targets.name_the_root() {
        by_hand(&args, &Path::root())?;
    }
    let word = if args.hold { "killed and held" } else { "killed" };
    let asked = |path: &Path| Verb::Panic { path: path.clone(), hold: args.hold };
    let changes = Changes { verb: "panic", word, asked: &asked, timeout: args.timeout, root_ends: true };
    change_targets(&changes, &args.targets, None, &args.target, when)
}

/// Refuses to hold down a root that a host's agent has started: the agent would start it again.
fn by_hand(args: &Panic, path: &Path) -> Result<(), Failure> {
    let instance = find(&args.target, "panic", path)?;
    let ask = HostRequest::Locate { instance: instance.name.to_string() };
    let located = control::ask_agent(&control::own_base(), &ask, &[], Span::from_secs(1));
    let Ok(HostReply::Located { host: Some(_), .. }) = located else { return Ok(()) };
    let message = format!("cannot panic {path} and hold it: the agent of its host starts \"{}\" again", instance.name);
    Err(Failure::new(ExitCode::Failed, message)
        .hint(format!("`treevisor stop -i {}` keeps it down until it is deployed again", instance.name)))
}

/// Kills from outside. No process is asked, so the paths are read from the root's file.
fn run_forced(args: &Panic, instance: &Instance, when: ColorMode) -> Result<ExitCode, Failure> {
    const WORD: &str = "killed from outside";
    let known = || {
        let file = instance.runtime.read_instance().map_err(|error| {
            let message = format!("cannot panic several of \"{}\" by force: {error}", instance.name);
            Failure::new(ExitCode::Failed, message)
        })?;
        Ok(file.tree_paths.into_iter().map(|known| known.path).collect())
    };
    match resolve_targets(&args.targets, None, "panic", instance, known)? {
        Resolved::One(path) => {
            force_one(&path, instance)?;
            Out::open().write(&done_line(&path, instance, WORD, ""))?;
            Ok(ExitCode::Done)
        }
        Resolved::Several(paths) => {
            let mut sum = Sum::new(paths.len(), WORD, when);
            for path in &paths {
                match force_one(path, instance) {
                    Ok(()) => sum.done(&done_line(path, instance, WORD, "")),
                    Err(failure) => sum.failed(path, &failure),
                }
            }
            sum.end()
        }
    }
}

fn force_one(path: &Path, instance: &Instance) -> Result<(), Failure> {
    force::panic(&instance.runtime, path).map_err(|error| {
        let message = format!("cannot panic {path} of \"{}\" by force: {}", instance.name, Chain(&error));
        match error {
            ForceError::NoSuchPath(path) => match near_path(&path, instance) {
                Some(near) => Failure::new(ExitCode::NoPath, message).hint(format!("did you mean {near}?")),
                None => Failure::new(ExitCode::NoPath, message),
            },
            ForceError::Instance { .. } | ForceError::Kill { .. } => {
                Failure::new(ExitCode::Failed, message).hint("only root and the user that started the tree may do this")
            }
            ForceError::Stuck { .. } => Failure::new(ExitCode::Failed, message).hint(
                "a process of another user is root's to end; one that is stuck in the kernel goes when the device or file system \
                 answers",
            ),
        }
    })
}
