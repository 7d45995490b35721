//! Decides which process of a worker becomes its main one, where the worker names another one than was started:
//! `MAINPID=` of sd_notify(3), as programs send that replace themselves. Pure: nothing here has a descriptor.

use crate::os::kinship::Kinship;
use crate::os::pidfd::is_gone;
use crate::supervision::Run;
use std::fmt;
use std::io;

/// What is known of a process that a worker names as its main one.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Named {
    /// Whether this node has started the process, and for which child; `Some(None)` for a probe, a hook, or a command
    /// beside a worker.
    pub started: Option<Option<Run>>,
    pub kinship: Kinship,
    /// The process has inherited the worker's stamp.
    pub stamped: bool,
}

/// Why a named process does not become the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Refusal {
    /// It belongs to another child or not to this tree, or that cannot be found out.
    Foreign,
    /// This node has started it as a probe, a hook, or a command beside a worker.
    Helper,
    /// There is no such process, or it has ended.
    Gone,
    /// The end of the process cannot be watched.
    Unwatched,
}

impl Refusal {
    /// Why, if the process cannot be opened. Descriptors or memory may be lacking while it runs.
    pub(super) fn of_opening(error: &io::Error) -> Refusal {
        if is_gone(error) { Refusal::Gone } else { Refusal::Unwatched }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Foreign => "it does not belong to the worker",
            Refusal::Helper => "it is a probe or a command beside the worker",
            Refusal::Gone => "it has ended",
            Refusal::Unwatched => "its end cannot be watched",
        })
    }
}

/// Whether a process may become the main one of `run`. It must belong to the worker for certain: the worker lives and
/// dies with it, and it is sent the signals that stop the worker.
pub(in crate::node) fn judge(run: Run, named: &Named) -> Result<(), Refusal> {
    match (named.started, named.kinship) {
        (Some(Some(of)), _) if of == run => Ok(()),
        (Some(Some(_)), _) => Err(Refusal::Foreign),
        (Some(None), _) => Err(Refusal::Helper),
        (None, Kinship::Own) => Ok(()),
        // Some child has started it. Without a cgroup, only the stamp shows which one.
        (None, Kinship::Adopted) if named.stamped => Ok(()),
        (None, Kinship::Adopted | Kinship::Stranger) => Err(Refusal::Foreign),
        (None, Kinship::Gone) => Err(Refusal::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::supervision::ChildId;

    #[test]
    fn a_process_that_cannot_be_opened_need_not_have_ended() {
        for (errno, expected) in [
            (libc::ESRCH, Refusal::Gone),
            (libc::EMFILE, Refusal::Unwatched),
            (libc::ENFILE, Refusal::Unwatched),
            (libc::ENOMEM, Refusal::Unwatched),
        ] {
            assert_eq!(Refusal::of_opening(&io::Error::from_raw_os_error(errno)), expected, "{errno}");
        }
    }

    #[test]
    fn only_a_process_of_the_worker_becomes_its_main_one() {
        let run = |child| Run { child: ChildId(child), incarnation: Incarnation(3) };
        let other = Run { incarnation: Incarnation(2), ..run(1) };
        for (started, kinship, stamped, expected) in [
            (None, Kinship::Own, false, Ok(())),
            (None, Kinship::Adopted, true, Ok(())),
            (None, Kinship::Adopted, false, Err(Refusal::Foreign)),
            (None, Kinship::Stranger, true, Err(Refusal::Foreign)),
            (None, Kinship::Gone, true, Err(Refusal::Gone)),
            // The process that was started for the worker, named again.
            (Some(Some(run(1))), Kinship::Own, true, Ok(())),
            (Some(Some(run(1))), Kinship::Stranger, false, Ok(())),
            // A process of a sibling, or of an earlier incarnation; and a probe in the worker's own cgroup.
            (Some(Some(run(2))), Kinship::Own, true, Err(Refusal::Foreign)),
            (Some(Some(other)), Kinship::Own, true, Err(Refusal::Foreign)),
            (Some(None), Kinship::Own, true, Err(Refusal::Helper)),
        ] {
            let named = Named { started, kinship, stamped };
            assert_eq!(judge(run(1), &named), expected, "{named:?}");
        }
    }
}
