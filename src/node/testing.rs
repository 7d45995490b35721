//! Makes parts of a node for tests.

use super::children::{Child, Children, Output};
use super::context::{Context, Place};
use super::processes::Processes;
use super::rate::RepeatedLines;
use super::reactor::Reactor;
use super::record::Handed;
use super::root::{Root, TreeFile};
use super::uplink::Uplink;
use crate::ids::{Incarnation, Mark, Name, Path, Token};
use crate::instance::runtime::RuntimeDir;
use crate::instance::testing::instance;
use crate::link::{Context as Sockets, Door, MessageMax, Router, RouterLimits, Rules};
use crate::logging;
use crate::logs::console::Console;
use crate::logs::{Format, Writer};
use crate::os::clock::Clock;
use crate::os::epoll::Poller;
use crate::os::signals::Signals;
use crate::spec;
use crate::spec::exec::Limit;
use crate::spec::tree::{Containment, TreeSpec};
use crate::wire;
use std::cell::Cell;

/// The context of a root that has nothing on disk and logs only critical errors.
pub(super) fn context() -> Context {
    let (logger, log_handle) = logging::root(slog::Level::Critical, Format::Plain, "test");
    let small = MessageMax { parts: 1, bytes: 1 };
    let rules = Rules { uid: 0, own: 1, other: 0, others: 0, anyone: false, family: None, large: small, small };
    let place = Place {
        instance: Name::parse("test").unwrap(),
        path: Path::root(),
        incarnation: Incarnation::FIRST,
        runtime: RuntimeDir::at("/nowhere"),
        mark: Mark::parse("00000000000000000000000000000000").unwrap(),
        base_group: None,
        limits_memory: Cell::default(),
        log_level: slog::Level::Critical,
        log_format: Format::Plain,
        output_format: Format::Plain,
        show_output: false,
        files: Writer::new(),
        nofile: Limit { soft: None, hard: None },
        hosting: None,
        family: Token([0; 16]),
        door: Door::new(rules),
    };
    let (clock, event_logger, base_environment) = (Clock::start(), logger.clone(), Vec::new());
    let (pid, lines) = (std::process::id(), RepeatedLines::default());
    Context { clock, pid, place, logger, event_logger, log_handle, base_environment, lines }
}

/// A reactor that watches nothing yet.
pub(super) fn reactor() -> Reactor {
    Reactor::new(Poller::new().expect("an epoll"), Signals::none(), Processes::new(false))
}

/// Reads the TOML text of a tree.
pub(super) fn tree(text: &str) -> TreeSpec {
    spec::read_text("test.toml", text, &|_| None).tree.unwrap()
}

/// The children of the root of a tree; no process is started.
pub(super) fn children(text: &str, context: &Context) -> Children {
    let specs = tree(text).root.children;
    let output = Output::new(Console::stdout(Format::Plain, "test"), context.place.files.clone());
    Children::new(specs.into_iter().map(|child| Child::new(child, &context.place, None)).collect(), output)
}

/// A parent's socket in a directory, and the connection of a child node to it.
pub(super) fn line(directory: &std::path::Path) -> (Router, Uplink) {
    let (sockets, handed) = (Sockets::new().unwrap(), Handed::of_test(Token([7; 16]), "secret"));
    let limits = RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max: wire::NODE_FRAMES_MAX };
    let parent = Router::bind(&sockets, &directory.join("parent"), limits).unwrap();
    let uplink = Uplink::connect(&sockets, parent.path().to_owned(), &handed).unwrap();
    (parent, uplink)
}

/// What only a root has, without a keeper and a journal; the operators' socket is in this directory.
pub(super) fn root(directory: &std::path::Path) -> Root {
    let (sockets, limits) = (Sockets::new().unwrap(), RouterLimits { frame_bytes_max: 64, frames_max: 1 });
    let control = Router::bind(&sockets, &directory.join("control"), limits).unwrap();
    Root::new(control, TreeFile::new(instance("test"), None, Containment::Auto, None), None, None)
}
