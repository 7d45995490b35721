//! What a host has kept on its disk of what has happened, page by page: between a tool and an agent, and between two
//! agents.

use serde::{Deserialize, Serialize};

/// Most bytes of a page. With what JSON adds to it, it fits into one frame.
pub const PAGE_MAX: usize = 64 * 1024;

/// The kinds of what agents report of their hosts, besides those that events of a tree have.
pub const REPORTS: [&str; 9] =
    ["host_lost", "host_back", "moved", "superseded", "fenced", "store_lost", "store_back", "store_unwell", "drained"];

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// What the agent of the host has reported, one JSON object a line.
    Agent,
    /// The journal of this instance.
    Instance(String),
}

/// Where a page begins. The first one begins at 0 of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Spot {
    /// In the file with this number, or in the next one that is there.
    pub file: u64,
    /// So many bytes of that come before it.
    pub offset: u64,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// Whole lines, as far as none is longer than a page. The last one of all may be written at this moment.
    pub text: String,
    /// Where the next one begins; `None` where there is none.
    pub next: Option<Spot>,
}
