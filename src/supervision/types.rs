//! Plain types that the rest of the room is made of: which child, which run of it, how it ended, why it is stopped.

use crate::ids::Incarnation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A child within its supervisor. An id is assigned once and never used again, so nothing is keyed by a pid or a
/// position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u32);

/// A request that waits for its [`Answer`](super::action::Answer); the shell chooses the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Which run of which child a fact is about. What belongs to an earlier run is counted and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// As its supervisor numbers it.
    pub child: ChildId,
    /// Counts its processes from 1.
    pub incarnation: Incarnation,
}

/// Whether a child is a leaf or a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A program of the user's, without children here.
    Worker,
    /// A supervisor process with children of its own. Its start is over when its whole subtree is up (R6).
    Supervisor,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal, in Linux's numbers.
    Signal(i32),
    /// The exit status is unknown: the process was the child of another process. Does not count as OTP's `normal`.
    Unknown,
    /// The process ended with its host: the host was lost, or ended the process to keep its lease safe. Does not count
    /// as OTP's `normal`, and is not charged to the restart intensity.
    HostLost,
}

/// One connection of a sender of beats. A worker may run several programs one after the other: each has a connection of
/// its own, and counts its beats from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connection {
    /// Distinguishes this connection from the child's others.
    pub number: u64,
    /// The sender has chosen its ZeroMQ identity, and may use it again on another connection: a count that begins again
    /// at 1 is accepted as a new count.
    pub named: bool,
}

/// The route by which a beat came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// Through the node's own endpoint.
    #[default]
    Zmq,
    /// Through `NOTIFY_SOCKET`, sd_notify(3).
    Notify,
    /// Through a socket for this child alone: the nth of its `push` sockets.
    Push(u16),
    /// As a success of the nth probe of this child. The shell keeps what that probe asks.
    Probe(u16),
}

/// How much of what one sender has sent was dropped since it was last reported, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// Messages that were not understood.
    pub malformed: u64,
    /// Messages with a token that belongs to no child, or not to the sender.
    pub unknown_token: u64,
    /// Messages above the number that one worker may send in a second.
    pub too_many: u64,
    /// Messages with too many parts or bytes.
    pub too_long: u64,
    /// Notifications to a worker's socket by processes that are not the worker's.
    pub by_strangers: u64,
    /// Connections above the number that one process may have; they were closed.
    pub connections: u64,
    /// Events that a child node has dropped, as too many waited for their delivery.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_events: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The state of a worker by its own report (`READY=1`, `RELOADING=1`, `STOPPING=1` of sd_notify).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReportedState {
    /// Its start or its reloading has finished.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It is shutting down.
    Stopping,
}

impl ReportedState {
    /// The stable word of `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportedState::Ready => "ready",
            ReportedState::Reloading => "reloading",
            ReportedState::Stopping => "stopping",
        }
    }
}

/// Why a start failed, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartFailure {
    /// Which step failed, such as "exec".
    pub stage: String,
    /// The system's error number; 0 where there is none.
    pub errno: i32,
    /// The whole error in words, such as "executing ./api: No such file or directory".
    pub message: String,
}

/// What the inspection of an overdue child has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// The child is hung: nothing excuses its silence. A process that is merely stopped by SIGSTOP is hung as well. The
    /// text is what the process was seen to do, in words that can follow its name, such as "was stopped by a signal".
    Hung(Option<String>),
    /// The process was runnable but got no CPU time for most of its silence. It is reported and spared, but only a
    /// limited number of times: the load that starves it may come from its own subtree.
    Starved(String),
    /// The process is held on purpose, for instance "process 17 traces it" or "its cgroup is frozen". It is reported
    /// and spared, and inspected again after another interval.
    Held(String),
    /// The child's host cannot be reached, and its lease may still hold: the state of the process is unknown. The child
    /// is reported, spared, and inspected again, until it beats or its host is lost.
    Unreachable(String),
}

/// A process that SIGKILL has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stuck {
    /// Its number, for reports only.
    pub pid: u32,
    /// How many further processes are left.
    pub others: u32,
    /// Why, as the kernel shows it, such as "it is stuck in the kernel (state D)".
    pub why: String,
}

/// What has ordered this supervisor to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The parent's request, a signal to the root, or `treevisor stop`: the end is [`End::Stopped`](super::End).
    Asked,
    /// A SIGTERM that did not come from the parent (D7): stop in order, then end so that the parent sees a crash.
    Stranger,
    /// The tree's root moves to another host: placed children keep running for the next root, all others are stopped in
    /// order.
    HandOver,
}

impl Exit {
    /// Whether this is OTP's `normal` (otp.md section 11): one of the codes that count as success.
    pub fn is_normal(self, success_codes: &[i32]) -> bool {
        matches!(self, Exit::Code(code) if success_codes.contains(&code))
    }
}

impl fmt::Display for Stuck {
    /// A clause without a full stop: "process 17 cannot be killed: it is stuck in the kernel (state D)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} cannot be killed: {}", self.pid, self.why)?;
        match self.others {
            0 => Ok(()),
            1 => f.write_str("; 1 other process is left as well"),
            others => write!(f, "; {others} other processes are left as well"),
        }
    }
}

/// An event that is late, a duplicate, or about an unknown child. It has no effect but to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stale;

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child{}", self.0)
    }
}

/// Why a child is being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum StopCause {
    /// Restarted together with a sibling that failed (R23): its name.
    Group(String),
    /// The supervisor gives up, shuts itself down, or was asked to end (R53).
    SupervisorEnds,
    /// An operator asked for it: the name of the operator.
    Operator(String),
    /// A reload removes the child or changes its spec: the caller of that reload.
    Reload(String),
    /// The child was not ready within its start-timeout.
    StartTimeout,
    /// The supervisor itself got a signal that did not come from its parent: the sender.
    Signal(String),
}

/// The relation of a process that runs beside a child during a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Beside {
    /// It is to replace this child when it is ready.
    Successor(ChildId),
    /// It was replaced by this child, and is being stopped.
    Predecessor(ChildId),
}
