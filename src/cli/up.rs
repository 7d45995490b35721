//! Whether a part of the tree is up, which children are not, and how to wait for it.

use crate::control::AskError;
use crate::os::clock::{self, Clock};
use crate::time::{Span, Time};
use crate::wire::view::ChildView;

/// How often a waiting tool checks the state. Polling is enough: a state that does not last from one look to the next
/// is of no use to a script.
const LOOK_EVERY: Span = Span::from_millis(100);

/// The least time for the root's answer, even if the wait ends sooner, as on a busy machine. The answer is also needed
/// to report what is not up.
const ANSWER: Span = Span::from_secs(1);

/// Calls `look` repeatedly until its result satisfies the condition, or until `end`. Returns the last result. `look` is
/// given the time that is left, which is at least [`ANSWER`].
///
/// # Errors
/// As `look`.
pub(super) fn look_until<T, E>(
    clock: &Clock,
    end: Time,
    mut look: impl FnMut(Span) -> Result<T, E>,
    holds: impl Fn(&T) -> bool,
) -> Result<T, E> {
    loop {
        let seen = look(end.since(clock.now()).max(ANSWER))?;
        if holds(&seen) || clock.now() >= end {
            return Ok(seen);
        }
        clock::pause(LOOK_EVERY.min(end.since(clock.now())));
    }
}

/// As [`look_until`], where the root is asked. A look without an answer is repeated too, as the root may be busy.
///
/// # Errors
/// As `look`; without an answer only if the last look had none.
pub(super) fn status_until<T>(
    clock: &Clock,
    end: Time,
    mut look: impl FnMut(Span) -> Result<T, AskError>,
    holds: impl Fn(&T) -> bool,
) -> Result<T, AskError> {
    let look = |left| match look(left) {
        Err(error @ (AskError::NoAnswer { .. } | AskError::FellSilent { .. } | AskError::Cut)) => Ok(Err(error)),
        seen => seen.map(Ok),
    };
    look_until(clock, end, look, |seen| seen.as_ref().is_ok_and(&holds))?
}

/// Whether a child is up with all children below it, except those that have ended by themselves and are not to be
/// restarted.
pub(super) fn is_up(view: &ChildView) -> bool {
    down(view).is_empty()
}

/// The children that are not up, in words: `/web/api is waiting, /db is starting and 3 more`. Empty if all are up. A
/// supervisor is named if it is down, or if no child below it explains why it is not up.
pub(super) fn not_up(view: &ChildView) -> String {
    /// Most children that are named.
    const NAMED: usize = 5;
    let found = down(view);
    let mut words: Vec<String> =
        found.iter().take(NAMED).map(|child| format!("{} is {}", child.path(), child.state())).collect();
    if found.len() > NAMED {
        words.push(format!("{} more are not up", found.len() - NAMED));
    }
    words.join(", ")
}

fn down(view: &ChildView) -> Vec<&ChildView> {
    let mut found = Vec::new();
    collect(view, &mut found);
    found
}

fn collect<'v>(view: &'v ChildView, into: &mut Vec<&'v ChildView>) {
    let before = into.len();
    let runs = !matches!(view.state(), "stopped" | "held" | "exited" | "waiting");
    if let (ChildView::Supervisor(supervisor), true) = (view, runs) {
        // A child that has ended was not to be restarted, or its supervisor would have done so. A child with `autostart
        // = false` that was never started need not be up.
        let counts = |child: &&ChildView| child.state() != "exited" && !child.is_unstarted();
        supervisor.children.iter().filter(counts).for_each(|child| collect(child, into));
    }
    if into.len() == before && view.state() != "running" && !view.is_done() {
        into.push(view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::testing::{shop, supervisor, worker};

    #[test]
    fn a_root_that_is_silent_for_a_time_is_asked_again() {
        let silent = || Err(AskError::NoAnswer { limit: Span::from_secs(5) });
        let (clock, later) = (Clock::start(), Time::ZERO + Span::from_secs(60));
        let mut looks = 0;
        let mut look = |_| {
            looks += 1;
            if looks == 1 { silent() } else { Ok(looks) }
        };
        assert_eq!(status_until(&clock, later, &mut look, |looks| *looks == 3).unwrap(), 3);
        let seen = status_until(&clock, Time::ZERO, |_| silent(), |_: &u8| true);
        assert!(matches!(seen, Err(AskError::NoAnswer { .. })), "{seen:?}");
        let cut = status_until(&clock, Time::ZERO, |_| Err(AskError::Cut), |_: &u8| true);
        assert!(matches!(cut, Err(AskError::Cut)), "not as if it had ended: {cut:?}");
        let gone = status_until(&clock, later, |_| Err(AskError::Gone), |_: &u8| true);
        assert!(matches!(gone, Err(AskError::Gone)), "{gone:?}");
    }

    #[test]
    fn what_is_not_up_is_named_at_its_lowest() {
        assert_eq!(not_up(&shop().root), "/web/jobs is waiting, /mail is starting");
        let up = |path, state| ChildView::Worker(Box::new(worker(path, state)));
        let tree = |children| ChildView::Supervisor(Box::new(supervisor("/", children)));
        assert!(is_up(&tree(vec![up("/db", "running"), up("/once", "exited")])));
        let many = (0..7).map(|n| up(["/a", "/b", "/c", "/d", "/e", "/f", "/g"][n], "held")).collect();
        assert!(not_up(&tree(many)).ends_with("/e is held, 2 more are not up"));
        let mut alone = supervisor("/web", vec![up("/web/api", "running")]);
        alone.state = "stopping".into();
        assert_eq!(not_up(&ChildView::Supervisor(Box::new(alone))), "/web is stopping");
        assert_eq!(not_up(&up("/once", "exited")), "/once is exited");
    }
}
