//! Options of `treevisor man`.

use clap::Args;
use std::path::PathBuf;

/// Prints a manual page
///
/// Prints the page of treevisor, or of one VERB, as man(1) reads it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor man | man -l -
  treevisor man status | man -l -
  treevisor man --dir ~/.local/share/man/man1 && man treevisor-status
")]
pub struct Man {
    /// The verb that the page is about; the program itself without it
    #[arg(value_name = "VERB")]
    pub verb: Option<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "verb", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}
