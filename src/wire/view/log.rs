//! What workers print, as `logs` shows it.

use crate::ids::Path;
use serde::{Deserialize, Serialize};

/// A line that a worker has printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// When its supervisor has read it, in RFC 3339; null where only the text is known, as in a file.
    pub at: Option<String>,
    /// The child that printed it.
    pub path: Path,
    /// Its process; null where it is not known.
    pub pid: Option<u32>,
    /// Its incarnation; null where it is not known.
    pub incarnation: Option<u64>,
    /// By which stream it came, `stdout` or `stderr`; absent where both share one pipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Its content, with nothing in it that a terminal would act upon.
    pub text: String,
    /// The line was too long for one piece: more of it follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// This goes on where the piece before it was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
}

impl LogView {
    /// A whole line of which only the text is known, and whose it is.
    pub fn untimed(path: Path, text: String) -> LogView {
        LogView { at: None, path, pid: None, incarnation: None, stream: None, text, cut: false, continued: false }
    }
}
