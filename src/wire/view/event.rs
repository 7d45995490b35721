//! Events: what all of them have, and for each kind what it has besides.
//!
//! A new kind of event is a variant here, its fields where it has some, and then what the compiler asks for.

use crate::ids::{Path, ReportId};
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// One event of the tree.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Read")]
pub struct EventView {
    /// Its id.
    pub id: ReportId,
    /// When, in RFC 3339 with nanoseconds, UTC.
    pub at: String,
    /// The child that it is about.
    pub path: Path,
    /// The process it is about.
    pub pid: Option<u32>,
    /// The incarnation it is about; null where it is about none.
    pub incarnation: Option<u64>,
    /// The event that led to it.
    pub cause: Option<ReportId>,
    /// What happened.
    pub body: EventBody,
    /// Of one that stands for many alike: how many, and when.
    pub repeats: Option<Box<Repeats>>,
    /// Fields that this version does not know; they are passed on.
    pub more: Map<String, Value>,
}

/// What an event has that stands for many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How many.
    pub count: u64,
    /// When the first one happened.
    pub first: String,
    /// When the last one did.
    pub last: String,
}

macro_rules! event_bodies {
    ($($(#[$doc:meta])* $kind:literal $variant:ident $(($bound:ident: $fields:ty))?;)*) => {
        /// What happened, with the fields that only events of this kind have.
        #[derive(Debug, Clone, PartialEq)]
        pub enum EventBody {
            $($(#[$doc])* $variant $(($fields))?,)*
            /// Anything else: of a kind that this version does not know, or without what it expects of its kind.
            Other {
                /// The kind.
                kind: String,
                /// Its fields.
                fields: Map<String, Value>,
            },
        }

        impl EventBody {
            /// The kinds, in the order in which they occur. `docs/cli.md` has what each means.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The kind, as JSON has it.
            pub fn kind(&self) -> &str {
                match self {
                    $(EventBody::$variant { .. } => $kind,)*
                    EventBody::Other { kind, .. } => kind,
                }
            }

            /// What the fields of an event of that kind are, which are taken out, if they are as expected.
            fn take(kind: String, fields: &mut Map<String, Value>) -> EventBody {
                let known = match kind.as_str() {
                    $($kind => event_bodies!(@take fields, $variant $(, $fields)?),)*
                    _ => None,
                };
                known.unwrap_or_else(|| EventBody::Other { kind, fields: std::mem::take(fields) })
            }
        }

        /// The fields alone: the kind stands between those that all events have.
        impl Serialize for Fields<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match self.0 {
                    $(EventBody::$variant $(($bound))? => event_bodies!(@write to $(, $bound)?),)*
                    EventBody::Other { fields, .. } => fields.serialize(to),
                }
            }
        }
    };
    (@take $from:ident, $variant:ident) => { Some(EventBody::$variant) };
    (@take $from:ident, $variant:ident, $fields:ty) => { take_fields::<$fields>($from).map(EventBody::$variant) };
    (@write $to:ident) => { NoFields {}.serialize($to) };
    (@write $to:ident, $bound:ident) => { $bound.serialize($to) };
}

event_bodies! {
    /// A process is about to be made.
    "starting" Starting;
    /// The process is there.
    "started" Started;
    /// The start is over.
    "ready" Ready;
    /// A beat is late.
    "beat_late" BeatLate(body: BeatLate);
    /// No beat within the limit, or no progress: it is killed.
    "hung" Hung(body: Box<Hung>);
    /// Messages were dropped, or connections closed.
    "dropped" Dropped(body: Dropped);
    /// Its process has ended and nothing is left of it.
    "exited" Exited(body: Box<Exited>);
    /// It was killed and is still there.
    "kill_failed" KillFailed(body: KillFailed);
    /// It is to be restarted.
    "restarting" Restarting(body: Restarting);
    /// It is being stopped.
    "stopping" Stopping(body: Stopping);
    /// It was stopped and is gone.
    "stopped" Stopped;
    /// A child node gave up.
    "escalated" Escalated(body: Escalated);
    /// This supervisor gives up.
    "gave_up" GaveUp(body: GaveUp);
    /// This supervisor ends because its significant children are done.
    "auto_shutdown" AutoShutdown(body: AutoShutdown);
    /// It is killed by order.
    "panic" Panic(body: Panic);
    /// It is down and held.
    "held" Held(body: Held);
    /// A hold is over.
    "released" Released(body: Released);
    /// A supervisor has a new set of children.
    "reloaded" Reloaded(body: Reloaded);
    /// It could not be started.
    "start_failed" StartFailed(body: StartFailed);
}

// The fields stand in the order of their names: that is how they have always been written.

/// A beat is late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeatLate {
    /// Milliseconds since the last beat, or since the start.
    pub age_ms: u64,
    /// After so many it is hung.
    pub limit_ms: u64,
    /// What the last probe has come to, where the beats are those of probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Why it is spared for now; null where it is not.
    pub spared: Option<String>,
}

/// A hang.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hung {
    /// Milliseconds since the last beat, or since progress was last made.
    pub age_ms: u64,
    /// Its beats until then, if it had promised some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beats: Option<LastBeats>,
    /// It reported so itself; absent where it did not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_its_word: bool,
    /// The limit that was exceeded.
    pub limit_ms: u64,
    /// Beats came, but their counter stood still.
    pub no_progress: bool,
    /// What the last probe has come to, where the beats are those of probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// What it was seen to do just before it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

/// The beats of a process up to a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBeats {
    /// Milliseconds since the last one; null before the first.
    pub age_ms: Option<u64>,
    /// How many there were.
    pub count: u64,
    /// Intervals that went by without one.
    pub missed: u64,
    /// What was waiting to be done, by the last one that had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// The progress counter of the last one that had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u64>,
}

/// What was dropped of a sender's, by reason.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// Messages to another worker than the sender's.
    pub by_strangers: u64,
    /// Connections too many.
    pub connections: u64,
    /// Messages that were not understood.
    pub malformed: u64,
    /// Which process has sent them; null where that is not known.
    pub sender: Option<String>,
    /// Messages too long.
    pub too_long: u64,
    /// Messages too many in a second.
    pub too_many: u64,
    /// Messages with a token that is not the sender's.
    pub unknown_token: u64,
}

/// The end of a process: exactly one of `code` and `signal` is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Exited {
    /// Its beats, if it had promised some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beats: Option<LastBeats>,
    /// Exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// A core file was written; absent where none was.
    #[serde(default, skip_serializing_if = "is_false")]
    pub core_dumped: bool,
    /// It was being stopped or killed by its supervisor. Absent from the first version's events, as all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<bool>,
    /// What a supervisor reported before it gave up, or a worker of why it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// Why its supervisor killed it; absent where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Killed>,
    /// It had left processes behind, which were killed; absent where it had not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub left_behind: bool,
    /// The resource limit that has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Of a failure: the limits that its spec sets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub limits: Map<String, Value>,
    /// Of a failure: processes of this machine that the kernel has ended since the last look, as memory ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_oom_kills: Option<u64>,
    /// One of the success codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<bool>,
    /// The memory of its cgroup had run out; absent where it had not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oom_killed: bool,
    /// Of a failure: its last lines of output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// Number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The name of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_name: Option<String>,
    /// What it last reported of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// Milliseconds from its start to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// What it had used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Used>,
}

impl Exited {
    /// Whether its supervisor was stopping or killing it.
    pub fn is_expected(&self) -> bool {
        self.expected == Some(true)
    }

    /// Whether it ended by itself, and with none of its success codes.
    pub fn is_failure(&self) -> bool {
        self.normal != Some(true) && !self.is_expected()
    }
}

/// Why a process was killed by its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Killed {
    /// It hung.
    Hung,
    /// By order.
    Panic,
    /// Its start took too long.
    StartTimeout,
    /// It was asked to stop and was still there when its shutdown time was over.
    ShutdownOver,
    /// The kernel refused the signal that was to ask it to stop.
    StopRefused,
    /// It was not to be asked.
    BrutalKill,
    /// A reason of a later version.
    #[serde(untagged)]
    Other(String),
}

/// What a process had used at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Milliseconds of CPU time.
    pub cpu_ms: u64,
    /// The most memory it had; null where that is not known.
    pub peak_memory_bytes: Option<u64>,
}

/// What cannot be killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillFailed {
    /// How many there are besides.
    pub others: u32,
    /// Why, by the kernel's word.
    pub reason: String,
    /// The process that is still there.
    pub survivor: u32,
}

/// A restart that was charged and is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarting {
    /// How long it waits first; 0 without back-off.
    pub delay_ms: u64,
    /// Restarts allowed; null is unlimited.
    pub max: Option<u32>,
    /// Length of the window.
    pub period_ms: u64,
    /// `one-for-one one-for-all rest-for-one`.
    pub strategy: String,
    /// Restarts in the window now.
    pub used: u32,
}

/// A stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// The operator, the origin of the reload, or the sender of the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    pub why: StopWhy,
}

/// Why a child is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopWhy {
    /// A sibling is restarted, and it with that one.
    Group,
    /// Its supervisor ends.
    SupervisorEnds,
    /// An operator asked.
    Operator,
    /// The tree has other children now.
    Reload,
    /// Its start took too long.
    StartTimeout,
    /// Its supervisor got a signal that does not come from the parent.
    Signal,
    /// A reason of a later version.
    #[serde(untagged)]
    Other(String),
}

/// A child node gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalated {
    /// Its explanation.
    pub explanation: String,
}

/// A supervisor gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveUp {
    /// The child that was to be restarted, by name.
    pub child: String,
    /// Restarts allowed.
    pub max: u32,
    /// Length of the window.
    pub period_ms: u64,
    /// Restarts in the window, the refused one included.
    pub used: u32,
}

/// A supervisor ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoShutdown {
    /// The child whose end decided it, by name.
    pub child: String,
}

/// A kill by order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// The operator.
    pub by: String,
    /// It is to stay down.
    pub hold: bool,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// It was held before its supervisor began; absent where it is held from now on, as what follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub again: bool,
    /// The operator that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The end of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The operator.
    pub by: String,
}

/// What became of a supervisor's children in a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Children that are new.
    pub added: u64,
    /// The origin of the reload.
    pub by: String,
    /// The number of the reload in the life of the tree.
    pub generation: u64,
    /// Children that nothing was changed of.
    pub kept: u64,
    /// Children that are to go.
    pub removed: u64,
    /// Children that are stopped and started with their new spec.
    pub restarted: u64,
    /// Children whose new spec was taken over without a restart.
    pub updated: u64,
}

/// A start that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailed {
    /// The system's error number; 0 where there is none.
    pub errno: i32,
    /// The whole of it in words.
    pub message: String,
    /// Whether it is to be tried again.
    pub retry: bool,
    /// Which step failed, such as "exec".
    pub stage: String,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl EventView {
    /// The kind, as JSON has it.
    pub fn kind(&self) -> &str {
        self.body.kind()
    }

    /// The end of a process that this event is, if it is one.
    pub fn exited(&self) -> Option<&Exited> {
        match &self.body {
            EventBody::Exited(exited) => Some(exited),
            _ => None,
        }
    }

    /// For how many this event stands.
    pub fn times(&self) -> u64 {
        self.repeats.as_ref().map_or(1, |repeats| repeats.count)
    }
}

// Reading and writing.

/// An event as it is read.
#[derive(Deserialize)]
struct Read {
    id: ReportId,
    at: String,
    path: Path,
    kind: String,
    pid: Option<u32>,
    incarnation: Option<u64>,
    cause: Option<ReportId>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// An event as it is written.
#[derive(Serialize)]
struct Written<'a, T> {
    id: ReportId,
    at: &'a str,
    path: &'a Path,
    kind: &'a str,
    pid: Option<u32>,
    incarnation: Option<u64>,
    cause: Option<ReportId>,
    #[serde(flatten)]
    fields: T,
}

/// The fields that only events of this kind have.
struct Fields<'a>(&'a EventBody);

#[derive(Serialize)]
struct NoFields {}

impl From<Read> for EventView {
    fn from(read: Read) -> EventView {
        let Read { id, at, path, kind, pid, incarnation, cause, mut fields } = read;
        let repeats = if fields.contains_key("count") { take_fields(&mut fields) } else { None };
        let body = EventBody::take(kind, &mut fields);
        EventView { id, at, path, pid, incarnation, cause, body, repeats, more: fields }
    }
}

impl Serialize for EventView {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let EventView { id, at, path, pid, incarnation, cause, body, repeats, more } = self;
        let (id, pid, incarnation, cause, kind) = (*id, *pid, *incarnation, *cause, body.kind());
        if repeats.is_none() && more.is_empty() {
            return Written { id, at, path, kind, pid, incarnation, cause, fields: Fields(body) }.serialize(to);
        }
        // All fields in the order of their names.
        let mut fields = more.clone();
        for part in [serde_json::to_value(Fields(body)), serde_json::to_value(repeats)] {
            if let Value::Object(part) = part.map_err(serde::ser::Error::custom)? {
                fields.extend(part);
            }
        }
        Written { id, at, path, kind, pid, incarnation, cause, fields }.serialize(to)
    }
}

/// Reads the fields of a struct and takes them out; `None`, and all stay, where they are not as expected.
fn take_fields<T: DeserializeOwned>(fields: &mut Map<String, Value>) -> Option<T> {
    let mut names: &'static [&'static str] = &[];
    let taken = T::deserialize(Named { fields, names: &mut names }).ok()?;
    names.iter().for_each(|name| drop(fields.remove(*name)));
    Some(taken)
}

/// The fields of an event, which notes the names of those that are asked for.
struct Named<'a> {
    fields: &'a Map<String, Value>,
    names: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for Named<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.fields.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.names = names;
        self.fields.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests;
