//! Splitting into words as systemd does: both kinds of quotes anywhere in a word, and C escapes.

/// A word and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) word: String,
    pub(super) rest: &'t str,
    /// The word has a backslash that is not part of an escape; systemd warns of it and keeps it.
    pub(super) odd: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Quote,
    Escape,
    NotText,
}

pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(word) = first(rest)? {
        found.push(word.word);
        rest = word.rest;
    }
    Ok(found)
}

/// The first word of a text.
pub(super) fn first(text: &str) -> Result<Option<Word<'_>>, String> {
    let said = |fault| match fault {
        Fault::Quote => "a quote is not closed".to_owned(),
        Fault::Escape => "ends with a backslash within quotes".to_owned(),
        Fault::NotText => "its escapes make no UTF-8, which the TOML cannot hold".to_owned(),
    };
    match cut(text, false) {
        // A backslash that is not part of an escape is kept.
        Err(Fault::Escape) => Ok(cut(text, true).map_err(said)?.map(|word| Word { odd: true, ..word })),
        other => other.map_err(said),
    }
}

/// The words of a variable's value. Quotes are interpreted, and an unclosed one ends with the value.
pub(super) fn of_value(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if is_blank(c) => found.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn cut(text: &str, relaxed: bool) -> Result<Option<Word<'_>>, Fault> {
    let text = text.trim_start_matches(is_blank);
    if text.is_empty() {
        return Ok(None);
    }
    let mut out: Vec<u8> = Vec::new();
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (quote, c) {
            (_, '\\') => match escape(rest) {
                Some((bytes, length)) => {
                    out.extend(bytes);
                    rest = &rest[length..];
                }
                None if relaxed => {
                    out.push(b'\\');
                    let next = rest.chars().next();
                    if let Some(next) = next {
                        out.extend(next.to_string().bytes());
                        rest = &rest[next.len_utf8()..];
                    }
                }
                None => return Err(Fault::Escape),
            },
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if is_blank(c) => {
                let word = String::from_utf8(out).map_err(|_| Fault::NotText)?;
                return Ok(Some(Word { word, rest: rest.trim_start_matches(is_blank), odd: false }));
            }
            (_, c) => out.extend(c.to_string().bytes()),
        }
    }
    if quote.is_some() {
        // The unclosed quote is reported in preference to an invalid escape.
        return Err(Fault::Quote);
    }
    Ok(Some(Word { word: String::from_utf8(out).map_err(|_| Fault::NotText)?, rest, odd: false }))
}

/// The bytes of an escape, and its length; `text` begins after the backslash.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let number = |from: usize, digits: usize, radix: u32| {
        let digits = text.get(from..from + digits)?;
        let clean = digits.chars().all(|c| c.is_digit(radix));
        u32::from_str_radix(digits, radix).ok().filter(|number| clean && *number != 0)
    };
    let plain = |byte: u8| Some((vec![byte], 1));
    match text.chars().next()? {
        'a' => plain(7),
        'b' => plain(8),
        'f' => plain(12),
        'n' => plain(b'\n'),
        'r' => plain(b'\r'),
        't' => plain(b'\t'),
        'v' => plain(11),
        's' => plain(b' '),
        c @ ('\\' | '"' | '\'') => plain(u8::try_from(c).ok()?),
        'x' => Some((vec![u8::try_from(number(1, 2, 16)?).ok()?], 3)),
        '0'..='7' => Some((vec![u8::try_from(number(0, 3, 8)?).ok()?], 3)),
        c @ ('u' | 'U') => {
            let digits = if c == 'u' { 4 } else { 8 };
            let c = char::from_u32(number(1, digits, 16)?)?;
            Some((c.to_string().into_bytes(), 1 + digits))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes() {
        for (text, right) in [
            (r#"a "b c"d 'e "f' "#, vec!["a", "b cd", "e \"f"]),
            (r"a\x20b \s \101 \u00e9 \xc3\xa9 \\", vec!["a b", " ", "A", "é", "é", "\\"]),
            (r"\d+ a\", vec![r"\d+", r"a\"]),
            (r"'it\'s' ''", vec!["it's", ""]),
        ] {
            assert_eq!(words(text).unwrap(), right, "{text}");
        }
        for text in ["'a", "a \"b", r"\xff"] {
            assert!(words(text).is_err(), "{text}");
        }
        assert!(first(r"\d+").unwrap().unwrap().odd);
        assert_eq!(first(" a  ; b").unwrap().unwrap().rest, "; b");
        assert_eq!(first(" "), Ok(None));
    }

    #[test]
    fn words_of_a_value() {
        assert_eq!(of_value(" -a  \"b c\"d 'e"), ["-a", "b cd", "e"]);
        assert_eq!(of_value("  "), Vec::<String>::new());
        assert_eq!(of_value("''"), [""]);
    }
}
