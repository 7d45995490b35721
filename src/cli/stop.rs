//! `treevisor stop`: stops children, or the whole instance, gracefully.

use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target, positive_span};
use super::targets::{Changes, Targets, change_targets};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Stop a part of the tree, or all of it, gracefully
///
/// Asks the child at PATH to stop, as OTP's terminate_child does: a supervisor stops its children one by one, the last
/// started first; a child that exceeds its shutdown time is killed. It stays down until `restart`. Without PATH the
/// whole instance ends.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor stop /web/jobs-3
  treevisor stop '/web/jobs-*' /mail
  treevisor stop
")]
pub struct Stop {
    #[command(flatten)]
    pub targets: Targets,
    #[command(flatten)]
    pub target: Target,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Stop, when: ColorMode) -> Result<ExitCode, Failure> {
    let asked = |path: &Path| Verb::Stop { path: path.clone() };
    let changes = Changes { verb: "stop", word: "stopped", asked: &asked, timeout: args.timeout, root_ends: true };
    change_targets(&changes, &args.targets, Some(Path::root()), &args.target, when)
}
