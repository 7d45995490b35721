//! Resource limits, getrlimit(2): which of them a worker can be given here.

use super::accounts::Wanted;
use crate::ids::Path;
use crate::spec::exec::Limit;
use crate::spec::tree::TreeSpec;
use crate::spec::{Objection, Severity};
use nix::sys::resource::Resource;
use std::cell::LazyCell;
use std::fs;

/// The highest hard limit on open files, whatever the privilege.
const NR_OPEN: &str = "/proc/sys/fs/nr_open";

/// The number of a resource limit, getrlimit(2). C libraries differ in its type; the kernel takes 32 bits.
pub(super) fn resource(name: &str) -> Option<u32> {
    let resource = match name {
        "as" => Resource::RLIMIT_AS,
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "locks" => Resource::RLIMIT_LOCKS,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rss" => Resource::RLIMIT_RSS,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "rttime" => Resource::RLIMIT_RTTIME,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return None,
    };
    Some(resource as u32)
}

/// The hard limit of a process; `None` if it cannot be read. The pid 0 is this process.
pub(super) fn hard_limit(pid: u32, resource: u32) -> Option<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads a limit into a live value.
    let result = unsafe { libc::prlimit64(pid.cast_signed(), resource as _, std::ptr::null(), &raw mut limit) };
    (result == 0).then_some(limit.rlim_max)
}

/// The workers of this tree with `limits` that the kernel refuses to the processes of `root`, each with its place in
/// the tree. All workers inherit the limits of the root, and get their own before they change their user. `privileged`:
/// the root may exceed its own limits.
pub(super) fn object(
    tree: &TreeSpec,
    wanted: Wanted,
    root: u32,
    privileged: bool,
) -> Vec<(Path, &'static str, Objection)> {
    let mut objections = Vec::new();
    if wanted == Wanted::Elsewhere {
        return objections;
    }
    let nr_open = LazyCell::new(|| fs::read_to_string(NR_OPEN).ok()?.trim().parse().ok());
    let refusal = |name: &str, limit: &Limit| {
        let own = hard_limit(root, resource(name)?)?;
        judge(limit.hard, own, privileged, if name == "nofile" { *nr_open } else { None })
    };
    tree.root.for_each_worker_here(&Path::root(), &mut |path, exec| {
        let refused =
            exec.limits.iter().filter_map(|(name, limit)| Some(objection(name, limit, refusal(name, limit)?)));
        objections.extend(refused.map(|objection| (path.clone(), "limits", objection)));
    });
    objections
}

/// Why a hard limit is refused. The limit is what the process may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// It is above fs.nr_open.
    Maximum(u64),
    /// It is above the own hard limit.
    Privilege(u64),
}

/// What setrlimit(2) does with a hard limit; `None` is unlimited, and for `nr_open` not known or of no matter.
fn judge(wanted: Option<u64>, own: u64, privileged: bool, nr_open: Option<u64>) -> Option<Refusal> {
    let wanted = wanted.unwrap_or(libc::RLIM64_INFINITY);
    match nr_open {
        Some(most) if wanted > most => Some(Refusal::Maximum(most)),
        _ if wanted > own && !privileged => Some(Refusal::Privilege(own)),
        _ => None,
    }
}

fn objection(name: &str, limit: &Limit, why: Refusal) -> Objection {
    let wanted = limit.hard.map_or_else(|| "unlimited".to_owned(), |hard| hard.to_string());
    let (than, hint) = match why {
        Refusal::Maximum(most) => (
            format!("the {most} that this machine allows at most"),
            "lower it, or raise fs.nr_open by sysctl(8)".to_owned(),
        ),
        Refusal::Privilege(own) => (
            format!("the {own} that treevisor has itself"),
            "raise treevisor's own hard limit (LimitNOFILE= and the like in its unit, ulimit -H); to go above it needs root \
             or CAP_SYS_RESOURCE"
                .to_owned(),
        ),
    };
    Objection {
        severity: Severity::Error,
        code: "not-allowed",
        message: format!("the limit {name} = {wanted} is higher than {than}"),
        label: "the kernel refuses it".into(),
        hint: format!("{hint}; a file for another machine is checked with --portable"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::privilege;
    use super::*;
    use crate::spec::read_text;

    #[test]
    fn a_hard_limit_is_refused_where_the_kernel_refuses_it() {
        const ALL: u64 = u64::MAX;
        let (maximum, privilege) = (|most| Some(Refusal::Maximum(most)), |own| Some(Refusal::Privilege(own)));
        for (wanted, own, privileged, nr_open, refused) in [
            (Some(9), 9, false, None, None),
            (Some(9), 9, false, Some(9), None),
            (Some(10), 9, false, None, privilege(9)),
            (Some(10), 9, true, None, None),
            (Some(10), 9, true, Some(10), None),
            (Some(11), 9, true, Some(10), maximum(10)),
            (Some(11), 9, false, Some(10), maximum(10)),
            // Set before fs.nr_open was lowered.
            (Some(11), 12, false, Some(10), maximum(10)),
            (None, 9, false, None, privilege(9)),
            (None, 9, true, None, None),
            (None, ALL, false, None, None),
            (None, ALL, true, Some(10), maximum(10)),
        ] {
            assert_eq!(judge(wanted, own, privileged, nr_open), refused, "{wanted:?} {own} {privileged} {nr_open:?}");
        }
    }

    #[test]
    fn no_process_opens_files_without_a_limit() {
        let text = "[defaults]\nlimits = { nofile = \"unlimited\" }\n[[child]]\nname = \"a\"\ncommand = \"a\"\ncount = 2\n\
                    [[child]]\nname = \"b\"\ncommand = \"b\"\nlimits = { nofile = 1, core = 0 }\n";
        for (wanted, found) in [(Wanted::Here, 1), (Wanted::Right, 1), (Wanted::Elsewhere, 0)] {
            let mut read = read_text("t.toml", text, &|_| None);
            let root = std::process::id();
            let privileged = privilege::may_exceed_limits(root);
            let objections = object(read.tree.as_ref().unwrap(), wanted, root, privileged);
            read.object(objections);
            let lines: Vec<_> = read.diagnostics.iter().map(|found| (found.code, found.line)).collect();
            assert_eq!(lines, vec![("not-allowed", 2); found], "{wanted:?}");
            assert_eq!(read.tree.is_none(), found > 0);
        }
    }
}
