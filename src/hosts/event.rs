//! What comes into an agent: answers of the store, facts about this host, and what operators ask for.

use super::message::{Ended, Failure, Message};
use super::moment::Moment;
use super::record::Version;
use crate::time::Span;
use serde_json::Value;

/// What the shell reads anew for each event, before it hands it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Both clocks. Not before those of the turn before.
    pub now: Moment,
    /// 64 bits from the kernel's random numbers, drawn for this event: never kept, never reckoned from others, so that
    /// not even a copy of this machine draws the same.
    pub random: u64,
    /// Milliseconds since 1970. Written into records for people, and never acted upon.
    pub wall_ms: u64,
}

/// Numbers an [`Action::Read`](super::Action::Read) or an [`Action::Swap`](super::Action::Swap) in the life of an
/// agent.
pub type RequestId = u64;

/// Numbers an [`Action::Run`](super::Action::Run) in the life of an agent. One claim may be run several times, one
/// after another.
pub type RunId = u64;

/// Numbers the connections of nodes with placed children to this agent: each process has one of its own, and none is
/// given again.
pub type ParentId = u64;

/// A record as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its whole key.
    pub key: String,
    /// Its version.
    pub version: Version,
    /// Its value, as it is: what cannot be read is for the agent to pass over.
    pub value: Vec<u8>,
}

/// How a request to the store has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a `Read`: all records with that prefix. They may be stale.
    Records(Vec<Stored>),
    /// To a `Swap`: it is written, and the record has this version now.
    Done(Version),
    /// To a `Swap`: it is not written, because the record has another version: this one, or there is none. Reported as
    /// `Unknown` wherever the write may still come about.
    Lost(Option<Stored>),
    /// There was no answer within an attempt, or one that leaves open whether the write has come or will come about.
    /// The text is for people.
    Unknown(String),
}

/// How a run has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// By itself and in order: exit status 0.
    Stopped,
    /// Too many restarts: exit status 10.
    GaveUp(String),
    /// A child could not be started at boot (exit status 11), or there was no process at all: its bundle is not
    /// readable, the program cannot be executed.
    CannotStart(String),
    /// Any other way: a signal, an exit status that should not be.
    Crashed(String),
}

/// Everything that can happen to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent's life begins. Handed in once, first.
    Begin,
    /// Time has come to look at the deadlines: [`Agent::next_deadline`](super::Agent::next_deadline). Harmless at any
    /// time.
    Tick,
    /// A request has come to its end. Each does so once, at the latest an attempt after it was sent.
    Answered {
        /// Which one.
        request: RequestId,
        /// How.
        answer: Answer,
    },
    /// The fence has answered the [`Action::Poke`](super::Action::Poke) with this number.
    Poked(u64),
    /// The [`Action::Clear`](super::Action::Clear) with this number is done: after it was ordered, `x/` was **seen** to
    /// be empty, and nothing is about to be born there.
    Cleared(u64),
    /// What was to be run has a process.
    Started {
        /// Which one.
        run: RunId,
        /// Its number, for people.
        pid: u32,
    },
    /// A placed subtree could not be started: there is no process, and nothing of it is left.
    NotStarted {
        /// Which one.
        run: RunId,
        /// Why.
        failure: Failure,
    },
    /// A placed subtree has ended, **and** nothing of it is left: that was seen. Once for each run, as
    /// [`Event::Exited`].
    Ended {
        /// Which one.
        run: RunId,
        /// How its top node has ended.
        end: Ended,
        /// What was found out of it besides: handed to the shell of its parent as it is.
        detail: Value,
    },
    /// Answers [`Action::Inspect`](super::Action::Inspect).
    Inspected {
        /// Which one.
        run: RunId,
        /// Handed to the shell of its parent as it is.
        found: Value,
    },
    /// A new connection to another agent, or from it, has begun: what was sent there before may be lost.
    Connected {
        /// With which host.
        host: String,
    },
    /// The connection to another agent is up, or down: it has sent no PULSE for two seconds.
    Link {
        /// To which host.
        host: String,
        /// Whether it is up.
        up: bool,
    },
    /// Another agent reports that its host is in this epoch. Only the store proves that: it is asked at once, where its
    /// records that were seen last are of an earlier one.
    Epoch {
        /// Which host.
        host: String,
        /// The epoch.
        epoch: u64,
    },
    /// Another agent has sent this. Its host is proved by its key, and what is too old was dropped.
    FromHost {
        /// Which host.
        host: String,
        /// What.
        message: Message,
    },
    /// A node on this host has sent this. Its process is the one that its connection shows.
    FromParent {
        /// Which one.
        parent: ParentId,
        /// What.
        message: Message,
    },
    /// A node that has sent something is no more, and nothing comes from it any more.
    ParentGone(ParentId),
    /// It has ended, **and** nothing of it is left: that was seen. Also where there was no process. Once for each run,
    /// but for those that an [`Action::Clear`](super::Action::Clear) has ended: theirs may be left out.
    Exited {
        /// Which one.
        run: RunId,
        /// How.
        end: RunEnd,
    },
    /// Its top process has missed its beats: it is to be killed, and has crashed.
    Hung(RunId),
    /// The bundles that are on this host's disk. Handed in after [`Event::Begin`], and whenever it changes.
    Bundles(Vec<Bundle>),
    /// An operator asks for something.
    Asked(Wish),
}

/// What can be run: a deployed file with all that it includes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bundle {
    /// The instance that it was deployed as. It is run as no other, whatever stands in a record.
    pub instance: String,
    /// Of its content.
    pub digest: String,
}

/// What an operator asks of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Nothing is placed here any more, and what is here leaves in order. It stays so, also over a restart of the
    /// agent.
    Drain,
    /// The end of that.
    Undrain,
    /// This agent ends: what is here leaves in order, and what has not after `kill_after` is killed. The record then
    /// shows that nothing is left here. [`Action::Halt`](super::Action::Halt) follows, whether the store can be reached
    /// or not.
    Stop {
        /// How long all may take to stop.
        kill_after: Span,
    },
    /// The operator swears that this other host is off: it is declared dead at once.
    Forget(String),
    /// This host has other keys, which its record shows from the next write on.
    Keys {
        /// The certificate.
        cert: String,
        /// The signing keys that it takes.
        issuers: Vec<String>,
    },
}
