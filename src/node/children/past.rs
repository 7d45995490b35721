//! Kills a subtree without the supervisor above it, since that does not answer.

use super::child::Program;
use super::groups::groups_of;
use super::table::Children;
use crate::ids::{Mark, Path};
use crate::node::context::Place;
use crate::os::cgroup::Group;
use crate::os::descendants::stamp::Stamp;
use crate::os::descendants::{self, below};
use crate::os::{process, stuck};
use crate::time::Span;
use std::collections::HashSet;

/// The time limit of one look, so that the loop is not held up.
const PASS: Span = Span::from_millis(10);

/// The result of one look, which kills whatever it finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing is left.
    Empty,
    /// Something is left: the pid of one process and what it does, where one can be seen.
    Left(Option<(u32, String)>),
}

impl Children {
    /// Kills what is left of the subtree at `path`, below one of the child nodes, and returns what there was.
    pub(crate) fn kill_past(&self, place: &Place, path: &Path) -> Look {
        if self.towards(path).is_some_and(|(_, child)| child.away().is_some()) {
            // Only the agent of that host can kill there.
            return Look::Left(None);
        }
        let mut one = None;
        let mut in_group = false;
        for at in groups_of(place, path) {
            in_group |= match Group::open(&at) {
                Ok(group) if group.populated() => {
                    let _ = group.kill();
                    one = one.or_else(|| group.members().ok()?.into_iter().find(|pid| process::is_alive(*pid)));
                    true
                }
                Ok(_) => false,
                // No such group: the child has never been started.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(_) => true,
            };
        }
        // The group is empty, or there is none: looks for processes that have left the group, or for all.
        let mut refused = None;
        let left = in_group || {
            let found = self.kill_below(&place.mark, path);
            (one, refused) = (found.some.first().copied(), found.refused);
            found.count > 0
        };
        if !left {
            return Look::Empty;
        }
        let survivor = refused.map(|(pid, errno)| (pid, Some(errno))).or(one.map(|pid| (pid, None)));
        Look::Left(survivor.map(|(pid, errno)| (pid, stuck::why_alive(pid, errno))))
    }

    /// Kills what belongs to a path below a child node, and returns what there was. All of it descends from that node's
    /// process: what is left when the node exits is adopted by this process, and cleaned up with the node.
    fn kill_below(&self, mark: &Mark, path: &Path) -> descendants::Left {
        let child = self.towards(path);
        let Some((child, process)) = child.and_then(|(_, child)| Some((child, child.process.as_ref()?))) else {
            return descendants::Left::default();
        };
        let Program::Node(below) = &child.what else { return descendants::Left::default() };
        let mut stamps = HashSet::from([Stamp::of_child(mark, path)]);
        below.now().for_each_supervisor(&child.path, &mut |at, spec| {
            let children =
                spec.children.iter().map(|child| at.child(&child.name)).filter(|child| child.is_within(path));
            stamps.extend(children.map(|child| Stamp::of_child(mark, &child)));
        });
        stamps.extend(stamps.iter().map(|stamp| stamp.second()).collect::<Vec<_>>());
        let cleared = below::clear_below(process.pid, PASS, |pid| {
            match Stamp::look(pid).ok()?.filter(|stamp| stamp.is_of(mark)) {
                Some(stamp) => Some(stamps.contains(&stamp)),
                // The process has set RLIMIT_LOCKS itself, and so has no stamp.
                None => descendants::is_marked(pid, mark, path),
            }
        });
        let mut left = cleared.left.get(&0).cloned().unwrap_or_default();
        left.count = cleared.count();
        left
    }
}
