//! Text of others made fit for an operator's eyes: one set of characters, and everything that is done about them. Pure.
//!
//! A terminal obeys what is written to it: a worker could clear the screen, rewrite the lines above, set the title, or
//! show a path other than its own. So nothing that a terminal acts upon passes, in text and in JSON alike. In output of
//! workers colours are left out without a trace, since so many programs use them; everything else is shown for what it
//! is.

use std::borrow::Cow;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a terminal does something else with this character than to draw it: control characters (C0 with the tab,
/// DEL, C1), separators that some take for newlines, and what turns the direction of writing around, with which a line
/// can be made to read other than it is. This is the one set of such characters.
pub(crate) fn is_obeyed(c: char) -> bool {
    match c {
        c if c.is_control() => true,
        '\u{200e}' | '\u{200f}' | '\u{061c}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

/// Nearly all text is printable ASCII, which is seen at once.
fn is_plain(text: &str) -> bool {
    // Without a way out of the loop, so that it looks at many bytes at a time.
    text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte))
}

/// A piece of text from elsewhere within a line of ours: what a terminal would act upon is escaped, tabs and newlines
/// too, so that nothing in it moves the cursor, changes a colour or begins a line. What was cleaned stays as it is.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    write_text(text, &mut out, &|_| false);
    Cow::Owned(out)
}

/// `1st`, `2nd`, `13th`.
pub(crate) fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A page of ours on its way out: newlines, tabs and colours pass, and whatever else a terminal would act upon is
/// escaped. It is the last gate; what is put into the page is cleaned where it is put in.
pub(crate) fn page(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_obeyed(c) && !is_layout(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(|c| is_obeyed(c) && !is_layout(c)) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = match colour_sequence(from.as_bytes()) {
            Some(length) => {
                out.push_str(&from[..length]);
                length
            }
            None => {
                let Some(c) = from.chars().next() else { break };
                push_escaped(c, &mut out);
                c.len_utf8()
            }
        };
        rest = &from[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    // 0 is a boundary, so this ends.
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The same for an owned text.
pub(crate) fn cut_owned(mut text: String, max: usize) -> String {
    let end = cut(&text, max).len();
    text.truncate(end);
    text
}

/// The beginning of a text that fits into `width` columns of a terminal, with `mark` where it was cut.
pub(crate) fn shorten(text: &str, width: usize, mark: char) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if width > 0 {
        cut.push(mark);
    }
    cut
}

/// A path, which is ASCII, in so many columns: of a longer one the middle is left out and marked, as its end shows
/// most.
pub(crate) fn cut_inside(path: &str, columns: usize, mark: char) -> Cow<'_, str> {
    if path.len() <= columns || !path.is_ascii() {
        return Cow::Borrowed(path);
    }
    let kept = columns.saturating_sub(1);
    let head = kept / 3;
    Cow::Owned(format!("{}{mark}{}", &path[..head], &path[path.len() - (kept - head)..]))
}

/// The text of a line as it may be shown: control characters as `\x1b`, `\r`, `\u{202e}`, bytes that are no UTF-8 as
/// `\xff`, colour sequences left out, tabs as they are. A carriage return at the end, as in files from elsewhere, is
/// left out as well.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    write_printable(bytes, &mut out);
    out
}

/// Appends what [`printable`] returns.
pub(crate) fn write_printable(bytes: &[u8], out: &mut String) {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    for chunk in bytes.utf8_chunks() {
        write_text(chunk.valid(), out, &|c| c == '\t');
        for byte in chunk.invalid() {
            push(out, format_args!("\\x{byte:02x}"));
        }
    }
}

/// Makes a text of JSON fit to be looked at in a terminal: what JSON leaves as it is although a terminal acts upon it,
/// is escaped. Such characters stand in strings only, so it is the same JSON afterwards. Newlines and tabs of its
/// layout stay.
pub(crate) fn json(json: &str) -> Cow<'_, str> {
    if is_plain(json) || !json.contains(|c| is_obeyed(c) && !is_layout(c)) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    write_json(json, &mut out);
    Cow::Owned(out)
}

/// Appends what [`json`] returns.
pub(crate) fn write_json(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(at) = rest.find(|c| is_obeyed(c) && !is_layout(c)) {
        out.push_str(&rest[..at]);
        let Some(c) = rest[at..].chars().next() else { return };
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            push(out, format_args!("\\u{unit:04x}"));
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.push_str(rest);
}

fn write_text(mut text: &str, out: &mut String, passes: &dyn Fn(char) -> bool) {
    while let Some(at) = text.find(|c| is_obeyed(c) && !passes(c)) {
        out.push_str(&text[..at]);
        text = &text[at..];
        if let Some(length) = colour_sequence(text.as_bytes()) {
            text = &text[length..];
            continue;
        }
        let Some(c) = text.chars().next() else { return };
        push_escaped(c, out);
        text = &text[c.len_utf8()..];
    }
    out.push_str(text);
}

fn push_escaped(c: char, out: &mut String) {
    match c {
        '\r' => out.push_str("\\r"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        c if (c as u32) < 0x100 => push(out, format_args!("\\x{:02x}", c as u32)),
        c => push(out, format_args!("\\u{{{:x}}}", c as u32)),
    }
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("writing to a String does not fail");
}

/// Length of the colour sequence (SGR: `ESC [ numbers m`) that `bytes` begins with.
fn colour_sequence(bytes: &[u8]) -> Option<usize> {
    let inner = bytes.strip_prefix(b"\x1b[")?;
    let end = inner.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    (inner[end] == b'm').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinals_of_the_teens_are_their_own() {
        let words: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal).into();
        assert_eq!(words.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 112th");
    }

    #[test]
    fn text_passes_and_what_a_terminal_acts_upon_does_not() {
        let rows: &[(&[u8], &str)] = &[
            (b"plain\ttext", "plain\ttext"),
            ("grüße \u{1d11e} \u{4f60}".as_bytes(), "grüße \u{1d11e} \u{4f60}"),
            (b"\x1b[31mred\x1b[0m and \x1b[1;38;5;200mbold\x1b[m", "red and bold"),
            (b"\x1b[2Jgone", "\\x1b[2Jgone"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"\x1b[31", "\\x1b[31"),
            (b"\x1b", "\\x1b"),
            (b"10%\r20%", "10%\\r20%"),
            (b"dos\r", "dos"),
            (b"\xff\xfe ok \xc3", "\\xff\\xfe ok \\xc3"),
            (b"\xc2\x9b31m", "\\x9b31m"),
            (b"\x00\x08\x7f", "\\x00\\x08\\x7f"),
            ("a\u{202e}b\u{2028}c".as_bytes(), "a\\u{202e}b\\u{2028}c"),
        ];
        for (input, expected) in rows {
            assert_eq!(printable(input), *expected, "{input:?}");
        }
    }

    /// What every output keeps out, written down once more by hand.
    const OBEYED: &str = "\x00\x07\x08\t\n\r\x1b\x7f\u{80}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\
        \u{2066}\u{2069}";

    #[test]
    fn one_set_for_text_pages_and_json() {
        assert!(OBEYED.chars().all(is_obeyed) && !"aé你\u{1f600}\u{a0}\u{fffd}".chars().any(is_obeyed));
        assert!(!clean(OBEYED).contains(is_obeyed));
        assert_eq!(clean("a\u{9b}31m\tb\nc\u{202e}"), "a\\x9b31m\\tb\\nc\\u{202e}");
        assert_eq!(
            page("\x1b[1mbold\x1b[0m\n\ttab \x1b]0;x\x07\u{9b}"),
            "\x1b[1mbold\x1b[0m\n\ttab \\x1b]0;x\\x07\\x9b"
        );
        let value = format!("\"{}\"", "a\u{9b}\u{202e}\u{7f}\u{200e}");
        assert_eq!(json(&value), r#""a\u009b\u202e\u007f\u200e""#);
        assert!(matches!(json("{\n  \"a\": 1\n}"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, max, left) in [("abc", 9, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é", 1, ""), ("", 0, "")] {
            assert_eq!((cut(text, max), cut_owned(text.into(), max).as_str()), (left, left));
        }
    }

    proptest! {
        #[test]
        fn nothing_dangerous_comes_out(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!printable(&bytes).chars().any(|c| is_obeyed(c) && c != '\t'));
            let text = String::from_utf8_lossy(&bytes);
            prop_assert!(!clean(&text).contains(is_obeyed));
            let cleaned = clean(&text);
            prop_assert_eq!(clean(&cleaned), cleaned.as_ref());
        }

        #[test]
        fn letters_are_left_alone(text in "[ -~\t\u{a1}-\u{ff}]{0,100}") {
            prop_assert_eq!(printable(text.as_bytes()), text);
        }
    }
}
