//! `treevisor stop`: an orderly stop of children, or of the whole instance.

use super::args::{Stop, When};
use super::out::Out;
use super::targets::{Changes, Meant, carry_out_all, known_paths, meant};
use super::{Change, ExitCode, Failure, carry_out, done_line, find};
use crate::ids::Path;
use crate::wire::message::Verb;

pub(super) fn run(args: Stop, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "stop", &args.targets.first())?;
    let asked = |path: &Path| Verb::Stop { path: path.clone() };
    let known = || known_paths("stop", &instance);
    let path = match meant(&args.targets, Some(Path::root()), "stop", &instance, known)? {
        Meant::One(path) => path,
        Meant::Several(paths) => {
            let changes =
                Changes { verb: "stop", word: "stopped", paths: &paths, asked: &asked, timeout: args.timeout };
            return carry_out_all(&changes, &instance, when);
        }
    };
    let change =
        Change { verb: "stop", path: &path, asked: asked(&path), timeout: args.timeout, ends_instance: path.is_root() };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&path, &instance, "stopped", &detail))?;
    Ok(ExitCode::Done)
}
