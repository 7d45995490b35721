//! `treevisor signal`: sends a signal to a worker's process.

use super::change::{Change, change_one};
use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target, path, positive_span};
use crate::ids::Path;
use crate::signal;
use crate::signal::full_name;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Send a signal to a worker's process
///
/// To its main process, not to what that has started; by its supervisor, which cannot mistake another one
/// for it. If the worker exits from it, its supervisor acts as on any exit.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor signal /web/api HUP
  treevisor signal /db SIGUSR1
  treevisor signal /web/api 34
")]
pub struct Signal {
    /// Which worker
    #[arg(value_parser = path)]
    pub path: Path,
    /// Its name, with or without SIG, or its number
    #[arg(value_parser = number)]
    pub signal: i32,
    #[command(flatten)]
    pub target: Target,
    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

fn number(text: &str) -> Result<i32, String> {
    signal::number(text)
        .ok_or_else(|| format!("no such signal; a name such as HUP or a number from 1 to {} is expected", signal::MAX))
}

pub(super) fn run(args: Signal, when: ColorMode) -> Result<ExitCode, Failure> {
    let change = Change {
        verb: "signal",
        path: &args.path,
        asked: Verb::Signal { path: args.path.clone(), signal: args.signal },
        timeout: args.timeout,
        ends_instance: false,
    };
    let word = format!("was sent {}", full_name(args.signal));
    change_one(change, &word, &args.target, when)
}
