//! The children's endpoint in the snapshot of a hot upgrade. During the upgrade, new connections wait in the backlog of
//! the listening socket, and datagrams in the sockets of their workers. PULL sockets for plain heartbeats are bound
//! anew.

use super::drops::Drops;
use super::{Endpoint, limits};
use crate::ids::Token;
use crate::link::{Context as Sockets, Router};
use crate::node::children::{Child, Children};
use crate::node::context::Context;
use crate::node::luggage::{Number, OrRollBack, Packing, Unpacking};
use crate::node::reactor::Reactor;
use crate::os::datagram::DatagramSocket;
use crate::supervision::{Dropped, Run};
use crate::wire::snapshot::Kind;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedEndpoint {
    #[serde(with = "crate::files::exact")]
    path: PathBuf,
    listener: Number,
    speakers: Vec<(Run, Token, Option<u32>)>,
    notify: Vec<CarriedNotify>,
    dropped: Dropped,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedNotify {
    run: Run,
    socket: Number,
    /// The sockets before it, to which the worker may have connected. Missing where its file was never removed, and in
    /// the snapshot of an earlier version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<Number>,
    #[serde(with = "crate::files::exact")]
    path: PathBuf,
    uid: Option<u32>,
}

impl CarriedNotify {
    fn pack(run: Run, socket: &DatagramSocket, uid: Option<u32>, packing: &mut Packing<'_>) -> CarriedNotify {
        let path = socket.path().to_path_buf();
        let before = socket.fds().skip(1).map(|fd| packing.descriptor(&fd, Kind::Datagram, path.display())).collect();
        CarriedNotify { run, socket: packing.descriptor(socket, Kind::Datagram, path.display()), before, path, uid }
    }
}

impl Endpoint {
    /// Writes the endpoint into the snapshot.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedEndpoint {
        // A verdict that waits starts again in the next image, and descriptors are counted again.
        let Endpoint { router, speakers, pulls: _, notify, drops, barrier: _, descriptors: _, sockets: _ } = self;
        CarriedEndpoint {
            notify: notify.all().map(|(run, socket, uid)| CarriedNotify::pack(run, socket, uid, packing)).collect(),
            path: router.path().to_path_buf(),
            listener: packing.descriptor(&router.listener(), Kind::Listener, "the socket of the children"),
            speakers: speakers.all(),
            dropped: *drops.so_far(),
        }
    }

    /// Takes the endpoint over from the snapshot.
    pub(crate) fn unpack(
        carried: CarriedEndpoint,
        sockets: Sockets,
        children: &Children,
        context: &Context,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Endpoint {
        let CarriedEndpoint { path, listener, speakers, notify, dropped } = carried;
        let (listener, door) = (unpacking.take(listener), context.place.door.clone());
        let nodes = children.iter().any(Child::is_node);
        let router =
            Router::go_on(&sockets, &path, listener, limits(nodes), door).or_roll_back("opening the children's socket");
        let mut endpoint = Endpoint { drops: Drops::after(dropped), ..Endpoint::of(router, sockets) };
        for (run, token, uid) in speakers {
            uid.into_iter().for_each(|uid| context.place.door.allow(uid));
            endpoint.speakers.admit(run, token, uid, context.now());
        }
        for CarriedNotify { run, socket, before, path, uid } in notify {
            let socket = unpacking.take(socket);
            let before = before.into_iter().map(|fd| unpacking.take(fd)).collect();
            let socket = DatagramSocket::go_on(socket, before, path);
            endpoint.notify.listen(run, socket, uid, reactor).or_roll_back("watching a worker's notifications");
        }
        let Endpoint { pulls, sockets, .. } = &mut endpoint;
        pulls.go_on(children, sockets, &context.logger, reactor);
        endpoint
    }
}
