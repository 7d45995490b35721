//! Which children are restarted together, and which are stopped in one step.

use super::types::ChildId;
use crate::spec::policy::{StopOrder, Strategy};
use std::collections::VecDeque;

/// The children that a restart of `child` restarts, in start order (R18, R19, R20).
pub(super) fn group<'a>(strategy: Strategy, order: &'a [ChildId], child: &'a ChildId) -> &'a [ChildId] {
    match strategy {
        Strategy::OneForOne => std::slice::from_ref(child),
        Strategy::OneForAll => order,
        Strategy::RestForOne => {
            let at = order.iter().position(|id| id == child).unwrap_or(order.len());
            &order[at..]
        }
    }
}

/// Groups children, given in start order with their `count` group, into stop steps: one child a step, in reverse order
/// (R23, R53). All are one step where the stop order says so; adjacent children of one `count` share a step. Both go
/// beyond OTP's rest_for_one and one_for_all, but simple_one_for_one does so (R78).
pub(super) fn stop_steps(members: &[(ChildId, Option<u32>)], order: StopOrder) -> VecDeque<Vec<ChildId>> {
    let mut steps: VecDeque<Vec<ChildId>> = VecDeque::new();
    let mut last: Option<u32> = None;
    for &(id, count) in members.iter().rev() {
        let joins = match order {
            StopOrder::Together => true,
            StopOrder::Reverse => count.is_some() && count == last,
        };
        match steps.back_mut() {
            Some(step) if joins => step.push(id),
            Some(_) | None => steps.push_back(vec![id]),
        }
        last = count;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [ChildId; 4] = [ChildId(0), ChildId(1), ChildId(2), ChildId(3)];

    #[test]
    fn each_strategy_has_its_group() {
        assert_eq!(group(Strategy::OneForOne, &IDS, &IDS[1]), &IDS[1..2]);
        assert_eq!(group(Strategy::OneForAll, &IDS, &IDS[1]), &IDS);
        assert_eq!(group(Strategy::RestForOne, &IDS, &IDS[1]), &IDS[1..]);
    }

    #[test]
    fn stops_are_one_by_one_but_for_a_count() {
        let members = [(IDS[0], None), (IDS[1], Some(7)), (IDS[2], Some(7)), (IDS[3], None)];
        assert_eq!(stop_steps(&members, StopOrder::Reverse), [vec![IDS[3]], vec![IDS[2], IDS[1]], vec![IDS[0]]]);
        assert_eq!(stop_steps(&members, StopOrder::Together), [vec![IDS[3], IDS[2], IDS[1], IDS[0]]]);
        assert!(stop_steps(&[], StopOrder::Together).is_empty());
    }

    #[test]
    fn two_counts_side_by_side_are_two_steps() {
        let members = [(IDS[0], Some(1)), (IDS[1], Some(1)), (IDS[2], Some(2)), (IDS[3], Some(2))];
        assert_eq!(stop_steps(&members, StopOrder::Reverse), [vec![IDS[3], IDS[2]], vec![IDS[1], IDS[0]]]);
    }
}
