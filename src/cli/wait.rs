//! `treevisor wait`: until something is up or down.

use super::args::{Until, Wait, When};
use super::out::Out;
use super::{ExitCode, FIRST_REPLY, Failure, ask_failed, done_line, not_found};
use crate::control::{self, AskError, FindError, Instance, Limits, Session};
use crate::os::clock::{self, Clock};
use crate::time::{Span, Time};
use crate::wire::message::{Reply, Verb};
use crate::wire::view::ChildView;

/// A tool that waits may look a few times a second. The state is what counts, not the event: one that comes and goes
/// between two looks is not what a script can build upon.
const LOOK_EVERY: Span = Span::from_millis(100);

pub(super) fn run(args: Wait, _: When) -> Result<ExitCode, Failure> {
    let clock = Clock::start();
    let end = Time::ZERO + args.timeout;
    let instance = appeared(&args, &clock, end)?;
    let failed = |error| ask_failed("wait for", &args.path, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    loop {
        let left = end.since(clock.now()).max(LOOK_EVERY);
        let limits = Limits { first: FIRST_REPLY.min(left), overall: FIRST_REPLY.min(left) };
        let state = match session.ask(Verb::Status { path: args.path.clone() }, limits, &mut |_, _| {}) {
            Ok(Reply::Status { status }) => {
                if holds(&status.root, args.until) {
                    break;
                }
                state(&status.root).to_owned()
            }
            Ok(_) => return Err(failed(AskError::NotUnderstood("an answer to something else".into()))),
            // Nothing of it runs any more.
            Err(AskError::Gone) if args.until == Until::Stopped => break,
            Err(error) => return Err(failed(error)),
        };
        if clock.now() >= end {
            let (limit, waiting_for) = (args.timeout, format!("{} is {state}", args.path));
            return Err(failed(AskError::NotDone { waiting_for, limit }));
        }
        clock::pause(LOOK_EVERY.min(end.since(clock.now())));
    }
    let word = match args.until {
        Until::Running => "is running",
        Until::Stopped => "is stopped",
    };
    Out::open().write(&done_line(&args.path, &instance, word, ""))?;
    Ok(ExitCode::Done)
}

/// The instance; one that is to run may still be on its way.
fn appeared(args: &Wait, clock: &Clock, end: Time) -> Result<Instance, Failure> {
    loop {
        match control::find(&control::own_base(), args.target.instance.as_deref()) {
            Ok(instance) => return Ok(instance),
            Err(FindError::NoneRuns { .. } | FindError::NotRunning { .. })
                if args.until == Until::Running && clock.now() < end =>
            {
                clock::pause(LOOK_EVERY.min(end.since(clock.now())));
            }
            Err(error) => return Err(not_found("wait for", &args.path, &error)),
        }
    }
}

fn state(view: &ChildView) -> &str {
    match view {
        ChildView::Supervisor(view) => &view.state,
        ChildView::Worker(view) => &view.state,
    }
}

/// Whether it is as it is to be.
fn holds(view: &ChildView, until: Until) -> bool {
    match until {
        Until::Stopped => matches!(state(view), "stopped" | "held" | "exited"),
        Until::Running => match view {
            ChildView::Worker(view) => view.state == "running",
            ChildView::Supervisor(view) => {
                let up = |child: &ChildView| state(child) == "exited" || holds(child, Until::Running);
                view.state == "running" && view.children.iter().all(up)
            }
        },
    }
}
