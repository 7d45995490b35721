//! The state of `top` with the selection: inputs in, wishes out. It uses no terminal, socket or clock.

use super::super::render::cpu::Shares;
use super::activity::Activity;
use super::keys::{self, Command, Key, Kind, Step};
use super::page::Page;
use super::rows::{Order, Row, rows};
use crate::ids::Path;
use crate::text::clean;
use crate::time::{Span, Time};
use crate::wire::view::{ChildView, EventBody, EventView, StatusView};
use std::collections::{HashSet, VecDeque};

/// How many events are kept; as many as the root keeps, since causes may be old.
const EVENTS: usize = 10_000;

/// For how many workers the last output is kept, and how many lines of each.
const OUTPUTS: usize = 500;
pub(super) const OUTPUT_LINES: usize = 200;

/// How long a message is shown.
const MESSAGE_STANDS: Span = Span::from_secs(8);

/// An input to the state.
#[derive(Debug)]
pub(super) enum Input {
    Key(Key),
    /// The size of the terminal has changed.
    Resized,
    /// The status of the tree.
    Status(Box<StatusView>),
    Events {
        events: Vec<EventView>,
        /// How many events were lost before these, here or at the root.
        lost: u64,
    },
    /// The last output of workers at or below the selected child, the latest at the end.
    Outputs(Vec<Output>),
    /// The root does not answer; the reason in words.
    Silent(String),
    /// The instance has ended.
    Ended,
    /// Progress of a request.
    Progress {
        number: u64,
        waiting_for: String,
    },
    Done {
        number: u64,
        result: Result<String, String>,
    },
    /// A signal that ends the program.
    Signal(i32),
}

/// What the main loop is to do for the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Ask { number: u64, kind: Kind, path: Path },
    Redraw,
    Quit,
    Die(i32),
}

/// The mode, which decides the meaning of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    Normal,
    Search,
    Confirm(Kind, Path),
    Help,
    /// A page is shown over the whole screen.
    Page(Page),
}

/// Whether the shown state is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Live,
    Silent(String),
    Ended,
}

/// The pane that is shown if there is room for only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pane {
    #[default]
    Events,
    Output,
}

/// The last output of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    pub path: Path,
    pub lines: Vec<String>,
    /// It was read from the supervisor's memory; otherwise it is the excerpt in an event.
    pub live: bool,
}

/// A request under way.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub number: u64,
    pub words: String,
    pub began: Time,
}

pub(super) struct State {
    pub status: StatusView,
    pub shares: Shares,
    pub activity: Activity,
    pub link: Link,
    pub mode: Mode,
    pub order: Order,
    pub pane: Pane,
    /// Whether to show only events of the selected child.
    pub events_of_selected: bool,
    pub folded: HashSet<Path>,
    pub selected: Path,
    /// The first row that is shown; set by the drawing code, which knows how many fit.
    pub first_row: usize,
    /// How many rows are hidden above and below.
    pub hidden: (usize, usize),
    /// How many rows fit; set by the drawing code.
    pub page: usize,
    pub search: String,
    pub events: VecDeque<EventView>,
    /// How many events were lost.
    pub lost: u64,
    /// One for each worker, the latest last.
    pub outputs: VecDeque<Output>,
    pub requests: Vec<Request>,
    pub message: Option<(Result<String, String>, Time)>,
    pub now: Time,
    /// Events before this moment do not count as activity. In RFC 3339, which sorts as text.
    began_at: String,
    last_request: u64,
}

impl State {
    /// A state with a first status.
    pub(super) fn new(status: StatusView, began_at: String) -> State {
        let selected = status.root.path().clone();
        let mut state = State {
            status,
            shares: Shares::default(),
            activity: Activity::default(),
            link: Link::Live,
            mode: Mode::Normal,
            order: Order::Start,
            pane: Pane::Events,
            events_of_selected: false,
            folded: HashSet::new(),
            selected,
            first_row: 0,
            hidden: (0, 0),
            page: 10,
            search: String::new(),
            events: VecDeque::new(),
            lost: 0,
            outputs: VecDeque::new(),
            requests: Vec::new(),
            message: None,
            now: Time::ZERO,
            began_at,
            last_request: 0,
        };
        state.shares.look(&state.status.root);
        state.activity.look(&state.status.root);
        state
    }

    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        rows(&self.status.root, &self.folded, self.order, &self.shares)
    }

    pub(super) fn selected_view(&self) -> Option<&ChildView> {
        self.status.root.find(&self.selected)
    }

    /// Takes in an input.
    pub(super) fn update(&mut self, now: Time, input: Input) -> Option<Effect> {
        self.now = now;
        match input {
            Input::Key(key) => return self.key(key),
            Input::Resized => return None,
            Input::Signal(signal) => return Some(Effect::Die(signal)),
            Input::Status(status) => {
                self.status = *status;
                self.shares.look(&self.status.root);
                self.activity.look(&self.status.root);
                self.link = Link::Live;
                self.keep_selection();
            }
            Input::Events { events, lost } => {
                self.lost += lost;
                events.into_iter().for_each(|event| self.event(event));
            }
            Input::Outputs(outputs) => outputs.into_iter().for_each(|output| self.output(output)),
            Input::Silent(words) => self.link = Link::Silent(words),
            Input::Ended => self.link = Link::Ended,
            Input::Progress { number, waiting_for } => {
                if let Some(request) = self.requests.iter_mut().find(|request| request.number == number) {
                    request.words = clean(&waiting_for).into_owned();
                }
            }
            Input::Done { number, result } => {
                self.requests.retain(|request| request.number != number);
                self.message = Some((result, now));
            }
        }
        None
    }

    /// Whether a redraw is needed by time alone, for the ages of requests and of messages.
    pub(super) fn tick(&mut self, now: Time) -> bool {
        self.now = now;
        let over = self.message.as_ref().is_some_and(|(_, since)| now.since(*since) >= MESSAGE_STANDS);
        if over {
            self.message = None;
        }
        over || !self.requests.is_empty()
    }

    fn event(&mut self, event: EventView) {
        if matches!(event.body, EventBody::Restarting(_)) && event.at >= self.began_at {
            self.activity.restart(&event.path);
        }
        if let Some(exited) = event.exited().filter(|exited| !exited.output.is_empty()) {
            let lines = exited.output.clone();
            if self.outputs.iter().all(|output| output.path != event.path || !output.live) {
                self.output(Output { path: event.path.clone(), lines, live: false });
            }
        }
        self.events.push_back(event);
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    fn output(&mut self, mut output: Output) {
        if output.lines.is_empty() {
            return;
        }
        output.lines.drain(..output.lines.len().saturating_sub(OUTPUT_LINES));
        self.outputs.retain(|other| other.path != output.path);
        self.outputs.push_back(output);
        if self.outputs.len() > OUTPUTS {
            self.outputs.pop_front();
        }
    }

    /// The latest output at or below the selected child.
    pub(super) fn last_output(&self) -> Option<&Output> {
        self.outputs.iter().rev().find(|output| output.path.is_within(&self.selected))
    }

    /// If the selected child is gone or folded away, selects the nearest visible one above it.
    fn keep_selection(&mut self) {
        let mut at = self.selected.clone();
        let mut visible = at.clone();
        while let Some(above) = at.parent() {
            if self.folded.contains(&above) {
                visible = above.clone();
            }
            at = above;
        }
        while self.status.root.find(&visible).is_none() {
            match visible.parent() {
                Some(above) => visible = above,
                None => {
                    visible = self.status.root.path().clone();
                    break;
                }
            }
        }
        self.selected = visible;
    }

    fn key(&mut self, key: Key) -> Option<Effect> {
        if key == Key::Interrupt {
            return Some(Effect::Quit);
        }
        match std::mem::take(&mut self.mode) {
            Mode::Normal => return self.command(keys::command(key)?),
            Mode::Help => {}
            Mode::Page(page) => self.mode = page.key(key).map_or(Mode::Normal, Mode::Page),
            Mode::Confirm(kind, path) => {
                if key == Key::Char('y') {
                    return Some(self.request(kind, path));
                }
            }
            Mode::Search => {
                match key {
                    Key::Char(c) => self.search.push(c),
                    Key::Backspace => drop(self.search.pop()),
                    Key::Escape => {
                        self.search.clear();
                        return None;
                    }
                    Key::Enter => return None,
                    _ => {}
                }
                self.mode = Mode::Search;
                self.find(0);
            }
        }
        None
    }

    fn command(&mut self, command: Command) -> Option<Effect> {
        match command {
            Command::Move(step) => self.go(step),
            Command::Fold => self.fold(),
            Command::Open => {
                if !self.folded.remove(&self.selected)
                    && self.selected_view().is_some_and(|view| !view.children().is_empty())
                {
                    self.go(Step::Down);
                }
            }
            Command::Toggle => {
                if !self.folded.remove(&self.selected) {
                    self.fold_if_supervisor();
                }
            }
            Command::FoldAll => self.fold_all(),
            Command::Sort => self.order = self.order.further(1),
            Command::SortBack => self.order = self.order.back(),
            Command::Search => {
                self.search.clear();
                self.mode = Mode::Search;
            }
            Command::Next => self.find(1),
            Command::Previous => self.find(-1),
            Command::NextPane => {
                self.pane = match self.pane {
                    Pane::Events => Pane::Output,
                    Pane::Output => Pane::Events,
                }
            }
            Command::EventsOf => self.events_of_selected = !self.events_of_selected,
            Command::Read(subject) => self.mode = Mode::Page(Page::new(subject)),
            Command::Operate(kind) if self.link == Link::Ended => {
                let words = format!("nothing to {}: the instance has ended", verb(kind));
                self.message = Some((Err(words), self.now));
            }
            Command::Operate(kind) => self.mode = Mode::Confirm(kind, self.selected.clone()),
            Command::Help => self.mode = Mode::Help,
            Command::Redraw => return Some(Effect::Redraw),
            Command::Forget => {
                self.search.clear();
                self.message = None;
            }
            Command::Quit => return Some(Effect::Quit),
        }
        None
    }

    fn request(&mut self, kind: Kind, path: Path) -> Effect {
        self.last_request += 1;
        let number = self.last_request;
        let words = format!("{} {path}", verb(kind));
        self.requests.push(Request { number, words, began: self.now });
        Effect::Ask { number, kind, path }
    }

    fn go(&mut self, step: Step) {
        let rows = self.rows();
        let at = rows.iter().position(|row| *row.view.path() == self.selected).unwrap_or(0);
        let last = rows.len().saturating_sub(1);
        let page = self.page.max(2) - 1;
        let to = match step {
            Step::Up => at.saturating_sub(1),
            Step::Down => at + 1,
            Step::PageUp => at.saturating_sub(page),
            Step::PageDown => at + page,
            Step::First => 0,
            Step::Last => last,
        };
        let path = rows.get(to.min(last)).map(|row| row.view.path().clone());
        self.selected = path.unwrap_or_else(|| self.selected.clone());
    }

    /// Folds the selected supervisor. From a child that cannot be folded, the selection moves up to one that can.
    fn fold(&mut self) {
        if !self.folded.contains(&self.selected) && self.fold_if_supervisor() {
            return;
        }
        if let Some(above) = self.selected.parent()
            && self.status.root.find(&above).is_some()
        {
            self.selected = above;
        }
    }

    fn fold_if_supervisor(&mut self) -> bool {
        let can = self.selected_view().is_some_and(|view| !view.children().is_empty());
        if can {
            self.folded.insert(self.selected.clone());
        }
        can
    }

    fn fold_all(&mut self) {
        if !self.folded.is_empty() {
            self.folded.clear();
            return;
        }
        let mut folded = HashSet::new();
        let below = self.status.root.children().iter().filter(|child| child.is_supervisor());
        folded.extend(below.map(|child| child.path().clone()));
        self.folded = folded;
        self.keep_selection();
    }

    /// Selects the first match from the selection on, or the next one in a direction, and unfolds the supervisors above
    /// it.
    fn find(&mut self, direction: isize) {
        if self.search.is_empty() {
            return;
        }
        let all = rows(&self.status.root, &HashSet::new(), self.order, &self.shares);
        let wanted = self.search.to_lowercase();
        let at = all.iter().position(|row| *row.view.path() == self.selected).unwrap_or(0);
        let count = all.len();
        let found = (0..count)
            .map(|step| match direction {
                0 => (at + step) % count,
                1.. => (at + 1 + step) % count,
                _ => (at + count - 1 - step) % count,
            })
            .map(|index| all[index].view.path())
            .find(|path| path.as_str().to_lowercase().contains(&wanted))
            .cloned();
        match found {
            Some(path) => {
                self.folded.retain(|folded| *folded == path || !path.is_within(folded));
                self.selected = path;
            }
            None => self.message = Some((Err(format!("no path has \"{}\" in it", clean(&self.search))), self.now)),
        }
    }
}

/// The verb of the command line with the same effect.
pub(super) fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Stop => "stop",
        Kind::Restart => "restart",
        Kind::Panic => "panic",
        Kind::Hold => "panic --hold",
    }
}

#[cfg(test)]
mod tests;
