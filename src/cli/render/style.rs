//! Styles by meaning, shared by `status`, `events` and `top`.

pub(in crate::cli) use crate::explain::style::{BAD, BUSY, GOOD, HELD, PLAIN, QUIET, of_event};
use anstyle::Style;

pub(in crate::cli) const HEAD: Style = Style::new().dimmed();
pub(in crate::cli) const NAME: Style = Style::new().bold();

/// The colour of a state of `status`.
pub(in crate::cli) fn of_state(state: &str) -> Style {
    match state {
        "running" => GOOD,
        "starting" | "stopping" | "waiting" => BUSY,
        "unreachable" => BAD,
        "held" => HELD,
        "stopped" | "exited" | "done" | "not started" => QUIET,
        _ => PLAIN,
    }
}
