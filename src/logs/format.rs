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
    /// Entries of systemd's journal, by its own protocol.
    Journald,
    /// For a terminal before which a person sits: paths in a column, and of the log what happens, in a line each that
    /// is cut to the terminal's width. Output of workers is not cut.
    Live {
        colour: bool,
        /// How wide the column of paths is.
        column: u8,
    },
}

impl Format {
    /// Whether escapes for colours are written.
    pub(super) fn is_coloured(self) -> bool {
        matches!(self, Format::Coloured | Format::Live { colour: true, .. })
    }

    /// The width of the column of paths, where there is one from the first line on.
    pub(super) fn column(self) -> Option<usize> {
        match self {
            Format::Live { column, .. } => Some(column.into()),
            Format::Plain | Format::Coloured | Format::Json | Format::Journald => None,
        }
    }
}

/// Whether it is in colours.
impl From<bool> for Format {
    fn from(coloured: bool) -> Format {
        if coloured { Format::Coloured } else { Format::Plain }
    }
}
