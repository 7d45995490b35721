//! What workers print, made fit for an operator's eyes. Pure.
//!
//! A terminal obeys what is written to it: a worker could clear the screen, rewrite the lines above, set the title, or
//! show a path other than its own. So nothing that a terminal acts upon passes. Colours are left out without a trace,
//! since so many programs use them; everything else is shown for what it is.

use std::fmt::Write;

/// The text of a line as it may be shown: control characters as `\x1b`, `\r`, `\u{202e}`, bytes that are no UTF-8 as
/// `\xff`, colour sequences left out, tabs as they are. A carriage return at the end, as in files from elsewhere, is
/// left out as well.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    write_printable(bytes, &mut out);
    out
}

/// Appends what [`printable`] returns.
pub fn write_printable(bytes: &[u8], out: &mut String) {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    for chunk in bytes.utf8_chunks() {
        write_text(chunk.valid(), out);
        for byte in chunk.invalid() {
            push(out, format_args!("\\x{byte:02x}"));
        }
    }
}

/// Makes a text of JSON fit to be looked at in a terminal: what JSON leaves as it is although a terminal acts upon it, is
/// escaped. Such characters stand in strings only, so it is the same JSON afterwards.
pub fn write_json(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(at) = rest.find(is_acted_upon) {
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

fn write_text(mut text: &str, out: &mut String) {
    while let Some(at) = text.find(is_acted_upon) {
        out.push_str(&text[..at]);
        text = &text[at..];
        if let Some(length) = colour_sequence(text.as_bytes()) {
            text = &text[length..];
            continue;
        }
        let Some(c) = text.chars().next() else { return };
        match c {
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 0x100 => push(out, format_args!("\\x{:02x}", c as u32)),
            c => push(out, format_args!("\\u{{{:x}}}", c as u32)),
        }
        text = &text[c.len_utf8()..];
    }
    out.push_str(text);
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("writing to a String does not fail");
}

/// Whether a terminal does something else with this character than to draw it: control characters (C0 but for the
/// tab, DEL, C1), separators that some take for newlines, and what turns the direction of writing around, with which a
/// line can be made to read other than it is.
fn is_acted_upon(c: char) -> bool {
    match c {
        '\t' => false,
        c if c.is_control() => true,
        '\u{200e}' | '\u{200f}' | '\u{061c}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
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

    proptest! {
        #[test]
        fn nothing_dangerous_comes_out(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!printable(&bytes).chars().any(is_acted_upon));
        }

        #[test]
        fn letters_are_left_alone(text in "[ -~\t\u{a1}-\u{ff}]{0,100}") {
            prop_assert_eq!(printable(text.as_bytes()), text);
        }
    }
}
