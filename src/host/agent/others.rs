//! Messages from other hosts, dispatched by their kind, and messages to them.

use super::connections::Connections;
use super::mesh::Fact;
use super::operators::Post;
use super::reactor::Source;
use super::turn::Shell;
use crate::hosts::message::Message as Placing;
use crate::hosts::{Event, Moment, ParentId};
use crate::link::Identity;
use crate::os::clock;
use crate::time::Time;
use crate::wire::tvh1::{FRAME_MAX, Kind, Message};
use slog::{debug, error, info, warn};

impl Shell {
    /// Does what is due on the connections to other hosts.
    pub(super) fn connect_hosts(&mut self, now: Moment) {
        let Some(connections) = &mut self.connections else { return };
        let (shell_runs, is_up) = (&self.runs, |host: &str| connections.is_up(host));
        let posts = match &mut self.operators {
            Some(operators) => operators.due(now.boottime, is_up, |name| shell_runs.has_root(name), &mut self.reactor),
            None => Vec::new(),
        };
        self.post(posts);
        let Some(connections) = &mut self.connections else { return };
        if !connections.is_due(&self.core, now) {
            return;
        }
        let facts = connections.due(&self.file, &self.core, now);
        if let Some(unknown) = connections.refused() {
            warn!(self.logger, "a connection was refused: its key has no certificate"; "so_far" => unknown);
        }
        self.share_out(facts);
        self.deliver(now.boottime);
    }

    /// Reads what has arrived from other hosts.
    pub(super) fn read_hosts(&mut self, now: Time) {
        if let Some(connections) = &mut self.connections {
            let facts = connections.receive(&self.file, now);
            self.share_out(facts);
        }
        if let Some(operators) = &mut self.operators {
            let posts = operators.said(now);
            self.post(posts);
        }
    }

    fn post(&mut self, posts: Vec<Post>) {
        for (host, message) in posts {
            // A lost message is requested again by the tool.
            let _ = self.connections.as_mut().is_some_and(|connections| connections.send(&host, &message));
        }
    }

    fn share_out(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            match fact {
                Fact::Link { host, up } => {
                    if up {
                        info!(self.logger, "the link to {} is up", host);
                    } else {
                        warn!(self.logger, "the link to {} is down", host);
                    }
                    self.inbox.push_back(Event::Link { host, up });
                }
                Fact::Connected { host } => self.inbox.push_back(Event::Connected { host }),
                Fact::Epoch { host, epoch } => self.inbox.push_back(Event::Epoch { host, epoch }),
                Fact::Came { host, message } => self.came(&host, message),
                // Handled by `Connections::receive`.
                Fact::Knocks { .. } => {}
                Fact::Joined { name, outcome: Ok(()) } => {
                    info!(self.logger, "{} has become a host of this cluster", name)
                }
                Fact::Rekeyed(Ok(())) => {
                    info!(self.logger, "this host has other keys: its connections are made anew");
                    for fd in self.connections.iter().flat_map(Connections::fds) {
                        // Descriptors that are watched already are refused, and stay as they are.
                        let _ = self.reactor.watch(fd, Source::Mesh);
                    }
                }
                Fact::Rekeyed(Err(why)) => {
                    error!(self.logger, "the connections cannot be made anew with the keys of this host, which is tried again"; "why" => why);
                }
                Fact::Joined { name, outcome: Err(why) } => {
                    warn!(self.logger, "{} does not become a host of this cluster", name; "why" => why);
                }
            }
        }
    }

    /// Handles a message of another host by its kind.
    fn came(&mut self, host: &str, message: Message) {
        let now = clock::both().boottime;
        match message.kind {
            // Handled by the mesh itself.
            Kind::Hello | Kind::Pulse | Kind::Join => {}
            Kind::Place | Kind::Placed | Kind::Order | Kind::Told => match in_the_cores_terms(message) {
                Ok(message) => self.inbox.push_back(Event::FromHost { host: host.to_owned(), message }),
                Err(why) => debug!(self.logger, "a message is dropped"; "host" => host, "why" => why),
            },
            Kind::Relay => match message.header() {
                Ok(header) => self.relayed(host, &header, message.payload),
                Err(why) => debug!(self.logger, "a message is dropped"; "host" => host, "why" => %why),
            },
            Kind::Bundle => self.take_bundle(host, &message),
            Kind::Signing => self.take_signing(host, &message),
            Kind::Wish => self.take_wish(host, &message),
            Kind::Look => self.take_look(host, &message),
            Kind::Operator => {
                let (Some(operators), runs) = (&mut self.operators, &self.runs) else { return };
                let runs = |name: &str| runs.has_root(name);
                let post = operators.came(host, message, runs, &mut self.reactor, now, &self.logger);
                self.post(post.into_iter().collect());
            }
        }
    }

    /// Handles a message of a node on this host.
    pub(super) fn came_of_node(&mut self, from: Identity, pid: u32, message: Message) {
        let known = self.parents.known(pid, from, &mut self.reactor).map_err(|error| error.to_string());
        let message = known.and_then(|parent| Ok((parent, in_the_cores_terms(message)?)));
        match message {
            Ok((parent, message)) => self.inbox.push_back(Event::FromParent { parent, message }),
            Err(why) => debug!(self.logger, "a message of a node is dropped"; "pid" => pid, "why" => why),
        }
    }

    /// Sends a message of the core to a node on this host. The core retransmits what is lost.
    pub(super) fn tell_node(&mut self, parent: ParentId, message: &Placing) {
        let Some(to) = self.parents.to(parent) else { return };
        match on_the_wire(message) {
            Some(message) => self.tools.tell_node(to, &message, clock::both().boottime.since(Time::ZERO).as_millis()),
            None => error!(self.logger, "what a node is to be answered is too long to be sent"),
        }
    }

    /// Sends a message of the core to another host. The core retransmits what is lost.
    pub(super) fn send_to_host(&mut self, host: &str, message: &Placing) {
        match (on_the_wire(message), &mut self.connections) {
            (Some(message), Some(connections)) => drop(connections.send(host, &message)),
            (None, _) => error!(self.logger, "what is to be placed on {} is too long to be sent", host),
            (Some(_), None) => {}
        }
    }

    /// The directory below which a tool of this machine finds a root that runs on another host; `None`: that host
    /// cannot be reached.
    pub(super) fn way_to(&mut self, instance: &str, host: &str) -> Option<String> {
        let now = clock::both().boottime;
        self.connections.as_ref().filter(|connections| connections.is_up(host))?;
        match self.operators.as_mut()?.open_endpoint(instance, host, &mut self.reactor, now) {
            Ok(at) => Some(at.to_string_lossy().into_owned()),
            Err(error) => {
                warn!(self.logger, "operators cannot be passed on to {}", host; "error" => %error);
                None
            }
        }
    }
}

fn on_the_wire(message: &Placing) -> Option<Message> {
    let (header, frames) = message.frames();
    // To the core a spec is one frame, however long.
    let payload = frames.iter().flat_map(|frame| frame.chunks(FRAME_MAX).map(<[u8]>::to_vec)).collect();
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == message.kind())?;
    Message::new(kind, &header, payload).ok()
}

/// Converts a message about a placed subtree for the core.
fn in_the_cores_terms(message: Message) -> Result<Placing, String> {
    let kind = message.kind;
    let header = message.header::<serde_json::Value>().map_err(|error| error.to_string())?;
    let whole = (kind == Kind::Place).then(|| message.payload.concat());
    let frames = whole.map_or(message.payload, |whole| vec![whole]);
    Placing::read(kind.as_str(), header.to_string().as_bytes(), frames).map_err(|error| error.to_string())
}
