//! `treevisor status`: shows the running tree, once or repeatedly.

use super::change::ask_failed;
use super::failure::{ExitCode, Failure};
use super::instance::{anywhere, find, look_there};
use super::options::{ColorMode, Target, Times, path, positive_span};
use super::out::{self, Out, json_line};
use super::render::cpu::Shares;
use super::render::{self, Look};
use super::screen::{Screen, pause};
use super::up::{is_up, not_up, status_until};
use crate::control::{AskError, Instance, Session};
use crate::ids::Path;
use crate::os::clock::Clock;
use crate::os::process::die_by;
use crate::os::signals::Signals;
use crate::time::{Span, Time};
use crate::wire::view::{ChildView, StatusView};
use clap::Args;
use std::fmt::Write;
use std::io::IsTerminal;

/// Show the running tree
///
/// Draws the running tree, or the part of it at PATH: the state of each child, its process, incarnation (#), uptime,
/// restarts, the age of its last beat against its limit, CPU, memory, its last exit, and of supervisors the restarts in
/// the window. On a terminal it fits the width: what matters least is left out.
#[derive(Debug, Args)]
#[command(after_long_help = "\
States:
  starting     its start is not over       stopped      an operator or its supervisor stopped it
  running      it is up                    held         panicked with --hold; stays down
  stopping     it is being stopped         exited       ended by itself, and is not to come back
  waiting      in backoff, or for others   unreachable  its supervisor does not respond

CPU% is of one CPU: since the start of the process, or with --watch since the last look. What a
worker uses is that of all its processes; what a supervisor uses is that of its own process.

Exit code: 0 when the state was read; but 1 when PATH is one worker, and that is neither starting
nor running. With --json and --watch it is 0 all the same. With --fail-unless-up it is 1 as long as
anything at PATH or below is not up, but for what has ended by itself and is not to come back: a
health check.

Examples:
  treevisor status
  treevisor status /web
  treevisor status --watch 2s
  treevisor status --fail-unless-up --wait 5s     for a container's HEALTHCHECK
  treevisor status --json | jq '.. | select(.kind? == \"worker\" and .state != \"running\") | .path'
")]
pub struct Status {
    /// Where in the tree
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub times: Times,
    /// Refresh periodically, in place on a terminal, until the instance ends [every 1s]
    #[arg(short, long, value_name = "INTERVAL", value_parser = watch_or_path, num_args = 0..=1)]
    #[arg(default_missing_value = "1s")]
    pub watch: Option<WatchOrPath>,
    /// End with exit code 1 unless all of it is up
    #[arg(long, conflicts_with = "watch")]
    pub fail_unless_up: bool,
    /// With --fail-unless-up: wait this long for it to be up
    #[arg(long, value_name = "TIME", value_parser = positive_span, requires = "fail_unless_up")]
    pub wait: Option<Span>,
    /// Print one JSON object; with --watch one a line
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

impl Status {
    fn look(&self, when: ColorMode) -> Look {
        Look::of_stdout(when).times_of(self.times.zone())
    }
}

/// The argument after `--watch`: an interval, or the path to watch. They can be distinguished, as a path never looks
/// like a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchOrPath {
    Every(Span),
    /// The path to watch, with the default interval.
    Path(Path),
}

impl WatchOrPath {
    pub const USUAL: Span = Span::from_secs(1);
    /// The shortest interval; a shorter one would show no difference and burden the root.
    const LEAST: Span = Span::from_millis(100);
}

fn watch_or_path(text: &str) -> Result<WatchOrPath, String> {
    match (positive_span(text), path(text)) {
        (Ok(every), _) => Ok(WatchOrPath::Every(every.max(WatchOrPath::LEAST))),
        (Err(_), Ok(path)) if !text.starts_with(|c: char| c.is_ascii_digit()) => Ok(WatchOrPath::Path(path)),
        (Err(error), _) => Err(error),
    }
}

/// Limit for an answer with `--watch`; after it the root is shown as silent.
const WATCHED_ANSWER: Span = Span::from_secs(2);

pub(super) fn run(args: Status, when: ColorMode) -> Result<ExitCode, Failure> {
    let (path, watch) = match (&args.watch, &args.path) {
        (None, path) => (path.clone(), None),
        (Some(WatchOrPath::Every(every)), path) => (path.clone(), Some(*every)),
        (Some(WatchOrPath::Path(path)), other) if other.is_root() => (path.clone(), Some(WatchOrPath::USUAL)),
        (Some(WatchOrPath::Path(path)), _) => {
            let message = format!("cannot see {} and {path} at once: one path is expected", args.path);
            return Err(
                Failure::new(ExitCode::Usage, message).hint("the interval of --watch is a time, such as --watch 2s")
            );
        }
    };
    let instance = find(&args.target, "see", &path)?;
    let failed = |error| ask_failed("see", &path, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    if let Some(every) = watch {
        return Watch { session, path: path.clone(), instance: &instance, args: &args, when, every }.run();
    }
    // Without `--wait` there is only one look.
    let (clock, end) = (Clock::start(), Time::ZERO + args.wait.unwrap_or(Span::ZERO));
    let look = |_| look_there(&mut session, &instance.name, &path, args.timeout, anywhere);
    let status = status_until(&clock, end, look, |status| is_up(&status.root)).map_err(failed)?;
    let mut out = Out::open();
    if args.json {
        out.write_json(&status)?;
    } else {
        out.write(&render::status(&status, &Shares::default(), args.look(when)))?;
    }
    if args.fail_unless_up {
        let down = not_up(&status.root);
        return if down.is_empty() { Ok(ExitCode::Done) } else { Err(Failure::new(ExitCode::Failed, down)) };
    }
    // For a single worker the exit code shows whether it is up. With JSON it does not, as the JSON has the state.
    let is_down = matches!(status.root, ChildView::Worker(_)) && !matches!(status.root.state(), "starting" | "running");
    Ok(if is_down && !args.json { ExitCode::Failed } else { ExitCode::Done })
}

struct Watch<'a> {
    session: Session,
    path: Path,
    instance: &'a Instance,
    args: &'a Status,
    when: ColorMode,
    every: Span,
}

enum End {
    Gone,
    Signal(i32),
}

impl Watch<'_> {
    /// Runs until the instance ends or a signal arrives.
    fn run(mut self) -> Result<ExitCode, Failure> {
        let failed = |error| ask_failed("see", &self.path, self.instance, error);
        let mut signals = Signals::install()
            .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot listen to signals: {error}")))?;
        let clock = Clock::start();
        let in_place = std::io::stdout().is_terminal() && !self.args.json;
        let mut out = Out::open();
        let mut shares = Shares::default();
        let mut known: Option<StatusView> = None;
        let mut screen = None;
        let end = loop {
            let limit = self.args.timeout.min(WATCHED_ANSWER);
            let trouble = match self.session.status(&self.path, limit) {
                Ok(status) => {
                    shares.look(&status.root);
                    known = Some(status);
                    None
                }
                Err(AskError::Gone) if known.is_some() => break End::Gone,
                // The last status stays on screen, with a message above it.
                Err(error @ (AskError::NoAnswer { .. } | AskError::FellSilent { .. })) if known.is_some() => {
                    Some(crate::error::Chain(&error).to_string())
                }
                Err(error) => return Err(failed(error)),
            };
            let status = known.as_ref().expect("the first question was answered, or this has returned");
            if self.args.json {
                out.follow(&json_line(status)?)?;
            } else if in_place {
                if screen.is_none() {
                    screen = Screen::take(false).ok();
                }
                let now = render::event::short_time(&self.args.times.zone().now(clock.wall_of(clock.now())));
                let head = trouble.unwrap_or_else(|| format!("every {}, {now}; Ctrl-C ends it", self.every));
                let look = self.args.look(self.when);
                let text = render::status(status, &shares, look);
                out.follow(&frame(&head, &text, look, terminal_height()))?;
            } else {
                if let Some(trouble) = &trouble {
                    out::say(self.when, trouble);
                }
                out.follow(&format!("{}\n", render::status(status, &shares, self.args.look(self.when))))?;
            }
            if let Some(signal) = pause(&mut signals, &clock, self.every) {
                break End::Signal(signal);
            }
        };
        // The last frame is printed again on the ordinary screen, above the prompt.
        if screen.take().is_some()
            && let Some(status) = &known
        {
            out.write(&render::status(status, &shares, self.args.look(self.when)))?;
        }
        match end {
            End::Gone => out::say(self.when, &format!("the instance \"{}\" has ended", self.instance.name)),
            End::Signal(signal) => die_by(signal),
        }
        Ok(ExitCode::Done)
    }
}

fn terminal_height() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(_, height)| usize::from(height.0))
}

/// One frame that overwrites the previous one without clearing the screen first. If not all lines fit the height, the
/// last line says how many are missing.
fn frame(head: &str, text: &str, look: Look, height: Option<usize>) -> String {
    let mut out = String::from("\u{1b}[H");
    let head = render::table::line(&[render::table::Cell::new(head, render::style::QUIET)], look);
    let lines: Vec<&str> = head.lines().chain(text.lines()).collect();
    let room = height.unwrap_or(usize::MAX).max(2);
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    for (at, line) in lines[..shown].iter().enumerate() {
        let _ = write!(out, "{}{line}\u{1b}[K", if at > 0 { "\r\n" } else { "" });
    }
    if shown < lines.len() {
        let more = format!("{} more lines; name a PATH to see a part", lines.len() - shown);
        let more = render::table::line(&[render::table::Cell::new(more, render::style::BUSY)], look);
        let _ = write!(out, "\r\n{}\u{1b}[K", more.trim_end_matches('\n'));
    }
    out.push_str("\u{1b}[J");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_the_screen_and_never_scrolls() {
        let text = (1..=9).map(|n| format!("line {n}\n")).collect::<String>();
        let look = Look { width: Some(20), ..Look::PLAIN };
        let whole = frame("head", &text, look, Some(10));
        assert_eq!(whole.matches("\r\n").count(), 9);
        assert!(
            whole.starts_with("\u{1b}[Hhead\u{1b}[K\r\nline 1\u{1b}[K") && whole.ends_with("line 9\u{1b}[K\u{1b}[J")
        );
        let part = frame("head", &text, look, Some(5));
        assert_eq!(part.matches("\r\n").count(), 4);
        assert!(part.contains("line 3") && !part.contains("line 4") && part.contains("6 more lines"), "{part:?}");
    }
}
