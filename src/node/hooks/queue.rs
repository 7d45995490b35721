//! The queue of hooks that wait: bounded, and hooks that are lost are counted. Nothing is run here.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most hooks of restarts that wait.
pub(super) const ROUTINE_MAX: usize = 64;

/// The most hooks of panics and escalations that wait. Each of them matters, but a subtree that escalates again and
/// again while its hooks hang must not fill the memory.
pub(super) const DISASTERS_MAX: usize = 256;

/// The class of a hook. Those for disasters do not queue behind routine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A panic or an escalation.
    Disaster,
    /// A restart.
    Routine,
}

/// The result of queueing a hook.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Waits,
    /// There is no room: the hook is lost, as the first one.
    FirstLost,
    /// There is still no room: the hook is lost, too.
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

    /// Queues a hook, if there is room.
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

    /// Takes the next hook whose class has room to run.
    pub(super) fn pop(&mut self, has_room: impl Fn(Class) -> bool) -> Option<T> {
        let disaster = if has_room(Class::Disaster) { self.disasters.pop_front() } else { None };
        disaster.or_else(|| if has_room(Class::Routine) { self.routine.pop_front() } else { None })
    }

    /// The number of lost hooks, once the queue is half empty again.
    pub(super) fn take_lost(&mut self) -> Option<u64> {
        let over = self.disasters.len() <= DISASTERS_MAX / 2 && self.routine.len() <= ROUTINE_MAX / 2;
        (over && self.lost > 0).then(|| std::mem::take(&mut self.lost))
    }

    /// Drops the hooks of restarts.
    pub(super) fn clear_routine(&mut self) {
        self.routine.clear();
    }

    /// Drops all hooks. Returns their number, including hooks that were lost before.
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
        // Hooks for disasters have room of their own, and come first.
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
