//! What a root in the foreground is started with: its directories, and how its log and the output of its workers are
//! shown, on a terminal and elsewhere.

use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, LogFormat, LogLevel, Show};
use super::render::colour_for;
use crate::control::{RuntimeDir, StateDir, journal, own_base, running};
use crate::error::Chain;
use crate::ids::Path;
use crate::logging::Format;
use crate::logs::live;
use crate::node::boot::RootOptions;
use crate::spec::tree::TreeSpec;
use anstream::stream::RawStream;
use std::path::PathBuf;

/// What a root in the foreground is started with, by the options and by what the two streams are. `config` is the
/// tree's file; an empty path if there is none, so that no reload can read it again.
pub(super) fn root_options(
    show: &Show,
    tree: TreeSpec,
    config: PathBuf,
    when: ColorMode,
) -> Result<RootOptions, Failure> {
    let log = format(show, &tree, &std::io::stderr(), when);
    Ok(RootOptions {
        another_name: None,
        config,
        state: StateDir::own(&tree.name),
        runtime: runtime_of(&tree)?,
        log_level: show.log_level.into(),
        log_format: log,
        output_format: format(show, &tree, &std::io::stdout(), when),
        first_line: matches!(log, Format::Live { .. }).then(|| first_line(&tree, is_named(&tree))),
        show_output: !show.no_output,
        output: None,
        ready: None,
        panic_button: None,
        read_holds: journal::held,
        tree,
    })
}

/// The runtime directory of the tree.
pub(super) fn runtime_of(tree: &TreeSpec) -> Result<RuntimeDir, Failure> {
    RuntimeDir::of(&own_base(), &tree.name)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot start \"{}\": {}", tree.name, Chain(&error))))
}

fn format(show: &Show, tree: &TreeSpec, stream: &impl RawStream, when: ColorMode) -> Format {
    let colour = colour_for(stream, when);
    // At these levels, which are for debugging treevisor itself, nothing is shortened.
    let in_full = matches!(show.log_level, LogLevel::Debug | LogLevel::Trace);
    match show.log_format {
        LogFormat::Json => Format::Json,
        LogFormat::Journald => Format::Journald,
        LogFormat::Term if stream.is_terminal() && !in_full => Format::Live { colour, column: column(tree) },
        LogFormat::Term => colour.into(),
    }
}

/// The width of the column for paths, for all paths of the tree and the terminal's present width.
fn column(tree: &TreeSpec) -> u8 {
    let mut paths = vec![Path::root()];
    tree.root.for_each_supervisor(&Path::root(), &mut |at, supervisor| {
        paths.extend(supervisor.children.iter().map(|child| at.child(&child.name)));
    });
    let columns = terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
    live::column(paths.iter().map(Path::as_str), columns)
}

/// Whether commands have to name this instance: another one runs, or the environment names another one.
fn is_named(tree: &TreeSpec) -> bool {
    let beside = running(&own_base()).is_ok_and(|all| all.iter().any(|one| one.name != tree.name));
    let other = |named: String| !named.is_empty() && named != tree.name.as_str();
    beside || std::env::var("TREEVISOR_INSTANCE").is_ok_and(other)
}

/// A first line that says how to see the tree, which the log does not show.
pub(super) fn first_line(tree: &TreeSpec, named: bool) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "treevisor".into());
    let program = program.to_string_lossy();
    if named {
        format!("in another terminal: {program} top -i {}", tree.name)
    } else {
        format!("in another terminal: {program} top")
    }
}
