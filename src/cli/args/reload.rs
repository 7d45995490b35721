//! The options of `reload`.

use super::{Target, positive_span};
use crate::time::Span;
use clap::Args;
use std::path::PathBuf;

/// Brings the tree to what its file says now
///
/// Reads the file, compares it with the tree that runs, and does what is needed so that both are the same: starts what
/// is new, stops what is gone, restarts what has another program or environment, and takes over the rest without a
/// restart. All else is not touched, and no restart is counted. A file with errors changes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What is done, and shown with the reason by --plan:
  start    it is new: it is started at its place
  stop     it is gone from the file: it is stopped and forgotten, the last ones first
  restart  a key differs that its process cannot be told: its command, environment, user, limits ...
  update   only rules of its supervisor differ: they hold from now on, the process stays
  move     it stands elsewhere among its siblings
  keep     it was added with `treevisor add`, and is not in the file; --prune stops it
What is stopped, held or has ended stays so. A `count` is what the file says, whatever was scaled.
What cannot be started is told and stays down, and the rest is done.

FILE and all that it includes are read here, with the environment of this command; SIGHUP to the
root reads them there, with the environment that the tree was started in. Name and containment of
a tree cannot change while it runs.

Examples:
  treevisor reload --plan
  treevisor reload
  treevisor reload other.toml --prune
  treevisor reload --plan --json | jq '.plan.steps[] | select(.action == \"restart\") | .path'

Exit codes:
  0  the tree is as the file says; with --plan: the plan was shown
  1  something could not be started, or the tree cannot become this one; the message says what
  2  the file has errors; nothing was changed
  5  not done in time; it goes on
")]
pub struct Reload {
    /// The tree's file; by default the one that it was started with, or reloaded from last
    pub file: Option<PathBuf>,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Stop what was added by hand and is not in the file
    #[arg(long)]
    pub prune: bool,
    /// Print one JSON object: the plan, and whether it was carried out
    #[arg(long)]
    pub json: bool,
    /// Wait this long until it is done; it goes on afterwards
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}
