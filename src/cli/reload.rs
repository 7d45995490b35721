//! `treevisor reload`: the tree becomes what its file says now.

use super::accounts::Wanted;
use super::args::{Reload, When};
use super::out::Out;
use super::plan;
use super::render::Look;
use super::{Change, ExitCode, Failure, ask_failed, carry_out, file, find};
use crate::control::{AskError, Instance, Limits, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::spec::diff::{self, Action, Diff};
use crate::spec::tree::TreeSpec;
use crate::time::Span;
use crate::wire::message::{Reply, Verb};
use crate::wire::view::ChildView;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;

pub(super) fn run(args: Reload, when: When) -> Result<ExitCode, Failure> {
    let root = Path::root();
    let instance = find(&args.target, "reload", &root)?;
    let failed = |error| ask_failed("reload", &root, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let (old, config) = running_tree(&mut session, "reload", &instance, args.timeout)?;
    let file = match args.file {
        Some(file) => std::path::absolute(&file).unwrap_or(file),
        None if config.as_os_str().is_empty() => {
            let message = format!("cannot reload \"{}\": it was started without a file", instance.name);
            return Err(Failure::new(ExitCode::Usage, message).hint("name one: treevisor reload FILE"));
        }
        None => config,
    };
    let read = file::read(&file, Wanted::Here);
    read.show(when);
    let new = read.into_tree("reload", &file)?;
    let mut plan = diff::diff(&old, &new, args.prune).map_err(|refused| {
        let message = format!("cannot reload \"{}\": {refused}; nothing was changed", instance.name);
        Failure::new(ExitCode::Failed, message)
            .hint(format!("stop the tree and start it with the new file, or put `{}` back", refused.key))
    })?;
    let states = states(&mut session, args.timeout).map_err(failed)?;
    spare_what_is_down(&mut plan, &states);
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
        timeout: args.timeout,
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

/// The tree as it is now, and the file that it came from.
pub(super) fn running_tree(
    session: &mut Session,
    verb: &str,
    instance: &Instance,
    timeout: Span,
) -> Result<(TreeSpec, PathBuf), Failure> {
    let failed = |error| ask_failed(verb, &Path::root(), instance, error);
    match session.ask(Verb::Spec, limits(timeout), &mut |_, _| {}).map_err(failed)? {
        Reply::Spec { tree, config } => {
            let tree = serde_json::from_value(tree).map_err(|e| failed(AskError::NotUnderstood(e.to_string())))?;
            Ok((tree, config))
        }
        _ => Err(failed(AskError::NotUnderstood("an answer to something else".into()))),
    }
}

fn limits(timeout: Span) -> Limits {
    let first = super::FIRST_REPLY.min(timeout);
    Limits { first, overall: first }
}

/// The states of all children.
fn states(session: &mut Session, timeout: Span) -> Result<HashMap<Path, String>, AskError> {
    let mut states = HashMap::new();
    if let Reply::Status { status } =
        session.ask(Verb::Status { path: Path::root() }, limits(timeout), &mut |_, _| {})?
    {
        let mut open = vec![status.root];
        while let Some(view) = open.pop() {
            match view {
                ChildView::Worker(worker) => drop(states.insert(worker.path, worker.state)),
                ChildView::Supervisor(supervisor) => {
                    states.insert(supervisor.path, supervisor.state);
                    open.extend(supervisor.children);
                }
            }
        }
    }
    Ok(states)
}

/// What is down by order, or has ended, is not started by a reload: its new spec waits for its next start.
fn spare_what_is_down(plan: &mut Diff, states: &HashMap<Path, String>) {
    for step in plan.steps.iter_mut().filter(|step| step.action == Action::Restart) {
        if let Some(state @ ("stopped" | "held" | "exited")) = states.get(&step.path).map(String::as_str) {
            step.action = Action::Update;
            step.why = format!("it is {state}, and gets it with its next start");
        }
    }
}
