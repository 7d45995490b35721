//! The connection to the agent of this host.

use crate::hosts::message::Message;
use crate::instance::runtime::RuntimeDir;
use crate::link::{Context, Dealer, LinkError, RouterLimits};
use crate::os::clock;
use crate::wire::tvh1::{self, FRAME_MAX, Kind};
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// The most messages that one turn takes.
const PER_TURN: usize = 64;

pub(super) struct Line(Dealer);

impl Line {
    pub(super) fn connect(context: &Context, runtime: &RuntimeDir) -> Result<Line, LinkError> {
        let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
        Dealer::connect(context, &agent_socket(runtime), &[], limits).map(Line)
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.fd()
    }

    pub(super) fn has_input(&self) -> bool {
        self.0.has_input()
    }

    /// Sends a message. If the queue is full, the message is dropped and sent again later. Returns false if it is too
    /// long to be sent at all.
    pub(super) fn send(&mut self, message: &Message) -> bool {
        let Some(message) = to_wire(message) else { return false };
        let frames = tvh1::encode(&message, clock::machine_millis());
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let _ = self.0.send(&frames);
        true
    }

    /// Receives the next messages; those that cannot be decoded are errors.
    pub(super) fn receive(&mut self) -> Vec<Result<Message, String>> {
        let frames = std::iter::from_fn(|| self.0.receive()).take(PER_TURN);
        frames.map(|frames| of_wire(tvh1::decode(frames).map_err(|malformed| malformed.to_string())?)).collect()
    }
}

/// The socket of the agent that uses the same base directory as this instance.
fn agent_socket(runtime: &RuntimeDir) -> PathBuf {
    runtime.path().with_file_name("host").join("agent")
}

/// Encodes a message. A long spec is split into several frames, and read as one.
pub(crate) fn to_wire(message: &Message) -> Option<tvh1::Message> {
    let (header, frames) = message.frames();
    let payload = frames.iter().flat_map(|frame| frame.chunks(FRAME_MAX).map(<[u8]>::to_vec)).collect();
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == message.kind())?;
    tvh1::Message::new(kind, &header, payload).ok()
}

/// Decodes a message about a placed subtree.
///
/// # Errors
/// If it is none of the four kinds, or its header is not one of its kind.
pub(crate) fn of_wire(message: tvh1::Message) -> Result<Message, String> {
    let header: serde_json::Value = message.header().map_err(|malformed| malformed.to_string())?;
    let header = serde_json::to_vec(&header).map_err(|error| error.to_string())?;
    let frames = if message.kind == Kind::Place { vec![message.payload.concat()] } else { message.payload };
    Message::read(message.kind.as_str(), &header, frames).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::message::{Place, Subject};
    use std::sync::Arc;

    #[test]
    fn a_long_spec_comes_out_as_it_went_in() {
        let subject = Subject { instance: "shop".into(), path: "/db".into(), run: 3, root_token: 9 };
        let spec = Arc::new((0..FRAME_MAX * 2 + 5).map(|at| at as u8).collect::<Vec<u8>>());
        let sent = Message::Place(Box::new(Place { subject, spec, ..Place::default() }));
        let frames = tvh1::encode(&to_wire(&sent).unwrap(), 7);
        assert_eq!(frames.len(), 3 + 3);
        assert_eq!(of_wire(tvh1::decode(frames).unwrap()), Ok(sent));
    }

    #[test]
    fn the_agent_is_beside_the_instance() {
        assert_eq!(agent_socket(&RuntimeDir::at("/run/treevisor/shop")), PathBuf::from("/run/treevisor/host/agent"));
    }
}
