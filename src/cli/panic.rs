//! `treevisor panic`: the big red button, with the root's help or past it.

use super::args::{Panic, When};
use super::out::Out;
use super::{Change, ExitCode, Failure, carry_out, done_line, find, near_path, not_found};
use crate::control::force::{self, ForceError};
use crate::control::{self, Instance};
use crate::error::Chain;
use crate::wire::message::Verb;

pub(super) fn run(args: Panic, when: When) -> Result<ExitCode, Failure> {
    if args.force {
        let instance = control::find_to_force(&control::own_base(), args.target.instance.as_deref())
            .map_err(|error| not_found("panic", &args.path, &error))?;
        return run_forced(&args, &instance);
    }
    let instance = find(&args.target, "panic", &args.path)?;
    let change = Change {
        verb: "panic",
        path: &args.path,
        asked: Verb::Panic { path: args.path.clone(), hold: args.hold },
        timeout: args.timeout,
        ends_instance: args.path.is_root(),
    };
    let detail = carry_out(change, &instance, when)?;
    let word = if args.hold { "killed and held" } else { "killed" };
    Out::open().write(&done_line(&args.path, &instance, word, &detail))?;
    Ok(ExitCode::Done)
}

fn run_forced(args: &Panic, instance: &Instance) -> Result<ExitCode, Failure> {
    force::panic(&instance.runtime, &args.path).map_err(|error| {
        let message = format!("cannot panic {} of \"{}\" by force: {}", args.path, instance.name, Chain(&error));
        match error {
            ForceError::NoSuchPath(path) => match near_path(&path, instance) {
                Some(near) => Failure::new(ExitCode::NoPath, message).hint(format!("did you mean {near}?")),
                None => Failure::new(ExitCode::NoPath, message),
            },
            ForceError::Instance { .. } | ForceError::Kill { .. } => {
                Failure::new(ExitCode::Failed, message).hint("only root and the user that started the tree may do this")
            }
            ForceError::Stuck(_) => Failure::new(ExitCode::Failed, message).hint(
                "a process in such a state waits for a device or a network file system; it goes when that answers",
            ),
        }
    })?;
    Out::open().write(&done_line(&args.path, instance, "killed from outside", ""))?;
    Ok(ExitCode::Done)
}
