//! The last output of a child, kept for queries after its exit. Pure.
//!
//! Each line keeps the time when it was read and the incarnation that printed it, so that the lines of several children
//! can be sorted and distinguished.

use super::lines::Line;
use crate::text;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most lines that are kept, ...
pub(crate) const LINES_MAX: usize = 256;
/// ... and most bytes of their text.
pub(crate) const BYTES_MAX: usize = 16 * 1024;

/// The last lines of one child. Takes no memory before the first line, and at most some 21 KiB.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    kept: Option<Box<Kept>>,
}

/// The process that printed a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Speaker {
    pub incarnation: u64,
    pub pid: u32,
}

#[derive(Debug, Default)]
struct Kept {
    text: VecDeque<u8>,
    /// The lines in `text`, the oldest first.
    marks: VecDeque<Mark>,
    /// The processes that printed the lines, each from this position on, the oldest first.
    speakers: VecDeque<(u64, Speaker)>,
    /// The position after the newest line: the number of lines ever pushed.
    end: u64,
}

/// A line without its text.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Nanoseconds since 1970.
    at: u64,
    length: u16,
    cut: bool,
    continued: bool,
}

/// A line of the ring, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptLine {
    /// When it was read, in nanoseconds since 1970; never before the line in front of it.
    pub at: u64,
    /// The incarnation that printed it.
    pub speaker: Speaker,
    /// The text, made printable: see [`text::printable`].
    pub text: String,
    /// The line continues in the next one.
    pub cut: bool,
    /// Continues the line that the one before has cut.
    pub continued: bool,
}

/// The state of a ring apart from its lines, which a hot upgrade passes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    lines: usize,
    speakers: VecDeque<(u64, Speaker)>,
    end: u64,
}

/// Bytes of an encoded mark: time, length, and the flags "cut" and "continued".
const MARK: usize = 8 + 2 + 1;

impl Ring {
    /// The ring as bytes, with what is needed to read them; `None` if it has no line. [`Ring::read_again`] restores it.
    pub(crate) fn written(&self) -> Option<(Vec<u8>, Written)> {
        let Kept { text, marks, speakers, end } = self.kept.as_deref()?;
        let mut bytes = Vec::with_capacity(marks.len() * MARK + text.len());
        for Mark { at, length, cut, continued } in marks {
            bytes.extend(at.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.push(u8::from(*cut) | u8::from(*continued) << 1);
        }
        bytes.extend(text);
        Some((bytes, Written { lines: marks.len(), speakers: speakers.clone(), end: *end }))
    }

    /// Restores a ring from these bytes.
    ///
    /// # Errors
    /// The bytes are inconsistent; the text says how.
    pub(crate) fn read_again(bytes: &[u8], written: Written) -> Result<Ring, String> {
        let Written { lines, speakers, end } = written;
        let wrong = || format!("{} bytes are no {lines} lines of output, the last of them number {end}", bytes.len());
        let (heads, text) = lines.checked_mul(MARK).and_then(|at| bytes.split_at_checked(at)).ok_or_else(wrong)?;
        let mark = |head: &[u8]| Mark {
            at: u64::from_le_bytes(head[..8].try_into().expect("eight bytes")),
            length: u16::from_le_bytes(head[8..10].try_into().expect("two bytes")),
            cut: head[10] & 1 != 0,
            continued: head[10] & 2 != 0,
        };
        let marks: VecDeque<Mark> = heads.chunks_exact(MARK).map(mark).collect();
        if marks.iter().map(|mark| usize::from(mark.length)).sum::<usize>() != text.len() || end < lines as u64 {
            return Err(wrong());
        }
        let text = text.iter().copied().collect();
        Ok(Ring { kept: Some(Box::new(Kept { text, marks, speakers, end })) })
    }

    /// A ring without lines.
    pub(crate) const fn new() -> Ring {
        Ring { kept: None }
    }

    /// Adds a line that was read at `at`, in nanoseconds since 1970, and drops the oldest lines that no longer fit.
    /// Lines that are only for display are ignored.
    pub(crate) fn push(&mut self, at: u64, speaker: Speaker, line: Line<'_>) {
        if !line.is_recorded() {
            return;
        }
        let bytes = &line.bytes()[..line.bytes().len().min(BYTES_MAX)];
        let kept = self.kept.get_or_insert_default();
        while kept.marks.len() >= LINES_MAX || kept.text.len() + bytes.len() > BYTES_MAX {
            let Some(oldest) = kept.marks.pop_front() else { break };
            kept.text.drain(..usize::from(oldest.length));
        }
        // Keeps the order even if the clock was set back.
        let at = kept.marks.back().map_or(at, |last| last.at.max(at));
        kept.text.extend(bytes);
        kept.marks.push_back(Mark { at, length: bytes.len() as u16, cut: line.cut, continued: line.continued });
        if kept.speakers.back().is_none_or(|(_, last)| *last != speaker) {
            kept.speakers.push_back((kept.end, speaker));
        }
        kept.end += 1;
        let first = kept.first();
        while kept.speakers.get(1).is_some_and(|(from, _)| *from <= first) {
            kept.speakers.pop_front();
        }
    }

    /// Inserts the lines of another ring in the order of their times.
    pub(crate) fn merge(&mut self, other: &Ring) {
        if other.is_empty() {
            return;
        }
        let mut all = self.read(0, usize::MAX);
        all.extend(other.read(0, usize::MAX));
        all.sort_by_key(|said| said.at);
        let end = self.end() + other.len() as u64;
        *self = Ring::new();
        for said in all {
            let mut line = Line::new(said.text.as_bytes());
            (line.cut, line.continued) = (said.cut, said.continued);
            self.push(said.at, said.speaker, line);
        }
        // Positions continue as if the lines had been pushed.
        if let Some(kept) = &mut self.kept {
            let gone = end - kept.end;
            kept.end = end;
            kept.speakers.iter_mut().for_each(|(from, _)| *from += gone);
        }
    }

    /// The position of the next line that will be pushed; positions begin at 0.
    pub(crate) fn end(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.end)
    }

    /// The position of the oldest line in the ring.
    pub(crate) fn first(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.first())
    }

    /// How many lines are held.
    pub(crate) fn len(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.marks.len())
    }

    /// Whether no line is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The times of all lines in the ring, the oldest first.
    pub(crate) fn times(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.kept.iter().flat_map(|kept| kept.marks.iter().map(|mark| mark.at))
    }

    /// The texts of the last `count` lines, the oldest first, made printable.
    #[cfg(test)]
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let count = count.min(self.len()) as u64;
        self.read(self.end() - count, usize::MAX).into_iter().map(|line| line.text).collect()
    }

    /// The lines from `position` on that are still in the ring, about `bytes` bytes at most, but at least one line.
    pub(crate) fn read(&self, position: u64, bytes: usize) -> Vec<KeptLine> {
        let Some(kept) = &self.kept else { return Vec::new() };
        let from = position.clamp(kept.first(), kept.end);
        let skipped = (from - kept.first()) as usize;
        let mut at: usize = kept.marks.iter().take(skipped).map(|mark| usize::from(mark.length)).sum();
        let mut lines = Vec::new();
        let begin = at;
        for (position, mark) in (from..).zip(kept.marks.iter().skip(skipped)) {
            let end = at + usize::from(mark.length);
            if end - begin > bytes && !lines.is_empty() {
                break;
            }
            let said: Vec<u8> = kept.text.range(at..end).copied().collect();
            at = end;
            let speaker = kept.speakers.iter().rev().find(|(from, _)| *from <= position).map(|(_, speaker)| *speaker);
            lines.push(KeptLine {
                at: mark.at,
                speaker: speaker.unwrap_or_default(),
                text: text::printable(&said),
                cut: mark.cut,
                continued: mark.continued,
            });
        }
        lines
    }
}

impl Kept {
    fn first(&self) -> u64 {
        self.end - self.marks.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::lines::{Audience, LINE_MAX};

    const FIRST: Speaker = Speaker { incarnation: 1, pid: 7 };

    fn push(ring: &mut Ring, text: &str) {
        ring.push(1, FIRST, Line::new(text.as_bytes()));
    }

    #[test]
    fn silence_costs_a_pointer() {
        assert_eq!(std::mem::size_of::<Ring>(), std::mem::size_of::<usize>());
        let ring = Ring::new();
        assert!(ring.kept.is_none() && ring.is_empty() && ring.last(5).is_empty());
        assert!(ring.read(0, usize::MAX).is_empty());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut ring = Ring::new();
        assert_eq!(ring.written(), None);
        for n in 0..LINES_MAX + 3 {
            let speaker = Speaker { incarnation: n as u64 / 100, pid: 7 };
            ring.push(n as u64, speaker, Line::new(format!("line {n} \u{e4}").as_bytes()));
        }
        let (bytes, written) = ring.written().unwrap();
        let again = Ring::read_again(&bytes, written.clone()).unwrap();
        assert_eq!(again.read(0, usize::MAX), ring.read(0, usize::MAX));
        assert_eq!((again.first(), again.end()), (ring.first(), ring.end()));
        assert!(Ring::read_again(&bytes[1..], written.clone()).is_err());
        assert!(Ring::read_again(&bytes, Written { end: 1, ..written.clone() }).is_err());
        assert!(Ring::read_again(&bytes, Written { lines: usize::MAX, ..written }).is_err());
    }

    #[test]
    fn a_line_costs_its_text_and_a_little() {
        assert_eq!(std::mem::size_of::<Mark>(), 16);
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut ring = Ring::new();
        for n in 0..LINES_MAX + 50 {
            push(&mut ring, &format!("line {n}"));
        }
        assert_eq!(ring.len(), LINES_MAX);
        assert_eq!(ring.last(2), ["line 304", "line 305"]);
        assert_eq!(ring.last(1000).first().unwrap(), "line 50");
        assert_eq!((ring.first(), ring.end()), (50, 306));
    }

    #[test]
    fn long_lines_push_out_more() {
        let mut ring = Ring::new();
        for _ in 0..50 {
            push(&mut ring, &"x".repeat(LINE_MAX));
        }
        assert_eq!(ring.len(), 2);
        push(&mut ring, "short");
        assert_eq!(ring.last(1), ["short"]);
        let kept = ring.kept.as_ref().unwrap();
        assert!(kept.text.len() <= BYTES_MAX && kept.text.capacity() <= 2 * BYTES_MAX);
        assert_eq!(kept.text.len(), kept.marks.iter().map(|mark| usize::from(mark.length)).sum::<usize>());
    }

    #[test]
    fn a_reader_goes_on_where_it_was_in_bites() {
        let mut ring = Ring::new();
        for text in ["aaaa", "bbbb", "cccc"] {
            push(&mut ring, text);
        }
        let texts = |lines: Vec<KeptLine>| lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(ring.read(0, 8)), ["aaaa", "bbbb"]);
        assert_eq!(texts(ring.read(2, 8)), ["cccc"]);
        // A single line is returned whatever its length, or no reader would ever get past it.
        assert_eq!(texts(ring.read(0, 1)), ["aaaa"]);
        // A position in the future, from another process for instance, yields nothing.
        assert!(ring.read(u64::MAX, 8).is_empty());
    }

    #[test]
    fn each_line_knows_who_said_it_and_when() {
        let mut ring = Ring::new();
        let second = Speaker { incarnation: 2, pid: 8 };
        ring.push(10, FIRST, Line::new(b"one"));
        ring.push(20, second, Line::new(b"two"));
        // The clock was set back.
        ring.push(15, second, Line::new(b"three"));
        let lines = ring.read(0, usize::MAX);
        assert_eq!(lines.iter().map(|line| line.at).collect::<Vec<_>>(), [10, 20, 20]);
        assert_eq!(lines.iter().map(|line| line.speaker.incarnation).collect::<Vec<_>>(), [1, 2, 2]);
        for n in 0..2 * LINES_MAX as u64 {
            ring.push(30, Speaker { incarnation: 3 + n / 200, pid: 9 }, Line::new(b"x"));
        }
        // Processes are dropped with their last line.
        assert_eq!(ring.kept.as_ref().unwrap().speakers.len(), 2);
        assert_eq!(ring.read(0, usize::MAX)[0].speaker.incarnation, 4);
    }

    #[test]
    fn two_rings_become_one_in_the_order_of_their_times() {
        let (mut one, mut other) = (Ring::new(), Ring::new());
        let second = Speaker { incarnation: 2, pid: 8 };
        one.merge(&other);
        assert!(one.is_empty());
        for (at, ring, speaker) in [(1, 0, FIRST), (2, 1, second), (3, 0, FIRST), (4, 1, second), (4, 0, FIRST)] {
            [&mut one, &mut other][ring].push(at, speaker, Line::new(format!("{at}").as_bytes()));
        }
        one.merge(&other);
        let lines = one.read(0, usize::MAX);
        let said: Vec<_> = lines.iter().map(|line| (line.at, line.speaker.incarnation)).collect();
        assert_eq!(said, [(1, 1), (2, 2), (3, 1), (4, 1), (4, 2)]);
        assert_eq!((one.first(), one.end()), (0, 5));
        // Positions also continue if not all lines fit.
        (0..LINES_MAX).for_each(|_| other.push(9, second, Line::new(b"x")));
        one.merge(&other);
        assert_eq!((one.first(), one.end()), (5, 5 + LINES_MAX as u64));
        assert!(one.read(0, usize::MAX).iter().all(|line| line.speaker == second));
    }

    #[test]
    fn our_own_words_are_not_the_childs() {
        let mut ring = Ring::new();
        ring.push(1, FIRST, Line::new(b"notice").only_for(Audience::Display));
        ring.push(1, FIRST, Line::new(b"too fast").only_for(Audience::Record));
        assert_eq!(ring.last(9), ["too fast"]);
    }
}
