//! The options of `treevisor why`.

use super::{Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use clap::Args;

/// Tells why something is as it is
///
/// Follows the causes behind the present (or last) state of PATH back to where they began: what failed and how, its last
/// output, its beats, what it had used; who was restarted with it, how full the window of restarts was, who gave up to
/// whom. Without PATH the root is explained.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor why /web/api
  treevisor why                                 why did the tree end, or what happened last
  treevisor why --json /web | jq .first_cause   for scripts: category, event, meaning

Exit codes:
  0  told, also when nothing has ever gone wrong
  3  no such instance runs
  4  no such path in the tree
  5  no answer in time
")]
pub struct Why {
    /// What to explain
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}
