//! Options of `treevisor panic`.

use super::{Target, Targets, positive_span};
use crate::time::Span;
use clap::Args;

/// Kills a part of the tree now
///
/// The big red button. All processes at and below PATH are killed, without being asked, also when the supervisors in
/// between hang or are stopped. The supervisor above then restarts what was killed by its own strategy, as after any
/// crash. The panic of / ends the instance.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["paths", "all"]).required(true))]
#[command(after_long_help = "\
Examples:
  treevisor panic /web/api             kill it, and let its supervisor start it again
  treevisor panic --hold /web          kill it, and leave it down until `treevisor restart /web`
  treevisor panic '/web/jobs-*' /mail  several at once
  treevisor panic --force /            kill everything, even with the root itself hung
")]
pub struct Panic {
    /// What to kill.
    #[command(flatten)]
    pub targets: Targets,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Leave it down, until it is restarted
    #[arg(long)]
    pub hold: bool,
    /// Ask nobody: find the processes from outside and kill them. For when the root hangs. What is killed this way comes
    /// back by its supervisor's strategy as soon as that runs again
    #[arg(long, conflicts_with = "hold")]
    pub force: bool,
    /// Wait this long until all of it is gone
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "10s")]
    pub timeout: Span,
}
