//! `treevisor signal`: a signal to a worker's process.

use super::args::{Signal, When};
use super::out::Out;
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::wire::message::Verb;
use crate::wire::sentence::signal_name;

pub(super) fn run(args: Signal, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "signal", &args.path)?;
    let change = Change {
        verb: "signal",
        path: &args.path,
        asked: Verb::Signal { path: args.path.clone(), signal: args.signal },
        timeout: args.timeout,
        ends_instance: false,
    };
    let detail = carry_out(change, &instance, when)?;
    let word = format!("was sent {}", signal_name(args.signal));
    Out::open().write(&done_line(&args.path, &instance, &word, &detail))?;
    Ok(ExitCode::Done)
}
