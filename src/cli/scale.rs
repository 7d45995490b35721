//! `treevisor scale`: another number of workers of one `count`.

use super::change::{Change, change_one};
use super::failure::{ExitCode, Failure};
use super::options::{Target, When, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Changes how many workers a `count` has made
///
/// A child with `count = 4` and the name jobs is jobs-1 to jobs-4. With fewer, the highest numbers are stopped and
/// forgotten; with more, the next numbers are started behind them. Those that stay are not touched.
#[derive(Debug, Args)]
#[command(after_long_help = "\
A reload brings back the number that stands in the file, and so does a new start of the supervisor
above, as in OTP.

Examples:
  treevisor scale /web/jobs 8
  treevisor scale /web/jobs 1
")]
pub struct Scale {
    /// The path without the number: /web/jobs for /web/jobs-1, /web/jobs-2 ...
    #[arg(value_parser = path)]
    pub path: Path,
    /// How many there are to be
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::spec::COUNT_MAX)))]
    pub count: u32,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Wait this long until it is done; it goes on afterwards
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Scale, when: When) -> Result<ExitCode, Failure> {
    let change = Change {
        verb: "scale",
        path: &args.path,
        asked: Verb::Scale { path: args.path.clone(), count: args.count },
        timeout: args.timeout,
        ends_instance: false,
    };
    change_one(change, &format!("scaled to {}", args.count), &args.target, when)
}
