//! Reads the output of workers: a bounded share in each turn, and nothing while the disk or the console is behind.

use super::output::{CarriedLosses, Followers};
use super::table::Children;
use crate::logs::LogFile;
use crate::logs::capture::{PAUSE, Progress};
use crate::logs::lines::Line;
use crate::logs::ring::Speaker;
use crate::node::context::Context;
use crate::node::reactor::Reactor;
use crate::os::clock::wall_nanos;
use crate::supervision::Run;
use crate::time::{Span, Time};
use slog::warn;
use std::os::fd::AsRawFd;

/// How much of a worker's output is taken.
enum Share {
    /// At most so many bytes.
    Bytes(usize),
    /// The part of an unfinished line that was read.
    Unfinished,
    /// The rest of the last line; then the pipe is closed.
    Rest,
}

/// How soon the writer thread is checked again while something waits to be written.
const LOOK: Span = Span::from_millis(250);

/// The capacity of a pipe, unless root has made it larger, pipe(7).
const PIPE_MAX: usize = 1024 * 1024;

/// The most bytes of one worker's output that one turn takes: as much as a pipe holds by default.
const PER_TURN: usize = 64 * 1024;

impl Children {
    /// Takes some of a worker's output, unless the output has to stay in its pipe for now: then the pipe is not watched
    /// until the log file or the console has room again.
    pub(crate) fn read_output(
        &mut self,
        run: Run,
        context: &Context,
        reactor: &mut Reactor,
        followers: &mut dyn Followers,
    ) {
        if !self.rests(run, context, reactor)
            && self.take_output(run, Share::Bytes(PER_TURN), context, reactor, followers)
        {
            self.output.more.push(run);
        }
    }

    /// Takes what is left in the pipe of a child that has exited, at most what a pipe can hold, and closes the pipe. A
    /// process that has escaped may keep the other end open for ever, so the end of the output is not waited for.
    pub(crate) fn drain_output(
        &mut self,
        run: Run,
        context: &Context,
        reactor: &mut Reactor,
        followers: &mut dyn Followers,
    ) {
        self.take_output(run, Share::Bytes(PIPE_MAX), context, reactor, followers);
        self.output.more.retain(|other| *other != run);
        self.take_output(run, Share::Rest, context, reactor, followers);
    }

    /// Shows the unfinished lines of workers that have printed nothing more for a while.
    pub(crate) fn show_unfinished(
        &mut self,
        now: Time,
        context: &Context,
        reactor: &mut Reactor,
        followers: &mut dyn Followers,
    ) {
        if self.output.unfinished_due.is_none_or(|due| due > now) {
            return;
        }
        self.output.unfinished_due = None;
        for run in std::mem::take(&mut self.output.unfinished) {
            if self.take_output(run, Share::Unfinished, context, reactor, followers) {
                self.output.unfinished.push(run);
                self.output.unfinished_due = Some(now + PAUSE);
            }
        }
    }

    /// Takes a share of a worker's output. Returns whether more is left.
    fn take_output(
        &mut self,
        run: Run,
        share: Share,
        context: &Context,
        reactor: &mut Reactor,
        followers: &mut dyn Followers,
    ) -> bool {
        let now = context.now();
        let at = wall_nanos(context.clock.wall_of(now));
        let Children { slots, output, .. } = self;
        let Some(child) = slots.get_mut(run.child.0 as usize).and_then(Option::as_deref_mut) else { return false };
        let Some(process) = child.process.as_mut().filter(|process| process.run == run) else { return false };
        let Some((capture, tag)) = &mut process.output else { return false };
        let (fd, tag) = (capture.as_raw_fd(), *tag);
        let speaker = Speaker { incarnation: run.incarnation.0, pid: process.pid };
        let mut follow = followers.begin(&child.path, speaker, at);
        let (ring, path) = (&mut child.ring, child.path.as_str());
        let mut batch = child.file.as_deref().map(|file| file.batch(speaker.incarnation));
        let (show, console) = (context.place.show_output, &mut output.console);
        let mut take = |line: Line<'_>| {
            if let Some(batch) = &mut batch {
                batch.write_line(&line);
            }
            if show {
                console.push(path, speaker, &line);
            }
            if let Some(follow) = &mut follow {
                follow(&line);
            }
            ring.push(at, speaker, line);
        };
        let progress = match share {
            Share::Bytes(budget) => capture.read_some(now, budget, &mut take),
            Share::Unfinished => match capture.pause(now, &mut take) {
                true => Progress::MoreWaiting,
                false => Progress::Drained,
            },
            Share::Rest => {
                capture.finish(&mut take);
                Progress::Closed
            }
        };
        if capture.begins_to_wait() {
            output.unfinished.push(run);
            output.unfinished_due.get_or_insert(now + PAUSE);
        }
        // The lines are handed to the log file's writer here; whether they were written is checked a moment later.
        if batch.take().is_some() {
            output.due.get_or_insert(now + LOOK);
        }
        if let Progress::Closed = progress {
            let closed = process.output.take();
            reactor.unwatch(fd, tag);
            drop(closed);
        }
        progress == Progress::MoreWaiting
    }

    /// Takes lines about a worker, the output of a command beside it, as if the worker had printed them.
    pub(crate) fn take_lines(&mut self, run: Run, lines: &[Vec<u8>], context: &Context, followers: &mut dyn Followers) {
        let at = wall_nanos(context.clock.wall_of(context.now()));
        let Children { slots, output, .. } = self;
        let Some(child) = slots.get_mut(run.child.0 as usize).and_then(Option::as_deref_mut) else { return };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else { return };
        let speaker = Speaker { incarnation: run.incarnation.0, pid: process.pid };
        let mut follow = followers.begin(&child.path, speaker, at);
        let mut batch = child.file.as_deref().map(|file| file.batch(speaker.incarnation));
        for line in lines {
            let line = Line::new(line);
            if let Some(batch) = &mut batch {
                batch.write_line(&line);
            }
            if context.place.show_output {
                output.console.push(child.path.as_str(), speaker, &line);
            }
            if let Some(follow) = &mut follow {
                follow(&line);
            }
            child.ring.push(at, speaker, line);
        }
        if batch.take().is_some() {
            output.due.get_or_insert(context.now() + LOOK);
        }
    }

    /// After an upgrade: in their log files the lines go on that have begun.
    pub(super) fn go_on_within_lines(&self) {
        for child in self.iter() {
            if let (Some(file), Some(process)) = (&child.file, &child.process)
                && process.output.as_ref().is_some_and(|(capture, _)| capture.is_within_line())
            {
                file.go_on_within_line(process.run.incarnation.0);
            }
        }
    }

    /// What goes into the snapshot of an upgrade.
    pub(super) fn losses(&self) -> CarriedLosses {
        // Two copies of a worker share their file.
        let own = self.with_ids().filter(|(_, child)| !child.second);
        let lost = own.filter_map(|(id, child)| Some((id, child.file.as_ref()?.unreported())));
        let files = lost.filter(|(_, lost)| !lost.is_none()).collect();
        CarriedLosses { console: self.output.console.unreported(), files }
    }

    /// After an upgrade: what the image before has lost is reported. The lines in the files that have begun are known.
    pub(super) fn go_on_with_losses(&mut self, losses: CarriedLosses) {
        let CarriedLosses { console, files } = losses;
        self.output.console.take_over(console);
        for (id, lost) in files {
            if let Some(file) = self.get(id).and_then(|child| child.file.as_deref()) {
                file.take_over(lost);
            }
        }
    }

    /// Whether a worker's output has to stay in its pipe for now. If so, stops watching the pipe.
    fn rests(&mut self, run: Run, context: &Context, reactor: &mut Reactor) -> bool {
        let Some(child) = self.get(run.child) else { return false };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else { return false };
        let Some((capture, _)) = &process.output else { return false };
        let console_behind = context.place.show_output && self.output.console.must_rest();
        if !console_behind && !child.file.as_deref().is_some_and(LogFile::must_rest) {
            return false;
        }
        let fd = capture.as_raw_fd();
        if !self.output.resting.contains(&run) {
            reactor.pause(fd);
            self.output.resting.push(run);
        }
        self.output.due.get_or_insert(context.now() + LOOK);
        true
    }

    /// The writer has lost output, or has room again: logs losses, and watches the pipes of all workers again.
    pub(crate) fn writer_has_news(&mut self, context: &Context, reactor: &mut Reactor) {
        self.output.report_lost(&context.logger);
        let mut unwatched = Vec::new();
        for run in std::mem::take(&mut self.output.resting) {
            // If a worker has still to wait, the next read of its output finds that out.
            let Some(process) = self.get_mut(run.child).and_then(|child| child.process_of(run)) else { continue };
            let Some((capture, tag)) = &process.output else { continue };
            if let Err(error) = reactor.resume(capture.as_raw_fd(), *tag) {
                if unwatched.is_empty() && !self.output.unwatched {
                    warn!(context.logger, "cannot watch the output of a child; trying again"; "error" => %error);
                }
                unwatched.push(run);
            }
        }
        self.output.unwatched = !unwatched.is_empty();
        if self.output.unwatched {
            // Where the kernel lacks memory, its next attempt may succeed.
            self.output.resting.extend(unwatched);
            self.output.due.get_or_insert(context.now() + LOOK);
        }
    }

    /// Checks the writer, if that is due.
    pub(crate) fn output_due(&mut self, now: Time, context: &Context, reactor: &mut Reactor) {
        if self.output.due.is_none_or(|due| due > now) {
            return;
        }
        let waits = self.output.writer.look() || !self.output.resting.is_empty();
        self.output.due = waits.then(|| now + LOOK);
        self.writer_has_news(context, reactor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::logs::capture::Capture;
    use crate::node::reactor::Source;
    use crate::node::testing;
    use crate::supervision::ChildId;

    #[test]
    fn a_pipe_that_cannot_be_watched_is_tried_again() {
        let context = testing::context();
        let mut reactor = testing::reactor();
        let mut children = testing::children("child = [{ name = \"a\", command = \"a\" }]", &context);
        let run = Run { child: ChildId(0), incarnation: Incarnation::FIRST };
        children.start_in_test(run, &context);
        let (pipe, _writer) = std::io::pipe().unwrap();
        let fd = pipe.as_raw_fd();
        // It is watched, so that it cannot be added once more.
        let tag = reactor.watch(fd, Source::Output(run)).unwrap();
        children.get_mut(run.child).unwrap().process.as_mut().unwrap().output = Some((Capture::new(pipe.into()), tag));
        children.output.resting.push(run);
        children.writer_has_news(&context, &mut reactor);
        assert_eq!(children.output.resting, [run]);
        let due = children.output.due.expect("the next attempt has its time");

        reactor.pause(fd);
        children.output_due(due, &context, &mut reactor);
        assert!(children.output.resting.is_empty());
        assert!(reactor.resume(fd, tag).is_err(), "it is watched");
    }
}
