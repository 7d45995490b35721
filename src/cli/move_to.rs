//! `treevisor move`: moves a placed subtree to another host.

use super::change::{Change, change_one};
use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Move a placed subtree to another host
///
/// It is stopped where it runs, and started on HOST, or else on the one that its `placement` prefers among the others.
/// No restart is counted. What cannot go there stays as it is, and the answer says why.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor move /db b
  treevisor move /db              to the host that comes next
")]
pub struct Move {
    /// The supervisor to move, which has a `placement`
    #[arg(value_parser = path)]
    pub path: Path,
    /// The host that it is to run on
    pub host: Option<String>,
    #[command(flatten)]
    pub target: Target,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Move, when: ColorMode) -> Result<ExitCode, Failure> {
    let change = Change {
        verb: "move",
        path: &args.path,
        asked: Verb::Move { path: args.path.clone(), to: args.host },
        timeout: args.timeout,
        ends_instance: false,
    };
    change_one(change, "moved", &args.target, when)
}
