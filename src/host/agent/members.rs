//! The endpoints of a store that the hosts of the cluster run: the agent follows which members it has, so that members
//! added later are asked too, and promotes this host's own member once it has caught up.
//!
//! A thread of its own asks, as the store may block. For a store that is run by other means the endpoints stand in the
//! host's file, and this part is not used.

use crate::host::known;
use crate::os::clock;
use crate::os::thread;
use crate::spec::host::HostFile;
use crate::spec::host::member::MemberAt;
use crate::store::etcd::members::Member;
use crate::store::etcd::{Endpoints, Etcd};
use crate::time::Span;
use slog::{Logger, info, warn};
use std::io;

/// How often the members are listed.
const EVERY: Span = Span::from_secs(5);

/// The same while this host's own member has no vote, or the store has not answered.
const SOON: Span = Span::from_secs(1);

/// Limit for an answer of the store.
const ANSWER: Span = Span::from_secs(5);

/// Starts the thread, which follows the members as long as this process runs.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn follow(mut etcd: Etcd, file: &HostFile, logger: Logger) -> io::Result<()> {
    let (own, endpoints) = (file.member(), etcd.endpoints());
    thread::start_quiet("treevisor-members", move || {
        loop {
            let settled = match etcd.members(ANSWER) {
                Ok(members) => {
                    take(&members, own.as_ref(), &endpoints, &logger);
                    settle(&mut etcd, &members, own.as_ref(), &logger)
                }
                // Not logged: the state of the lease shows that the store does not answer.
                Err(_) => false,
            };
            clock::pause(if settled { EVERY } else { SOON });
        }
    })
}

/// Uses these members as the endpoints from now on, and writes them down for the next start.
fn take(members: &[Member], own: Option<&MemberAt>, endpoints: &Endpoints, logger: &Logger) {
    let found = known::of_members(own.map(MemberAt::client).as_deref(), members);
    if found.is_empty() || *endpoints.get() == found {
        return;
    }
    info!(logger, "the store is asked at {}", found.join(", "));
    if let Err(why) = known::remember(&found) {
        warn!(logger, "the members of the store are not kept for the next start: {}", why);
    }
    endpoints.set(found);
}

/// Promotes this host's own member, if it is still a learner. Returns whether nothing is left to do.
fn settle(etcd: &mut Etcd, members: &[Member], own: Option<&MemberAt>, logger: &Logger) -> bool {
    let Some(peer) = own.map(MemberAt::peer) else { return true };
    match members.iter().find(|member| member.peers.contains(&peer)) {
        Some(Member { learner: false, .. }) => true,
        // etcd refuses this until the learner has caught up.
        Some(Member { id, .. }) if etcd.promote(*id, ANSWER).is_ok() => {
            info!(logger, "this host's member of the store has a vote now");
            false
        }
        _ => false,
    }
}
