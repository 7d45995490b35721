//! The options of `add`.

use super::{Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use clap::Args;
use std::path::PathBuf;

/// Adds children to a supervisor that runs
///
/// Starts the children of FILE below the supervisor at PARENT, as OTP's start_child does: one after the other, behind the
/// children that are there. One that cannot be started is forgotten, and those after it are not tried.
#[derive(Debug, Args)]
#[command(after_long_help = "\
FILE holds [[child]] tables, as the file of a tree does; its own [defaults] count, those of the
tree's file do not. What is added is lost when its supervisor is itself started anew, as in OTP:
only what stands in the tree's file comes back. A reload leaves it alone, unless it is told to
--prune or the file has it now.

Examples:
  treevisor add / night-shift.toml
  treevisor add /web canary.toml && treevisor status /web
  printf '[[child]]\\nname = \"one\"\\ncommand = \"./one\"\\n' | treevisor add / /dev/stdin

Exit codes:
  0  all children of FILE are up
  1  one could not be started, or one of its name is there already
  2  FILE has errors; nothing was started
  4  there is no such supervisor
")]
pub struct Add {
    /// The supervisor
    #[arg(value_parser = path)]
    pub parent: Path,
    /// A file with `[[child]]` tables
    pub file: PathBuf,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Wait this long for each child to be up; it goes on afterwards
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}
