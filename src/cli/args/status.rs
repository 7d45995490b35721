//! Options of `treevisor status`.

use super::{Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use clap::Args;

/// Shows the tree at work
///
/// Draws the running tree, or the part of it at PATH: the state of each child, its process, incarnation (#), uptime,
/// restarts, the age of its last beat against its limit, CPU, memory, its last exit, and of supervisors the restarts in
/// the window. On a terminal it fits the width: what matters least is left out.
#[derive(Debug, Args)]
#[command(after_long_help = "\
States:
  starting     its start is not over       stopped      an operator or its supervisor stopped it
  running      it is up                    held         panicked with --hold; stays down
  stopping     it is being stopped         exited       ended by itself, and is not to come back
  waiting      a back-off is not over      unreachable  its supervisor does not answer

CPU% is of one CPU: since the start of the process, or with --watch since the last look. What a worker
uses is that of all its processes; what a supervisor uses is that of its own process.

Examples:
  treevisor status
  treevisor status /web
  treevisor status --watch 2s
  treevisor status --json | jq '.. | select(.kind? == \"worker\" and .state != \"running\") | .path'
")]
pub struct Status {
    /// Where in the tree
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Show it again and again, in place on a terminal, until the instance ends [every 1s]
    #[arg(short, long, value_name = "INTERVAL", value_parser = watch_or_path, num_args = 0..=1)]
    #[arg(default_missing_value = "1s")]
    pub watch: Option<WatchOrPath>,
    /// Print one JSON object; with --watch one a line
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

/// What stands behind `--watch`. An interval may stand there, and a path may follow: a path begins with no number and
/// unit, so the two are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchOrPath {
    /// This often.
    Every(Span),
    /// It was the path that is to be watched.
    Path(Path),
}

impl WatchOrPath {
    /// How often, where nothing is said.
    pub const USUAL: Span = Span::from_secs(1);
    /// More often than that, nobody sees a difference, and the root has other things to do.
    const LEAST: Span = Span::from_millis(100);
}

fn watch_or_path(text: &str) -> Result<WatchOrPath, String> {
    match (positive_span(text), path(text)) {
        (Ok(every), _) => Ok(WatchOrPath::Every(every.max(WatchOrPath::LEAST))),
        (Err(_), Ok(path)) if !text.starts_with(|c: char| c.is_ascii_digit()) => Ok(WatchOrPath::Path(path)),
        (Err(error), _) => Err(error),
    }
}
