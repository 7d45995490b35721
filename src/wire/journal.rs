//! The lines of the journal: one JSON object each, in the order in which the root was notified of what happened.
//!
//! Most are events, exactly as `events --json` prints them. In between stand [`Note`]s, which are about the journal
//! itself: where a run of the instance begins and ends, and what could not be kept. They are distinguished by their key
//! `journal`, which no event has.
//!
//! A line that cannot be read (a process was killed, or the disk became full, in the middle of it) is no error and no
//! reason to stop: readers pass it over and count it.

use super::view::{EventView, HoldView};
use serde::{Deserialize, Serialize};

/// Entries about the journal itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "journal", rename_all = "kebab-case")]
pub enum Note {
    /// A run of the instance; the lines that follow belong to it. This is the first line of every file, and is repeated
    /// where another writer has taken over, so a file can be understood without those before it.
    Run(RunNote),
    /// Events are missing here.
    Lost {
        /// When that was noticed, in RFC 3339.
        at: String,
        /// How many. Events that were lost because their writer was killed are not counted, as their number is unknown.
        events: u64,
        /// The reason in words, for people.
        why: String,
    },
    /// All children that are held down from here on. The next run holds the children of the last such line, unless this
    /// run is stopped in order.
    Holds {
        /// When that was the complete list, in RFC 3339.
        at: String,
        /// By path, with when each was ordered.
        holds: Vec<HoldView>,
    },
    /// The run is over.
    End(EndNote),
}

/// One run of an instance, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNote {
    /// When it began, in RFC 3339.
    pub at: String,
    /// The id of the run: random hexadecimal digits.
    pub run: String,
    /// Name of the instance.
    pub instance: String,
    /// Of the treevisor that the root runs.
    pub version: String,
    /// Process id of the root.
    pub pid: u32,
    /// The kernel's id of the machine's present boot; empty where it is not available.
    pub boot: String,
    /// The file that the tree came from; empty for `treevisor run`.
    pub config: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndNote {
    /// When, in RFC 3339. Of a root that was killed: when the keeper noticed, which is at once.
    pub at: String,
    /// The id of the run that has ended.
    pub run: String,
    /// The root was killed or crashed; otherwise it ended in order, or gave up.
    pub killed: bool,
    /// Exit status of the root, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that killed it, where the kernel reports it (Linux 6.15).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How the run ended, in words.
    pub text: String,
}

/// One line that could be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Something happened in the tree.
    Event(EventView),
    /// A line about the journal itself.
    Note(Note),
}

impl Note {
    /// The note as a line of the journal, with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        // Serialising fails only for maps whose keys are no strings and for writers that fail; here is neither.
        let mut line = serde_json::to_vec(self).expect("notes are made of strings and numbers");
        line.push(b'\n');
        line
    }
}

/// Reads one line; `None` for one that is cut off or was not written by treevisor.
pub fn parse(line: &[u8]) -> Option<Line> {
    // `to_line` writes the key `journal` first. A note whose keys another program has reordered is found by the last
    // attempt below.
    if line.starts_with(b"{\"journal\":") {
        return serde_json::from_slice(line).ok().map(Line::Note);
    }
    let event = serde_json::from_slice(line).ok().map(Line::Event);
    event.or_else(|| serde_json::from_slice(line).ok().map(Line::Note))
}

/// Whether a line may be complete. A writer that was killed in the middle of a line leaves its beginning in the file,
/// and the next writer's first line follows it directly.
pub fn looks_whole(line: &[u8]) -> bool {
    line.starts_with(b"{\"") && line.ends_with(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Path;
    use crate::wire::view::testing;
    use serde_json::json;

    #[test]
    fn lines_read_as_they_were_written() {
        let run = RunNote {
            at: "2026-01-02T03:04:05.000000000Z".into(),
            run: "00c0ffee".into(),
            instance: "shop".into(),
            version: "0.1.0".into(),
            pid: 7,
            boot: String::new(),
            config: "/etc/shop.toml".into(),
        };
        let end = EndNote {
            at: run.at.clone(),
            run: run.run.clone(),
            killed: true,
            code: None,
            signal: Some(9),
            text: "it was killed".into(),
        };
        let lost = Note::Lost { at: run.at.clone(), events: 3, why: "the disk was full".into() };
        let hold = HoldView { path: Path::parse("/db").unwrap(), since: run.at.clone(), by: "uid 0".into() };
        let holds = Note::Holds { at: run.at.clone(), holds: vec![hold] };
        for note in [Note::Run(run), Note::End(end), lost, holds] {
            let line = note.to_line();
            assert!(looks_whole(line.strip_suffix(b"\n").unwrap()));
            assert_eq!(parse(&line), Some(Line::Note(note)));
        }
        let event = EventView { pid: Some(3), ..testing::event(2, "/", "exited", json!({ "code": 1 })) };
        assert_eq!(parse(&serde_json::to_vec(&event).unwrap()), Some(Line::Event(event)));
    }

    #[test]
    fn what_is_torn_is_nothing() {
        let line = Note::Lost { at: String::new(), events: 3, why: "why".into() }.to_line();
        for end in 0..line.len() - 2 {
            assert_eq!(parse(&line[..end]), None);
            assert!(!looks_whole(&line[..end]));
        }
        for text in ["", "null", "{}", "{\"journal\":\"new\"}", "\u{0}\u{0}", "{\"id\":\"1-1\"}"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
