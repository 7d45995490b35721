//! A tree that is being converted: keys with their values in TOML, and notes about settings that could not be
//! converted.
//!
//! Each key is checked with the reader as soon as it is set; a value that the reader refuses becomes a note instead.

use super::value::Value;
use crate::ids::Name;
use crate::spec::print::{basic, key};
use crate::spec::read_text;
use crate::text::is_obeyed;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

/// A setting of the source file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    /// The section that it is in; empty if the format has no sections.
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
}

/// A setting that could not be converted, or not exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    file: Rc<str>,
    /// 0 if the note is about the file as a whole.
    line: usize,
    setting: String,
    why: String,
}

impl Setting {
    /// A note about this setting.
    pub(super) fn note(&self, why: impl Into<String>) -> Note {
        let setting = if self.value.is_empty() { self.key.clone() } else { format!("{}={}", self.key, self.value) };
        Note { file: Rc::clone(&self.file), line: self.line, setting, why: why.into() }
    }

    /// The note for a setting without a counterpart.
    pub(super) fn lost(&self) -> Note {
        self.note("has no counterpart here")
    }
}

impl Note {
    /// A note about a place in a file.
    pub(super) fn at(file: &Rc<str>, line: usize, what: &str, why: impl Into<String>) -> Note {
        Note { file: Rc::clone(file), line, setting: what.to_owned(), why: why.into() }
    }
}

/// Prints the note in one line, whatever the file contains.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Most characters of a setting that are shown.
        const LONG: usize = 100;
        let whole = one_line(&self.setting);
        let more = if whole.chars().count() > LONG { "…" } else { "" };
        let text: String = whole.chars().take(LONG).collect();
        let why = one_line(&self.why);
        let file: String = self.file.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect();
        match self.line {
            0 => write!(f, "{file}: {text}{more}: {why}"),
            line => write!(f, "{file}:{line}: {text}{more}: {why}"),
        }
    }
}

/// A text in one line without control characters.
fn one_line(text: &str) -> String {
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || is_obeyed(c)).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// A worker, or with children a supervisor; or the whole file.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    /// Comments in the lines before it.
    pub(super) about: Vec<String>,
    keys: Vec<(&'static str, String)>,
    defaults: Vec<(&'static str, String)>,
    env: BTreeMap<String, String>,
    pub(super) notes: Vec<Note>,
    pub(super) children: Vec<Draft>,
    /// It is written as a comment, so it is not started.
    pub(super) off: bool,
    /// The file of its output, and the setting that names it.
    log: Option<(String, Setting)>,
}

impl Draft {
    pub(super) fn new(name: &str) -> Draft {
        Draft { name: name_of(name), ..Draft::default() }
    }

    /// Sets a key to a value in TOML; `from` is the setting that it is converted from.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<String>, from: Option<&Setting>) {
        let value = value.into();
        match refusal(key, &value) {
            None => {
                self.keys.retain(|(known, _)| *known != key);
                self.keys.push((key, value));
            }
            Some(why) => self.notes.extend(from.map(|from| from.note(why))),
        }
    }

    /// Writes its output to a file; `more` are other keys of `log`.
    pub(super) fn set_log(&mut self, file: &Value, more: &str, from: &Setting) {
        let file = file.in_toml();
        self.set("log", format!("{{ file = {}{more} }}", basic(&file)), Some(from));
        if self.has("log") {
            self.log = Some((file, from.clone()));
        }
    }

    /// Makes it a step: the following siblings wait for its end.
    pub(super) fn be_a_step(&mut self, restart: &str) {
        self.set("ready", "\"exit\"", None);
        self.set("restart", basic(restart), None);
    }

    /// A step with the same user, working directory and environment as this worker.
    pub(super) fn step(&self, name: &str) -> Draft {
        const SETUP: [&str; 10] =
            ["cwd", "env", "env-file", "clear-env", "user", "group", "umask", "limits", "nice", "oom-score-adjust"];
        let keys = self.keys.iter().filter(|(key, _)| SETUP.contains(key)).cloned().collect();
        let mut step = Draft { keys, env: self.env.clone(), off: self.off, ..Draft::new(name) };
        step.be_a_step("transient");
        step
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(known, _)| *known == key)
    }

    /// Whether a key has this value, in TOML.
    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.keys.iter().any(|(known, set)| *known == key && set == value)
    }

    /// Whether the reader accepts this value.
    pub(super) fn takes(key: &str, value: &str) -> bool {
        refusal(key, value).is_none()
    }

    /// Whether a text is a valid name unchanged.
    pub(super) fn is_name(text: &str) -> bool {
        name_of(text) == text
    }

    /// Sets a key of `[defaults]`.
    pub(super) fn for_all(&mut self, key: &'static str, value: impl Into<String>) {
        self.defaults.push((key, value.into()));
    }

    /// Adds a variable to the environment. `value` is escaped already for the reader of the TOML.
    pub(super) fn variable(&mut self, name: &str, value: &str, from: &Setting) {
        match refusal("env", &format!("{{ {} = {} }}", key(name), basic(value))) {
            None => drop(self.env.insert(name.to_owned(), value.to_owned())),
            Some(why) => self.notes.push(from.note(why)),
        }
    }

    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.env.contains_key(name)
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Removes a log file that an earlier worker has too: when one of them rotated it, the other would write to the old
    /// file.
    pub(super) fn keep_logs_apart(&mut self) {
        self.keep_apart(&mut BTreeSet::new());
    }

    fn keep_apart(&mut self, taken: &mut BTreeSet<String>) {
        if let Some((_, from)) = self.log.as_ref().filter(|(file, _)| !self.off && !taken.insert(file.clone())) {
            self.keys.retain(|(key, _)| *key != "log");
            let why = "another worker writes to this file, and rotating it for one would take it from the other";
            self.notes.push(from.note(why));
        }
        self.children.iter_mut().for_each(|child| child.keep_apart(taken));
    }

    /// All notes of this draft and of its children.
    pub(super) fn all_notes(&self) -> Vec<&Note> {
        self.notes.iter().chain(self.children.iter().flat_map(Draft::all_notes)).collect()
    }

    /// Whether it contains a worker, even one that is written as a comment.
    pub(super) fn writes_something(&self) -> bool {
        self.has("command") || self.children.iter().any(Draft::writes_something)
    }

    /// Whether it contains a worker that is started.
    pub(super) fn starts_something(&self) -> bool {
        if self.children.is_empty() {
            self.has("command") && !self.off
        } else {
            self.children.iter().any(Draft::starts_something)
        }
    }

    pub(super) fn to_toml(&self) -> String {
        let mut out = String::new();
        self.body(0, "child", false, &mut out);
        // A blank line separates comments at the top from the keys.
        out.trim_start().to_owned()
    }

    fn body(&self, depth: usize, header: &str, off: bool, out: &mut String) {
        let indent = "  ".repeat(depth.saturating_sub(1));
        let hash = if off { "# " } else { "" };
        let mut line = |text: &str| {
            let text = format!("{hash}{text}");
            out.push_str(&format!("{indent}{}\n", text.trim_end()));
        };
        if depth == 0 {
            self.about.iter().for_each(|about| line(format!("# {}", one_line(about)).trim_end()));
            self.notes.iter().for_each(|note| line(&format!("# differs: {note}")));
            if !self.keys.is_empty() {
                line("");
            }
        }
        for (key, value) in &self.keys {
            line(&format!("{key} = {value}"));
        }
        if !self.env.is_empty() && depth > 0 {
            let pairs: Vec<_> =
                self.env.iter().map(|(name, value)| format!("{} = {}", key(name), basic(value))).collect();
            line(&format!("env = {{ {} }}", pairs.join(", ")));
        }
        if !self.defaults.is_empty() || depth == 0 && !self.env.is_empty() {
            line("");
            line("[defaults]");
            self.defaults.iter().for_each(|(key, value)| line(&format!("{key} = {value}")));
            if !self.env.is_empty() {
                let pairs: Vec<_> =
                    self.env.iter().map(|(name, value)| format!("{} = {}", key(name), basic(value))).collect();
                line(&format!("env = {{ {} }}", pairs.join(", ")));
            }
        }
        for child in &self.children {
            // A supervisor without a child that is started would be invalid, so it becomes a comment too.
            let off = off || !child.starts_something();
            let indent = "  ".repeat(depth);
            let hash = if off { "# " } else { "" };
            out.push('\n');
            child
                .about
                .iter()
                .for_each(|about| out.push_str(&format!("{}\n", format!("{indent}# {}", one_line(about)).trim_end())));
            child.notes.iter().for_each(|note| out.push_str(&format!("{indent}# differs: {note}\n")));
            out.push_str(&format!("{indent}{hash}[[{header}]]\n{indent}{hash}name = {}\n", basic(&child.name)));
            child.body(depth + 1, &format!("{header}.child"), off, out);
        }
    }

    /// Sorts notes by file and line.
    pub(super) fn sort_notes(&mut self) {
        self.notes.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        self.children.iter_mut().for_each(Draft::sort_notes);
    }

    /// Renames siblings that have the same name.
    pub(super) fn make_names_unique(&mut self) {
        let mut taken = BTreeSet::new();
        for child in &mut self.children {
            let plain = child.name.clone();
            let mut number = 1;
            while child.names().any(|name| taken.contains(&name)) {
                number += 1;
                child.name = format!("{plain}_{number}");
            }
            taken.extend(child.names());
            child.make_names_unique();
        }
    }

    /// The names of the children that it makes, with a `count` several.
    fn names(&self) -> impl Iterator<Item = String> + use<> {
        let count = self.keys.iter().find(|(key, _)| *key == "count").and_then(|(_, count)| count.parse::<u32>().ok());
        let name = self.name.clone();
        (1..=count.unwrap_or(1)).map(move |number| match count {
            Some(_) => format!("{name}-{number}"),
            None => name.clone(),
        })
    }
}

/// Makes a valid name of any text, with room for a number.
pub(super) fn name_of(text: &str) -> String {
    let fine = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' };
    let name: String = text.chars().map(fine).take(Name::MAX_LEN - 12).collect();
    if Name::parse(&name).is_ok() { name } else { "unnamed".into() }
}

/// An array of strings in TOML.
pub(super) fn array<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| basic(word)).collect();
    format!("[{}]", words.join(", "))
}

/// Why the reader refuses this value; `None` if it accepts it.
fn refusal(key: &str, value: &str) -> Option<String> {
    let command = if key == "command" { "" } else { "command = \"x\"\n" };
    let of_supervisor = matches!(key, "strategy" | "intensity" | "period" | "stop-order");
    let text = if of_supervisor {
        format!("{key} = {value}\n[[child]]\nname = \"x\"\ncommand = \"x\"\n")
    } else {
        format!("[[child]]\nname = \"x\"\n{command}{key} = {value}\n")
    };
    // Variables count as set, as the environment of the tree's start is not known here.
    let read = read_text("import", &text, &|_| Some(String::new()));
    // Errors that depend on other keys are ignored here.
    read.errors()
        .find(|error| !matches!(error.code, "ready-without-heartbeat" | "significant-never" | "step-permanent"))
        .map(|error| match &error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message.clone(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, value: &str) -> Setting {
        Setting { file: "x.conf".into(), line: 7, section: String::new(), key: key.into(), value: value.into() }
    }

    #[test]
    fn what_the_reader_refuses_is_a_note() {
        let mut draft = Draft::new("a b/c");
        assert_eq!(draft.name, "a-b-c");
        draft.set("umask", "\"999\"", Some(&setting("umask", "999")));
        draft.set("umask", "\"022\"", None);
        assert_eq!(draft.keys, [("umask", "\"022\"".to_owned())]);
        let note = draft.notes[0].to_string();
        assert!(note.starts_with("x.conf:7: umask=999: ") && note.contains("022"), "{note}");
    }

    #[test]
    fn children_that_are_off_are_comments() {
        let mut tree = Draft::default();
        for (name, off) in [("a", false), ("b", true), ("a", false)] {
            let mut child = Draft::new(name);
            child.set("command", "\"x\"", None);
            child.off = off;
            tree.children.push(child);
        }
        tree.make_names_unique();
        assert_eq!(
            tree.to_toml(),
            "[[child]]\nname = \"a\"\ncommand = \"x\"\n\n# [[child]]\n# name = \"b\"\n# command = \"x\"\n\n[[child]]\nname = \
             \"a_2\"\ncommand = \"x\"\n"
        );
    }

    #[test]
    fn nothing_breaks_out_of_a_comment() {
        let note = setting("command", "a\nb\u{1b}[2J").lost().to_string();
        assert_eq!(note, "x.conf:7: command=a b [2J: has no counterpart here");
    }
}
