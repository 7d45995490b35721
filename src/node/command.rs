//! A command that helps the node: a probe or a hook. It is no child that is supervised, but it is ours: watched and
//! reaped by its pidfd, ended with its process group, its output read so that it never blocks, and of that the last
//! line kept.

use super::context::Context;
use super::luggage::{Number, Packing, Unpacking};
use super::reactor::{Reactor, Source};
use super::unknown_children::Kin;
use crate::error::Chain;
use crate::logs::capture::{Begun, Capture, Progress};
use crate::os::epoll::Tag;
use crate::os::pidfd::{self, ExitStatus, PidFd};
use crate::os::spawn::{Late, Spawned};
use crate::os::{process, stuck};
use crate::signal;
use crate::text::printable;
use crate::time::Time;
use crate::wire::snapshot::Kind;
use serde::{Deserialize, Serialize};
use slog::warn;
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes of output that are taken in one turn at most.
const OUTPUT_PER_TURN: usize = 16 * 1024;

/// Characters of the last line that are reported.
const LAST_LINE_MAX: usize = 200;

/// Lines of a command that are kept at most.
const LINES_MAX: usize = 1_000;

/// The process of such a command.
pub(super) struct HelperProcess {
    pid: u32,
    process: PidFd,
    tag: Tag,
    output: Option<(Capture, Tag)>,
    last_line: String,
    /// All its lines, where they are wanted.
    lines: Option<Vec<Vec<u8>>>,
    /// It was killed, for this reason.
    killed: Option<String>,
    /// Its program was not executed yet when it was made.
    late: Option<Late>,
}

/// The same as another image of the program goes on with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedHelper {
    pid: u32,
    process: Number,
    output: Option<(Number, Begun)>,
    last_line: String,
    lines: Option<Vec<Vec<u8>>>,
    killed: Option<String>,
}

/// Why a command has not succeeded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandFailure {
    pub why: String,
    /// It could not be executed at all.
    pub not_run: bool,
}

impl HelperProcess {
    /// Takes over a command that has just been started; what is ready of it comes by `source`.
    ///
    /// # Errors
    /// Why it cannot be watched; then it was killed.
    pub(super) fn watch(
        spawned: Spawned,
        output: OwnedFd,
        source: Source,
        kin: Kin,
        reactor: &mut Reactor,
    ) -> Result<HelperProcess, String> {
        let tag = match reactor.watch(spawned.pidfd.as_raw_fd(), source) {
            Ok(tag) => tag,
            Err(error) => {
                // Its exit would never be seen; it is killed, and reaped as an orphan.
                let _ = spawned.pidfd.signal_child(spawned.pid, 9);
                process::signal_group(spawned.pid, 9);
                return Err(Chain(&error).to_string());
            }
        };
        reactor.processes.known.insert(spawned.pid, None);
        reactor.processes.unknown.begin_helper(kin);
        // Without its output it can still succeed, as long as it writes little.
        let output = reactor.watch(output.as_raw_fd(), source).ok().map(|tag| (Capture::new(output), tag));
        let Spawned { late, pid, pidfd: process } = spawned;
        let (last_line, lines, killed) = (String::new(), None, None);
        Ok(HelperProcess { pid, process, tag, output, last_line, lines, killed, late })
    }

    /// Whether it can go over to another image of the program: it has executed its own, or that has failed, which is
    /// known only to us.
    pub(super) fn can_go_over(&self) -> bool {
        self.late.as_ref().is_none_or(Late::has_executed)
    }

    /// What goes over.
    pub(super) fn pack(&self, what: &str, packing: &mut Packing<'_>) -> CarriedHelper {
        let HelperProcess { pid, process, tag: _, output, last_line, lines, killed, late: _ } = self;
        CarriedHelper {
            pid: *pid,
            process: packing.process(process, *pid),
            output: output.as_ref().map(|(capture, _)| {
                (packing.descriptor(capture, Kind::Pipe, format_args!("the output of {what}")), capture.begun())
            }),
            last_line: last_line.clone(),
            lines: lines.clone(),
            killed: killed.clone(),
        }
    }

    /// Goes on with it.
    pub(super) fn unpack(
        carried: CarriedHelper,
        source: Source,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> HelperProcess {
        let CarriedHelper { pid, process, output, last_line, lines, killed } = carried;
        let process = unpacking.process(process);
        let tag = reactor.watch_again(&process, source);
        reactor.processes.known.insert(pid, None);
        let output = output.map(|(number, begun)| {
            let capture = Capture::go_on(unpacking.take(number), begun);
            let tag = reactor.watch_again(&capture, source);
            (capture, tag)
        });
        HelperProcess { pid, process, tag, output, last_line, lines, killed, late: None }
    }

    /// Something of it is ready. Returns how it ended once it has exited: well, or why not.
    pub(super) fn look(&mut self, context: &Context, reactor: &mut Reactor) -> Option<Result<(), CommandFailure>> {
        let now = context.now();
        if let Some((capture, tag)) = self.read(now) {
            reactor.unwatch(capture.as_raw_fd(), tag);
        }
        // What it has started in the background goes with it, as long as no other process can have its number.
        if self.process.has_ended() {
            process::signal_group(self.pid, 9);
        }
        let status = match self.process.wait() {
            Ok(Some(status)) => status,
            Ok(None) => return None,
            Err(error) => {
                warn!(context.logger, "cannot read the exit status of a command"; "error" => %error);
                ExitStatus::default()
            }
        };
        reactor.processes.known.remove(&self.pid);
        reactor.processes.unknown.end_helper(self.pid, now);
        reactor.unwatch(self.process.as_raw_fd(), self.tag);
        // Its last output. A process that has left its group may hold the pipe for ever, so the end of the pipe is not
        // waited for.
        if let Some((capture, tag)) = self.read(now) {
            reactor.unwatch(capture.as_raw_fd(), tag);
        }
        if let Some((mut capture, tag)) = self.output.take() {
            reactor.unwatch(capture.as_raw_fd(), tag);
            let (last_line, lines) = (&mut self.last_line, &mut self.lines);
            capture.finish(&mut |line| remember(last_line, lines, line.bytes()));
        }
        Some(self.verdict(status))
    }

    /// Kills it with its group, for a reason. Its end is still to come; where the kernel refuses the signal, it gives
    /// why.
    pub(super) fn kill(&mut self, why: String) -> Option<String> {
        self.killed.get_or_insert(why);
        // It has not been reaped, so its number, which is that of its group too, has not been given to another process.
        let killed = self.process.signal_child(self.pid, 9);
        process::signal_group(self.pid, 9);
        let refused = killed.err().filter(|error| !pidfd::is_gone(error))?;
        Some(stuck::why_alive(self.pid, Some(refused.raw_os_error().unwrap_or(0))))
    }

    /// What it prints is kept from here on.
    pub(super) fn keep_lines(&mut self) {
        self.lines.get_or_insert_default();
    }

    /// What was kept of it since.
    pub(super) fn take_lines(&mut self) -> Vec<Vec<u8>> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Reads some of its output. Gives the pipe back when it is closed.
    fn read(&mut self, now: Time) -> Option<(Capture, Tag)> {
        let (capture, _) = self.output.as_mut()?;
        let (last_line, lines) = (&mut self.last_line, &mut self.lines);
        match capture.read_some(now, OUTPUT_PER_TURN, &mut |line| remember(last_line, lines, line.bytes())) {
            Progress::Closed => self.output.take(),
            Progress::MoreWaiting | Progress::Drained => None,
        }
    }

    fn verdict(&mut self, status: ExitStatus) -> Result<(), CommandFailure> {
        // Whether a program is there can be known late, on a busy machine or a slow file system.
        if let Some(Err(failure)) = self.late.as_mut().and_then(Late::outcome) {
            return Err(CommandFailure { why: failure.to_string(), not_run: true });
        }
        verdict(self.killed.take(), status, &self.last_line)
    }
}

/// How a command has ended that was executed: well with status 0, unless it was killed for a reason, which is why it
/// has failed then, however it ended. Its last line tells more.
fn verdict(killed: Option<String>, status: ExitStatus, last_line: &str) -> Result<(), CommandFailure> {
    let why = match (killed, status) {
        (Some(why), _) => why,
        (None, ExitStatus { code: Some(0), .. }) => return Ok(()),
        (None, ExitStatus { code: Some(code), .. }) => format!("exited with status {code}"),
        (None, ExitStatus { signal, .. }) => format!("was killed by {}", signal::full_name(signal.unwrap_or(9))),
    };
    let why = if last_line.is_empty() { why } else { format!("{why}: {last_line}") };
    Err(CommandFailure { why, not_run: false })
}

/// Keeps the last line that is not empty, and all of them where they are wanted.
fn remember(last_line: &mut String, lines: &mut Option<Vec<Vec<u8>>>, line: &[u8]) {
    if let Some(lines) = lines.as_mut().filter(|lines| lines.len() < LINES_MAX) {
        lines.push(line.to_vec());
    }
    let line = &line[..line.len().min(LAST_LINE_MAX * 4)];
    if !line.trim_ascii().is_empty() {
        *last_line = printable(line.trim_ascii()).chars().take(LAST_LINE_MAX).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_failed_that_was_killed_or_ends_with_another_status_than_0() {
        let (exited, killed) = (
            |code| ExitStatus { code: Some(code), ..ExitStatus::default() },
            |signal| ExitStatus { signal: Some(signal), ..ExitStatus::default() },
        );
        let late = || Some("took longer than 5s".to_owned());
        for (reason, status, last_line, why) in [
            (None, exited(0), "", None),
            (None, exited(0), "all is well", None),
            (None, exited(3), "", Some("exited with status 3")),
            (None, exited(3), "disk full", Some("exited with status 3: disk full")),
            (None, killed(11), "", Some("was killed by SIGSEGV")),
            (None, ExitStatus::default(), "", Some("was killed by SIGKILL")),
            (late(), killed(9), "", Some("took longer than 5s")),
            (late(), exited(0), "done", Some("took longer than 5s: done")),
        ] {
            let found = verdict(reason, status, last_line).err();
            assert!(found.as_ref().is_none_or(|found| !found.not_run), "it was executed: {status:?}");
            assert_eq!(found.as_ref().map(|found| found.why.as_str()), why, "{status:?}");
        }
    }

    #[test]
    fn of_its_output_the_last_line_with_something_in_it_is_kept_and_all_lines_only_on_demand() {
        let (mut last, mut none, mut some) = (String::new(), None, Some(Vec::new()));
        for line in [b"first".as_slice(), b"  second\x1b[1m ", b"   "] {
            remember(&mut last, &mut none, line);
            remember(&mut last, &mut some, line);
        }
        assert!(last.starts_with("second") && !last.contains('\x1b'), "{last:?}");
        assert_eq!(none, None);
        assert_eq!(some.as_ref().unwrap().len(), 3, "also the empty one");
        for _ in 0..2 * LINES_MAX {
            remember(&mut last, &mut some, "ä".repeat(LAST_LINE_MAX * 8).as_bytes());
        }
        assert_eq!((some.unwrap().len(), last.chars().count()), (LINES_MAX, LAST_LINE_MAX));
    }
}
