//! `treevisor restart`: an orderly stop and a start of children.

use super::args::{Restart, When};
use super::out::Out;
use super::targets::{Changes, Meant, carry_out_all, known_paths, meant};
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::ids::Path;
use crate::wire::message::Verb;

pub(super) fn run(args: Restart, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "restart", &args.targets.first())?;
    let asked = |path: &Path| Verb::Restart { path: path.clone() };
    let path = match meant(&args.targets, None, "restart", &instance, || known_paths("restart", &instance))? {
        Meant::One(path) => path,
        Meant::Several(paths) => {
            let changes =
                Changes { verb: "restart", word: "restarted", paths: &paths, asked: &asked, timeout: args.timeout };
            return carry_out_all(&changes, &instance, when);
        }
    };
    let change =
        Change { verb: "restart", path: &path, asked: asked(&path), timeout: args.timeout, ends_instance: false };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&path, &instance, "restarted", &detail))?;
    Ok(ExitCode::Done)
}
