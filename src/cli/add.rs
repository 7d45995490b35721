//! `treevisor add`: children for a supervisor that runs.

use super::accounts::Wanted;
use super::args::{Add, When};
use super::out::Out;
use super::reload::running_tree;
use super::{Change, ExitCode, Failure, carry_out, done_line, file, find};
use crate::control::Session;
use crate::ids::Path;
use crate::spec::tree::{ChildSpec, SupervisorSpec, TreeSpec};
use crate::wire::message::Verb;

/// Workers of one `count` share a number. Those that are added get numbers that no file reaches.
const GROUPS_FROM: u32 = 1 << 20;

pub(super) fn run(args: Add, when: When) -> Result<ExitCode, Failure> {
    let read = file::read(&args.file, Wanted::Here);
    read.show(when);
    let added = read.into_tree("add", &args.file)?;
    let instance = find(&args.target, "add to", &args.parent)?;
    let mut session = Session::connect(&instance.runtime)
        .map_err(|error| super::ask_failed("add to", &args.parent, &instance, error))?;
    let (tree, _) = running_tree(&mut session, "add to", &instance, args.timeout)?;
    let first = GROUPS_FROM.max(highest_group(&tree, &args.parent));
    let mut out = Out::open();
    for mut child in added.root.children {
        child.policy.group = child.policy.group.map(|group| first + group);
        let path = args.parent.child(&child.name);
        let asked = Verb::StartChild { path: args.parent.clone(), child: as_json(&child)? };
        let change = Change { verb: "add", path: &path, asked, timeout: args.timeout, ends_instance: false };
        let detail = carry_out(change, &instance, when)?;
        out.write(&done_line(&path, &instance, "added", &detail))?;
    }
    Ok(ExitCode::Done)
}

fn as_json(child: &ChildSpec) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(child)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot send \"{}\" to the tree: {error}", child.name)))
}

/// The highest number of a `count` below a supervisor.
fn highest_group(tree: &TreeSpec, parent: &Path) -> u32 {
    let mut highest = 0;
    tree.root.for_each_supervisor(&Path::root(), &mut |path: &Path, supervisor: &SupervisorSpec| {
        if path == parent {
            highest = supervisor.children.iter().filter_map(|child| child.policy.group).max().unwrap_or(0);
        }
    });
    highest
}
