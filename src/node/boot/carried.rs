//! The snapshot of parts that have no file of their own for it: the node's place in the tree, what is above it, and its
//! processes.

use crate::ids::Mark;
use crate::instance::runtime::RuntimeDir;
use crate::link::Context as Sockets;
use crate::logs::Writer;
use crate::node::above::Above;
use crate::node::context::{Context, Place};
use crate::node::endpoint::doors;
use crate::node::luggage::{OrRollBack, Packing, Unpacking};
use crate::node::processes::Processes;
use crate::node::reactor::Reactor;
use crate::node::root::Root;
use crate::node::unknown_children::CarriedUnknownChildren;
use crate::node::upgrade::state::{CarriedAbove, CarriedPlace};
use crate::node::uplink::Uplink;
use crate::os::cgroup::Group;
use crate::os::epoll::Poller;
use crate::os::signals::Signals;
use crate::os::{fd, process};
use std::cell::Cell;

impl Place {
    pub(super) fn pack(&self) -> CarriedPlace {
        let Place {
            instance,
            path,
            incarnation,
            runtime,
            mark,
            base_group,
            // Follows from the limits, which are carried.
            limits_memory: _,
            log_level,
            log_format,
            output_format,
            show_output,
            files: _,
            nofile,
            hosting,
            family,
            door: _,
        } = self;
        CarriedPlace {
            instance: instance.clone(),
            path: path.clone(),
            incarnation: *incarnation,
            runtime: runtime.path().to_path_buf(),
            mark: mark.to_string(),
            base_group: base_group.as_ref().map(|group| group.path().to_path_buf()),
            base_group_by_itself: base_group.as_ref().is_some_and(|group| group.is_entered_by_itself()),
            log_level: log_level.as_usize(),
            log_format: *log_format,
            output_format: *output_format,
            show_output: *show_output,
            nofile: *nofile,
            hosting: *hosting,
            family: *family,
        }
    }

    pub(super) fn unpack(carried: CarriedPlace, children: usize) -> Place {
        let CarriedPlace {
            instance,
            path,
            incarnation,
            runtime,
            mark,
            base_group,
            base_group_by_itself,
            log_level,
            log_format,
            output_format,
            show_output,
            nofile,
            hosting,
            family,
        } = carried;
        Place {
            instance,
            path,
            incarnation,
            runtime: RuntimeDir::at(runtime),
            mark: Mark::parse(&mark).or_roll_back("reading the tree's mark"),
            base_group: base_group.map(|path| {
                Group::open_entered_by_itself(&path, base_group_by_itself).or_roll_back("opening the subtree's cgroup")
            }),
            limits_memory: Cell::default(),
            log_level: slog::Level::from_usize(log_level).unwrap_or(slog::Level::Info),
            log_format,
            output_format,
            show_output,
            files: Writer::new(),
            nofile,
            hosting,
            family,
            door: doors::for_children(process::own_uid(), family, children, fd::nofile_limit()),
        }
    }
}

impl Above {
    pub(super) fn pack(&self, packing: &mut Packing<'_>) -> CarriedAbove {
        match self {
            Above::Parent(uplink) => CarriedAbove::Parent(Box::new(uplink.pack())),
            Above::Operators(root) => CarriedAbove::Operators(Box::new(root.pack(packing))),
        }
    }

    pub(super) fn unpack(
        carried: CarriedAbove,
        sockets: &Sockets,
        context: &Context,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Above {
        match carried {
            CarriedAbove::Parent(uplink) => Above::Parent(Box::new(Uplink::unpack(*uplink, sockets))),
            CarriedAbove::Operators(root) => {
                let control = context.place.runtime.control_socket();
                let door = doors::for_operators(process::own_uid(), fd::nofile_limit());
                let ways = (sockets, control.as_path(), doors::operators_limits(), door);
                Above::Operators(Box::new(Root::unpack(*root, ways, &context.logger, unpacking, reactor)))
            }
        }
    }
}

/// A reactor with what the snapshot has of adopted processes, probes and hooks.
pub(super) fn reactor_of(unknown: CarriedUnknownChildren) -> Reactor {
    let signals = Signals::install().or_roll_back("installing signal handlers");
    Reactor::new(Poller::new().or_roll_back("opening an epoll"), signals, Processes::unpack(unknown))
}
