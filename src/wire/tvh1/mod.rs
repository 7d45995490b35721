//! Messages between the agents of a cluster's hosts: TVH1.
//!
//! ```text
//! TVH1 kind header payload...
//! ```
//!
//! The header is one JSON object; what may be long or is not JSON follows it in frames of its own. Each header has
//! `sent_ms`, the sender's clock of the time since boot, which [`encode`] writes into it: a queue may keep a message
//! for as long as a cut lasts, and what has also `void_after_ms` is dropped when it comes later than that ([`Stamp`]).
//! A type for a header therefore has no member of the first name.
//!
//! What a header is made of is a type of the part that sends it: those of the mesh itself are in [`header`].

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

/// The second frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// First on each connection: its name, and whether the two fit together.
    Hello,
    /// Twice a second.
    Pulse,
    /// Start or adopt a subtree.
    Place,
    /// What has come of that.
    Placed,
    /// Stop, kill, look.
    Order,
    /// What has come of that, and how a subtree has ended.
    Told,
    /// A message between a node and its parent.
    Relay,
    /// A message between an operator's tool and a root.
    Operator,
    /// A deployed file with its includes.
    Bundle,
    /// A host wants to become one of the cluster.
    Join,
    /// The key by which the cluster is to sign.
    Signing,
    /// What an operator wants of that host.
    Wish,
    /// A page of what lies on that host's disk of what has happened.
    Look,
}

impl Kind {
    /// All of them.
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

    /// As it is written.
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

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// A JSON object.
    header: Vec<u8>,
    /// What follows it.
    pub payload: Vec<Vec<u8>>,
}

/// What every header says of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When it was sent, in milliseconds of the sender's time since boot.
    pub sent_ms: u64,
    /// It means nothing any more when it comes so much later; `None`: it always does.
    #[serde(default)]
    pub void_after_ms: Option<u64>,
}

/// Why something is no message, or cannot be sent as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// The first frame is not [`VERSION`], or there is none.
    Version,
    /// The second frame is no [`Kind`], or there is none.
    Kind {
        /// How it begins.
        got: Excerpt,
    },
    /// There is no third frame.
    NoHeader,
    /// It has more than [`FRAMES_MAX`] frames.
    TooManyFrames {
        /// So many.
        frames: usize,
    },
    /// A frame is longer than [`FRAME_MAX`].
    FrameTooLong {
        /// Which one, counting from 0 at the version.
        frame: usize,
        /// Its length.
        bytes: usize,
    },
    /// The header is no JSON, or not that of such a message.
    Header {
        /// The parser's error.
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
    /// It would break the limits, or the header is none.
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

    /// Reads the header as that of such a message. Members that it does not have are passed over.
    ///
    /// # Errors
    /// It is that of another.
    pub fn header<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        json::from_slice(&self.header).map_err(|error| Malformed::Header { message: Excerpt::printed(&error) })
    }

    /// When it was sent, and until when it means something.
    ///
    /// # Errors
    /// The header does not say so.
    pub fn stamp(&self) -> Result<Stamp, Malformed> {
        self.header()
    }
}

/// The frames of a message that is sent at this time.
pub fn encode(message: &Message, sent_ms: u64) -> Vec<Vec<u8>> {
    let header = stamped(&message.header, sent_ms);
    let mut frames = vec![VERSION.to_vec(), message.kind.as_str().as_bytes().to_vec(), header];
    frames.extend_from_slice(&message.payload);
    frames
}

/// A header with the time at which it is sent.
fn stamped(header: &[u8], sent_ms: u64) -> Vec<u8> {
    let rest = header.get(1..).unwrap_or(b"}");
    let mut stamped = format!("{{\"sent_ms\":{sent_ms}").into_bytes();
    if !rest.starts_with(b"}") {
        stamped.push(b',');
    }
    stamped.extend_from_slice(rest);
    stamped
}

/// Reads a message. Its limits are judged before anything in it; the header is read by [`Message::header`].
///
/// # Errors
/// What is wrong with it. Such a message is counted and dropped.
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
