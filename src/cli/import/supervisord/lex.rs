//! Splitting into words as Python's `shlex` does, which supervisord uses for commands and environments.

use super::super::value::{Piece, Value};

/// The words of a text.
pub(super) struct Words {
    pub(super) words: Vec<Value>,
    /// Variables outside quotes, whose values supervisord splits into words too.
    pub(super) loose: Vec<String>,
}

/// The pairs of `KEY=value,OTHER="a value"`. Only letters, digits and `_/.+-():` stand without quotes.
pub(super) fn pairs(text: &Value) -> Result<Vec<(String, Value)>, String> {
    let tokens = tokens(text)?;
    let mut found = Vec::new();
    // As in supervisord, the separator between two pairs is not checked.
    for triple in tokens.chunks(4) {
        let is = |at: usize, text: &str| triple.get(at).and_then(Value::text).is_some_and(|token| token == text);
        match (triple.first().and_then(Value::text), triple.get(2)) {
            (Some(name), Some(value)) if is(1, "=") => found.push((name, stripped(value))),
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

/// The tokens of an environment. supervisord uses shlex without the POSIX rules for it: a backslash is a character, a
/// quote within a word too, and a token in quotes ends with its second quote and keeps both.
fn tokens(text: &Value) -> Result<Vec<Value>, String> {
    let mut done = Vec::new();
    let mut token = Value::default();
    let mut quote = None;
    let mut pieces = text.pieces().iter();
    let mut finish = |token: &mut Value| {
        if !token.is_empty() {
            done.push(std::mem::take(token));
        }
    };
    while let Some(piece) = pieces.next() {
        // A variable counts as a character of a word.
        let c = if let Piece::Char(c) = piece { *c } else { 'x' };
        match quote {
            Some(open) => {
                token.push(piece.clone());
                if c == open {
                    finish(&mut token);
                    quote = None;
                }
            }
            None if c.is_ascii_whitespace() => finish(&mut token),
            // A comment does not end the token before it.
            None if c == '#' => while pieces.next().is_some_and(|piece| *piece != Piece::Char('\n')) {},
            None if matches!(c, '"' | '\'') && token.is_empty() => {
                token.push(piece.clone());
                quote = Some(c);
            }
            None if is_of_word(c) || matches!(c, '"' | '\'') => token.push(piece.clone()),
            // Anything else is a token of its own.
            None => {
                finish(&mut token);
                token.push(piece.clone());
                finish(&mut token);
            }
        }
    }
    if quote.is_some() {
        return Err(UNCLOSED.into());
    }
    finish(&mut token);
    Ok(done)
}

/// The value without the quotes at its ends.
fn stripped(value: &Value) -> Value {
    let is_quote = |piece: &Piece| matches!(piece, Piece::Char('"' | '\''));
    let pieces = value.pieces();
    let begin = pieces.iter().position(|piece| !is_quote(piece)).unwrap_or(pieces.len());
    let end = pieces.iter().rposition(|piece| !is_quote(piece)).map_or(begin, |last| last + 1);
    let mut out = Value::default();
    pieces[begin..end].iter().for_each(|piece| out.push(piece.clone()));
    out
}

/// Whether a character needs no quotes in an environment.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_/.+-():".contains(c)
}

const UNCLOSED: &str = "a quote is not closed";

#[derive(Clone, Copy, PartialEq)]
enum State {
    Between,
    Within,
    Quoted(char),
    Escaped { within: Option<char> },
}

/// The words of a command, by the POSIX rules.
pub(super) fn split(text: &Value) -> Result<Words, String> {
    let mut done = Words { words: Vec::new(), loose: Vec::new() };
    let mut state = State::Between;
    let mut word = Value::default();
    // Whether the word had quotes, so that it counts even if it is empty.
    let mut quoted = false;
    let mut finish = |word: &mut Value, quoted: &mut bool| {
        if !word.is_empty() || *quoted {
            done.words.push(std::mem::take(word));
        }
        *quoted = false;
    };
    for piece in text.pieces() {
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
                '\\' => state = State::Escaped { within: None },
                '"' | '\'' => {
                    quoted = true;
                    state = State::Quoted(c);
                }
                c => {
                    word.push(Piece::Char(c));
                    state = State::Within;
                }
            },
        }
    }
    match state {
        State::Quoted(_) => return Err(UNCLOSED.into()),
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
        // As Python's own shlex cuts them.
        for (text, right) in [
            (r#"P="C:\\dir""#, r"P=C:\\dir"),
            (r#"Q="'inner'""#, "Q=inner"),
            (r#"R=a"b""#, r#"R=a"b"#),
            ("S=don't", "S=don't"),
            ("T=1#x\n2", "T=12"),
            ("U==", "U=="),
            ("V='\"'", "V="),
            ("W=é1", "W=é"),
        ] {
            assert_eq!(of(text).unwrap(), [right], "{text}");
        }
        for text in ["A=b@c,D=e", "A", "A=", r#"A="say \"hi\"""#, r"A=a\b", "A=\"b\"c,D=1", "A=\"x"] {
            assert!(of(text).is_err(), "{text}");
        }
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
