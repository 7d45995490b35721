//! Which peers a node lets connect, and how often: the rules for its sockets. Nothing here has a descriptor.
//!
//! A share of the descriptors is kept for each side: what workers of other users can take is not what our own children
//! need, and what children can take is not what an operator needs, nor what the node needs to start the children that
//! would set things right.

use crate::ids::Token;
use crate::link::{Door, MessageMax, RouterLimits, Rules};
use crate::wire;

/// Connections that the processes of one user have in ordinary times, besides those of each child.
const OWN_BASE: usize = 1_024;
const OTHER_BASE: usize = 256;

/// Connections that a child has at most in ordinary times: one for each process or thread that beats.
const PER_CHILD: usize = 16;

/// Connections that the tools of one user have at most in ordinary times.
const OPERATORS: usize = 512;

/// Frames of a message that is read, so that its sender can be identified, though it is longer than a worker's may be.
/// With more than that the connection ends.
const READ_PARTS: usize = 4 * wire::WORKER_FRAMES_MAX;

/// What a child node or an operator's tool may send.
const LARGE: MessageMax =
    MessageMax { parts: wire::NODE_FRAMES_MAX, bytes: wire::NODE_FRAMES_MAX * wire::NODE_FRAME_MAX };

/// What a router takes of operators' tools.
pub(in crate::node) fn operators_limits() -> RouterLimits {
    RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max: wire::NODE_FRAMES_MAX }
}

/// How many descriptors a supervisor will use, roughly: of each child its process, its output, its cgroup, a connection
/// and a socket for notifications, and its own.
pub(in crate::node) fn descriptors(children: usize) -> usize {
    128 + 5 * children
}

/// How many connections a user may have that is ours or root, one that is neither, and all of the latter together.
pub(in crate::node) fn connections(children: usize, nofile: u64) -> (usize, usize, usize) {
    let nofile = usize::try_from(nofile).unwrap_or(usize::MAX);
    let own = (OWN_BASE + PER_CHILD * children).min(nofile / 2);
    let other = (OTHER_BASE + PER_CHILD * children).min(nofile / 8);
    (own, other, nofile / 4)
}

/// The door before the socket of the children. Only the names of child nodes begin with `family`.
pub(in crate::node) fn for_children(uid: u32, family: Token, children: usize, nofile: u64) -> Door {
    let (own, other, others) = connections(children, nofile);
    Door::new(Rules {
        uid,
        own,
        other,
        others,
        anyone: false,
        family: Some(family.to_string().into_bytes().into()),
        large: LARGE,
        small: MessageMax { parts: READ_PARTS, bytes: wire::WORKER_MESSAGE_MAX },
    })
}

/// The door before the socket of the operators: the user of the tree and root.
pub(in crate::node) fn for_operators(uid: u32, nofile: u64) -> Door {
    let own = OPERATORS.min(usize::try_from(nofile / 8).unwrap_or(usize::MAX));
    Door::new(Rules::of_own(uid, own, LARGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_has_its_share_of_the_descriptors() {
        assert_eq!(connections(3, 20_000), (1_072, 304, 5_000));
        assert_eq!(connections(2_000, 20_000), (10_000, 2_500, 5_000));
        assert_eq!(connections(3, 1_024), (512, 128, 256));
        // Whatever the limit is: those of ours, those of all others, and those of operators leave a part for the node.
        for nofile in [64, 256, 1_024, 4_096, 1_048_576] {
            let (own, _, others) = connections(100_000, nofile);
            assert!(own + others + (nofile / 8) as usize <= nofile as usize * 7 / 8, "{nofile}");
        }
    }
}
