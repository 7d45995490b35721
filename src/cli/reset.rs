//! `treevisor reset`: clears failure counts, and starts children that wait for their backoff.

use super::change::{Change, change_one};
use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Reset failure counts, and end backoff delays
///
/// Of a supervisor: empties its window of restarts, forgets how often each of its children has failed, and starts those
/// that wait. Of a worker: the same for it alone; the window is its supervisor's. It reaches one supervisor, not those
/// below it, and does not start what was stopped, held or has ended; `restart` does.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor reset /web            after the cause is mended: count from none again
  treevisor reset /web/api        its next attempt now, and its delays from the shortest on
")]
pub struct Reset {
    /// The supervisor or worker to reset; the root by default
    #[arg(value_parser = path, default_value = "/", hide_default_value = true)]
    pub path: Path,
    #[command(flatten)]
    pub target: Target,
    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

pub(super) fn run(args: Reset, when: ColorMode) -> Result<ExitCode, Failure> {
    let change = Change {
        verb: "reset",
        path: &args.path,
        asked: Verb::Reset { path: args.path.clone() },
        timeout: args.timeout,
        ends_instance: false,
    };
    change_one(change, "reset", &args.target, when)
}
