//! Decides how a member of the store starts, by the data on its disk and the answers of the other members.
//!
//! A store is created by `host init` only. A member without data joins the existing store under an id that was never
//! used: if it was a member before, it has lost what it has voted for, and voting twice could lose committed writes.

use crate::store::etcd::members::Member;

/// How a member starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// It has its data, and starts with them.
    GoOn,
    /// It is added as a new member, after the earlier member at the same address was removed.
    Join {
        /// The earlier member: left by a failed start, or one whose data are lost.
        remove: Option<u64>,
    },
    /// It cannot start, for this reason.
    Refuse(String),
}

/// Decides for the member with the peer URL `peer`. `members`: the list that another member has answered; `None`: no
/// other member is known. `answers`: whether a member answers at its address.
pub(super) fn plan(
    has_data: bool,
    members: Option<&[Member]>,
    peer: &str,
    answers: impl FnOnce(&Member) -> bool,
) -> Plan {
    if has_data {
        return Plan::GoOn;
    }
    let Some(members) = members else {
        return Plan::Refuse(
            "its data are gone, and no other member is known: write those of other hosts into `endpoints` of its file"
                .into(),
        );
    };
    let earlier = members.iter().find(|member| member.peers.iter().any(|url| url == peer));
    // etcd allows one learner at a time.
    let waits_for = members.iter().find(|member| member.learner && earlier.is_none_or(|own| own.id != member.id));
    if let Some(other) = waits_for {
        return Plan::Refuse(format!(
            "the member at {} has no vote yet, and they are added one after the other; of a host that never came, `treevisor host remove` takes it away",
            other.peers.join(", ")
        ));
    }
    if earlier.is_some() && members.len() == 1 {
        return Plan::Refuse("the data of the only member of the store are gone".into());
    }
    // It does not run here, where its ports are free: the address is that of another machine. Removing the member could
    // cost the store its majority.
    if let Some(earlier) = earlier
        && answers(earlier)
    {
        return Plan::Refuse(format!(
            "a member of the store answers at {peer}, on another machine: the file of this host has that one's address, and perhaps its name"
        ));
    }
    Plan::Join { remove: earlier.map(|member| member.id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, at: &str, learner: bool) -> Member {
        Member { id, peers: vec![at.into()], learner, ..Member::default() }
    }

    #[test]
    fn what_is_there_decides() {
        let (a, b) = (member(1, "a", false), member(2, "b", false));
        let (own, new) = (member(3, "c", false), member(4, "c", true));
        let waits = member(5, "d", true);
        let join = |remove| Plan::Join { remove };
        for (has_data, members, expected) in [
            (true, None, Some(Plan::GoOn)),
            (true, Some(vec![a.clone()]), Some(Plan::GoOn)),
            // Never another store beside the one that there was.
            (false, None, None),
            (false, Some(vec![own.clone()]), None),
            (false, Some(vec![a.clone()]), Some(join(None))),
            (false, Some(vec![a.clone(), b.clone()]), Some(join(None))),
            // A failed start, and a lost disk.
            (false, Some(vec![a.clone(), new.clone()]), Some(join(Some(4)))),
            (false, Some(vec![a.clone(), b, own]), Some(join(Some(3)))),
            // Learners are added one at a time.
            (false, Some(vec![a, waits]), None),
        ] {
            let found = plan(has_data, members.as_deref(), "c", |_| false);
            match &expected {
                Some(expected) => assert_eq!(found, *expected, "{has_data} {members:?}"),
                None => assert!(matches!(found, Plan::Refuse(_)), "{has_data} {members:?}: {found:?}"),
            }
            // One that answers is another machine's, and is never taken away.
            let found = plan(has_data, members.as_deref(), "c", |earlier| earlier.peers == ["c"]);
            match expected {
                Some(Plan::Join { remove: Some(_) }) | None => assert!(matches!(found, Plan::Refuse(_)), "{found:?}"),
                Some(expected) => assert_eq!(found, expected, "{has_data} {members:?}"),
            }
        }
    }
}
