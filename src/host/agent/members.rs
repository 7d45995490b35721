//! Which members the store has, where hosts of the cluster run it: this host asks all of them, also those that came
//! after it, and its own gets a vote once it has what the others have.
//!
//! A thread asks, as that may take its time; it owns nothing. What the hosts of a store that is run by other means ask
//! stands in their files.

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

/// So often they are asked for.
const EVERY: Span = Span::from_secs(5);

/// The same while this host's own has no vote, or nothing has come.
const SOON: Span = Span::from_secs(1);

/// An answer takes no longer.
const ANSWER: Span = Span::from_secs(5);

/// Follows them, for as long as this process runs.
///
/// # Errors
/// There is no thread.
pub(super) fn follow(mut etcd: Etcd, file: &HostFile, logger: Logger) -> io::Result<()> {
    let (own, endpoints) = (file.member(), etcd.endpoints());
    thread::start_quiet("treevisor-members", move || {
        loop {
            let settled = match etcd.members(ANSWER) {
                Ok(members) => {
                    take(&members, own.as_ref(), &endpoints, &logger);
                    settle(&mut etcd, &members, own.as_ref(), &logger)
                }
                // The lease shows that the store does not answer.
                Err(_) => false,
            };
            clock::pause(if settled { EVERY } else { SOON });
        }
    })
}

/// Asks these members from here on.
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

/// Gives this host's own member a vote. Whether there is nothing left to do.
fn settle(etcd: &mut Etcd, members: &[Member], own: Option<&MemberAt>, logger: &Logger) -> bool {
    let Some(peer) = own.map(MemberAt::peer) else { return true };
    match members.iter().find(|member| member.peers.contains(&peer)) {
        Some(Member { learner: false, .. }) => true,
        // Until it has all that the others have, this is refused.
        Some(Member { id, .. }) if etcd.promote(*id, ANSWER).is_ok() => {
            info!(logger, "this host's member of the store has a vote now");
            false
        }
        _ => false,
    }
}
