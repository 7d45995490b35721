//! Events that come at the wrong time, or about a run that is not there.

use treevisor::supervision::{Beat, Event, Exit, Inspected, Notice, Run, StartFailure, Stuck};
use treevisor::time::Span;

/// How many kinds there are.
pub(crate) const KINDS: usize = 15;

/// One of each kind, about `run`; those that a process has only once are about `there`, which may have had its own.
pub(crate) fn events(run: Run, there: Run) -> [Event; KINDS] {
    let killed = run.incarnation.0.is_multiple_of(2);
    let failure = StartFailure { stage: "exec".into(), errno: 2, message: "stray".into() };
    let stuck = Stuck { pid: 17, others: 0, why: String::new() };
    let notice = Notice { hung: true, extend: Some(Span::MAX), ..Notice::default() };
    [
        Event::Begin,
        Event::Spawned { run: there, pid: 1 },
        Event::SpawnFailed { run: there, failure },
        Event::Inspected(there, Inspected::Hung(None)),
        Event::Inspected(run, Inspected::Held("a debugger holds it".into())),
        Event::Inspected(run, Inspected::Unreachable("no link".into())),
        Event::Exited { run, exit: if killed { Exit::Signal(9) } else { Exit::Code(0) }, out_of_memory: false },
        Event::KillFailed { run, exit: killed.then_some(Exit::Signal(9)), stuck },
        Event::StopRefused(run),
        Event::Ready(run),
        Event::Probed(run, Ok(())),
        Event::Beat(run, Box::new(Beat { busy_for: Some(Span::MAX), ..Beat::default() })),
        Event::Notice(run, Box::new(notice)),
        Event::Examined(run),
        Event::Escalating { run, cause: None, explanation: "stray".into() },
    ]
}
