//! Expansion of `%(name)s`, by the rules of Python's `%` for the conversions that make sense here.

use super::super::draft::{Note, Setting};
use super::super::source::Machine;
use super::super::value::{Piece, Value};
use std::collections::BTreeMap;

#[derive(Clone)]
enum Known {
    Text(Value),
    Number(u32),
}

/// The names that can stand in an expansion.
#[derive(Clone)]
pub(super) struct Names<'a> {
    machine: &'a Machine<'a>,
    known: BTreeMap<String, Known>,
}

impl<'a> Names<'a> {
    pub(super) fn new(machine: &'a Machine<'a>) -> Names<'a> {
        let mut names = Names { machine, known: BTreeMap::new() };
        names.text("host_node_name", Value::plain(&machine.host));
        names
    }

    pub(super) fn text(&mut self, name: &str, value: Value) {
        self.known.insert(name.to_owned(), Known::Text(value));
    }

    pub(super) fn number(&mut self, name: &str, value: u32) {
        self.known.insert(name.to_owned(), Known::Number(value));
    }

    /// Adds a variable of the environment.
    pub(super) fn variable(&mut self, name: &str, value: &Value) {
        self.text(&format!("ENV_{name}"), value.clone());
    }

    /// The text with all expansions.
    pub(super) fn expand(&self, text: &str) -> Result<Value, String> {
        let mut out = Value::default();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.append(&Value::plain(&rest[..at]));
            rest = &rest[at + 1..];
            if let Some(tail) = rest.strip_prefix('%') {
                out.push(Piece::Char('%'));
                rest = tail;
                continue;
            }
            let (name, tail) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')).ok_or(
                "a `%` stands neither before `%` nor before `(name)s`, and supervisord does not start with that",
            )?;
            let (form, tail) = Form::read(name, tail)?;
            rest = tail;
            match self.known.get(name) {
                Some(Known::Number(number)) => out.append(&Value::plain(&form.number(*number))),
                Some(Known::Text(value)) => out.append(&form.text(name, value)?),
                None => match name.strip_prefix("ENV_") {
                    // supervisord does not start without this variable either.
                    Some(variable) if !variable.is_empty() => out.append(&form.text(name, &Value::required(variable))?),
                    _ => return Err(format!("%({name})s is no name that supervisord has there")),
                },
            }
        }
        out.append(&Value::plain(rest));
        Ok(out)
    }

    /// The value of a setting that must be known now, because the TOML has no text in its place. Variables are expanded
    /// from this program's environment, and a note reports that.
    pub(super) fn fixed(&self, setting: &Setting, notes: &mut Vec<Note>) -> Option<String> {
        let value = match self.expand(&setting.value) {
            Ok(value) => value,
            Err(why) => {
                notes.push(setting.note(why));
                return None;
            }
        };
        match value.resolved(self.machine.env) {
            Ok(text) => {
                if value.text().is_none() {
                    notes.push(setting.note(format!("is {text}, as the variable has it now")));
                }
                Some(text.trim().to_owned())
            }
            Err(name) => {
                notes.push(setting.note(format!(
                    "{name} is not set now, so what is meant is not known; write it down, or set it and import again"
                )));
                None
            }
        }
    }
}

/// The format of an expansion: `02d`, `s`.
struct Form {
    zeros: bool,
    left: bool,
    width: usize,
    kind: char,
}

impl Form {
    fn read<'t>(name: &str, tail: &'t str) -> Result<(Form, &'t str), String> {
        let flags = tail.find(|c| !"#0- +".contains(c)).unwrap_or(tail.len());
        let (flags, tail) = tail.split_at(flags);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let width = if digits == 0 { Ok(0) } else { tail[..digits].parse::<usize>() };
        let tail = &tail[digits..];
        let kind = tail.chars().next().filter(|kind| "sdiuxXo".contains(*kind));
        match (kind, width) {
            (Some(kind), Ok(width)) if width <= 64 => {
                let form = Form { zeros: flags.contains('0'), left: flags.contains('-'), width, kind };
                Ok((form, &tail[1..]))
            }
            _ => Err(format!("%({name}) is followed by neither `s` nor `d`, and supervisord does not start with that")),
        }
    }

    fn number(&self, number: u32) -> String {
        let (width, digits) = (
            self.width,
            match self.kind {
                'x' => format!("{number:x}"),
                'X' => format!("{number:X}"),
                'o' => format!("{number:o}"),
                _ => number.to_string(),
            },
        );
        match (self.left, self.zeros && self.kind != 's') {
            (true, _) => format!("{digits:<width$}"),
            (_, true) => format!("{digits:0>width$}"),
            _ => format!("{digits:>width$}"),
        }
    }

    fn text(&self, name: &str, value: &Value) -> Result<Value, String> {
        if self.kind != 's' {
            return Err(format!("%({name}){} is text, and supervisord takes a text by `s` alone", self.kind));
        }
        let blanks = match value.text() {
            Some(text) => Value::plain(&" ".repeat(self.width.saturating_sub(text.chars().count()))),
            None => Value::default(),
        };
        let (mut out, second) = if self.left { (value.clone(), &blanks) } else { (blanks, value) };
        out.append(second);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let machine = Machine { env: &|_| None, host: "box".into() };
        let mut names = Names::new(&machine);
        names.text("program_name", Value::plain("a$"));
        names.number("process_num", 7);
        names.number("numprocs", 12);
        names.variable("K", &Value::plain("v"));
        names.expand(text).map(|value| value.in_toml())
    }

    #[test]
    fn names_and_forms() {
        for (text, right) in [
            ("%(program_name)s-%(process_num)02d", "a$$-07"),
            ("%(numprocs)d %(process_num)s %(process_num)x", "12 7 7"),
            ("%(process_num)3d|%(process_num)-3d|%(process_num)03s", "  7|7  |  7"),
            ("100%% $x", "100% $$x"),
            ("%(ENV_K)s%(ENV_HOME)s", "v${HOME}"),
            ("%(host_node_name)5s", "  box"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(right), "{text}");
        }
        for text in
            ["%d", "50%", "%(program_name)d", "%(other)s", "%(process_num)99999999999s", "%(process_num)", "%(ENV_)s"]
        {
            assert!(expanded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_has_to_be_known_now_is_told() {
        let set = Machine { env: &|name| (name == "N").then(|| "4".into()), host: String::new() };
        let names = Names::new(&set);
        let setting = |value: &str| Setting {
            file: "x".into(),
            line: 3,
            section: String::new(),
            key: "numprocs".into(),
            value: value.into(),
        };
        let mut notes = Vec::new();
        assert_eq!(names.fixed(&setting("2"), &mut notes).as_deref(), Some("2"));
        assert_eq!(notes, []);
        assert_eq!(names.fixed(&setting("%(ENV_N)s"), &mut notes).as_deref(), Some("4"));
        assert_eq!(names.fixed(&setting("%(ENV_M)s"), &mut notes), None);
        let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(notes[0], "x:3: numprocs=%(ENV_N)s: is 4, as the variable has it now");
        assert!(notes[1].contains("M is not set"), "{notes:?}");
    }
}
