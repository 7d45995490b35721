//! A node, written down for another image of the program. It is taken apart without `..`: a new field does not compile until it is
//! decided whether it goes over, is made anew, or is empty at the end of a turn.

use super::state::{CarriedAbove, CarriedNode, CarriedPlace};
use crate::logs::stream_file;
use crate::node::above::Above;
use crate::node::context::Place;
use crate::node::luggage::Packing;
use crate::node::turn::Node;
use crate::os::process;
use crate::supervision::Snapshot;
use crate::wire::snapshot::Facts;
use std::borrow::Cow;

impl Node {
    /// What goes over of the shell. Nothing is changed: this image goes on where the other cannot.
    pub(super) fn pack(&self, packing: &mut Packing<'_>) -> CarriedNode {
        let Node {
            context,
            reactor,
            core: _,
            children,
            endpoint,
            directory,
            above,
            probes,
            beside,
            hooks,
            limits,
            streams,
            requests,
            // Empty at the end of a turn.
            inbox: _,
            actions: _,
            pending_reports: _,
            folds,
            // Tried at once.
            console_retry: _,
            release_memory_at,
            // One that has ended is not replaced.
            ended: _,
            diary,
            spin: _,
            upgrade,
            stopping_signals,
            had_terminal,
        } = self;
        CarriedNode {
            place: context.place.pack(),
            output: stream_file::get().cloned(),
            children: children.pack(packing),
            endpoint: endpoint.pack(packing),
            directory: directory.pack(packing),
            above: match above {
                Above::Parent(uplink) => CarriedAbove::Parent(Box::new(uplink.pack())),
                Above::Operators(root) => CarriedAbove::Operators(Box::new(root.pack(packing))),
            },
            strangers: reactor.processes.unknown.pack(),
            probes: probes.pack(packing),
            beside: beside.pack(packing),
            hooks: hooks.pack(packing),
            limits: limits.clone(),
            streams: streams.clone(),
            requests: requests.pack(),
            folds: folds.clone(),
            release_memory_at: *release_memory_at,
            stalled: diary.stalled(),
            stopping_signals: *stopping_signals,
            had_terminal: *had_terminal,
            upgrade: upgrade.pack(),
        }
    }

    /// The snapshot in pieces.
    pub(super) fn written(
        &self,
        packing: Packing<'static>,
        node: CarriedNode,
        core: Snapshot,
    ) -> serde_json::Result<Vec<Cow<'static, [u8]>>> {
        packing.finish(|descriptors| Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: process::boot_id(),
            clock: self.context.clock.origin(),
            taken: self.context.now().as_nanos(),
            node,
            core,
            descriptors,
        })
    }
}

impl Place {
    fn pack(&self) -> CarriedPlace {
        let Place {
            instance,
            path,
            incarnation,
            runtime,
            mark,
            base_group,
            log_level,
            log_format,
            output_format,
            show_output,
            files: _,
            nofile,
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
            family: *family,
        }
    }
}
