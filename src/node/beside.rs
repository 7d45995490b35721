//! Commands that run beside a worker, as the worker's user and in its directory and cgroup: the `stop-command`, which
//! asks the worker to stop, and the `on-hang` command, which inspects a hung worker. A worker has at most one at a
//! time. As a probe, such a command is a child process of this node, and the worker's exit is not handed in before the
//! command has ended. The core has the time limit: it kills the worker when the limit is over, and the command is
//! killed with the worker.

use super::command::{CarriedHelper, CommandFailure, HelperProcess};
use super::launch_context::{self, LaunchContext, NotStarted};
use super::luggage::{Packing, Unpacking};
use super::reactor::{Reactor, Source};
use crate::spec::exec::ExecSpec;
use crate::supervision::{Event, Run};
use serde::{Deserialize, Serialize};
use slog::warn;
use std::collections::HashMap;

/// The commands that run now, by the run of their worker.
#[derive(Default)]
pub(super) struct Beside {
    of: HashMap<Run, Running>,
}

struct Running {
    purpose: CommandPurpose,
    process: HelperProcess,
    path: String,
    /// The worker has exited or was killed, so how the command ends does not matter any more.
    over: bool,
}

/// What a command is for. Each purpose is a key of the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CommandPurpose {
    Stop,
    Hang,
}

impl CommandPurpose {
    fn key(self) -> &'static str {
        match self {
            CommandPurpose::Stop => "stop-command",
            CommandPurpose::Hang => "on-hang",
        }
    }

    fn command(self, exec: &ExecSpec) -> Option<&[String]> {
        match self {
            CommandPurpose::Stop => exec.stop_command.as_deref(),
            CommandPurpose::Hang => exec.on_hang.as_deref(),
        }
    }

    /// The event for the core when such a command has ended. `None` if nothing follows from its end.
    fn event(self, run: Run, failed: bool) -> Option<Event> {
        match self {
            // The command has failed, so the worker does not know that it is to stop.
            CommandPurpose::Stop => failed.then_some(Event::StopRefused(run)),
            CommandPurpose::Hang => Some(Event::Examined(run)),
        }
    }
}

/// The running commands in the snapshot of a hot upgrade.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CarriedBeside(Vec<(Run, CarriedCommand)>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedCommand {
    purpose: CommandPurpose,
    process: CarriedHelper,
    path: String,
    over: bool,
}

/// The result of reading from a command.
#[derive(Default)]
pub(super) struct Read {
    pub event: Option<Event>,
    /// What the `on-hang` command has printed about its worker.
    pub lines: Vec<Vec<u8>>,
    /// The command has ended, and the worker's exit may have waited for that.
    pub was_last: bool,
}

impl Beside {
    /// Whether a hot upgrade is possible now: each command's process has executed its program.
    pub(super) fn can_go_over(&self) -> bool {
        self.of.values().all(|running| running.process.can_go_over())
    }

    /// Writes the running commands into the snapshot of a hot upgrade.
    pub(super) fn pack(&self, packing: &mut Packing<'_>) -> CarriedBeside {
        let Beside { of } = self;
        let mut one = |Running { purpose, process, path, over }: &Running| CarriedCommand {
            purpose: *purpose,
            process: process.pack(&format!("the {} of {path}", purpose.key()), packing),
            path: path.clone(),
            over: *over,
        };
        let mut all: Vec<_> = of.iter().map(|(run, running)| (*run, one(running))).collect();
        all.sort_by_key(|(run, _)| *run);
        CarriedBeside(all)
    }

    /// Takes the running commands over from the snapshot.
    pub(super) fn unpack(carried: CarriedBeside, unpacking: &mut Unpacking<'_>, reactor: &mut Reactor) -> Beside {
        let mut one = |run, CarriedCommand { purpose, process, path, over }| {
            let process = HelperProcess::unpack(process, Source::Beside(run), unpacking, reactor);
            Running { purpose, process, path, over }
        };
        Beside { of: carried.0.into_iter().map(|(run, command)| (run, one(run, command))).collect() }
    }

    /// Asks a worker to stop by its `stop-command`. Returns `None` if the worker has none; the caller sends a signal
    /// then. Otherwise the event to hand in if the command cannot be run.
    pub(super) fn ask_to_stop(&mut self, run: Run, launch: &mut LaunchContext<'_>) -> Option<Option<Event>> {
        let worker = launch.children.get(run.child).filter(|child| child.is_of(run));
        let has_one = worker.and_then(|child| child.exec()).is_some_and(|exec| exec.stop_command.is_some());
        if !has_one {
            return None;
        }
        if self.of.contains_key(&run) {
            return Some(None);
        }
        if let Some(worker) = worker {
            worker.resume(run);
        }
        Some(self.begin(run, CommandPurpose::Stop, launch))
    }

    /// Runs the `on-hang` command of a hung worker. Returns the event to hand in if the command cannot be run.
    pub(super) fn examine(&mut self, run: Run, launch: &mut LaunchContext<'_>) -> Option<Event> {
        self.begin(run, CommandPurpose::Hang, launch)
    }

    fn begin(&mut self, run: Run, purpose: CommandPurpose, launch: &mut LaunchContext<'_>) -> Option<Event> {
        let worker = launch.children.get(run.child).filter(|child| child.is_of(run));
        let Some((worker, exec)) = worker.and_then(|child| Some((child, child.exec()?))) else {
            return purpose.event(run, true);
        };
        let Some(command) = purpose.command(exec) else { return purpose.event(run, true) };
        let path = worker.path.to_string();
        match launch_context::start(run, exec, command, Source::Beside(run), launch) {
            Ok(mut process) => {
                if purpose == CommandPurpose::Hang {
                    process.keep_lines();
                }
                self.of.insert(run, Running { purpose, process, path, over: false });
                None
            }
            Err(NotStarted { why, .. }) => {
                warn!(launch.context.logger, "the {} of a worker cannot be run, the worker is killed", purpose.key();
                    "path" => path, "why" => why);
                purpose.event(run, true)
            }
        }
    }

    /// The process or the output of a command is ready to be read.
    pub(super) fn read(&mut self, run: Run, launch: &mut LaunchContext<'_>) -> Read {
        let Some(running) = self.of.get_mut(&run) else { return Read::default() };
        let Some(result) = running.process.look(launch.context, launch.reactor) else { return Read::default() };
        let lines = running.process.take_lines();
        let Some(Running { purpose, path, over, .. }) = self.of.remove(&run) else { return Read::default() };
        let failed = result.is_err();
        if let (Err(CommandFailure { why, .. }), false) = (result, over) {
            warn!(launch.context.logger, "the {} of a worker has failed, the worker is killed", purpose.key();
                "path" => path, "why" => why);
        }
        let event = if over { None } else { purpose.event(run, failed) };
        Read { event, lines, was_last: true }
    }

    /// The worker has exited or was killed: kills the command that runs beside it.
    pub(super) fn end(&mut self, run: Run, launch: &mut LaunchContext<'_>) {
        let Some(running) = self.of.get_mut(&run).filter(|running| !running.over) else { return };
        running.over = true;
        if running.purpose == CommandPurpose::Hang {
            warn!(launch.context.logger, "the {} of a worker is ended with it", running.purpose.key();
                "path" => &running.path);
        }
        if let Some(why) = running.process.kill("its worker is gone".into()) {
            warn!(launch.context.logger, "the {} of a worker cannot be killed", running.purpose.key();
                "path" => &running.path, "pid" => running.process.pid(), "why" => why);
        }
    }

    /// Whether a command still runs beside the worker, so that the worker's exit has to wait for it.
    pub(super) fn is_ending(&self, run: Run) -> bool {
        self.of.contains_key(&run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::node::testing;
    use crate::os::clock;
    use crate::supervision::ChildId;
    use crate::time::{Span, Time};

    const RUN: Run = Run { child: ChildId(0), incarnation: Incarnation::FIRST };

    #[test]
    fn a_stop_that_fails_is_refused_and_a_look_is_over_however_it_ends() {
        for (purpose, failed, event) in [
            (CommandPurpose::Stop, false, None),
            (CommandPurpose::Stop, true, Some(Event::StopRefused(RUN))),
            (CommandPurpose::Hang, false, Some(Event::Examined(RUN))),
            (CommandPurpose::Hang, true, Some(Event::Examined(RUN))),
        ] {
            assert_eq!(purpose.event(RUN, failed), event, "{purpose:?}, failed: {failed}");
        }
    }

    #[test]
    fn a_command_ends_with_its_worker_and_a_worker_without_one_is_sent_a_signal() {
        let (context, mut reactor, mut beside) = (testing::context(), testing::reactor(), Beside::default());
        let children = testing::children("name = \"test\"\n[[child]]\nname = \"a\"\ncommand = [\"a\"]", &context);
        let stamp = children.get(RUN.child).unwrap().stamp_of_probe(&context.place.mark);
        let process = HelperProcess::asleep(stamp, Source::Beside(RUN), &mut reactor);
        let endpoint = std::path::Path::new("/nowhere");
        let mut launch = LaunchContext { context: &context, reactor: &mut reactor, children: &children, endpoint };
        assert_eq!(beside.ask_to_stop(RUN, &mut launch), None, "it has no stop-command");
        let running = Running { purpose: CommandPurpose::Hang, process, path: "/a".into(), over: false };
        beside.of.insert(RUN, running);
        beside.end(RUN, &mut launch);
        while beside.is_ending(RUN) {
            assert!(context.now() < Time::ZERO + Span::from_secs(60), "it was killed");
            assert_eq!(beside.read(RUN, &mut launch).event, None, "its end does not matter any more");
            clock::pause(Span::from_millis(1));
        }
    }

    #[test]
    fn each_runs_the_command_of_its_key() {
        let text = "name = \"test\"\n[[child]]\nname = \"a\"\ncommand = [\"run\"]\n\
                    heartbeat = { interval = \"1s\", misses = 3 }\n\
                    stop-command = [\"ask\", \"it\"]\non-hang = [\"look\"]\n";
        let children = testing::children(text, &testing::context());
        let exec = children.get(RUN.child).and_then(|child| child.exec()).unwrap();
        for purpose in [CommandPurpose::Stop, CommandPurpose::Hang] {
            let line = text.lines().find(|line| line.starts_with(purpose.key())).unwrap();
            assert!(line.contains(&format!("{:?}", purpose.command(exec).unwrap()[0])), "{line}");
        }
    }
}
