//! `treevisor restart`: stops children gracefully and starts them again.

use super::change::{Change, change_one};
use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target, positive_span};
use super::targets::{Changes, Targets, change_targets};
use crate::ids::Path;
use crate::pattern::Pattern;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Restart children gracefully
///
/// The child at PATH alone is restarted, whatever the strategy of its supervisor, and no restart is counted. What was
/// stopped, held or has ended is started. Of several, those of different supervisors are restarted at the same time.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["paths", "all"]).required(true))]
#[command(after_long_help = "\
Examples:
  treevisor restart /web/api
  treevisor restart /web          a supervisor, with all that is below it
  treevisor restart '/web/jobs-*' /db
  treevisor restart --all
  treevisor restart --rolling /web/jobs    /web/jobs-1, then /web/jobs-2 ...
")]
pub struct Restart {
    #[command(flatten)]
    pub targets: Targets,
    #[command(flatten)]
    pub target: Target,
    /// Restart the copies of a `count` one after another, each up and settled before the next, as the key `update`
    /// says. PATH is the path without the number. Copies that do not run are left alone
    #[arg(long, conflicts_with = "all")]
    pub rolling: bool,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Restart, when: ColorMode) -> Result<ExitCode, Failure> {
    if args.rolling {
        return rolling(&args, when);
    }
    let asked = |path: &Path| Verb::Restart { path: path.clone() };
    let changes =
        Changes { verb: "restart", word: "restarted", asked: &asked, timeout: args.timeout, root_ends: false };
    change_targets(&changes, &args.targets, None, &args.target, when)
}

/// Restarts the copies of each named `count`, one `count` after the other.
fn rolling(args: &Restart, when: ColorMode) -> Result<ExitCode, Failure> {
    let mut paths = Vec::new();
    for pattern in &args.targets.paths {
        match pattern {
            Pattern::Path(path) => paths.push(path),
            Pattern::Glob(_) => {
                let message = format!("cannot restart {}: --rolling takes the name of a `count`", pattern.as_str());
                let hint = "name it without number: treevisor restart --rolling /web/jobs";
                return Err(Failure::new(ExitCode::Usage, message).hint(hint));
            }
        }
    }
    for path in paths {
        let asked = Verb::RestartRolling { path: path.clone() };
        let change = Change { verb: "restart", path, asked, timeout: args.timeout, ends_instance: false };
        change_one(change, "restarted", &args.target, when)?;
    }
    Ok(ExitCode::Done)
}
