//! `treevisor restart`: an orderly stop and a start of children.

use super::failure::{ExitCode, Failure};
use super::options::{Target, When, positive_span};
use super::targets::{Changes, Targets, change_targets};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Restart children gracefully
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
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Restart, when: When) -> Result<ExitCode, Failure> {
    let asked = |path: &Path| Verb::Restart { path: path.clone() };
    let changes =
        Changes { verb: "restart", word: "restarted", asked: &asked, timeout: args.timeout, root_ends: false };
    change_targets(&changes, &args.targets, None, &args.target, when)
}
