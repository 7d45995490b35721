//! What a member of the store that is about to start does, by what lies on its disk and what the other members answer.
//!
//! Only `host init` makes a store. A member without data joins the one that is there, under an identity that was never
//! used: what it has voted for before, if it was there before, it does not know any more, and a vote that is given
//! twice can lose what was written.

use crate::store::etcd::members::Member;

/// What it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// It has its data, and goes on with them.
    GoOn,
    /// It is added as a new member, once this earlier one of the same address is taken away.
    Join {
        /// The earlier one: of a start that came to nothing, or one whose data are lost.
        remove: Option<u64>,
    },
    /// It cannot start. Why.
    Refuse(String),
}

/// Which of these the member does that others find at `peer`; `members`: what another one has answered, `None` where no
/// other is known.
pub(super) fn plan(has_data: bool, members: Option<&[Member]>, peer: &str) -> Plan {
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
    // etcd has one learner at a time.
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
            // A start that came to nothing, and a disk that was lost.
            (false, Some(vec![a.clone(), new.clone()]), Some(join(Some(4)))),
            (false, Some(vec![a.clone(), b, own]), Some(join(Some(3)))),
            // One after the other.
            (false, Some(vec![a, waits]), None),
        ] {
            let found = plan(has_data, members.as_deref(), "c");
            match expected {
                Some(expected) => assert_eq!(found, expected, "{has_data} {members:?}"),
                None => assert!(matches!(found, Plan::Refuse(_)), "{has_data} {members:?}: {found:?}"),
            }
        }
    }
}
