//! A status, in the text format of Prometheus: a pure function of one answer of the root.
//!
//! Series come in the order of the tree, so two pages of a quiet tree differ in nothing but values. Labels are bounded
//! by what the file has: no pid, no incarnation, no command. The last known values of a supervisor that does not answer
//! are left out, as they are not current. `docs/metrics.md` says what each family means.

pub(crate) mod hosts;
mod page;
#[cfg(test)]
mod tests;
mod wanted;

pub(crate) use page::{Kind, Millis, Page, label};
pub(crate) use wanted::Wanted;

use crate::time::Span;
use crate::wire::view::{ChildView, StatusView, SupervisorView};
use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use std::fmt::{self, Display};

/// The states of children, all of which are counted.
const STATES: [&str; 8] = ["starting", "running", "stopping", "stopped", "waiting", "held", "exited", "unreachable"];

/// The causes of process ends. A supervisor's counters exist for all of them from the beginning: for a counter that
/// first appears with the value 1, Prometheus computes no increase.
const CAUSES: [&str; 10] =
    ["gave_up", "start_failed", "start_timeout", "hang", "panic", "stopped", "oom", "signal", "exit", "normal"];

/// The page of a tree whose root has answered, within the time `took`.
pub(crate) fn of(status: &StatusView, took: Span, wanted: &Wanted) -> Page {
    let mut page = Page::default();
    let tree = label("tree", &status.instance);
    let (mut rows, mut supervisors) = (Vec::new(), Vec::new());
    collect(&status.root, &tree, wanted, &mut rows, &mut supervisors);
    page.family("treevisor_up", Kind::Gauge, "Whether the root of the tree has answered.");
    page.row(&tree, "", 1);
    let more = format!("{},{}", label("version", &status.version), label("containment", &status.containment));
    build_info(&mut page, &tree, &more);
    if let Some(began) = status.root.started_at().and_then(Moment::read) {
        page.family("treevisor_start_time_seconds", Kind::Gauge, "When the root began, in seconds since 1970.");
        page.row(&tree, "", began);
    }
    page.family("treevisor_status_duration_seconds", Kind::Gauge, "How long the root took to answer.");
    page.row(&tree, "", took.as_nanos() as f64 / 1e9);
    of_children(&mut page, &rows);
    of_beats(&mut page, &rows);
    if wanted.usage {
        of_use(&mut page, &rows);
    }
    of_supervisors(&mut page, &supervisors);
    page
}

/// The page of a tree whose root has not answered; `tree` is its name, if known.
pub(crate) fn without(tree: Option<&str>) -> Page {
    let mut page = Page::default();
    let tree = tree.map(|tree| label("tree", tree)).unwrap_or_default();
    page.family("treevisor_up", Kind::Gauge, "Whether the root of the tree has answered.");
    page.row(&tree, "", 0);
    build_info(&mut page, &tree, &label("version", env!("CARGO_PKG_VERSION")));
    page
}

fn build_info(page: &mut Page, tree: &str, more: &str) {
    page.family("treevisor_build_info", Kind::Gauge, "Version of treevisor, and what keeps its processes together.");
    page.row(tree, more, 1);
}

/// A child whose metrics are wanted.
struct Row<'a> {
    view: &'a ChildView,
    /// The labels `tree` and `path`.
    labels: String,
}

impl Row<'_> {
    /// Whether the supervisor above has reported this child. Children below a supervisor that is down or does not
    /// answer are known only from the file. The root has no supervisor above it and always counts as known.
    fn is_known(&self) -> bool {
        self.view.exits().is_some() || self.view.path().is_root()
    }
}

/// A supervisor whose metrics are wanted.
struct Supervisor<'a> {
    view: &'a SupervisorView,
    /// The labels `tree` and `supervisor`.
    labels: String,
}

/// Collects the wanted children and supervisors in the order of the tree.
fn collect<'a>(
    view: &'a ChildView,
    tree: &str,
    wanted: &Wanted,
    rows: &mut Vec<Row<'a>>,
    supervisors: &mut Vec<Supervisor<'a>>,
) {
    if wanted.has(view) {
        let path = view.path().as_str();
        rows.push(Row { view, labels: format!("{tree},{}", label("path", path)) });
        if let ChildView::Supervisor(view) = view {
            supervisors.push(Supervisor { view, labels: format!("{tree},{}", label("supervisor", path)) });
        }
    }
    view.children().iter().for_each(|child| collect(child, tree, wanted, rows, supervisors));
}

/// Writes the rows of a family: for each known child the value that `of` returns, if any.
fn each<V: Display>(page: &mut Page, rows: &[Row<'_>], of: impl Fn(&ChildView) -> Option<V>) {
    for row in rows.iter().filter(|row| row.is_known()) {
        if let Some(value) = of(row.view) {
            page.row(&row.labels, "", value);
        }
    }
}

fn of_children(page: &mut Page, rows: &[Row<'_>]) {
    page.family("treevisor_child_up", Kind::Gauge, "Whether the child is running.");
    for Row { view, labels } in rows {
        let kind = if view.is_supervisor() { "supervisor" } else { "worker" };
        page.row(labels, &label("kind", kind), u8::from(view.state() == "running"));
    }
    page.family("treevisor_child_state", Kind::Gauge, "The state of a child that is not running.");
    for Row { view, labels } in rows.iter().filter(|row| row.view.state() != "running") {
        page.row(labels, &label("state", view.state()), 1);
    }
    let help = "When the child's present process began, in seconds since 1970.";
    page.family("treevisor_child_start_time_seconds", Kind::Gauge, help);
    each(page, rows, |view| view.started_at().and_then(Moment::read));
    page.family("treevisor_child_restarts_total", Kind::Counter, "How often the child was restarted by its strategy.");
    each(page, rows, |view| view.exits().map(|_| view.restarts()));
    let help = "How the child's processes have ended; only causes of which there was an end.";
    page.family("treevisor_child_exits_total", Kind::Counter, help);
    for Row { view, labels } in rows {
        for (cause, count) in view.exits().into_iter().flatten() {
            page.row(labels, &label("cause", cause), count);
        }
    }
    page.family("treevisor_child_backoff_seconds", Kind::Gauge, "How long the child still waits for its next start.");
    each(page, rows, |view| view.waits_ms().map(Millis));
}

fn of_beats(page: &mut Page, rows: &[Row<'_>]) {
    let help = "How long ago the child's last heartbeat was.";
    page.family("treevisor_heartbeat_age_seconds", Kind::Gauge, help);
    each(page, rows, |view| view.heartbeat()?.age_ms.map(Millis));
    let help = "How long the child may be silent before it is taken to hang.";
    page.family("treevisor_heartbeat_limit_seconds", Kind::Gauge, help);
    each(page, rows, |view| {
        let beats = view.heartbeat()?;
        Some(Millis(beats.interval_ms.saturating_mul(beats.misses.into())))
    });
    let present = |view: &ChildView| view.heartbeat().filter(|_| view.pid().is_some());
    page.family("treevisor_heartbeats_total", Kind::Counter, "Heartbeats of the child's present process.");
    each(page, rows, |view| present(view).map(|beats| beats.beats));
    let help = "Intervals of the child's present process that went by without a heartbeat.";
    page.family("treevisor_heartbeats_missed_total", Kind::Counter, help);
    each(page, rows, |view| present(view).map(|beats| beats.missed_settled.unwrap_or(beats.missed)));
}

fn of_use(page: &mut Page, rows: &[Row<'_>]) {
    let help = "CPU time of the child since its present process began: of a worker with all that it has started.";
    page.family("treevisor_cpu_seconds_total", Kind::Counter, help);
    each(page, rows, |view| view.usage().map(|used| Millis(used.cpu_ms)));
    page.family("treevisor_memory_bytes", Kind::Gauge, "Memory that the child's processes use.");
    each(page, rows, |view| view.usage().map(|used| used.memory_bytes));
    page.family("treevisor_processes", Kind::Gauge, "How many processes the child has.");
    each(page, rows, |view| view.usage().map(|used| used.processes));
}

fn of_supervisors(page: &mut Page, all: &[Supervisor<'_>]) {
    page.family("treevisor_children", Kind::Gauge, "Children of the supervisor by kind and state.");
    for Supervisor { view, labels } in all {
        for (kind, supervisors) in [("supervisor", true), ("worker", false)] {
            let children = || view.children.iter().filter(|child| child.is_supervisor() == supervisors);
            for state in STATES {
                let count = children().filter(|child| child.state() == state).count();
                page.row(labels, &format!("{},{}", label("kind", kind), label("state", state)), count);
            }
        }
    }
    // The following counters are known only from a supervisor that answers.
    let answering: Vec<&Supervisor<'_>> = all.iter().filter(|one| one.view.exits_below.is_some()).collect();
    let help = "How processes of the supervisor's children have ended, gone children included.";
    page.family("treevisor_supervisor_exits_total", Kind::Counter, help);
    for Supervisor { view, labels } in &answering {
        let exits = view.exits_below.iter().flatten();
        let unknown = exits.map(|(cause, _)| cause.as_str()).filter(|cause| !CAUSES.contains(cause));
        for cause in CAUSES.into_iter().chain(unknown) {
            let count = view.exits_below.as_ref().and_then(|exits| exits.get(cause)).copied().unwrap_or(0);
            page.row(labels, &label("cause", cause), count);
        }
    }
    let mut each = |name, kind, help, of: &dyn Fn(&SupervisorView) -> Option<String>| {
        page.family(name, kind, help);
        for Supervisor { view, labels } in &answering {
            if let Some(value) = of(view) {
                page.row(labels, "", value);
            }
        }
    };
    let help = "Restarts of the supervisor's children that were charged; a group is one.";
    each("treevisor_supervisor_restarts_total", Kind::Counter, help, &|view| Some(view.restarts_below?.to_string()));
    let help = "Restarts in the supervisor's window now.";
    each("treevisor_intensity_used", Kind::Gauge, help, &|view| Some(view.intensity.used.to_string()));
    let help = "Restarts that may stand in the window; absent where they are unlimited.";
    each("treevisor_intensity_limit", Kind::Gauge, help, &|view| Some(view.intensity.max?.to_string()));
    let help = "Length of the window.";
    each("treevisor_intensity_period_seconds", Kind::Gauge, help, &|view| {
        Some(Millis(view.intensity.period_ms).to_string())
    });
    of_restarts(page, &answering);
    let help = "Messages that the supervisor has dropped, and connections that it has closed.";
    page.family("treevisor_supervisor_dropped_messages_total", Kind::Counter, help);
    for Supervisor { view, labels } in &answering {
        for (reason, count) in view.dropped.iter().flat_map(|dropped| dropped.by_reason()) {
            page.row(labels, &label("reason", reason), count);
        }
    }
    let help = "Time in which the supervisor did not run although it should have.";
    page.family("treevisor_supervisor_stalled_seconds_total", Kind::Counter, help);
    for Supervisor { view, labels } in &answering {
        if let Some(stalled) = view.stalled_ms {
            page.row(labels, "", Millis(stalled));
        }
    }
    page.family("treevisor_supervisor_info", Kind::Gauge, "Strategy of the supervisor, and version that it runs.");
    for Supervisor { view, labels } in &answering {
        let version = view.version.as_deref().unwrap_or_default();
        page.row(labels, &format!("{},{}", label("strategy", &view.strategy), label("version", version)), 1);
    }
}

fn of_restarts(page: &mut Page, supervisors: &[&Supervisor<'_>]) {
    let help = "From the end of a child's process until its next one was up.";
    page.family("treevisor_restart_duration_seconds", Kind::Histogram, help);
    for Supervisor { view, labels } in supervisors {
        let Some(times) = &view.restart_times else { continue };
        for (bound, count) in &times.le {
            page.row_of("_bucket", labels, &label("le", &Millis(*bound).to_string()), count);
        }
        page.row_of("_bucket", labels, &label("le", "+Inf"), times.count);
        page.row_of("_sum", labels, "", Millis(times.sum_ms));
        page.row_of("_count", labels, "", times.count);
    }
}

/// A moment in seconds since 1970.
struct Moment(i128);

impl Moment {
    fn read(at: &str) -> Option<Moment> {
        OffsetDateTime::parse(at, &Rfc3339).ok().map(|at| Moment(at.unix_timestamp_nanos()))
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NANOS: i128 = 1_000_000_000;
        // The precision of a 64-bit float for the present time is better than a microsecond, and no more digits are
        // useful.
        let (seconds, micros) = (self.0.div_euclid(NANOS), self.0.rem_euclid(NANOS) / 1_000);
        match micros {
            0 => write!(f, "{seconds}"),
            _ => f.write_str(format!("{seconds}.{micros:06}").trim_end_matches('0')),
        }
    }
}
