//! `treevisor top`: the tree live, with keys to act on it.
//!
//! `state` has the state, which only `update` changes; `draw` draws it; `keys` has the meaning of keys; `rows`, `page`
//! and `activity` are parts of the state. All of these are without I/O. `feed` has the threads for input. The main loop
//! here takes in what has arrived and draws at most ten times a second.

mod activity;
mod draw;
mod feed;
mod keys;
mod page;
mod rows;
mod state;

use super::change::ask_failed;
use super::failure::{ExitCode, Failure};
use super::instance::find;
use super::options::{ColorMode, Target, Times, path, positive_span};
use super::out;
use super::render::{Look, colour_for, locale_is_unicode};
use super::screen::Screen;
use super::status::Status;
use crate::control::{Instance, Session};
use crate::ids::Path;
use crate::os::clock::{self, Clock};
use crate::os::process::die_by;
use crate::os::signals::Signals;
use crate::time::{Span, Time};
use clap::Args;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use state::{Effect, Input, State};
use std::io::{IsTerminal, Stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

/// Show the running tree live, with keys to act on it
///
/// The whole screen: the tree, what happens in it, the last output of the selected child, and how beats and restarts
/// come. It goes on when the instance ends, and finds it again when it is started.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Keys:
  up, down, PgUp, PgDn, Home, End  select       s  stop         o  sort by the next column
  left, right, space               fold, open   r  restart      /  search; n, N next, previous
  a                                fold all     p  panic        e  events of the whole tree, or
  tab                              panes        h  panic and       of what is selected
  l                                last output     hold         ?  help
  w                                why it is so                 q  quit

What kills or stops asks first.

Examples:
  treevisor top
  treevisor top /web
  treevisor top --interval 250ms
")]
pub struct Top {
    /// Where in the tree
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub times: Times,
    /// Look this often
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "1s")]
    pub interval: Span,
    /// Wait this long for the first answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

/// The least time between two frames.
const FRAME: Span = Span::from_millis(100);

/// The same after a key, whose effect should be visible at once.
const FRAME_AFTER_KEY: Span = Span::from_millis(15);

/// How often to redraw for changes by time alone, such as the duration of a request or the end of a message.
const TICK: Span = Span::from_millis(500);

/// Most inputs that are taken in before the next frame.
const INPUTS_MAX: usize = 2 * feed::QUEUE;

pub(super) fn run(args: Top, when: ColorMode) -> Result<ExitCode, Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(ExitCode::Usage, "cannot show top: stdin and stdout have to be a terminal")
            .hint("`treevisor status --watch` prints the tree again and again anywhere"));
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        out::say(when, "this terminal (TERM) cannot be drawn on: here is the status, and `status --watch` repeats it");
        let Top { path, target, times, timeout, .. } = args;
        let once = Status { path, target, times, watch: None, fail_unless_up: false, wait: None, json: false, timeout };
        return super::status::run(once, when);
    }
    let instance = find(&args.target, "see", &args.path)?;
    let failed = |error| ask_failed("see", &args.path, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let status = session.status(&args.path, args.timeout).map_err(failed)?;
    drop(session);
    let terminal_failed =
        |error: std::io::Error| Failure::new(ExitCode::Failed, format!("cannot use the terminal: {error}"));
    let signals = Signals::install()
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot listen to signals: {error}")))?;
    let clock = Clock::start();
    let began_at = clock::rfc3339_nanos(clock.wall_of(clock.now()));
    let screen = Screen::take(true).map_err(terminal_failed)?;
    let terminal = Terminal::new(CrosstermBackend::new(std::io::stdout())).map_err(terminal_failed)?;
    let look = Look {
        colour: colour_for(&std::io::stdout(), when),
        unicode: locale_is_unicode(),
        width: None,
        zone: args.times.zone(),
    };
    let (send, inputs) = sync_channel(feed::QUEUE);
    feed::looks(send.clone(), instance.clone(), args.path.clone(), args.interval);
    feed::terminal(send.clone());
    feed::signals(send.clone(), signals);
    let state = State::new(status, began_at);
    let selected = feed::Selected::new(state.selected.clone());
    feed::outputs(send.clone(), instance.clone(), selected.clone());
    let ended = Shell { state, terminal, look, clock, send, inputs, instance, selected }.run();
    drop(screen);
    if let Some(signal) = ended.map_err(terminal_failed)? {
        die_by(signal);
    }
    Ok(ExitCode::Done)
}

struct Shell {
    state: State,
    terminal: Terminal<CrosstermBackend<Stdout>>,
    look: Look,
    clock: Clock,
    send: SyncSender<Input>,
    inputs: Receiver<Input>,
    instance: Instance,
    selected: feed::Selected,
}

impl Shell {
    /// Runs until the operator quits, or until a signal arrives, which is returned.
    fn run(mut self) -> std::io::Result<Option<i32>> {
        let mut drawn = Time::ZERO;
        let mut due = Some(Time::ZERO);
        loop {
            let now = self.clock.now();
            if due.is_some_and(|due| due <= now) {
                let (state, look) = (&mut self.state, self.look);
                self.terminal.draw(|frame| draw::draw(frame, state, look))?;
                drawn = self.clock.now();
                due = None;
            }
            let wait = due.map_or(TICK, |due| due.since(self.clock.now()).min(TICK));
            let first = match self.inputs.recv_timeout(wait.as_duration()) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                // Cannot happen, as this loop holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            };
            let now = self.clock.now();
            if self.state.tick(now) {
                due = Some(sooner(due, drawn + FRAME));
            }
            let mut next = first;
            let mut taken = 0;
            while let Some(input) = next {
                let pause = if matches!(input, Input::Key(_) | Input::Resized) { FRAME_AFTER_KEY } else { FRAME };
                due = Some(sooner(due, drawn + pause));
                match self.state.update(now, input) {
                    None => {}
                    Some(Effect::Quit) => return Ok(None),
                    Some(Effect::Die(signal)) => return Ok(Some(signal)),
                    Some(Effect::Redraw) => self.terminal.clear()?,
                    Some(Effect::Ask { number, kind, path }) => {
                        feed::request(self.send.clone(), self.instance.clone(), number, kind, path);
                    }
                }
                self.selected.set(&self.state.selected);
                taken += 1;
                next = if taken < INPUTS_MAX { self.inputs.try_recv().ok() } else { None };
            }
        }
    }
}

fn sooner(due: Option<Time>, other: Time) -> Time {
    due.map_or(other, |due| due.min(other))
}
