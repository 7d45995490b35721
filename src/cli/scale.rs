//! `treevisor scale`: changes the number of workers of a `count`.

use super::change::{Change, ask_failed, carry_out, done_line, in_json, running_tree};
use super::failure::{ExitCode, Failure};
use super::instance::find;
use super::options::{ColorMode, Target, path, positive_span};
use super::out::{self, Out};
use crate::control::Session;
use crate::ids::{Name, Path};
use crate::instance::runtime::InstanceFile;
use crate::os::accounts::Wanted;
use crate::os::cgroup::demand::Below;
use crate::os::machine;
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec, TreeSpec};
use crate::spec::{self, Severity};
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;

/// Change the number of replicas of a `count`
///
/// A child with `count = 4` and the name jobs is jobs-1 to jobs-4. With fewer, the highest numbers are stopped and
/// forgotten; with more, the next numbers are started behind them. Those that stay are not touched.
#[derive(Debug, Args)]
#[command(after_long_help = "\
A reload brings back the number that stands in the file, and so does a new start of the supervisor
above, as in OTP.

Examples:
  treevisor scale /web/jobs 8
  treevisor scale /web/jobs 1
")]
pub struct Scale {
    /// The path without the number: /web/jobs for /web/jobs-1, /web/jobs-2 ...
    #[arg(value_parser = path)]
    pub path: Path,
    /// How many there are to be
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::spec::COUNT_MAX)))]
    pub count: u32,
    #[command(flatten)]
    pub target: Target,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

pub(super) fn run(args: Scale, when: ColorMode) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "scale", &args.path)?;
    let mut session =
        Session::connect(&instance.runtime).map_err(|error| ask_failed("scale", &args.path, &instance, error))?;
    let (tree, _) = running_tree(&mut session, "scale", &instance, args.timeout)?;
    if let Some(hint) = is_a_child(&args, &tree) {
        let message = format!("cannot scale {} of \"{}\": it is one child, not a `count`", args.path, instance.name);
        return Err(Failure::new(ExitCode::NoPath, message).hint(hint));
    }
    let running = instance.runtime.read_instance().ok();
    let copies = new_copies(&args, tree, running.as_ref(), when)?.iter().map(in_json).collect::<Result<_, _>>()?;
    let change = Change {
        verb: "scale",
        path: &args.path,
        asked: Verb::Scale { path: args.path.clone(), count: args.count, copies },
        timeout: args.timeout,
        ends_instance: false,
    };
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(&args.path, &instance, &format!("scaled to {}", args.count), &detail))?;
    Ok(ExitCode::Done)
}

/// The advice if the path is that of a child without copies.
fn is_a_child(args: &Scale, tree: &TreeSpec) -> Option<String> {
    let root = Path::root();
    let child = tree.root.find(&root, &args.path)?;
    let copy = Path::parse(&format!("{}-1", args.path)).ok()?;
    if tree.root.find(&root, &copy).is_some_and(|copy| copy.policy.group.is_some()) {
        return None;
    }
    let of_all = args.path.as_str().rsplit_once('-').filter(|_| child.policy.group.is_some());
    Some(match of_all {
        Some((of_all, _)) => format!("all copies are meant: `treevisor scale {of_all} {}`", args.count),
        None => format!("give it `count = {}` in the file, and `treevisor reload`", args.count),
    })
}

/// The specs of new copies, if copies differ by more than their names: the tool reads them, with their files of
/// variables.
fn new_copies(
    args: &Scale,
    tree: TreeSpec,
    running: Option<&InstanceFile>,
    when: ColorMode,
) -> Result<Vec<ChildSpec>, Failure> {
    let root = Path::root();
    let (Some(base), Some(above)) = (args.path.name(), args.path.parent()) else { return Ok(Vec::new()) };
    let supervisor = match tree.root.find(&root, &above).map(|child| &child.kind) {
        Some(ChildKind::Supervisor(below)) => below,
        None if above == root => &tree.root,
        _ => return Ok(Vec::new()),
    };
    let names = (1..=args.count).filter_map(|number| Some((number, Name::parse(&format!("{base}-{number}")).ok()?)));
    let (there, new): (Vec<_>, Vec<_>) = names.partition(|(_, name)| supervisor.child(name.as_str()).is_some());
    let like = there.iter().find_map(|(_, name)| supervisor.child(name.as_str()));
    let mut copies = Vec::new();
    for (number, name) in new {
        match like.and_then(|like| spec::copy_of(like, name, number)) {
            None => return Ok(Vec::new()),
            Some(Ok(copy)) => copies.push(copy),
            Some(Err(wrong)) => {
                for wrong in &wrong {
                    out::say(when, &wrong.to_string());
                }
                let message = format!("cannot scale {}: its copy {number} cannot be; nothing was changed", args.path);
                return Err(Failure::new(ExitCode::Failed, message));
            }
        }
    }
    let mut read = TreeSpec { root: SupervisorSpec { children: copies, ..SupervisorSpec::default() }, ..tree };
    let below = Below::Running(running.and_then(|running| running.cgroup.as_deref()));
    let root = running.map_or_else(std::process::id, |running| running.pid);
    let mut refused = machine::object(&mut read, Wanted::Here, below, root);
    if let Some((path, _, refused)) = refused.find(|(.., refused)| refused.severity == Severity::Error) {
        let message = format!("cannot scale {}: {path}: {}; nothing was changed", args.path, refused.message);
        return Err(Failure::new(ExitCode::Failed, message));
    }
    Ok(read.root.children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::read_text;

    #[test]
    fn a_child_that_is_no_count_is_told_from_one() {
        let text = "[[child]]\nname = \"a\"\ncommand = \"x\"\n[[child]]\nname = \"b\"\ncommand = \"x\"\ncount = 2\n";
        let tree = read_text("tree", text, &|_| None).tree.unwrap();
        let hint = |path: &str| {
            let target = Target { instance: None };
            let args = Scale { path: Path::parse(path).unwrap(), count: 3, target, timeout: Span::ZERO };
            is_a_child(&args, &tree)
        };
        assert_eq!(hint("/a").unwrap(), "give it `count = 3` in the file, and `treevisor reload`");
        assert_eq!(hint("/b-2").unwrap(), "all copies are meant: `treevisor scale /b 3`");
        assert_eq!((hint("/b"), hint("/c")), (None, None));
    }
}
