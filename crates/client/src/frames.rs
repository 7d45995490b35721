//! The messages of a worker, as frames. `docs/protocol.md` of treevisor specifies them.

use std::time::Duration;

/// First frame of every message: the version of the protocol.
const VERSION: &[u8] = b"TV1";

/// The longest status text in bytes.
pub(crate) const STATUS_MAX: usize = 256;

/// The token that proves that a message comes from this incarnation of the worker: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token([u8; 32]);

impl Token {
    /// Reads the digits, of either case; they are sent in lower case.
    pub(crate) fn parse(text: &[u8]) -> Option<Token> {
        let digits: [u8; 32] = text.try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then(|| Token(digits.map(|digit| digit.to_ascii_lowercase())))
    }
}

/// The token is a secret, so it is not printed.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The content of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Beat {
    /// Counts up from 1 on each connection; 0 when the sender does not count.
    pub(crate) seq: u64,
    /// Work done so far.
    pub(crate) progress: Option<u64>,
    /// Work that waits.
    pub(crate) pending: Option<u64>,
    /// Announced silence; whole milliseconds on the wire, rounded up.
    pub(crate) busy_for: Option<Duration>,
    /// A short text; what is beyond [`STATUS_MAX`] is cut.
    pub(crate) status: Option<String>,
}

/// A message to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Beat(Beat),
    Ready,
    Stopping,
}

impl Message {
    /// The frames of this message.
    pub(crate) fn frames(&self, token: &Token) -> Vec<Vec<u8>> {
        let kind: &[u8] = match self {
            Message::Beat(_) => b"BEAT",
            Message::Ready => b"READY",
            Message::Stopping => b"STOPPING",
        };
        let mut frames = vec![VERSION.to_vec(), kind.to_vec(), token.0.to_vec()];
        if let Message::Beat(beat) = self {
            let fields = beat.fields();
            // Empty fields at the end are left out.
            let count = fields.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
            frames.extend(fields.into_iter().take(count));
        }
        frames
    }
}

impl Beat {
    fn fields(&self) -> [Vec<u8>; 5] {
        let number = |n: Option<u128>| n.map(|n| n.to_string().into_bytes()).unwrap_or_default();
        let busy_ms = self.busy_for.map(|lease| lease.as_nanos().div_ceil(1_000_000));
        // One line without control characters.
        let status = self.status.as_deref().unwrap_or_default().replace(char::is_control, " ");
        [
            number(Some(u128::from(self.seq)).filter(|seq| *seq != 0)),
            number(self.progress.map(u128::from)),
            number(self.pending.map(u128::from)),
            number(busy_ms),
            cut(&status, STATUS_MAX).as_bytes().to_vec(),
        ]
    }
}

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
impl Message {
    /// Reads a message back, and checks that it carries this token.
    pub(crate) fn read(frames: &[Vec<u8>], token: &Token) -> Message {
        assert_eq!(frames[0], VERSION);
        assert_eq!(frames[2], token.0);
        let text =
            |at: usize| frames.get(at).map(|frame| std::str::from_utf8(frame).unwrap()).filter(|f| !f.is_empty());
        let number = |at| text(at).map(|text| text.parse::<u64>().unwrap());
        match frames[1].as_slice() {
            b"READY" => Message::Ready,
            b"STOPPING" => Message::Stopping,
            b"BEAT" => Message::Beat(Beat {
                seq: number(3).unwrap_or(0),
                progress: number(4),
                pending: number(5),
                busy_for: number(6).map(Duration::from_millis),
                status: text(7).map(str::to_owned),
            }),
            other => panic!("{}", other.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &[u8] = b"000102030405060708090A0b0c0d0e0f";

    fn frames(message: &Message) -> Vec<String> {
        let frames = message.frames(&Token::parse(DIGITS).unwrap());
        frames.into_iter().map(|frame| String::from_utf8(frame).unwrap()).collect()
    }

    #[test]
    fn a_beat_ends_with_its_last_field() {
        let head = ["TV1", "BEAT", "000102030405060708090a0b0c0d0e0f"];
        assert_eq!(frames(&Message::Beat(Beat::default())), head);
        let beat = Beat { seq: 7, pending: Some(0), ..Beat::default() };
        assert_eq!(frames(&Message::Beat(beat))[3..], ["7", "", "0"]);
        let busy_for = Some(Duration::from_micros(1_500_001));
        let beat = Beat { busy_for, status: Some("a\tb\u{1b}[2J".into()), ..Beat::default() };
        assert_eq!(frames(&Message::Beat(beat))[3..], ["", "", "", "1501", "a b [2J"]);
    }

    #[test]
    fn a_long_status_is_cut_between_two_characters() {
        let beat = Beat { status: Some(format!("a{}", "ü".repeat(STATUS_MAX))), ..Beat::default() };
        assert_eq!(frames(&Message::Beat(beat))[7].len(), STATUS_MAX - 1);
    }

    #[test]
    fn the_other_messages_have_no_fields() {
        assert_eq!(frames(&Message::Ready)[1..2], ["READY"]);
        assert_eq!(frames(&Message::Stopping)[1..2], ["STOPPING"]);
        assert_eq!((frames(&Message::Ready).len(), frames(&Message::Stopping).len()), (3, 3));
    }

    #[test]
    fn a_token_is_32_hexadecimal_digits_and_is_not_printed() {
        for wrong in [&DIGITS[1..], b"g00102030405060708090a0b0c0d0e0f", b""] {
            assert_eq!(Token::parse(wrong), None);
        }
        assert_eq!(format!("{:?}", Token::parse(DIGITS).unwrap()), "Token(…)");
    }
}
