//! A page over the whole screen: the last output of the selected child, or the explanation of its state.

use super::keys::{Command, Key, Step, Subject, command};

/// The subject of a page, and the scroll position relative to its start: the end of logs, or the beginning of an
/// explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub subject: Subject,
    /// Lines scrolled away from the start.
    away: usize,
    /// The number of lines that fit, from the last drawing.
    height: usize,
}

impl Page {
    pub(super) fn new(subject: Subject) -> Page {
        Page { subject, away: 0, height: 1 }
    }

    /// The page after a key; `None` if it is closed.
    pub(super) fn key(mut self, key: Key) -> Option<Page> {
        match command(key) {
            Some(Command::Read(subject)) if subject != self.subject => return Some(Page::new(subject)),
            Some(Command::Read(_) | Command::Forget | Command::Quit) => return None,
            Some(Command::Move(step)) => self.scroll(step),
            _ => {}
        }
        Some(self)
    }

    fn scroll(&mut self, step: Step) {
        let screen = self.height.max(2) - 1;
        let (back, lines) = match step {
            Step::Up => (true, 1),
            Step::PageUp => (true, screen),
            Step::First => (true, usize::MAX),
            Step::Down => (false, 1),
            Step::PageDown => (false, screen),
            Step::Last => (false, usize::MAX),
        };
        // Scrolling up moves away from the end of logs, and towards the beginning of an explanation.
        self.away = match back == (self.subject == Subject::Logs) {
            true => self.away.saturating_add(lines),
            false => self.away.saturating_sub(lines),
        };
    }

    /// The index of the first visible of `count` lines if `height` fit. Limits the scroll position to the text.
    pub(super) fn first(&mut self, count: usize, height: usize) -> usize {
        let most = count.saturating_sub(height);
        self.away = self.away.min(most);
        self.height = height;
        match self.subject {
            Subject::Logs => most - self.away,
            Subject::Why => self.away,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_stay_at_their_end_and_an_explanation_at_its_beginning() {
        let mut logs = Page::new(Subject::Logs);
        assert_eq!((logs.first(100, 10), logs.first(120, 10), logs.first(3, 10)), (90, 110, 0));
        let mut up = logs.key(Key::Up).unwrap();
        assert_eq!(up.first(100, 10), 89);
        let mut screen = up.key(Key::PageUp).unwrap();
        assert_eq!(screen.first(100, 10), 80);
        let mut end = screen.key(Key::End).unwrap();
        assert_eq!(end.first(100, 10), 90);
        let mut why = Page::new(Subject::Why);
        assert_eq!(why.first(100, 10), 0);
        let mut end = why.key(Key::Char('G')).unwrap();
        assert_eq!(end.first(100, 10), 90);
        let mut beginning = end.key(Key::Home).unwrap();
        assert_eq!(beginning.first(100, 10), 0);
    }

    #[test]
    fn a_page_is_closed_by_its_own_key_and_changed_by_the_other() {
        let page = || Page::new(Subject::Logs);
        assert_eq!(page().key(Key::Char('w')), Some(Page::new(Subject::Why)));
        for key in [Key::Char('l'), Key::Char('q'), Key::Escape] {
            assert_eq!(page().key(key), None);
        }
        // Keys for requests have no effect while the tree is not visible.
        assert_eq!(page().key(Key::Char('p')), Some(page()));
    }
}
