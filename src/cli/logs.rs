//! `treevisor logs`: what workers have printed.
//!
//! Lines come from two sources: the memory of the nodes, with times, and the workers' files, without. This tool reads
//! the files itself, because a node must not wait for a disk.

use super::change::ask_failed;
use super::failure::{ExitCode, Failure};
use super::instance::{anywhere, near, not_found};
use super::journal_history::kept;
use super::options::{ColorMode, Target, Times, path, positive_span, timestamp};
use super::out::{self, Out, json_line};
use super::render::{self, Look};
use super::targets::outermost;
use super::timestamp::Timestamp;
use crate::control::line_order::{by_worker, in_order};
use crate::control::logs::{LogsAsked, LogsRead};
use crate::control::{self, FindError, Instance, Session};
use crate::ids::{Name, Path};
use crate::instance::runtime::{LogFile, TreePath};
use crate::logs::past::{self, Recent};
use crate::logs::{Stream, console};
use crate::os::clock;
use crate::time::Span;
use crate::wire::view::LogView;
use clap::Args;
use std::fmt::Write;
use std::ops::ControlFlow;

/// How many lines to show at first; `None` for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines(pub Option<usize>);

/// Show the output of workers
///
/// Prints the last lines of the worker at PATH, or of all workers at and below several, in the order of their times.
/// The last 256 lines of each worker (16 KiB at most) are in its supervisor's memory; what is older is read from the
/// worker's own file, where it has one. Nothing in it can steer the terminal: control characters are shown for what
/// they are, colours are left out.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Lines from a file carry no time: they stand before those in memory, and --since leaves them out.
When nothing runs, the files of the last run are read; where they are stands beside its journal.

Examples:
  treevisor logs /web/api
  treevisor logs -f                             all workers, as it comes
  treevisor logs -n all --since 10m /web /db
  treevisor logs -f --json | jq -r 'select(.text | test(\"error\"; \"i\")) | .path'

Exit codes:
  0  done; with -f, the instance has ended
  3  no such instance runs
  4  no such path in the tree
  5  no answer in time
")]
pub struct Logs {
    /// Workers to show; the whole tree by default
    #[arg(value_name = "PATH", value_parser = path, default_value = "/", hide_default_value = true)]
    pub paths: Vec<Path>,
    #[command(flatten)]
    pub target: Target,
    /// Follow new output, until the instance ends
    #[arg(short, long)]
    pub follow: bool,
    /// The last N lines, of all that is shown together, or `all` there are
    #[arg(short = 'n', long, value_name = "N", value_parser = lines, default_value = "100")]
    pub lines: Lines,
    /// Nothing older than this: 10m (ago), 03:00, yesterday, 2026-11-24, 2026-11-24T03:00
    #[arg(long, value_name = "WHEN", value_parser = timestamp)]
    pub since: Option<Timestamp>,
    /// Show the time of each line
    #[arg(short, long)]
    pub times: bool,
    #[command(flatten)]
    pub zone: Times,
    /// Print each line as one JSON object on a line of its own
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the first answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

fn lines(text: &str) -> Result<Lines, String> {
    match text {
        "all" => Ok(Lines(None)),
        number => match number.parse() {
            Ok(number) => Ok(Lines(Some(number))),
            Err(_) => Err("a number from 0 on is expected, or \"all\"".into()),
        },
    }
}

/// What is tried, for messages such as "cannot read the logs of /web".
const TRIED: &str = "read the logs of";

pub(super) fn run(args: Logs, when: ColorMode) -> Result<ExitCode, Failure> {
    let paths = outermost(&args.paths);
    let first = paths.first().cloned().unwrap_or_else(Path::root);
    let wanted = args.target.instance.as_deref();
    let mut shown = Shown::new(&args, when);
    let instance = match anywhere(wanted) {
        Ok(instance) => instance,
        Err(error) => return without_root(&args, &paths, &first, &error, &mut shown),
    };
    let failed = |error| ask_failed(TRIED, &first, &instance, error);
    let tree = workers(&instance, &paths);
    shown.several = tree.as_ref().is_none_or(|tree| tree.len() > 1);
    shown.width(tree.iter().flatten().map(|worker| worker.path.as_str().len()).max().unwrap_or(0));
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    out::end_with_reader(&mut session);
    let asked = LogsAsked {
        paths: paths.clone(),
        lines: args.lines.0.map(|lines| lines as u64),
        since_ms: args.since.as_ref().map(|since| since.millis(args.zone.zone())),
        follow: args.follow,
    };
    let mut kept = Some(Vec::new());
    let mut failure = None;
    let ended = session.logs(&asked, args.timeout, &mut |told| {
        let done = take(told, &mut kept, tree.as_deref().unwrap_or_default(), &mut shown);
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    ended.map_err(failed)?;
    if args.follow {
        out::say(when, &format!("the instance \"{}\" has ended", instance.name));
    }
    Ok(ExitCode::Done)
}

/// Takes received lines. Until all lines in memory have arrived, they are collected, to be sorted.
fn take(
    told: LogsRead,
    kept: &mut Option<Vec<LogView>>,
    tree: &[TreePath],
    shown: &mut Shown<'_>,
) -> Result<(), Failure> {
    for path in &told.silent {
        shown.say(&format!("{path} is down or does not answer: what is below it is missing here"));
    }
    if told.gap {
        shown.say("lines were lost here: this reader was away for too long");
    }
    if told.lost > 0 {
        let noun = if told.lost == 1 { "line was" } else { "lines were" };
        shown.say(&format!("{} {noun} lost here: they came too fast for this reader", told.lost));
    }
    let Some(gathered) = kept else { return shown.lines(&in_order(by_worker(told.lines))) };
    gathered.extend(told.lines);
    if !told.caught_up {
        return Ok(());
    }
    let gathered = kept.take().unwrap_or_default();
    let lines = with_files(gathered, tree, shown)?;
    shown.lines(&lines)
}

/// Sorts the lines in memory, after the earlier lines from the files.
fn with_files(memory: Vec<LogView>, tree: &[TreePath], shown: &Shown<'_>) -> Result<Vec<LogView>, Failure> {
    let wanted = shown.args.lines.0;
    // What is printed from the request on is shown in any case: it may come before all of memory has.
    let is_new = |line: &LogView| shown.asked.is_some() && line.at >= shown.asked;
    let earlier = memory.iter().filter(|line| !is_new(line)).count();
    let enough = wanted.is_some_and(|wanted| earlier >= wanted);
    let mut workers = by_worker(memory);
    // Lines in files have no time, so `--since` cannot be applied to them.
    if !enough && shown.args.since.is_none() {
        for worker in tree {
            let Some(file) = &worker.log else { continue };
            let lines = workers.entry(worker.path.clone()).or_default();
            let kept = joined(lines);
            let read = read(file, wanted.map(|wanted| wanted.saturating_add(kept.lines.len())), shown);
            put_before(lines, read, &kept, &worker.path);
        }
    }
    let mut lines = in_order(workers);
    if let Some(wanted) = wanted {
        let excess = lines.iter().filter(|line| !is_new(line)).count().saturating_sub(wanted);
        let mut old = 0;
        lines.retain(|line| {
            old += usize::from(!is_new(line));
            is_new(line) || old > excess
        });
    }
    Ok(lines)
}

/// Puts the lines of a file before those in memory, without those that both have.
fn put_before(lines: &mut Vec<LogView>, mut file: Vec<String>, kept: &Recent, path: &Path) {
    let mut older = file.len() - past::overlap(&file, kept);
    if let Some(line) = file.get(older).filter(|_| kept.headless)
        && line.ends_with(&kept.lines[0])
    {
        // Memory has the end of the line alone; the file has all of it.
        older += 1;
        let pieces = 1 + lines.windows(2).take_while(|two| goes_on(&two[0], &two[1])).count();
        lines.drain(..pieces);
    }
    file.truncate(older);
    lines.splice(0..0, file.into_iter().map(|text| LogView::untimed(path.clone(), text)));
}

/// Reads a worker's file. A failure is reported, and all other lines are shown.
fn read(file: &LogFile, count: Option<usize>, shown: &Shown<'_>) -> Vec<String> {
    past::last_lines(&file.file, file.keep, count).unwrap_or_else(|(name, error)| {
        shown.say(&format!("cannot read {}: {error}; its lines are missing here", name.display()));
        Vec::new()
    })
}

/// Without a root to ask, reads the files of an instance that has left its directory behind.
fn without_root(
    args: &Logs,
    paths: &[Path],
    first: &Path,
    error: &FindError,
    shown: &mut Shown<'_>,
) -> Result<ExitCode, Failure> {
    let failure = || not_found(TRIED, first, error);
    if !matches!(error, FindError::NoneRuns { .. } | FindError::NotRunning { .. }) {
        return Err(failure());
    }
    let Some((name, mut tree)) = left_behind(args.target.instance.as_deref()) else {
        let gone = "what workers print is kept in memory, and gone with the instance, but for those with \
                    `log = { file = ... }`, whose lines are in their files";
        return Err(failure().hint(output_of_last_run(args.target.instance.as_deref()).unwrap_or_else(|| gone.into())));
    };
    let near = near(first, tree.iter().map(|known| known.path.clone()));
    retain_workers(&mut tree, paths);
    if tree.is_empty() {
        let message = format!("cannot {TRIED} {first}: \"{name}\" does not run, and had no such worker");
        let failure = Failure::new(ExitCode::NoPath, message);
        return Err(match near {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure,
        });
    }
    if tree.iter().all(|worker| worker.log.is_none()) {
        let message =
            format!("cannot {TRIED} {first}: \"{name}\" does not run, and what was in memory is gone with it");
        let hint = output_of_last_run(Some(name.as_str()))
            .unwrap_or_else(|| "give a worker a file for what it prints, as in log = { file = \"api.log\" }".into());
        return Err(Failure::new(ExitCode::NoInstance, message).hint(hint));
    }
    shown.several = tree.len() > 1;
    shown.say(&format!("the instance \"{name}\" does not run; this is what the files of its workers hold"));
    let lines = with_files(Vec::new(), &tree, shown)?;
    shown.lines(&lines)?;
    Ok(ExitCode::Done)
}

/// The workers at and below the paths, from the root's file.
fn workers(instance: &Instance, paths: &[Path]) -> Option<Vec<TreePath>> {
    let mut tree = instance.runtime.read_instance().ok()?.tree_paths;
    retain_workers(&mut tree, paths);
    Some(tree)
}

fn retain_workers(tree: &mut Vec<TreePath>, paths: &[Path]) {
    tree.retain(|known| !known.supervisor && paths.iter().any(|path| known.path.is_within(path)));
}

/// The workers of an instance that does not run. A killed instance has left its runtime directory behind; one that has
/// ended in order has left the list of output files beside its journal.
fn left_behind(wanted: Option<&str>) -> Option<(Name, Vec<TreePath>)> {
    if let Ok(instance) = control::find_to_force(&control::own_base(), wanted)
        && let Ok(file) = instance.runtime.read_instance()
    {
        return Some((instance.name, file.tree_paths));
    }
    let (name, state) = kept(wanted)?;
    Some((name, state.read_outputs().ok()?))
}

/// A hint that names the output file of an instance that ran in the background.
fn output_of_last_run(wanted: Option<&str>) -> Option<String> {
    let (name, state) = kept(wanted)?;
    let file = state.output_file();
    file.is_file().then(|| format!("all that \"{name}\" printed in the background is in {}", file.display()))
}

/// Whether a piece continues the line of the one before it. In a file, a begun line is ended when another line comes in
/// between.
fn goes_on(before: &LogView, piece: &LogView) -> bool {
    piece.continued && before.cut && before.incarnation == piece.incarnation
}

/// The lines in memory as in a file: pieces of long lines are joined.
fn joined(lines: &[LogView]) -> Recent {
    let mut texts: Vec<String> = lines.first().map(|first| first.text.clone()).into_iter().collect();
    for (before, line) in lines.iter().zip(lines.iter().skip(1)) {
        match texts.last_mut().filter(|_| goes_on(before, line)) {
            Some(begun) => begun.push_str(&line.text),
            // The end of a line that another line has ended already.
            None if line.continued && !line.cut && line.text.is_empty() => {}
            None => texts.push(line.text.clone()),
        }
    }
    let headless = lines.first().is_some_and(|line| line.continued);
    Recent { lines: texts, headless, unfinished: lines.last().is_some_and(|line| line.cut) }
}

/// How lines are shown.
struct Shown<'a> {
    args: &'a Logs,
    when: ColorMode,
    out: Out,
    look: Look,
    /// Lines of several workers may come, so each is shown with its worker's path.
    several: bool,
    width: usize,
    since: Option<String>,
    /// With `-f`: the time of the request.
    asked: Option<String>,
}

impl Shown<'_> {
    fn new(args: &Logs, when: ColorMode) -> Shown<'_> {
        let since = args.since.as_ref().map(|since| since.at(args.zone.zone()));
        Shown {
            args,
            when,
            out: Out::open(),
            look: Look::of_stdout(when).times_of(args.zone.zone()),
            several: true,
            width: 0,
            since,
            asked: args.follow.then(clock::rfc3339_now),
        }
    }

    fn width(&mut self, widest: usize) {
        self.width = widest.min(console::WIDTH_MAX);
    }

    fn say(&self, text: &str) {
        // On stderr, since a line on stdout would look like a worker's.
        out::say(self.when, text);
    }

    fn lines(&mut self, lines: &[LogView]) -> Result<(), Failure> {
        let mut text = String::new();
        for line in lines {
            // The root filters by milliseconds; this check is exact.
            if self.since.as_ref().is_some_and(|since| line.at.as_ref().is_none_or(|at| at < since)) {
                continue;
            }
            if self.args.json {
                text.push_str(&json_line(line)?);
            } else {
                self.line(line, &mut text);
            }
        }
        if text.is_empty() { Ok(()) } else { self.out.follow(&text) }
    }

    fn line(&mut self, line: &LogView, text: &mut String) {
        // An empty last piece only ends the line and is not shown.
        if line.continued && !line.cut && line.text.is_empty() {
            return;
        }
        if self.args.times {
            match &line.at {
                Some(at) => render::time(at, self.look, text),
                None => {
                    let _ = write!(text, "{:24}", "-");
                }
            }
            text.push_str("  ");
        }
        if self.several {
            let stream = if line.stream.as_deref() == Some("stderr") { Stream::Stderr } else { Stream::Both };
            console::write_prefix(text, line.path.as_str(), stream, &mut self.width, self.look.colour);
        }
        if line.continued {
            text.push('…');
        }
        text.push_str(&line.text);
        text.push_str(if line.cut { "…\n" } else { "\n" });
    }
}

#[cfg(test)]
mod tests;
