//! `treevisor stop`: an orderly stop of a child, or of the whole instance.

use super::args::{Stop, When};
use super::out::Out;
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::wire::message::Verb;

pub(super) fn run(args: Stop, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "stop", &args.path)?;
    let change = Change {
        verb: "stop",
        path: &args.path,
        asked: Verb::Stop { path: args.path.clone() },
        timeout: args.timeout,
        ends_instance: args.path.is_root(),
    };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&args.path, &instance, "stopped", &detail))?;
    Ok(ExitCode::Done)
}
