//! Options of `treevisor events`.

use super::{Target, moment, path, positive_span};
use crate::cli::moment::Moment;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::view::KINDS;
use clap::Args;

/// Tells what happened, one event a line
///
/// Prints what happened in the tree, or in the part of it at PATH, oldest first; times are UTC. It is kept on disk: without
/// a running instance its last run is told, and with --since, --until or -n those before it as well.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Kinds:
  starting started ready beat_late hung dropped exited restarting stopping stopped escalated
  gave_up auto_shutdown panic held reloaded start_failed

Times are UTC, as all that is printed:
  10m, 1h30m              so long ago
  03:00, 03:00:30         the last time it was so late
  2026-11-24, 2026-11-24T03:00, 2026-11-24T03:00:30+01:00

Examples:
  treevisor events
  treevisor events -f /web
  treevisor events --since 03:10 --until 03:15 --kind exited,hung
  treevisor events -n 20 -i shop          the end of the story, also when nothing runs
  treevisor events -f --json | jq 'select(.kind == \"exited\") | {path, code, signal}'
")]
pub struct Events {
    /// Where in the tree
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Go on with what happens from now on, until the instance ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only events of these kinds
    #[arg(short, long, value_name = "KIND", value_delimiter = ',', value_parser = event_kind)]
    pub kind: Vec<String>,
    /// Not what happened before
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Not what happened after
    #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with = "follow")]
    pub until: Option<Moment>,
    /// Only the last N of them; with --follow, of those that are there already
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub last: Option<usize>,
    /// Print each event as one JSON object on a line of its own
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the first answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

fn event_kind(text: &str) -> Result<String, String> {
    if KINDS.contains(&text) {
        return Ok(text.to_owned());
    }
    let wanted = text.to_lowercase().replace('-', "_");
    let near = KINDS.iter().map(|kind| (strsim::jaro_winkler(kind, &wanted), kind)).max_by(|a, b| a.0.total_cmp(&b.0));
    Err(match near {
        Some((likeness, kind)) if likeness >= 0.75 => format!("there is no such kind of event; did you mean {kind}?"),
        _ => format!("there is no such kind of event; there are {}", KINDS.join(", ")),
    })
}
