//! Output of workers, as `logs` shows it.

use crate::ids::Path;
use serde::{Deserialize, Serialize};

/// A line that a worker has printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// When its supervisor read it, in RFC 3339; null if only the text is known, as in a file.
    pub at: Option<String>,
    /// The child that printed it.
    pub path: Path,
    /// Its process; null where it is not known.
    pub pid: Option<u32>,
    /// Its incarnation; null where it is not known.
    pub incarnation: Option<u64>,
    /// The stream, `stdout` or `stderr`; absent if both share one pipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The text of the line, without control characters.
    pub text: String,
    /// The line was too long for one piece: more of it follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// The line continues the piece before it, which was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
}

impl LogView {
    /// A complete line of which only the text and the worker are known.
    pub fn untimed(path: Path, text: String) -> LogView {
        LogView { at: None, path, pid: None, incarnation: None, stream: None, text, cut: false, continued: false }
    }
}
