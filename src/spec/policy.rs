//! The half of a child spec that supervision reads: when to restart, how to stop, how to check liveness.
//!
//! The words and the defaults are OTP's (otp.md, R2 and R3) but for intensity and period, whose defaults here allow
//! for programs that take seconds to fail.

use crate::time::Span;
use serde::{Deserialize, Serialize};

/// An enum whose values are words in the file.
pub trait Words: Copy + PartialEq + 'static {
    /// Each value with its word, as it travels in JSON too.
    const WORDS: &'static [(&'static str, Self)];

    /// The word in the file and in JSON.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// Implements [`Words`] for enums.
macro_rules! words {
    ($($of:ident { $($word:literal $value:ident),+ })+) => { $(
        impl $crate::spec::policy::Words for $of {
            const WORDS: &'static [(&'static str, $of)] = &[$(($word, $of::$value)),+];
        }
    )+ };
}
pub(super) use words;

words! {
    Strategy { "one-for-one" OneForOne, "one-for-all" OneForAll, "rest-for-one" RestForOne }
    Restart { "permanent" Permanent, "transient" Transient, "temporary" Temporary }
    AutoShutdown { "never" Never, "any-significant" AnySignificant, "all-significant" AllSignificant }
    StartOrder { "in-order" InOrder, "together" Together }
    StopOrder { "reverse" Reverse, "together" Together }
    Ready { "exec" Exec, "heartbeat" Heartbeat, "notify" Notify, "exit" Exit, "probe" Probe }
    UpdateOrder { "stop-first" StopFirst, "start-first" StartFirst }
}

/// Which siblings are restarted along with a child that has to be restarted (R18, R19, R20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Only the child itself.
    #[default]
    OneForOne,
    /// All children of the supervisor.
    OneForAll,
    /// That child and all after it in the start order.
    RestForOne,
}

/// Whether a child that has exited is started again (R13, R14, R15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Always, after a normal exit too.
    #[default]
    Permanent,
    /// After an abnormal exit only.
    Transient,
    /// After no exit at all.
    Temporary,
}

/// How a child is stopped (R54, R55, R56).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shutdown {
    /// Killed without being asked.
    BrutalKill,
    /// Asked, waited for this long, then killed.
    After(Span),
    /// Asked, and waited for without bound.
    Infinity,
}

/// Whether a supervisor shuts itself down when significant children have ended (R46 to R52).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutoShutdown {
    /// It runs on without them.
    #[default]
    Never,
    /// When one significant child has ended by itself.
    AnySignificant,
    /// When the last significant child has ended by itself.
    AllSignificant,
}

/// In which order a supervisor starts its children when it is started itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartOrder {
    /// One after the other, each ready before the next is started (R6).
    #[default]
    InOrder,
    /// All at once, for children that do not depend on each other. Goes beyond OTP. If one of them cannot be started,
    /// all are stopped, as in the other order (R9).
    Together,
}

/// In which order a supervisor stops its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOrder {
    /// In reverse start order, each gone before the next is asked to stop (R53).
    #[default]
    Reverse,
    /// All at once. Goes beyond OTP, which does so for instances of `simple_one_for_one` only (R78).
    Together,
}

/// How many restarts a supervisor carries out within a window before it gives up (R40).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intensity {
    /// Restarts allowed within `period`; the next one gives up. `None` is "unlimited".
    pub max: Option<u32>,
    /// Length of the window; above zero.
    pub period: Span,
}

impl Default for Intensity {
    fn default() -> Intensity {
        Intensity { max: Some(3), period: Span::from_secs(30) }
    }
}

/// The heartbeat that a child is expected to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// A beat is due this often; above zero.
    pub interval: Span,
    /// A child is hung when no beat came for `interval` times `misses`; at least 1.
    pub misses: u32,
    /// Added once, to the first deadline after a start.
    pub grace: Span,
    /// Whether beats whose progress counter stands still count as silence.
    pub progress: bool,
}

impl Heartbeat {
    /// The longest silence that does not count as a hang.
    pub fn limit(&self) -> Span {
        self.interval.times(u64::from(self.misses))
    }
}

/// The default for supervisor children.
impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { interval: Span::from_secs(1), misses: 3, grace: Span::ZERO, progress: false }
    }
}

/// Readiness: when the start of a child is over, so that the next sibling may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// When the program has been executed (R7).
    #[default]
    Exec,
    /// When its first beat has come.
    Heartbeat,
    /// When it has reported so by sd_notify.
    Notify,
    /// When it has exited with a success code: a step that the next sibling waits for. Never together with `permanent`.
    Exit,
    /// When its readiness probe succeeds. The probe itself is in [`exec`](super::exec), as the core does not need it.
    Probe,
}

/// Delays between restarts. Off by default: OTP restarts at once (R34).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the first restart in a row.
    pub initial: Span,
    /// The delays grow up to this.
    pub max: Span,
    /// The factor from one delay to the next; at least 1.
    pub factor: f64,
    /// The part of each delay, 0 to 1, by which it is randomly lengthened or shortened at most.
    pub jitter: f64,
    /// A run of at least this length resets the next delay to the first one.
    pub reset: Span,
}

/// How the copies of a `count` are updated by a reload, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// How many copies are replaced at a time; at least 1.
    pub at_once: u32,
    /// Whether a copy's old process is stopped first, or its new one started.
    pub order: UpdateOrder,
    /// A copy must be up for this long before the next is replaced.
    pub settle: Span,
}

/// As the defaults of `docker service update`, whose monitor waits 5 s for a new task to fail.
impl Default for Update {
    fn default() -> Update {
        Update { at_once: 1, order: UpdateOrder::StopFirst, settle: Span::from_secs(5) }
    }
}

/// Whether a copy's old process is stopped first, or its new one started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old process is gone before the new one is started.
    #[default]
    StopFirst,
    /// The new process is up before the old one is stopped.
    StartFirst,
}

/// The part of a child's spec that supervision reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildPolicy {
    /// Whether it is restarted.
    pub restart: Restart,
    /// Whether it is started with its supervisor; else by an operator alone.
    pub autostart: bool,
    /// Whether its end counts for the supervisor's auto-shutdown; never with `permanent` (R4).
    pub significant: bool,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Its heartbeat; `None` if only its exit is watched.
    pub heartbeat: Option<Heartbeat>,
    /// When its start is over. A supervisor child is ready when its whole subtree is up (R6); this field is ignored for
    /// it.
    pub ready: Ready,
    /// How long a start may take before it has failed; `None` for no limit.
    pub start_timeout: Option<Span>,
    /// Delays between restarts; `None` restarts at once.
    pub backoff: Option<Backoff>,
    /// Exit codes that are a normal exit. For a supervisor child this is `[0]`.
    pub success_codes: Vec<i32>,
    /// What is done with a hung process before it is killed.
    #[serde(default)]
    pub evidence: Evidence,
    /// The group number that children of one `count` share. Neighbours with the same number are stopped together.
    pub group: Option<u32>,
    /// How it is updated by a reload, as a copy of a `count`.
    #[serde(default)]
    pub update: Update,
    /// Its process may be on another host: it has a `placement`.
    #[serde(default)]
    pub placed: bool,
}

impl ChildPolicy {
    /// The number of the copy called `name`, if it is one that a `count` has made.
    pub fn number_of(&self, name: &str) -> Option<u32> {
        self.group.and_then(|_| name.rsplit_once('-')?.1.parse().ok())
    }
}

/// OTP's defaults for a worker (R3).
impl Default for ChildPolicy {
    fn default() -> ChildPolicy {
        ChildPolicy {
            restart: Restart::Permanent,
            autostart: true,
            significant: false,
            shutdown: Shutdown::After(Span::from_secs(5)),
            heartbeat: None,
            ready: Ready::Exec,
            start_timeout: None,
            backoff: None,
            success_codes: vec![0],
            evidence: Evidence::default(),
            group: None,
            update: Update::default(),
            placed: false,
        }
    }
}

/// What is done with a hung process before it is killed, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// A command examines it, for [`Evidence::LIMIT`] at most.
    pub command: bool,
    /// It is sent `hang-signal`, and has the time of its `shutdown` to end.
    pub signal: bool,
}

impl Evidence {
    /// How long the command may take, and how long a process without a shutdown timeout may take to end by the signal.
    pub const LIMIT: Span = Span::from_secs(10);
}

/// The part of a supervisor's spec that supervision reads.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SupervisorPolicy {
    /// Which children are restarted together.
    pub strategy: Strategy,
    /// How many restarts within which time are too many.
    pub intensity: Intensity,
    /// Whether the end of significant children ends the supervisor.
    pub auto_shutdown: AutoShutdown,
    /// In which order children are started at the supervisor's own start.
    #[serde(default)]
    pub start_order: StartOrder,
    /// In which order all children are stopped.
    pub stop_order: StopOrder,
}
