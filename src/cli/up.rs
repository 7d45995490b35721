//! Whether a part of the tree is up, and what of it is not; and how that is waited for.

use super::failure::Failure;
use crate::os::clock::{self, Clock};
use crate::time::{Span, Time};
use crate::wire::view::ChildView;

/// A tool that waits may look a few times a second. The state is what counts, not the event: one that comes and goes
/// between two looks is not what a script can build upon.
const LOOK_EVERY: Span = Span::from_millis(100);

/// A root on a busy machine is given this time for its answer, even where the wait ends sooner: it is asked what is not
/// up then.
const ANSWER: Span = Span::from_secs(1);

/// Looks again and again until what is seen holds, or until `end`. Returns what was seen last. `look` is given the time
/// that is left for it, which at the end still suffices for an answer.
///
/// # Errors
/// Those of a look.
pub(super) fn look_until<T>(
    clock: &Clock,
    end: Time,
    mut look: impl FnMut(Span) -> Result<T, Failure>,
    holds: impl Fn(&T) -> bool,
) -> Result<T, Failure> {
    loop {
        let seen = look(end.since(clock.now()).max(ANSWER))?;
        if holds(&seen) || clock.now() >= end {
            return Ok(seen);
        }
        clock::pause(LOOK_EVERY.min(end.since(clock.now())));
    }
}

/// Whether it is up with all that is below it, but for what has ended by itself and is not to come back.
pub(super) fn is_up(view: &ChildView) -> bool {
    down(view).is_empty()
}

/// What is not up, in words: `/web/api is waiting, /db is starting and 3 more`. Empty where all is up. A supervisor is
/// named where it is down, or where nothing below it explains that it is not up.
pub(super) fn not_up(view: &ChildView) -> String {
    /// A line that is read at once.
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
        // An ended child was not to come back, or its supervisor would have started it; and what only operators start
        // need not be up.
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
