//! How output is rendered: colours, line drawing, width.

use crate::cli::options::ColorMode;
use crate::cli::zone::Zone;
use std::io::IsTerminal;

/// How output is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether to use colours.
    pub colour: bool,
    /// Whether to draw lines in Unicode instead of ASCII.
    pub unicode: bool,
    /// The width in columns; `None` for no limit.
    pub width: Option<usize>,
    /// The zone in which times are shown.
    pub zone: Zone,
}

impl Look {
    /// For a pipe or a file: plain text without a limit of width.
    pub const PLAIN: Look = Look { colour: false, unicode: false, width: None, zone: Zone::Utc };

    /// The look for stdout.
    pub fn of_stdout(when: ColorMode) -> Look {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let colour = colour_for(&stdout, when);
        if !terminal && when != ColorMode::Always {
            return Look { zone: Zone::Local, ..Look::PLAIN };
        }
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        Look { colour, unicode: locale_is_unicode(), width, zone: Zone::Local }
    }

    /// The same look with times in this zone.
    #[must_use]
    pub fn times_of(self, zone: Zone) -> Look {
        Look { zone, ..self }
    }
}

/// Whether `stream` gets colours: decided by the option, and else by the stream and the environment.
pub fn colour_for(stream: &impl anstream::stream::RawStream, when: ColorMode) -> bool {
    match when {
        ColorMode::Always => true,
        ColorMode::Never => false,
        // Considers NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM, and whether the stream is a terminal.
        ColorMode::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
    }
}

/// Whether the terminal is expected to show Unicode. It is if the environment sets no locale, as is common in
/// containers.
pub(in crate::cli) fn locale_is_unicode() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok()).find(|v| !v.is_empty());
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
