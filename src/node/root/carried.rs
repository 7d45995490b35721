//! What only the root has, in the snapshot of a hot upgrade.

use super::file::CarriedFile;
use super::journal::CarriedJournal;
use super::keeper::CarriedKeeper;
use super::panic_socket::PanicSocket;
use super::service_manager::CarriedManager;
use super::{Journal, Keeper, Root, ServiceManager, TreeFile};
use crate::link::{Context as Sockets, Door, Router, RouterLimits};
use crate::node::history::{CarriedHistory, History};
use crate::node::hosted::{CarriedHosted, Hosted};
use crate::node::luggage::{Number, OrRollBack, Packing, Unpacking};
use crate::node::reactor::Reactor;
use crate::os::process;
use crate::wire::snapshot::Kind;
use crate::wire::view::HoldView;
use serde::{Deserialize, Serialize};
use slog::Logger;
use std::path::{Path, PathBuf};

/// The parts of the snapshot that only the root has.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedRoot {
    control: Number,
    history: CarriedHistory,
    file: CarriedFile,
    journal: Option<CarriedJournal>,
    holds: Vec<HoldView>,
    keeper: Option<CarriedKeeper>,
    service_manager: Option<CarriedManager>,
    #[serde(with = "crate::files::exact::option")]
    panic_socket: Option<PathBuf>,
    ready: Option<Number>,
    /// Written only where a host's agent has started the tree: without, the snapshot has the form that it had before
    /// hosts existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hosted: Option<CarriedHosted>,
    /// Missing in the snapshot of an earlier version: then the path of the running executable is used.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::files::exact::option")]
    start_path: Option<PathBuf>,
}

impl Root {
    /// The snapshot of the root's own parts.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedRoot {
        let Root {
            control,
            history,
            file,
            start_path,
            journal,
            holds,
            keeper,
            service_manager,
            panic_socket,
            ready,
            hosted,
        } = self;
        CarriedRoot {
            control: packing.descriptor(&control.listener(), Kind::Listener, "the operators' socket"),
            history: history.pack(packing),
            file: file.pack(packing),
            journal: journal.as_ref().map(|journal| journal.pack(packing)),
            holds: holds.clone(),
            keeper: keeper.as_ref().map(|keeper| keeper.pack(packing)),
            service_manager: service_manager.as_ref().map(|manager| manager.pack()),
            panic_socket: panic_socket.as_ref().map(|socket| socket.path().to_path_buf()),
            ready: ready.as_ref().map(|ready| packing.descriptor(ready, Kind::Pipe, "what waits for the tree")),
            hosted: hosted.as_ref().map(|hosted| hosted.pack(packing)),
            start_path: Some(start_path.clone()),
        }
    }

    /// The root's own parts, from the snapshot of the program that ran before.
    pub(crate) fn unpack(
        carried: CarriedRoot,
        (sockets, path, limits, door): (&Sockets, &Path, RouterLimits, Door),
        logger: &Logger,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Root {
        let CarriedRoot {
            control,
            history,
            file,
            journal,
            holds,
            keeper,
            service_manager,
            panic_socket,
            ready,
            hosted,
            start_path,
        } = carried;
        let control = Router::go_on(sockets, path, unpacking.take(control), limits, door);
        let mut root = Root {
            control: control.or_roll_back("opening the operators' socket"),
            history: History::unpack(history, unpacking),
            file: TreeFile::unpack(file, unpacking),
            start_path: start_path.unwrap_or_else(process::start_path),
            journal: journal.map(|journal| Journal::unpack(journal, unpacking)),
            holds,
            keeper: keeper.map(|keeper| Keeper::unpack(keeper, unpacking, reactor)),
            service_manager: service_manager.and_then(|manager| ServiceManager::unpack(manager, logger)).map(Box::new),
            panic_socket: None,
            ready: ready.map(|ready| unpacking.take(ready).into()),
            hosted: hosted.map(|hosted| Hosted::unpack(hosted, unpacking, reactor)).map(Box::new),
        };
        root.watch_control(reactor).or_roll_back("watching the operators' socket");
        root.panic_socket = panic_socket.map(|path| PanicSocket::go_on(path, sockets, logger, reactor));
        root
    }
}
