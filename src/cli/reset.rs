//! `treevisor reset`: failures are forgotten, and what waits is started.

use super::args::{Reset, When};
use super::out::Out;
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::wire::message::Verb;

pub(super) fn run(args: Reset, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "reset", &args.path)?;
    let change = Change {
        verb: "reset",
        path: &args.path,
        asked: Verb::Reset { path: args.path.clone() },
        timeout: args.timeout,
        ends_instance: false,
    };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&args.path, &instance, "reset", &detail))?;
    Ok(ExitCode::Done)
}
