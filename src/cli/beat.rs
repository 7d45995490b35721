//! `treevisor beat`: a heartbeat from a shell script.

use super::beat_for;
use super::failure::{ExitCode, Failure};
use super::options::positive_span;
use crate::error::Chain;
use crate::time::Span;
use clap::Args;
use std::ffi::OsString;
use std::time::Duration;
use treevisor_client::{Delivered, Heart};

/// Send a heartbeat, from a shell script
///
/// Called by a worker (or a process that it has started), reports that the worker is alive. Outside a
/// supervised process it does nothing, and exits with 0: a script runs the same without treevisor.
///
/// With CMD, beats for a program that cannot: at each output, which is passed on, as are signals and its exit status.
/// With --while-pid, beats as long as a process exists, which shows that and no more.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Environment, set by the supervisor:
  TREEVISOR_ENDPOINT      where to send it
  TREEVISOR_TOKEN         which child, in which incarnation, it is for
  TREEVISOR_HEARTBEAT_MS  how often one is due
  TREEVISOR_EXE           this program, for scripts that do not find it in their PATH

Examples:
  while work; do treevisor beat; done
  treevisor beat --ready                       the start is over (ready = \"heartbeat\")
  treevisor beat --progress $n --pending $left --status \"file $n\"
  treevisor beat --busy-for 5m && pg_dump shop > shop.sql
  treevisor beat -- rsync -a --info=progress2 /srv backup:    output is the heartbeat
  ./server & exec treevisor beat --every 1s --while-pid $!

Exit codes:
  0    sent; without --strict also outside a supervised process
  1    with --strict: not in a supervised process
  5    with --strict: not received in time
  126  of CMD: it cannot be executed
  127  of CMD: it was not found
  n    of CMD: its own; 128 + n when signal n has ended it
")]
pub struct Beat {
    /// Work done so far; with `progress = true` a counter that does not move counts as a hang
    #[arg(long, value_name = "N")]
    pub progress: Option<u64>,
    /// Pending work; with 0 the counter need not move
    #[arg(long, value_name = "N")]
    pub pending: Option<u64>,
    /// Announce a pause: the next beat may take this long
    #[arg(long, value_name = "TIME", value_parser = positive_span)]
    pub busy_for: Option<Span>,
    /// A short text for `status`
    #[arg(long, value_name = "TEXT")]
    pub status: Option<String>,
    /// Report readiness
    #[arg(long)]
    pub ready: bool,
    /// Fail outside a supervised process, or if the heartbeat is not received
    #[arg(long)]
    pub strict: bool,
    /// Beat until this process has ended, which need not be a child
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    #[arg(conflicts_with_all = ["progress", "pending", "busy_for", "ready", "strict"])]
    pub while_pid: Option<u32>,
    /// With --while-pid: this often [default: twice in an interval]
    #[arg(long, value_name = "TIME", value_parser = positive_span, requires = "while_pid")]
    pub every: Option<Span>,
    /// Run this program, and beat when it makes output
    #[arg(last = true, value_name = "CMD")]
    #[arg(conflicts_with_all = ["while_pid", "progress", "pending", "busy_for", "ready", "strict"])]
    pub command: Vec<OsString>,
}

/// How long to wait for the node to take the beat. A node that takes longer is suspended or starved; the script then
/// goes on without it.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn run(args: Beat) -> Result<i32, Failure> {
    if !args.command.is_empty() {
        return beat_for::command(&args.command, args.status.as_deref());
    }
    if let Some(pid) = args.while_pid {
        return beat_for::process(pid, args.every, args.status.as_deref()).map(ExitCode::number);
    }
    once(args).map(ExitCode::number)
}

fn once(args: Beat) -> Result<ExitCode, Failure> {
    let lenient = |failure: Failure| if args.strict { Err(failure) } else { Ok(ExitCode::Done) };
    let heart = match Heart::try_from_env() {
        Ok(heart) => heart,
        Err(error) => {
            let message = format!("cannot beat: {}", Chain(&error));
            return lenient(Failure::new(ExitCode::Failed, message));
        }
    };
    // Each run of this program would count from 1 again, and the node would take its beats for old ones.
    let mut heart = heart.uncounted();
    if let Some(done) = args.progress {
        heart.progress(done);
    }
    if let Some(waiting) = args.pending {
        heart.pending(waiting);
    }
    if let Some(limit) = args.busy_for {
        heart.busy_for(limit.as_duration());
    }
    if let Some(text) = &args.status {
        heart.status(text);
    }
    if args.ready {
        heart.ready();
    }
    heart.beat();
    match heart.deliver(LIMIT) {
        Ok(Delivered::NotSupervised) => lenient(
            Failure::new(ExitCode::Failed, "cannot beat: nothing supervises this process")
                .hint("TREEVISOR_ENDPOINT is not set: run it as a worker of a tree, or by `treevisor run -- CMD`"),
        ),
        Ok(_) => Ok(ExitCode::Done),
        Err(error) => lenient(Failure::new(ExitCode::NoAnswer, format!("cannot beat: {}", Chain(&error)))),
    }
}
