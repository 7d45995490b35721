//! Splitting into words as Python's `shlex` does, which supervisord uses for commands and environments.

use super::super::value::{Piece, Value};

/// The words of a text.
pub(super) struct Words {
    pub(super) words: Vec<Value>,
    /// Variables outside quotes, whose values supervisord splits into words too.
    pub(super) loose: Vec<String>,
}

/// The words of a command.
pub(super) fn split(text: &Value) -> Result<Words, String> {
    cut(text, true)
}

/// The pairs of `KEY=value,OTHER="a value"`. Only letters, digits and `_/.+-():` stand without quotes.
pub(super) fn pairs(text: &Value) -> Result<Vec<(String, Value)>, String> {
    let tokens = cut(text, false)?.words;
    let mut found = Vec::new();
    // As in supervisord, the separator between two pairs is not checked.
    for triple in tokens.chunks(4) {
        let is = |at: usize, text: &str| triple.get(at).and_then(Value::text).is_some_and(|token| token == text);
        match (triple.first().and_then(Value::text), triple.get(2)) {
            (Some(name), Some(value)) if is(1, "=") => found.push((name, value.clone())),
            _ => {
                return Err(
                    "is not KEY=value,KEY=value; a value with other characters than letters, digits and `_/.+-():` \
                             needs quotes, and supervisord does not start without"
                        .into(),
                );
            }
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Between,
    Within,
    Quoted(char),
    Escaped { within: Option<char> },
}

fn cut(text: &Value, at_blanks: bool) -> Result<Words, String> {
    let mut done = Words { words: Vec::new(), loose: Vec::new() };
    let mut state = State::Between;
    let mut word = Value::default();
    // Whether the word had quotes, so that it counts even if it is empty.
    let mut quoted = false;
    let mut pieces = text.pieces().iter().peekable();
    let mut finish = |word: &mut Value, quoted: &mut bool| {
        if !word.is_empty() || *quoted {
            done.words.push(std::mem::take(word));
        }
        *quoted = false;
    };
    while let Some(piece) = pieces.next() {
        let c = match piece {
            Piece::Char(c) => *c,
            Piece::Variable { name, .. } => {
                match state {
                    State::Between => state = State::Within,
                    State::Escaped { within } => state = within.map_or(State::Within, State::Quoted),
                    _ => {}
                }
                if state == State::Within {
                    done_loose(&mut done.loose, name);
                }
                word.push(piece.clone());
                continue;
            }
        };
        match state {
            State::Quoted(quote) if c == quote => state = State::Within,
            State::Quoted('"') if c == '\\' => state = State::Escaped { within: Some('"') },
            State::Quoted(_) => word.push(Piece::Char(c)),
            State::Escaped { within } => {
                if within.is_some_and(|quote| c != quote && c != '\\') {
                    word.push(Piece::Char('\\'));
                }
                word.push(Piece::Char(c));
                state = within.map_or(State::Within, State::Quoted);
            }
            State::Between | State::Within => match c {
                c if c.is_ascii_whitespace() => {
                    finish(&mut word, &mut quoted);
                    state = State::Between;
                }
                '#' if !at_blanks => {
                    while pieces.next_if(|piece| **piece != Piece::Char('\n')).is_some() {}
                    finish(&mut word, &mut quoted);
                    state = State::Between;
                }
                '\\' => state = State::Escaped { within: None },
                '"' | '\'' => {
                    quoted = true;
                    state = State::Quoted(c);
                }
                c if at_blanks || is_of_word(c) => {
                    word.push(Piece::Char(c));
                    state = State::Within;
                }
                c => {
                    // Anything else is a word of its own.
                    finish(&mut word, &mut quoted);
                    word.push(Piece::Char(c));
                    finish(&mut word, &mut quoted);
                    state = State::Between;
                }
            },
        }
    }
    match state {
        State::Quoted(_) => return Err("a quote is not closed".into()),
        State::Escaped { .. } => return Err("nothing follows the backslash at the end".into()),
        _ => finish(&mut word, &mut quoted),
    }
    Ok(done)
}

fn done_loose(loose: &mut Vec<String>, name: &str) {
    if !loose.iter().any(|known| known == name) {
        loose.push(name.to_owned());
    }
}

/// Whether a character needs no quotes in an environment.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "_/.+-():".contains(c)
        || ('\u{df}'..='\u{ff}').contains(&c)
        || ('\u{c0}'..='\u{de}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, String> {
        Ok(split(&Value::plain(text))?.words.iter().map(|word| word.text().unwrap()).collect())
    }

    #[test]
    fn commands() {
        assert_eq!(words("a  'b c'\"d\\\"e\\x\" f\\ g ''\n#h").unwrap(), ["a", "b cd\"e\\x", "f g", "", "#h"]);
        assert_eq!(words("sh -c \"a"), Err("a quote is not closed".into()));
        assert!(words("a \\").is_err());
    }

    #[test]
    fn environments() {
        let of = |text: &str| {
            let found = pairs(&Value::plain(text));
            found.map(|all| {
                all.iter().map(|(name, value)| format!("{name}={}", value.text().unwrap())).collect::<Vec<_>>()
            })
        };
        assert_eq!(of("A=\"b,c\", D='e f' ,G=/h:i\n,J=\"\"").unwrap(), ["A=b,c", "D=e f", "G=/h:i", "J="]);
        assert_eq!(of("A=\"1\" # two\n,B=2,").unwrap(), ["A=1", "B=2"]);
        assert!(of("A=b@c,D=e").is_err() && of("A").is_err() && of("A=").is_err());
        assert_eq!(of("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn variables_outside_quotes_are_told() {
        let mut text = Value::plain("a ");
        text.append(&Value::variable("X"));
        text.append(&Value::plain(" \"b "));
        text.append(&Value::variable("Y"));
        text.append(&Value::plain("\""));
        let found = split(&text).unwrap();
        let shown: Vec<_> = found.words.iter().map(Value::in_toml).collect();
        assert_eq!((shown, found.loose), (vec!["a".into(), "${X:-}".into(), "b ${Y:-}".into()], vec!["X".into()]));
    }
}
