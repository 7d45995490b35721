//! Events: the fields that all of them have, and those of each kind.
//!
//! A new kind of event needs a variant here and, if it has fields, a struct in `fields`; the compiler names the other
//! places.

mod fields;
mod placed;

pub use fields::*;
pub use placed::*;

use crate::ids::{Path, ReportId};
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// One event of the tree.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Read")]
pub struct EventView {
    /// The node's number and the event's, unique in a run.
    pub id: ReportId,
    /// When, in RFC 3339 with nanoseconds, UTC.
    pub at: String,
    /// The child that it is about.
    pub path: Path,
    /// The process id of the process that it is about.
    pub pid: Option<u32>,
    /// The incarnation it is about; null where it is about none.
    pub incarnation: Option<u64>,
    /// The event that led to it.
    pub cause: Option<ReportId>,
    /// Set if the event is about a process that runs beside the child in a roll-out.
    pub beside: Option<Beside>,
    /// The kind of event, with its fields.
    pub body: EventBody,
    /// Set if the event stands for many of the same kind: how many, and when.
    pub repeats: Option<Box<Repeats>>,
    /// Fields that this version does not know; they are kept and passed on.
    pub more: Map<String, Value>,
}

/// The role of a process that runs beside the child at its path (`update = { order = "start-first" }`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beside {
    /// The new process, which is to become the child.
    Successor,
    /// The old process, whose place the child has taken.
    Predecessor,
}

/// The field `beside` as JSON.
#[derive(Serialize, Deserialize)]
struct IsBeside {
    beside: Beside,
}

/// The fields of an event that stands for many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How many there were in all.
    pub count: u64,
    /// When the first one happened.
    pub first: String,
    /// When the last one happened.
    pub last: String,
}

macro_rules! event_bodies {
    ($($(#[$doc:meta])* $kind:literal $variant:ident $(($bound:ident: $fields:ty))?;)*) => {
        /// What happened, with the fields that only events of this kind have.
        #[derive(Debug, Clone, PartialEq)]
        pub enum EventBody {
            $($(#[$doc])* $variant $(($fields))?,)*
            /// Any other event: of a kind that this version does not know, or without the fields that it expects of the
            /// kind.
            Other {
                /// As it was read.
                kind: String,
                /// As they were read, none left out.
                fields: Map<String, Value>,
            },
        }

        impl EventBody {
            /// The kinds, in the order in which they occur. `docs/json.md` has what each means.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The kind, as JSON has it.
            pub fn kind(&self) -> &str {
                match self {
                    $(EventBody::$variant { .. } => $kind,)*
                    EventBody::Other { kind, .. } => kind,
                }
            }

            /// Takes the fields of an event of this kind out of `fields`, if they are as expected.
            fn take(kind: String, fields: &mut Map<String, Value>) -> EventBody {
                let known = match kind.as_str() {
                    $($kind => event_bodies!(@take fields, $variant $(, $fields)?),)*
                    _ => None,
                };
                known.unwrap_or_else(|| EventBody::Other { kind, fields: std::mem::take(fields) })
            }
        }

        /// Writes the fields alone; the kind is written with the fields that all events have.
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

impl EventBody {
    /// The text that an event of an unknown kind brings along, as the reports of agents do.
    pub fn in_words(&self) -> Option<&str> {
        match self {
            EventBody::Other { fields, .. } => fields.get("text").and_then(Value::as_str),
            _ => None,
        }
    }
}

event_bodies! {
    /// A process is about to be made.
    "starting" Starting;
    /// The process is there.
    "started" Started(body: Started);
    /// The start is over.
    "ready" Ready;
    /// A beat is late.
    "beat_late" BeatLate(body: BeatLate);
    /// The host of a placed child cannot be reached; nothing is done before the lease of that host has expired.
    "unreachable" Unreachable(body: Unreachable);
    /// A heartbeat of a placed child has arrived, after its host could not be reached.
    "reachable" Reachable(body: Reachable);
    /// No beat within the limit, or no progress: the worker is killed.
    "hung" Hung(body: Box<Hung>);
    /// Messages were dropped, or connections closed.
    "dropped" Dropped(body: Dropped);
    /// The child's process has ended, and none of its descendants is left.
    "exited" Exited(body: Box<Exited>);
    /// Processes of the child have survived SIGKILL.
    "kill_failed" KillFailed(body: KillFailed);
    /// The child is to be restarted.
    "restarting" Restarting(body: Restarting);
    /// The child's host is lost, and the child is to be started on another one.
    "failed_over" FailedOver(body: FailedOver);
    /// No host may run the child now; it waits until one may.
    "no_host" NoHost(body: NoHost);
    /// The child is being stopped.
    "stopping" Stopping(body: Stopping);
    /// The child was stopped, and none of its processes is left.
    "stopped" Stopped;
    /// A child node gave up.
    "escalated" Escalated(body: Escalated);
    /// This supervisor gives up.
    "gave_up" GaveUp(body: GaveUp);
    /// This supervisor ends because its significant children are done.
    "auto_shutdown" AutoShutdown(body: AutoShutdown);
    /// The worker has named another process as its main one.
    "main_pid" MainPid(body: MainPid);
    /// A process that was started beside the previous one is the child from here on.
    "succeeded" Succeeded(body: Succeeded);
    /// The child is killed by an operator's order.
    "panic" Panic(body: Panic);
    /// The child is held down.
    "held" Held(body: Held);
    /// A hold is over.
    "released" Released(body: Released);
    /// A supervisor has a new set of children.
    "reloaded" Reloaded(body: Reloaded);
    /// Copies of a `count` are replaced one after another.
    "rollout" Rollout(body: Box<Rollout>);
    /// A supervisor goes on with another executable.
    "upgraded" Upgraded(body: Upgraded);
    /// A supervisor could not go on with another executable, and goes on as it was.
    "upgrade_failed" UpgradeFailed(body: UpgradeFailed);
    /// The child could not be started.
    "start_failed" StartFailed(body: StartFailed);
}

impl EventView {
    /// The kind, as JSON has it.
    pub fn kind(&self) -> &str {
        self.body.kind()
    }

    /// The fields of an `exited` event; `None` for any other kind.
    pub fn exited(&self) -> Option<&Exited> {
        match &self.body {
            EventBody::Exited(exited) => Some(exited),
            _ => None,
        }
    }

    /// How many events this one stands for.
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
        let is_beside = if fields.contains_key("beside") { take_fields(&mut fields) } else { None };
        let beside = is_beside.map(|IsBeside { beside }| beside);
        let body = EventBody::take(kind, &mut fields);
        EventView { id, at, path, pid, incarnation, cause, beside, body, repeats, more: fields }
    }
}

impl Serialize for EventView {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let EventView { id, at, path, pid, incarnation, cause, beside, body, repeats, more } = self;
        let (id, pid, incarnation, cause, kind) = (*id, *pid, *incarnation, *cause, body.kind());
        if repeats.is_none() && beside.is_none() && more.is_empty() {
            return Written { id, at, path, kind, pid, incarnation, cause, fields: Fields(body) }.serialize(to);
        }
        // All fields are written in the order of their names.
        let mut fields = more.clone();
        let is_beside = beside.map(|beside| IsBeside { beside });
        for part in [serde_json::to_value(Fields(body)), serde_json::to_value(repeats), serde_json::to_value(is_beside)]
        {
            if let Value::Object(part) = part.map_err(serde::ser::Error::custom)? {
                fields.extend(part);
            }
        }
        Written { id, at, path, kind, pid, incarnation, cause, fields }.serialize(to)
    }
}

/// Reads a struct from the fields and removes its members from them. If they are not as expected, returns `None` and
/// removes nothing.
fn take_fields<T: DeserializeOwned>(fields: &mut Map<String, Value>) -> Option<T> {
    let mut names: &'static [&'static str] = &[];
    let taken = T::deserialize(Named { fields, names: &mut names }).ok()?;
    names.iter().for_each(|name| drop(fields.remove(*name)));
    Some(taken)
}

/// A deserializer over the fields of an event that records the names of the struct's members.
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
