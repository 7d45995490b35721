//! supervisord's INI format, by the rules of Python's `configparser` as supervisord configures it: `;` and `#` begin a
//! comment at the beginning of a line and after a blank (also within quotes), a line that is indented deeper than its
//! key continues the value, a repeated section or key adds to the first one, and `[DEFAULT]` has the defaults of all
//! sections.

use super::super::draft::{Note, Setting};
use super::super::source::Text;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// A section such as `program:web`, and its settings; the later of two counts.
pub(super) struct Section {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    pub(super) title: String,
    pub(super) settings: BTreeMap<String, Setting>,
}

impl Section {
    /// The settings of the section itself, without those of `[DEFAULT]`.
    pub(super) fn own(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values().filter(|setting| setting.section == self.title)
    }

    /// A note about the section as a whole.
    pub(super) fn note(&self, why: impl Into<String>) -> Note {
        Note::at(&self.file, self.line, &format!("[{}]", self.title), why)
    }
}

/// Parses a file in the directory `here`, and adds its sections to `sections`.
pub(super) fn parse(conf: &Text, here: &Path, sections: &mut Vec<Section>, notes: &mut Vec<Note>) {
    // A per cent sign in the path must not begin an expansion.
    let here = here.display().to_string().replace('%', "%%");
    let mut section: Option<usize> = None;
    let mut last: Option<String> = None;
    let mut indent = 0;
    for (index, line) in conf.text.lines().enumerate() {
        let number = index + 1;
        let text = uncommented(line).trim();
        if text.is_empty() {
            continue;
        }
        let at = |why: &str| Note::at(&conf.name, number, text, why);
        let depth = line.len() - line.trim_start().len();
        if let (Some(key), true, Some(section)) = (&last, depth > indent, section) {
            if let Some(setting) = sections[section].settings.get_mut(key) {
                if !setting.value.is_empty() {
                    setting.value.push('\n');
                }
                setting.value.push_str(&text.replace("%(here)s", &here));
            }
            continue;
        }
        indent = depth;
        if let Some(title) = title(text) {
            section = sections.iter().position(|known| known.title == title).or_else(|| {
                sections.push(Section {
                    file: Rc::clone(&conf.name),
                    line: number,
                    title: title.to_owned(),
                    settings: BTreeMap::new(),
                });
                Some(sections.len() - 1)
            });
            last = None;
            continue;
        }
        let Some(section) = section else {
            notes.push(at("is neither a [section] nor in one; supervisord does not start with it"));
            continue;
        };
        match text.split_once(['=', ':']).map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if !key.is_empty() => {
                let key = key.to_lowercase();
                let setting = Setting {
                    file: Rc::clone(&conf.name),
                    line: number,
                    section: sections[section].title.clone(),
                    key: key.clone(),
                    value: value.replace("%(here)s", &here),
                };
                sections[section].settings.insert(key.clone(), setting);
                last = Some(key);
            }
            _ => notes.push(at("is no key=value; supervisord does not start with it")),
        }
    }
}

/// Adds the settings of `[DEFAULT]` to each section that does not have them.
pub(super) fn with_defaults(sections: &mut Vec<Section>) {
    let Some(at) = sections.iter().position(|section| section.title == "DEFAULT") else { return };
    let defaults = sections.remove(at);
    for section in sections {
        for (key, setting) in &defaults.settings {
            section.settings.entry(key.clone()).or_insert_with(|| setting.clone());
        }
    }
}

/// The title of a section, if the line begins one. Text after the last bracket is ignored.
fn title(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    inner.rfind(']').filter(|end| *end > 0).map(|end| &inner[..end])
}

/// The line without its comment.
fn uncommented(line: &str) -> &str {
    let begins = |at: usize| line[..at].chars().next_back().is_none_or(char::is_whitespace);
    match line.match_indices([';', '#']).find(|(at, _)| begins(*at)) {
        Some((at, _)) => &line[..at],
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Section>, Vec<String>) {
        let (mut sections, mut notes) = (Vec::new(), Vec::new());
        parse(&Text { name: "x".into(), text: text.into() }, Path::new("/etc/50%"), &mut sections, &mut notes);
        with_defaults(&mut sections);
        (sections, notes.iter().map(ToString::to_string).collect())
    }

    fn value(sections: &[Section], title: &str, key: &str) -> String {
        let section = sections.iter().find(|section| section.title == title).unwrap();
        section.settings[key].value.clone()
    }

    #[test]
    fn comments_and_values_over_several_lines() {
        let (sections, notes) = read(
            "[program:a] ; it\n; no\n  # no\ncommand = x # no\n  --y;z\n  ; no\n\n    --q#1 ;no\nUser: me\n[b]\n  k=1\n  l=2\n   3\n",
        );
        assert_eq!(value(&sections, "program:a", "command"), "x\n--y;z\n--q#1");
        assert_eq!(value(&sections, "program:a", "user"), "me");
        assert_eq!((value(&sections, "b", "k"), value(&sections, "b", "l")), ("1".into(), "2\n3".into()));
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn what_comes_again_adds_up_and_defaults_stand_behind() {
        let (sections, _) = read("[a]\nx=1\ny=1\n[DEFAULT]\nx=7\nz=%(here)s\n[a]\ny=2\n[b]\n");
        let all = |title| {
            ["x", "y", "z"].map(|key| {
                let section = sections.iter().find(|section| section.title == title).unwrap();
                section.settings.get(key).map(|setting| setting.value.as_str())
            })
        };
        assert_eq!(all("a"), [Some("1"), Some("2"), Some("/etc/50%%")]);
        assert_eq!(all("b"), [Some("7"), None, Some("/etc/50%%")]);
    }

    #[test]
    fn what_is_no_line_is_named() {
        let (_, notes) = read("x=1\n[a]\nword\n=2\n");
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[1].starts_with("x:3: word: is no key=value"), "{notes:?}");
    }
}
