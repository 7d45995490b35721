//! How something is to be shown: colours, lines, width.

use crate::cli::options::When;
use crate::cli::zone::Zone;
use std::io::IsTerminal;

/// How something is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// With escapes for colours.
    pub colour: bool,
    /// With lines drawn in Unicode, rather than in ASCII.
    pub unicode: bool,
    /// Columns there are; `None` for as many as are needed.
    pub width: Option<usize>,
    /// Whose times.
    pub zone: Zone,
}

impl Look {
    /// In a pipe or a file: nothing but plain text, and all of it.
    pub const PLAIN: Look = Look { colour: false, unicode: false, width: None, zone: Zone::Utc };

    /// What fits where stdout goes.
    pub fn of_stdout(when: When) -> Look {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let colour = colour_for(&stdout, when);
        if !terminal && when != When::Always {
            return Look { zone: Zone::Local, ..Look::PLAIN };
        }
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        Look { colour, unicode: locale_is_unicode(), width, zone: Zone::Local }
    }

    /// The same with the times of this zone.
    #[must_use]
    pub fn times_of(self, zone: Zone) -> Look {
        Look { zone, ..self }
    }
}

/// Whether colours go to `stream`: what the user says counts first, then what the stream and the environment say.
pub fn colour_for(stream: &impl anstream::stream::RawStream, when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        // Knows NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM and whether it is a terminal.
        When::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
    }
}

/// Whether the terminal can be expected to show lines in Unicode. Without any word on it, it can: that is how a
/// container comes up.
pub(in crate::cli) fn locale_is_unicode() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok()).find(|v| !v.is_empty());
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
