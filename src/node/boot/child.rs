//! Starts a child node from its boot record.

use super::failure::{BootError, while_trying};
use super::whole::wire_up;
use super::wiring::{NodeParts, draw_family};
use crate::error::Chain;
use crate::ids::Mark;
use crate::instance::runtime::RuntimeDir;
use crate::link::Context as Sockets;
use crate::logging;
use crate::logs::{Writer, stream_file};
use crate::node::above::Above;
use crate::node::context::Place;
use crate::node::endpoint::doors;
use crate::node::hosted::Hosted;
use crate::node::record::{BOOT_FD, Handed, NodeBoot};
use crate::node::uplink::Uplink;
use crate::os::cgroup::Group;
use crate::os::clock::Clock;
use crate::os::{descendants, fd, process, signals};
use crate::supervision::Event;
use crate::wire;
use std::cell::Cell;
use std::io::Read;

/// Runs the node until it ends. Returns its exit status.
pub(super) fn run() -> i32 {
    signals::go_on_in_background();
    fd::complain_of_crashes();
    match parts().and_then(wire_up) {
        Ok(mut node) => {
            let end = node.run(Some(Event::Begin));
            node.leave(end)
        }
        Err(error) => {
            fd::complain(format_args!("treevisor: a node could not begin: {}", Chain(&error)));
            1
        }
    }
}

/// Reads the boot record, and makes the parts of the node.
fn parts() -> Result<NodeParts, BootError> {
    // Before anything else, as in a root: from here on the kernel kills this process when the lease of its host has
    // expired.
    let lease = Hosted::from_env().map_err(while_trying("run by the lease of the host"))?;
    let clock = Clock::start();
    let mut text = Vec::new();
    fd::inherited(BOOT_FD)
        .map(std::fs::File::from)
        .and_then(|mut file| file.read_to_end(&mut text))
        .map_err(while_trying("read what the parent node handed down"))?;
    let NodeBoot { instance, handed, here, spec } =
        wire::json::from_slice(&text).map_err(while_trying("understand what the parent node handed down"))?;
    drop(text);
    stream_file::set(here.output.clone());
    let log_level = slog::Level::from_usize(handed.log_level).unwrap_or(slog::Level::Info);
    let (event_logger, log_handle) = logging::root(log_level, handed.log_format, instance.as_str());
    descendants::become_subreaper().map_err(while_trying("become the reaper of orphans"))?;
    let base_group = match &here.cgroup {
        Some(path) => {
            let group = Group::open_entered_by_itself(path, here.cgroup_by_itself);
            Some(group.map_err(while_trying("open the subtree's cgroup"))?)
        }
        None => None,
    };
    fd::make_room(doors::descriptors(spec.children.len()));
    let sockets = Sockets::new().map_err(BootError::Link)?;
    let uplink = Uplink::connect(&sockets, here.parent, &handed).map_err(BootError::Link)?.by_lease(lease);
    let Handed { path, incarnation, cause, heartbeat, holds, log_format, output_format, show_output, .. } = handed;
    let family = draw_family()?;
    let place = Place {
        instance,
        path,
        incarnation,
        runtime: RuntimeDir::at(here.runtime),
        mark: Mark::parse(&here.mark).map_err(while_trying("read the tree's mark"))?,
        base_group,
        limits_memory: Cell::default(),
        log_level,
        log_format,
        output_format,
        show_output,
        files: Writer::new(),
        nofile: here.nofile,
        hosting: here.hosting,
        family,
        door: doors::for_children(process::own_uid(), family, spec.children.len(), fd::nofile_limit()),
    };
    Ok(NodeParts {
        clock,
        place,
        spec,
        holds,
        above: Above::Parent(Box::new(uplink)),
        sockets,
        heartbeat,
        cause,
        event_logger,
        log_handle,
        outsiders: false,
    })
}
