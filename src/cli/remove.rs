//! `treevisor remove`: a child is stopped and forgotten.

use super::args::{Remove, When};
use super::out::Out;
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::wire::message::Verb;

pub(super) fn run(args: Remove, when: When) -> Result<ExitCode, Failure> {
    if args.path.is_root() {
        return Err(Failure::new(ExitCode::Usage, "cannot remove /: it is the tree itself")
            .hint("end the instance with `treevisor stop`"));
    }
    let instance = find(&args.target, "remove", &args.path)?;
    let change = Change {
        verb: "remove",
        path: &args.path,
        asked: Verb::RemoveChild { path: args.path.clone() },
        timeout: args.timeout,
        ends_instance: false,
    };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&args.path, &instance, "removed", &detail))?;
    Ok(ExitCode::Done)
}
