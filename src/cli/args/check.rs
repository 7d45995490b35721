//! Options of `treevisor check`.

use clap::Args;
use std::path::PathBuf;

/// Checks a file, and shows the tree that it means
///
/// Reads FILE as `start` would, starts nothing, and draws the tree with its rules. All errors of the file are shown at
/// once, on stderr; so are warnings about rules that work against each other. Users and groups have to be there on this
/// machine, unless the file is for another one.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor check supervisors.toml
  treevisor check --portable supervisors.toml
  treevisor check --json supervisors.toml | jq '.diagnostics[].message'

Exit codes:
  0  the file is right; there may be warnings
  2  it has errors, or cannot be read
")]
pub struct Check {
    /// The tree's file
    pub file: PathBuf,
    /// The file is for another machine: a user or a group that is unknown here is a warning
    #[arg(long)]
    pub portable: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
