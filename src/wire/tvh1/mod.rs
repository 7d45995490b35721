//! Messages between the agents of a cluster's hosts: TVH1.
//!
//! ```text
//! TVH1 kind header payload...
//! ```
//!
//! The header is one JSON object; long content, and content that is not JSON, follows in frames of its own. Each header
//! has `sent_ms`, the time since the sender's boot, which [`encode`] writes; a type for a header must therefore have no
//! member of that name. A queue may keep a message for as long as the network is cut; a message with `void_after_ms` is
//! dropped when it arrives later than that ([`Stamp`]).
//!
//! Each part that sends messages defines the types of its headers; those of the mesh itself are in [`header`].

pub mod header;

use super::NODE_FRAME_MAX;
use super::codec::Excerpt;
use super::json;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

#[cfg(test)]
mod tests;

/// The first frame of every message.
pub const VERSION: &[u8] = b"TVH1";

/// Most frames in a message, those before the payload counted.
pub const FRAMES_MAX: usize = 64;

/// Most bytes in one frame.
pub const FRAME_MAX: usize = NODE_FRAME_MAX;

/// Most frames of payload.
pub const PAYLOAD_FRAMES_MAX: usize = FRAMES_MAX - 3;

/// The kind of a message, its second frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The first message on each connection: name, cluster and protocol of the sender.
    Hello,
    /// A heartbeat, sent twice a second.
    Pulse,
    /// Start or adopt a subtree.
    Place,
    /// The result of `Place`.
    Placed,
    /// Stop, kill or look at a subtree.
    Order,
    /// The result of `Order`, and the end of a subtree.
    Told,
    /// A message between a node and its parent.
    Relay,
    /// A message between an operator's tool and a root.
    Operator,
    /// A deployed file with its includes.
    Bundle,
    /// A machine asks to become a host of the cluster.
    Join,
    /// The new signing key of the cluster.
    Signing,
    /// A request of an operator on another host.
    Wish,
    /// A page of the records on a host's disk.
    Look,
}

impl Kind {
    /// In the order of the variants.
    pub const ALL: [Kind; 13] = [
        Kind::Hello,
        Kind::Pulse,
        Kind::Place,
        Kind::Placed,
        Kind::Order,
        Kind::Told,
        Kind::Relay,
        Kind::Operator,
        Kind::Bundle,
        Kind::Join,
        Kind::Signing,
        Kind::Wish,
        Kind::Look,
    ];

    /// The kind as its frame spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Hello => "HELLO",
            Kind::Pulse => "PULSE",
            Kind::Place => "PLACE",
            Kind::Placed => "PLACED",
            Kind::Order => "ORDER",
            Kind::Told => "TOLD",
            Kind::Relay => "RELAY",
            Kind::Operator => "OPERATOR",
            Kind::Bundle => "BUNDLE",
            Kind::Join => "JOIN",
            Kind::Signing => "SIGNING",
            Kind::Wish => "WISH",
            Kind::Look => "LOOK",
        }
    }

    fn parse(frame: &[u8]) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == frame)
    }
}

/// A message between two agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// A word in a frame of its own.
    pub kind: Kind,
    /// The JSON object, without `sent_ms` if the message is to be sent.
    header: Vec<u8>,
    /// The frames after the header.
    pub payload: Vec<Vec<u8>>,
}

/// The members of every header that concern time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When it was sent, in milliseconds of the sender's time since boot.
    pub sent_ms: u64,
    /// The message is void when it arrives later than this after `sent_ms`; `None`: never.
    #[serde(default)]
    pub void_after_ms: Option<u64>,
}

/// Why frames are not a valid message, or a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// The first frame is not [`VERSION`], or there is none.
    Version,
    /// The second frame is no [`Kind`], or there is none.
    Kind {
        /// The beginning of that frame.
        got: Excerpt,
    },
    /// There is no third frame.
    NoHeader,
    /// There are more than [`FRAMES_MAX`] frames.
    TooManyFrames {
        /// How many frames there are.
        frames: usize,
    },
    /// A frame is longer than [`FRAME_MAX`].
    FrameTooLong {
        /// The index of the frame; the version is 0.
        frame: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The header is not a JSON object, or lacks members of its kind.
    Header {
        /// What the parser reports of it.
        message: Excerpt,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Version => f.write_str("it does not begin with \"TVH1\""),
            Malformed::Kind { got } => write!(f, "\"{got}\" is no kind of message between agents"),
            Malformed::NoHeader => f.write_str("it has no header"),
            Malformed::TooManyFrames { frames } => write!(f, "it has {frames} frames where {FRAMES_MAX} are allowed"),
            Malformed::FrameTooLong { frame, bytes } => {
                write!(f, "its frame {frame} has {bytes} bytes where {FRAME_MAX} are allowed")
            }
            Malformed::Header { message } => write!(f, "its header cannot be read: {message}"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Message {
    /// A message with this header, which must be written as a JSON object without `sent_ms`.
    ///
    /// # Errors
    /// The message would exceed the limits, or the header is not a JSON object.
    pub fn new(kind: Kind, header: &impl Serialize, payload: Vec<Vec<u8>>) -> Result<Message, Malformed> {
        let wrong = |error: &dyn fmt::Display| Malformed::Header { message: Excerpt::printed(error) };
        let header = serde_json::to_vec(header).map_err(|error| wrong(&error))?;
        if !header.starts_with(b"{") {
            return Err(wrong(&"it is no object"));
        }
        let before = [VERSION.len(), kind.as_str().len(), stamped(&header, u64::MAX).len()];
        fits(before.into_iter().chain(payload.iter().map(Vec::len)))?;
        Ok(Message { kind, header, payload })
    }

    /// Reads the header as a `T`. Members that `T` does not have are ignored.
    ///
    /// # Errors
    /// The header is not that of a `T`.
    pub fn header<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        json::from_slice(&self.header).map_err(|error| Malformed::Header { message: Excerpt::printed(&error) })
    }

    /// When the message was sent, and when it expires.
    ///
    /// # Errors
    /// The header has no `sent_ms`.
    pub fn stamp(&self) -> Result<Stamp, Malformed> {
        self.header()
    }
}

/// The frames of a message; `sent_ms` is the sender's time since boot in milliseconds.
pub fn encode(message: &Message, sent_ms: u64) -> Vec<Vec<u8>> {
    let header = stamped(&message.header, sent_ms);
    let mut frames = vec![VERSION.to_vec(), message.kind.as_str().as_bytes().to_vec(), header];
    frames.extend_from_slice(&message.payload);
    frames
}

/// Adds `sent_ms` to a header.
fn stamped(header: &[u8], sent_ms: u64) -> Vec<u8> {
    let rest = header.get(1..).unwrap_or(b"}");
    let mut stamped = format!("{{\"sent_ms\":{sent_ms}").into_bytes();
    if !rest.starts_with(b"}") {
        stamped.push(b',');
    }
    stamped.extend_from_slice(rest);
    stamped
}

/// Reads a message. The limits are checked before any content. The header is not parsed here but by
/// [`Message::header`].
///
/// # Errors
/// What is wrong with the frames. The caller counts and drops such a message.
pub fn decode(frames: Vec<Vec<u8>>) -> Result<Message, Malformed> {
    fits(frames.iter().map(Vec::len))?;
    let mut frames = frames.into_iter();
    if frames.next().is_none_or(|frame| frame != VERSION) {
        return Err(Malformed::Version);
    }
    let name = frames.next().unwrap_or_default();
    let kind = Kind::parse(&name).ok_or_else(|| Malformed::Kind { got: Excerpt::of(&name) })?;
    let header = frames.next().ok_or(Malformed::NoHeader)?;
    Ok(Message { kind, header, payload: frames.collect() })
}

/// Whether frames of these lengths are within the limits.
fn fits(frames: impl Iterator<Item = usize> + Clone) -> Result<(), Malformed> {
    let count = frames.clone().count();
    if count > FRAMES_MAX {
        return Err(Malformed::TooManyFrames { frames: count });
    }
    let mut frames = frames.enumerate();
    let long = frames.find(|(_, bytes)| *bytes > FRAME_MAX);
    long.map_or(Ok(()), |(frame, bytes)| Err(Malformed::FrameTooLong { frame, bytes }))
}
