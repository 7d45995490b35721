//! A page over the whole tree: the last output of what is selected, or why it is as it is.

use super::keys::{Command, Key, Step, Subject, command};

/// What is read, and how far from where it begins: the end of logs, the beginning of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub subject: Subject,
    /// Lines away from there.
    away: usize,
    /// Lines that fit, as they were drawn last.
    height: usize,
}

impl Page {
    pub(super) fn new(subject: Subject) -> Page {
        Page { subject, away: 0, height: 1 }
    }

    /// What becomes of it by a key; `None` when it is closed.
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
        // Up is away from the end, and towards the beginning.
        self.away = match back == (self.subject == Subject::Logs) {
            true => self.away.saturating_add(lines),
            false => self.away.saturating_sub(lines),
        };
    }

    /// The first of `count` lines that is to be seen where `height` fit. Keeps it within them.
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
        // Nothing is done to what cannot be seen.
        assert_eq!(page().key(Key::Char('p')), Some(page()));
    }
}
