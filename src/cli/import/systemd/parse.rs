//! Parses a unit file: sections, `Key=value`, and lines continued by a backslash.

use super::super::draft::{Note, Setting};
use super::super::source::Text;
use std::rc::Rc;

/// Adds the settings of a file to `settings`.
pub(super) fn parse(text: &Text, settings: &mut Vec<Setting>, notes: &mut Vec<Note>) {
    let mut section = String::new();
    for (number, line) in joined(&text.text) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let at = |why: &str| Note::at(&text.name, number, line, why);
        if let Some(rest) = line.strip_prefix('[') {
            match rest.strip_suffix(']') {
                Some(title) => title.clone_into(&mut section),
                None => notes.push(at("is no [Section], and systemd passes over it")),
            }
        } else if let Some((key, value)) = line.split_once('=') {
            if section.is_empty() {
                notes.push(at("stands in no section, and systemd passes over it"));
                continue;
            }
            settings.push(Setting {
                file: Rc::clone(&text.name),
                line: number,
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        } else {
            notes.push(at("is no Key=value, and systemd passes over it"));
        }
    }
}

/// The logical lines with their numbers. A backslash at the end continues a line; comments may come in between, and an
/// empty line ends it.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let (number, mut whole) = begun.take().unwrap_or((index + 1, String::new()));
        whole.push_str(line);
        let backslashes = whole.len() - whole.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            whole.pop();
            whole.push(' ');
            begun = Some((number, whole));
        } else {
            lines.push((number, whole));
        }
    }
    lines.extend(begun);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_go_on() {
        let text = "a \\\n# no\n  b\\\\\nc\\\n\nd \\";
        let lines = joined(text);
        let right = [(1, "a  b\\\\"), (4, "c "), (6, "d  ")];
        assert_eq!(lines, right.map(|(number, line)| (number, line.to_owned())));
    }

    #[test]
    fn what_systemd_passes_over_is_named() {
        let text = Text { name: "x".into(), text: "A=1\n[S\n[S]\nword\n ;no\nB = 2 # all of it\nC=\n".into() };
        let (mut settings, mut notes) = (Vec::new(), Vec::new());
        parse(&text, &mut settings, &mut notes);
        let read: Vec<_> = settings.iter().map(|s| format!("{}:{}.{}={}", s.line, s.section, s.key, s.value)).collect();
        assert_eq!(read, ["6:S.B=2 # all of it", "7:S.C="]);
        let named: Vec<_> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(named.len(), 3, "{named:?}");
    }
}
