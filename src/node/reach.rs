//! Checks whether workers of other users can reach the sockets that they need.

use crate::ids::Path;
use crate::instance::runtime::{BASE_VARIABLE, RuntimeDir};
use crate::os::process;
use crate::spec::exec::{BeatSource, ExecSpec};
use crate::spec::policy::ChildPolicy;
use crate::spec::tree::{ChildKind, SupervisorSpec};
use std::fmt;
use std::path::PathBuf;

/// A worker that needs a socket, for heartbeats or for sd_notify, but may not pass the directory of the socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    path: Path,
    uid: u32,
    directory: PathBuf,
    mode: u32,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Closed { path, uid, directory, mode } = self;
        write!(
            f,
            "{path} runs as uid {uid}, which cannot reach the tree's sockets: the directory {} is closed to others \
             (its mode is {mode:04o}); set {BASE_VARIABLE} to a directory that they may pass, such as /run/treevisor",
            directory.display()
        )
    }
}

impl std::error::Error for Closed {}

/// Checks that workers of other users can reach the sockets of the tree.
///
/// # Errors
/// The first worker below `at` that runs as another user and needs a socket, if the directory is closed to other users.
pub(crate) fn check(at: &Path, tree: &SupervisorSpec, runtime: &RuntimeDir) -> Result<(), Closed> {
    let ours = [0, process::own_uid()];
    match (first_of_another(at, tree, &ours), runtime.closed_to_others()) {
        (Some((path, uid)), Some((directory, mode))) => Err(Closed { path, uid, directory, mode }),
        _ => Ok(()),
    }
}

fn first_of_another(at: &Path, tree: &SupervisorSpec, ours: &[u32]) -> Option<(Path, u32)> {
    tree.children.iter().find_map(|child| {
        let path = at.child(&child.name);
        match &child.kind {
            ChildKind::Supervisor(below) => first_of_another(&path, below, ours),
            ChildKind::Worker(exec) => {
                let uid = exec.account.as_ref()?.uid;
                (!ours.contains(&uid) && has_a_socket(&child.policy, exec)).then_some((path, uid))
            }
        }
    })
}

fn has_a_socket(policy: &ChildPolicy, exec: &ExecSpec) -> bool {
    exec.speaks_by_notify(policy) || policy.heartbeat.is_some() && exec.sources.contains(&BeatSource::Zmq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use crate::os::accounts::{self, Wanted};

    #[test]
    fn the_first_worker_of_another_user_that_has_a_socket_is_found() {
        let mut tree = testing::tree(
            "name = \"t\"\n[[child]]\nname = \"plain\"\ncommand = \"true\"\nuser = \"54321\"\n\
             [[child]]\nname = \"ours\"\ncommand = \"true\"\nuser = \"0\"\nready = \"notify\"\n\
             [[child]]\nname = \"s\"\n[[child.child]]\nname = \"w\"\ncommand = \"true\"\nuser = \"54321\"\nready = \"notify\"\n",
        );
        accounts::look_up(&mut tree, Wanted::Here);
        let found = first_of_another(&Path::root(), &tree.root, &[0]);
        assert_eq!(found, Some((Path::parse("/s/w").unwrap(), 54321)));
    }
}
