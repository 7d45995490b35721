//! Messages to frames, and frames to messages.
//!
//! Every message is a list of frames (a ZeroMQ multipart message, without the routing id that a ROUTER puts in
//! front). The first is [`VERSION`], the second names the kind:
//!
//! ```text
//! child -> node       TV1 BEAT token [seq [progress [pending [busy-ms [status]]]]]
//!                     TV1 READY token
//!                     TV1 STOPPING token
//! child node -> node  TV1 NODE token json...
//! node -> child node  TV1 NODE json...
//! operator -> root    TV1 ASK json...
//! root -> operator    TV1 TOLD json...
//! ```
//!
//! Decoding judges shape before content: the number of frames, then their lengths, then what is in them. It never
//! panics, and what it keeps of a bad message, a [`Malformed`], is small whatever the sender sent, so that it can be
//! counted and logged without giving a flooder a lever.

use super::message::{BeatFrame, ChildBody, FromChild, VERSION};
use super::{NODE_FRAME_MAX, NODE_FRAMES_MAX};
use super::{WORKER_FRAME_MAX, WORKER_FRAMES_MAX};
use crate::ids::Token;
use crate::text;
use crate::time::Span;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt;

use super::message::{Ask, FromNode, Reply, RootReply, ToNode};

#[cfg(test)]
mod tests;

/// The second frame of a message, by kind.
mod kind {
    pub(super) const BEAT: &[u8] = b"BEAT";
    pub(super) const READY: &[u8] = b"READY";
    pub(super) const STOPPING: &[u8] = b"STOPPING";
    pub(super) const NODE: &[u8] = b"NODE";
    pub(super) const ASK: &[u8] = b"ASK";
    pub(super) const TOLD: &[u8] = b"TOLD";
}

/// The optional fields of a beat after its token, in this order. An absent field is an empty frame, or left out at the
/// end.
const BEAT_FIELDS: [&str; 5] = ["seq", "progress", "pending", "busy-ms", "status"];

/// Which kind of message a child has sent. The second frame says so, before the content is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildKind {
    /// A heartbeat, of a worker or a node.
    Beat,
    /// The child is ready.
    Ready,
    /// The child is shutting down.
    Stopping,
    /// A message that only a child node may send.
    Node,
}

impl ChildKind {
    fn of(frame: &[u8]) -> Result<ChildKind, Malformed> {
        match frame {
            kind::BEAT => Ok(ChildKind::Beat),
            kind::READY => Ok(ChildKind::Ready),
            kind::STOPPING => Ok(ChildKind::Stopping),
            kind::NODE => Ok(ChildKind::Node),
            _ => Err(Malformed::UnknownKind { got: Excerpt::of(frame) }),
        }
    }

    /// Most frames in a message of this kind, and most bytes in one frame.
    fn limits(self) -> (usize, usize) {
        match self {
            ChildKind::Beat => (WORKER_FRAMES_MAX, WORKER_FRAME_MAX),
            ChildKind::Ready | ChildKind::Stopping => (3, WORKER_FRAME_MAX),
            ChildKind::Node => (NODE_FRAMES_MAX, NODE_FRAME_MAX),
        }
    }
}

/// Why a list of frames is not a valid message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The list of frames is empty.
    NoFrames,
    /// The first frame is not [`VERSION`]: another version of the protocol, or no treevisor at all.
    Version {
        /// How that frame begins.
        got: Excerpt,
    },
    /// The second frame is missing, or names a kind of message that this peer may not send.
    UnknownKind {
        /// How that frame begins.
        got: Excerpt,
    },
    /// The third frame of a child's message is missing or is not 32 hexadecimal digits.
    Token,
    /// A message that must carry JSON has no frame after its head.
    NoBody,
    /// The message has more frames than its kind allows.
    TooManyFrames {
        /// How many frames the message has.
        frames: usize,
        /// How many frames its kind allows.
        max: usize,
    },
    /// A frame is longer than its kind of message allows.
    FrameTooLong {
        /// The index of the frame; the version is 0.
        frame: usize,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A field is not a number in decimal digits, or does not fit 64 bits.
    Number {
        /// The name of the field, as in `docs/protocol.md`.
        field: &'static str,
    },
    /// The status text is not UTF-8.
    Utf8,
    /// The JSON cannot be parsed, or does not have the form of this message.
    Json {
        /// The parser's error, cut to a line's length.
        message: Excerpt,
    },
}

impl Malformed {
    /// The kind of breach as one word, for counters and log keys.
    pub fn word(&self) -> &'static str {
        match self {
            Malformed::NoFrames => "no_frames",
            Malformed::Version { .. } => "version",
            Malformed::UnknownKind { .. } => "kind",
            Malformed::Token => "token",
            Malformed::NoBody => "no_body",
            Malformed::TooManyFrames { .. } => "too_many_frames",
            Malformed::FrameTooLong { .. } => "frame_too_long",
            Malformed::Number { .. } => "number",
            Malformed::Utf8 => "utf8",
            Malformed::Json { .. } => "json",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NoFrames => f.write_str("a message without frames"),
            Malformed::Version { got } => write!(f, "expected version \"TV1\", got \"{got}\""),
            Malformed::UnknownKind { got } => write!(f, "\"{got}\" is no kind of message that is expected here"),
            Malformed::Token => f.write_str("the token is not 32 hexadecimal digits"),
            Malformed::NoBody => f.write_str("the JSON is missing"),
            Malformed::TooManyFrames { frames, max } => write!(f, "{frames} frames where {max} are allowed"),
            Malformed::FrameTooLong { frame, bytes, max } => {
                write!(f, "frame {frame} has {bytes} bytes where {max} are allowed")
            }
            Malformed::Number { field } => write!(f, "{field} is no decimal number of at most 64 bits"),
            Malformed::Utf8 => f.write_str("the status text is not UTF-8"),
            Malformed::Json { message } => write!(f, "cannot read the JSON: {message}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// The beginning of bytes that a peer has sent, escaped to printable ASCII and at most [`Excerpt::MAX`] bytes long, so
/// that it can be printed anywhere and takes little memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// Most bytes that are kept; `...` is appended to a text that was cut and is not counted.
    pub const MAX: usize = 120;

    /// The beginning of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Excerpt {
        // Escaping makes at least one byte of each, so no more than `MAX` bytes need to be escaped.
        let mut out = Limited::default();
        let cut = bytes.len() > Excerpt::MAX;
        let _ =
            fmt::Write::write_fmt(&mut out, format_args!("{}", bytes[..bytes.len().min(Excerpt::MAX)].escape_ascii()));
        out.cut |= cut;
        out.finish()
    }

    /// The beginning of the text of `value`.
    pub(super) fn printed(value: &dyn fmt::Display) -> Excerpt {
        let mut out = Limited::default();
        // The write fails when the limit is reached, on purpose: the rest is then not even formatted.
        let _ = fmt::Write::write_fmt(&mut out, format_args!("{value}"));
        out.finish()
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes printable ASCII up to a limit, and refuses more.
#[derive(Default)]
struct Limited {
    text: String,
    cut: bool,
}

impl Limited {
    fn finish(mut self) -> Excerpt {
        if self.cut {
            self.text.push_str("...");
        }
        Excerpt(self.text.into_boxed_str())
    }
}

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.text.len() >= Excerpt::MAX {
                self.cut = true;
                return Err(fmt::Error);
            }
            self.text.push(if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
        }
        Ok(())
    }
}

/// The frames of a child's message.
///
/// A status text is cut to [`BeatFrame::STATUS_MAX`] bytes between two characters, and its control characters become
/// spaces; an empty one is the same as none. A lease is rounded up to whole milliseconds. Frames at the end that
/// would be empty are left out.
pub fn encode_from_child(message: &FromChild) -> Vec<Vec<u8>> {
    let mut frames = Vec::with_capacity(WORKER_FRAMES_MAX);
    let mut begin =
        |kind: &[u8]| frames.extend([VERSION.to_vec(), kind.to_vec(), message.token.to_string().into_bytes()]);
    match &message.body {
        ChildBody::Beat(beat) => {
            begin(kind::BEAT);
            encode_beat(beat, &mut frames);
        }
        ChildBody::Ready => begin(kind::READY),
        ChildBody::Stopping => begin(kind::STOPPING),
        ChildBody::Node(said) => {
            begin(kind::NODE);
            encode_json(said, &mut frames);
        }
    }
    frames
}

fn encode_beat(beat: &BeatFrame, frames: &mut Vec<Vec<u8>>) {
    let number = |n: Option<u64>| n.map(|n| n.to_string().into_bytes()).unwrap_or_default();
    let busy_ms = beat.busy_for.map(|span| span.as_nanos().div_ceil(1_000_000));
    let status = clean_status(beat.status.as_deref().unwrap_or_default());
    let fields = [
        number(Some(beat.seq).filter(|seq| *seq != 0)),
        number(beat.progress),
        number(beat.pending),
        number(busy_ms),
        text::cut(&status, BeatFrame::STATUS_MAX).as_bytes().to_vec(),
    ];
    let said = fields.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
    frames.extend(fields.into_iter().take(said));
}

/// Replaces control characters by spaces, so that a status text is one line and cannot control a terminal. Sender and
/// receiver both do so.
fn clean_status(status: &str) -> Cow<'_, str> {
    if status.contains(text::is_obeyed) { status.replace(text::is_obeyed, " ").into() } else { status.into() }
}

/// Reads the kind and the token of a child's message and nothing else. So a node can drop a message with an unknown
/// token before it spends time on a long body.
///
/// # Errors
/// As [`decode_from_child`], for the number of frames, their lengths, and the first three frames.
pub fn peek_from_child(frames: &[impl AsRef<[u8]>]) -> Result<(ChildKind, Token), Malformed> {
    let kind = ChildKind::of(second_frame(frames)?)?;
    let (frames_max, frame_max) = kind.limits();
    check_shape(frames, frames_max, frame_max)?;
    let token = frames.get(2).and_then(|frame| Token::parse(frame.as_ref())).ok_or(Malformed::Token)?;
    Ok((kind, token))
}

/// Reads the frames of a child's message.
///
/// # Errors
/// What is wrong with the frames. The caller counts and drops such a message; no part of it is used.
pub fn decode_from_child(frames: &[impl AsRef<[u8]>]) -> Result<FromChild, Malformed> {
    let (kind, token) = peek_from_child(frames)?;
    let rest = frames.get(3..).unwrap_or_default();
    let body = match kind {
        ChildKind::Beat => ChildBody::Beat(decode_beat(rest)?),
        ChildKind::Ready => ChildBody::Ready,
        ChildKind::Stopping => ChildBody::Stopping,
        ChildKind::Node => ChildBody::Node(Box::new(decode_json::<FromNode>(rest)?)),
    };
    Ok(FromChild { token, body })
}

fn decode_beat(fields: &[impl AsRef<[u8]>]) -> Result<BeatFrame, Malformed> {
    let field = |at: usize| fields.get(at).map(AsRef::as_ref).unwrap_or_default();
    let number = |at: usize| match field(at) {
        b"" => Ok(None),
        digits => decimal(digits).map(Some).ok_or(Malformed::Number { field: BEAT_FIELDS[at] }),
    };
    let status = std::str::from_utf8(field(4)).map_err(|_| Malformed::Utf8)?;
    Ok(BeatFrame {
        seq: number(0)?.unwrap_or(0),
        progress: number(1)?,
        pending: number(2)?,
        busy_for: number(3)?.map(Span::from_millis),
        status: Some(status).filter(|text| !text.is_empty()).map(|text| clean_status(text).into_owned()),
    })
}

/// Digits and nothing else: `u64::from_str` would let a plus sign pass.
fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Checks the version and returns the second frame; an empty one if it is missing.
fn second_frame(frames: &[impl AsRef<[u8]>]) -> Result<&[u8], Malformed> {
    let version = frames.first().ok_or(Malformed::NoFrames)?.as_ref();
    if version != VERSION {
        return Err(Malformed::Version { got: Excerpt::of(version) });
    }
    Ok(frames.get(1).map(AsRef::as_ref).unwrap_or_default())
}

fn check_shape(frames: &[impl AsRef<[u8]>], frames_max: usize, frame_max: usize) -> Result<(), Malformed> {
    if frames.len() > frames_max {
        return Err(Malformed::TooManyFrames { frames: frames.len(), max: frames_max });
    }
    match frames.iter().map(|frame| frame.as_ref().len()).enumerate().find(|(_, bytes)| *bytes > frame_max) {
        Some((frame, bytes)) => Err(Malformed::FrameTooLong { frame, bytes, max: frame_max }),
        None => Ok(()),
    }
}

/// The frames of what a node sends a child node.
pub fn encode_to_node(message: &ToNode) -> Vec<Vec<u8>> {
    headed(kind::NODE, message)
}

/// Reads the frames of what a node sends its child node.
///
/// # Errors
/// What is wrong with the frames.
pub fn decode_to_node(frames: &[impl AsRef<[u8]>]) -> Result<ToNode, Malformed> {
    decode_headed(kind::NODE, frames)
}

/// The frames of an operator's request.
pub fn encode_ask(message: &Ask) -> Vec<Vec<u8>> {
    headed(kind::ASK, message)
}

/// Reads the frames of an operator's request.
///
/// # Errors
/// What is wrong with the frames.
pub fn decode_ask(frames: &[impl AsRef<[u8]>]) -> Result<Ask, Malformed> {
    decode_headed(kind::ASK, frames)
}

/// The frames of a reply to an operator.
pub fn encode_told(message: &RootReply) -> Vec<Vec<u8>> {
    headed(kind::TOLD, message)
}

/// Reads the frames of a reply to an operator.
///
/// # Errors
/// What is wrong with the frames.
pub fn decode_told(frames: &[impl AsRef<[u8]>]) -> Result<RootReply, Malformed> {
    decode_headed(kind::TOLD, frames)
}

/// The frames of a reply with events that are encoded as JSON already: the same frames as [`encode_told`] makes of
/// [`Reply::Events`]. For the root, which keeps events in this form. The content of `events` is not checked.
pub fn encode_events<'a>(request: u64, events: impl IntoIterator<Item = &'a [u8]>, place: Place) -> Vec<Vec<u8>> {
    let Place { lost, end, forgotten, caught_up, next } = place;
    // The JSON around the events is made from the type itself, so that it cannot differ from [`encode_told`].
    let around = Reply::Events { events: Vec::new(), lost, end, forgotten, caught_up, next };
    let json = serde_json::to_vec(&RootReply { request, reply: around }).expect("there are only numbers in it");
    const EMPTY: &[u8] = b"\"events\":[";
    let at = json.windows(EMPTY.len()).position(|part| part == EMPTY).map_or(0, |at| at + EMPTY.len());
    let mut body = json[..at].to_vec();
    for (number, event) in events.into_iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.extend_from_slice(&json[at..]);
    let mut frames = vec![VERSION.to_vec(), kind::TOLD.to_vec()];
    split(body, &mut frames);
    frames
}

/// The members of [`Reply::Events`] beside the events themselves.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "they are those of the reply")]
pub struct Place {
    pub lost: u64,
    pub end: bool,
    pub forgotten: u64,
    pub caught_up: bool,
    pub next: u64,
}

fn headed(kind: &[u8], message: &impl Serialize) -> Vec<Vec<u8>> {
    let mut frames = vec![VERSION.to_vec(), kind.to_vec()];
    encode_json(message, &mut frames);
    frames
}

fn decode_headed<T: DeserializeOwned>(kind: &[u8], frames: &[impl AsRef<[u8]>]) -> Result<T, Malformed> {
    let got = second_frame(frames)?;
    if got != kind {
        return Err(Malformed::UnknownKind { got: Excerpt::of(got) });
    }
    check_shape(frames, NODE_FRAMES_MAX, NODE_FRAME_MAX)?;
    decode_json(frames.get(2..).unwrap_or_default())
}

/// Appends the JSON of `message`, split so that no frame is longer than [`NODE_FRAME_MAX`].
///
/// The receiver would refuse JSON that does not fit [`NODE_FRAMES_MAX`] frames, some 60 MB. The state of ten thousand
/// workers takes a tenth of that.
pub(super) fn encode_json(message: &impl Serialize, frames: &mut Vec<Vec<u8>>) {
    // Serialising fails only for maps whose keys are not strings and for writers that fail. Neither occurs here.
    split(serde_json::to_vec(message).expect("messages are made of structs, strings and numbers"), frames);
}

fn split(json: Vec<u8>, frames: &mut Vec<Vec<u8>>) {
    if json.len() <= NODE_FRAME_MAX {
        frames.push(json);
    } else {
        frames.extend(json.chunks(NODE_FRAME_MAX).map(<[u8]>::to_vec));
    }
}

pub(super) fn decode_json<T: DeserializeOwned>(frames: &[impl AsRef<[u8]>]) -> Result<T, Malformed> {
    let json: Cow<'_, [u8]> = match frames {
        [] => return Err(Malformed::NoBody),
        [one] => one.as_ref().into(),
        many => many.iter().flat_map(AsRef::as_ref).copied().collect::<Vec<u8>>().into(),
    };
    crate::wire::json::from_slice(&json).map_err(|error| Malformed::Json { message: Excerpt::printed(&error) })
}
