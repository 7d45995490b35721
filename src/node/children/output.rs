//! What workers print: it is read, shown on the console, written into files by a thread ([`crate::logs::writer`]), kept
//! in memory, and passed to those that follow it. A worker whose disk is behind waits.

use super::process::Process;
use crate::ids::Path;
use crate::logs::Writer;
use crate::logs::console::Console;
use crate::logs::lines::Line;
use crate::logs::ring::Speaker;
use crate::node::context::Context;
use crate::supervision::Run;
use crate::time::{Span, Time};
use slog::{Logger, warn};

/// A node that ends waits so long for what is not written yet, and so does a root before its last output. A disk takes
/// it at once, or has failed.
pub(in crate::node) const LAST: Span = Span::from_secs(1);

/// So long a disk is waited for before the program is replaced; it is tried again then.
const MOMENT: Span = Span::from_millis(50);

/// Takes a line as it was read.
pub(in crate::node) type TakeLine<'a> = Box<dyn FnMut(&Line<'_>) + 'a>;

/// Those that follow what workers print.
pub(in crate::node) trait Followers {
    /// Some output of the worker at `path` is about to be read, so many nanoseconds after 1970. `None` where none
    /// follows it.
    fn begin<'a>(&'a mut self, path: &'a Path, speaker: Speaker, at: u64) -> Option<TakeLine<'a>>;
}

/// Where output goes besides memory, and whose is not read for the moment.
pub(in crate::node) struct Output {
    pub(super) console: Console,
    pub(super) writer: Writer,
    /// Workers that had more than one turn allows.
    pub(super) more: Vec<Run>,
    /// Workers whose output is not read for the moment, as their disk is behind.
    pub(super) resting: Vec<Run>,
    pub(super) due: Option<Time>,
    /// Workers that have begun a line which may not go on, and when they are looked at.
    pub(super) unfinished: Vec<Run>,
    pub(super) unfinished_due: Option<Time>,
}

impl Output {
    pub(crate) fn new(console: Console, writer: Writer) -> Output {
        let (more, resting, unfinished) = (Vec::new(), Vec::new(), Vec::new());
        Output { console, writer, more, resting, due: None, unfinished, unfinished_due: None }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.due, self.unfinished_due].into_iter().flatten().min()
    }

    /// After the program was replaced: of whose output has to be taken notice again. What can be read shows by itself.
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

    /// Writes to the console what it takes now. Returns whether something waits.
    pub(crate) fn flush_console(&mut self) -> bool {
        self.console.flush()
    }

    /// Whether all is written that workers have printed; a disk or a reader is given a moment for it.
    pub(crate) fn is_written(&mut self) -> bool {
        self.writer.finish(MOMENT).is_none() && self.console.settle(MOMENT)
    }

    /// Logs why output was lost since, or may be.
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
