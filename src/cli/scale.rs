//! `treevisor scale`: another number of workers of one `count`.

use super::args::{Scale, When};
use super::out::Out;
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::wire::message::Verb;

pub(super) fn run(args: Scale, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "scale", &args.path)?;
    let change = Change {
        verb: "scale",
        path: &args.path,
        asked: Verb::Scale { path: args.path.clone(), count: args.count },
        timeout: args.timeout,
        ends_instance: false,
    };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&args.path, &instance, &format!("scaled to {}", args.count), &detail))?;
    Ok(ExitCode::Done)
}
