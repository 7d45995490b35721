//! The keeper: a small process beside the root that outlives it.
//!
//! A root that is killed cannot clean up. Its nodes and workers die with it by their parent-death signals, but a daemon
//! that has left its session does not, and neither sockets nor cgroups go away by themselves. The keeper waits for one
//! thing, the root's end. When the root had said goodbye before, it goes quietly; otherwise it kills what is left of the
//! tree, by cgroup where there is one, else by the mark that every process of the tree carries in its environment, and
//! removes the tree's files. The root watches the keeper in turn and starts another one when it is gone.

use super::turn::{Node, Source};
use crate::ids::Path;
use crate::link::runtime::RuntimeDir;
use crate::os::cgroup::Group;
use crate::os::clock::{self, Clock};
use crate::os::descendants::{self, Mark, Scope};
use crate::os::lock::LockFile;
use crate::os::pidfd::PidFd;
use crate::os::spawn::{self, PlanSpec};
use crate::os::{fd, process};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use slog::{error, warn};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

/// Where the keeper finds its record, and the pipe from the root.
const RECORD_FD: RawFd = 3;
const GOODBYE_FD: RawFd = 4;

/// What has not died of SIGKILL after this long will not die by our hand.
const PATIENCE: Span = Span::from_secs(5);

/// What the keeper must know.
#[derive(Serialize, Deserialize)]
struct Record {
    root: u32,
    runtime: PathBuf,
    mark: String,
    cgroup: Option<PathBuf>,
}

/// The keeper as the root holds it.
pub(super) struct Keeper {
    pid: u32,
    pidfd: PidFd,
    goodbye: OwnedFd,
    tag: Option<crate::os::epoll::Tag>,
    record: Record,
}

impl Keeper {
    pub fn start(
        runtime: &RuntimeDir,
        mark: &Mark,
        cgroup: Option<&std::path::Path>,
    ) -> Result<Keeper, Box<dyn std::error::Error>> {
        let record = Record {
            root: std::process::id(),
            runtime: runtime.path().to_path_buf(),
            mark: mark.to_string(),
            cgroup: cgroup.map(std::path::Path::to_path_buf),
        };
        Keeper::spawn(record)
    }

    fn spawn(record: Record) -> Result<Keeper, Box<dyn std::error::Error>> {
        let memory = fd::memfd_with("treevisor-keeper", &serde_json::to_vec(&record)?)?;
        let (reader, writer) = fd::pipe()?;
        let stderr = io::stderr();
        let plan = spawn::prepare(PlanSpec {
            argv: vec![process::self_exe().into(), "keeper".into(), record.runtime.clone().into()],
            env: std::env::vars_os().collect(),
            pid_variable: None,
            cwd: Some("/".into()),
            credentials: None,
            umask: None,
            limits: BTreeMap::new(),
            nice: None,
            stdout: None,
            stderr: Some(stderr.as_fd()),
            extra: vec![(memory.as_fd(), RECORD_FD), (reader.as_fd(), GOODBYE_FD)],
            // It is there for the case in which we are gone.
            parent_death_signal: None,
            new_session: true,
            cgroup: None,
        })?;
        let spawned = plan.spawn()?;
        Ok(Keeper { pid: spawned.pid, pidfd: spawned.pidfd, goodbye: writer, tag: None, record })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Says that the tree has ended in order, and waits a moment for the keeper to go.
    pub fn dismiss(self, limit: Span) {
        let mut goodbye = std::fs::File::from(self.goodbye);
        // A keeper that is gone already needs no goodbye.
        let _ = goodbye.write_all(b"q");
        drop(goodbye);
        if !self.pidfd.wait_exit(limit) {
            let _ = self.pidfd.signal(9);
            self.pidfd.wait_exit(limit);
        }
        let _ = self.pidfd.wait();
    }
}

impl Node {
    pub(super) fn watch_keeper(&mut self) -> Result<(), crate::os::epoll::PollError> {
        let Some(fd) = self.keeper.as_ref().map(|keeper| keeper.pidfd.as_raw_fd()) else { return Ok(()) };
        let tag = self.watch(fd, Source::Keeper)?;
        if let Some(keeper) = &mut self.keeper {
            keeper.tag = Some(tag);
        }
        Ok(())
    }

    /// The keeper has ended although nobody dismissed it: another one takes its place, a second later at the earliest.
    pub(super) fn keeper_ended(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        if !matches!(keeper.pidfd.wait(), Ok(Some(_))) {
            return;
        }
        warn!(self.logger, "the keeper was killed, another one is started"; "pid" => keeper.pid);
        let (fd, tag) = (keeper.pidfd.as_raw_fd(), keeper.tag);
        if let Some(tag) = tag {
            self.unwatch(fd, tag);
        }
        self.restart_keeper();
    }

    pub(super) fn restart_keeper(&mut self) {
        let Some(old) = self.keeper.take() else { return };
        let Keeper { record, pid, pidfd, goodbye, .. } = old;
        let again = Record {
            root: record.root,
            runtime: record.runtime.clone(),
            mark: record.mark.clone(),
            cgroup: record.cgroup.clone(),
        };
        match Keeper::spawn(record) {
            Ok(keeper) => {
                let runtime = &self.place.runtime;
                let noted = runtime.read_instance().and_then(|mut file| {
                    file.keeper_pid = Some(keeper.pid);
                    runtime.write_instance(&file)
                });
                if let Err(error) = noted {
                    warn!(self.logger, "cannot write the new keeper into the instance file"; "error" => %error);
                }
                self.keeper = Some(keeper);
                if let Err(error) = self.watch_keeper() {
                    error!(self.logger, "cannot watch the keeper"; "error" => %error);
                }
            }
            Err(error) => {
                error!(self.logger, "cannot start the keeper, trying again"; "error" => %error);
                // Kept as a place-holder with its record; its process is long gone.
                self.keeper = Some(Keeper { pid, pidfd, goodbye, tag: None, record: again });
                self.timers.keeper = Some(self.clock.now() + Span::from_secs(1));
            }
        }
    }
}

/// The keeper's own life. Returns its exit status.
pub fn run() -> i32 {
    match watch_root() {
        Ok(()) => 0,
        Err(error) => {
            fd::complain(format_args!("treevisor: the keeper cannot do its work: {error}"));
            1
        }
    }
}

fn watch_root() -> io::Result<()> {
    let mut text = String::new();
    std::fs::File::from(fd::inherited(RECORD_FD)?).read_to_string(&mut text)?;
    let record: Record = serde_json::from_str(&text)?;
    let goodbye = fd::inherited(GOODBYE_FD)?;
    // Whoever stops the tree by a signal to everybody must not stop the one who cleans up.
    crate::os::signals::ignore_all_stopping()?;
    process::set_name("tv-keeper");
    // Opened while the pipe is open at the other end, so it is the root and not a later process with its number.
    let root = PidFd::open(record.root);

    let mut said_goodbye = false;
    match &root {
        Ok(root) => {
            // The pipe ends with the root as well, but it also ends when the root has closed it for any other reason:
            // only the process's own end counts.
            fd::wait_readable_any(&[root.as_fd(), goodbye.as_fd()], None)?;
            said_goodbye |= read_goodbye(&goodbye);
            if !said_goodbye {
                root.wait_exit_forever();
                said_goodbye |= read_goodbye(&goodbye);
            }
        }
        // It is gone already.
        Err(_) => said_goodbye |= read_goodbye(&goodbye),
    }
    if said_goodbye {
        return Ok(());
    }

    clear_tree(record.cgroup.as_deref(), &record.mark);
    let runtime = RuntimeDir::at(record.runtime);
    // Whoever has started the instance anew meanwhile has cleared the files himself.
    if let Ok(lock) = LockFile::acquire(&runtime.lock_file()) {
        let ours = runtime.read_instance().is_ok_and(|file| file.mark == record.mark);
        if ours {
            runtime.remove();
        }
        lock.release();
    }
    Ok(())
}

/// Whether the root has said that it ends in order.
fn read_goodbye(pipe: &OwnedFd) -> bool {
    if fd::set_nonblocking(pipe.as_fd(), true).is_err() {
        return false;
    }
    let mut byte = [0];
    pipe.try_clone().map(std::fs::File::from).is_ok_and(|mut file| matches!(file.read(&mut byte), Ok(1)))
}

/// Kills what is left of a tree and removes its cgroups. Blocks, but no longer than [`PATIENCE`].
pub(super) fn clear_tree(cgroup: Option<&std::path::Path>, mark: &str) {
    let clock = Clock::start();
    let end = Time::ZERO + PATIENCE;
    if let Some(Ok(group)) = cgroup.map(Group::open) {
        while group.populated() && clock.now() < end {
            let _ = group.kill();
            clock::pause(Span::from_millis(1));
        }
        group.remove_all();
    }
    let Ok(mark) = Mark::parse(mark) else { return };
    let root = Path::root();
    let scope = Scope { root_pid: None, mark: &mark, within: &root, spare: &[std::process::id()] };
    while descendants::kill_pass(&scope) > 0 && clock.now() < end {
        clock::pause(Span::from_millis(2));
    }
}
