//! Plain types that the rest of the room is made of: which child, which run of it, how it ended, why it is stopped.

use crate::ids::Incarnation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A child within its supervisor: given once, never given again, so that nothing is keyed by a pid or a position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u32);

/// A request that waits for its [`Answer`](super::action::Answer); the shell chooses the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Which run of which child a fact is about. What belongs to an earlier run is counted and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Its parent was another process, and the system does not show how. Not OTP's `normal`.
    Unknown,
    /// With the host that it was on, which is lost, or has ended it for its own sake. Not OTP's `normal`, and not
    /// charged.
    HostLost,
}

/// One connection of a sender of beats. The programs that a worker runs one after the other have one each, and each of
/// them counts its beats from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connection {
    /// Distinguishes it from the others of its child.
    pub number: u64,
    /// The sender has chosen its name, and may come back under it on another connection: a count that begins again at 1
    /// is a new one.
    pub named: bool,
}

/// By which way a beat has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
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
}

/// Where a worker stands, by its own report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReportedState {
    /// Its start or its reloading is over.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It winds itself up.
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

/// Why a start did not come to pass, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Nothing spares it: it is hung. A process that is merely stopped by SIGSTOP is hung as well. What it was seen
    /// to do, in words that can follow its name, such as "was stopped by a signal".
    Hung(Option<String>),
    /// It could run and was given no CPU time for most of its silence. It is reported and spared, though not for ever:
    /// what keeps it from running may be its own subtree.
    Starved(String),
    /// It is held on purpose, for instance "process 17 traces it" or "its cgroup is frozen". It is
    /// reported and spared; the look is repeated after another interval.
    Held(String),
    /// The host that it is on cannot be reached, and its lease may still hold: nothing is known. It is reported and
    /// spared, and looked at again, until it beats or its host is lost.
    Unreachable(String),
}

/// A process that SIGKILL has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stuck {
    /// Its number, for reports only.
    pub pid: u32,
    /// How many there are besides.
    pub others: u32,
    /// Why, by the kernel's word, such as "it is stuck in the kernel (state D)".
    pub why: String,
}

/// What has ordered this supervisor to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The parent's request, a signal to the root, or `treevisor stop`: the end is [`End::Stopped`](super::End).
    Asked,
    /// A SIGTERM that did not come from the parent (D7): stop in order, then end so that the parent sees a crash.
    Stranger,
    /// The tree's root goes to another host: placed children stay for the next one, all others are stopped in order.
    HandOver,
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

/// What was handed in comes too late, or twice, or is about no child that there is: nothing follows from it.
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
    /// An operator asked; which one.
    Operator(String),
    /// A new set of children does not have it, or has it otherwise; the origin of that set.
    Reload(String),
    /// Its start took too long.
    StartTimeout,
    /// The supervisor itself got a signal that its parent has not sent; its sender.
    Signal(String),
}

/// Beside which child one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Beside {
    /// It is to take the place of this one.
    Successor(ChildId),
    /// This one has taken its place.
    Predecessor(ChildId),
}
