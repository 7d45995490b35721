//! What people see: trees drawn with branches, columns that fit the width, colours by state.
//!
//! Everything here is text in, text out; whether a terminal is there is decided by [`Look::of_stdout`] alone.

use crate::cli::args::When;
use crate::time::Span;
use crate::wire::explain::Told;
use crate::wire::sentence::{clean, exit_words};
use crate::wire::view::{
    ChildView, EventView, ExitView, HeartbeatView, IntensityView, SourceView, StatusView, WorkerView,
};
use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::fmt::Write;
use std::io::IsTerminal;

/// How something is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// With escapes for colours.
    pub colour: bool,
    /// With lines drawn in Unicode, rather than in ASCII.
    pub unicode: bool,
    /// Columns there are; `None` for as many as are needed.
    pub width: Option<usize>,
}

impl Look {
    /// In a pipe or a file: nothing but plain text, and all of it.
    pub const PLAIN: Look = Look { colour: false, unicode: false, width: None };

    /// What fits where stdout goes.
    pub fn of_stdout(when: When) -> Look {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let colour = colour_for(&stdout, when);
        if !terminal && when != When::Always {
            return Look::PLAIN;
        }
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        Look { colour, unicode: locale_is_unicode(), width }
    }
}

/// Whether colours go to `stream`: what the user says counts first, then what the stream and the environment say.
pub fn colour_for(stream: &impl anstream::stream::RawStream, when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        // Knows NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM and whether it is a terminal.
        When::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
    }
}

/// Whether the terminal can be expected to show lines in Unicode. Without any word on it, it can: that is how a container
/// comes up.
fn locale_is_unicode() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok()).find(|v| !v.is_empty());
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Styles by what they mean.
mod style {
    use super::{AnsiColor, Style};

    pub(super) const PLAIN: Style = Style::new();
    pub(super) const HEAD: Style = Style::new().dimmed();
    pub(super) const QUIET: Style = Style::new().dimmed();
    pub(super) const NAME: Style = Style::new().bold();
    pub(super) const GOOD: Style = AnsiColor::Green.on_default();
    pub(super) const BUSY: Style = AnsiColor::Yellow.on_default();
    pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
    pub(super) const HELD: Style = AnsiColor::Magenta.on_default();

    /// The colour of a state of `status`.
    pub(super) fn of_state(state: &str) -> Style {
        match state {
            "running" => GOOD,
            "starting" | "stopping" | "waiting" => BUSY,
            "unreachable" => BAD,
            "held" => HELD,
            "stopped" | "exited" => QUIET,
            _ => PLAIN,
        }
    }

    /// The colour of an event of this kind.
    pub(super) fn of_kind(kind: &str) -> Style {
        match kind {
            "ready" | "started" => GOOD,
            "beat_late" | "dropped" | "restarting" | "exited" => BUSY,
            "hung" | "escalated" | "gave_up" | "panic" | "start_failed" => BAD,
            "held" => HELD,
            "starting" | "stopping" | "stopped" => QUIET,
            _ => PLAIN,
        }
    }
}

/// One field of a table.
#[derive(Debug, Clone, Default)]
struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    fn new(text: impl Into<String>, style: Style) -> Cell {
        Cell { text: text.into(), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// A column of a table.
struct Column {
    head: &'static str,
    right: bool,
    /// When the table is too wide, columns of high rank go first; 0 stays.
    rank: u8,
    /// It may be cut to this many characters before any column goes.
    cut_to: Option<usize>,
}

struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// Between columns.
const GAP: usize = 2;

impl Table {
    /// Draws the table. Columns in which nothing stands are left out, and what does not fit is cut or left out.
    fn draw(&self, look: Look) -> String {
        let natural = |column: usize| {
            let widest = self.rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
            if widest == 0 { 0 } else { widest.max(self.columns[column].head.len()) }
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(natural).collect();
        if let Some(width) = look.width {
            self.fit(&mut widths, width);
        }
        let mut out = String::new();
        let heads: Vec<Cell> = self.columns.iter().map(|column| Cell::new(column.head, style::HEAD)).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let last = (0..row.len()).rev().find(|at| widths[*at] > 0 && !row[*at].text.is_empty());
            let mut gap = 0;
            for (at, cell) in row.iter().enumerate() {
                if widths[at] == 0 || last.is_none_or(|last| at > last) {
                    continue;
                }
                let text = shorten(&cell.text, widths[at], look);
                let padding = widths[at].saturating_sub(text.chars().count());
                let (before, after) = if self.columns[at].right { (padding, 0) } else { (0, padding) };
                // Nothing but the text is styled, and nothing is left standing at the end of a line.
                let _ = write!(out, "{:gap$}{:before$}", "", "");
                paint(&mut out, &text, cell.style, look);
                if Some(at) != last {
                    let _ = write!(out, "{:after$}", "");
                }
                gap = GAP;
            }
            out.push('\n');
        }
        out
    }

    /// Cuts columns, then drops them by rank, then cuts the first, until all fit into `width`.
    fn fit(&self, widths: &mut [usize], width: usize) {
        let total = |widths: &[usize]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
        };
        for (at, column) in self.columns.iter().enumerate() {
            let over = total(widths).saturating_sub(width);
            if let Some(least) = column.cut_to {
                widths[at] = widths[at].saturating_sub(over).max(least.min(widths[at]));
            }
        }
        let mut by_rank: Vec<usize> = (0..widths.len()).filter(|at| self.columns[*at].rank > 0).collect();
        by_rank.sort_by_key(|at| std::cmp::Reverse(self.columns[*at].rank));
        for at in by_rank {
            if total(widths) <= width {
                return;
            }
            widths[at] = 0;
        }
        let over = total(widths).saturating_sub(width);
        widths[0] = widths[0].saturating_sub(over).max(1);
    }
}

fn paint(out: &mut String, text: &str, style: Style, look: Look) {
    if look.colour && style != Style::new() && !text.is_empty() {
        let _ = write!(out, "{style}{text}{style:#}");
    } else {
        out.push_str(text);
    }
}

fn shorten(text: &str, width: usize, look: Look) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mark = if look.unicode { "…" } else { "~" };
    text.chars().take(width.saturating_sub(1)).chain(mark.chars()).collect()
}

/// The branches in front of a name: for each level above whether more follow there, and whether more follow here.
#[derive(Debug, Clone, Default)]
pub struct Branches(Vec<bool>);

impl Branches {
    /// Those of a child, the last of its siblings or not.
    pub fn below(&self, last: bool) -> Branches {
        let mut levels = self.0.clone();
        levels.push(!last);
        Branches(levels)
    }

    /// As text.
    pub fn draw(&self, look: Look) -> String {
        let Some((here, above)) = self.0.split_last() else { return String::new() };
        let (through, fork, corner) =
            if look.unicode { ("│  ", "├─ ", "└─ ") } else { ("|  ", "|- ", "`- ") };
        let mut text = String::new();
        for more in above {
            text.push_str(if *more { through } else { "   " });
        }
        text.push_str(if *here { fork } else { corner });
        text
    }
}

/// The whole of `treevisor status`.
pub fn status(status: &StatusView, look: Look) -> String {
    let mut rows = Vec::new();
    child_rows(&status.root, &Branches::default(), look, &mut rows);
    let left = |head, rank| Column { head, right: false, rank, cut_to: None };
    let right = |head, rank| Column { head, right: true, rank, cut_to: None };
    let table = Table {
        columns: vec![
            left("TREE", 0),
            left("STATE", 0),
            right("PID", 5),
            right("#", 6),
            right("UPTIME", 4),
            right("RESTARTS", 3),
            right("BEAT", 2),
            left("LAST EXIT", 2),
            left("WINDOW", 7),
            Column { head: "SOURCES", right: false, rank: 9, cut_to: Some(12) },
            Column { head: "NOTE", right: false, rank: 8, cut_to: Some(10) },
        ],
        rows,
    };
    let mut out = summary(status, look);
    out.push_str(&table.draw(look));
    out
}

/// The line above the table: the instance, and how many workers are in which state.
fn summary(status: &StatusView, look: Look) -> String {
    let mut states: Vec<(&str, u32)> = Vec::new();
    count(&status.root, &mut states);
    let workers: u32 = states.iter().map(|(_, count)| count).sum();
    let mut out = String::new();
    paint(&mut out, &clean(&status.instance), style::NAME, look);
    let _ = write!(
        out,
        ": treevisor {}, process {}, up {}, containment by {}\n{workers} worker{}",
        clean(&status.version),
        status.pid,
        Span::from_millis(status.uptime_ms).coarse(),
        clean(&status.containment),
        if workers == 1 { "" } else { "s" },
    );
    for (at, (state, count)) in states.iter().enumerate() {
        out.push_str(if at == 0 { ": " } else { ", " });
        let _ = write!(out, "{count} ");
        paint(&mut out, state, style::of_state(state), look);
    }
    out.push_str("\n\n");
    out
}

fn count<'a>(view: &'a ChildView, states: &mut Vec<(&'a str, u32)>) {
    match view {
        ChildView::Supervisor(view) => view.children.iter().for_each(|child| count(child, states)),
        ChildView::Worker(view) => match states.iter_mut().find(|(state, _)| *state == view.state) {
            Some((_, count)) => *count += 1,
            None => states.push((&view.state, 1)),
        },
    }
}

fn child_rows(view: &ChildView, branches: &Branches, look: Look, rows: &mut Vec<Vec<Cell>>) {
    let common = Common::of(view);
    let (beat, sources, window, note, children) = match view {
        ChildView::Worker(worker) => {
            let note = Cell::new(note(worker), style::PLAIN);
            let up = matches!(worker.state.as_str(), "starting" | "running");
            let beat = worker.heartbeat.filter(|_| up).map(beat).unwrap_or_default();
            let sources = if up { sources(&worker.sources) } else { String::new() };
            (beat, Cell::new(sources, style::QUIET), Cell::default(), note, &[][..])
        }
        ChildView::Supervisor(supervisor) => {
            let note = Cell::new(clean(&supervisor.strategy), style::QUIET);
            (Cell::default(), Cell::default(), window(supervisor.intensity), note, &supervisor.children[..])
        }
    };
    let state = match common.waits_ms {
        Some(waits) => format!("{} {}", clean(common.state), Span::from_millis(waits).coarse()),
        None => clean(common.state).into_owned(),
    };
    let number = |number: Option<u64>| Cell::new(number.map(|n| n.to_string()).unwrap_or_default(), style::PLAIN);
    let uptime = common.uptime_ms.map(|millis| Span::from_millis(millis).coarse()).unwrap_or_default();
    let restarts_style = if common.restarts > 0 { style::BUSY } else { style::QUIET };
    let name_style = if matches!(view, ChildView::Supervisor(_)) { style::NAME } else { style::PLAIN };
    rows.push(vec![
        // The branches share the name's style; they have no strokes that bold type would spoil.
        Cell::new(format!("{}{}", branches.draw(look), clean(common.name)), name_style),
        Cell::new(state, style::of_state(common.state)),
        number(common.pid.map(u64::from)),
        number((common.incarnation > 0).then_some(common.incarnation)),
        Cell::new(uptime, style::PLAIN),
        Cell::new(common.restarts.to_string(), restarts_style),
        beat,
        common.last_exit.map(last_exit).unwrap_or_default(),
        window,
        sources,
        note,
    ]);
    for (at, child) in children.iter().enumerate() {
        child_rows(child, &branches.below(at + 1 == children.len()), look, rows);
    }
}

/// What supervisors and workers share.
struct Common<'a> {
    name: &'a str,
    state: &'a str,
    pid: Option<u32>,
    incarnation: u64,
    restarts: u64,
    uptime_ms: Option<u64>,
    waits_ms: Option<u64>,
    last_exit: Option<&'a ExitView>,
}

impl Common<'_> {
    fn of(view: &ChildView) -> Common<'_> {
        match view {
            ChildView::Supervisor(view) => Common {
                name: &view.name,
                state: &view.state,
                pid: view.pid,
                incarnation: view.incarnation,
                restarts: view.restarts,
                uptime_ms: view.uptime_ms,
                waits_ms: view.waits_ms,
                last_exit: view.last_exit.as_ref(),
            },
            ChildView::Worker(view) => Common {
                name: &view.name,
                state: &view.state,
                pid: view.pid,
                incarnation: view.incarnation,
                restarts: view.restarts,
                uptime_ms: view.uptime_ms,
                waits_ms: view.waits_ms,
                last_exit: view.last_exit.as_ref(),
            },
        }
    }
}

/// What a worker says of itself. That it is ready is what its state says already.
fn note(worker: &WorkerView) -> Cow<'_, str> {
    let text = clean(worker.status_text.as_deref().unwrap_or_default());
    match worker.word.as_deref().filter(|word| *word != "ready") {
        Some(word) if text.is_empty() => clean(word),
        Some(word) => Cow::Owned(format!("{}: {text}", clean(word))),
        None => text,
    }
}

/// The age of the last beat against the limit.
fn beat(beats: HeartbeatView) -> Cell {
    let limit = beats.interval_ms.saturating_mul(u64::from(beats.misses));
    let limit_text = Span::from_millis(limit).coarse();
    match beats.age_ms {
        None => Cell::new(format!("-/{limit_text}"), style::QUIET),
        Some(age) => {
            let style = if age >= limit {
                style::BAD
            } else if age > beats.interval_ms.saturating_mul(3) / 2 {
                style::BUSY
            } else {
                style::GOOD
            };
            Cell::new(format!("{}/{limit_text}", Span::from_millis(age).coarse()), style)
        }
    }
}

/// The last beat by each way, where there is more than one; a single one has said it all with the beat.
fn sources(sources: &[SourceView]) -> String {
    if sources.len() < 2 {
        return String::new();
    }
    let mut text = String::new();
    for source in sources {
        // Of two of a kind one wants to know which.
        let twins = sources.iter().filter(|other| other.source == source.source).count() > 1;
        let target = source.target.as_deref().filter(|_| twins);
        let age = source.age_ms.map_or("-".into(), |age| Span::from_millis(age).coarse());
        let gap = if text.is_empty() { "" } else { ", " };
        let _ = match target {
            Some(target) => write!(text, "{gap}{} {} {age}", clean(&source.source), clean(target)),
            None => write!(text, "{gap}{} {age}", clean(&source.source)),
        };
    }
    text
}

fn last_exit(exit: &ExitView) -> Cell {
    let style = if exit.code == Some(0) { style::QUIET } else { style::BUSY };
    Cell::new(exit_words(exit), style)
}

/// How full the window is: `2/5 in 30s`.
fn window(intensity: IntensityView) -> Cell {
    let period = Span::from_millis(intensity.period_ms).coarse();
    let (text, style) = match intensity.max {
        None => (format!("{}/unlimited", intensity.used), style::QUIET),
        Some(max) => {
            let style = match intensity.used {
                0 => style::QUIET,
                used if used >= max => style::BAD,
                _ => style::BUSY,
            };
            (format!("{}/{max} in {period}", intensity.used), style)
        }
    };
    Cell::new(text, style)
}

/// One line of `treevisor events`. `path_width` is that of the longest path so far, so that the words stand below each
/// other.
pub fn event(event: &EventView, path_width: usize, look: Look) -> String {
    let mut out = String::new();
    paint(&mut out, &short_time(&event.at), style::QUIET, look);
    let _ = write!(out, "  {:path_width$}  ", event.path.as_str());
    paint(&mut out, &crate::wire::sentence::words(event), style::of_kind(&event.kind), look);
    out.push('\n');
    out
}

/// `2026-01-02T03:04:05.678901234Z` as `2026-01-02 03:04:05.678Z`; anything else as it is.
fn short_time(at: &str) -> String {
    let at = clean(at);
    match (at.split_once('T'), at.ends_with('Z')) {
        (Some((date, time)), true) if time.is_ascii() && time.len() >= 13 => format!("{date} {}Z", &time[..12]),
        _ => at.into_owned(),
    }
}

/// The whole of `treevisor why`: the state, and the paragraphs with their labels in a column of their own.
pub fn told(told: &Told, look: Look) -> String {
    /// As wide as the longest label, and a gap.
    const INDENT: usize = 13;
    /// Longer lines are hard to read, however wide the terminal is.
    const WIDTH_MAX: usize = 110;
    /// Narrower than this there is no use in wrapping.
    const WIDTH_MIN: usize = 24;
    let width = look.width.map(|width| width.min(WIDTH_MAX).saturating_sub(INDENT).max(WIDTH_MIN));
    let mut out = String::new();
    for line in wrap(&told.headline, width.map(|width| width + INDENT)) {
        paint(&mut out, line, style::NAME, look);
        out.push('\n');
    }
    for paragraph in &told.paragraphs {
        let style = match paragraph.label {
            "First cause" | "First known" => style::BAD,
            "Next" => style::GOOD,
            _ => style::QUIET,
        };
        for (at, line) in wrap(&paragraph.text, width).into_iter().enumerate() {
            let label = if at == 0 { paragraph.label } else { "" };
            paint(&mut out, label, style, look);
            let _ = writeln!(out, "{:1$}{line}", "", INDENT - label.len());
        }
        for line in paragraph.notes.iter().flat_map(|note| wrap(note, width)) {
            let _ = writeln!(out, "{:INDENT$}{line}", "");
        }
        for quote in &paragraph.quotes {
            let _ = write!(out, "{:INDENT$}", "");
            paint(
                &mut out,
                &format!("| {}", shorten(quote, width.unwrap_or(usize::MAX).saturating_sub(2), look)),
                style::QUIET,
                look,
            );
            out.push('\n');
        }
    }
    out
}

/// `text` in lines of at most `width` characters, broken at blanks where there are some.
fn wrap(text: &str, width: Option<usize>) -> Vec<&str> {
    let Some(width) = width else { return vec![text] };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(width) {
        // The blank may stand right behind the last character that fits.
        let at = match rest[end..].starts_with(' ') {
            true => end,
            false => rest[..end].rfind(' ').filter(|at| *at > 0).unwrap_or(end),
        };
        lines.push(rest[..at].trim_end());
        rest = rest[at..].trim_start();
    }
    lines.push(rest);
    lines
}

/// A drawn tree whose rows are a name, what it is, and a note; for `check`.
pub fn plain_tree(rows: Vec<[String; 3]>, look: Look) -> String {
    let styles = [style::NAME, style::PLAIN, style::QUIET];
    let rows =
        rows.into_iter().map(|row| row.into_iter().zip(styles).map(|(t, s)| Cell::new(t, s)).collect()).collect();
    let columns = vec![
        Column { head: "TREE", right: false, rank: 0, cut_to: None },
        Column { head: "RULES", right: false, rank: 1, cut_to: None },
        Column { head: "COMMAND", right: false, rank: 2, cut_to: Some(12) },
    ];
    Table { columns, rows }.draw(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Path, ReportId};
    use crate::wire::view::{SupervisorKind, SupervisorView, WorkerKind};
    use serde_json::json;

    fn worker(path: &str, state: &str) -> WorkerView {
        let path = Path::parse(path).unwrap();
        WorkerView {
            name: path.name().unwrap().into(),
            path,
            kind: WorkerKind::Worker,
            state: state.into(),
            pid: Some(4713),
            incarnation: 1,
            restarts: 0,
            restart: "permanent".into(),
            heartbeat: None,
            last_exit: None,
            uptime_ms: Some(192_000),
            waits_ms: None,
            status_text: None,
            word: None,
            main_pid: None,
            sources: Vec::new(),
        }
    }

    fn supervisor(path: &str, children: Vec<ChildView>) -> SupervisorView {
        let path = Path::parse(path).unwrap();
        SupervisorView {
            name: path.name().unwrap_or("shop").into(),
            path,
            kind: SupervisorKind::Supervisor,
            state: "running".into(),
            pid: Some(4711),
            incarnation: 1,
            restarts: 0,
            strategy: "one-for-all".into(),
            intensity: IntensityView { max: Some(3), period_ms: 30_000, used: 0 },
            children,
            last_exit: None,
            uptime_ms: Some(192_000),
            waits_ms: None,
        }
    }

    fn shop() -> StatusView {
        let api = WorkerView {
            restarts: 2,
            incarnation: 3,
            uptime_ms: Some(12_300),
            heartbeat: Some(HeartbeatView { interval_ms: 1000, misses: 3, age_ms: Some(400), beats: 12, missed: 0 }),
            last_exit: Some(ExitView { code: None, signal: Some(9), at: "2026-01-02T03:04:05.000000000Z".into() }),
            status_text: Some("serving \u{1b}[31m17 clients".into()),
            ..worker("/web/api", "running")
        };
        let jobs = WorkerView {
            pid: None,
            uptime_ms: None,
            waits_ms: Some(1_500),
            last_exit: Some(ExitView { code: Some(1), signal: None, at: String::new() }),
            ..worker("/web/jobs", "waiting")
        };
        let mut web = supervisor("/web", vec![ChildView::Worker(Box::new(api)), ChildView::Worker(Box::new(jobs))]);
        web.pid = Some(4712);
        web.strategy = "rest-for-one".into();
        web.intensity = IntensityView { max: Some(5), period_ms: 60_000, used: 2 };
        let fresh = WorkerView {
            pid: None,
            uptime_ms: None,
            incarnation: 0,
            heartbeat: Some(HeartbeatView { interval_ms: 200, misses: 5, age_ms: None, beats: 0, missed: 0 }),
            ..worker("/mail", "starting")
        };
        StatusView {
            instance: "shop".into(),
            version: "0.1.0".into(),
            pid: 4711,
            uptime_ms: 192_000,
            containment: "cgroup".into(),
            root: ChildView::Supervisor(Box::new(supervisor(
                "/",
                vec![
                    ChildView::Worker(Box::new(worker("/db", "running"))),
                    ChildView::Supervisor(Box::new(web)),
                    ChildView::Worker(Box::new(fresh)),
                ],
            ))),
        }
    }

    const UNICODE: Look = Look { colour: false, unicode: true, width: None };

    #[test]
    fn a_tree_is_drawn() {
        let text = status(&shop(), UNICODE);
        assert_eq!(
            text,
            "\
shop: treevisor 0.1.0, process 4711, up 3m12s, containment by cgroup
4 workers: 2 running, 1 waiting, 1 starting

TREE        STATE          PID  #  UPTIME  RESTARTS     BEAT  LAST EXIT  WINDOW      NOTE
shop        running       4711  1   3m12s         0                      0/3 in 30s  one-for-all
├─ db       running       4713  1   3m12s         0
├─ web      running       4712  1   3m12s         0                      2/5 in 1m   rest-for-one
│  ├─ api   running       4713  3     12s         2  0.4s/3s  SIGKILL                serving \u{fffd}[31m17 clients
│  └─ jobs  waiting 1.5s        1                 0           exit 1
└─ mail     starting                              0     -/1s
"
        );
    }

    #[test]
    fn in_a_pipe_it_is_plain() {
        let text = status(&shop(), Look::PLAIN);
        assert!(text.contains("|  `- jobs"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.trim_end() == line));
    }

    #[test]
    fn it_fits_the_width() {
        for width in [200, 100, 80, 60, 40, 25, 10, 1] {
            let text = status(&shop(), Look { width: Some(width), ..UNICODE });
            let table = text.lines().skip(3);
            for line in table {
                // Name and state always stay.
                assert!(line.chars().count() <= width.max(18), "{width}: {line}");
            }
        }
        let text = status(&shop(), Look { width: Some(80), ..UNICODE });
        assert!(text.contains("BEAT") && text.contains("SIGKILL"), "{text}");
    }

    #[test]
    fn colours_follow_the_state() {
        let text = status(&shop(), Look { colour: true, ..UNICODE });
        assert!(text.contains("\u{1b}[32mrunning\u{1b}[0m"), "{text:?}");
        assert!(text.contains("\u{1b}[33mwaiting 1.5s\u{1b}[0m"), "{text:?}");
        let without: String = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(without, status(&shop(), UNICODE));
    }

    #[test]
    fn with_several_sources_the_last_beat_of_each_is_shown() {
        let source = |source: &str, target: Option<&str>, age_ms| SourceView {
            source: source.into(),
            target: target.map(str::to_owned),
            age_ms,
        };
        let zmq = source("zmq", None, Some(400));
        assert_eq!(sources(std::slice::from_ref(&zmq)), "", "the beat says it");
        let web = source("http", Some("http://127.0.0.1:80/"), None);
        assert_eq!(sources(&[zmq, web.clone()]), "zmq 0.4s, http -");
        let other = source("http", Some("http://127.0.0.1:81/"), Some(12_000));
        assert_eq!(sources(&[web, other]), "http http://127.0.0.1:80/ -, http http://127.0.0.1:81/ 12s");

        let mut shop = shop();
        let ChildView::Supervisor(root) = &mut shop.root else { panic!() };
        let ChildView::Worker(db) = &mut root.children[0] else { panic!() };
        db.sources = vec![source("notify", None, Some(100)), source("exec", Some("pg_isready"), Some(2_000))];
        let text = status(&shop, Look::PLAIN);
        assert!(text.contains("SOURCES") && text.contains("notify 0.1s, exec 2s"), "{text}");
        let text = status(&shop, Look { width: Some(80), ..Look::PLAIN });
        assert!(text.contains("BEAT") && !text.contains("SOURCES"), "{text}");
    }

    #[test]
    fn a_beat_is_coloured_by_its_age() {
        let at = |age_ms| beat(HeartbeatView { interval_ms: 1000, misses: 3, age_ms, beats: 1, missed: 0 }).style;
        assert_eq!(at(Some(1_500)), style::GOOD);
        assert_eq!(at(Some(1_501)), style::BUSY);
        assert_eq!(at(Some(3_000)), style::BAD);
        assert_eq!(at(None), style::QUIET);
    }

    #[test]
    fn an_event_is_one_line() {
        let view = EventView {
            id: ReportId { node: 1, seq: 1 },
            at: "2026-01-02T03:04:05.678901234Z".into(),
            path: Path::parse("/web/api").unwrap(),
            kind: "exited".into(),
            pid: Some(7),
            incarnation: Some(1),
            cause: None,
            detail: json!({"signal": 11, "output": ["one", "two\nthree"]}).as_object().unwrap().clone(),
        };
        assert_eq!(
            event(&view, 10, Look::PLAIN),
            "2026-01-02 03:04:05.678Z  /web/api    was ended by SIGSEGV; its last words: two\u{fffd}three\n"
        );
    }
}
