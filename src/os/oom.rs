//! The kernel's choice of a process when memory runs out, proc(5): oom_score_adj.

use super::accounts::Wanted;
use crate::ids::Path;
use crate::spec::tree::TreeSpec;
use crate::spec::{Objection, Severity};
use std::fs;
use std::io::{Seek, SeekFrom, Write};

/// The value of the process that opens the file.
const FILE: &str = "/proc/self/oom_score_adj";

/// The workers of this tree whose `oom-score-adjust` the kernel refuses, each with its place in the tree. `privileged`:
/// the root may exceed its own limits.
pub(super) fn object(tree: &TreeSpec, wanted: Wanted, privileged: bool) -> Vec<(Path, &'static str, Objection)> {
    let mut objections = Vec::new();
    if wanted != Wanted::Elsewhere && !privileged {
        tree.root.for_each_worker_here(&Path::root(), &mut |path, exec| {
            if let Some(wanted) = exec.oom_score_adjust.filter(|wanted| !is_allowed(*wanted)) {
                objections.push((path.clone(), "oom-score-adjust", objection(wanted)));
            }
        });
    }
    objections
}

/// Whether processes started from a root without privileges may have this value. The lowest value that is allowed then
/// cannot be read, so this process tries it itself, also for a root that is another process of the same user; raising
/// its own value back is always allowed.
fn is_allowed(wanted: i32) -> bool {
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
