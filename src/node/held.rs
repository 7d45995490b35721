//! Whether a child is held, derived from its supervisor's reports. The node above keeps this, so that the supervisor's
//! next process gets it from there. This file has no I/O, so the simulator in `tests/sim` runs it too.

use crate::supervision::{Fact, State};

/// What a report means for a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The hold begins: an operator has ordered it.
    Begins,
    /// The hold is in force again, in a supervisor that was started again.
    Again,
    /// The hold has ended.
    Ends,
    /// The report does not affect the hold.
    Unchanged,
}

/// What a report about a child means for its hold. `state`: the child's state after the report. `is_held`: whether the
/// child was held before it.
pub fn change(fact: &Fact, state: impl FnOnce() -> Option<State>, is_held: bool) -> Change {
    match (fact, is_held) {
        (Fact::Panic { hold: true, .. }, _) => Change::Begins,
        (Fact::HeldAgain, true) => Change::Again,
        (Fact::Released { .. }, true) => Change::Ends,
        // An operator has released the child while its old process cannot be killed: it is started when that process
        // has ended.
        (Fact::StartFailed { retry: true, .. }, true) => Change::Ends,
        (_, true) if !state().is_some_and(may_be_held) => Change::Ends,
        _ => Change::Unchanged,
    }
}

/// Whether a child in this state can be held: it is held now, it is being killed for the hold, or an operator has
/// started it and it is not up yet, so that it is held again if that start fails.
fn may_be_held(state: State) -> bool {
    match state {
        State::Held | State::Stopping | State::Starting => true,
        State::Running | State::Stopped | State::Waiting | State::Exited => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::StartFailure;

    #[test]
    fn a_hold_begins_with_an_order_and_ends_with_another() {
        let panic = |hold| Fact::Panic { by: "uid 7".into(), hold };
        let failed = |retry| {
            let failure = StartFailure { stage: "kill".into(), errno: 0, message: String::new() };
            Fact::StartFailed { failure, retry }
        };
        for (fact, state, is_held, says) in [
            (panic(true), State::Stopping, false, Change::Begins),
            (panic(true), State::Held, true, Change::Begins),
            (panic(false), State::Stopping, false, Change::Unchanged),
            (Fact::Held, State::Held, true, Change::Unchanged),
            // Its old process cannot be killed: its state is shown as stopping, but it is held.
            (Fact::Held, State::Stopping, true, Change::Unchanged),
            (Fact::HeldAgain, State::Held, true, Change::Again),
            // A start that an operator has ordered: the hold ends when the child is up, and stays if the start fails.
            (Fact::Starting, State::Starting, true, Change::Unchanged),
            (failed(false), State::Held, true, Change::Unchanged),
            (Fact::Started, State::Running, true, Change::Ends),
            (failed(true), State::Stopping, true, Change::Ends),
            (Fact::Released { by: String::new() }, State::Stopping, true, Change::Ends),
            (Fact::Started, State::Running, false, Change::Unchanged),
        ] {
            assert_eq!(change(&fact, || Some(state), is_held), says, "{fact:?} {state:?}");
        }
        assert_eq!(change(&Fact::Stopped, || None, true), Change::Ends, "it was removed");
    }
}
