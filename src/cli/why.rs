//! `treevisor why`: the chain of causes behind a state, put into words by [`explain`].
//!
//! Of an instance that runs, the root is asked for the state and for the events that it remembers, and the journal for
//! those that it has forgotten. Of one that does not, the journal alone has the last run.

use super::change::ask_failed;
use super::events::kept;
use super::failure::{ExitCode, Failure};
use super::instance::not_found;
use super::options::{Target, When, path, positive_span};
use super::out::{self, Out};
use super::render::{self, Look};
use crate::control::journal::{self, Entry, Filter, JournalError, Runs};
use crate::control::session::EventsWanted;
use crate::control::{self, AskError, FindError, Instance, Limits, Session, StateDir};
use crate::error::Chain;
use crate::explain::{Explanation, Present, explain, tell};
use crate::ids::{Name, Path};
use crate::time::Span;
use crate::wire::journal::EndNote;
use crate::wire::message::{Refusal, Reply, Verb};
use crate::wire::view::{ChildView, EventView};
use clap::Args;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Tells why something is as it is
///
/// Follows the causes behind the present (or last) state of PATH back to where they began: what failed and how, its last
/// output, its beats, what it had used; who was restarted with it, how full the window of restarts was, who gave up to
/// whom. Without PATH the root is explained.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor why /web/api
  treevisor why                                 why did the tree end, or what happened last
  treevisor why --json /web | jq .first_cause   for scripts: category, event, meaning

Exit codes:
  0  told, also when nothing has ever gone wrong
  3  no such instance runs
  4  no such path in the tree
  5  no answer in time
")]
pub struct Why {
    /// What to explain
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

pub(super) fn run(args: Why, when: When) -> Result<ExitCode, Failure> {
    let wanted = args.target.instance.as_deref();
    let explanation = match control::find(&control::own_base(), wanted) {
        Ok(instance) => of_running(&args, &instance, when)?,
        Err(error @ (FindError::NoneRuns { .. } | FindError::NotRunning { .. })) => match kept(wanted) {
            Some((name, state)) => of_journal(&args, &name, &state, when)?,
            None => return Err(not_found("explain", &args.path, &error)),
        },
        Err(error) => return Err(not_found("explain", &args.path, &error)),
    };
    let mut out = Out::open();
    if args.json {
        out.write_json(&explanation)?;
    } else {
        out.write(&render::told(&tell(&explanation), Look::of_stdout(when)))?;
    }
    Ok(ExitCode::Done)
}

fn of_running(args: &Why, instance: &Instance, when: When) -> Result<Explanation, Failure> {
    let failed = |error| ask_failed("explain", &args.path, instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let now = state_of(&mut session, &args.path, args.timeout).map_err(failed)?;
    let (remembered, forgotten) = events_of(&mut session, args.timeout).map_err(failed)?;
    let mut events = Vec::new();
    if forgotten > 0 {
        match older(instance) {
            Ok(older) => events = older,
            Err(error) => out::say(when, &format!("older events cannot be told: {}", Chain(&error))),
        }
    }
    let known: HashSet<_> = events.iter().map(|event| event.id).collect();
    events.extend(remembered.into_iter().filter(|event| !known.contains(&event.id)));
    Ok(explain(&events, &args.path, &Present::Runs(now)))
}

/// The row of the status. `None` where the path is there, but its state cannot be had.
fn state_of(session: &mut Session, path: &Path, timeout: Span) -> Result<Option<ChildView>, AskError> {
    let limits = Limits { first: timeout, overall: timeout };
    match session.ask(Verb::Status { path: path.clone() }, limits, &mut |_, _| {}) {
        Ok(Reply::Status { status }) => Ok(Some(status.root)),
        Ok(_) => Err(AskError::NotUnderstood("an answer to something else".into())),
        // A supervisor above is down or hung: what the root remembers explains it.
        Err(AskError::Refused { why: Refusal::Down | Refusal::NoAnswer, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All events of the tree that its root remembers, oldest first, and how many it has forgotten. Causes lie anywhere in
/// the tree, so it is all of them.
fn events_of(session: &mut Session, timeout: Span) -> Result<(Vec<EventView>, u64), AskError> {
    let wanted = EventsWanted { path: Path::root(), kinds: Vec::new(), follow: false };
    let (mut events, mut forgotten) = (Vec::new(), 0);
    session.events(&wanted, timeout, &mut |read| {
        events.extend(read.events);
        forgotten += read.forgotten;
        ControlFlow::Continue(())
    })?;
    Ok((events, forgotten))
}

/// What the journal holds of the present run.
fn older(instance: &Instance) -> Result<Vec<EventView>, JournalError> {
    let (Some(base), Ok(file)) = (control::own_state_base(), instance.runtime.read_instance()) else {
        return Ok(Vec::new());
    };
    let filter = Filter { runs: Runs::Only(file.run().to_owned()), ..Filter::default() };
    journal::read(&StateDir::of(&base, &instance.name), &filter)
}

fn of_journal(args: &Why, name: &Name, state: &StateDir, when: When) -> Result<Explanation, Failure> {
    let (events, end) = last_run(state).map_err(|error| {
        let message = format!("cannot explain {} of \"{name}\": {}", args.path, Chain(&error));
        Failure::new(ExitCode::Failed, message).hint("only root and the user that started the tree may read it")
    })?;
    if !events.iter().any(|event| event.path.is_within(&args.path)) && !args.path.is_root() {
        let message = format!("cannot explain {} of \"{name}\": its journal knows no such path", args.path);
        return Err(Failure::new(ExitCode::NoPath, message));
    }
    out::say(when, &format!("\"{name}\" does not run; this is of its journal, in {}", state.path().display()));
    Ok(explain(&events, &args.path, &Present::Over(end)))
}

/// The events of the run that began last, and how it ended.
fn last_run(state: &StateDir) -> Result<(Vec<EventView>, Option<EndNote>), JournalError> {
    let (mut events, mut end) = (Vec::new(), None);
    let filter = Filter { runs: Runs::Last, ..Filter::default() };
    journal::read_each(state, &filter, &mut |entry| {
        match entry {
            Entry::Event(event) => events.push(event),
            Entry::End(note) => end = Some(note),
            Entry::Run(_) | Entry::Lost { .. } => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok((events, end))
}
