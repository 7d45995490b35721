//! `treevisor start`: runs a tree from its file, in the foreground or in the background.

use super::failure::{ExitCode, Failure};
use super::file;
use super::foreground::{root_options, runtime_of};
use super::options::{ColorMode, LogFormat, Show, Target, span};
use super::out::{self, Out};
use super::targets::{Changes, Targets, change_targets, pattern};
use crate::control::detach::{self, Outcome};
use crate::control::{RuntimeDir, RuntimeError, StateDir, is_running};
use crate::error::Chain;
use crate::ids;
use crate::logs::stream_file::StreamFile;
use crate::node::boot::{self, RootOptions};
use crate::os::accounts::Wanted;
use crate::pattern::Pattern;
use crate::spec::tree::TreeSpec;
use crate::time::Span;
use crate::wire::message::Verb;
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Run a tree from its file, or start children of a running tree
///
/// With a FILE, runs its tree in the foreground, until it is stopped or gives up. The output of the workers is shown
/// with their paths in front.
///
/// With PATHs of a tree that runs, such as /web/api, starts what is down there: what was never started (`autostart =
/// false`), was stopped, is held, or has ended. What waits for its back-off is tried now. What is up is left alone, and
/// so are a step that is done, and siblings.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Signals:
  TERM, INT  graceful shutdown of the tree; a second one kills at once
  QUIT       panic: kill the whole tree at once
  HUP        read the file again, as `treevisor reload` does; errors are logged, and change nothing

Examples:
  treevisor start
  treevisor start shop.toml
  treevisor start --detach shop.toml && treevisor -i shop status
  treevisor start /web/admin              a child of the tree that runs
  treevisor start '/batch/*' /web/admin

What begins with / is a PATH, unless it ends with .toml or there is such a file.

Exit codes of a FILE:
  0   the tree was stopped, or ended by itself through auto-shutdown
  1   it could not begin: the instance runs already, no sockets, no cgroup
  2   the file has errors; nothing was started
  5   with --detach: the tree is not up yet; the start continues
  10  the root gave up: too many restarts came too fast
  11  a child could not be started at boot

Exit codes of PATHs:
  0   all of it is up
  1   something could not be started
  3   no such instance runs
  4   no such path in the tree
  5   not up in time; the start continues
")]
pub struct Start {
    /// The tree's file; or paths or patterns in a tree that runs: `*` within a name, `**` across levels
    #[arg(value_name = "FILE|PATH", default_value = "supervisors.toml")]
    pub what: Vec<PathBuf>,
    #[command(flatten)]
    pub target: Target,
    /// Run in the background, and return when the tree is up or has failed
    #[arg(short, long)]
    pub detach: bool,
    /// Run a tree with a `placement` on this machine, whatever runs on others
    #[arg(long)]
    pub here: bool,
    /// With --detach: append log and output to this file, instead of output.log in the instance's state directory.
    /// It is rotated at 10 MiB, and 5 older ones are kept: FILE.1 to FILE.5
    #[arg(long, value_name = "FILE", requires = "detach")]
    pub output: Option<PathBuf>,
    /// With --detach, and with PATHs: wait this long for it to be up
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "60s")]
    pub timeout: Span,
    #[command(flatten)]
    pub show: Show,
    /// Where the output goes that was opened already
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "detach")]
    pub output_at: Option<PathBuf>,
    /// Where to say that the tree is up
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "detach")]
    pub ready_at: Option<PathBuf>,
}

/// What `start` is to start.
#[derive(Debug, PartialEq)]
enum Resolved {
    File(PathBuf),
    Paths(Vec<Pattern>),
}

/// Decides whether the arguments are a file or paths of a running tree.
fn resolve(what: &[PathBuf], is_file: &dyn Fn(&Path) -> bool) -> Result<Resolved, Failure> {
    let is_path = |one: &PathBuf| {
        one.as_os_str().as_encoded_bytes().starts_with(b"/")
            && one.extension().is_none_or(|ending| ending != "toml")
            && !is_file(one)
    };
    if let [file] = what
        && !is_path(file)
    {
        return Ok(Resolved::File(file.clone()));
    }
    let wrong = |one: &Path, why: &str| Failure::new(ExitCode::Usage, format!("cannot start {}: {why}", one.display()));
    let mut paths = Vec::new();
    for one in what {
        if !is_path(one) {
            return Err(wrong(one, "it is no path of a tree, and one file is started at a time")
                .hint("a path begins with /, as `treevisor status` shows it"));
        }
        let text = one.to_str().ok_or_else(|| wrong(one, "names are ASCII"))?;
        paths.push(pattern(text).map_err(|why| wrong(one, &why))?);
    }
    Ok(Resolved::Paths(paths))
}

/// Starts children of a running tree that are down.
fn start_children(args: &Start, paths: Vec<Pattern>, when: ColorMode) -> Result<i32, Failure> {
    if args.detach {
        return Err(Failure::new(ExitCode::Usage, "--detach is for a FILE: a tree that runs goes on by itself"));
    }
    let asked = |path: &crate::ids::Path| Verb::Start { path: path.clone() };
    let changes = Changes { verb: "start", word: "is up", asked: &asked, timeout: args.timeout, root_ends: false };
    let targets = Targets { paths, all: false };
    change_targets(&changes, &targets, None, &args.target, when).map(ExitCode::number)
}

pub(super) fn run(args: Start, when: ColorMode) -> Result<i32, Failure> {
    let is_file = |path: &Path| path.metadata().is_ok_and(|there| !there.is_dir());
    let file = match resolve(&args.what, &is_file)? {
        Resolved::Paths(paths) => return start_children(&args, paths, when),
        Resolved::File(file) => file,
    };
    run_file(args, file, when)
}

fn run_file(args: Start, file: PathBuf, when: ColorMode) -> Result<i32, Failure> {
    args.show.can_be_written()?;
    let json = args.show.log_format == LogFormat::Json;
    let read = file::read(&file, Wanted::Here).without_advice();
    if json {
        read.show_as_log();
    } else {
        read.show(when);
    }
    let begun = read.into_tree("start", &file).and_then(|tree| Ok((runtime_of(&tree)?, tree)));
    let begun = begun.and_then(|(runtime, tree)| named_as_asked(&args, &tree).map(|()| (runtime, tree)));
    let begun = begun.and_then(|(runtime, tree)| placed(&args, &tree, &file).map(|()| (runtime, tree)));
    let (runtime, tree) = begun.map_err(|failure| if json { out::complain_as_log(failure) } else { failure })?;
    if args.detach {
        return run_detached(&args, &file, &tree, &runtime).map(ExitCode::number);
    }
    let ready = match &args.ready_at {
        None => None,
        Some(path) => Some(
            detach::settle(path)
                .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot go into the background: {error}")))?,
        ),
    };
    let output = args.output_at.clone().map(|path| StreamFile {
        path,
        max_size: crate::spec::LOG_MAX_SIZE,
        keep: crate::spec::LOG_KEEP,
    });
    let config = std::path::absolute(&file).unwrap_or(file);
    Ok(boot::run_root(RootOptions { output, ready, ..root_options(&args.show, tree, config, when)? }))
}

/// Refuses a tree with a `placement`: the agents of the cluster's hosts start it, and by hand it would run a second
/// time.
fn placed(args: &Start, tree: &TreeSpec, file: &Path) -> Result<(), Failure> {
    let by_an_agent = std::env::var_os(boot::LEASE_VARIABLE).is_some();
    let within = tree.root.placed(&ids::Path::root());
    if tree.placement.is_none() && within.is_empty() || args.here || by_an_agent {
        return Ok(());
    }
    let whose = within.first().filter(|_| tree.placement.is_none());
    let whose = whose.map_or("it".to_owned(), |path| path.to_string());
    let message =
        format!("cannot start {}: {whose} has a `placement`, so it is for hosts of a cluster", file.display());
    Err(Failure::new(ExitCode::Usage, message).hint(format!(
        "`treevisor deploy {0}` has it run on one of them; `treevisor start --here {0}` runs it on this machine, whatever runs elsewhere",
        file.display()
    )))
}

/// Refuses `-i` with another name than the file's. The environment variable may name another instance, as it is meant
/// for verbs that look for a running one.
fn named_as_asked(args: &Start, tree: &TreeSpec) -> Result<(), Failure> {
    let by_variable = std::env::var("TREEVISOR_INSTANCE").ok();
    match &args.target.instance {
        Some(asked) if asked != tree.name.as_str() && args.target.instance != by_variable => {
            let message = format!("cannot start \"{}\" as \"{asked}\": a tree is named by its file", tree.name);
            Err(Failure::new(ExitCode::Usage, message).hint(format!("write name = \"{asked}\" there")))
        }
        _ => Ok(()),
    }
}

/// The output file of a tree in the background: in the state directory, if there is one.
fn output_file(tree: &TreeSpec, runtime: &RuntimeDir) -> Result<PathBuf, RuntimeError> {
    match StateDir::own(&tree.name) {
        Some(state) if state.create().is_ok() => Ok(state.output_file()),
        _ => runtime.create().map(|()| runtime.output_file()),
    }
}

fn run_detached(args: &Start, file: &Path, tree: &TreeSpec, runtime: &RuntimeDir) -> Result<ExitCode, Failure> {
    let name = &tree.name;
    let failed = |error: &dyn std::error::Error| {
        Failure::new(ExitCode::Failed, format!("cannot start \"{name}\": {}", Chain(error)))
    };
    if is_running(runtime) {
        let message = format!("cannot start \"{name}\": the instance runs already");
        return Err(Failure::new(ExitCode::Failed, message)
            .hint(format!("stop it with `treevisor stop -i {name}`, or give this tree another name")));
    }
    let output = match &args.output {
        Some(output) => output.clone(),
        None => output_file(tree, runtime).map_err(|error| failed(&error))?,
    };
    let output = std::path::absolute(&output).unwrap_or(output);
    let mut arguments: Vec<OsString> = vec!["start".into(), file.into()];
    let level = format!("{:?}", args.show.log_level).to_lowercase();
    arguments.extend(["--color".into(), "never".into(), "--log-level".into(), level.into()]);
    match args.show.log_format {
        LogFormat::Term => {}
        LogFormat::Json => arguments.extend(["--log-format".into(), "json".into()]),
        LogFormat::Journald => arguments.extend(["--log-format".into(), "journald".into()]),
    }
    if args.show.no_output {
        arguments.push("--no-output".into());
    }
    if args.here {
        arguments.push("--here".into());
    }
    arguments.extend(["--output-at".into(), output.clone().into()]);
    // `detach::start` appends the path of the pipe.
    arguments.push("--ready-at".into());
    match detach::start(arguments, &output, args.timeout).map_err(|error| failed(&error))? {
        Outcome::Up { pid } => {
            let text = format!("{name} is up as process {pid}; its output is in {}\n", output.display());
            Out::open().write(&text)?;
            Ok(ExitCode::Done)
        }
        Outcome::NotYet { pid } => Err(Failure::new(
            ExitCode::NoAnswer,
            format!("\"{name}\" is not up after {}; it goes on as process {pid}", args.timeout),
        )
        .hint(format!("look at `treevisor status -i {name}` and at {}", output.display()))),
        Outcome::Ended { code, reason, output: lines } => {
            for line in &lines {
                out::raw_error(&format!("  {}\n", crate::text::clean(line)));
            }
            let reason = if reason.is_empty() { "the tree ended before it was up".into() } else { reason };
            let ended = match code {
                Some(code) => format!("it ended with exit code {code}"),
                None => "it was killed".into(),
            };
            let mut failure = Failure::new(ExitCode::Failed, format!("cannot start \"{name}\": {reason}; {ended}"))
                .hint(format!("all of its output is in {}", output.display()));
            // The root's exit code becomes ours. A root with exit code 0 was stopped during its start, which is a
            // failure here.
            failure.code = code.filter(|code| *code != 0).unwrap_or(failure.code);
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_tree_is_told_from_a_file() {
        let is_file = |path: &Path| path == Path::new("/dev/stdin");
        let of = |words: &[&str]| resolve(&words.iter().map(PathBuf::from).collect::<Vec<_>>(), &is_file);
        for file in ["supervisors.toml", "web", "./web", "/etc/shop.toml", "/dev/stdin"] {
            assert_eq!(of(&[file]).unwrap(), Resolved::File(file.into()));
        }
        assert!(matches!(of(&["/web/api"]).unwrap(), Resolved::Paths(paths) if paths[0].as_str() == "/web/api"));
        assert!(matches!(of(&["/web/*", "/db"]).unwrap(), Resolved::Paths(paths) if paths.len() == 2));
        for wrong in [&["a.toml", "b.toml"][..], &["/web", "/etc/shop.toml"], &["/web//x"]] {
            assert_eq!(of(wrong).unwrap_err().code, ExitCode::Usage.number(), "{wrong:?}");
        }
    }
}
