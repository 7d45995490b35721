//! `treevisor why`: the chain of causes behind a state, put into words by [`explain`].
//!
//! For a running instance, the state and recent events come from the root, and earlier events from the journal. For one
//! that does not run, the events of its last run come from the journal.

use super::change::ask_failed;
use super::failure::{ExitCode, Failure};
use super::instance::{anywhere, not_found};
use super::journal_history::{JournalHistory, kept};
use super::options::{ColorMode, Target, Times, path, positive_span, timestamp};
use super::out::{self, Out};
use super::render::event::short_time;
use super::render::{self, Look};
use super::timestamp::Timestamp;
use crate::control::journal::{self, Entry, Filter, JournalError, Runs};
use crate::control::session::EventsWanted;
use crate::control::{AskError, FindError, Instance, Session, StateDir};
use crate::error::Chain;
use crate::explain::{Explanation, Present, explain, explain_event, tell};
use crate::ids::{Name, Path, ReportId};
use crate::os::clock;
use crate::time::Span;
use crate::wire::journal::EndNote;
use crate::wire::message::Refusal;
use crate::wire::view::{ChildView, EventView};
use clap::Args;
use std::ops::ControlFlow;

/// Explain how a child got into its current state
///
/// Follows the causes behind the present (or last) state of PATH back to where they began: what failed and how, its
/// last output, its heartbeats, its resource usage; which children were restarted with it, how full the window of
/// restarts was, which supervisors escalated. Of a supervisor, also what failed below it lately. Without PATH the root
/// is explained. With --at, or of an EVENT, what was the case then: the journal has it, of earlier runs too.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor why /web/api
  treevisor why                                 why did the tree end, or what happened last
  treevisor why --at 03:12 /web/api             what was the case then, and why
  treevisor events --ids --since yesterday --kind exited
  treevisor why 3f2a910c-17                     an event of the past, by its id
  treevisor why --json /web | jq .first_cause   for scripts: category, event, meaning

Exit codes:
  0  explained, also when nothing has ever failed
  3  no such instance runs
  4  no such path in the tree
  5  no answer in time
")]
pub struct Why {
    /// What to explain: a path, or the id of an event, as `events --ids` and `events --json` show it
    #[arg(value_name = "PATH|EVENT", value_parser = subject, default_value = "/", hide_default_value = true)]
    pub path: Subject,
    /// Explain what was the case at this moment: 10m (ago), 03:00, yesterday 03:00, 2026-11-24T03:00
    #[arg(long, value_name = "WHEN", value_parser = timestamp)]
    pub at: Option<Timestamp>,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub times: Times,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

/// The subject of the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The state of a child.
    Path(Path),
    Event(ReportId),
}

fn subject(text: &str) -> Result<Subject, String> {
    // Only the exact printed form of an id counts, so that hardly any name looks like one. With a slash in front, such
    // a name is a path.
    let id = ReportId::parse(text).filter(|id| id.to_string() == text);
    id.map_or_else(|| path(text).map(Subject::Path), |id| Ok(Subject::Event(id)))
}

pub(super) fn run(args: Why, when: ColorMode) -> Result<ExitCode, Failure> {
    let wanted = args.target.instance.as_deref();
    let path = match &args.path {
        Subject::Path(path) => path.clone(),
        Subject::Event(_) => Path::root(),
    };
    let found = anywhere(wanted);
    let past = args.at.is_some() || matches!(args.path, Subject::Event(_));
    let explanation = match found {
        Ok(instance) if past => {
            let failed = |error| ask_failed("explain", &path, &instance, error);
            let mut session = Session::connect(&instance.runtime).map_err(failed)?;
            let (remembered, _) = events_of(&mut session, args.timeout).map_err(failed)?;
            let run = instance.runtime.read_instance().map(|file| file.run().to_owned()).unwrap_or_default();
            of_past(&args, &instance.name, &run, remembered)?
        }
        Ok(instance) => of_running(&path, args.timeout, &instance, when)?,
        Err(error @ (FindError::NoneRuns { .. } | FindError::NotRunning { .. })) => match kept(wanted) {
            Some((name, _)) if past => of_past(&args, &name, "", Vec::new())?,
            Some((name, state)) => of_journal(&path, &name, &state, when)?,
            None => return Err(not_found("explain", &path, &error)),
        },
        Err(error) => return Err(not_found("explain", &path, &error)),
    };
    let mut out = Out::open();
    if args.json {
        out.write_json(&explanation)?;
    } else {
        let look = Look::of_stdout(when).times_of(args.times.zone());
        out.write(&render::told(&tell(&render::people::explanation(&explanation, look)), look))?;
    }
    Ok(ExitCode::Done)
}

/// Explains a moment of the past, or an event. `remembered` are the events in the memory of a root, which are of `run`.
fn of_past(args: &Why, name: &Name, run: &str, remembered: Vec<EventView>) -> Result<Explanation, Failure> {
    let past = JournalHistory::of(name, run, remembered).map_err(|error| {
        let message = format!("cannot explain what was: {}", Chain(&error));
        Failure::new(ExitCode::Failed, message).hint("only root and the user that started the tree may read it")
    })?;
    let zone = args.times.zone();
    let from = past.begins().map(|at| short_time(&zone.rfc3339(at)));
    let hint =
        from.map_or("no journal is kept of it".into(), |from| format!("what is known of \"{name}\" begins at {from}"));
    match (&args.path, &args.at) {
        (Subject::Event(_), Some(_)) => {
            let message = "cannot explain an event at another moment than its own";
            Err(Failure::new(ExitCode::Usage, message).hint("leave --at out, or name a path"))
        }
        (Subject::Event(id), None) => {
            let unknown =
                || Failure::new(ExitCode::Failed, format!("cannot explain {id}: no such event is known")).hint(&hint);
            past.with(*id).and_then(|events| explain_event(events, *id)).ok_or_else(unknown)
        }
        (Subject::Path(path), at) => {
            let at = at.as_ref().map(|at| at.at(zone)).unwrap_or_default();
            let Some(events) = past.until(&at) else {
                let message = format!("cannot explain {path}: nothing is known of that time");
                return Err(Failure::new(ExitCode::Failed, message).hint(hint));
            };
            if !path.is_root() && !events.iter().any(|event| event.path.is_within(path)) {
                let message = format!("cannot explain {path} of \"{name}\": until then no such path was known");
                return Err(Failure::new(ExitCode::NoPath, message));
            }
            let mut explanation = explain(&events, path, &Present::Past(at));
            explanation.look_below(&events, None);
            Ok(explanation)
        }
    }
}

/// How far back failures below a supervisor are shown.
const LATELY: Span = Span::from_secs(3_600);

fn of_running(path: &Path, timeout: Span, instance: &Instance, when: ColorMode) -> Result<Explanation, Failure> {
    let failed = |error| ask_failed("explain", path, instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let now = state_of(&mut session, path, timeout).map_err(failed)?;
    let (remembered, forgotten) = events_of(&mut session, timeout).map_err(failed)?;
    let mut events = Vec::new();
    if forgotten > 0 {
        match older(instance, &remembered) {
            Ok(older) => events = older,
            Err(error) => out::say(when, &format!("older events cannot be read: {}", Chain(&error))),
        }
    }
    events.extend(remembered);
    let mut explanation = explain(&events, path, &Present::Runs(now));
    let since = clock::wall().checked_sub(LATELY.as_duration()).map(clock::rfc3339_nanos);
    explanation.look_below(&events, since);
    Ok(explanation)
}

/// The state of a path from the status; `None` if the path exists and its state cannot be read.
fn state_of(session: &mut Session, path: &Path, timeout: Span) -> Result<Option<ChildView>, AskError> {
    match session.status(path, timeout) {
        Ok(status) => Ok(Some(status.root)),
        // A supervisor above is down or hung; the events in the root's memory explain it.
        Err(AskError::Refused { why: Refusal::Down | Refusal::NoAnswer, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All events that the root has in memory, oldest first, and how many earlier ones it no longer has. Events of all
/// paths are read, as a cause may be anywhere in the tree.
fn events_of(session: &mut Session, timeout: Span) -> Result<(Vec<EventView>, u64), AskError> {
    let wanted = EventsWanted { path: Path::root(), kinds: Vec::new(), from: None, follow: false };
    let (mut events, mut forgotten) = (Vec::new(), 0);
    session.events(&wanted, timeout, &mut |read| {
        events.extend(read.events);
        forgotten += read.forgotten;
        ControlFlow::Continue(())
    })?;
    Ok((events, forgotten))
}

/// The events of the present run from before those in memory, from the journal.
fn older(instance: &Instance, remembered: &[EventView]) -> Result<Vec<EventView>, JournalError> {
    let (Some(state), Ok(file)) = (StateDir::own(&instance.name), instance.runtime.read_instance()) else {
        return Ok(Vec::new());
    };
    let filter = Filter { runs: Runs::Only(file.run().to_owned()), ..Filter::default() };
    journal::older(&state, &filter, remembered)
}

fn of_journal(path: &Path, name: &Name, state: &StateDir, when: ColorMode) -> Result<Explanation, Failure> {
    let (events, end) = last_run(state).map_err(|error| {
        let message = format!("cannot explain {path} of \"{name}\": {}", Chain(&error));
        Failure::new(ExitCode::Failed, message).hint("only root and the user that started the tree may read it")
    })?;
    if !events.iter().any(|event| event.path.is_within(path)) && !path.is_root() {
        let message = format!("cannot explain {path} of \"{name}\": its journal knows no such path");
        return Err(Failure::new(ExitCode::NoPath, message));
    }
    out::say(when, &format!("\"{name}\" does not run; this is of its journal, in {}", state.path().display()));
    Ok(explain(&events, path, &Present::Over(end)))
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
