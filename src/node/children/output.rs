//! The output of workers: read, shown on the console, written into files by a thread ([`crate::logs::writer`]), kept in
//! memory, and passed to followers. A worker whose log file cannot be written fast enough is not read for the moment,
//! and so has to wait.

use super::process::Process;
use crate::ids::Path;
use crate::logs::console::Console;
use crate::logs::lines::Line;
use crate::logs::ring::Speaker;
use crate::logs::{Lost, Unreported, Writer};
use crate::node::context::Context;
use crate::supervision::{ChildId, Run};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use slog::{Logger, warn};

/// How long a node that ends waits for output that is not written yet, and a root before its last output. A disk takes
/// it at once, or has failed.
pub(in crate::node) const LAST: Span = Span::from_secs(1);

/// How long an upgrade waits for a disk before the program is replaced; then it tries again.
const MOMENT: Span = Span::from_millis(50);

/// A function that takes each line as it is read.
pub(in crate::node) type TakeLine<'a> = Box<dyn FnMut(&Line<'_>) + 'a>;

/// The readers that follow what workers print.
pub(in crate::node) trait Followers {
    /// Output of the worker at `path` is about to be read; `at` is the time in nanoseconds since 1970. `None` if
    /// nothing follows that worker.
    fn begin<'a>(&'a mut self, path: &'a Path, speaker: Speaker, at: u64) -> Option<TakeLine<'a>>;
}

/// The destinations of output besides memory, and which workers are not read for the moment.
pub(in crate::node) struct Output {
    pub(super) console: Console,
    pub(super) writer: Writer,
    /// Workers that had more output than one turn allows.
    pub(super) more: Vec<Run>,
    /// Workers whose output is not read for the moment, as the disk or the console is behind.
    pub(super) resting: Vec<Run>,
    /// One of these could not be watched again when it was time.
    pub(super) unwatched: bool,
    pub(super) due: Option<Time>,
    /// Workers that have printed part of a line and may not go on; at `unfinished_due` that part is shown.
    pub(super) unfinished: Vec<Run>,
    pub(super) unfinished_due: Option<Time>,
}

impl Output {
    pub(crate) fn new(console: Console, writer: Writer) -> Output {
        let (more, resting, unfinished) = (Vec::new(), Vec::new(), Vec::new());
        Output { console, writer, more, resting, unwatched: false, due: None, unfinished, unfinished_due: None }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.due, self.unfinished_due].into_iter().flatten().min()
    }

    /// After an upgrade: finds workers with an unfinished line again. Output that can be read shows through epoll.
    pub(super) fn look_again<'a>(&mut self, processes: impl Iterator<Item = &'a mut Process>) {
        for process in processes {
            if process.output.as_mut().is_some_and(|(capture, _)| capture.begins_to_wait()) {
                self.unfinished.push(process.run);
                self.unfinished_due = Some(Time::ZERO);
            }
        }
    }

    /// Workers that had more output than the last turn allowed.
    pub(crate) fn take_more(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.more)
    }

    pub(crate) fn has_more(&self) -> bool {
        !self.more.is_empty()
    }

    /// Writes to the console what it takes now. Returns whether something is left to write.
    pub(crate) fn flush_console(&mut self) -> bool {
        self.console.flush()
    }

    /// Whether all output of workers is written; waits a moment for the disk and for the reader of the console.
    pub(crate) fn is_written(&mut self) -> bool {
        self.writer.settle(MOMENT) && self.console.settle(MOMENT)
    }

    /// Logs each new reason for which output was lost, or may be.
    pub(super) fn report_lost(&self, logger: &Logger) {
        for why in self.writer.heard() {
            warn!(logger, "trouble with a log file"; "why" => why);
        }
    }

    /// This node ends: its workers' last output is written, if the disk takes it.
    pub(crate) fn finish(&mut self, context: &Context) {
        let lost = self.writer.finish(LAST);
        self.report_lost(&context.logger);
        if !lost.is_none() {
            warn!(context.logger, "log file not fully written"; "lost" => %lost);
        }
        let end = context.now() + LAST;
        self.console.finish(LAST);
        context.log_handle.finish(end.since(context.now()));
    }
}

/// Lost output that no notice reports yet, in the snapshot of a hot upgrade.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedLosses {
    pub(super) console: Unreported,
    pub(super) files: Vec<(ChildId, Lost)>,
}

impl CarriedLosses {
    pub(super) fn is_none(&self) -> bool {
        self.console.is_none() && self.files.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_left_out_of_a_snapshot_where_there_are_none() {
        assert!(CarriedLosses::default().is_none());
        let files = vec![(ChildId(3), Lost { lines: 1, bytes: 2 })];
        let losses = CarriedLosses { files, ..CarriedLosses::default() };
        let text = serde_json::to_string(&losses).unwrap();
        let read: CarriedLosses = serde_json::from_str(&text).unwrap();
        assert!(!read.is_none() && read.files == losses.files);
    }
}
