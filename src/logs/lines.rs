//! Splits bytes into lines. Pure.

use serde::{Deserialize, Serialize};

/// The longest line, in bytes. A longer one is cut into pieces of at most this length: a worker that never writes a
/// newline must not make its supervisor hold all that it ever wrote.
pub(crate) const LINE_MAX: usize = 8 * 1024;

/// The stream on which a worker wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(dead_code, reason = "readers and files can distinguish the two; workers are given one pipe for both")]
pub(crate) enum Stream {
    /// Both streams share one pipe, which keeps their order and costs one descriptor instead of two.
    #[default]
    Both,
    Stdout,
    Stderr,
}

/// Which consumers get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Audience {
    /// The last output, the log file and the display.
    #[default]
    Everyone,
    /// The last output and the log file, but not the display: it came above the display rate.
    Record,
    /// Only the display: a notice of treevisor about the worker's output.
    Display,
}

/// One line of output, or a piece of one that is longer than [`LINE_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    bytes: &'a [u8],
    /// The line continues in the next piece.
    pub cut: bool,
    /// Continues the line that the piece before has cut.
    pub continued: bool,
    /// The stream that it was written on.
    pub stream: Stream,
    /// The consumers that get it.
    pub audience: Audience,
}

impl<'a> Line<'a> {
    /// A whole line, without its newline.
    pub(crate) fn new(bytes: &'a [u8]) -> Line<'a> {
        Line { bytes, cut: false, continued: false, stream: Stream::default(), audience: Audience::default() }
    }

    /// The same line, with this stream.
    #[must_use]
    pub(crate) fn by(self, stream: Stream) -> Line<'a> {
        Line { stream, ..self }
    }

    /// The same line, with this audience.
    #[must_use]
    pub(crate) fn only_for(self, audience: Audience) -> Line<'a> {
        Line { audience, ..self }
    }

    /// The bytes that the worker wrote, unchanged, without the newline.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is to be shown to the operator.
    pub(crate) fn is_shown(&self) -> bool {
        self.audience != Audience::Record
    }

    /// Whether it is to be kept and written to a file.
    pub(crate) fn is_recorded(&self) -> bool {
        self.audience != Audience::Display
    }
}

/// Splits a stream of bytes into lines. Holds the beginning of an unfinished line, and no memory otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    continued: bool,
}

impl Lines {
    /// For a stream that has not begun.
    pub(crate) const fn new() -> Lines {
        Lines { partial: Vec::new(), continued: false }
    }

    /// Takes the next bytes, and emits each line that they complete.
    pub(crate) fn feed(&mut self, mut rest: &[u8], each: &mut impl FnMut(Line<'_>)) {
        while !rest.is_empty() {
            let room = LINE_MAX - self.partial.len();
            // One byte more than there is room for: a newline right after the longest line does not make the line
            // longer.
            let window = &rest[..rest.len().min(room + 1)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.complete(&rest[..end], each);
                rest = &rest[end + 1..];
            } else if rest.len() > room {
                self.partial.extend_from_slice(&rest[..room]);
                rest = &rest[room..];
                self.cut(each);
            } else {
                self.partial.extend_from_slice(rest);
                return;
            }
        }
    }

    /// Whether a line has begun of which nothing has been emitted yet.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.partial.is_empty() && !self.continued
    }

    /// Whether the beginning of a line has been emitted, and its end has not.
    pub(crate) fn is_within_line(&self) -> bool {
        self.continued
    }

    /// Emits the beginning of a line that does not continue, such as a prompt. Its rest becomes one more piece, however
    /// slowly it comes, so that the line is not cut again and again.
    pub(crate) fn pause(&mut self, each: &mut impl FnMut(Line<'_>)) {
        if self.is_unfinished() && character_boundary(&self.partial) > 0 {
            self.cut(each);
        }
    }

    /// The stream has ended: emits the rest, which has no newline.
    pub(crate) fn finish(&mut self, each: &mut impl FnMut(Line<'_>)) {
        if !self.partial.is_empty() || self.continued {
            self.complete(b"", each);
        }
    }

    fn complete(&mut self, tail: &[u8], each: &mut impl FnMut(Line<'_>)) {
        let continued = std::mem::take(&mut self.continued);
        if self.partial.is_empty() {
            each(Line { continued, ..Line::new(tail) });
        } else {
            // The buffer is freed, not kept for the next line: most workers print nothing most of the time.
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(tail);
            each(Line { continued, ..Line::new(&whole) });
        }
    }

    fn cut(&mut self, each: &mut impl FnMut(Line<'_>)) {
        let end = character_boundary(&self.partial);
        each(Line { cut: true, continued: self.continued, ..Line::new(&self.partial[..end]) });
        self.partial.drain(..end);
        self.continued = true;
    }
}

/// Where to cut so that an incomplete UTF-8 character at the end goes to the next piece as a whole.
fn character_boundary(bytes: &[u8]) -> usize {
    let len = bytes.len();
    for back in 1..=len.min(3) {
        let byte = bytes[len - back];
        let width = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            // A continuation byte: the lead byte is further in front.
            0x80..=0xBF => continue,
            _ => return len,
        };
        return if width > back { len - back } else { len };
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    struct Seen {
        bytes: Vec<u8>,
        cut: bool,
        continued: bool,
    }

    fn seen(chunks: &[&[u8]], finish: bool) -> Vec<Seen> {
        let mut lines = Lines::new();
        let mut out = Vec::new();
        let mut each =
            |line: Line<'_>| out.push(Seen { bytes: line.bytes().to_vec(), cut: line.cut, continued: line.continued });
        chunks.iter().for_each(|chunk| lines.feed(chunk, &mut each));
        if finish {
            lines.finish(&mut each);
        }
        out
    }

    fn texts(chunks: &[&[u8]], finish: bool) -> Vec<String> {
        seen(chunks, finish).into_iter().map(|seen| String::from_utf8(seen.bytes).unwrap()).collect()
    }

    #[test]
    fn lines_are_put_together_from_chunks() {
        assert_eq!(texts(&[b"one\ntw", b"", b"o\n\nthree"], false), ["one", "two", ""]);
        assert_eq!(texts(&[b"one\ntw", b"o\n\nthree"], true), ["one", "two", "", "three"]);
        assert_eq!(texts(&[b"one\n"], true), ["one"]);
    }

    #[test]
    fn a_line_that_pauses_is_shown_once_before_its_end() {
        let mut lines = Lines::new();
        let mut out = Vec::new();
        let mut each = |line: Line<'_>| {
            out.push((String::from_utf8(line.bytes().to_vec()).unwrap(), line.cut, line.continued));
        };
        lines.pause(&mut each);
        lines.feed("Passwort für ü".as_bytes().split_last().unwrap().1, &mut each);
        assert!(lines.is_unfinished());
        lines.pause(&mut each);
        for more in [&b"\xbc"[..], b"...", b"..."] {
            lines.feed(more, &mut each);
            lines.pause(&mut each);
            assert!(!lines.is_unfinished());
        }
        lines.feed(b"\nnext\n", &mut each);
        let pieces = [("Passwort für ", true, false), ("ü......", false, true), ("next", false, false)];
        assert_eq!(out, pieces.map(|(text, cut, continued)| (text.to_owned(), cut, continued)));
    }

    #[test]
    fn the_longest_line_is_whole_and_a_longer_one_is_cut() {
        let longest = vec![b'x'; LINE_MAX];
        let whole = seen(&[&longest, b"\n"], true);
        assert_eq!(whole.len(), 1);
        assert!(!whole[0].cut && !whole[0].continued);

        let longer = vec![b'x'; 2 * LINE_MAX + 5];
        let pieces = seen(&[&longer, b"\nnext\n"], false);
        let shape: Vec<_> = pieces.iter().map(|p| (p.bytes.len(), p.cut, p.continued)).collect();
        assert_eq!(shape, [(LINE_MAX, true, false), (LINE_MAX, true, true), (5, false, true), (4, false, false)]);
    }

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let mut lines = Lines::new();
        for _ in 0..100 {
            lines.feed(&[b'x'; 1000], &mut |_| ());
        }
        assert!(lines.partial.len() <= LINE_MAX);
        assert!(lines.partial.capacity() <= 2 * LINE_MAX);
        lines.feed(b"\n", &mut |_| ());
        assert_eq!(lines.partial.capacity(), 0);
    }

    proptest! {
        /// However the bytes are split into chunks, the same lines come out, none too long, and nothing is lost or
        /// added.
        #[test]
        fn nothing_is_lost(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..200),
                    (0..3 * LINE_MAX).prop_map(|n| vec![b'x'; n]),
                    (0..LINE_MAX).prop_map(|n| "ü€𝄞".repeat(n / 3).into_bytes()),
                    Just(vec![b'\n']),
                ],
                0..12,
            ),
            chunk in 1..20_000usize,
        ) {
            let input = parts.concat();
            let chunks: Vec<&[u8]> = input.chunks(chunk).collect();
            let out = seen(&chunks, true);
            prop_assert_eq!(&out, &seen(&[&input], true));
            let mut back = Vec::new();
            for line in &out {
                prop_assert!(line.bytes.len() <= LINE_MAX);
                prop_assert!(!line.bytes.contains(&b'\n'));
                back.extend_from_slice(&line.bytes);
                if !line.cut {
                    back.push(b'\n');
                }
            }
            let mut expected = input.clone();
            if input.last().is_some_and(|last| *last != b'\n') {
                expected.push(b'\n');
            }
            prop_assert_eq!(back, expected);
        }

        /// A cut never splits a character.
        #[test]
        fn characters_stay_whole(text in "[a-zü€𝄞]{2000,9000}") {
            for line in seen(&[text.as_bytes()], true) {
                prop_assert!(std::str::from_utf8(&line.bytes).is_ok());
            }
        }
    }
}
