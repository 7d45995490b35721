//! The process of a helper command: a probe, a hook, or a command beside a worker. It is no supervised child, but this
//! node watches and reaps it by its pidfd, kills it with its process group, and reads its output so that it never
//! blocks on a full pipe. The last line of the output is kept.

use super::context::Context;
use super::luggage::{Number, Packing, Unpacking};
use super::reactor::{Reactor, Source};
use super::unknown_children::ProcessFamily;
use crate::error::Chain;
use crate::logs::capture::{Capture, Progress, UnfinishedOutput};
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

/// The most bytes of output that one turn reads.
const OUTPUT_PER_TURN: usize = 16 * 1024;

/// The most characters of the last line that are reported.
const LAST_LINE_MAX: usize = 200;

/// The most lines that are kept of one command.
const LINES_MAX: usize = 1_000;

/// The process of a helper command.
pub(super) struct HelperProcess {
    pid: u32,
    process: PidFd,
    tag: Tag,
    output: Option<(Capture, Tag)>,
    last_line: String,
    /// All lines of its output, if they are to be kept.
    lines: Option<Vec<Vec<u8>>>,
    /// Why this node has killed the process, if it has.
    killed: Option<String>,
    /// Set while the kernel has not yet reported that the process has executed its program.
    late: Option<Late>,
}

/// A helper process in the snapshot of a hot upgrade.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedHelper {
    pid: u32,
    process: Number,
    output: Option<(Number, UnfinishedOutput)>,
    last_line: String,
    lines: Option<Vec<Vec<u8>>>,
    killed: Option<String>,
}

/// Why a command has failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandFailure {
    pub why: String,
    /// The command could not be executed at all.
    pub not_run: bool,
}

impl HelperProcess {
    /// Watches a command that has just been started. The reactor reports its exit and its output as `source`.
    ///
    /// # Errors
    /// Why the process cannot be watched. It was killed in this case.
    pub(super) fn watch(
        spawned: Spawned,
        output: OwnedFd,
        source: Source,
        kin: ProcessFamily,
        reactor: &mut Reactor,
    ) -> Result<HelperProcess, String> {
        let tag = match reactor.watch(spawned.pidfd.as_raw_fd(), source) {
            Ok(tag) => tag,
            Err(error) => {
                // Its exit would go unnoticed, so it is killed.
                process::signal_group(spawned.pid, 9);
                spawned.give_up();
                return Err(Chain(&error).to_string());
            }
        };
        reactor.processes.helper_started(spawned.pid, kin);
        // If the output cannot be watched, the command can still succeed, as long as its output fits into the pipe.
        let output = reactor.watch(output.as_raw_fd(), source).ok().map(|tag| (Capture::new(output), tag));
        let Spawned { late, pid, pidfd: process } = spawned;
        let (last_line, lines, killed) = (String::new(), None, None);
        Ok(HelperProcess { pid, process, tag, output, last_line, lines, killed, late })
    }

    /// Whether a hot upgrade is possible now: the process has executed its program. Until then a failure to execute is
    /// reported to this image of the program alone.
    pub(super) fn can_go_over(&self) -> bool {
        self.late.as_ref().is_none_or(Late::has_executed)
    }

    /// Writes the process into the snapshot of a hot upgrade.
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

    /// Takes the process over from the snapshot.
    pub(super) fn unpack(
        carried: CarriedHelper,
        source: Source,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> HelperProcess {
        let CarriedHelper { pid, process, output, last_line, lines, killed } = carried;
        let process = unpacking.process(process);
        let tag = reactor.watch_again(&process, source);
        reactor.processes.started(pid, None);
        let output = output.map(|(number, begun)| {
            let capture = Capture::go_on(unpacking.take(number), begun);
            let tag = reactor.watch_again(&capture, source);
            (capture, tag)
        });
        HelperProcess { pid, process, tag, output, last_line, lines, killed, late: None }
    }

    /// Reads output and exit status. Returns the result of the command once its process has exited.
    pub(super) fn look(&mut self, context: &Context, reactor: &mut Reactor) -> Option<Result<(), CommandFailure>> {
        let now = context.now();
        if let Some((capture, tag)) = self.read(now) {
            reactor.unwatch(capture.as_raw_fd(), tag);
        }
        // Processes that it has started in the background are killed with it. That is safe as long as it is not reaped:
        // no other process group can have its number until then.
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
        reactor.processes.helper_reaped(self.pid, now);
        reactor.unwatch(self.process.as_raw_fd(), self.tag);
        // Reads the last output. A process that has left the group may hold the pipe open for ever, so end of file is
        // not waited for.
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

    /// Kills the process and its group, for the reason `why`. The exit is still to come. Returns why the process lives
    /// on if the kernel refuses the signal.
    pub(super) fn kill(&mut self, why: String) -> Option<String> {
        self.killed.get_or_insert(why);
        // The process was not reaped, so its number, which is also that of its group, cannot belong to another process.
        let killed = self.process.signal_child(self.pid, 9);
        process::signal_group(self.pid, 9);
        let refused = killed.err().filter(|error| !pidfd::is_gone(error))?;
        Some(stuck::why_alive(self.pid, Some(refused.raw_os_error().unwrap_or(0))))
    }

    /// Whether this node has killed the process.
    pub(super) fn is_killed(&self) -> bool {
        self.killed.is_some()
    }

    /// Whether the process has ended, and its exit is still to be read.
    pub(super) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// Why the process, which was killed, is still there. It is killed once more.
    pub(super) fn why_alive(&mut self) -> String {
        self.kill(String::new()).unwrap_or_else(|| stuck::why_alive(self.pid, None))
    }

    /// From now on all lines of the output are kept.
    pub(super) fn keep_lines(&mut self) {
        self.lines.get_or_insert_default();
    }

    /// The lines that were kept since the last call.
    pub(super) fn take_lines(&mut self) -> Vec<Vec<u8>> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Reads some of the output. Returns the pipe when it is closed.
    fn read(&mut self, now: Time) -> Option<(Capture, Tag)> {
        let (capture, _) = self.output.as_mut()?;
        let (last_line, lines) = (&mut self.last_line, &mut self.lines);
        match capture.read_some(now, OUTPUT_PER_TURN, &mut |line| remember(last_line, lines, line.bytes())) {
            Progress::Closed => self.output.take(),
            Progress::MoreWaiting | Progress::Drained => None,
        }
    }

    fn verdict(&mut self, status: ExitStatus) -> Result<(), CommandFailure> {
        // On a busy machine or a slow file system it is known late whether the program could be executed.
        if let Some(Err(failure)) = self.late.as_mut().and_then(Late::outcome) {
            return Err(CommandFailure { why: failure.to_string(), not_run: true });
        }
        verdict(self.killed.take(), status, &self.last_line)
    }
}

/// The result of a command that was executed. Status 0 is success, unless this node has killed the command: then it has
/// failed for that reason, whatever its exit status is. The last line of its output is added to the reason.
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

/// Keeps `line` as the last line if it is not blank, and in the list of all lines if there is one.
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
impl HelperProcess {
    /// A command that runs for long, with this stamp.
    pub(super) fn asleep(
        stamp: crate::os::descendants::stamp::Stamp,
        source: Source,
        reactor: &mut Reactor,
    ) -> HelperProcess {
        use crate::os::fd;
        use crate::os::spawn::{self, PlanSpec};
        let plan = spawn::prepare(PlanSpec::new(vec!["/bin/sleep".into(), "1000".into()])).unwrap();
        let (spawned, (output, _)) = (plan.spawn().unwrap(), fd::output_pipe().unwrap());
        let kin = ProcessFamily { leader: spawned.pid, stamp, since: 0 };
        HelperProcess::watch(spawned, output, source, kin, reactor).unwrap()
    }

    /// As if it had been killed, and SIGKILL had no effect.
    pub(super) fn resists(&mut self) {
        self.killed = Some("took too long".into());
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
