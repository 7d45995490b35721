//! What a node does at its end besides waiting (`phase`): it reports how it has ended, and closes what it has.

use super::above::Above;
use super::children::{Children, LAST};
use super::context::Context;
use super::endpoint::Endpoint;
use crate::supervision::End;
use crate::time::Span;
use slog::error;

/// How long a closed socket goes on sending (`ZMQ_LINGER`).
const LINGER: Span = Span::from_millis(200);

/// How long the root waits for the keeper to exit. The keeper only has to write what it has received: a disk takes that
/// at once, or has failed.
pub(super) const DISMISSAL: Span = Span::from_secs(2);

/// Reports the end to the log and to the service manager. `left`: processes that could not be killed and stay behind.
pub(super) fn report(left: impl IntoIterator<Item = String>, end: End, above: &mut Above, context: &Context) {
    for left in left {
        error!(context.logger, "ending although processes cannot be killed; they are left behind"; "left" => left);
    }
    if let Above::Operators(root) = above {
        root.report_end(end, context, LAST);
        root.end_service_manager(end, context);
    }
}

/// Closes the sockets, ends the keeper, and removes the cgroups of the children.
pub(super) fn shut(above: Above, endpoint: Endpoint, children: Children) {
    match above {
        Above::Operators(root) => root.close(DISMISSAL, LINGER, || children.remove_groups()),
        Above::Parent(uplink) => {
            uplink.close(LINGER);
            children.remove_groups();
        }
    }
    drop(endpoint.close());
}
