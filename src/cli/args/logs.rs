//! The options of `logs`.

use super::{Target, moment, path, positive_span};
use crate::cli::moment::Moment;
use crate::ids::Path;
use crate::time::Span;
use clap::Args;

/// How many lines there are to be at first; `None` for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines(pub Option<usize>);

/// Shows what workers have printed
///
/// Prints the last lines of the worker at PATH, or of all workers at and below several, put in the order in which they
/// were said. The last 256 lines of each worker (16 KiB at most) are in its supervisor's memory; what is older is read from the
/// worker's own file, where it has one. Nothing in it can steer the terminal: control characters are
/// shown for what they are, colours are left out.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Lines from a file carry no time: they stand before those in memory, and --since leaves them out.
When nothing runs, the files of the last run are read; where they are stands beside its journal.

Examples:
  treevisor logs /web/api
  treevisor logs -f                             all workers, as it comes
  treevisor logs -n all --since 10m /web /db
  treevisor logs -f --json | jq -r 'select(.text | test(\"error\"; \"i\")) | .path'

Exit codes:
  0  done; with -f, the instance has ended
  3  no such instance runs
  4  no such path in the tree
  5  no answer in time
")]
pub struct Logs {
    /// Whose output; that of the whole tree without it
    #[arg(value_name = "PATH", value_parser = path, default_value = "/", hide_default_value = true)]
    pub paths: Vec<Path>,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Go on with what is printed from now on, until the instance ends
    #[arg(short, long)]
    pub follow: bool,
    /// The last N lines, of all that is shown together, or `all` there are
    #[arg(short = 'n', long, value_name = "N", value_parser = lines, default_value = "100")]
    pub lines: Lines,
    /// Nothing older than this: 10m (ago), 03:00, 2026-11-24, 2026-11-24T03:00; UTC
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Show when each line was said (UTC)
    #[arg(short, long)]
    pub times: bool,
    /// Print each line as one JSON object on a line of its own
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the first answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

fn lines(text: &str) -> Result<Lines, String> {
    match text {
        "all" => Ok(Lines(None)),
        number => match number.parse() {
            Ok(number) => Ok(Lines(Some(number))),
            Err(_) => Err("a number from 0 on is expected, or \"all\"".into()),
        },
    }
}
