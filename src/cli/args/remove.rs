//! The options of `remove`.

use super::{Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use clap::Args;

/// Stops a child and forgets it
///
/// OTP's terminate_child and delete_child in one: the child at PATH is stopped in order, with all that is below it, and
/// is no longer part of the tree. Its siblings are not touched, and no restart is counted.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What still stands in the tree's file comes back with the next reload, and when its supervisor is
itself started anew, as in OTP.

Examples:
  treevisor remove /web/canary
")]
pub struct Remove {
    /// What to remove
    #[arg(value_parser = path)]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Wait this long until it is gone; it goes on afterwards
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}
