//! `treevisor add`: children for a supervisor that runs.

use super::change::{Change, ask_failed, carry_out, done_line, in_json, running_tree};
use super::failure::{ExitCode, Failure};
use super::file;
use super::instance::find;
use super::options::{ColorMode, Target, path, positive_span};
use super::out::Out;
use crate::control::Session;
use crate::ids::Path;
use crate::node::reach;
use crate::os::accounts::Wanted;
use crate::os::cgroup::demand::Below;
use crate::spec::tree::{SupervisorSpec, TreeSpec};
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;
use std::path::PathBuf;

/// Add children to a running supervisor
///
/// Starts the children of FILE below the supervisor at PARENT, as OTP's start_child does: one after the other, behind
/// the children that are there. One that cannot be started is forgotten, and those after it are not tried.
#[derive(Debug, Args)]
#[command(after_long_help = "\
FILE holds [[child]] tables, as the file of a tree does; its own [defaults] count, those of the
tree's file do not. What is added is lost when its supervisor is itself started anew, as in OTP:
only what stands in the tree's file comes back. A reload leaves it alone, unless it is made to
--prune or the file has it now.

Examples:
  treevisor add / night-shift.toml
  treevisor add /web canary.toml && treevisor status /web
  printf '[[child]]\\nname = \"one\"\\ncommand = \"./one\"\\n' | treevisor add / /dev/stdin

Exit codes:
  0  all children of FILE are up
  1  one could not be started, or one of its name is there already
  2  FILE has errors; nothing was started
  4  there is no such supervisor
")]
pub struct Add {
    /// The supervisor
    #[arg(value_parser = path)]
    pub parent: Path,
    /// A file with `[[child]]` tables
    pub file: PathBuf,
    #[command(flatten)]
    pub target: Target,
    /// Stop waiting for a child after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

/// Workers of one `count` share a group number. Those that are added get numbers beyond any that a file can have.
const GROUPS_FROM: u32 = 1 << 20;

pub(super) fn run(args: Add, when: ColorMode) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "add to", &args.parent);
    let running = instance.as_ref().ok().and_then(|instance| instance.runtime.read_instance().ok());
    let below = running.as_ref().map_or(Below::Own, |running| Below::Running(running.cgroup.as_deref()));
    let root_pid = running.as_ref().map(|running| running.pid);
    let read = file::read_for(&args.file, Wanted::Here, below, root_pid).without_advice();
    read.show(when);
    let added = read.into_tree("add", &args.file)?;
    let instance = instance?;
    reach::check(&args.parent, &added.root, &instance.runtime).map_err(|closed| {
        Failure::new(ExitCode::Failed, format!("cannot add to {}: {closed}; nothing was started", args.parent))
    })?;
    let mut session =
        Session::connect(&instance.runtime).map_err(|error| ask_failed("add to", &args.parent, &instance, error))?;
    let (tree, _) = running_tree(&mut session, "add to", &instance, args.timeout)?;
    let first = GROUPS_FROM.max(highest_group(&tree, &args.parent));
    let mut out = Out::open();
    for mut child in added.root.children {
        child.policy.group = child.policy.group.map(|group| first + group);
        let path = args.parent.child(&child.name);
        let asked = Verb::StartChild { path: args.parent.clone(), child: in_json(&child)? };
        let change = Change { verb: "add", path: &path, asked, timeout: args.timeout, ends_instance: false };
        let detail = carry_out(change, &instance, when)?;
        out.write(&done_line(&path, &instance, "added", &detail))?;
    }
    Ok(ExitCode::Done)
}

/// The highest group number of a `count` below a supervisor.
fn highest_group(tree: &TreeSpec, parent: &Path) -> u32 {
    let mut highest = 0;
    tree.root.for_each_supervisor(&Path::root(), &mut |path: &Path, supervisor: &SupervisorSpec| {
        if path == parent {
            highest = supervisor.children.iter().filter_map(|child| child.policy.group).max().unwrap_or(0);
        }
    });
    highest
}
