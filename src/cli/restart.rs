//! `treevisor restart`: an orderly stop and a start of one child.

use super::args::{Restart, When};
use super::out::Out;
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::wire::message::Verb;

pub(super) fn run(args: Restart, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "restart", &args.path)?;
    let change = Change {
        verb: "restart",
        path: &args.path,
        asked: Verb::Restart { path: args.path.clone() },
        timeout: args.timeout,
        ends_instance: false,
    };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&args.path, &instance, "restarted", &detail))?;
    Ok(ExitCode::Done)
}
