//! Why a process was not made, and what follows from that.

use crate::os::cgroup::Group;
use crate::os::net;
use crate::os::spawn::SpawnError;
use crate::supervision::StartFailure;

/// Why a process was not made.
#[derive(Debug)]
pub(in crate::node) enum LaunchFailure {
    /// Something that has to be there before the process.
    Before(StartFailure),
    /// The start of the process itself.
    Spawn(SpawnError),
}

impl LaunchFailure {
    /// Whether the cgroup of the process takes none, so that another cgroup is needed.
    pub(super) fn is_of_cgroup(&self) -> bool {
        matches!(self, LaunchFailure::Spawn(error) if error.is_of_cgroup())
    }

    /// Whether the cause is a lack of file descriptors, processes or memory here, and not the worker with this cgroup:
    /// a worker at its own limit on processes lacks them by itself.
    pub(in crate::node) fn is_ours(&self, group: Option<&Group>) -> bool {
        match self {
            LaunchFailure::Spawn(error) if error.is_for_lack_of_processes() && group.is_some_and(Group::is_full) => {
                false
            }
            _ => net::is_our_own(self.errno()),
        }
    }

    /// Whether the cause is a lack of file descriptors, of this process or of the machine.
    pub(in crate::node) fn lacks_descriptors(&self) -> bool {
        matches!(self.errno(), libc::EMFILE | libc::ENFILE)
    }

    fn errno(&self) -> i32 {
        match self {
            LaunchFailure::Before(failure) => failure.errno,
            LaunchFailure::Spawn(error) => error.errno,
        }
    }
}

impl From<StartFailure> for LaunchFailure {
    fn from(failure: StartFailure) -> LaunchFailure {
        LaunchFailure::Before(failure)
    }
}

impl From<SpawnError> for LaunchFailure {
    fn from(error: SpawnError) -> LaunchFailure {
        LaunchFailure::Spawn(error)
    }
}

impl From<LaunchFailure> for StartFailure {
    fn from(failure: LaunchFailure) -> StartFailure {
        match failure {
            LaunchFailure::Before(failure) => failure,
            LaunchFailure::Spawn(error) => {
                StartFailure { stage: error.stage.to_string(), errno: error.errno, message: error.to_string() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::spawn::Stage;

    #[test]
    fn a_worker_at_its_own_limit_on_processes_lacks_them_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let group = Group::open(directory.path()).unwrap();
        let limit = |current: &str, max: &str| {
            std::fs::write(directory.path().join("pids.current"), current).unwrap();
            std::fs::write(directory.path().join("pids.max"), max).unwrap();
        };
        let spawn = |stage, errno| {
            LaunchFailure::Spawn(SpawnError { stage, errno, subject: "probe".into(), reason: String::new() })
        };
        let lack = || spawn(Stage::Clone, libc::EAGAIN);
        assert!(lack().is_ours(None) && lack().is_ours(Some(&group)), "without the controller");
        for (current, max, is_ours) in [("3", "max", true), ("3", "4", true), ("4", "4", false), ("5", "4", false)] {
            limit(&format!("{current}\n"), &format!("{max}\n"));
            assert_eq!(lack().is_ours(Some(&group)), is_ours, "{current} of {max}");
        }
        assert!(spawn(Stage::Streams, libc::EMFILE).is_ours(Some(&group)));
        assert!(!spawn(Stage::Exec, libc::ENOENT).is_ours(None));
        let pipe = StartFailure { stage: "pipe".into(), errno: libc::EMFILE, message: String::new() };
        let pipe = LaunchFailure::from(pipe);
        assert!(pipe.is_ours(Some(&group)) && pipe.lacks_descriptors());
        assert_eq!(StartFailure::from(pipe).errno, libc::EMFILE);
        assert!(spawn(Stage::Streams, libc::ENFILE).lacks_descriptors() && !lack().lacks_descriptors());
    }

    #[test]
    fn only_a_cgroup_that_takes_no_process_is_made_anew() {
        let of = |stage, errno| {
            LaunchFailure::Spawn(SpawnError { stage, errno, subject: "a".into(), reason: String::new() }).is_of_cgroup()
        };
        for errno in [libc::ENOENT, libc::ENODEV, libc::EBUSY, libc::EOPNOTSUPP] {
            assert!(of(Stage::Clone, errno) && of(Stage::Cgroup, errno) && !of(Stage::Exec, errno), "{errno}");
        }
        assert!(!of(Stage::Clone, libc::EAGAIN) && !of(Stage::Cgroup, libc::EACCES));
    }
}
