//! The kernel's choice of a process when memory runs out, proc(5): oom_score_adj.

use super::accounts::Wanted;
use super::privilege;
use crate::ids::Path;
use crate::spec::tree::{ChildKind, SupervisorSpec, TreeSpec};
use crate::spec::{Objection, Severity};
use std::fs;
use std::io::{Seek, SeekFrom, Write};

/// The value of the process that opens the file.
const FILE: &str = "/proc/self/oom_score_adj";

/// The workers of this tree whose `oom-score-adjust` the kernel refuses, each with its place in the tree.
/// `root` is the pid of the tree's root.
pub fn object(tree: &TreeSpec, wanted: Wanted, root: u32) -> Vec<(Path, &'static str, Objection)> {
    let mut objections = Vec::new();
    if wanted != Wanted::Elsewhere {
        below(&tree.root, &Path::root(), root, &mut objections);
    }
    objections
}

fn below(supervisor: &SupervisorSpec, at: &Path, root: u32, into: &mut Vec<(Path, &'static str, Objection)>) {
    for child in &supervisor.children {
        let path = at.child(&child.name);
        match &child.kind {
            // Its workers inherit the value of an agent, perhaps on another machine.
            ChildKind::Supervisor(supervisor) if supervisor.placement.is_some() => {}
            ChildKind::Supervisor(supervisor) => below(supervisor, &path, root, into),
            ChildKind::Worker(exec) => {
                if let Some(wanted) = exec.oom_score_adjust.filter(|wanted| !is_allowed(*wanted, root)) {
                    into.push((path, "oom-score-adjust", objection(wanted)));
                }
            }
        }
    }
}

/// Whether processes started from the root may have this value. The lowest value that is allowed without privileges
/// cannot be read, so this process tries it itself, also for a root that is another process of the same user; raising
/// its own value back is always allowed.
fn is_allowed(wanted: i32, root: u32) -> bool {
    if privilege::may_exceed_limits(root) {
        return true;
    }
    let Some(own) = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok()) else { return true };
    if wanted >= own {
        return true;
    }
    // One descriptor for both: no lack of them may keep the old value from being put back.
    let Ok(mut file) = fs::File::options().write(true).open(FILE) else { return true };
    let allowed = file.write_all(wanted.to_string().as_bytes()).is_ok();
    if allowed {
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(own.to_string().as_bytes()));
    }
    allowed
}

fn objection(wanted: i32) -> Objection {
    Objection {
        severity: Severity::Error,
        code: "not-allowed",
        message: format!("oom-score-adjust = {wanted} is lower than treevisor may go here"),
        label: "the kernel refuses it".into(),
        hint: "raising it is free, lowering it needs root or CAP_SYS_RESOURCE; a file for another machine is checked with \
               --portable"
            .into(),
    }
}
