//! Options of `treevisor start`.

use super::{Show, span};
use crate::time::Span;
use clap::Args;
use std::path::PathBuf;

/// Runs a tree from its file
///
/// Runs the tree of FILE in the foreground, until it is stopped or gives up. The output of the workers is shown with
/// their paths in front.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Signals:
  TERM, INT  stop the tree in order; a second one kills what is left at once
  QUIT       panic: kill the whole tree at once
  HUP        read the file again, as `treevisor reload` does; errors are logged, and change nothing

Examples:
  treevisor start supervisors.toml
  treevisor start --detach supervisors.toml && treevisor status

Exit codes:
  0   the tree was stopped, or ended by itself through auto-shutdown
  1   it could not begin: the instance runs already, no sockets, no cgroup
  2   the file has errors; nothing was started
  5   with --detach: the tree is not up yet, and goes on
  10  the root gave up: too many restarts came too fast
  11  a child could not be started at boot
")]
pub struct Start {
    /// The tree's file
    pub file: PathBuf,
    /// Run in the background, and return when the tree is up or has failed
    #[arg(short, long)]
    pub detach: bool,
    /// With --detach: append log and output to this file, instead of output.log in the instance's runtime directory
    #[arg(long, value_name = "FILE", requires = "detach")]
    pub output: Option<PathBuf>,
    /// With --detach: wait this long for the tree to be up
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "60s", requires = "detach")]
    pub timeout: Span,
    /// What is shown.
    #[command(flatten)]
    pub show: Show,
    /// Where to say that the tree is up
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "detach")]
    pub ready_at: Option<PathBuf>,
}
