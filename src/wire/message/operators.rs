//! The requests of operators' tools to the root, and its replies. Nodes pass the same verbs and replies on to each
//! other.

use crate::ids::{Name, Path};
use crate::text::is_obeyed;
use crate::wire::upgrade::Upgrade;
use crate::wire::view::{ChildView, EventView, LogView, StatusView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// What an operator's tool sends to the root's control endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Chosen by the sender; every reply carries it.
    pub request: u64,
    /// Milliseconds that the sender will wait for the first reply.
    pub within_ms: u64,
    /// What is asked for.
    pub verb: Verb,
    /// On whose behalf the sender asks; recorded in the events that the request causes. Printable, [`Ask::VIA_MAX`]
    /// characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The incarnation of the child that the sender means. The request is refused if the child has another incarnation
    /// by now, or is being restarted already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// With an incarnation: those of the supervisors above the child, as in [`Meant`]. May be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<u64>,
}

/// The process that an operator has looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    /// The incarnation of the child.
    pub incarnation: u64,
    /// The incarnations of the supervisors above the child, from the one below the root down: a new process of a
    /// supervisor counts its children from 1 again. They need not be given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<u64>,
}

impl Meant {
    /// What a message names. Without an incarnation, nothing.
    pub fn of(incarnation: Option<u64>, above: Vec<u64>) -> Option<Meant> {
        incarnation.map(|incarnation| Meant { incarnation, above })
    }

    /// The fields of a message.
    pub fn fields(meant: Option<Meant>) -> (Option<u64>, Vec<u64>) {
        meant.map_or_else(Default::default, |Meant { incarnation, above }| (Some(incarnation), above))
    }
}

impl Ask {
    /// The longest `via`, in characters.
    pub const VIA_MAX: usize = 80;

    /// Whether `via` can be shown: it is absent, or it is neither empty nor too long and has no control characters.
    pub fn is_via_printable(&self) -> bool {
        self.via.as_ref().is_none_or(|via| {
            let length = via.chars().count();
            (1..=Ask::VIA_MAX).contains(&length) && !via.chars().any(is_obeyed)
        })
    }
}

/// A reply of the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootReply {
    /// The number of the request.
    pub request: u64,
    /// The answer, or a sign that it is being worked on.
    pub reply: Reply,
}

/// The requests of operators, and what nodes pass down of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// Checks that the root answers: it replies `Done(ok)`.
    Ping,
    /// The state of the subtree at a path: one `Status`.
    Status {
        /// The path of the child.
        path: Path,
        /// Show only these children of the supervisor, [`Verb::CHILDREN_MAX`] at most, with all that is below them.
        /// Names that it does not have are ignored. All children if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        children: Option<Vec<Name>>,
    },
    /// Orderly stop, OTP's terminate_child; `/` stops the whole tree.
    Stop {
        /// The path of the child.
        path: Path,
    },
    /// Stop and start; starts what was stopped, held or has ended.
    Restart {
        /// The path of the child.
        path: Path,
    },
    /// Stop a placed subtree where it runs, and start it on another host. Refused if that host may not run it.
    Move {
        /// The path of the child.
        path: Path,
        /// The name of the other host; if absent, the next best candidate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Kill the subtree now.
    Panic {
        /// The path of the child.
        path: Path,
        /// Keep it down (held) until an operator starts it.
        hold: bool,
    },
    /// Send a signal to a worker's process.
    Signal {
        /// The path of the child.
        path: Path,
        /// The number of the signal on Linux.
        signal: i32,
    },
    /// Clear the restart window of a supervisor, or the failures of a worker, and start at once the children that wait
    /// for their backoff.
    Reset {
        /// The path of the child.
        path: Path,
    },
    /// Start the children at and below a path that are down; those that are up are not touched.
    Start {
        /// The path of the child.
        path: Path,
    },
    /// OTP's restart_child: starts one idle child.
    RestartChild {
        /// The path of the child.
        path: Path,
    },
    /// OTP's delete_child: forgets one idle child.
    DeleteChild {
        /// The path of the child.
        path: Path,
    },
    /// OTP's start_child: adds a child to the supervisor at a path, and starts it.
    StartChild {
        /// Of the supervisor that gets another child.
        path: Path,
        /// The child, as JSON of the checked types.
        child: Value,
    },
    /// Stops a child and forgets it: terminate_child and delete_child in one.
    RemoveChild {
        /// The path of the child.
        path: Path,
    },
    /// Change the number of copies of a worker with a `count`.
    Scale {
        /// The supervisor's path and the name that the `count` numbers.
        path: Path,
        /// The new number, at least one.
        count: u32,
        /// The specs of the new copies, as JSON of the checked types, if copies differ by more than their names. The
        /// tool has read them from the file.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        copies: Vec<Value>,
    },
    /// Restart the running copies of a worker with a `count`, one after another.
    RestartRolling {
        /// The supervisor's path and the name that the `count` numbers.
        path: Path,
    },
    /// The spec of the whole tree as it is now: one `Spec`.
    Spec,
    /// Reload: change the tree to this one. Only the root takes this request.
    Reload {
        /// The tree, as JSON of the checked types.
        tree: Value,
        /// Remove also the children that were added by an operator.
        prune: bool,
        /// The file that the tree was read from; the root reads it again at the next SIGHUP.
        #[serde(default, with = "crate::files::exact::option")]
        config: Option<PathBuf>,
    },
    /// Return to the tree from before the last reload, if that reload is not complete. Only the root takes this
    /// request.
    AbortReload,
    /// Hot upgrade: every node of the tree continues with another executable, and workers keep running. Only the root
    /// takes this request. Answered by several `Upgraded`.
    Upgrade {
        /// The absolute path of the executable.
        #[serde(with = "crate::files::exact")]
        exe: PathBuf,
        /// Only rehearse the upgrade in every supervisor.
        check: bool,
    },
    /// From a node to its child node: the child node's part of a reload. Sent again until it is answered.
    ReloadBelow {
        /// Of the child node itself.
        path: Path,
        /// The child node's supervisor with all below it, as JSON of the checked types.
        spec: Value,
        /// The heartbeat that the child node owes its parent from now on, as JSON; `null` for none.
        heartbeat: Value,
        /// The number of the reload, counted from the start of the tree.
        generation: u64,
        /// Remove also the children that were added by an operator.
        prune: bool,
    },
    /// From a node to its child node: the child node's part of a hot upgrade. Answered by `Upgraded` with `done`, for
    /// the child node and all nodes below it; before that, every few seconds while it waits for those, by one without.
    UpgradeBelow {
        /// Of the child node itself.
        path: Path,
        /// The path by which the executable is opened for the rehearsal.
        #[serde(with = "crate::files::exact")]
        file: PathBuf,
        /// What identifies the executable among other files, as JSON.
        identity: Value,
        /// Only rehearse the upgrade.
        check: bool,
        /// Upgrade only the nodes that do not run the executable yet.
        rest: bool,
    },
    /// The events at or below a path that the root has in memory. Answered by `Events`, the last with `end`. With
    /// `follow` there is no end: replies go on until the follower is gone or sends `Unfollow`.
    Events {
        /// The path of the child.
        path: Path,
        /// Only events of these kinds; events of all kinds if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kinds: Vec<String>,
        /// Only events from this number on. It is the `next` of an earlier reply, by which a follower that was
        /// forgotten continues.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// Send also the events to come.
        follow: bool,
    },
    /// The output of the workers at and below some paths. Answered by `Logs`; `caught_up` there means that all lines in
    /// memory have been sent. With `follow`, lines to come are sent too, until the follower is gone or sends
    /// `Unfollow`.
    Logs {
        /// Of workers, or of supervisors with workers below them.
        paths: Vec<Path>,
        /// At most this many lines of each node, the last ones; all lines in memory if absent.
        lines: Option<u64>,
        /// Only lines from this time on: milliseconds since 1970.
        since_ms: Option<u64>,
        /// Send also the lines to come.
        follow: bool,
    },
    /// Acknowledges `Logs` replies. A node sends a few replies ahead and then waits for this acknowledgement. So a slow
    /// reader never fills a queue: it loses lines, and is sent the number of lost ones.
    LogsSeen {
        /// The number of the `Logs` request.
        request: u64,
        /// How many replies have been read since the last acknowledgement.
        replies: u32,
        /// The `nth` of the last reply that was read; all before it have been read too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<u64>,
        /// The replies after `through` were lost: send them again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// Ends a following `Events` or `Logs` request.
    Unfollow {
        /// The number of that request.
        request: u64,
    },
    /// Keeps a following request alive. A follower that has not sent this for ten seconds is forgotten; if it is
    /// forgotten already, its `Events` request is answered by `Refused(forgotten)`.
    StillFollowing {
        /// The number of the `Events` or `Logs` request.
        request: u64,
    },
}

impl Verb {
    /// Most children that one `Status` request can name.
    pub const CHILDREN_MAX: usize = 200;

    /// Whether it is only a notice that a reader goes on, has read something, or is gone. It gets no reply unless the
    /// reader is forgotten, takes no place among the requests that wait, and is as right late as in time.
    pub fn is_notice(&self) -> bool {
        matches!(self, Verb::LogsSeen { .. } | Verb::Unfollow { .. } | Verb::StillFollowing { .. })
    }

    /// For how many milliseconds a question to a supervisor is valid whose first reply has `within_ms`. A supervisor
    /// that alone can leave a subtree down is waited for while that is killed past it.
    pub fn valid_for_ms(&self, within_ms: u64) -> u64 {
        match self {
            _ if self.is_notice() => u64::MAX,
            Verb::Panic { hold: true, .. } => within_ms.saturating_add(Verb::HOLD_VALID_MS),
            _ => within_ms,
        }
    }

    /// How much longer a request to panic and hold is valid than another, in milliseconds.
    pub const HOLD_VALID_MS: u64 = 4_000;

    /// A `Status` request for a path with all that is below.
    pub fn status(path: Path) -> Verb {
        Verb::Status { path, children: None }
    }
}

/// One reply to a request. More replies to the same request follow `Accepted`, `Upgraded` until `done`, `Events` until
/// `end`, and `Logs` until `caught_up` (when following, without end). Any other reply is the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// The request is being carried out, which may take long. Sent again every second until the last reply.
    Accepted {
        /// What is being waited for, in words, such as "/web/api is stopping".
        waiting_for: String,
    },
    /// The answer to `Status`.
    Status {
        /// The state of the subtree, and of the instance.
        status: Box<StatusView>,
    },
    /// From a node to its parent: the state of a subtree.
    Subtree {
        /// As far as the child nodes have answered.
        subtree: Box<ChildView>,
    },
    /// The tree as it is now.
    Spec {
        /// The tree, as JSON of the checked types.
        tree: Value,
        /// The file that it came from; empty without one.
        #[serde(with = "crate::files::exact")]
        config: PathBuf,
    },
    /// OTP's answer to a change.
    Done {
        /// What has been done, or why not.
        outcome: Outcome,
        /// More in words; may be empty.
        detail: String,
    },
    /// The request was refused, or could not be passed on.
    Refused {
        /// Why, for a program.
        why: Refusal,
        /// The reason in words, for people.
        message: String,
    },
    /// Events, oldest first.
    Events {
        /// Oldest first.
        events: Vec<EventView>,
        /// Events that were lost before these because the reader was too slow or the memory too short.
        lost: u64,
        /// This is the last reply.
        end: bool,
        /// How many events of this run, of any path and kind, the root no longer has in memory.
        #[serde(default, skip_serializing_if = "is_zero")]
        forgotten: u64,
        /// All events in memory have been sent; further ones happened after the request arrived.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        caught_up: bool,
        /// Number of the event after the last one that was considered for this reply, counted from the beginning of the
        /// run. A follower continues there by `from`.
        #[serde(default, skip_serializing_if = "is_zero")]
        next: u64,
    },
    /// Lines that workers have printed; those of one worker in their order, those of different ones in any.
    Logs {
        /// Oldest first for each worker.
        lines: Vec<LogView>,
        /// Lines that were lost before these, because they came too fast for their reader.
        lost: u64,
        /// All lines that were in memory when the request arrived have been sent. Set once; without `follow` it marks
        /// the last reply.
        caught_up: bool,
        /// With `caught_up`: supervisors that are down or did not answer, so that lines of the workers below them are
        /// missing.
        silent: Vec<Path>,
        /// The number of this reply among those to the request, from 1. By it a reader drops duplicates, and asks again
        /// for the replies from a missing one on.
        #[serde(default, skip_serializing_if = "is_zero")]
        nth: u64,
    },
    /// The result of an upgrade so far. An operator is sent it each time more is known, and once more at the end.
    Upgraded {
        /// Supervisor by supervisor, as far as it is known.
        upgrade: Box<Upgrade>,
    },
}

impl Reply {
    /// What the request waits for, in words, if another reply follows that ends the wait; `None` for any other reply.
    pub fn waits_for(&self) -> Option<&str> {
        match self {
            Reply::Accepted { waiting_for } => Some(waiting_for),
            Reply::Upgraded { upgrade } if !upgrade.done => Some("supervisors are being upgraded"),
            _ => None,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// OTP's answers to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The request has been carried out.
    Ok,
    /// The child has a process already.
    Running,
    /// The child is between two attempts to start it.
    Restarting,
    /// There is no such child.
    NotFound,
    /// A child of that name exists and is down.
    AlreadyPresent,
    /// A child of that name exists and runs.
    AlreadyStarted,
    /// Processes that were to be killed still exist.
    KillFailed,
    /// The start has failed.
    StartFailed,
    /// A copy of a `count` did not come up, so the others were not replaced.
    RolloutStopped,
    /// The request was cut short by something that takes precedence, such as another request or the end of the
    /// supervisor.
    Overtaken,
}

/// Why a request was not even tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No such path in the tree (exit code 4).
    NoSuchPath,
    /// A node on the way does not answer (exit code 5).
    NoAnswer,
    /// A supervisor on the way is down, so there is nothing below it to ask (exit code 1).
    Down,
    /// The operator is not permitted to do so (exit code 1).
    NotAllowed,
    /// The message was not understood (exit code 2).
    NotUnderstood,
    /// Too many requests of this kind are under way, or a reload is (exit code 1).
    Busy,
    /// The child has another incarnation than the one that the request names, or is being restarted already (exit code
    /// 1).
    Changed,
    /// Too many requests of any kind are waiting. The tool asks again until its time limit (exit code 1).
    Full,
    /// The follower was silent for too long and is sent nothing more. It asks again.
    Forgotten,
}
