//! Placed subtrees, as the core orders them: starts, adoptions, inspections, and the relay to their parents.

use super::disk::Job;
use super::placed::{SubtreeStartContext, failure};
use super::relay::{Direction, Header};
use super::turn::{Shell, moment};
use crate::hosts::message::{Place, Subject};
use crate::hosts::{Event, Run, RunId};
use crate::os::clock;
use crate::wire::tvh1::{Kind, Message};
use serde_json::json;
use slog::{debug, warn};
use std::path::PathBuf;

/// Messages between a node and its parent expire after so many milliseconds.
const VOID: u64 = 5_000;

impl Shell {
    /// Begins the start of a subtree's top node here.
    pub(super) fn begin_subtree(&mut self, run: Run) {
        if self.place.is_none() {
            let failure = failure("cgroup", "this host has no cgroup that can be killed with one write".to_owned());
            self.inbox.push_back(Event::NotStarted { run: run.run, failure });
            return;
        }
        let job = Job::Lay(run.run, run.claim.instance.clone());
        self.subtrees.expect(run, clock::both().boottime);
        self.ask_disk(job);
    }

    /// The directory of a subtree was created, or could not be.
    pub(super) fn start_subtree(&mut self, run: RunId, directory: Result<PathBuf, String>) {
        // The lease may have ended while the disk was slow.
        if self.subtrees.is_by_lease(run) && self.core.lease_left(moment(clock::both())).is_none() {
            return self.subtrees.forget(run);
        }
        let Some(place) = &self.place else { return };
        let relay = self.relay.socket(self.tools.context(), &mut self.reactor).map(std::path::Path::to_owned);
        let (relay, directory) = match relay {
            Ok(relay) => (relay, directory),
            Err(error) => (PathBuf::new(), Err(format!("cannot make the socket for its top node: {error}"))),
        };
        let (config, lease, reactor) = (self.runs.launch_config(), &self.lease, &mut self.reactor);
        let mut with = SubtreeStartContext { config, lease, place, relay: &relay, reactor };
        self.inbox.extend(self.subtrees.start(run, directory, &mut with, &self.logger));
    }

    /// A subtree that runs here has got another parent, or another order of its parent. The relay sends its messages to
    /// that parent from now on.
    pub(super) fn adopt(&mut self, run: RunId, place: &Place, reload: bool) {
        if let Err(error) = self.relay.adopted(run, place, reload, clock::both().boottime) {
            warn!(self.logger, "a subtree goes on with the spec that it has"; "path" => &place.subject.path, "error" => %error);
        }
    }

    /// Describes the process of a top node that is silent, for its parent.
    pub(super) fn inspect(&mut self, run: RunId) {
        let found = self.subtrees.inspect(run).unwrap_or_else(|| json!({ "held": "it is being cleared" }));
        self.inbox.push_back(Event::Inspected { run, found });
    }

    /// Relays the messages that nodes and parents on this host have sent.
    pub(super) fn pass_on(&mut self) {
        let (subtrees, core) = (&self.subtrees, &self.core);
        self.relay.retain(
            |parent, child| core.relays(parent, child).is_some(),
            |run| subtrees.has(run),
            &mut self.reactor,
        );
        let mut of_nodes = self.relay.of_nodes(|pid| subtrees.of(pid));
        of_nodes.extend(self.relay.due(clock::both().boottime));
        for (run, frames) in of_nodes {
            let Some((host, subject)) = self.core.serves(run) else { continue };
            let (host, subject) = (host.to_owned(), subject.clone());
            self.relay_to(&host, subject, Direction::Up, frames);
        }
        for (parent, child, frames) in self.relay.of_parents() {
            let Some((host, subject)) = self.core.relays(parent, &child) else { continue };
            let (host, subject) = (host.to_owned(), subject.clone());
            self.relay_to(&host, subject, Direction::Down, frames);
        }
    }

    fn relay_to(&mut self, host: &str, subject: Subject, way: Direction, frames: Vec<Vec<u8>>) {
        let header = Header { subject, way, void_after_ms: VOID };
        if host == self.file.name {
            return self.relayed(host, &header, frames);
        }
        let path = header.subject.path.clone();
        match Message::new(Kind::Relay, &header, frames) {
            // A lost message is retransmitted by the node or the parent.
            Ok(message) => drop(self.connections.as_mut().is_some_and(|to| to.send(host, &message))),
            Err(why) => debug!(self.logger, "a message cannot be relayed"; "path" => path, "why" => %why),
        }
    }

    /// Handles a message that was relayed by another host, or by this one.
    pub(super) fn relayed(&mut self, host: &str, header: &Header, frames: Vec<Vec<u8>>) {
        match header.way {
            Direction::Up => {
                let Some((parent, child, boot)) = self.core.relayed(host, &header.subject) else { return };
                let with = (self.tools.context(), &mut self.reactor);
                if let Err(error) = self.relay.up((parent, child), boot, frames, with) {
                    debug!(self.logger, "a message cannot be relayed"; "path" => &header.subject.path, "why" => %error);
                }
            }
            Direction::Down => {
                if let Some(run) = self.core.served(host, &header.subject) {
                    self.relay.down(run, frames, host != self.file.name);
                }
            }
        }
    }
}
