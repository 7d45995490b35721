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
//! - **Every [`Action::Spawn`] is answered** by `Spawned` or `SpawnFailed`, for a placed child also by `NoHost`; every
//!   [`Action::Inspect`] by `Inspected`. Every process that existed is answered by one `Exited`, when nothing of it is
//!   left; if it cannot be killed, by at most one `KillFailed` before. Before `Spawned` no run is asked to stop, killed
//!   or inspected.
//! - **Every [`Command`] is answered exactly once.** [`Action::Halt`] is the last action of a supervisor.
//! - **Nothing is trusted.** An event of an earlier run, of an unknown child, or one that makes no sense now is
//!   counted ([`Supervisor::stale`]) and dropped.
//!
//! ```
//! use treevisor::ids::Name;
//! use treevisor::supervision::*;
//! use treevisor::time::Time;
//!
//! let member =
//!     Member { name: Name::parse("api").unwrap(), kind: Kind::Worker, revision: 0, settings: 0, policy: Default::default() };
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
//! A process that cannot be killed is *lost*. The child is then treated as if its process had ended, except that its
//! next start waits for the end of the old process (`Waiting`): two processes of one child never run at the same time.
//!
//! Whether a child is to be up or down is a field of its own, its *target*: with the target down, an operator has
//! stopped the child and no restart of a group starts it. `Killing` carries what the exit will mean. All transitions
//! stand in `child.rs`, as total tables.
//!
//! # The supervisor
//!
//! One *sequence* of stops and starts runs at a time: the boot, the restart of a group, an operator's request about one
//! child, or the end. OTP's supervisor takes no messages meanwhile; this one goes on taking events, and what would have
//! waited in OTP's mailbox waits in a queue (R30, D5 of `docs/otp.md`). An exit is reported at once but decided in its
//! turn, so a group restart that comes first absorbs it (R29).
//!
//! A *roll-out* gives the copies of a `count` the new spec of a reload, one copy after another. It makes progress only
//! when nothing else is to be done (see `rolling`): each of its steps is a sequence.
//!
//! These events do not wait in the queue, because the sequence that they would wait for may never end:
//!
//! - [`Event::Stop`], [`Event::StopNow`], [`Event::ParentLost`]: the sequence is cut. A stop that is in progress is
//!   finished first, a start that is in progress is not, and all that is queued is dropped.
//! - [`Command::Panic`] kills its child at once. The meaning of the child's exit depends on what was in progress: a
//!   child that was being stopped counts as stopped, one that was being started as a failed start, one that the running
//!   sequence was yet to stop is absorbed, and any other one has crashed. With hold the child stays down, and the
//!   sequence goes on without it.
//! - [`Command::Terminate`] of the child that is just being stopped or started, and [`Command::Cycle`] of the child
//!   that is just being started. Neither counts as a failed start: the boot or the restart goes on with the next child,
//!   or starts this one again. Requests about other children wait. To free a start that hangs, stop the child that
//!   `status` shows as starting, or give it a `start-timeout`.
//!
//! # Which file holds what
//!
//! `supervisor` is the entry point; `starts_and_stops`, `exits`, `restarts`, `requests`, `reload`, `rolling`,
//! `successor`, `elsewhere` and `deadlines` are its work by theme; `snapshot` serializes and restores all of it;
//! `table` holds the children and their deadlines; `types` has the basic types. `child` with `phase`, `step`, `word`
//! and `shown`, `sequence`, `rollout`, `intensity`, `strategy`, `liveness`, `counting`, `backoff`, `failure`, `tally`
//! and `rollup` do not depend on one another's rules and are tested alone. `reload` changes the set of children while
//! the supervisor runs, as one more kind of sequence.

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
pub use report::{Fact, Killed, LastBeats, ProcessHistory, Report, RolloutStage};
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
