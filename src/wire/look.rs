//! Reading the records on a host's disk (its agent's reports, the journals of its instances), page by page. The types
//! travel between a tool and an agent, and between two agents.

use serde::{Deserialize, Serialize};

/// Most bytes of a page's text. Escaped as JSON it still fits into one frame.
pub const PAGE_MAX: usize = 64 * 1024;

/// The kinds of events that agents report and that trees do not have.
pub const REPORTS: [&str; 9] =
    ["host_lost", "host_back", "moved", "superseded", "fenced", "store_lost", "store_back", "store_unwell", "drained"];

/// Which records are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// The reports of the host's agent, one JSON object a line.
    Agent,
    /// The journal of the instance with this name.
    Instance(String),
}

/// Where a page begins. The first page begins at file 0, offset 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RecordCursor {
    /// The number of the file. If that file is gone, the page begins in the next one that exists.
    pub file: u64,
    /// The offset in that file, in bytes.
    pub offset: u64,
}

/// One page of the records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// Complete lines, unless one is longer than a page. The last line of the newest file may be incomplete, as it may
    /// be being written.
    pub text: String,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<RecordCursor>,
}
