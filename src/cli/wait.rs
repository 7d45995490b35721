//! `treevisor wait`: waits until a child is up or down.

use super::change::{FIRST_REPLY, ask_failed, done_line};
use super::failure::{ExitCode, Failure};
use super::instance::{anywhere, look_there, not_found};
use super::options::{ColorMode, Target, path, positive_span};
use super::out::Out;
use super::up::{is_up, look_until, not_up, status_until};
use crate::control::{AskError, FindError, Instance, Session};
use crate::ids::Path;
use crate::os::clock::Clock;
use crate::time::{Span, Time};
use crate::wire::view::{ChildView, StatusView};
use clap::{Args, ValueEnum};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum WaitTarget {
    /// It is up, with all that is below it.
    Running,
    /// Nothing of it runs, and nothing of it will by itself.
    Stopped,
}

/// Wait until a child is up or down, for scripts
///
/// Ends as soon as the child at PATH is what is wanted, which may be at once. `running`: it is up, and so is all that
/// is below it, but for what has ended by itself and is not to come back. `stopped`: it is stopped, held or has ended.
/// With `running` an instance that is not there yet is waited for as well; with `stopped` its end will do.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor wait --until running && curl http://localhost:8080/
  treevisor wait /web/api --until running --timeout 5s
  treevisor stop /db && treevisor wait /db --until stopped

Exit codes:
  0  it is so
  3  no such instance runs, or it has ended
  4  no such path in the tree
  5  it was not so in time
")]
pub struct Wait {
    /// The child to wait for; the whole tree by default
    #[arg(value_parser = path, default_value = "/", hide_default_value = true)]
    pub path: Path,
    #[command(flatten)]
    pub target: Target,
    /// running or stopped
    #[arg(long, value_name = "STATE", hide_possible_values = true)]
    pub until: WaitTarget,
    /// Wait this long
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Wait, _: ColorMode) -> Result<ExitCode, Failure> {
    let clock = Clock::start();
    let end = Time::ZERO + args.timeout;
    let instance = appeared(&args, &clock, end)?;
    let failed = |error| ask_failed("wait for", &args.path, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let mut ask = |limit| look_there(&mut session, &instance.name, &args.path, limit, anywhere);
    let look = |left: Span| match ask(FIRST_REPLY.min(left)) {
        Ok(status) => Ok(Some(status)),
        // The instance has ended, so nothing runs any more.
        Err(AskError::Gone) if args.until == WaitTarget::Stopped => Ok(None),
        Err(error) => Err(error),
    };
    let is_so = |seen: &Option<StatusView>| seen.as_ref().is_none_or(|status| holds(&status.root, args.until));
    let seen = status_until(&clock, end, look, is_so).map_err(failed)?;
    if let Some(status) = seen.filter(|status| !holds(&status.root, args.until)) {
        let waiting_for = match args.until {
            WaitTarget::Running => not_up(&status.root),
            WaitTarget::Stopped => format!("{} is {}", args.path, status.root.state()),
        };
        return Err(failed(AskError::NotDone { waiting_for, limit: args.timeout }));
    }
    let word = match args.until {
        WaitTarget::Running => "is running",
        WaitTarget::Stopped => "is stopped",
    };
    Out::open().write(&done_line(&args.path, &instance, word, ""))?;
    Ok(ExitCode::Done)
}

/// Finds the instance, and with `running` waits for one that does not run yet.
fn appeared(args: &Wait, clock: &Clock, end: Time) -> Result<Instance, Failure> {
    let look = |_| Ok(anywhere(args.target.instance.as_deref()));
    let may_come = |found: &Result<Instance, FindError>| {
        matches!(found, Err(FindError::NoneRuns { .. } | FindError::NotRunning { .. }))
            && args.until == WaitTarget::Running
    };
    let found = look_until(clock, end, look, |found| !may_come(found))?;
    found.map_err(|error| not_found("wait for", &args.path, &error))
}

/// Whether the state is the wanted one.
fn holds(view: &ChildView, until: WaitTarget) -> bool {
    match until {
        WaitTarget::Stopped => matches!(view.state(), "stopped" | "held" | "exited"),
        WaitTarget::Running => is_up(view),
    }
}
