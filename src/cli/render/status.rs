//! The running tree, one line for each child.

use super::cpu::{Shares, memory_words, share_words, total, total_share};
use super::event::short_time;
use super::look::Look;
use super::people;
use super::style;
use super::table::{Cell, Column, Table, line};
use super::tree::Branches;
use crate::cli::zone::Zone;
use crate::explain::sentence::exit_words;
use crate::os::cgroup::demand::delegation;
use crate::spec::resources::Controller;
use crate::text::clean;
use crate::time::Span;
use crate::wire::view::event::Beside;
use crate::wire::view::{
    BesideView, ChildView, ExitView, HeartbeatView, IntensityView, RollupView, SourceView, StatusView, SupervisorView,
    WorkerView,
};
use std::borrow::Cow;
use std::fmt::Write;

/// The columns, with their ranks: columns of higher rank are left out first on a narrow terminal. Columns that show
/// faults are kept longest.
pub(in crate::cli) const COLUMNS: [Column; 14] = [
    Column::left("TREE", 0).cut_to(40),
    Column::left("STATE", 0),
    Column::left("HOST", 2),
    Column::right("PID", 4),
    Column::right("#", 9),
    Column::right("UPTIME", 6),
    Column::right("RESTARTS", 2),
    Column::right("BEAT", 1),
    Column::right("CPU%", 7),
    Column::right("MEM", 5),
    Column::left("LAST EXIT", 3),
    Column::left("WINDOW", 8),
    Column::left("SOURCES", 11).cut_to(12),
    Column::left("NOTE", 10).cut_to(10),
];

/// The text of `treevisor status`.
pub fn status(status: &StatusView, shares: &Shares, look: Look) -> String {
    let mut rows = Vec::new();
    child_rows(&status.root, &Branches::default(), shares, look, &mut rows);
    let mut out = String::new();
    for parts in summary(status, shares) {
        out.push_str(&line(&parts, look));
    }
    for text in [not_in_force(status), not_upgraded(status)].into_iter().flatten() {
        // Not cut to the width: what is to be done stands at its end.
        out.push_str(&line(&[Cell::new(text, style::BUSY)], Look { width: None, ..look }));
    }
    out.push('\n');
    out.push_str(&Table { columns: COLUMNS.to_vec(), rows }.draw(look));
    out
}

/// A line about supervisors that run another version than the root.
fn not_upgraded(status: &StatusView) -> Option<String> {
    let mut others = Vec::new();
    for view in status.root.all() {
        if let ChildView::Supervisor(view) = view
            && let Some(version) = view.version.as_ref().filter(|version| **version != status.version)
        {
            others.push(format!("{} runs {}", clean(view.path.as_str()), clean(version)));
        }
    }
    (!others.is_empty()).then(|| format!("not upgraded: {}; `treevisor upgrade` tries them again", others.join(", ")))
}

/// What takes the place of a controller's name in a reason, so that reasons that differ in it alone are one.
const NAME: &str = "\u{0}";

/// A line about limits that are not in force: the controllers that they miss, why, and what delegates those.
fn not_in_force(status: &StatusView) -> Option<String> {
    let (mut limits, mut needed) = (Vec::new(), Vec::new());
    for view in status.root.all() {
        for key in view.limits().map(|limits| limits.not_in_force.as_slice()).unwrap_or_default() {
            limits.push(format!("{} of {}", clean(key), clean(view.path().as_str())));
            needed.extend(Controller::of_key(key).map(Controller::name));
        }
    }
    if limits.is_empty() {
        return None;
    }
    let missing = status.controllers.missing.iter().filter(|(name, _)| needed.contains(&name.as_str()));
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (name, why) in missing {
        let name = format!("`{name}`");
        let why = why.replace(&name, NAME);
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => reasons.push((why, vec![name])),
        }
    }
    let mut notes: Vec<String> = reasons.into_iter().map(|(why, names)| reason(&why, &names.join(", "))).collect();
    if status.containment == "group" {
        notes.insert(0, "this tree runs without cgroups; `treevisor check` names what they need".to_owned());
    } else if !notes.is_empty() {
        notes.push(delegation(false).to_owned());
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    Some(format!("limits not in force: {}{notes}", limits.join(", ")))
}

/// A reason with the names of all the controllers that it is about.
fn reason(why: &str, names: &str) -> String {
    let why = if why.contains(NAME) { why.replace(NAME, names) } else { format!("no {names} controller: {why}") };
    clean(&why).into_owned()
}

/// The lines above the table: the instance, how many workers are in which state, and what all of them use.
pub(in crate::cli) fn summary(status: &StatusView, shares: &Shares) -> [Vec<Cell>; 2] {
    let plain = |text: String| Cell::new(text, style::PLAIN);
    let instance = vec![
        Cell::new(clean(&status.instance), style::NAME),
        plain(format!(
            ": treevisor {}, process {}, up {}, containment by {}",
            clean(&status.version),
            status.pid,
            Span::from_millis(status.uptime_ms).coarse(),
            clean(&status.containment),
        )),
    ];
    let mut census = Census::default();
    census.count(&status.root);
    let mut counts = vec![plain(counted(census.workers.iter().map(|(_, count)| count).sum::<u32>(), "worker"))];
    for (at, (state, count)) in census.workers.iter().enumerate() {
        counts.push(plain(format!("{}{count} ", if at == 0 { ": " } else { ", " })));
        counts.push(Cell::new(*state, style::of_state(state)));
    }
    if census.silent > 0 {
        counts.push(plain("; ".into()));
        counts.push(Cell::new(counted(census.silent, "node") + " unreachable", style::BAD));
    }
    if census.restarts > 0 {
        counts.push(plain(format!("; {}", counted(census.restarts, "restart"))));
    }
    let used = total(&status.root);
    if used.processes > 0 {
        let share = total_share(&status.root, shares).map(|share| format!("CPU {}%, ", share_words(share)));
        let memory = memory_words(used.memory_bytes);
        counts.push(plain(format!("; {}mem {memory}", share.unwrap_or_default())));
    }
    [instance, counts]
}

fn counted(count: impl Into<u64>, what: &str) -> String {
    let count = count.into();
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The state of a step that is done.
const DONE: &str = "done";

/// The state of a child whose `autostart` is false and that no operator has started yet.
const UNSTARTED: &str = "not started";

/// How many workers are in each state.
#[derive(Default)]
struct Census<'a> {
    workers: Vec<(&'a str, u32)>,
    /// How many supervisors do not answer.
    silent: u32,
    restarts: u64,
}

/// The state as shown: a child in state `starting` without a process waits for other children, to start or to stop, and
/// is shown as waiting.
fn state_of(view: &ChildView) -> &str {
    // The process of a child on another host is not known here.
    let elsewhere = matches!(view, ChildView::Supervisor(supervisor) if supervisor.host.is_some());
    match view.state() {
        "starting" if view.pid().is_none() && !elsewhere => "waiting",
        state => state,
    }
}

impl<'a> Census<'a> {
    fn count(&mut self, child: &'a ChildView) {
        self.restarts += child.restarts();
        match child {
            ChildView::Supervisor(view) => {
                // Children of an unreachable supervisor are unreachable with it and are not counted themselves.
                let one = view.state == "unreachable" && view.pid.is_some();
                self.silent += u32::from(one);
                view.children.iter().for_each(|child| self.count(child));
            }
            ChildView::Worker(view) => {
                let shown = match (view.done, view.unstarted) {
                    (true, _) => DONE,
                    (false, true) => UNSTARTED,
                    (false, false) => state_of(child),
                };
                match self.workers.iter_mut().find(|(state, _)| *state == shown) {
                    Some((_, count)) => *count += 1,
                    None => self.workers.push((shown, 1)),
                }
            }
        }
    }
}

fn child_rows(view: &ChildView, branches: &Branches, shares: &Shares, look: Look, rows: &mut Vec<Vec<Cell>>) {
    // The branches have the style of the name; bold type does not distort their characters.
    rows.push(row(
        view,
        branches.draw(look),
        rows.is_empty(),
        look.zone,
        shares.of(view),
        view.usage().map(|u| u.memory_bytes),
    ));
    let children = view.children();
    for (at, child) in children.iter().enumerate() {
        child_rows(child, &branches.below(at + 1 == children.len()), shares, look, rows);
    }
}

/// The row of one child, for [`COLUMNS`]. The top of the shown part of the tree is shown with its path instead of its
/// name.
pub(in crate::cli) fn row(
    view: &ChildView,
    before: String,
    topmost: bool,
    zone: Zone,
    share: Option<f64>,
    memory: Option<u64>,
) -> Vec<Cell> {
    let up = matches!(state_of(view), "starting" | "running" | "unreachable");
    let beat = view.heartbeat().filter(|_| up).map(beat).unwrap_or_default();
    let (sources, window, note) = match view {
        ChildView::Worker(worker) => {
            let sources = if up { sources(&worker.sources) } else { String::new() };
            (Cell::new(sources, style::QUIET), Cell::default(), Cell::new(note(worker), style::PLAIN))
        }
        ChildView::Supervisor(supervisor) => {
            (Cell::default(), window(supervisor.intensity), note_of_supervisor(supervisor))
        }
    };
    let note = match view.kill_failed() {
        Some(survivor) => Cell::new(format!("cannot be killed: {}", clean(&survivor.reason)), style::BAD),
        None => note,
    };
    let state = match view.waits_ms() {
        Some(waits) => format!("{} {}", clean(view.state()), Span::from_millis(waits).coarse()),
        None if view.is_unstarted() => UNSTARTED.to_owned(),
        None if view.is_done() => format!("{} ({DONE})", clean(view.state())),
        None => clean(state_of(view)).into_owned(),
    };
    let number = |number: Option<u64>| Cell::new(number.map(|n| n.to_string()).unwrap_or_default(), style::PLAIN);
    let uptime = view.uptime_ms().map(|millis| Span::from_millis(millis).coarse()).unwrap_or_default();
    let restarts_style = if view.restarts() > 0 { style::BUSY } else { style::QUIET };
    // Workers run on the host of their supervisor, which is shown there.
    let host = match view {
        ChildView::Supervisor(supervisor) => supervisor.host.as_deref().unwrap_or_default(),
        ChildView::Worker(_) => "",
    };
    let name_style = if view.is_supervisor() { style::NAME } else { style::PLAIN };
    let name = if topmost && !view.path().is_root() { view.path().as_str() } else { view.name() };
    let note = match view.held() {
        Some((since, by)) => Cell::new(
            format!("held since {} by {}", short_time(&zone.rfc3339(since)), clean(&people::by(by))),
            style::PLAIN,
        ),
        None => note,
    };
    vec![
        Cell::new(before + &clean(name), name_style),
        Cell::new(state, style::of_state(state_of(view))),
        Cell::new(clean(host).into_owned(), style::PLAIN),
        number(view.pid().map(u64::from)),
        number(Some(view.incarnation()).filter(|number| *number > 0)),
        Cell::new(uptime, style::PLAIN),
        Cell::new(view.restarts().to_string(), restarts_style),
        beat,
        Cell::new(share.map(share_words).unwrap_or_default(), style::PLAIN),
        Cell::new(memory.map(memory_words).unwrap_or_default(), style::PLAIN),
        view.last_exit().map(last_exit).unwrap_or_default(),
        window,
        sources,
        note,
    ]
}

/// The strategy of a supervisor; for one that does not answer, the last known counts over its subtree.
fn note_of_supervisor(view: &SupervisorView) -> Cell {
    let strategy = clean(&view.strategy);
    if let Some(roll) = &view.rollout {
        let (updated, total) = (roll.updated, roll.total);
        return match &roll.why {
            Some(why) => Cell::new(format!("rolling update stopped: {}", clean(why)), style::BAD),
            None => Cell::new(format!("{strategy}, rolling: {updated} of {total} updated"), style::BUSY),
        };
    }
    match &view.last_known {
        Some(known) if view.state == "unreachable" => {
            Cell::new(format!("last known: {}", known_words(known)), style::BAD)
        }
        _ => Cell::new(strategy, style::QUIET),
    }
}

fn known_words(known: &RollupView) -> String {
    let counts = [
        (known.running, "running"),
        (known.starting, "starting"),
        (known.stopping, "stopping"),
        (known.down, "down"),
        (known.done, "done"),
        (known.unstarted, UNSTARTED),
    ];
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if words.is_empty() { "no workers".into() } else { words.join(", ") }
}

/// The status text that a worker reports, or else its sockets. Readiness is shown by its state already.
fn note(worker: &WorkerView) -> Cow<'_, str> {
    if let Some(BesideView { beside, state, pid, incarnation }) = worker.beside.first() {
        let which = match beside {
            Beside::Successor => "successor",
            Beside::Predecessor => "predecessor",
        };
        let pid = pid.map_or(String::new(), |pid| format!("pid {pid}, "));
        return format!("its {which} is {} ({pid}incarnation {incarnation})", clean(state)).into();
    }
    if worker.behind {
        return "has the old spec: its rolling update has not come".into();
    }
    let text = clean(worker.status_text.as_deref().unwrap_or_default());
    match worker.word.as_deref().filter(|word| *word != "ready") {
        Some(word) if text.is_empty() => clean(word),
        Some(word) => Cow::Owned(format!("{}: {text}", clean(word))),
        None if text.is_empty() => Cow::Owned(worker.listen.iter().map(|at| clean(at)).collect::<Vec<_>>().join(", ")),
        None => text,
    }
}

/// The last beat by each source, if there are several; a single source's is in the column for beats.
fn sources(sources: &[SourceView]) -> String {
    if sources.len() < 2 {
        return String::new();
    }
    let mut text = String::new();
    for source in sources {
        // Two sources of the same kind are distinguished by their targets.
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

fn last_exit(exit: &ExitView) -> Cell {
    // SIGTERM is the default stop signal, so an exit by it is usually ordered.
    let as_asked = exit.code == Some(0) || exit.signal == Some(15);
    let style = if as_asked { style::QUIET } else { style::BUSY };
    Cell::new(exit_words(exit), style)
}

/// The restarts in the window: `2/5 in 30s`.
fn window(intensity: IntensityView) -> Cell {
    let period = Span::from_millis(intensity.period_ms).coarse();
    let (text, style) = match intensity.max {
        None => (format!("{}/any", intensity.used), style::QUIET),
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

#[cfg(test)]
mod tests;
