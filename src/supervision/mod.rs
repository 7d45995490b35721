//! The pure core: one [`Supervisor`] per node, OTP's supervisor as a state machine. Events in, actions out, time
//! passed in. No clock, process, socket, thread or log.
//!
//! # The contract
//!
//! - **One in, all out.** The shell hands in one [`Event`], carries out every [`Action`] that came back, in order,
//!   and only then hands in the next. An action that fails comes back as an event ([`Event::SpawnFailed`]).
//! - **Signs of life before verdicts.** In one turn of the shell's loop: beats, then exits (several of one turn in
//!   start order), then signals and commands, and [`Event::Tick`] last, with the time in which the shell itself did
//!   not run.
//! - **One deadline.** [`Supervisor::next_deadline`] is the earliest of many. A `Tick` before it changes nothing.
//! - **Every [`Action::Spawn`] is answered** by `Spawned` or `SpawnFailed`, of a placed child also by `NoHost`, every
//!   [`Action::Inspect`] by `Inspected`, every process that existed by one `Exited` when nothing of it is left; by
//!   `KillFailed` before, at most once, where it cannot be killed. Before `Spawned` no run is asked to stop, killed or
//!   inspected.
//! - **Every [`Command`] is answered exactly once.** [`Action::Halt`] is the last action there ever is.
//! - **Nothing is trusted.** An event of an earlier run, of an unknown child, or one that makes no sense now is
//!   counted ([`Supervisor::stale`]) and dropped.
//!
//! ```
//! use treevisor::ids::Name;
//! use treevisor::supervision::*;
//! use treevisor::time::Time;
//!
//! let member = Member { name: Name::parse("api").unwrap(), kind: Kind::Worker, revision: 0, policy: Default::default() };
//! let config = Config { policy: Default::default(), members: vec![member], uplink: None, node: 1, seed: 1 };
//! let mut supervisor = Supervisor::new(config);
//! let mut actions = Vec::new();
//! supervisor.handle(Time::ZERO, Event::Begin, &mut actions);
//! let Some(Action::Spawn(run)) = actions.pop() else { panic!("the first child is to be started") };
//! supervisor.handle(Time::ZERO, Event::Spawned { run, pid: 42 }, &mut actions);
//! supervisor.handle(Time::ZERO, Event::Exited { run, exit: Exit::Signal(11), out_of_memory: false }, &mut actions);
//! assert!(matches!(actions.pop(), Some(Action::Spawn(again)) if again.incarnation == run.incarnation.next()));
//! ```
//!
//! # A child's life
//!
//! ```text
//!                       Spawn                    exec, beat or word: ready
//!   Down(Queued) ─────────────────▶ Starting ────────────────────────▶ Running
//!    ▲  ▲  ▲ ▲                        │ │ │                             │ │ │
//!    │  │  │ │  retry, back-off over  │ │ │ failed start                │ │ │ exit
//!    │  │  │ └─────────── Waiting ◀───┼─┼─┘ (in a restart)             │ │ ▼
//!    │  │  │                 ▲        │ │                               │ │ Down(Undecided) ──▶ Ended
//!    │  │  │                 └────────┼─┼───────────────────────────────┼─┼─────┘  │    normal, or temporary
//!    │  │  └──────────────────────────┼─┼───────────────────────────────┼─┼────────┘
//!    │  │                             │ │          to be stopped        │ │   its turn in the queue: restart
//!    │  │  gone, to come again        ▼ ▼                               ▼ ▼
//!    │  └────────────────────────  Stopping ───── too long, hurried ──▶ Killing ◀── hung, panicked, start-timeout
//!    │                                │                                 │ │
//!    │ group restart, request         ▼ gone                            │ └── panicked with hold ──▶ Held
//!    └──────────────────────────── Down(Idle) ◀───── gone, was stopped ─┘
//!                                                    (hung, panicked: as an exit of Running or Starting)
//! ```
//!
//! A process that cannot be killed is *lost*: the child goes on as if it had ended, but for its next start, which waits
//! for the end of the old process (`Waiting`), so that no two of one child ever live together.
//!
//! What is wanted of a child is a field of its own: with its *target* down, an operator has stopped it and no restart
//! of a group starts it. `Killing` carries what the end will mean. All of it stands in `child.rs`, as total tables.
//!
//! # The supervisor
//!
//! One *sequence* of stops and starts runs at a time: the boot, the restart of a group, an operator's request about one
//! child, or the end. OTP's supervisor takes no messages meanwhile; this one goes on taking events, and what would have
//! waited in OTP's mailbox waits in a queue (R30, D5 of `docs/otp.md`). An exit is reported at once but decided in its
//! turn, so a group restart that comes first absorbs it (R29).
//!
//! A *roll-out*, by which the copies of a `count` get what a reload changes of them, is what it does when nothing else
//! is to be done (see `rolling`): each of its steps is a sequence.
//!
//! What does not wait, because what it would wait for may never end:
//!
//! - [`Event::Stop`], [`Event::StopNow`], [`Event::ParentLost`]: the sequence is cut. A stop that is in progress is
//!   finished first, a start that is in progress is not, and all that is queued is dropped.
//! - [`Command::Panic`] kills its child now. What the end of that child means stays as it was: a child that was being
//!   stopped is stopped, one that was being started could not be started, one whose turn to be stopped was still to
//!   come is absorbed, any other has crashed. With hold it stays down, and the sequence goes on without it.
//! - [`Command::Terminate`] of the child that is just being stopped or started, and [`Command::Cycle`] of the one that
//!   is just being started. Neither is a failed start: the boot or the restart goes on with the next child, or with
//!   this one anew. Requests about other children wait; to free a start that hangs, stop the child that `status` shows
//!   as starting, or give it a `start-timeout`.
//!
//! # Which file holds what
//!
//! `supervisor` is the door; `starts_and_stops`, `exits`, `restarts`, `requests`, `reload`, `rolling`, `successor`,
//! `elsewhere` and `deadlines` are its work by theme; `snapshot` writes all of it down and makes it again; `table`
//! holds the children and their deadlines; `types` is the ground that all stand on; `child` with `phase`, `step`,
//! `word` and `shown`, `sequence`, `rollout`, `intensity`, `strategy`, `liveness`, `counting`, `backoff`, `failure`,
//! `tally` and `rollup` know nothing of the others' business and are tested alone. `reload` is a new set of children
//! while it runs: one more kind of sequence.

pub mod action;
mod backoff;
mod child;
mod counting;
mod deadlines;
mod elsewhere;
pub mod event;
mod exits;
mod failure;
mod intensity;
mod liveness;
mod phase;
mod reload;
pub mod report;
mod requests;
mod restarts;
mod rolling;
pub mod rollout;
pub mod rollup;
mod seen;
mod sequence;
mod shown;
pub mod snapshot;
mod starts_and_stops;
pub mod state;
mod step;
mod strategy;
mod successor;
mod supervisor;
mod table;
mod tally;
pub mod types;
mod word;

pub use action::{Action, Adopt, Answer, End, ToParent};
pub use event::{Beat, Command, Event, Member, Notice, OwnPolicy, Reload, Scope};
pub use report::{Fact, Killed, LastBeats, Past, Report, RolloutStage};
pub use rollout::{RolloutEnd, RolloutStatus};
pub use rollup::Rollup;
pub use snapshot::{Place, Snapshot, SnapshotError};
pub use state::{BeatStatus, BesideStatus, ChildStatus, State};
pub use supervisor::{Config, Supervisor};
pub use tally::{Cause, Exits, RestartTimes};
pub use types::{
    Beside, ChildId, Connection, Dropped, Exit, Inspected, Kind, ReportedState, RequestId, Run, Source, StartFailure,
    StopCause, StopReason, Stuck,
};
