//! `treevisor reload`: applies the changes of the tree's file.

use super::change::{Change, FIRST_REPLY, ask_failed, carry_out, running_tree};
use super::failure::{ExitCode, Failure};
use super::instance::find;
use super::options::{ColorMode, Target, positive_span};
use super::out::Out;
use super::render::Look;
use super::{file, plan};
use crate::control::{Instance, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::node::reach;
use crate::os::accounts::Wanted;
use crate::os::cgroup::demand::Below;
use crate::spec::diff::{self, Action, Diff};
use crate::spec::tree::TreeSpec;
use crate::time::Span;
use crate::wire::message::Verb;
use crate::wire::view::ChildView;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Apply the changes of the tree's file
///
/// Reads the file, compares it with the tree that runs, and does what is needed so that both are the same: starts what
/// is new, stops what is gone, restarts what has another program or environment, and takes over the rest without a
/// restart. All else is not touched, and no restart is counted. A file with errors changes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What is done, and shown with the reason by --plan:
  start    new: started in its place
  add      new, with `autostart = false`: not started
  stop     removed from the file: stopped and forgotten, the last ones first
  restart  a key differs that only a new process takes: its command, environment, user, limits ...
  roll     the same for the copies of a `count`: one after another, as its key `update` says
  update   only rules of its supervisor differ: applied at once, the process stays
  move     its place among its siblings differs
  keep     added with `treevisor add`, not in the file; --prune stops it
What is stopped, held or has ended stays so, and what was never started (`autostart = false`). A `count` is what the file says, whatever was scaled.
What cannot be started is named and stays down, and the rest is done. A copy that does not come up
with its new spec gets its old one back, and the copies after it are not touched: `treevisor reload`
goes on with them, `treevisor reload --abort` goes back to the tree from before.

FILE and all that it includes are read here, with the environment of this command; SIGHUP to the
root reads them there, with the environment that the tree was started in. Name, containment and
journal of a tree cannot change while it runs.

Examples:
  treevisor reload --plan
  treevisor reload
  treevisor reload other.toml --prune
  treevisor reload --abort
  treevisor reload --plan --json | jq '.plan.steps[] | select(.action == \"restart\") | .path'

Exit codes:
  0  the tree matches the file; with --plan: the plan was shown
  1  something could not be started, a rolling update was stopped, or the tree cannot become this
     one; the message names it
  2  the file has errors; nothing was changed
  5  not done in time; the operation continues
")]
pub struct Reload {
    /// The tree's file; by default the one that it was started with, or reloaded from last
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub target: Target,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Stop what was added by hand and is not in the file
    #[arg(long)]
    pub prune: bool,
    /// Print one JSON object: the plan, and whether it was carried out
    #[arg(long)]
    pub json: bool,
    /// Go back to the tree from before the last reload, which is under way or was stopped
    #[arg(long, conflicts_with_all = ["file", "plan", "prune", "json"])]
    pub abort: bool,
    /// Stop waiting after this long (the operation continues) [default: 60s, and what copies have to settle]
    #[arg(long, value_name = "TIME", value_parser = positive_span)]
    pub timeout: Option<Span>,
}

pub(super) fn run(args: Reload, when: ColorMode) -> Result<ExitCode, Failure> {
    let root = Path::root();
    let instance = find(&args.target, "reload", &root)?;
    let failed = |error| ask_failed("reload", &root, &instance, error);
    if args.abort {
        return abort(&instance, args.timeout, when);
    }
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let asking = args.timeout.unwrap_or(TIMEOUT);
    let (old, config) = running_tree(&mut session, "reload", &instance, asking)?;
    let file = match args.file {
        Some(file) => std::path::absolute(&file).unwrap_or(file),
        None if config.as_os_str().is_empty() => {
            let message = format!("cannot reload \"{}\": it was started without a file", instance.name);
            return Err(Failure::new(ExitCode::Usage, message).hint("name one: treevisor reload FILE"));
        }
        None => config,
    };
    let running = instance.runtime.read_instance().ok();
    let below = Below::Running(running.as_ref().and_then(|running| running.cgroup.as_deref()));
    let root_pid = running.as_ref().map(|running| running.pid);
    let read = file::read_for(&file, Wanted::Here, below, root_pid).without_advice();
    read.show_again(when);
    let new = read.into_tree("reload", &file)?;
    let mut plan = diff::diff(&old, &new, args.prune).map_err(|refused| {
        let message = format!("cannot reload \"{}\": {refused}; nothing was changed", instance.name);
        Failure::new(ExitCode::Failed, message)
            .hint(format!("stop the tree and start it with the new file, or put `{}` back", refused.key))
    })?;
    reach::check(&root, &new.root, &instance.runtime).map_err(|closed| {
        Failure::new(ExitCode::Failed, format!("cannot reload \"{}\": {closed}; nothing was changed", instance.name))
    })?;
    let status = session.status(&root, FIRST_REPLY.min(asking)).map_err(failed)?;
    spare_what_is_down(&mut plan, &status.root);
    let look = Look::of_stdout(when);
    let mut out = Out::open();
    let shown = |done: bool| json!({ "instance": instance.name, "file": file, "plan": plan, "done": done });
    if args.plan {
        if args.json {
            out.write_json(&shown(false))?;
        } else {
            out.write(&plan::draw(&plan, look))?;
        }
        return Ok(ExitCode::Done);
    }
    if !args.json {
        out.write(&plan::draw(&plan, look))?;
    }
    let tree = serde_json::to_value(&new).map_err(|error| {
        Failure::new(ExitCode::Failed, format!("cannot send the tree to its root: {}", Chain(&error)))
    })?;
    let change = Change {
        verb: "reload",
        path: &root,
        asked: Verb::Reload { tree, prune: args.prune, config: Some(file.clone()) },
        timeout: args.timeout.unwrap_or_else(|| patience(&plan, &new)),
        ends_instance: false,
    };
    carry_out(change, &instance, when)?;
    if args.json {
        out.write_json(&shown(true))?;
    } else {
        out.write(&format!("{} reloaded\n", instance.name))?;
    }
    Ok(ExitCode::Done)
}

/// The default limit, without the time in which copies have to settle.
const TIMEOUT: Span = Span::from_secs(60);

/// Returns to the tree from before the last reload.
fn abort(instance: &Instance, timeout: Option<Span>, when: ColorMode) -> Result<ExitCode, Failure> {
    let root = Path::root();
    // Only the root knows how much there is to undo, so the limit is generous.
    let timeout = timeout.unwrap_or_else(|| TIMEOUT.times(10));
    let change = Change { verb: "reload", path: &root, asked: Verb::AbortReload, timeout, ends_instance: false };
    carry_out(change, instance, when)?;
    Out::open().write(&format!("{} is as it was before the reload\n", instance.name))?;
    Ok(ExitCode::Done)
}

/// The default limit of this reload. Copies in a roll-out must be up for some time, one after another.
fn patience(plan: &Diff, new: &TreeSpec) -> Span {
    let rolled = plan.steps.iter().filter(|step| step.action == Action::Roll);
    let updates = rolled.filter_map(|step| Some(new.root.find(&Path::root(), &step.path)?.policy.update));
    let nanos = updates.map(|update| update.settle.as_nanos() / u64::from(update.at_once.max(1)));
    Span::from_nanos(nanos.fold(TIMEOUT.as_nanos(), u64::saturating_add))
}

/// Corrects the plan for children that are down by an operator's order or have ended: a reload does not start them, and
/// their new spec takes effect at their next start. Exceptions are a step whose program has changed, which is run
/// again, and a child whose `autostart` has become true.
fn spare_what_is_down(plan: &mut Diff, tree: &ChildView) {
    for step in &mut plan.steps {
        let Some(child) = tree.find(&step.path) else { continue };
        let begins = || step.changes.iter().any(|change| change.key == "autostart" && change.new.is_none());
        match (step.action, child.state()) {
            (Action::Restart | Action::Roll | Action::Update, _) if child.is_unstarted() && begins() => {
                step.action = Action::Start;
                step.why = "it was not started".into();
            }
            (Action::Restart | Action::Roll | Action::Update, _) if child.is_unstarted() => {
                step.action = Action::Update;
                step.why = "it is not started, and gets it with its first start".into();
            }
            (Action::Restart | Action::Roll, _) if child.is_done() => {
                step.action = Action::Restart;
                step.why = "it was done, and runs again".into();
            }
            (Action::Restart | Action::Roll, state @ ("stopped" | "held" | "exited")) => {
                step.action = Action::Update;
                step.why = format!("it is {state}, and gets it with its next start");
            }
            _ => {}
        }
    }
}
