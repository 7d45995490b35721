//! Keys, and their meaning in each mode. The help is made from the same table.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The keys that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Tab,
    /// Ctrl-L.
    Redraw,
    /// Ctrl-C, which is an ordinary key in raw mode.
    Interrupt,
    Char(char),
}

/// Converts a key event of the terminal.
pub(super) fn of_terminal(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char('c' | 'd') if control => Key::Interrupt,
        KeyCode::Char('l') if control => Key::Redraw,
        KeyCode::Char('p') if control => Key::Up,
        KeyCode::Char('n') if control => Key::Down,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        _ => return None,
    })
}

/// The command of a key in normal mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Move(Step),
    Fold,
    Open,
    Toggle,
    FoldAll,
    Sort,
    SortBack,
    Search,
    Next,
    Previous,
    NextPane,
    EventsOf,
    Read(Subject),
    Operate(Kind),
    Help,
    Redraw,
    Forget,
    Quit,
}

/// How far the selection moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

/// The subject of a page over the whole screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Logs,
    Why,
}

/// The requests for a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stop,
    Restart,
    Panic,
    Hold,
}

/// The keys, the command of each, and its help; the first line of a command has the text.
const TABLE: &[(Key, Command, &str, &str)] = &[
    (Key::Up, Command::Move(Step::Up), "up, k", "select the one above"),
    (Key::Char('k'), Command::Move(Step::Up), "", ""),
    (Key::Down, Command::Move(Step::Down), "down, j", "select the one below"),
    (Key::Char('j'), Command::Move(Step::Down), "", ""),
    (Key::PageUp, Command::Move(Step::PageUp), "PgUp, PgDn", "a screen up or down"),
    (Key::PageDown, Command::Move(Step::PageDown), "", ""),
    (Key::Home, Command::Move(Step::First), "Home, End", "the first, the last"),
    (Key::Char('g'), Command::Move(Step::First), "", ""),
    (Key::End, Command::Move(Step::Last), "", ""),
    (Key::Char('G'), Command::Move(Step::Last), "", ""),
    (Key::Left, Command::Fold, "left, right", "fold and open a supervisor"),
    (Key::Right, Command::Open, "", ""),
    (Key::Char(' '), Command::Toggle, "space, enter", "the same with one key"),
    (Key::Enter, Command::Toggle, "", ""),
    (Key::Char('a'), Command::FoldAll, "a", "fold all below the top, or open all"),
    (Key::Char('o'), Command::Sort, "o, O", "sort siblings by the next, by the previous order"),
    (Key::Char('O'), Command::SortBack, "", ""),
    (Key::Char('/'), Command::Search, "/", "search in the paths, as you type"),
    (Key::Char('n'), Command::Next, "n, N", "the next, the previous that was searched for"),
    (Key::Char('N'), Command::Previous, "", ""),
    (Key::Tab, Command::NextPane, "tab", "events, or the last output"),
    (Key::Char('e'), Command::EventsOf, "e", "events of all, or of what is selected"),
    (Key::Char('l'), Command::Read(Subject::Logs), "l", "logs: its last output, on the whole screen"),
    (Key::Char('w'), Command::Read(Subject::Why), "w", "why it is as it is"),
    (Key::Char('s'), Command::Operate(Kind::Stop), "s", "stop what is selected, in order"),
    (Key::Char('r'), Command::Operate(Kind::Restart), "r", "restart it; starts what is down"),
    (Key::Char('p'), Command::Operate(Kind::Panic), "p", "panic: kill it now; it is started again"),
    (Key::Char('h'), Command::Operate(Kind::Hold), "h", "panic and hold: kill it now, leave it down"),
    (Key::Char('?'), Command::Help, "?", "this help"),
    (Key::Redraw, Command::Redraw, "Ctrl-L", "draw all anew"),
    (Key::Escape, Command::Forget, "Esc", "forget the search and the message"),
    (Key::Char('q'), Command::Quit, "q, Ctrl-C", "quit"),
    (Key::Interrupt, Command::Quit, "", ""),
];

/// The command of a key in normal mode.
pub(super) fn command(key: Key) -> Option<Command> {
    TABLE.iter().find(|(of, ..)| *of == key).map(|(_, command, ..)| *command)
}

/// The keys in the bottom line, the most important first; the last ones are left out on a narrow screen.
pub(super) const BAR: &[(&str, &str)] = &[
    ("?", "help"),
    ("q", "quit"),
    ("l", "logs"),
    ("w", "why"),
    ("s", "stop"),
    ("r", "restart"),
    ("p", "panic"),
    ("h", "hold"),
    ("o", "sort"),
    ("/", "search"),
    ("e", "events of it"),
    ("a", "fold all"),
];

/// The keys in the bottom line of a page.
pub(super) const BAR_OF_PAGE: &[(&str, &str)] =
    &[("q", "back"), ("l", "logs"), ("w", "why"), ("up, down, PgUp, PgDn", "scroll")];

/// Keys with their meaning, for the help.
pub(super) fn help() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().filter(|(_, _, keys, _)| !keys.is_empty()).map(|(_, _, keys, words)| (*keys, *words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_and_the_help_fits_a_screen() {
        for (at, (key, ..)) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|(other, ..)| other != key), "{key:?}");
        }
        assert!(help().count() <= 22, "24 lines with a frame");
        assert!(help().all(|(keys, words)| keys.len() <= 12 && words.len() <= 60));
    }

    #[test]
    fn control_keys_are_no_letters() {
        let key = |code, modifiers| of_terminal(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(key(KeyCode::Char('s'), KeyModifiers::CONTROL), None);
        assert_eq!(key(KeyCode::Char('s'), KeyModifiers::NONE), Some(Key::Char('s')));
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
    }
}
