//! Commands that run beside a worker, as the worker's user and in its place: the one that asks it to stop, and the one
//! that looks at it when it hangs. Of each worker there is one at most. As a probe, it is a child of this node: the
//! worker's exit waits for its end. How long it may take is for the core: it kills the worker then, and what is beside
//! it ends with it.

use super::command::{CarriedHelper, CommandFailure, HelperProcess};
use super::luggage::{Packing, Unpacking};
use super::means::{self, Means, NotStarted};
use super::reactor::{Reactor, Source};
use crate::spec::exec::ExecSpec;
use crate::supervision::{Event, Run};
use serde::{Deserialize, Serialize};
use slog::warn;
use std::collections::{HashMap, VecDeque};

/// The commands that run.
#[derive(Default)]
pub(super) struct Beside {
    of: HashMap<Run, Running>,
}

struct Running {
    purpose: Purpose,
    process: HelperProcess,
    path: String,
    /// The worker has ended, or is killed: how the command ends does not matter any more.
    over: bool,
}

/// What a command is for: its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Purpose {
    Stop,
    Hang,
}

impl Purpose {
    fn key(self) -> &'static str {
        match self {
            Purpose::Stop => "stop-command",
            Purpose::Hang => "on-hang",
        }
    }

    fn command(self, exec: &ExecSpec) -> Option<&[String]> {
        match self {
            Purpose::Stop => exec.stop_command.as_deref(),
            Purpose::Hang => exec.on_hang.as_deref(),
        }
    }

    /// What follows from the end of one.
    fn event(self, run: Run, failed: bool) -> Option<Event> {
        match self {
            // The worker was not asked to stop.
            Purpose::Stop => failed.then_some(Event::StopRefused(run)),
            Purpose::Hang => Some(Event::Examined(run)),
        }
    }
}

/// All of them as another image of the program goes on with them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CarriedBeside(Vec<(Run, CarriedCommand)>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedCommand {
    purpose: Purpose,
    process: CarriedHelper,
    path: String,
    over: bool,
}

/// What has come of a command.
#[derive(Default)]
pub(super) struct Read {
    pub event: Option<Event>,
    /// What it has seen of its worker.
    pub lines: Vec<Vec<u8>>,
    /// The worker's end has waited for it.
    pub was_last: bool,
}

impl Beside {
    /// Whether they can go over to another image of the program now.
    pub(super) fn can_go_over(&self) -> bool {
        self.of.values().all(|running| running.process.can_go_over())
    }

    /// What goes over.
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

    /// Goes on with those of another image.
    pub(super) fn unpack(carried: CarriedBeside, unpacking: &mut Unpacking<'_>, reactor: &mut Reactor) -> Beside {
        let mut one = |run, CarriedCommand { purpose, process, path, over }| {
            let process = HelperProcess::unpack(process, Source::Beside(run), unpacking, reactor);
            Running { purpose, process, path, over }
        };
        Beside { of: carried.0.into_iter().map(|(run, command)| (run, one(run, command))).collect() }
    }

    /// Asks a worker to stop by its command. False where it has none; then it gets a signal.
    pub(super) fn ask_to_stop(&mut self, run: Run, means: &mut Means<'_>, events: &mut VecDeque<Event>) -> bool {
        let worker = means.children.get(run.child).filter(|child| child.is_of(run));
        let has_one = worker.and_then(|child| child.exec()).is_some_and(|exec| exec.stop_command.is_some());
        if has_one && !self.of.contains_key(&run) {
            if let Some(worker) = worker {
                worker.resume(run);
            }
            events.extend(self.begin(run, Purpose::Stop, means));
        }
        has_one
    }

    /// Looks at a worker that hangs. Gives what is to be handed in where that cannot be done.
    pub(super) fn examine(&mut self, run: Run, means: &mut Means<'_>) -> Option<Event> {
        self.begin(run, Purpose::Hang, means)
    }

    fn begin(&mut self, run: Run, purpose: Purpose, means: &mut Means<'_>) -> Option<Event> {
        let worker = means.children.get(run.child).filter(|child| child.is_of(run));
        let Some((worker, exec)) = worker.and_then(|child| Some((child, child.exec()?))) else {
            return purpose.event(run, true);
        };
        let Some(command) = purpose.command(exec) else { return purpose.event(run, true) };
        let path = worker.path.to_string();
        match means::start(run, exec, command, Source::Beside(run), means) {
            Ok(mut process) => {
                if purpose == Purpose::Hang {
                    process.keep_lines();
                }
                self.of.insert(run, Running { purpose, process, path, over: false });
                None
            }
            Err(NotStarted { why, .. }) => {
                warn!(means.context.logger, "the {} of a worker cannot be run, the worker is killed", purpose.key();
                    "path" => path, "why" => why);
                purpose.event(run, true)
            }
        }
    }

    /// Something of a command is ready.
    pub(super) fn read(&mut self, run: Run, means: &mut Means<'_>) -> Read {
        let Some(running) = self.of.get_mut(&run) else { return Read::default() };
        let Some(result) = running.process.look(means.context, means.reactor) else { return Read::default() };
        let lines = running.process.take_lines();
        let Some(Running { purpose, path, over, .. }) = self.of.remove(&run) else { return Read::default() };
        let failed = result.is_err();
        if let (Err(CommandFailure { why, .. }), false) = (result, over) {
            warn!(means.context.logger, "the {} of a worker has failed, the worker is killed", purpose.key();
                "path" => path, "why" => why);
        }
        let event = if over { None } else { purpose.event(run, failed) };
        Read { event, lines, was_last: true }
    }

    /// The worker has ended, or is killed: what still runs beside it ends too.
    pub(super) fn end(&mut self, run: Run, means: &mut Means<'_>) {
        let Some(running) = self.of.get_mut(&run).filter(|running| !running.over) else { return };
        running.over = true;
        if running.purpose == Purpose::Hang {
            warn!(means.context.logger, "the {} of a worker is ended with it", running.purpose.key();
                "path" => &running.path);
        }
        if let Some(why) = running.process.kill("its worker is gone".into()) {
            warn!(means.context.logger, "the {} of a worker cannot be killed", running.purpose.key();
                "path" => &running.path, "pid" => running.process.pid(), "why" => why);
        }
    }

    /// Whether the end of a worker has to wait for one.
    pub(super) fn is_ending(&self, run: Run) -> bool {
        self.of.contains_key(&run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::node::testing;
    use crate::supervision::ChildId;

    const RUN: Run = Run { child: ChildId(0), incarnation: Incarnation::FIRST };

    #[test]
    fn a_stop_that_fails_is_refused_and_a_look_is_over_however_it_ends() {
        for (purpose, failed, event) in [
            (Purpose::Stop, false, None),
            (Purpose::Stop, true, Some(Event::StopRefused(RUN))),
            (Purpose::Hang, false, Some(Event::Examined(RUN))),
            (Purpose::Hang, true, Some(Event::Examined(RUN))),
        ] {
            assert_eq!(purpose.event(RUN, failed), event, "{purpose:?}, failed: {failed}");
        }
    }

    #[test]
    fn each_runs_the_command_of_its_key() {
        let text = "name = \"test\"\n[[child]]\nname = \"a\"\ncommand = [\"run\"]\n\
                    heartbeat = { interval = \"1s\", misses = 3 }\n\
                    stop-command = [\"ask\", \"it\"]\non-hang = [\"look\"]\n";
        let children = testing::children(text, &testing::context());
        let exec = children.get(RUN.child).and_then(|child| child.exec()).unwrap();
        for purpose in [Purpose::Stop, Purpose::Hang] {
            let line = text.lines().find(|line| line.starts_with(purpose.key())).unwrap();
            assert!(line.contains(&format!("{:?}", purpose.command(exec).unwrap()[0])), "{line}");
        }
    }
}
