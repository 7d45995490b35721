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

    /// The word.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// Says the words of enums.
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
    /// That child alone.
    #[default]
    OneForOne,
    /// All children of the supervisor.
    OneForAll,
    /// That child and all that stand after it in the start order.
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
    /// Never.
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
    /// Never.
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
    /// One after the other, each up before the next is begun (R6).
    #[default]
    InOrder,
    /// All at once: for children that do not depend on each other. Goes beyond OTP. Where one of them cannot be
    /// started, all end, as in the other order (R9).
    Together,
}

/// In which order a supervisor stops its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOrder {
    /// In reverse start order, each gone before the next is asked (R53).
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

/// What a child that beats has promised.
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
    /// The longest silence that is no hang.
    pub fn limit(&self) -> Span {
        self.interval.times(u64::from(self.misses))
    }
}

/// What every supervisor child promises to its parent unless its spec says otherwise.
impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { interval: Span::from_secs(1), misses: 3, grace: Span::ZERO, progress: false }
    }
}

/// When the start of a child is over, so that the next sibling may start.
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
    /// When a probe of its own is answered; what is asked is the shell's business.
    Probe,
}

/// Delays between restarts. Off by default: OTP restarts at once (R34).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first delay.
    pub initial: Span,
    /// The longest delay.
    pub max: Span,
    /// Each delay is the one before times this; at least 1.
    pub factor: f64,
    /// Each delay is stretched or shrunk at random by up to this part of it; 0 to 1.
    pub jitter: f64,
    /// A run of at least this long makes the next delay the first one again.
    pub reset: Span,
}

/// How the copies of a `count` get what a reload changes of them: one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// So many are replaced at a time; at least 1.
    pub at_once: u32,
    /// Which process of a copy is there first.
    pub order: UpdateOrder,
    /// A copy must be up for this long before the next is replaced.
    pub settle: Span,
}

/// As `docker service update` does it without options, whose monitor waits 5 s for a new task to fail.
impl Default for Update {
    fn default() -> Update {
        Update { at_once: 1, order: UpdateOrder::StopFirst, settle: Span::from_secs(5) }
    }
}

/// Which process of a copy that is replaced is there first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old one is gone before the new one is started.
    #[default]
    StopFirst,
    /// The new one is up before the old one is stopped.
    StartFirst,
}

/// What supervision needs of one child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildPolicy {
    /// Whether it is restarted.
    pub restart: Restart,
    /// Whether it is started with its supervisor; else by an operator alone.
    pub autostart: bool,
    /// Whether its end counts for the supervisor's auto-shutdown; never together with `permanent` (R4).
    pub significant: bool,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Its beats; `None` watches its exit alone.
    pub heartbeat: Option<Heartbeat>,
    /// When its start is over. For a supervisor child always when its whole subtree is up (R6), whatever stands here.
    pub ready: Ready,
    /// A start that is not over after this long has failed; `None` waits without bound.
    pub start_timeout: Option<Span>,
    /// Delays between restarts.
    pub backoff: Option<Backoff>,
    /// Exit codes that are a normal exit. For a supervisor child this is `[0]`.
    pub success_codes: Vec<i32>,
    /// What is done with a process that hangs before it is killed.
    #[serde(default)]
    pub evidence: Evidence,
    /// Children created by one `count` share a number; they are stopped together where they stand side by side.
    pub group: Option<u32>,
    /// How it gets what a reload changes of it, as one of a `count`.
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

/// What is done with a process that hangs before it is killed, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// A command looks at it, for [`Evidence::LIMIT`] at most.
    pub command: bool,
    /// It gets a signal of its own, and has the time of its `shutdown` to end by it.
    pub signal: bool,
}

impl Evidence {
    /// So long a command may look, and a process without a limit of its own may take to end by the signal.
    pub const LIMIT: Span = Span::from_secs(10);
}

/// What supervision needs of the supervisor itself.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SupervisorPolicy {
    /// Which children are restarted together.
    pub strategy: Strategy,
    /// How many restarts are too many.
    pub intensity: Intensity,
    /// Whether the end of significant children ends the supervisor.
    pub auto_shutdown: AutoShutdown,
    /// In which order children are started at the supervisor's own start.
    #[serde(default)]
    pub start_order: StartOrder,
    /// In which order children are stopped when all are.
    pub stop_order: StopOrder,
}
