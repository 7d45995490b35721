//! The loop's side of workers' log files, which a thread writes ([`crate::logs::writer`]): workers that wait for their disk,
//! and what has gone wrong.

use super::turn::Node;
use crate::logs::{LogFile, Writer};
use crate::supervision::Run;
use crate::time::{Span, Time};
use slog::warn;
use std::os::fd::AsRawFd;

/// A node that ends waits so long for what is not written yet, and so does a root before its last output. A disk takes
/// it at once, or has failed.
pub(super) const LAST: Span = Span::from_secs(1);

/// How soon the writer is looked at again while something waits.
const LOOK: Span = Span::from_millis(250);

pub(super) struct LogFiles {
    pub writer: Writer,
    /// Workers whose output is not read for the moment, as their disk is behind.
    resting: Vec<Run>,
    due: Option<Time>,
}

impl LogFiles {
    pub fn new(writer: Writer) -> LogFiles {
        LogFiles { writer, resting: Vec::new(), due: None }
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.due
    }

    /// Lines were handed over: whether they are written is looked at a moment later.
    pub fn handed_over(&mut self, now: Time) {
        self.due.get_or_insert(now + LOOK);
    }
}

impl Node {
    /// Whether a worker's output is to be left in its pipe for now. Then it is not watched until its file has room again.
    pub(super) fn rests(&mut self, run: Run) -> bool {
        let now = self.context.clock.now();
        let Some(handle) = self.children.get(run.child) else { return false };
        let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return false };
        let Some((capture, _)) = &process.output else { return false };
        let behind = handle.file.as_ref().is_some_and(LogFile::must_rest)
            || self.context.place.show_output && self.console.must_rest();
        if !behind {
            return false;
        }
        if !self.log_files.resting.contains(&run) {
            let _ = self.reactor.poller.remove(capture.as_raw_fd());
            self.log_files.resting.push(run);
        }
        self.log_files.due.get_or_insert(now + LOOK);
        true
    }

    /// The writer has something to report, or room again.
    pub(super) fn hear_log_files(&mut self) {
        for why in self.log_files.writer.heard() {
            warn!(self.context.logger, "output of a worker is lost"; "why" => why);
        }
        for run in std::mem::take(&mut self.log_files.resting) {
            // A worker that has still to wait shows when its output is read the next time.
            let Some(process) = self.children.get_mut(run.child).and_then(|handle| handle.process_of(run)) else {
                continue;
            };
            let Some((fd, tag)) = process.output.as_ref().map(|(capture, tag)| (capture.as_raw_fd(), *tag)) else {
                continue;
            };
            if let Err(error) = self.reactor.poller.add(fd, tag, crate::os::epoll::Interest::READ) {
                warn!(self.context.logger, "cannot watch a child's output"; "error" => %error);
            }
        }
    }

    /// Handles what waits to be written.
    pub(super) fn log_files_due(&mut self, now: Time) {
        if self.log_files.due.is_none_or(|due| due > now) {
            return;
        }
        let waits = self.log_files.writer.look() || !self.log_files.resting.is_empty();
        self.log_files.due = waits.then(|| now + LOOK);
        self.hear_log_files();
    }

    /// This node ends: its workers' last output is written, if the disk takes it.
    pub(super) fn finish_log_files(&mut self) {
        let lost = self.log_files.writer.finish(LAST);
        self.hear_log_files();
        if !lost.is_none() {
            warn!(self.context.logger, "a log file could not be written to its end"; "lost" => %lost);
        }
        let end = self.context.clock.now() + LAST;
        self.console.finish(LAST);
        self.context.log_handle.finish(end.since(self.context.clock.now()));
    }
}
