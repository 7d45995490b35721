//! `treevisor status`: the tree at work.

use super::args::{Status, When};
use super::out::Out;
use super::render::{self, Look};
use super::{ExitCode, Failure, ask_failed, find};
use crate::control::{AskError, Limits, Session};
use crate::wire::message::{Reply, Verb};

pub(super) fn run(args: Status, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "see", &args.path)?;
    let failed = |error| ask_failed("see", &args.path, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let limits = Limits { first: args.timeout, overall: args.timeout };
    let reply = session.ask(Verb::Status { path: args.path.clone() }, limits, &mut |_, _| {}).map_err(failed)?;
    let Reply::Status { status } = reply else {
        return Err(failed(AskError::NotUnderstood("an answer to something else".into())));
    };
    let mut out = Out::open();
    if args.json {
        out.write_json(&status)?;
    } else {
        out.write(&render::status(&status, Look::of_stdout(when)))?;
    }
    Ok(ExitCode::Done)
}
