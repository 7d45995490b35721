//! As much of ZMTP 3.0 (ZeroMQ RFC 23) as a DEALER needs that is connected to a ROUTER over a UNIX stream with the NULL
//! mechanism: bytes only, no socket.
//!
//! Greeting and READY are written in one go, without waiting for the other side's. Messages must wait: by the RFC,
//! traffic begins when both READYs have been exchanged, and libzmq closes the connection if a message arrives before it
//! has sent its own READY.

/// Bits of a frame's first byte.
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// The length of the greeting, with which each side begins.
const GREETING_LEN: usize = 64;

/// The longest command that is parsed. READY of any known peer and PING are shorter; a longer command is not supported
/// and is skipped.
const COMMAND_MAX: usize = 512;

/// Signature, version 3.0, mechanism NULL, not a server.
pub(super) const GREETING: [u8; GREETING_LEN] = {
    let mut bytes = [0; GREETING_LEN];
    bytes[0] = 0xff;
    bytes[8] = 1; // The length of an empty routing id in ZMTP 1.0, for peers so old; the RFC leaves it open.
    bytes[9] = 0x7f;
    bytes[10] = 3;
    let (mechanism, mut at) = (b"NULL", 0);
    while at < mechanism.len() {
        bytes[12 + at] = mechanism[at];
        at += 1;
    }
    bytes
};

/// The READY command: a DEALER with an empty routing id, so that the ROUTER makes up one that no other connection has.
/// An id of our own would let a second process of the same worker, a `treevisor beat` in a script say, take the
/// first one's place.
pub(super) const READY: &[u8] = b"\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00";

/// Appends a message of these frames.
pub(super) fn append_message(out: &mut Vec<u8>, frames: &[impl AsRef<[u8]>]) {
    for (at, frame) in frames.iter().enumerate() {
        let more = if at + 1 < frames.len() { MORE } else { 0 };
        append_frame(out, more, frame.as_ref());
    }
}

fn append_frame(out: &mut Vec<u8>, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(len) => out.extend([flags, len]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend((body.len() as u64).to_be_bytes());
        }
    }
    out.extend(body);
}

/// Why the connection must be closed because of what the other side has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// The other side does not speak ZMTP, or a version before 3.0.
    Greeting,
    /// The other side requires another mechanism than NULL.
    Mechanism,
    /// The other side has sent an ERROR command, or a frame with undefined flags.
    Refused,
}

impl From<Breach> for std::io::Error {
    fn from(breach: Breach) -> Self {
        let what = match breach {
            Breach::Greeting => "the other side does not use ZMTP 3",
            Breach::Mechanism => "the other side requires a security mechanism",
            Breach::Refused => "the other side has refused the connection",
        };
        std::io::Error::new(std::io::ErrorKind::InvalidData, what)
    }
}

/// An incremental parser of what the other side sends. Messages are skipped, as nodes send workers none.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// The received part of the greeting, and then of one frame's head or one command. Never longer than
    /// [`COMMAND_MAX`].
    held: Vec<u8>,
    stage: Stage,
    ready: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Stage {
    #[default]
    Greeting,
    /// Flags and length of a frame.
    Head,
    /// A command of this many bytes.
    Command(usize),
    /// This many bytes that are skipped.
    Skip(u64),
}

impl Incoming {
    /// Whether the other side's READY has arrived, which completes the handshake.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Parses the next bytes, and appends the required answers to `answers`: a PONG for each PING.
    ///
    /// # Errors
    /// Why the connection must be closed; `feed` must not be called again after that.
    pub(super) fn feed(&mut self, mut bytes: &[u8], answers: &mut Vec<u8>) -> Result<(), Breach> {
        loop {
            if let Stage::Skip(left) = self.stage {
                let skipped = left.min(bytes.len() as u64);
                bytes = &bytes[skipped as usize..];
                if left > skipped {
                    self.stage = Stage::Skip(left - skipped);
                    return Ok(());
                }
                self.stage = Stage::Head;
            }
            let taken = self.missing().min(bytes.len());
            self.held.extend(&bytes[..taken]);
            bytes = &bytes[taken..];
            // Checked again, because the first byte of a head determines the length of the head.
            if self.missing() > 0 {
                if bytes.is_empty() {
                    return Ok(());
                }
                continue;
            }
            self.stage = self.take_held(answers)?;
            self.held.clear();
        }
    }

    /// How many bytes are still missing in `held` before it can be parsed.
    fn missing(&self) -> usize {
        let whole = match self.stage {
            Stage::Greeting => GREETING_LEN,
            Stage::Head => match self.held.first() {
                Some(flags) if flags & LONG != 0 => 9,
                _ => 2,
            },
            Stage::Command(len) => len,
            Stage::Skip(_) => 0,
        };
        whole.saturating_sub(self.held.len())
    }

    /// Parses `held`, which is complete, and returns the next stage.
    fn take_held(&mut self, answers: &mut Vec<u8>) -> Result<Stage, Breach> {
        let held = &self.held;
        match self.stage {
            Stage::Greeting => {
                if held[0] != 0xff || held[9] & 1 == 0 || held[10] < 3 {
                    return Err(Breach::Greeting);
                }
                let mechanism = &held[12..32];
                if !mechanism.starts_with(b"NULL") || mechanism[4..].iter().any(|byte| *byte != 0) {
                    return Err(Breach::Mechanism);
                }
                Ok(Stage::Head)
            }
            Stage::Head => {
                let flags = held[0];
                if flags & !(MORE | LONG | COMMAND) != 0 {
                    return Err(Breach::Refused);
                }
                let len = held[1..].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
                Ok(match usize::try_from(len) {
                    Ok(short) if flags & COMMAND != 0 && (1..=COMMAND_MAX).contains(&short) => Stage::Command(short),
                    _ => Stage::Skip(len),
                })
            }
            Stage::Command(_) => {
                let name_len = usize::from(held[0]);
                match (held.get(1..=name_len), held.get(1 + name_len..)) {
                    (Some(b"READY"), _) => self.ready = true,
                    (Some(b"ERROR"), _) => return Err(Breach::Refused),
                    // Two bytes of time to live, then up to 16 of context, which the PONG returns unchanged.
                    (Some(b"PING"), Some([_, _, context @ ..])) => {
                        let mut pong = b"\x04PONG".to_vec();
                        pong.extend(&context[..context.len().min(16)]);
                        append_frame(answers, COMMAND, &pong);
                    }
                    _ => {}
                }
                Ok(Stage::Head)
            }
            Stage::Skip(_) => Ok(Stage::Head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ready_command_is_as_long_as_it_says() {
        assert_eq!(READY[0], COMMAND);
        assert_eq!(usize::from(READY[1]), READY.len() - 2);
        assert_eq!(&GREETING[12..17], b"NULL\0");
    }

    /// The bytes in the block below a mark of the document.
    fn bytes_of(document: &'static str, mark: &str) -> Vec<u8> {
        let (_, rest) = document.split_once(&format!("<!-- {mark}: held by a test -->")).expect("the mark is there");
        let block = rest.split("```").nth(1).unwrap().strip_prefix("text\n").unwrap();
        let hex = |line: &'static str| line.split("  ").next().unwrap_or_default().split_whitespace();
        block.lines().flat_map(hex).map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn the_document_has_the_same_bytes() {
        // A package of this crate alone is without it.
        let Ok(document) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md"))
        else {
            return;
        };
        let document: &'static str = document.leak();
        assert_eq!(bytes_of(document, "greeting"), [&GREETING, READY].concat());
        let mut beat = Vec::new();
        append_message(&mut beat, &[&b"TV1"[..], b"BEAT", b"000102030405060708090a0b0c0d0e0f"]);
        assert_eq!(bytes_of(document, "beat"), beat);
    }

    #[test]
    fn messages_have_short_and_long_frames() {
        let mut out = Vec::new();
        append_message(&mut out, &[&b"TV1"[..], &[7; 256]]);
        assert_eq!(out[..5], *b"\x01\x03TV1");
        assert_eq!(out[5..14], [LONG, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(out.len(), 5 + 9 + 256);
    }

    /// What a ROUTER might send: greeting, READY, a message, a PING, an unknown command.
    fn a_peer() -> Vec<u8> {
        let mut bytes = GREETING.to_vec();
        bytes.extend(READY);
        append_message(&mut bytes, &[vec![1; 3], vec![2; 1_000]]);
        append_frame(&mut bytes, COMMAND, b"\x04PING\x00\x0actx");
        append_frame(&mut bytes, COMMAND, b"\x07UNKNOWN");
        append_frame(&mut bytes, COMMAND, &[b'x'; COMMAND_MAX + 1]);
        append_frame(&mut bytes, 0, b"");
        append_frame(&mut bytes, COMMAND, b"\x04PING\x00\x0a");
        bytes
    }

    #[test]
    fn a_ping_is_answered_whatever_the_pieces() {
        for piece in [1, 2, 3, 7, 64, 65, 10_000] {
            let (mut incoming, mut answers) = (Incoming::default(), Vec::new());
            for bytes in a_peer().chunks(piece) {
                incoming.feed(bytes, &mut answers).unwrap();
            }
            assert!(incoming.is_ready());
            assert_eq!(answers, b"\x04\x08\x04PONGctx\x04\x05\x04PONG", "in pieces of {piece}");
        }
    }

    #[test]
    fn who_is_no_node_is_left() {
        let mut curve = GREETING;
        curve[12..17].copy_from_slice(b"CURVE");
        let mut old = GREETING;
        old[10] = 1;
        let mut error = GREETING.to_vec();
        error.extend(b"\x04\x06\x05ERROR");
        let mut flags = GREETING.to_vec();
        flags.extend([0xf0, 0]);
        for (bytes, breach) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"[..],
                Breach::Greeting,
            ),
            (&old, Breach::Greeting),
            (&curve, Breach::Mechanism),
            (&error, Breach::Refused),
            (&flags, Breach::Refused),
        ] {
            assert_eq!(Incoming::default().feed(bytes, &mut Vec::new()), Err(breach));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_are_kept(pieces: Vec<Vec<u8>>) {
            let (mut incoming, mut answers) = (Incoming::default(), Vec::new());
            incoming.feed(&GREETING, &mut answers).unwrap();
            for piece in pieces {
                if incoming.feed(&piece, &mut answers).is_err() {
                    break;
                }
                prop_assert!(incoming.held.len() <= COMMAND_MAX);
            }
        }
    }
}
