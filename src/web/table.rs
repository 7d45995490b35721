//! The tree as the console knows it: one row for each child, updated by events and corrected by status.
//!
//! Events show the state of a child at once, and cost its supervisors nothing. Resource usage and the restart window,
//! which events do not show, come with a status, and so do changes that were missed. A status is made of the answers of
//! many processes at different moments. So if a row has had an event since the status was requested, the event takes
//! precedence.

use crate::ids::{Name, Path};
use crate::wire::view::{
    BesideView, ChildView, EventBody, EventView, ExitView, HeartbeatView, IntensityView, StatusView, SurvivorView,
    UsageView,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// The values of a row: the columns of `/api/tree`, and the fields of `rows` in the stream.
        #[derive(Debug, Clone, PartialEq, Default, Serialize)]
        pub(super) struct Cells {
            $($(#[$doc])* pub(super) $name: $type,)*
        }

        impl Cells {
            /// The values that differ from `before`.
            fn changes(&self, before: &Cells) -> Map<String, Value> {
                let mut changes = Map::new();
                $(if self.$name != before.$name {
                    changes.insert(stringify!($name).into(), json!(self.$name));
                })*
                changes
            }

            /// One list for each column.
            fn columns(rows: &[Row], into: &mut Map<String, Value>) {
                $(into.insert(stringify!($name).into(), rows.iter().map(|row| json!(row.cells.$name)).collect());)*
            }
        }
    };
}

cells! {
    /// `starting running stopping stopped waiting held exited unreachable`.
    state: String,
    pid: Option<u32>,
    incarnation: u64,
    restarts: u64,
    /// When the present process began, in RFC 3339.
    started_at: Option<String>,
    /// For a worker: what makes it ready.
    ready: Option<String>,
    /// For a worker: `permanent transient temporary`.
    restart: Option<String>,
    /// For a supervisor: its strategy.
    strategy: Option<String>,
    /// For a supervisor that a host's agent has started: that host.
    host: Option<String>,
    /// For a supervisor: its restart window.
    intensity: Option<IntensityView>,
    last_exit: Option<ExitView>,
    /// When a backoff is over, by the console's clock in milliseconds; sent as the milliseconds that remain.
    waits_ms: Option<u64>,
    status_text: Option<String>,
    held_since: Option<String>,
    held_by: Option<String>,
    /// It is a step that has been done.
    done: bool,
    /// Its `autostart` is false, and no operator has started it yet.
    unstarted: bool,
    /// It still has its spec from before the last reload.
    behind: bool,
    /// The processes that run beside it in a roll-out, from the last status.
    beside: Vec<BesideView>,
    /// Its processes that SIGKILL has not ended.
    kill_failed: Option<SurvivorView>,
}

/// By how many milliseconds the end of a backoff, as two answers of the root have it, may differ. An answer comes up to
/// 2 s late.
const SAME_WAIT_MS: u64 = 2_500;

/// Turns the end of a backoff into the milliseconds that remain.
fn remains(waits: &mut Value, now: u64) {
    if let Some(end) = waits.as_u64() {
        *waits = json!(end.saturating_sub(now));
    }
}

/// A child, or the root.
#[derive(Debug, Clone)]
struct Row {
    path: Path,
    parent: Option<usize>,
    supervisor: bool,
    cells: Cells,
    /// The values that were last sent to pages.
    told: Cells,
    /// Number of the event after the last one that changed it.
    changed: u64,
    /// Number of the next event when its values were last sent to pages.
    sent: u64,
    numbers: Numbers,
}

/// Measurements, which change all the time and are asked for only for rows that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Numbers {
    heartbeat: Option<HeartbeatView>,
    usage: Option<UsageView>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    instance: String,
    version: String,
    rows: Vec<Row>,
    by_path: HashMap<Path, usize>,
    /// Number of the next event.
    next: u64,
    /// Rows that have changed since they were last sent.
    dirty: BTreeSet<usize>,
    /// Number of the next event when rows were last added or removed.
    altered: Option<u64>,
}

/// The result of taking in a whole status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableChange {
    /// The rows are the same as before.
    Same,
    /// Rows were added or removed: pages have to fetch the tree anew.
    Other,
}

impl Table {
    /// Whether nothing is known yet.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of the event that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Empties the table, as for another run.
    pub(super) fn clear(&mut self) {
        *self = Table::default();
    }

    /// The whole table in columns, parents before their children; `at` is the present time in words.
    pub(super) fn columns(&self, run: &str, at: &str, now: u64) -> Value {
        let mut columns = Map::new();
        let each = |value: fn(&Row) -> Value| self.rows.iter().map(value).collect::<Value>();
        columns.insert("parent".into(), each(|row| json!(row.parent)));
        columns.insert("name".into(), each(|row| json!(row.path.name().unwrap_or("/"))));
        columns.insert("kind".into(), each(|row| json!(if row.supervisor { "supervisor" } else { "worker" })));
        Cells::columns(&self.rows, &mut columns);
        let waits = columns.get_mut("waits_ms").and_then(Value::as_array_mut);
        waits.into_iter().flatten().for_each(|waits| remains(waits, now));
        columns.insert("heartbeat".into(), each(|row| json!(row.numbers.heartbeat)));
        columns.insert("usage".into(), each(|row| json!(row.numbers.usage)));
        let (instance, version) = (&self.instance, &self.version);
        json!({ "at": at, "instance": instance, "version": version, "run": run, "next": self.next, "rows": columns })
    }

    /// Whether the row of a path is a supervisor's; `None` if there is no such row.
    pub(super) fn is_supervisor(&self, path: &Path) -> Option<bool> {
        self.by_path.get(path).map(|at| self.rows[*at].supervisor)
    }

    /// The supervisors of these rows, each with those of its children that are among them.
    pub(super) fn supervisors_of<'a>(&self, rows: impl Iterator<Item = &'a Path>) -> BTreeMap<Path, BTreeSet<Name>> {
        let mut found: BTreeMap<Path, BTreeSet<Name>> = BTreeMap::new();
        for path in rows {
            match self.is_supervisor(path) {
                None => {}
                Some(true) => drop(found.entry(path.clone()).or_default()),
                Some(false) => {
                    let name = path.name().and_then(|name| Name::parse(name).ok());
                    if let (Some(parent), Some(name)) = (path.parent(), name) {
                        found.entry(parent).or_default().insert(name);
                    }
                }
            }
        }
        found
    }

    /// Takes in a whole status; `asked` was the number of the next event when it was requested.
    pub(super) fn whole(&mut self, status: &StatusView, asked: u64, now: u64) -> TableChange {
        (self.instance, self.version) = (status.instance.clone(), status.version.clone());
        let mut paths = Vec::new();
        walk(&status.root, None, &mut |child, parent| {
            paths.push((child.path().clone(), parent, child.is_supervisor()));
            paths.len() - 1
        });
        let same = paths.len() == self.rows.len()
            && paths.iter().zip(&self.rows).all(|((path, parent, supervisor), row)| {
                *path == row.path && *parent == row.parent && *supervisor == row.supervisor
            });
        let was_known = !self.is_empty();
        if !same {
            let mut before: HashMap<Path, Row> =
                std::mem::take(&mut self.rows).into_iter().map(|row| (row.path.clone(), row)).collect();
            self.rows = paths
                .into_iter()
                .map(|(path, parent, supervisor)| match before.remove(&path) {
                    Some(row) => Row { parent, supervisor, ..row },
                    None => Row::new(path, parent, supervisor),
                })
                .collect();
            self.by_path = self.rows.iter().enumerate().map(|(at, row)| (row.path.clone(), at)).collect();
        }
        self.part(&status.root, asked, now);
        if !same {
            // Pages fetch the whole tree.
            self.altered = was_known.then_some(self.next);
            self.dirty.clear();
            self.rows.iter_mut().for_each(|row| row.tell(self.next));
        }
        if same { TableChange::Same } else { TableChange::Other }
    }

    /// Takes in the status of a part of the tree, for the rows that are known. Returns whether it has a row that is
    /// not.
    pub(super) fn part(&mut self, child: &ChildView, asked: u64, now: u64) -> bool {
        let known = match self.by_path.get(child.path()) {
            Some(index) => {
                self.row(*index, child, asked, now);
                true
            }
            None => false,
        };
        child.children().iter().fold(!known, |unknown, child| self.part(child, asked, now) | unknown)
    }

    fn row(&mut self, index: usize, child: &ChildView, asked: u64, now: u64) {
        let next = self.next;
        let row = &mut self.rows[index];
        row.numbers = Numbers { heartbeat: child.heartbeat(), usage: child.usage() };
        let mut cells = Cells::of(child, &row.cells, now);
        if row.changed > asked {
            cells.keep_life(&row.cells);
        }
        if cells != row.cells {
            row.cells = cells;
            row.changed = row.changed.max(next);
            self.dirty.insert(index);
        }
    }

    /// Takes in an event. Returns whether rows were added, removed, or changed without events of their own.
    pub(super) fn event(&mut self, event: &EventView, now: u64) -> bool {
        self.next += 1;
        let Some(index) = self.by_path.get(&event.path).copied() else { return !self.rows.is_empty() };
        let (next, row) = (self.next, &mut self.rows[index]);
        let (supervisor, before, parent) = (row.supervisor, row.cells.incarnation, row.parent);
        if row.cells.happened(event, supervisor, now) {
            row.changed = next;
            self.dirty.insert(index);
        }
        if supervisor && before > 0 && event.incarnation.is_some_and(|incarnation| incarnation > before) {
            self.begins_anew(&event.path);
        }
        if let (EventBody::Restarting(restarting), Some(parent)) = (&event.body, parent) {
            // The restart window is its supervisor's.
            let above = &mut self.rows[parent];
            above.changed = next;
            if let Some(intensity) = &mut above.cells.intensity {
                intensity.used = restarting.used;
            }
            self.dirty.insert(parent);
        }
        match event.body {
            EventBody::Reloaded(_) => true,
            // What became of its children is not known from events.
            EventBody::Exited(_) | EventBody::Held(_) | EventBody::Reachable(_) => supervisor,
            _ => false,
        }
    }

    /// Takes in that a supervisor is a new process, which counts the incarnations of its children from 1 again.
    fn begins_anew(&mut self, supervisor: &Path) {
        for row in self.rows.iter_mut().filter(|row| row.path != *supervisor && row.path.is_within(supervisor)) {
            (row.cells.incarnation, row.changed) = (0, self.next);
        }
    }

    /// Skips the numbers of missing events.
    pub(super) fn skip(&mut self, events: u64) {
        self.next += events;
    }

    /// The rows that have changed since the last call, with the changed columns.
    pub(super) fn changes(&mut self, now: u64) -> Vec<Value> {
        let mut changes = Vec::new();
        for index in std::mem::take(&mut self.dirty) {
            let row = &mut self.rows[index];
            let mut change = row.cells.changes(&row.told);
            if !change.is_empty() {
                row.tell(self.next);
                change.get_mut("waits_ms").into_iter().for_each(|waits| remains(waits, now));
                change.insert("path".into(), json!(row.path));
                changes.push(Value::Object(change));
            }
        }
        changes
    }

    /// Whether a page that has the events before this number, and the rows that were sent with them, has just these
    /// rows. Unknown before the first whole status, so false.
    pub(super) fn has_rows_of(&self, number: u64) -> bool {
        !self.is_empty() && self.altered.is_none_or(|altered| number > altered)
    }

    /// The rows that a page which has the events before this number may lack, with all columns. What is sent of a row
    /// follows its event by up to 50 ms, and later events may come before it; so the moment at which it was sent
    /// counts. Rows that have changed since are not among them: they are sent to all pages.
    pub(super) fn since(&self, number: u64, now: u64) -> Vec<Value> {
        let changed = self.rows.iter().filter(|row| row.sent >= number);
        changed
            .map(|row| {
                let mut all = match json!(row.cells) {
                    Value::Object(all) => all,
                    _ => Map::new(),
                };
                all.get_mut("waits_ms").into_iter().for_each(|waits| remains(waits, now));
                all.insert("path".into(), json!(row.path));
                Value::Object(all)
            })
            .collect()
    }

    /// The measurements of a row, if it exists.
    pub(super) fn numbers(&self, path: &Path) -> Option<Value> {
        let row = &self.rows[*self.by_path.get(path)?];
        let Numbers { heartbeat, usage } = row.numbers;
        Some(json!({ "path": row.path, "heartbeat": heartbeat, "usage": usage, "intensity": row.cells.intensity }))
    }
}

/// Calls `each` for every child, parents first, with the number that `each` returned for the parent.
fn walk(child: &ChildView, parent: Option<usize>, each: &mut dyn FnMut(&ChildView, Option<usize>) -> usize) {
    let number = each(child, parent);
    child.children().iter().for_each(|child| walk(child, Some(number), each));
}

impl Row {
    fn new(path: Path, parent: Option<usize>, supervisor: bool) -> Row {
        let (cells, told) = (Cells::default(), Cells::default());
        Row { path, parent, supervisor, cells, told, changed: 0, sent: 0, numbers: Numbers::default() }
    }

    /// Notes that its values are sent to pages; `next` is the number of the next event.
    fn tell(&mut self, next: u64) {
        self.told = self.cells.clone();
        self.sent = next;
    }
}

impl Cells {
    /// The values of a child in a status.
    fn of(child: &ChildView, before: &Cells, now: u64) -> Cells {
        let held = child.held();
        let mut cells = Cells {
            state: child.state().to_owned(),
            pid: child.pid(),
            incarnation: child.incarnation(),
            restarts: child.restarts(),
            started_at: child.started_at().map(str::to_owned),
            last_exit: child.last_exit().cloned(),
            waits_ms: child.waits_ms().map(|waits| now + waits),
            held_since: held.map(|(since, _)| since.to_owned()),
            held_by: held.map(|(_, by)| by.to_owned()),
            done: child.is_done(),
            unstarted: child.is_unstarted(),
            kill_failed: child.kill_failed().cloned(),
            ..Cells::default()
        };
        match child {
            ChildView::Supervisor(view) => {
                cells.strategy = Some(view.strategy.clone());
                cells.host.clone_from(&view.host);
                cells.intensity = Some(view.intensity);
            }
            ChildView::Worker(view) => {
                cells.ready = Some(view.ready.clone());
                cells.restart = Some(view.restart.clone());
                cells.status_text.clone_from(&view.status_text);
                cells.behind = view.behind;
                cells.beside.clone_from(&view.beside);
            }
        }
        // That the answers of the root come sooner or later is not a change to be sent.
        if let (Some(end), Some(known)) = (cells.waits_ms, before.waits_ms)
            && end.abs_diff(known) < SAME_WAIT_MS
        {
            cells.waits_ms = Some(known);
        }
        cells
    }

    /// Keeps the values that events determine.
    fn keep_life(&mut self, before: &Cells) {
        self.state.clone_from(&before.state);
        (self.pid, self.incarnation) = (before.pid, before.incarnation);
        self.restarts = self.restarts.max(before.restarts);
        self.started_at.clone_from(&before.started_at);
        self.last_exit.clone_from(&before.last_exit);
        self.waits_ms = before.waits_ms;
        self.held_since.clone_from(&before.held_since);
        self.held_by.clone_from(&before.held_by);
        (self.done, self.unstarted) = (before.done, before.unstarted);
    }

    /// Takes in an event; returns whether it changed anything. Events of an earlier incarnation change nothing.
    fn happened(&mut self, event: &EventView, supervisor: bool, now: u64) -> bool {
        if event.beside.is_some() || event.incarnation.is_some_and(|incarnation| incarnation < self.incarnation) {
            return false;
        }
        let before = self.clone();
        let mut state = |state: &str| state.clone_into(&mut self.state);
        match &event.body {
            EventBody::Starting => {
                state("starting");
                (self.pid, self.started_at, self.waits_ms, self.status_text) = (None, None, None, None);
                (self.held_since, self.held_by, self.unstarted, self.done) = (None, None, false, false);
            }
            EventBody::Started(started) => {
                self.host.clone_from(&started.host);
                // With `ready = "exec"` the child is ready as soon as its process runs, without an event of its own.
                state(if self.ready.as_deref() == Some("exec") && !supervisor { "running" } else { "starting" });
                (self.pid, self.started_at) = (event.pid, Some(event.at.clone()));
            }
            EventBody::Ready => state("running"),
            EventBody::Unreachable(_) => state("unreachable"),
            EventBody::Reachable(_) if before.state == "unreachable" => state("running"),
            EventBody::MainPid(_) => self.pid = event.pid,
            // The start time of this process comes with the next status.
            EventBody::Succeeded(_) => {
                state(if before.state == "running" { "running" } else { "starting" });
                (self.pid, self.started_at) = (event.pid, None);
            }
            EventBody::Stopping(_) | EventBody::Hung(_) | EventBody::Panic(_) => state("stopping"),
            EventBody::Exited(exited) => {
                state("exited");
                (self.pid, self.started_at, self.done, self.host) = (None, None, exited.done, None);
                let (code, signal, at) = (exited.code, exited.signal, event.at.clone());
                self.last_exit = Some(ExitView { code, signal, at, oom_killed: exited.oom_killed });
            }
            EventBody::Restarting(restarting) => {
                state("waiting");
                self.waits_ms = Some(now + restarting.delay_ms);
            }
            EventBody::FailedOver(_) | EventBody::NoHost(_) => {
                state("waiting");
                (self.pid, self.started_at, self.waits_ms) = (None, None, None);
            }
            EventBody::Stopped | EventBody::StartFailed(_) => {
                state(if matches!(event.body, EventBody::Stopped) { "stopped" } else { "exited" });
                (self.pid, self.started_at) = (None, None);
            }
            EventBody::Held(held) => {
                state("held");
                (self.pid, self.started_at) = (None, None);
                self.held_since = Some(held.since.clone().unwrap_or_else(|| event.at.clone()));
                self.held_by.clone_from(&held.by);
            }
            EventBody::Released(_) => (self.held_since, self.held_by) = (None, None),
            EventBody::KillFailed(failed) => {
                let (pid, others, reason) = (failed.survivor, failed.others, failed.reason.clone());
                self.kill_failed = Some(SurvivorView { pid, others, reason });
            }
            EventBody::Reachable(_)
            | EventBody::BeatLate(_)
            | EventBody::Dropped(_)
            | EventBody::Escalated(_)
            | EventBody::GaveUp(_)
            | EventBody::AutoShutdown(_)
            | EventBody::Reloaded(_)
            | EventBody::Rollout(_)
            | EventBody::Upgraded(_)
            | EventBody::UpgradeFailed(_)
            | EventBody::Other { .. } => {}
        }
        if let Some(incarnation) = event.incarnation {
            self.incarnation = incarnation;
            if before.incarnation > 0 {
                self.restarts += incarnation - before.incarnation;
            }
        }
        *self != before
    }
}

#[cfg(test)]
mod tests;
