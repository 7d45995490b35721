//! What operators' tools ask the root, and what it replies. Nodes pass the same verbs and replies on to each other.

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
    /// What is asked.
    pub verb: Verb,
    /// On whose behalf the sender asks, for the events that follow from it: printable, [`Ask::VIA_MAX`] characters at
    /// most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The incarnation of the child that the sender means: where it is another one by now, or is being restarted
    /// already, the request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
}

impl Ask {
    /// The longest `via`, in characters.
    pub const VIA_MAX: usize = 80;

    /// Whether its `via` can be shown: it has something to show, nothing that a terminal would act upon, and is not too
    /// long.
    pub fn is_via_printable(&self) -> bool {
        self.via.as_ref().is_none_or(|via| {
            let length = via.chars().count();
            (1..=Ask::VIA_MAX).contains(&length) && !via.chars().any(is_obeyed)
        })
    }
}

/// What the root sends back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The number of the request.
    pub request: u64,
    /// One reply to it.
    pub reply: Reply,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// Is the root there? Answered `Done(ok)`.
    Ping,
    /// The state of the subtree at a path: one `Status`.
    Status {
        /// Where.
        path: Path,
        /// Of the children of the supervisor there only these, [`Verb::CHILDREN_MAX`] at most, with all that is below
        /// them; those that it does not have are left out. All of them when it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        children: Option<Vec<Name>>,
    },
    /// Orderly stop, OTP's terminate_child; `/` stops the whole tree.
    Stop {
        /// Where.
        path: Path,
    },
    /// Stop and start; starts what was stopped, held or has ended.
    Restart {
        /// Where.
        path: Path,
    },
    /// Stop a placed subtree where it runs, and start it on another host. Refused where that host cannot have it.
    Move {
        /// Which.
        path: Path,
        /// To this host; else to the one that comes next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Kill the subtree now.
    Panic {
        /// Where.
        path: Path,
        /// Leave it down.
        hold: bool,
    },
    /// Send a signal to a worker's process.
    Signal {
        /// Where.
        path: Path,
        /// Which, as Linux numbers them.
        signal: i32,
    },
    /// Forget the failures of a supervisor's window, or of a worker, and start what waits for its back-off.
    Reset {
        /// Where.
        path: Path,
    },
    /// Starts what is down; what is up is left alone.
    Start {
        /// Where.
        path: Path,
    },
    /// OTP's restart_child: starts one idle child.
    RestartChild {
        /// Which.
        path: Path,
    },
    /// OTP's delete_child: forgets one idle child.
    DeleteChild {
        /// Which.
        path: Path,
    },
    /// OTP's start_child: adds a child to the supervisor at a path, and starts it.
    StartChild {
        /// The supervisor.
        path: Path,
        /// The child, as JSON of the checked types.
        child: Value,
    },
    /// Stops a child and forgets it: terminate_child and delete_child in one.
    RemoveChild {
        /// Which.
        path: Path,
    },
    /// Makes the workers of one `count` so many.
    Scale {
        /// The supervisor's path and the name that the `count` numbers.
        path: Path,
        /// How many, at least one.
        count: u32,
        /// Those that are new, as JSON of the checked types, where copies differ by more than their names: the tool has
        /// read them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        copies: Vec<Value>,
    },
    /// Restarts the workers of one `count` that run, one after another.
    RestartRolling {
        /// The supervisor's path and the name that the `count` numbers.
        path: Path,
    },
    /// The whole tree as it is now: one `Spec`.
    Spec,
    /// The tree is to become this one. Of the root only.
    Reload {
        /// The tree, as JSON of the checked types.
        tree: Value,
        /// Children that were added by hand go as well.
        prune: bool,
        /// The file that it came from, to be read again at the next SIGHUP.
        #[serde(default, with = "crate::files::exact::option")]
        config: Option<PathBuf>,
    },
    /// The tree is to be again what it was before the last reload, where that is not complete. Of the root only.
    AbortReload,
    /// The tree goes on with another executable, and no worker notices. Of the root only. Answered by several
    /// `Upgraded`.
    Upgrade {
        /// The executable, by its absolute path.
        #[serde(with = "crate::files::exact")]
        exe: PathBuf,
        /// Only try in every supervisor whether it could be done.
        check: bool,
    },
    /// From a node to its child node: its part of a reload. Sent again until it is answered.
    ReloadBelow {
        /// The child node.
        path: Path,
        /// It and all below it, as JSON of the checked types.
        spec: Value,
        /// What it promises to its parent from now on, as JSON; `null` is nothing.
        heartbeat: Value,
        /// The number of the reload in the life of the tree.
        generation: u64,
        /// Children that were added by hand go as well.
        prune: bool,
    },
    /// From a node to its child node: its part of an upgrade. Answered by `Upgraded` with `done`, for it and all below
    /// it.
    UpgradeBelow {
        /// The child node.
        path: Path,
        /// Where the executable is opened, for a rehearsal.
        #[serde(with = "crate::files::exact")]
        file: PathBuf,
        /// What distinguishes it from other files, as JSON.
        identity: Value,
        /// Only a rehearsal.
        check: bool,
        /// Nodes that run the executable already stay as they are.
        rest: bool,
    },
    /// The events that the root remembers, at or below a path: `Events` with `end` on the last of them, or, when
    /// following, without end until the asker is gone or sends `Unfollow`.
    Events {
        /// Where.
        path: Path,
        /// Only events of these kinds; of all kinds when it is empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kinds: Vec<String>,
        /// Not those before this number, which is the `next` of an earlier reply: a follower that was forgotten goes on
        /// there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// Go on with what happens from now on.
        follow: bool,
    },
    /// What the workers at and below some paths have printed: `Logs`, whose `caught_up` means that all of what was
    /// there has been sent. When following, those to come are sent as well, without end until the asker is gone or
    /// sends `Unfollow`.
    Logs {
        /// Where.
        paths: Vec<Path>,
        /// At most so many lines of each node, the last ones; all that are in memory without it.
        lines: Option<u64>,
        /// None that are older: milliseconds since 1970.
        since_ms: Option<u64>,
        /// Go on with what is printed from now on.
        follow: bool,
    },
    /// `Logs` replies have been read. A few are sent ahead, and then no more until this comes: a slow reader loses
    /// lines, and gets their number, but never fills a queue.
    LogsSeen {
        /// The number of the `Logs` request.
        request: u64,
        /// So many more have been read.
        replies: u32,
        /// The number of the last one that was read; none before it is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<u64>,
        /// Those after it were lost, and are to be sent again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// Ends a following `Events` or `Logs` request.
    Unfollow {
        /// Its number.
        request: u64,
    },
    /// A follower is still there; one that does not send this for ten seconds is forgotten. One that is forgotten
    /// already gets `Refused(forgotten)` to the `Events` request.
    StillFollowing {
        /// The number of the `Events` or `Logs` request.
        request: u64,
    },
}

impl Verb {
    /// So many children of a supervisor can be asked for by name at most.
    pub const CHILDREN_MAX: usize = 200;

    /// How it stands at a path, with all that is below.
    pub fn status(path: Path) -> Verb {
        Verb::Status { path, children: None }
    }
}

/// One reply. `Accepted` is followed by another one, `Upgraded` by more until it is done, `Events` until `end`, `Logs`
/// until `caught_up` (or for ever), all others are the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// It is being carried out, which may take long; sent again every second meanwhile.
    Accepted {
        /// What is being waited for, in words, such as "/web/api is stopping".
        waiting_for: String,
    },
    /// The state.
    Status {
        /// The answer to an operator.
        status: Box<StatusView>,
    },
    /// From a node to its parent: the state of a subtree.
    Subtree {
        /// The subtree.
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
        /// How it ended.
        outcome: Outcome,
        /// More in words; may be empty.
        detail: String,
    },
    /// It could not be asked.
    Refused {
        /// Why, for a program.
        why: Refusal,
        /// Why, for people.
        message: String,
    },
    /// Events, oldest first.
    Events {
        /// The events.
        events: Vec<EventView>,
        /// Events that were lost before these because the reader was too slow or the memory too short.
        lost: u64,
        /// No more follow.
        end: bool,
        /// Events of this run that the root no longer remembers, whatever their path and kind.
        #[serde(default, skip_serializing_if = "is_zero")]
        forgotten: u64,
        /// What follows happens after the request came: all that was remembered has been sent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        caught_up: bool,
        /// Number of the event after the last one that was looked at for this reply, counted from the beginning of
        /// the run.
        #[serde(default, skip_serializing_if = "is_zero")]
        next: u64,
    },
    /// Lines that workers have printed; those of one worker in their order, those of different ones in any.
    Logs {
        /// The lines.
        lines: Vec<LogView>,
        /// Lines that were lost before these, because they came too fast for their reader.
        lost: u64,
        /// All that was there when it was asked for has been sent. Set once; the last reply unless it follows.
        caught_up: bool,
        /// Supervisors that are down or did not answer, so that what is below them is missing; with `caught_up`.
        silent: Vec<Path>,
        /// Its number among the replies to this request, from 1; one that comes twice is taken once, and what comes
        /// after one that is missing is asked for again.
        #[serde(default, skip_serializing_if = "is_zero")]
        nth: u64,
    },
    /// What has become of an upgrade so far; each time that more is known, and once more when it is done.
    Upgraded {
        /// All that is known.
        upgrade: Box<Upgrade>,
    },
}

impl Reply {
    /// What is being waited for, in words, if it is what was asked for: another reply follows to the same request.
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
    /// Done.
    Ok,
    /// It runs.
    Running,
    /// It is between two attempts to start it.
    Restarting,
    /// There is no such child.
    NotFound,
    /// A child of that name is there and down.
    AlreadyPresent,
    /// A child of that name is there and runs.
    AlreadyStarted,
    /// What was to be killed is still there.
    KillFailed,
    /// The start has failed.
    StartFailed,
    /// A copy of a `count` did not come up, so the others were not replaced.
    RolloutStopped,
    /// Something stronger came between.
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
    /// The asker may not (exit code 1).
    NotAllowed,
    /// The message was not understood (exit code 2).
    NotUnderstood,
    /// There is too much of this kind already, or a reload is under way (exit code 1).
    Busy,
    /// Another incarnation than the one that was meant is there, or the one that was meant is being restarted already
    /// (exit code 1).
    Changed,
    /// Too many requests of any kind are waiting (the tool asks again until its time is over; exit code 1).
    Full,
    /// The follower was silent for too long and is no longer sent anything (it asks again).
    Forgotten,
}
