//! The rules for the sockets of a node: which peers may connect, with how many connections, and how long their messages
//! may be. Nothing here holds a descriptor.
//!
//! Each side has its share of the file descriptors. Workers of other users cannot use up what this user's children
//! need; children cannot use up what operators need, or what the node needs to start children.

use crate::ids::Token;
use crate::link::{Door, MessageMax, RouterLimits, Rules};
use crate::wire;

/// How many connections the processes of one user have at most in ordinary times, besides those of each child.
const OWN_BASE: usize = 1_024;
const OTHER_BASE: usize = 256;

/// How many connections a child has at most in ordinary times: one for each process or thread that sends heartbeats.
const PER_CHILD: usize = 16;

/// How many connections the tools of one user have at most in ordinary times.
const OPERATORS: usize = 512;

/// How many frames of a message are read. A worker may send fewer; up to this number the message is still read, so that
/// its sender can be identified, and with more the connection is closed.
const READ_PARTS: usize = 4 * wire::WORKER_FRAMES_MAX;

/// The longest message of a child node or of an operator's tool.
const LARGE: MessageMax =
    MessageMax { parts: wire::NODE_FRAMES_MAX, bytes: wire::NODE_FRAMES_MAX * wire::NODE_FRAME_MAX };

/// The limits for messages of operators' tools.
pub(in crate::node) fn operators_limits() -> RouterLimits {
    RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max: wire::NODE_FRAMES_MAX }
}

/// About how many file descriptors a supervisor needs: for each child its process, output, cgroup, a connection and a
/// socket for notifications, besides its own.
pub(in crate::node) fn descriptors(children: usize) -> usize {
    128 + 5 * children
}

/// How many connections are allowed: to root and the user of this process, each; to any other user; and to all other
/// users together.
pub(in crate::node) fn connections(children: usize, nofile: u64) -> (usize, usize, usize) {
    let nofile = usize::try_from(nofile).unwrap_or(usize::MAX);
    let own = (OWN_BASE + PER_CHILD * children).min(nofile / 2);
    let other = (OTHER_BASE + PER_CHILD * children).min(nofile / 8);
    (own, other, nofile / 4)
}

/// The rules for the children's socket. Only the identities of child nodes begin with `family`, which is secret.
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

/// The rules for the operators' socket: only root and the user of this process may connect.
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
        // Whatever the limit of descriptors is, the shares of this user, other users and operators leave some for the
        // node.
        for nofile in [64, 256, 1_024, 4_096, 1_048_576] {
            let (own, _, others) = connections(100_000, nofile);
            assert!(own + others + (nofile / 8) as usize <= nofile as usize * 7 / 8, "{nofile}");
        }
    }
}
