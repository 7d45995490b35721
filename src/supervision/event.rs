//! What comes into the core: facts about children, and what people and the parent want.

use super::report::StopCause;
use super::rollup::Rollup;
use crate::ids::{Incarnation, Name, ReportId};
use crate::spec::policy::{ChildPolicy, Heartbeat, SupervisorPolicy};
use crate::time::Span;
use std::fmt;
use std::sync::Arc;

/// A child within its supervisor: given once, never given again, so that nothing is keyed by a pid or a position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u32);

/// A request that waits for its [`Answer`](super::action::Answer); the shell chooses the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Which run of which child a fact is about. What belongs to an earlier run is counted and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The child.
    pub child: ChildId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// Whether a child is a leaf or a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A user's program.
    Worker,
    /// A supervisor process with children of its own. Its start is over when its whole subtree is up (R6).
    Supervisor,
}

/// What the core knows of a child: never a command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Unique among siblings.
    pub name: Name,
    /// Leaf or node.
    pub kind: Kind,
    /// Stands for all of its spec that its process cannot be told while it runs: of two specs with the same revision the
    /// second one is taken over in place, with another one the process must be replaced. The shell makes it.
    pub revision: u64,
    /// When to restart it, how to stop it, how to tell life from death. Children that differ in name only share one.
    pub policy: Arc<ChildPolicy>,
}

impl Member {
    /// Whether a process of `other` cannot be one of this: the child must be restarted to become it.
    pub fn is_another(&self, other: &Member) -> bool {
        (self.revision, self.kind) != (other.revision, other.kind)
    }

    /// Whether nothing differs but the number of the `count`, which changes with those written before it.
    pub fn is_same(&self, other: &Member) -> bool {
        let alike = || ChildPolicy { group: other.policy.group, ..(*self.policy).clone() } == *other.policy;
        self == other || (!self.is_another(other) && self.name == other.name && alike())
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// Counts up within one connection; 0 when the sender does not count. A number that is not above the last one
    /// of its connection is an old beat and no sign of life.
    pub seq: u64,
    /// On which connection it has come.
    pub connection: Connection,
    /// How much has been done so far, by the child's own reckoning.
    pub progress: Option<u64>,
    /// How much is waiting to be done; with 0 a progress counter may stand still.
    pub pending: Option<u64>,
    /// The child announces that it may be silent for this long (a lease).
    pub busy_for: Option<Span>,
    /// What the child says of itself, a short text.
    pub status: Option<String>,
    /// From a node: its subtree, folded.
    pub rollup: Option<Rollup>,
    /// By which way it has come.
    pub source: Source,
}

/// One connection of a sender of beats. The programs that a worker runs one after the other have one each, and each of them
/// counts its beats from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connection {
    /// Tells it from the others of its child.
    pub number: u64,
    /// The sender has chosen its name, and may come back under it on another connection: a count that begins again at 1
    /// is a new one.
    pub named: bool,
}

/// By which way a beat has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Source {
    /// By the node's own endpoint.
    #[default]
    Zmq,
    /// By sd_notify.
    Notify,
    /// By the nth of the sockets that are for this child alone, the origin's way.
    Push(u16),
    /// As a good answer to the nth of the probes of this child. What was asked is the shell's business.
    Probe(u16),
}

/// What a worker says of itself besides that it lives or is ready: sd_notify(3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// Where it stands.
    pub word: Option<Word>,
    /// A text for people; an empty one takes the last one back.
    pub status: Option<String>,
    /// Which of its processes is the main one, for people. The shell has seen that it is one of them.
    pub main_pid: Option<u32>,
    /// Why it fails, in words.
    pub trouble: Option<String>,
    /// From now on a silence of this length is a hang.
    pub limit: Option<Span>,
    /// What it does now, its start, its stop or its work, may take this long from now.
    pub extend: Option<Span>,
    /// It hangs, by its own word: treat it so now.
    pub hung: bool,
}

/// How much of what one sender has sent was dropped since it was last told of, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Messages that were not understood.
    pub malformed: u64,
    /// Messages with a token that is nobody's, or not the sender's.
    pub unknown_token: u64,
    /// Messages above the number that one worker may send in a second.
    pub too_many: u64,
    /// Messages with too many parts or bytes.
    pub too_long: u64,
    /// Notifications to a worker's socket by processes that are not the worker's.
    pub by_strangers: u64,
    /// Connections above the number that one process may have; they were closed.
    pub connections: u64,
}

/// Where a worker stands, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Its start or its reloading is over.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It winds itself up.
    Stopping,
}

impl Word {
    /// The stable word of `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Ready => "ready",
            Word::Reloading => "reloading",
            Word::Stopping => "stopping",
        }
    }
}

/// Why a start did not come to pass, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// Which step failed, such as "exec".
    pub stage: String,
    /// The system's error number; 0 where there is none.
    pub errno: i32,
    /// The whole of it in words, such as "executing ./api: No such file or directory".
    pub message: String,
}

/// What a closer look at a child that is overdue has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// Nothing speaks for it: it is hung. A process that is merely stopped by SIGSTOP is hung as well. What it was seen
    /// to do, in words that can follow its name, such as "was stopped by a signal".
    Hung(Option<String>),
    /// It could run and was given no CPU time for most of its silence. It is reported and spared, though not for ever: what
    /// keeps it from running may be its own subtree.
    Starved(String),
    /// Somebody holds it on purpose, for instance "held by the debugger with pid 17" or "its cgroup is frozen". It is
    /// reported and spared; the look is repeated after another interval.
    Held(String),
}

/// A process that SIGKILL has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Its number, for reports only.
    pub pid: u32,
    /// How many there are besides.
    pub others: u32,
    /// Why, by the kernel's word, such as "it is stuck in the kernel (state D)".
    pub why: String,
}

/// What an operator asks of this supervisor. Each is answered once, by [`Action::Answer`](super::Action::Answer).
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// OTP's terminate_child (R64, R65): stops one child, which then stays down until it is started again (D2).
    Terminate(ChildId),
    /// OTP's restart_child (R66): starts one idle child.
    Restart(ChildId),
    /// `treevisor restart` (D9): stops the child if it runs, then starts it, alone and uncharged; starts what was
    /// stopped, held or has ended.
    Cycle(ChildId),
    /// OTP's delete_child (R67): forgets an idle child.
    Delete(ChildId),
    /// OTP's start_child (R62, R63): adds a child at the end of the start order and starts it. The id that it got is
    /// told by [`Supervisor::find`](super::Supervisor::find).
    Start(Box<Member>),
    /// Kills the child with all that is below it, now. Its end then counts as an abnormal exit (D10).
    Panic {
        /// The child.
        child: ChildId,
        /// Leave it down instead (R64 with brutal_kill).
        hold: bool,
    },
    /// `treevisor reset`: forgets how often a child has failed, so that its back-off begins anew, and ends the wait that
    /// it is in. Without a child, does so for all of them, and empties the window.
    Reset(Option<ChildId>),
}

/// A new set of children. It waits for its turn like a request, and is answered like one: `Ok` when all stops and starts
/// are over, `StartFailed` with the names of those that could not be started, which stay down.
#[derive(Debug, Clone, PartialEq)]
pub struct Reload {
    /// For the answer, and for [`Action::Renew`](super::Action::Renew).
    pub request: RequestId,
    /// Who asks, for reports.
    pub by: String,
    /// The number of the reload in the life of the tree, for reports.
    pub generation: u64,
    /// The supervisor's own new policy; `None` leaves it.
    pub own: Option<Own>,
    /// The children that are to be, in start order. Names are unique.
    pub members: Vec<Member>,
    /// Who is to go for not being among them.
    pub scope: Scope,
}

/// A supervisor's own part of a [`Reload`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Own {
    /// How it supervises from now on.
    pub policy: SupervisorPolicy,
    /// What it promises to its own parent from now on.
    pub uplink: Option<Heartbeat>,
}

/// Whom a [`Reload`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All children: who is not listed goes, but for those that were added while the tree ran, unless `prune` is set.
    All {
        /// Those that were added go as well.
        prune: bool,
    },
    /// The workers of one `count`: those that are listed and there stay as they are.
    Count(u32),
    /// This child; it goes when nobody is listed.
    Child(ChildId),
}

/// Who wants this supervisor to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The parent's request, a signal to the root, or `treevisor stop`: the end is [`End::Stopped`](super::End).
    Asked,
    /// A SIGTERM that did not come from the parent (D7): stop in order, then end so that the parent sees a crash.
    Stranger,
}

/// Everything that can happen to a supervisor.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The supervisor's life begins: start the children (R6). Handed in once, first.
    Begin,
    /// An [`Action::Spawn`](super::Action::Spawn) has become a process.
    Spawned {
        /// Which one.
        run: Run,
        /// Its process id, for reports only.
        pid: u32,
    },
    /// An `Action::Spawn` has failed; there is no process.
    SpawnFailed {
        /// Which one.
        run: Run,
        /// Why.
        failure: StartFailure,
    },
    /// The child says that it is ready; from a node, that all below it is up.
    Ready(Run),
    /// A beat has come. The shell has checked token and incarnation.
    Beat(Run, Box<Beat>),
    /// A worker says something of itself. The shell has checked that it is the worker who says it.
    Notice(Run, Box<Notice>),
    /// The shell has dropped what somebody sent; it decides nothing, and is told.
    Dropped {
        /// The child whose processes have sent it; `None` where they are no child's.
        by: Option<Run>,
        /// Which process it was, where that is known.
        sender: Option<String>,
        /// How much, by reason.
        dropped: Box<Dropped>,
    },
    /// A node is about to give up and says why. The exit decides, this only explains.
    Escalating {
        /// The node.
        run: Run,
        /// The node's own report of it.
        cause: Option<ReportId>,
        /// Its explanation.
        explanation: String,
    },
    /// The process has ended **and** nothing that belonged to it is left (D13).
    Exited {
        /// Which one.
        run: Run,
        /// How.
        exit: Exit,
    },
    /// What was to be killed is still there after the shell's patience: the child's process, or, where `exit` tells how
    /// that has ended, processes that it has left. For all that waits for it the child has ended with this; only a new
    /// process of it has to wait until [`Event::Exited`] says that nothing is left. At most once for a run.
    KillFailed {
        /// Which one.
        run: Run,
        /// How its own process has ended, if it has.
        exit: Option<Exit>,
        /// What is left of it.
        stuck: Stuck,
    },
    /// Answers [`Action::Inspect`](super::Action::Inspect).
    Inspected(Run, Inspected),
    /// An operator asks for something.
    Asked {
        /// For the answer.
        request: RequestId,
        /// What.
        command: Command,
        /// Who asks, for reports, such as "uid 1000".
        by: String,
    },
    /// Somebody other than the parent wants this supervisor to end: told, and named as the cause of what the
    /// [`Event::Stop`] or [`Event::StopNow`] that follows leads to. By itself it changes nothing.
    Ordered {
        /// Who, and how.
        why: StopCause,
        /// At once, without asking anybody.
        kill: bool,
    },
    /// There is a new set of children (R72 to R76, D8).
    Reloaded(Box<Reload>),
    /// End in order (R53). Cuts a running sequence at its next step (D5).
    Stop(StopReason),
    /// End now: kill all children at once. After [`Event::Stop`] it hurries the stop on; alone it is a panic of the
    /// whole subtree.
    StopNow,
    /// Our own parent is gone (R60); all children are killed.
    ParentLost,
    /// Time has come to look at the deadlines. Without a deadline that is due nothing happens. Handed in last in a
    /// turn, after all pending input.
    Tick {
        /// Time during which this process did not run although it should have; every deadline of a child moves by it.
        lost: Span,
    },
}

impl Exit {
    /// Whether this is OTP's `normal` (otp.md section 11): one of the codes that count as success.
    pub fn is_normal(self, success_codes: &[i32]) -> bool {
        matches!(self, Exit::Code(code) if success_codes.contains(&code))
    }
}

impl fmt::Display for Stuck {
    /// A sentence without its end: "process 17 cannot be killed: it is stuck in the kernel (state D)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} cannot be killed: {}", self.pid, self.why)?;
        match self.others {
            0 => Ok(()),
            1 => f.write_str("; 1 other process is left as well"),
            others => write!(f, "; {others} other processes are left as well"),
        }
    }
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child{}", self.0)
    }
}
