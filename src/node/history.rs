//! The root's history of the tree's events. It is bounded in number and size: the oldest events are dropped.

use super::luggage::{Packing, Unpacking, fail};
use crate::ids::Path;
use crate::text;
use crate::wire::snapshot::Blob;
use crate::wire::view::{EventBody, EventView};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;

const REMEMBERED: usize = 10_000;

/// The most bytes that all events have together. Most have some hundred, but those with output of a worker have more.
const REMEMBERED_BYTES: usize = 32 << 20;

/// Events on their way to the root.
pub(super) struct EventBatch {
    pub events: Vec<EventView>,
}

/// A set of kinds of events, as one bit for each known kind and one for all unknown kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kinds(u32);

/// The kinds by their bits. Snapshots have the bits, so a kind keeps its place for ever, and a new kind comes last.
const BITS: [&str; 28] = [
    "starting",
    "started",
    "ready",
    "beat_late",
    "hung",
    "dropped",
    "exited",
    "kill_failed",
    "restarting",
    "stopping",
    "stopped",
    "escalated",
    "gave_up",
    "auto_shutdown",
    "main_pid",
    "succeeded",
    "panic",
    "held",
    "released",
    "reloaded",
    "rollout",
    "upgraded",
    "upgrade_failed",
    "start_failed",
    "failed_over",
    "no_host",
    "unreachable",
    "reachable",
];

const _: () = assert!(BITS.len() < 32 && BITS.len() >= EventBody::KINDS.len());

impl Kinds {
    fn of(kind: &str) -> Kinds {
        Kinds(1 << BITS.iter().position(|known| *known == kind).unwrap_or(31))
    }

    /// All kinds when `kinds` is empty.
    pub(super) fn any_of(kinds: &[String]) -> Kinds {
        let bits = kinds.iter().fold(0, |bits, kind| bits | Kinds::of(kind).0);
        Kinds(if kinds.is_empty() { u32::MAX } else { bits })
    }

    pub(super) fn have(self, kind: Kinds) -> bool {
        self.0 & kind.0 != 0
    }
}

/// An event in the history, as its JSON. That takes a fraction of the memory, and is what followers and the journal
/// get.
pub(super) struct Kept {
    pub path: Path,
    pub kind: Kinds,
    pub json: Box<[u8]>,
}

impl Kept {
    fn of(event: EventView) -> Option<Kept> {
        // Strings and numbers can always be written as JSON, so this does not fail. Control characters are escaped,
        // since people look at the journal's files with any tool, on a terminal.
        let json = serde_json::to_string(&event).ok()?;
        let json = match text::json(&json) {
            Cow::Borrowed(_) => json,
            Cow::Owned(escaped) => escaped,
        };
        Some(Kept { kind: Kinds::of(event.kind()), path: event.path, json: json.into_bytes().into_boxed_slice() })
    }
}

pub(super) struct History {
    events: VecDeque<Kept>,
    /// The size of all their JSON.
    bytes: usize,
    /// Number of the first remembered event; the numbers go on for ever.
    first: u64,
}

/// The history in the snapshot of a hot upgrade.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedHistory {
    /// Each event with the length of its JSON. The blob has the JSON of all events, one after the other.
    events: Vec<(Path, Kinds, usize)>,
    json: Blob,
    first: u64,
}

impl History {
    /// Writes the history into the snapshot.
    pub(super) fn pack(&self, packing: &mut Packing<'_>) -> CarriedHistory {
        let History { events, bytes: _, first } = self;
        let json: Vec<u8> = events.iter().flat_map(|event| event.json.iter().copied()).collect();
        let events = events.iter().map(|event| (event.path.clone(), event.kind, event.json.len())).collect();
        CarriedHistory { events, json: packing.bytes(json), first: *first }
    }

    /// Takes the history over from the snapshot.
    pub(super) fn unpack(carried: CarriedHistory, unpacking: &Unpacking<'_>) -> History {
        let CarriedHistory { events, json, first } = carried;
        let mut rest = unpacking.bytes(json);
        let bytes = rest.len();
        let one = |(path, kind, length)| {
            let (json, after) =
                rest.split_at_checked(length).unwrap_or_else(|| fail("the snapshot's events are cut off"));
            rest = after;
            Kept { path, kind, json: json.into() }
        };
        History { events: events.into_iter().map(one).collect(), bytes, first }
    }

    pub(super) fn new() -> History {
        History { events: VecDeque::new(), bytes: 0, first: 0 }
    }

    pub(super) fn push(&mut self, batch: EventBatch) {
        for event in batch.events {
            let kept = Kept::of(event);
            self.bytes += kept.as_ref().map_or(0, |kept| kept.json.len());
            self.events.extend(kept);
        }
        while self.events.len() > REMEMBERED || self.bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.json.len();
            self.first += 1;
        }
    }

    /// All events that are remembered, oldest first.
    pub(super) fn views(&self) -> Vec<EventView> {
        self.events.iter().filter_map(|event| serde_json::from_slice(&event.json).ok()).collect()
    }

    /// Number of the first event that is remembered.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Number of the event that comes next.
    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The event of this number. `None` if it was dropped or has not happened yet.
    pub(super) fn at(&self, number: u64) -> Option<&Kept> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::view::testing::event;
    use serde_json::{Value, json};

    fn batch(numbers: impl IntoIterator<Item = u32>) -> EventBatch {
        EventBatch { events: numbers.into_iter().map(|seq| event(seq, "/a", "stopped", json!({}))).collect() }
    }

    fn seq_at(history: &History, number: u64) -> Option<u32> {
        let kept = history.at(number)?;
        Some(serde_json::from_slice::<EventView>(&kept.json).unwrap().id.seq)
    }

    #[test]
    fn an_event_keeps_its_number_while_the_oldest_ones_are_dropped() {
        let mut history = History::new();
        assert_eq!((history.first(), history.end(), seq_at(&history, 0)), (0, 0, None));
        history.push(batch(0..3));
        assert_eq!((history.first(), history.end(), seq_at(&history, 2)), (0, 3, Some(2)));
        let most = u32::try_from(REMEMBERED).unwrap();
        history.push(batch(3..most + 5));
        assert_eq!((history.first(), history.end()), (5, u64::from(most) + 5));
        assert_eq!((seq_at(&history, 4), seq_at(&history, 5)), (None, Some(5)), "5 of them are dropped");
        assert_eq!(seq_at(&history, history.end() - 1), Some(most + 4));
        assert_eq!(seq_at(&history, history.end()), None, "it has not happened yet");
        assert_eq!(history.views().len(), REMEMBERED);
    }

    #[test]
    fn large_events_are_dropped_by_their_size() {
        let mut history = History::new();
        let large = |seq| event(seq, "/a", "no_host", json!({ "why": "x".repeat(REMEMBERED_BYTES / 4) }));
        history.push(batch(0..3));
        for seq in 3..8 {
            history.push(EventBatch { events: vec![large(seq)] });
        }
        assert_eq!((history.first(), seq_at(&history, 5)), (5, Some(5)), "3 large ones fit");
        history.push(batch(8..10));
        assert_eq!((history.first(), history.end()), (5, 10));
        let bytes = |history: &History| history.events.iter().map(|event| event.json.len()).sum::<usize>();
        assert!(history.bytes == bytes(&history) && history.bytes <= REMEMBERED_BYTES);
    }

    #[test]
    fn no_kinds_are_all_kinds_and_what_is_not_known_is_one_kind() {
        let of = |kinds: &[&str]| Kinds::any_of(&kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>());
        let (all, ends) = (of(&[]), of(&["stopped", "exited"]));
        for kind in EventBody::KINDS {
            assert!(all.have(Kinds::of(kind)) && BITS.contains(kind), "{kind}");
            assert_eq!(ends.have(Kinds::of(kind)), ["stopped", "exited"].contains(kind), "{kind}");
        }
        assert!(all.have(Kinds::of("of_a_later_version")) && !ends.have(Kinds::of("of_a_later_version")));
        assert!(of(&["one"]).have(Kinds::of("another")), "those that are not known are not distinguished");
    }

    #[test]
    fn the_kinds_in_a_kept_snapshot_are_those_of_its_events() {
        let snapshot = include_bytes!("../../tests/data/snapshots/0.1.0/root.snap");
        let (state, blobs) = crate::wire::snapshot::read::<Value, Value>(snapshot).unwrap();
        let carried = serde_json::from_value(state.node["above"]["operators"]["history"].clone()).unwrap();
        let history = History::unpack(carried, &Unpacking::begin(&[], blobs));
        let views = history.views();
        assert!(views.iter().any(|event| event.kind() == "exited") && views.len() == history.events.len());
        for (event, kept) in views.iter().zip(&history.events) {
            assert_eq!(kept.kind, Kinds::of(event.kind()), "{event:?}");
        }
        // Kinds that do not occur in it, and the last one when the order was fixed.
        for (kind, bit) in [("hung", 4), ("panic", 16), ("start_failed", 23), ("reachable", 27)] {
            assert_eq!(Kinds::of(kind), Kinds(1 << bit), "{kind}");
        }
    }

    #[test]
    fn what_a_terminal_acts_upon_is_not_kept_as_it_is() {
        let mut history = History::new();
        let name = "x\u{202e}y\u{9b}z";
        history.push(EventBatch { events: vec![event(1, "/a", "no_host", json!({ "why": name }))] });
        let json = std::str::from_utf8(&history.at(0).unwrap().json).unwrap();
        assert!(!json.contains('\u{202e}') && !json.contains('\u{9b}'), "{json}");
        assert_eq!(serde_json::to_value(&history.views()[0]).unwrap()["why"], name, "to be read as it was");
    }
}
