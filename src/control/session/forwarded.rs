//! A root on another host, which a session reaches by way of this host's agent.
//!
//! The lock in the directory is that of the agent here. When it is released, the way to the root has ended: because its
//! host has reported that the root does not run there any more, or because the link to that host is down, the agent
//! here has ended, or the directory is for another host now. What the cluster's records show decides whether the
//! instance has ended too.

use super::super::agent::{INSTANCE, ask_agent};
use crate::instance::runtime::RuntimeDir;
use crate::os::clock::{self, Clock};
use crate::time::{Span, Time};
use crate::wire::hosts::{HostReply, HostRequest, HostsView, VIA};
use std::path::PathBuf;

/// How long the records may take to show that an instance has ended: they are written after its root has exited, and
/// read every second.
const SHOWN_WITHIN: Span = Span::from_secs(3);

/// Limit for one answer of the agent.
const ANSWER: Span = Span::from_secs(1);

/// A root on another host.
#[derive(Debug)]
pub(super) struct Forwarded {
    /// The base directory of the agent that forwards requests to it.
    base: PathBuf,
    instance: String,
    pub(super) shown_within: Span,
    /// The way to the root that the session had has ended.
    is_cut: bool,
}

impl Forwarded {
    /// `None`: the root of this directory runs on this machine.
    pub(super) fn of(runtime: &RuntimeDir) -> Option<Forwarded> {
        let via = runtime.path().parent()?;
        let host = via.parent()?;
        let base = host.parent().filter(|_| via.ends_with(VIA) && host.ends_with(INSTANCE))?.to_owned();
        let instance = runtime.path().file_name()?.to_str()?.to_owned();
        Some(Forwarded { base, instance, shown_within: SHOWN_WITHIN, is_cut: false })
    }

    /// Notes that the way to the root has ended.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Whether the way to the root has ended. Another one may lead to another run.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether the cluster's records show that the instance has ended. It is waited for, as this may take a moment.
    pub(super) fn has_ended(&self) -> bool {
        let clock = Clock::start();
        loop {
            let told = ask_agent(&self.base, &HostRequest::Hosts, &[], ANSWER);
            if matches!(told, Ok(HostReply::Hosts(view)) if is_down(&view, &self.instance)) {
                return true;
            }
            if clock.now() >= Time::ZERO + self.shown_within {
                return false;
            }
            clock::pause(Span::from_millis(100));
        }
    }
}

/// Whether no host runs the instance, and none is to. Where it is to run, another host is about to start it. Only a
/// store that answers shows that: an agent that has just begun has read no records yet.
fn is_down(view: &HostsView, instance: &str) -> bool {
    if view.store.state != "ok" {
        return false;
    }
    let seen = view.instances.iter().find(|seen| seen.instance == instance);
    seen.is_none_or(|seen| seen.host.is_none() && seen.wanted == "down")
}
