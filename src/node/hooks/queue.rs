//! Hooks that wait for their turn: bounded, and what is lost is counted. Nothing is run here.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Hooks of restarts that wait at most.
pub(super) const ROUTINE_MAX: usize = 64;

/// Hooks of panics and escalations that wait at most: each of them matters, but a subtree that escalates again and
/// again while its hooks hang must not fill the memory.
pub(super) const DISASTERS_MAX: usize = 256;

/// Whether a hook is for a disaster, which does not queue behind routine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A panic or an escalation.
    Disaster,
    /// A restart.
    Routine,
}

/// What became of a hook that was to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Waits,
    /// There is no room, and it is the first for which there is none.
    FirstLost,
    /// There still is no room.
    Lost,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue<T> {
    disasters: VecDeque<T>,
    routine: VecDeque<T>,
    lost: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        Queue { disasters: VecDeque::new(), routine: VecDeque::new(), lost: 0 }
    }

    /// Lets a hook wait, if there is room.
    pub(super) fn push(&mut self, class: Class, hook: T) -> Queued {
        let (queue, most) = match class {
            Class::Disaster => (&mut self.disasters, DISASTERS_MAX),
            Class::Routine => (&mut self.routine, ROUTINE_MAX),
        };
        if queue.len() < most {
            queue.push_back(hook);
            return Queued::Waits;
        }
        self.lost += 1;
        if self.lost == 1 { Queued::FirstLost } else { Queued::Lost }
    }

    /// The next one whose class has room to run.
    pub(super) fn pop(&mut self, has_room: impl Fn(Class) -> bool) -> Option<T> {
        let disaster = if has_room(Class::Disaster) { self.disasters.pop_front() } else { None };
        disaster.or_else(|| if has_room(Class::Routine) { self.routine.pop_front() } else { None })
    }

    /// How many were lost, once so few wait that it is over.
    pub(super) fn take_lost(&mut self) -> Option<u64> {
        let over = self.disasters.len() <= DISASTERS_MAX / 2 && self.routine.len() <= ROUTINE_MAX / 2;
        (over && self.lost > 0).then(|| std::mem::take(&mut self.lost))
    }

    /// Drops those of restarts.
    pub(super) fn clear_routine(&mut self) {
        self.routine.clear();
    }

    /// Drops all, and returns how many there were or were lost before.
    pub(super) fn clear(&mut self) -> u64 {
        let forgotten = self.disasters.len() + self.routine.len();
        self.disasters.clear();
        self.routine.clear();
        forgotten as u64 + std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_bound_and_losses_are_told_twice() {
        let mut queue = Queue::new();
        for number in 0..ROUTINE_MAX {
            assert_eq!(queue.push(Class::Routine, number), Queued::Waits);
        }
        assert_eq!(queue.push(Class::Routine, 1_000), Queued::FirstLost);
        assert_eq!(queue.push(Class::Routine, 1_001), Queued::Lost);
        // Disasters have room of their own, and come first.
        for number in 0..DISASTERS_MAX {
            assert_eq!(queue.push(Class::Disaster, 2_000 + number), Queued::Waits);
        }
        assert_eq!(queue.push(Class::Disaster, 3_000), Queued::Lost);
        assert_eq!(queue.take_lost(), None);
        assert_eq!(queue.pop(|_| true), Some(2_000));
        assert_eq!(queue.pop(|class| class == Class::Routine), Some(0));
        assert_eq!(queue.pop(|_| false), None);
        while queue.pop(|_| true).is_some() {}
        assert_eq!(queue.take_lost(), Some(3));
        assert_eq!(queue.take_lost(), None);
        assert_eq!(queue.push(Class::Routine, 1), Queued::Waits);
        assert_eq!(queue.clear(), 1);
    }
}
