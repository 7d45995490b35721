//! How the log and the output of a tree in the foreground are shown, on a terminal and elsewhere.

use super::options::{ColorMode, LogFormat, LogLevel, Show};
use super::render::colour_for;
use crate::control::{own_base, running};
use crate::ids::Path;
use crate::logging::Format;
use crate::logs::live;
use crate::spec::tree::{ChildKind, SupervisorSpec, TreeSpec};
use anstream::stream::RawStream;

/// The formats of the log and of the workers' output.
pub(super) struct Foreground {
    pub log: Format,
    pub output: Format,
    /// The first line on a terminal.
    pub first_line: Option<String>,
}

impl Foreground {
    /// The formats by the options, and by what the two streams are.
    pub(super) fn of(show: &Show, tree: &TreeSpec, when: ColorMode) -> Foreground {
        let log = format(show, tree, &std::io::stderr(), when);
        let output = format(show, tree, &std::io::stdout(), when);
        let first_line = matches!(log, Format::Live { .. }).then(|| first_line(tree, is_named(tree)));
        Foreground { log, output, first_line }
    }
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
    collect(&Path::root(), &tree.root, &mut paths);
    let columns = terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
    live::column(paths.iter().map(Path::as_str), columns)
}

fn collect(at: &Path, supervisor: &SupervisorSpec, into: &mut Vec<Path>) {
    for child in &supervisor.children {
        let path = at.child(&child.name);
        if let ChildKind::Supervisor(below) = &child.kind {
            collect(&path, below, into);
        }
        into.push(path);
    }
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
