//! Options of `treevisor restart`.

use super::{Target, Targets, positive_span};
use crate::time::Span;
use clap::Args;

/// Stops children in order, and starts them
///
/// The child at PATH alone is restarted, whatever the strategy of its supervisor, and no restart is counted. What was
/// stopped, held or has ended is started. Of several, those of different supervisors are restarted at the same time.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["paths", "all"]).required(true))]
#[command(after_long_help = "\
Examples:
  treevisor restart /web/api
  treevisor restart /web          a supervisor, with all that is below it
  treevisor restart '/web/jobs-*' /db
  treevisor restart --all
")]
pub struct Restart {
    /// What to restart.
    #[command(flatten)]
    pub targets: Targets,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Wait this long until all of it is up; it goes on afterwards
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}
