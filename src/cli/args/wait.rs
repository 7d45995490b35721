//! The options of `wait`.

use super::{Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use clap::{Args, ValueEnum};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Until {
    /// It is up, with all that is below it.
    Running,
    /// Nothing of it runs, and nothing of it will by itself.
    Stopped,
}

/// Waits until something is up or down, for scripts
///
/// Ends as soon as the child at PATH is what is wanted, which may be at once. `running`: it is up, and so is all that is below
/// it, but for what has ended by itself and is not to come back. `stopped`: it is stopped, held or has ended. With `running`
/// an instance that is not there yet is waited for as well; with `stopped` its end will do.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor wait --until running && curl http://localhost:8080/
  treevisor wait /web/api --until running --timeout 5s
  treevisor stop /db && treevisor wait /db --until stopped

Exit codes:
  0  it is so
  3  no such instance runs, or it has ended
  4  no such path in the tree
  5  it was not so in time
")]
pub struct Wait {
    /// What is waited for; the whole tree without it
    #[arg(value_parser = path, default_value = "/", hide_default_value = true)]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// running or stopped
    #[arg(long, value_name = "STATE", hide_possible_values = true)]
    pub until: Until,
    /// Wait this long
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}
