//! The last lines of a child, for whoever asks what it said before it went. Pure.

use super::lines::Line;
use super::text;
use std::collections::VecDeque;

/// So many lines are kept ...
pub const LINES_MAX: usize = 100;
/// ... as long as together they are not longer than this many bytes.
pub const BYTES_MAX: usize = 16 * 1024;

/// The last lines of one child. Costs nothing before the first line, and at most some 17 KiB ever.
#[derive(Debug, Default)]
pub struct Ring {
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    text: VecDeque<u8>,
    /// Lengths of the lines in `text`, the oldest first.
    lengths: VecDeque<u16>,
    /// Position of the line after the newest: the number of lines that were ever pushed.
    end: u64,
}

/// What a follower has not seen yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Lines that had already been pushed out when the follower came back.
    pub missed: u64,
    /// The lines, fit to be printed.
    pub lines: Vec<String>,
    /// Where to go on next time.
    pub position: u64,
}

impl Ring {
    /// A ring without lines.
    pub const fn new() -> Ring {
        Ring { kept: None }
    }

    /// Adds a line and forgets the oldest ones that no longer fit. Lines that are only for display are left out.
    pub fn push(&mut self, line: Line<'_>) {
        if !line.is_recorded() {
            return;
        }
        let bytes = &line.bytes()[..line.bytes().len().min(BYTES_MAX)];
        let kept = self.kept.get_or_insert_default();
        while kept.lengths.len() >= LINES_MAX || kept.text.len() + bytes.len() > BYTES_MAX {
            let Some(oldest) = kept.lengths.pop_front() else { break };
            kept.text.drain(..usize::from(oldest));
        }
        kept.text.extend(bytes);
        kept.lengths.push_back(bytes.len() as u16);
        kept.end += 1;
    }

    /// The position of the next line that will be pushed; lines are counted from 0.
    pub fn end(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.end)
    }

    /// How many lines are held.
    pub fn len(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.lengths.len())
    }

    /// Whether no line is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last `count` lines, the oldest first, fit to be printed: see [`text::printable`].
    pub fn last(&self, count: usize) -> Vec<String> {
        let count = count.min(self.len()) as u64;
        self.since(self.end() - count).lines
    }

    /// The lines from `position` on, which is what [`News::position`] said the last time, or 0.
    pub fn since(&self, position: u64) -> News {
        let Some(kept) = &self.kept else { return News::default() };
        let first = kept.end - kept.lengths.len() as u64;
        let from = position.clamp(first, kept.end);
        let skipped = (from - first) as usize;
        let mut at: usize = kept.lengths.iter().take(skipped).map(|length| usize::from(*length)).sum();
        let lines = kept
            .lengths
            .iter()
            .skip(skipped)
            .map(|length| {
                let end = at + usize::from(*length);
                let bytes: Vec<u8> = kept.text.range(at..end).copied().collect();
                at = end;
                text::printable(&bytes)
            })
            .collect();
        News { missed: first.saturating_sub(position), lines, position: kept.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::lines::{Audience, LINE_MAX};

    fn push(ring: &mut Ring, text: &str) {
        ring.push(Line::new(text.as_bytes()));
    }

    #[test]
    fn silence_costs_a_pointer() {
        assert_eq!(std::mem::size_of::<Ring>(), std::mem::size_of::<usize>());
        let ring = Ring::new();
        assert!(ring.kept.is_none() && ring.is_empty() && ring.last(5).is_empty());
        assert_eq!(ring.since(0), News::default());
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut ring = Ring::new();
        for n in 0..250 {
            push(&mut ring, &format!("line {n}"));
        }
        assert_eq!(ring.len(), LINES_MAX);
        assert_eq!(ring.last(2), ["line 248", "line 249"]);
        assert_eq!(ring.last(1000).first().unwrap(), "line 150");
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
        assert_eq!(kept.text.len(), kept.lengths.iter().map(|l| usize::from(*l)).sum::<usize>());
    }

    #[test]
    fn a_follower_goes_on_where_it_was_and_hears_what_it_missed() {
        let mut ring = Ring::new();
        push(&mut ring, "a");
        push(&mut ring, "b");
        let news = ring.since(0);
        assert_eq!((news.missed, news.lines, news.position), (0, vec!["a".into(), "b".into()], 2));
        assert!(ring.since(2).lines.is_empty());
        for n in 0..LINES_MAX + 3 {
            push(&mut ring, &n.to_string());
        }
        let news = ring.since(2);
        assert_eq!((news.missed, news.lines.len()), (3, LINES_MAX));
        assert_eq!(news.lines[0], "3");
        // A position from the future, of another process say, shows nothing and is put right.
        assert_eq!(ring.since(u64::MAX), News { missed: 0, lines: vec![], position: ring.end() });
    }

    #[test]
    fn our_own_words_are_not_the_childs() {
        let mut ring = Ring::new();
        ring.push(Line::new(b"notice").only_for(Audience::Display));
        ring.push(Line::new(b"too fast").only_for(Audience::Record));
        assert_eq!(ring.last(9), ["too fast"]);
    }
}
