//! `treevisor panic`: the big red button, with the root's help or past it.

use super::args::{Panic, When};
use super::out::Out;
use super::targets::{Changes, Meant, Sum, carry_out_all, known_paths, meant};
use super::{Change, ExitCode, Failure, carry_out, done_line, find, near_path, not_found};
use crate::control::force::{self, ForceError};
use crate::control::{self, Instance};
use crate::error::Chain;
use crate::ids::Path;
use crate::wire::message::Verb;

pub(super) fn run(args: Panic, when: When) -> Result<ExitCode, Failure> {
    let first = args.targets.first();
    if args.force {
        let instance = control::find_to_force(&control::own_base(), args.target.instance.as_deref())
            .map_err(|error| not_found("panic", &first, &error))?;
        return run_forced(&args, &instance, when);
    }
    let instance = find(&args.target, "panic", &first)?;
    let word = if args.hold { "killed and held" } else { "killed" };
    let asked = |path: &Path| Verb::Panic { path: path.clone(), hold: args.hold };
    let path = match meant(&args.targets, None, "panic", &instance, || known_paths("panic", &instance))? {
        Meant::One(path) => path,
        Meant::Several(paths) => {
            let changes = Changes { verb: "panic", word, paths: &paths, asked: &asked, timeout: args.timeout };
            return carry_out_all(&changes, &instance, when);
        }
    };
    let change = Change {
        verb: "panic",
        path: &path,
        asked: asked(&path),
        timeout: args.timeout,
        ends_instance: path.is_root(),
    };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&path, &instance, word, &detail))?;
    Ok(ExitCode::Done)
}

/// Nobody is asked, so the paths are those that the root wrote down.
fn run_forced(args: &Panic, instance: &Instance, when: When) -> Result<ExitCode, Failure> {
    const WORD: &str = "killed from outside";
    let known = || {
        let file = instance.runtime.read_instance().map_err(|error| {
            let message = format!("cannot panic several of \"{}\" by force: {error}", instance.name);
            Failure::new(ExitCode::Failed, message)
        })?;
        Ok(file.tree_paths.into_iter().map(|known| known.path).collect())
    };
    match meant(&args.targets, None, "panic", instance, known)? {
        Meant::One(path) => {
            force_one(&path, instance)?;
            Out::open().write(&done_line(&path, instance, WORD, ""))?;
            Ok(ExitCode::Done)
        }
        Meant::Several(paths) => {
            let mut sum = Sum::new(paths.len(), WORD, when);
            for path in &paths {
                match force_one(path, instance) {
                    Ok(()) => sum.done(&done_line(path, instance, WORD, "")),
                    Err(failure) => sum.failed(path, &failure),
                }
            }
            sum.end()
        }
    }
}

fn force_one(path: &Path, instance: &Instance) -> Result<(), Failure> {
    force::panic(&instance.runtime, path).map_err(|error| {
        let message = format!("cannot panic {path} of \"{}\" by force: {}", instance.name, Chain(&error));
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
    })
}
