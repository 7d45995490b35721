//! Options of `treevisor init`.

use clap::Args;
use std::path::PathBuf;

/// Writes a file to begin with
///
/// Writes FILE with a small tree, and with comments on the keys that are needed most. It runs as it is.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor init && treevisor check supervisors.toml
  treevisor init --schema shop.toml    with its JSON schema, for editors
  treevisor init - | less

Exit codes:
  0  written
  1  it cannot be written, or is there already
")]
pub struct Init {
    /// Where to; - is stdout
    #[arg(value_name = "FILE", default_value = "supervisors.toml")]
    pub file: PathBuf,
    /// Write over a file that is there
    #[arg(short, long)]
    pub force: bool,
    /// Write treevisor.schema.json beside it too, and name it in the file's first line
    #[arg(long)]
    pub schema: bool,
}
