//! The format of a log, or of the output of workers.

use serde::{Deserialize, Serialize};

/// The format of a log, or of the output of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Plain text.
    Plain,
    /// Text with colour escapes for a terminal.
    Coloured,
    /// One JSON object per line.
    Json,
    /// Entries of systemd's journal, in its native protocol.
    Journald,
    /// For an interactive terminal: paths in a column; log events as one line each, cut to the width of the terminal.
    /// Output of workers is not cut.
    Live {
        colour: bool,
        /// The width of the column of paths.
        column: u8,
    },
}

impl Format {
    /// Whether colour escapes are written.
    pub(super) fn is_coloured(self) -> bool {
        matches!(self, Format::Coloured | Format::Live { colour: true, .. })
    }

    /// The width of the column of paths, if that is fixed from the first line on.
    pub(super) fn column(self) -> Option<usize> {
        match self {
            Format::Live { column, .. } => Some(column.into()),
            Format::Plain | Format::Coloured | Format::Json | Format::Journald => None,
        }
    }
}

/// True for colours: what a terminal gets.
impl From<bool> for Format {
    fn from(coloured: bool) -> Format {
        if coloured { Format::Coloured } else { Format::Plain }
    }
}
