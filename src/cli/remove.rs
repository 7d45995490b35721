//! `treevisor remove`: stops a child and removes it from the tree.

use super::change::{Change, change_one};
use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Stop a child and remove it from the tree
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
    #[command(flatten)]
    pub target: Target,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Remove, when: ColorMode) -> Result<ExitCode, Failure> {
    if args.path.is_root() {
        return Err(Failure::new(ExitCode::Usage, "cannot remove /: it is the tree itself")
            .hint("end the instance with `treevisor stop`"));
    }
    let change = Change {
        verb: "remove",
        path: &args.path,
        asked: Verb::RemoveChild { path: args.path.clone() },
        timeout: args.timeout,
        ends_instance: false,
    };
    change_one(change, "removed", &args.target, when)
}
