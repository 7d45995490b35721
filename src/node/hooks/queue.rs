//! The queue of hooks that wait: bounded, and hooks that are lost are counted. Nothing is run here.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most hooks of restarts that wait.
pub(super) const ROUTINE_MAX: usize = 64;

/// The most hooks of panics and escalations that wait. Each of them matters, but a subtree that escalates again and
/// again while its hooks hang must not fill the memory.
pub(super) const DISASTERS_MAX: usize = 256;

/// How many hooks run at once: of restarts, and altogether.
const RESTARTS_AT_ONCE: usize = 4;
const AT_ONCE: usize = 16;

/// The same including those that SIGKILL has not ended. These may stay for ever, and others do not wait for them; but
/// each takes a process and descriptors.
const RESTARTS_WITH_STUCK: usize = 16;
const ALL_WITH_STUCK: usize = 64;

/// Whether one more hook of this class may run now. `running` are the others, each with its class and with whether
/// SIGKILL has not ended it.
pub(super) fn has_room(running: impl Iterator<Item = (Class, bool)>, class: Class) -> bool {
    let (mut all, mut restarts) = ((0, 0), (0, 0));
    for (class, is_stuck) in running {
        let add = |(counted, with_stuck): &mut (usize, usize)| {
            *counted += usize::from(!is_stuck);
            *with_stuck += 1;
        };
        add(&mut all);
        if class == Class::Routine {
            add(&mut restarts);
        }
    }
    let are_below = |(counted, with_stuck), most, most_with_stuck| counted < most && with_stuck < most_with_stuck;
    are_below(all, AT_ONCE, ALL_WITH_STUCK)
        && (class == Class::Disaster || are_below(restarts, RESTARTS_AT_ONCE, RESTARTS_WITH_STUCK))
}

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
    fn what_sigkill_does_not_end_takes_no_room_until_there_is_too_much_of_it() {
        let room = |groups: &[(Class, bool, usize)]| {
            let running = groups.iter().flat_map(|(class, stuck, count)| vec![(*class, *stuck); *count]);
            [Class::Disaster, Class::Routine].map(|class| has_room(running.clone(), class))
        };
        let (disaster, routine) = (Class::Disaster, Class::Routine);
        assert_eq!(room(&[]), [true, true]);
        assert_eq!(room(&[(routine, false, 4)]), [true, false]);
        assert_eq!(room(&[(routine, true, 4)]), [true, true]);
        assert_eq!(room(&[(routine, true, 15), (routine, false, 1)]), [true, false]);
        assert_eq!(room(&[(disaster, false, 16)]), [false, false]);
        assert_eq!(room(&[(disaster, true, 16), (disaster, false, 15), (routine, true, 4)]), [true, true]);
        assert_eq!(room(&[(disaster, true, 48), (routine, true, 16)]), [false, false]);
    }

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
