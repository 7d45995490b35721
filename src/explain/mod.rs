//! Explains the present or last state of a child by the chain of causes in the events of its tree.
//!
//! Pure: the input is events and, if the tree runs, the child's part of the status; the output is an [`Explanation`]. A
//! root that gives up prints the short form as its last output; `treevisor why` prints the long form, also when the
//! root has exited.
//!
//! `chain` follows the causes, `behind` finds the roll-out that has left a copy with its old spec, `meaning` has the
//! meanings of exit codes and signals, `failed_start` those of failed starts, `tell` puts an explanation into words;
//! [`sentence`] is one event in words, as the log and the tools print it, and `style` its colour.

mod behind;
mod below;
mod chain;
mod failed_start;
mod meaning;
mod output;
pub(crate) mod rollout;
pub mod sentence;
pub(crate) mod style;
mod tell;
mod types;

#[cfg(test)]
mod tests;

pub use tell::{ExplanationText, Paragraph, tell, tell_short};
pub use types::{Below, Category, Explanation, Present, Step, StoppedRollout};

use crate::ids::{Path, ReportId};
use crate::wire::journal::EndNote;
use crate::wire::view::{ChildView, EventBody, EventView};
use chain::{EventLog, Found};

/// Explains the state of `path` by the events of one run of its tree, oldest first, and by its present state.
pub fn explain(events: &[EventView], path: &Path, present: &Present) -> Explanation {
    let (runs, now, ended, at) = match present {
        Present::Runs(now) => (true, now.as_ref(), None, None),
        Present::Over(ended) => (false, None, ended.clone(), None),
        Present::Past(at) => (true, None, None, Some(at.clone())),
    };
    let log = EventLog::of(events);
    // A killed root ends with all its children and cannot report why.
    let killed = ended.as_ref().is_some_and(|end| end.killed);
    let found = if killed { Found::default() } else { log.behind(path, runs) };
    let last = log.last_about(path).map(|at| events[at].clone());
    let stopped = behind::behind(&log, events, path);
    explanation(&log, path, &found, Known { runs, now, ended, at, last, stopped })
}

/// Explains one event of a run by its causes and the decision of its supervisor that followed. `None` if there is no
/// such event.
pub fn explain_event(events: &[EventView], id: ReportId) -> Option<Explanation> {
    let event = events.iter().find(|event| event.id == id)?;
    let log = EventLog::of(events);
    let found = log.around(id)?;
    let (at, last) = (Some(event.at.clone()), Some(event.clone()));
    let known = Known { runs: true, now: None, ended: None, at, last, stopped: None };
    Some(explanation(&log, &event.path, &found, known))
}

/// The facts of an explanation besides the chain.
struct Known<'a> {
    runs: bool,
    now: Option<&'a ChildView>,
    ended: Option<EndNote>,
    at: Option<String>,
    last: Option<EventView>,
    stopped: Option<StoppedRollout>,
}

fn explanation(log: &EventLog<'_>, path: &Path, found: &Found, known: Known<'_>) -> Explanation {
    let Known { runs, now, ended, at, last, stopped } = known;
    let killed = ended.as_ref().is_some_and(|end| end.killed);
    let chain: Vec<Step> = found.steps.iter().map(|at| log.step(*at, &found.steps)).collect();
    let first_cause = chain.first().filter(|step| step.category != Category::Life).cloned();
    let mut explanation = Explanation {
        path: path.clone(),
        runs,
        state: now.map(|view| view.state().to_owned()),
        done: now.is_some_and(ChildView::is_done),
        unstarted: now.is_some_and(ChildView::is_unstarted),
        incarnation: now.map(ChildView::incarnation).or_else(|| last.as_ref().and_then(|event| event.incarnation)),
        restarts: now.map(ChildView::restarts),
        uptime_ms: now.and_then(ChildView::uptime_ms),
        waits_ms: now.and_then(ChildView::waits_ms),
        listen: now.map_or_else(Vec::new, |view| view.listen().to_vec()),
        ended,
        at,
        below: None,
        rollout: stopped,
        verdict: String::new(),
        first_cause,
        last,
        chain,
        complete: found.complete || killed,
        hints: Vec::new(),
    };
    explanation.verdict = tell::verdict(&explanation);
    explanation.hints = tell::hints(&explanation);
    if let Some(refused) = now.and_then(ChildView::limits).and_then(|limits| limits.forks_refused) {
        let what = if refused == 1 { "a new process" } else { "new processes" };
        let hint = format!("its `pids-max` was reached: the kernel refused it {what}, {refused} so far");
        explanation.hints.insert(0, hint);
    }
    let is_behind =
        |stopped: &StoppedRollout| matches!(&stopped.stopped.body, EventBody::Rollout(rollout) if rollout.reload);
    if runs && explanation.at.is_none() && explanation.rollout.as_ref().is_some_and(is_behind) {
        let hint = "mend the file, and `treevisor reload` goes on; `treevisor reload --abort` goes back to the specs from before";
        explanation.hints.insert(0, hint.into());
    }
    explanation
}
