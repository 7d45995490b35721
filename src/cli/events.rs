//! `treevisor events`: what happened, one event a line.
//!
//! Events come from three sources: the root has the last ten thousand of its run in memory, the journal on disk has
//! earlier ones and those of earlier runs, and new ones come from the root as they happen. The root is asked first,
//! then the journal is read up to the first event that both have.

use super::change::ask_failed;
use super::failure::{ExitCode, Failure};
use super::instance::{anywhere, not_found};
use super::journal_history::kept;
use super::options::{ColorMode, Target, Times, path, positive_span, timestamp};
use super::out::{self, Out, json_line};
use super::pages;
use super::render::event::short_time;
use super::render::{self, Look};
use super::timestamp::Timestamp;
use crate::control::journal::{self, Entry, Filter, Runs, Summary};
use crate::control::session::EventsWanted;
use crate::control::{FindError, Instance, Session, StateDir};
use crate::error::Chain;
use crate::ids::{Name, Path, ReportId};
use crate::text::clean;
use crate::time::Span;
use crate::wire::look::{Kept, REPORTS};
use crate::wire::view::{EventBody, EventView};
use clap::Args;
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

/// Show what happened, one event a line
///
/// Prints what happened in the tree, or in the part of it at PATH, oldest first, in local time. It is kept on disk:
/// without a running instance its last run is read, and with --since, --until or -n those before it as well.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Kinds:
  starting started ready beat_late hung dropped exited restarting stopping stopped escalated
  gave_up auto_shutdown panic held released reloaded rollout upgraded
  upgrade_failed start_failed kill_failed main_pid succeeded
Of children with a placement also:
  unreachable reachable failed_over no_host
With --host also:
  host_lost host_back moved superseded fenced drained store_lost store_back store_unwell

Times are local, or UTC with --utc; those of --json are UTC:
  10m, 1h30m, 2h ago      so long ago
  03:00, 03:00:30         the last time it was so late
  today, yesterday, yesterday 03:00
  2026-11-24, 2026-11-24T03:00, 2026-11-24T03:00:30+01:00

Examples:
  treevisor events
  treevisor events -f /web
  treevisor events --since 03:10 --until 03:15 --kind exited,hung
  treevisor events --since yesterday --kind hung
  treevisor events -n 20 -i shop          the end of the story, also when nothing runs
  treevisor events --host b               what lies on host b, and what its agent has reported
  treevisor events -f --json | jq 'select(.kind == \"exited\") | {path, code, signal}'
")]
pub struct Events {
    /// Where in the tree
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    #[command(flatten)]
    pub target: Target,
    /// Follow new events, until the instance ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only events of these kinds
    #[arg(short, long, value_name = "KIND", value_delimiter = ',', value_parser = event_kind)]
    pub kind: Vec<String>,
    /// Only events at or after this time
    #[arg(long, value_name = "WHEN", value_parser = timestamp)]
    pub since: Option<Timestamp>,
    /// Only events up to this time
    #[arg(long, value_name = "WHEN", value_parser = timestamp, conflicts_with = "follow")]
    pub until: Option<Timestamp>,
    /// Show the id of each event, for `treevisor why ID`
    #[arg(long, conflicts_with = "json")]
    pub ids: bool,
    /// What lies on the disk of this host of the cluster, of all runs there
    #[arg(long, value_name = "NAME", conflicts_with = "follow")]
    pub host: Option<String>,
    /// Only the last N of them; with --follow, of those that are there already
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub last: Option<usize>,
    #[command(flatten)]
    pub times: Times,
    /// Print each event as one JSON object on a line of its own
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the first answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

fn event_kind(text: &str) -> Result<String, String> {
    const KINDS: &[&str] = EventBody::KINDS;
    if KINDS.contains(&text) || REPORTS.contains(&text) {
        return Ok(text.to_owned());
    }
    let wanted = text.to_lowercase().replace('-', "_");
    let near = KINDS
        .iter()
        .chain(&REPORTS)
        .map(|kind| (strsim::jaro_winkler(kind, &wanted), kind))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Err(match near {
        Some((likeness, kind)) if likeness >= 0.75 => format!("there is no such kind of event; did you mean {kind}?"),
        _ => format!("there is no such kind of event; there are {}", KINDS.join(", ")),
    })
}

pub(super) fn run(args: Events, when: ColorMode) -> Result<ExitCode, Failure> {
    let wanted = args.target.instance.as_deref();
    if let Some(host) = &args.host {
        return of_host(&args, host, when);
    }
    match anywhere(wanted) {
        Ok(instance) => of_running(&args, &instance, when),
        Err(error @ (FindError::NoneRuns { .. } | FindError::NotRunning { .. })) => {
            let Some((name, state)) = kept(wanted) else {
                return Err(not_found("see the events of", &args.path, &error));
            };
            if args.follow {
                return Err(not_found("follow the events of", &args.path, &error)
                    .hint(format!("without -f, `treevisor events -i {name}` shows what its journal holds")));
            }
            of_journal(&args, &name, &state, when)
        }
        Err(error) => Err(not_found("see the events of", &args.path, &error)),
    }
}

fn of_running(args: &Events, instance: &Instance, when: ColorMode) -> Result<ExitCode, Failure> {
    let failed = |error| ask_failed("see the events of", &args.path, instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    out::end_with_reader(&mut session);
    let mut printer = Printer::new(args, when);
    let mut forgotten = None;
    let wanted = EventsWanted { path: args.path.clone(), kinds: args.kind.clone(), from: None, follow: args.follow };
    let ended = session.events(&wanted, args.timeout, &mut |read| {
        let forgotten = *forgotten.get_or_insert_with(|| {
            // What the root has forgotten, and earlier runs, stand before what it has in memory.
            printer.memory = (args.looks_back() || read.forgotten > 0).then(Vec::new);
            read.forgotten
        });
        if read.lost > 0 {
            printer.lost(read.lost);
        }
        let told = printer.events(read.events).and_then(|()| match read.caught_up {
            true => printer.has_all_of(args, instance, forgotten),
            false => Ok(()),
        });
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                printer.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(failure) = printer.failure.take() {
        return Err(failure);
    }
    let told = printer.has_all_of(args, instance, forgotten.unwrap_or_default());
    ended.map_err(failed)?;
    told?;
    if args.follow {
        out::say(when, &format!("the instance \"{}\" has ended", instance.name));
    }
    Ok(ExitCode::Done)
}

fn of_journal(args: &Events, name: &Name, state: &StateDir, when: ColorMode) -> Result<ExitCode, Failure> {
    out::say(when, &format!("\"{name}\" does not run; this is its journal, in {}", state.path().display()));
    let mut printer = Printer::new(args, when);
    let runs = if args.looks_back() { Runs::All } else { Runs::Last };
    let summary = printer.journal(state, runs, &[]).map_err(|error| {
        let message = format!("cannot see the events of {} of \"{name}\": {}", args.path, Chain(&error));
        Failure::new(ExitCode::Failed, message).hint("only root and the user that started the tree may read it")
    })?;
    printer.history_is_told()?;
    if let Some(failure) = printer.failure {
        return Err(failure);
    }
    knows_path(&summary, args, name.as_str())
}

fn knows_path(summary: &Summary, args: &Events, name: &str) -> Result<ExitCode, Failure> {
    if !summary.path_known && !args.path.is_root() {
        let message = format!("cannot see the events of {} of \"{name}\": its journal knows no such path", args.path);
        return Err(Failure::new(ExitCode::NoPath, message));
    }
    Ok(ExitCode::Done)
}

/// Shows the events on a host's disk: the journal of the instance, merged with the reports of the host's agent.
fn of_host(args: &Events, host: &str, when: ColorMode) -> Result<ExitCode, Failure> {
    let doing = format!("see the events of {} on {host}", args.path);
    let instance = pages::instance(&doing, args.target.instance.as_deref())?;
    let mut printer = Printer::new(args, when);
    let filter = printer.filter.clone();
    let journal = pages::of_host(&doing, host, Kept::Instance(instance.clone()), args.timeout);
    let reported = pages::of_host(&doing, host, Kept::Agent, args.timeout);
    let unreadable = Cell::new(0);
    let reports = (1..).zip(reported).filter_map(|(number, line)| match line {
        Ok(line) => {
            let report = pages::report(&line, number, &instance);
            unreadable.update(|count| count + u64::from(report.is_err()));
            report.ok().flatten().filter(|event| filter.takes(event)).map(Ok)
        }
        Err(failure) => Some(Err(failure)),
    });
    let mut reports = reports.peekable();
    let (mut there, mut failed) = (false, None);
    let summary = journal::read_lines(journal.inspect(|_| there = true), &filter, &mut |entry| {
        let told = (|| {
            if let Some(at) = entry.at() {
                while let Some(report) = reports.next_if(|next| next.as_ref().is_ok_and(|report| *report.at <= *at)) {
                    printer.entry(Entry::Event(report?))?;
                }
            }
            printer.entry(entry)
        })();
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    for report in reports {
        printer.entry(Entry::Event(report?))?;
    }
    printer.history_is_told()?;
    printer.skipped(Summary { skipped: summary.skipped + unreadable.get(), ..summary });
    if !there {
        out::say(when, &format!("{host} has no journal of \"{instance}\""));
        return Ok(ExitCode::Done);
    }
    knows_path(&summary, args, &instance)
}

impl Events {
    /// Whether earlier runs are wanted too.
    fn looks_back(&self) -> bool {
        self.since.is_some() || self.until.is_some() || self.last.is_some()
    }
}

/// The last `last` events so far, with the entries between them.
struct Held {
    last: usize,
    events: usize,
    entries: VecDeque<Entry>,
}

impl Held {
    fn push(&mut self, entry: Entry) {
        let counts = |entry: &Entry| usize::from(matches!(entry, Entry::Event(_)));
        self.events += counts(&entry);
        self.entries.push_back(entry);
        while self.events > self.last {
            self.events -= self.entries.pop_front().map_or(0, |entry| counts(&entry));
        }
    }
}

/// Prints events and the entries between them, each event once.
struct Printer {
    out: Out,
    when: ColorMode,
    json: bool,
    look: Look,
    lines: render::Events,
    filter: Filter,
    /// With `-n`: the events that may be among the last ones.
    held: Option<Held>,
    /// Events in the memory of the root, until all have come.
    memory: Option<Vec<EventView>>,
    /// Whether only one run is printed.
    one_run: bool,
    /// Events that came from the journal, and may come again from the root: those that happened since it was asked.
    told: HashSet<(ReportId, String)>,
    failure: Option<Failure>,
}

impl Printer {
    fn new(args: &Events, when: ColorMode) -> Printer {
        let written = |at: &Option<Timestamp>| at.as_ref().map(|at| at.at(args.times.zone()));
        Printer {
            out: Out::open(),
            when,
            json: args.json,
            look: Look::of_stdout(when).times_of(args.times.zone()),
            lines: render::Events::new(args.ids),
            filter: Filter {
                path: Some(args.path.clone()),
                kinds: args.kind.clone(),
                since: written(&args.since),
                until: written(&args.until),
                runs: Runs::All,
            },
            held: args.last.map(|last| Held { last, events: 0, entries: VecDeque::new() }),
            memory: None,
            one_run: false,
            told: HashSet::new(),
            failure: None,
        }
    }

    /// Called when all events that the root has in memory have come: prints earlier ones from the journal before them.
    fn has_all_of(&mut self, args: &Events, instance: &Instance, forgotten: u64) -> Result<(), Failure> {
        if let Some(memory) = self.memory.take() {
            self.older(args, instance, &memory, forgotten)?;
            self.events(memory)?;
        }
        self.history_is_told()
    }

    /// Prints wanted events that the root of a running instance no longer has in memory.
    fn older(
        &mut self,
        args: &Events,
        instance: &Instance,
        memory: &[EventView],
        forgotten: u64,
    ) -> Result<(), Failure> {
        let Some(state) = StateDir::own(&instance.name) else { return Ok(()) };
        let run = instance.runtime.read_instance().ok().map(|file| file.run().to_owned());
        let runs = match &run {
            Some(run) if !args.looks_back() => Runs::Only(run.clone()),
            _ => Runs::All,
        };
        match self.journal(&state, runs, memory) {
            Ok(_) if forgotten > 0 && run.as_ref().is_some_and(|run| !has_run(&state, run)) => {
                let text =
                    format!("the root has forgotten {forgotten} older events, and no journal is kept of this run");
                out::say(self.when, &text);
            }
            Ok(_) => {}
            Err(error) => out::say(self.when, &format!("older events cannot be read: {}", Chain(&error))),
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    fn journal(
        &mut self,
        state: &StateDir,
        runs: Runs,
        memory: &[EventView],
    ) -> Result<Summary, journal::JournalError> {
        self.one_run = matches!(runs, Runs::Only(_));
        let filter = Filter { runs, ..self.filter.clone() };
        let summary = journal::read_before(state, &filter, memory, &mut |entry| {
            if let Entry::Event(event) = &entry {
                self.told.insert((event.id, event.at.clone()));
            }
            match self.entry(entry) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    self.failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        self.skipped(summary);
        Ok(summary)
    }

    fn skipped(&self, summary: Summary) {
        if summary.skipped > 0 {
            let text = format!("{} lines of the journal could not be read, and were passed over", summary.skipped);
            out::say(self.when, &text);
        }
    }

    /// Prints events of the root that did not come from the journal already.
    fn events(&mut self, mut events: Vec<EventView>) -> Result<(), Failure> {
        if let Some(memory) = &mut self.memory {
            memory.append(&mut events);
            return Ok(());
        }
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            let known = !self.told.is_empty() && self.told.contains(&(event.id, event.at.clone()));
            if !known && self.filter.takes(&event) {
                new.push(event);
            }
        }
        if self.held.is_some() {
            return new.into_iter().try_for_each(|event| self.entry(Entry::Event(event)));
        }
        self.print(&new)
    }

    fn entry(&mut self, entry: Entry) -> Result<(), Failure> {
        let Some(held) = &mut self.held else { return self.tell(entry) };
        held.push(entry);
        Ok(())
    }

    /// Called when all events from before the connection have been received: prints those that were held back.
    fn history_is_told(&mut self) -> Result<(), Failure> {
        let held = self.held.take().map(|held| held.entries).unwrap_or_default();
        held.into_iter().try_for_each(|entry| self.tell(entry))
    }

    fn tell(&mut self, entry: Entry) -> Result<(), Failure> {
        match entry {
            Entry::Event(event) => self.print(&[event]),
            // A single run needs no heading.
            Entry::Run(_) if self.one_run => Ok(()),
            Entry::Run(run) => {
                let at = short_time(&self.look.zone.rfc3339(&run.at));
                self.between(&format!("a run of \"{}\" began at {at}, as process {}", run.instance, run.pid))
            }
            Entry::Lost { events, why } => {
                self.between(&format!("{events} events are missing here in the journal: {why}"))
            }
            Entry::End(end) => {
                let at = short_time(&self.look.zone.rfc3339(&end.at));
                self.between(&format!("the run ended at {at}: {}", end.text))
            }
        }
    }

    /// Prints a line between events. With JSON it goes to stderr, as each line on stdout is an event.
    fn between(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            out::say(self.when, text);
            return Ok(());
        }
        self.out.follow(&format!("-- {} --\n", clean(text)))
    }

    fn lost(&self, lost: u64) {
        out::say(self.when, &format!("{lost} events were lost here: this reader was too slow, or they are too old"));
    }

    fn print(&mut self, events: &[EventView]) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let text = if self.json { json_lines(events)? } else { lines(events, &mut self.lines, self.look) };
        self.out.follow(&text)
    }
}

/// Whether the journal has this run, which is the present one. What cannot be read counts as kept.
fn has_run(state: &StateDir, run: &str) -> bool {
    journal::last_run(state).map_or(true, |last| last.is_some_and(|last| last.run == run))
}

fn lines(events: &[EventView], shown: &mut render::Events, look: Look) -> String {
    shown.expect(events);
    let mut text = String::new();
    events.iter().for_each(|event| shown.write(event, look, &mut text));
    text
}

fn json_lines(events: &[EventView]) -> Result<String, Failure> {
    let mut text = String::new();
    for event in events {
        text.push_str(&json_line(event)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
