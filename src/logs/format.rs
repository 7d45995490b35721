//! How a log, or the output of workers, looks.

use serde::{Deserialize, Serialize};

/// How a log, or the output of workers, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Plain text.
    Plain,
    /// Text with the escapes of a terminal's colours.
    Coloured,
    /// One JSON object a line.
    Json,
}

/// Whether it is in colours.
impl From<bool> for Format {
    fn from(coloured: bool) -> Format {
        if coloured { Format::Coloured } else { Format::Plain }
    }
}
