//! `treevisor beat`: a heartbeat from a shell script.

use super::args::Beat;
use super::{ExitCode, Failure, beat_for};
use crate::error::Chain;
use std::time::Duration;
use treevisor_client::{Delivered, Heart};

/// A node that does not take a beat by then is stopped or starved. The script goes on: it has its own work to do.
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
    // Each call of this program would begin to count at 1 again, which the node takes for old beats.
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
