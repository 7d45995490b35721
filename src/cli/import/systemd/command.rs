//! `ExecStart=`: prefixes, quotes, variables and specifiers, to the words of a command.

use super::super::draft::{Draft, Note, array, dollars};
use super::Unit;
use std::collections::BTreeMap;

/// Sets the command.
pub(super) fn command(unit: &Unit, types: &str, variables: &BTreeMap<String, String>, worker: &mut Draft) {
    let commands = unit.all("Service", "ExecStart");
    let Some((first, more)) = commands.split_first() else {
        worker.note(Note::at(&unit.file, 1, &unit.name, "has no ExecStart"));
        worker.off = true;
        return;
    };
    for other in more {
        worker.note(other.note(if types == "oneshot" {
            "only the first command is run"
        } else {
            "only one command is run"
        }));
    }
    let mut text = first.value.as_str();
    let mut own_name = false;
    let mut bare = false;
    while let Some(prefix) = text.chars().next().filter(|c| "-@:+!|".contains(*c)) {
        text = &text[1..];
        match prefix {
            '@' => own_name = true,
            ':' => bare = true,
            '-' => worker.note(first.note("`-`: a failure counts as one here")),
            '!' if text.starts_with('!') => {}
            _ => worker.note(first.note(format!("`{prefix}`: it runs with the rights of `user`"))),
        }
    }
    let Some(mut words) = shlex::split(text) else {
        return worker.note(first.note("a quote is not closed"));
    };
    if own_name && words.len() > 1 {
        worker.note(first.note(format!("`@`: the program is not called {} in its own arguments", words[1])));
        words.remove(1);
    }
    let mut done = Vec::new();
    for word in words {
        match specified(&word, unit) {
            Ok(word) if bare => done.push(word),
            Ok(word) => done.extend(substituted(&word, variables)),
            Err(why) => return worker.note(first.note(why)),
        }
    }
    worker.set("command", array(&done), Some(first));
}

/// A word of a command with its variables put in: those of the unit as they stand, all others from the environment of the
/// tree. `$NAME` as a word of its own is as many words as its value has.
fn substituted(word: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    // `specified` has doubled the dollars; systemd's own way to write one is the same.
    if let Some(name) = word.strip_prefix("$$").filter(|name| is_variable(name)) {
        return match variables.get(name) {
            Some(value) => value.split_whitespace().map(str::to_owned).collect(),
            None => vec![format!("${{{name}:-}}")],
        };
    }
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find("$$") {
        out.push_str(&rest[..at]);
        rest = &rest[at + 2..];
        match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, tail)) if is_variable(name) => {
                match variables.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.push_str(&format!("${{{name}:-}}")),
                }
                rest = tail;
            }
            _ => {
                out.push_str("$$");
                rest = rest.strip_prefix("$$").unwrap_or(rest);
            }
        }
    }
    out.push_str(rest);
    vec![out]
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|c| c == b'_' || c.is_ascii_alphanumeric())
}

/// A text with its `%` specifiers put in, and its dollars doubled for the reader of the TOML.
pub(super) fn specified(text: &str, unit: &Unit) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            match c {
                '$' => out.push_str("$$"),
                c => out.push(c),
            }
            continue;
        }
        let stem = unit.stem();
        out.push_str(&match chars.next() {
            Some('%') => "%".to_owned(),
            Some('n') => dollars(&unit.name),
            Some('N') => dollars(stem),
            Some('p') => dollars(stem.split('@').next().unwrap_or(stem)),
            Some('i' | 'I') => match stem.split_once('@') {
                Some((_, instance)) if !instance.is_empty() => dollars(instance),
                _ => return Err("%i: the unit is a template, and its instance is not known".into()),
            },
            Some('h') => "${HOME:-/root}".to_owned(),
            Some('u') => "${USER:-root}".to_owned(),
            Some('t') => "/run".to_owned(),
            Some('S') => "/var/lib".to_owned(),
            Some('C') => "/var/cache".to_owned(),
            Some('L') => "/var/log".to_owned(),
            Some('E') => "/etc".to_owned(),
            Some('T') => "/tmp".to_owned(),
            Some(other) => return Err(format!("%{other} is not known when the tree is written down")),
            None => "%".to_owned(),
        });
    }
    Ok(out)
}
