//! supervisord's INI: sections, comments, values over several lines, and what `%(name)s` stands for in them.

use super::super::Text;
use super::super::draft::{Draft, Note, Setting, dollars};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// Sections with a name, such as `program:web`, and their settings; the later one of two counts.
pub(super) struct Section {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    pub(super) title: String,
    pub(super) settings: BTreeMap<String, Setting>,
}

/// What `%(name)s` stands for.
#[derive(Clone, Copy)]
pub(super) struct Vars<'a> {
    pub(super) here: &'a Path,
    pub(super) program: &'a str,
    pub(super) group: &'a str,
    pub(super) process: Option<u32>,
}

impl Default for Vars<'_> {
    fn default() -> Self {
        Vars { here: Path::new("."), program: "", group: "", process: None }
    }
}

impl Vars<'_> {
    /// The text with everything put in, dollars as the reader of the TOML takes them.
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&dollars(&rest[..at]));
            rest = &rest[at + 1..];
            if let Some(tail) = rest.strip_prefix('%') {
                out.push('%');
                rest = tail;
                continue;
            }
            let Some((name, tail)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) else {
                return Err("a `%` stands neither before `%` nor before `(name)s`".into());
            };
            let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let width: usize = tail[..digits].trim_start_matches('0').parse().unwrap_or(0);
            let kind = tail[digits..].chars().next();
            if !matches!(kind, Some('s' | 'd')) || width > 64 {
                return Err(format!("%({name}) is not followed by `s` or `d`"));
            }
            rest = &tail[digits + 1..];
            let value = match (name, self.process) {
                ("here", _) => dollars(&self.here.display().to_string()),
                ("program_name", _) => dollars(self.program),
                ("group_name", _) => dollars(self.group),
                ("process_num" | "numprocs", Some(process)) => process.to_string(),
                _ => match name.strip_prefix("ENV_") {
                    Some(variable) if !variable.is_empty() => format!("${{{variable}:-}}"),
                    _ => return Err(format!("%({name})s is not known when the tree is written down")),
                },
            };
            match kind {
                Some('d') => out.push_str(&format!("{value:0>width$}")),
                _ => out.push_str(&value),
            }
        }
        out.push_str(&dollars(rest));
        Ok(out)
    }
}

/// Takes the file apart.
pub(super) fn parse(conf: &Text, tree: &mut Draft) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut last: Option<String> = None;
    for (index, line) in conf.text.lines().enumerate() {
        let (line, number) = (uncommented(line), index + 1);
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let Some(section) = sections.last_mut().filter(|_| !line.starts_with('[')) else {
            match line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(title) => sections.push(Section {
                    file: Rc::clone(&conf.name),
                    line: number,
                    title: title.trim().to_owned(),
                    settings: BTreeMap::new(),
                }),
                None => tree.note(Note::at(&conf.name, number, line.trim(), "is neither a [section] nor in one")),
            }
            last = None;
            continue;
        };
        if line.starts_with([' ', '\t']) {
            // What is indented goes on with the value before.
            match last.as_ref().and_then(|key| section.settings.get_mut(key)) {
                Some(setting) => {
                    if !setting.value.is_empty() {
                        setting.value.push(' ');
                    }
                    setting.value.push_str(line.trim());
                }
                None => tree.note(Note::at(&conf.name, number, line.trim(), "goes on with nothing")),
            }
            continue;
        }
        match line.split_once(['=', ':']) {
            Some((key, value)) => {
                let key = key.trim().to_ascii_lowercase();
                let setting = Setting {
                    file: Rc::clone(&conf.name),
                    line: number,
                    section: section.title.clone(),
                    key: key.clone(),
                    value: value.trim().to_owned(),
                };
                section.settings.insert(key.clone(), setting);
                last = Some(key);
            }
            None => tree.note(Note::at(&conf.name, number, line.trim(), "is no key=value")),
        }
    }
    sections
}

/// Without the comment that begins with a semicolon behind a blank.
fn uncommented(line: &str) -> &str {
    match line.match_indices(';').find(|(at, _)| line[..*at].ends_with([' ', '\t'])) {
        Some((at, _)) => line[..at].trim_end(),
        None => line.trim_end(),
    }
}
