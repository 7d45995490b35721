//! supervisord's configuration: an INI file with comments behind values, values that go on in the next line, and
//! `%(expansions)s`.
//!
//! supervisord starts again what has run for `startsecs` as often as it takes, and gives up on one program alone. A window
//! that all programs share would be something else, so the tree has none: what keeps failing is started again with growing
//! delays.

use super::Text;
use super::draft::{Draft, Note, Setting, array};
use crate::spec::print::basic;
use ini::{Section, Vars, parse};
use std::collections::BTreeMap;
use std::path::Path;

mod ini;

/// What supervisord takes where nothing is written.
const PRIORITY: i64 = 999;
const STOPWAITSECS: &str = "10";
const MAXBYTES: u64 = 50 << 20;
const BACKUPS: u64 = 10;

/// The files that a pattern means.
type Included<'a> = &'a dyn Fn(&Path) -> Result<Vec<Text>, String>;

/// Makes a tree of a supervisord.conf that lies in the directory `here`.
pub(super) fn read(conf: &Text, here: &Path, included: Included<'_>) -> Draft {
    let mut tree = Draft::default();
    tree.about.push(
        "supervisord starts a program again however often it fails once it has run, and \
         gives up on that one alone"
            .into(),
    );
    tree.about.push(
        "when it does not even start. Here all go on being started again, with growing \
         delays."
            .into(),
    );
    tree.set("intensity", "\"unlimited\"", None);
    tree.for_all("backoff", "{ initial = \"1s\", max = \"30s\" }");
    let mut sections = parse(conf, &mut tree);
    for index in 0..sections.len() {
        if sections[index].title == "include" {
            let Some(files) = sections[index].settings.remove("files") else { continue };
            for pattern in files.value.replace("%(here)s", &here.display().to_string()).split_whitespace() {
                match included(&here.join(pattern)) {
                    Ok(texts) => texts.iter().for_each(|text| sections.extend(parse(text, &mut tree))),
                    Err(why) => tree.note(files.note(why)),
                }
            }
        }
    }
    let groups: Vec<(String, Vec<String>, i64)> = sections
        .iter_mut()
        .filter_map(|section| {
            let name = section.title.strip_prefix("group:")?.to_owned();
            let programs = section.settings.remove("programs")?;
            let programs = programs.value.split(',').map(|program| program.trim().to_owned()).collect();
            Some((name, programs, number(section, "priority").unwrap_or(PRIORITY)))
        })
        .collect();
    let mut placed: Vec<(i64, Draft)> = Vec::new();
    let mut grouped: BTreeMap<String, Vec<(i64, Draft)>> = BTreeMap::new();
    for section in &mut sections {
        match section.title.split_once(':') {
            Some(("program", name)) => {
                let name = name.trim().to_owned();
                let group =
                    groups.iter().find(|(_, programs, _)| programs.contains(&name)).map(|(group, ..)| group.clone());
                let priority = number(section, "priority").unwrap_or(PRIORITY);
                let made = program(section, &name, group.as_deref().unwrap_or(&name), here);
                let made = made.into_iter().map(|child| (priority, child));
                match group {
                    Some(group) => grouped.entry(group).or_default().extend(made),
                    None => placed.extend(made),
                }
            }
            Some(("group", _)) => tree.notes.extend(section.settings.values().map(Setting::lost)),
            Some((kind @ ("eventlistener" | "fcgi-program"), _)) => {
                let why = match kind {
                    "eventlistener" => "is left out: events are followed by `treevisor events -f --json`",
                    _ => "is left out: sockets are not handed to programs",
                };
                tree.note(Note::at(&section.file, section.line, &format!("[{}]", section.title), why));
            }
            _ if section.title == "supervisord" => of_itself(section, &mut tree, here),
            _ if section.title == "include" => {}
            _ => tree.note(Note::at(
                &section.file,
                section.line,
                &format!("[{}]", section.title),
                "is left out: treevisor has sockets of its own, which need no settings",
            )),
        }
    }
    for (name, programs, priority) in groups {
        let Some(mut members) = grouped.remove(&name) else { continue };
        members.sort_by_key(|(priority, _)| *priority);
        let mut group = Draft::new(&name);
        group.about.push(format!("The group of {}.", programs.join(", ")));
        group.set("intensity", "\"unlimited\"", None);
        group.children = members.into_iter().map(|(_, child)| child).collect();
        placed.push((priority, group));
    }
    placed.sort_by_key(|(priority, _)| *priority);
    tree.children = placed.into_iter().map(|(_, child)| child).collect();
    one_writer_each(&mut tree.children, &mut Vec::new());
    tree
}

/// `[supervisord]`: what is inherited by all programs, and what is about supervisord itself.
fn of_itself(section: &mut Section, tree: &mut Draft, here: &Path) {
    let vars = Vars { here, ..Vars::default() };
    if let Some(environment) = section.settings.remove("environment") {
        environment_of(&environment, &vars, tree);
    }
    if let Some(umask) = section.settings.remove("umask") {
        // Through a draft of its own, which says whether it is one.
        let mut tried = Draft::default();
        tried.set("umask", basic(&umask.value), Some(&umask));
        match tried.notes.pop() {
            Some(note) => tree.note(note),
            None => tree.for_all("umask", basic(&umask.value)),
        }
    }
    for setting in section.settings.values() {
        tree.note(match setting.key.as_str() {
            "user" => setting.note("treevisor runs as who starts it"),
            "directory" => setting.note("the tree runs where it is started"),
            "minfds" | "minprocs" => setting.note(
                "the limits are those of who starts it; a worker's are \
                 `limits = { nofile = … }`",
            ),
            _ => setting.note("is about supervisord itself"),
        });
    }
}

/// The workers of one program.
fn program(section: &mut Section, name: &str, group: &str, here: &Path) -> Vec<Draft> {
    let settings = std::mem::take(&mut section.settings);
    let processes =
        settings.get("numprocs").and_then(|setting| setting.value.parse::<u32>().ok()).unwrap_or(1).clamp(1, 10_000);
    let first = settings.get("numprocs_start").and_then(|setting| setting.value.parse::<u32>().ok()).unwrap_or(0);
    // Where only the name tells them apart, one `count` says it.
    let differ =
        settings.values().any(|setting| setting.key != "process_name" && setting.value.contains("%(process_num)"));
    let alike = processes > 1 && !differ;
    let each = if alike { 1 } else { processes };
    (0..each)
        .map(|index| {
            let vars = Vars { here, program: name, group, process: Some(first.saturating_add(index)) };
            let pattern = settings.get("process_name").map(|setting| setting.value.as_str());
            let called = match pattern {
                Some(pattern) if processes > 1 && !alike => vars.expand(pattern).unwrap_or_else(|_| name.to_owned()),
                None if processes > 1 && !alike => format!("{name}-{}", first + index),
                _ => name.to_owned(),
            };
            let mut child = Draft::new(&called);
            if !settings.contains_key("command") {
                child.note(Note::at(&section.file, section.line, &format!("[{}]", section.title), "has no command"));
                child.off = true;
            }
            if alike {
                child.set("count", processes.to_string(), settings.get("numprocs"));
            }
            // As written, the command first.
            let mut all: Vec<_> = settings.values().collect();
            all.sort_by_key(|setting| (setting.key != "command", setting.line));
            for setting in all {
                apply(setting, &settings, &vars, &mut child);
            }
            if !child.has("restart") {
                child.set("restart", "\"transient\"", None);
            }
            if !child.has("shutdown") {
                child.set("shutdown", basic(&format!("{STOPWAITSECS}s")), None);
            }
            log(&settings, &vars, &mut child);
            child
        })
        .collect()
}

fn apply(setting: &Setting, all: &BTreeMap<String, Setting>, vars: &Vars<'_>, child: &mut Draft) {
    let text = match vars.expand(&setting.value) {
        Ok(text) => text,
        Err(why) => return child.note(setting.note(why)),
    };
    let yes = matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1");
    let from = Some(setting);
    match setting.key.as_str() {
        "command" => match shlex::split(&text) {
            Some(words) => child.set("command", array(&words), from),
            None => child.note(setting.note("a quote is not closed")),
        },
        "directory" => child.set("cwd", basic(&text), from),
        "environment" => environment_of(setting, vars, child),
        "autostart" if !yes => {
            child.off = true;
            child.note(setting.note(
                "all that stands in a file is started; take the `#` away to have it \
                 started",
            ));
        }
        "autorestart" => match text.to_ascii_lowercase().as_str() {
            "unexpected" => child.set("restart", "\"transient\"", from),
            _ if yes => child.set("restart", "\"permanent\"", from),
            _ => child.set("restart", "\"temporary\"", from),
        },
        "exitcodes" => child.set("success-codes", format!("[{text}]"), from),
        "stopsignal" => child.set("stop-signal", basic(&text), from),
        "stopwaitsecs" => child.set("shutdown", basic(&format!("{text}s")), from),
        "user" => child.set("user", basic(&text), from),
        "umask" => child.set("umask", basic(&text), from),
        "startsecs" => child.note(setting.note(
            "a start is over when the program runs, or says so: \
             `ready`; see `backoff` for how failures are spread out",
        )),
        "startretries" => child.note(setting.note(
            "how many failures are too many is said by the \
             supervisor: `intensity` and `period`",
        )),
        "stopasgroup" if yes => child.note(setting.note(
            "the signal goes to the program alone; what is \
             left after it has ended is killed",
        )),
        "stderr_logfile" if !redirected(all) && is_file(&text) => {
            child.note(setting.note("both outputs go the same way, in order"));
        }
        // Always so, or said by others here: by `log`, `count`, the order and the name.
        "autostart"
        | "stopasgroup"
        | "killasgroup"
        | "redirect_stderr"
        | "stderr_logfile"
        | "numprocs"
        | "numprocs_start"
        | "process_name"
        | "stdout_logfile"
        | "stdout_logfile_maxbytes"
        | "stdout_logfile_backups" => {}
        "stderr_logfile_maxbytes" | "stderr_logfile_backups" if redirected(all) => {}
        _ => child.note(setting.lost()),
    }
}

fn redirected(all: &BTreeMap<String, Setting>) -> bool {
    all.get("redirect_stderr")
        .is_some_and(|setting| matches!(setting.value.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1"))
}

fn is_file(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "auto" | "none" | "syslog" | "") && !text.starts_with("/dev/")
}

/// Where the output goes.
fn log(settings: &BTreeMap<String, Setting>, vars: &Vars<'_>, child: &mut Draft) {
    let Some(file) = settings.get("stdout_logfile") else { return };
    let Ok(text) = vars.expand(&file.value) else { return };
    match text.to_ascii_lowercase().as_str() {
        "none"
            if redirected(settings)
                || settings.get("stderr_logfile").is_some_and(|file| file.value.eq_ignore_ascii_case("none")) =>
        {
            child.set("log", "false", Some(file));
        }
        "none" => child.note(file.note("standard error shall be kept, and the two outputs go the same way")),
        "syslog" => child.note(file.note("goes to treevisor's own output")),
        _ if is_file(&text) => {
            let setting = |key: &str| settings.get(key);
            let size = match setting("stdout_logfile_maxbytes").map(|setting| (setting, bytes(&setting.value))) {
                None => MAXBYTES,
                Some((_, Some(bytes))) if bytes > 0 => bytes,
                Some((from, Some(_))) => {
                    child.note(from.note("a file cannot grow without bound; it is rotated at 1 TiB"));
                    1 << 40
                }
                Some((from, None)) => {
                    child.note(from.note("is no size"));
                    MAXBYTES
                }
            };
            let keep =
                setting("stdout_logfile_backups").and_then(|setting| setting.value.parse().ok()).unwrap_or(BACKUPS);
            child.set("log", format!("{{ file = {}, max-size = {size}, keep = {keep} }}", basic(&text)), Some(file));
        }
        _ => {}
    }
}

/// supervisord lets two programs write to one file; rotating it for one would take it from under the other here.
fn one_writer_each(children: &mut [Draft], taken: &mut Vec<String>) {
    for child in children {
        child.keep_log_apart(taken);
        one_writer_each(&mut child.children, taken);
    }
}

/// A size as supervisord has it, whose units count by 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, factor) = match text.len().checked_sub(2).and_then(|at| text.split_at_checked(at)) {
        Some((number, "kb")) => (number, 1 << 10),
        Some((number, "mb")) => (number, 1 << 20),
        Some((number, "gb")) => (number, 1 << 30),
        _ => (text.as_str(), 1),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// `KEY="value",OTHER=value`: values may be quoted, and hold commas then.
fn environment_of(setting: &Setting, vars: &Vars<'_>, to: &mut Draft) {
    let text = match vars.expand(&setting.value) {
        Ok(text) => text,
        Err(why) => return to.note(setting.note(why)),
    };
    let mut pairs = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ',') => pairs.push(String::new()),
            (None, c) if c.is_whitespace() => {}
            (_, c) => {
                if let Some(pair) = pairs.last_mut() {
                    pair.push(c);
                }
            }
        }
    }
    for pair in pairs.iter().filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((name, value)) => to.variable(name, value, setting),
            None => to.note(setting.note(format!("{pair} is no NAME=value"))),
        }
    }
}

fn number(section: &mut Section, key: &str) -> Option<i64> {
    section.settings.remove(key).and_then(|setting| setting.value.trim().parse().ok())
}
