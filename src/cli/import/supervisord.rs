//! supervisord's configuration: an INI file with comments after values, values that continue on further lines, and
//! `%(expansions)s`.
//!
//! supervisord restarts a program that has run for `startsecs` without limit, and gives up each program on its own. A
//! restart window that all programs share would behave differently, so the tree has none: programs that keep failing
//! are restarted with growing delays. A program that cannot be started at boot still ends the start of the whole tree.

use super::draft::{Draft, Note, Setting};
use super::source::{Machine, Text};
use crate::spec::print::basic;
use expand::Names;
use ini::Section;
use program::{environment_of, program};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod expand;
mod ini;
mod lex;
mod output;
mod process;
mod program;

/// supervisord's default.
const PRIORITY: i64 = 999;

/// A file that matches a pattern, and its content, or why it cannot be read.
pub(super) type Included = (PathBuf, Result<Text, String>);

/// Returns the files that match a pattern.
pub(super) type Include<'a> = &'a dyn Fn(&Path) -> Result<Vec<Included>, String>;

/// A group in the configuration.
struct Group {
    name: String,
    programs: Vec<String>,
    priority: i64,
    /// The setting that names its programs.
    from: Setting,
}

/// Converts a supervisord.conf in the directory `here`.
pub(super) fn read(conf: &Text, here: &Path, machine: &Machine<'_>, include: Include<'_>) -> Draft {
    let mut tree = Draft::default();
    tree.about.push(
        "supervisord starts a program again however often it fails once it has run, and \
         gives up on that one alone"
            .into(),
    );
    tree.about.push(
        "when it does not even start. Here it is started again too, with growing delays; but \
         one that cannot be started at boot ends the start of the whole tree."
            .into(),
    );
    tree.set("intensity", "\"unlimited\"", None);
    tree.for_all("backoff", "{ initial = \"1s\", max = \"30s\" }");
    let mut names = Names::new(machine);
    let mut sections = sections(conf, here, &names, include, &mut tree);
    with_its_user(&mut sections);
    if let Some(section) = sections.iter().find(|section| section.title == "supervisord") {
        of_itself(section, &mut names, &mut tree);
    }
    let mut groups: Vec<Group> = sections.iter().filter_map(|section| group(section, &names, &mut tree)).collect();
    for group in &groups {
        for unknown in group.programs.iter().filter(|program| !is_program(program, &sections)) {
            let why = format!("{unknown} is no program, and supervisord does not start with that");
            tree.note(group.from.note(why));
        }
    }
    let mut placed: Vec<(i64, Draft)> = Vec::new();
    let mut grouped: BTreeMap<String, Vec<(i64, Draft)>> = BTreeMap::new();
    for section in &sections {
        match section.title.split_once(':') {
            Some((kind @ ("program" | "eventlistener" | "fcgi-program"), name)) => {
                let name = name.trim();
                let priority = number(section, "priority", &names, &mut tree).unwrap_or(match kind {
                    "eventlistener" => -1,
                    _ => PRIORITY,
                });
                let mut within: Vec<Option<&Group>> = groups
                    .iter()
                    .filter(|group| group.programs.iter().any(|program| program == name))
                    .map(Some)
                    .collect();
                if within.is_empty() {
                    within.push(None);
                }
                // A program that is in several groups runs in each of them.
                for (index, group) in within.into_iter().enumerate() {
                    let mut made = match kind {
                        "program" => program(section, name, group.map_or(name, |group| &group.name), &names),
                        _ => vec![left_out(section, kind, name, &names)],
                    };
                    for child in made.iter_mut().filter(|_| !Draft::is_name(name)) {
                        child.note(section.note(format!("is called `{}` here", child.name)));
                    }
                    if index > 0 {
                        // They are those of the first group.
                        made.iter_mut().for_each(|child| child.notes.clear());
                    }
                    let made = made.into_iter().map(|child| (priority, child));
                    match group {
                        Some(group) => grouped.entry(group.name.clone()).or_default().extend(made),
                        None => placed.extend(made),
                    }
                }
            }
            _ => of_others(section, &mut tree),
        }
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    for group in groups {
        let Some(members) = grouped.remove(&group.name) else { continue };
        let mut supervisor = Draft::new(&group.name);
        supervisor.about.push(format!("The group of {}.", group.programs.join(", ")));
        supervisor.set("intensity", "\"unlimited\"", None);
        supervisor.children = in_order(members);
        placed.push((group.priority, supervisor));
    }
    tree.children = in_order(placed);
    tree
}

/// Sorted by priority and then by name, the order in which supervisord starts them.
fn in_order(mut placed: Vec<(i64, Draft)>) -> Vec<Draft> {
    placed.sort_by(|(a, first), (b, second)| (a, &first.name).cmp(&(b, &second.name)));
    placed.into_iter().map(|(_, child)| child).collect()
}

/// The sections of the file and of those that it includes.
fn sections(conf: &Text, here: &Path, names: &Names<'_>, include: Include<'_>, tree: &mut Draft) -> Vec<Section> {
    let mut sections = Vec::new();
    ini::parse(conf, here, &mut sections, &mut tree.notes);
    let files = sections
        .iter()
        .find(|section| section.title == "include")
        .map(|section| section.settings.get("files").cloned().ok_or_else(|| section.note("has no files")));
    match files {
        Some(Ok(files)) => {
            for pattern in names.fixed(&files, &mut tree.notes).iter().flat_map(|text| text.split_whitespace()) {
                let found = include(&here.join(pattern));
                match &found {
                    Ok(found) if found.is_empty() => tree.note(files.note(format!("no file is called {pattern}"))),
                    Ok(_) => {}
                    Err(why) => tree.note(files.note(why.clone())),
                }
                for (path, text) in found.into_iter().flatten() {
                    match text {
                        Ok(text) => {
                            let here = path.parent().unwrap_or(here);
                            ini::parse(&text, here, &mut sections, &mut tree.notes);
                        }
                        Err(why) => tree.note(files.note(why)),
                    }
                }
            }
        }
        Some(Err(note)) => tree.note(note),
        None => {}
    }
    // As in supervisord, an included file cannot include others.
    for section in sections.iter().filter(|section| section.title == "include") {
        for setting in section.own() {
            if setting.key != "files" {
                tree.note(setting.note("is no key of [include]"));
            } else if setting.file != conf.name {
                tree.note(setting.note("supervisord does not read what an included file includes"));
            }
        }
    }
    ini::with_defaults(&mut sections);
    sections
}

/// The programs that a `[group:x]` names.
fn group(section: &Section, names: &Names<'_>, tree: &mut Draft) -> Option<Group> {
    let name = section.title.strip_prefix("group:")?.trim().to_owned();
    for setting in section.own() {
        if !matches!(setting.key.as_str(), "programs" | "priority") {
            tree.note(setting.note("is no key of a group, and supervisord passes over it"));
        }
    }
    let priority = number(section, "priority", names, tree).unwrap_or(PRIORITY);
    let Some(setting) = section.settings.get("programs") else {
        tree.note(section.note("names no programs"));
        return None;
    };
    let programs = names.fixed(setting, &mut tree.notes)?;
    let programs = programs.split(',').map(|program| program.trim().to_owned()).filter(|program| !program.is_empty());
    Some(Group { name, programs: programs.collect(), priority, from: setting.clone() })
}

/// Whether there is a section that a group may name.
fn is_program(name: &str, sections: &[Section]) -> bool {
    sections
        .iter()
        .filter_map(|section| section.title.split_once(':'))
        .any(|(kind, program)| matches!(kind, "program" | "fcgi-program") && program.trim() == name)
}

/// supervisord changes to its own `user` before it starts a program, so that is the user of each that names none. A
/// `user=root` changes nothing there, as only root may change its user.
fn with_its_user(sections: &mut [Section]) {
    let itself = sections.iter().find(|section| section.title == "supervisord");
    let user = itself.and_then(|section| section.settings.get("user").cloned());
    let Some(user) = user.filter(|user| !matches!(user.value.as_str(), "root" | "0")) else { return };
    for section in sections.iter_mut().filter(|section| section.title.starts_with("program:")) {
        section.settings.entry("user".into()).or_insert_with(|| user.clone());
    }
}

/// A section whose programs cannot run here; it is written as a comment.
fn left_out(section: &Section, kind: &str, name: &str, names: &Names<'_>) -> Draft {
    let mut child = Draft::new(name);
    child.off = true;
    child.note(section.note(match kind {
        "eventlistener" => "is left out: events are followed by `treevisor events -f --json`",
        _ => "is left out: sockets are not handed to programs",
    }));
    let mut names = names.clone();
    names.text("program_name", super::value::Value::plain(name));
    names.text("group_name", super::value::Value::plain(name));
    let command = section.settings.get("command").and_then(|command| names.expand(&command.value).ok());
    if let Some(words) = command.and_then(|command| lex::split(&command).ok()) {
        let words: Vec<_> = words.words.iter().map(super::value::Value::in_toml).collect();
        child.set("command", super::draft::array(&words), None);
    }
    for setting in section.own().filter(|setting| setting.key != "command") {
        child.note(setting.note("is left out with it"));
    }
    child
}

/// Notes for sections that start no program.
fn of_others(section: &Section, tree: &mut Draft) {
    let kind = section.title.split(':').next().unwrap_or_default();
    match kind {
        "supervisord" if section.title == kind => {}
        "include" | "group" => {}
        "unix_http_server" | "inet_http_server" | "supervisorctl" | "rpcinterface" | "ctlplugin" => {
            tree.note(section.note("is left out: treevisor has sockets of its own, which need no settings"));
        }
        _ => tree.note(section.note("is no section of supervisord's, which passes over it")),
    }
}

/// `[supervisord]`: settings that all programs inherit, and settings of supervisord itself.
fn of_itself(section: &Section, names: &mut Names<'_>, tree: &mut Draft) {
    for setting in section.settings.values() {
        let note = match setting.key.as_str() {
            "environment" => {
                for (name, value) in environment_of(setting, names, tree) {
                    names.variable(&name, &value);
                }
                continue;
            }
            "umask" => {
                let Some(umask) = names.fixed(setting, &mut tree.notes) else { continue };
                // A draft of its own checks whether the value is valid.
                let mut tried = Draft::default();
                tried.set("umask", basic(&umask), Some(setting));
                match tried.notes.pop() {
                    Some(note) => note,
                    None => {
                        tree.for_all("umask", basic(&umask));
                        continue;
                    }
                }
            }
            "user" => setting.note(
                "is the `user` of each program that names none; treevisor itself runs as the user that \
                 starts it",
            ),
            "directory" => setting.note("the tree runs where it is started"),
            "minfds" | "minprocs" => setting.note(
                "the limits are those of the user that starts it; a worker's are \
                 `limits = { nofile = … }`",
            ),
            _ => setting.note("is about supervisord itself"),
        };
        tree.note(note);
    }
}

/// A whole number that may be below zero.
fn number(section: &Section, key: &str, names: &Names<'_>, tree: &mut Draft) -> Option<i64> {
    let setting: &Setting = section.settings.get(key)?;
    let mut notes: Vec<Note> = Vec::new();
    let found = names.fixed(setting, &mut notes).and_then(|text| {
        let number = text.parse().ok();
        if number.is_none() {
            notes.push(setting.note("is no whole number"));
        }
        number
    });
    tree.notes.append(&mut notes);
    found
}
