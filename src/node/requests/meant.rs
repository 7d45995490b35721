//! Checks that a change is meant for the present incarnation: an operator may name the incarnation that was inspected,
//! and a later one must not be affected instead. Pure.

use super::node_reader::{NodeReader, Seen};
use super::pending::{Pending, PendingOperation};
use super::place::Place;
use super::replies::refused;
use super::route::Change;
use crate::supervision::{ChildId, State};
use crate::time::Time;
use crate::wire::message::{Meant, Refusal, Reply};

/// The refusal of a change that is meant for another process than the present one. Of paths below a child node, that
/// node checks the child, and the supervisor of each node above whether it is the process that was looked at.
pub(super) fn refusal(
    now: Time,
    reader: &impl NodeReader,
    pending: &Pending,
    place: Place,
    change: &Change,
    meant: &Meant,
) -> Option<Reply> {
    if !change.is_about_one() {
        let message = "an incarnation goes with a change of one child".into();
        return Some(refused(Refusal::NotUnderstood, message));
    }
    let changed = |message| Some(refused(Refusal::Changed, message));
    let other = |Seen { path, incarnation, .. }: Seen, state: State, meant: u64| {
        let state = state.as_str();
        changed(format!("{path} is incarnation {} by now, {state}; {meant} was meant", incarnation.0))
    };
    let (above, meant) = (&meant.above, meant.incarnation);
    match place {
        Place::Nowhere => None,
        Place::Below(node) => {
            let seen = reader.child(node)?;
            let meant = *above.get(seen.path.parts().count().checked_sub(1)?)?;
            if seen.incarnation.0 == meant { None } else { other(seen, reader.state(now, node), meant) }
        }
        Place::Own => {
            let own = reader.own_view(now, Some(&[]));
            let text = || format!("{} is incarnation {} by now; {meant} was meant", own.path, own.incarnation);
            if own.incarnation == meant { None } else { changed(text()) }
        }
        Place::Child(child) => {
            let (seen, state) = (reader.child(child)?, reader.state(now, child));
            if seen.incarnation.0 != meant {
                return other(seen, state, meant);
            }
            let twice = *change == Change::Restart && is_going(pending, child, state);
            if twice {
                changed(format!("incarnation {meant} of {} is being stopped or restarted already", seen.path))
            } else {
                None
            }
        }
    }
}

/// Whether the process of a child is being stopped anyway, with another one to follow: a second restart would hit that
/// one. A child that an operator has stopped would stay down, and may be restarted.
fn is_going(pending: &Pending, child: ChildId, state: State) -> bool {
    pending.does(child, PendingOperation::Restart)
        || (state == State::Stopping && !pending.does(child, PendingOperation::Stop))
}
