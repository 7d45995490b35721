//! Converts the settings of a program into the keys of its workers.

use super::super::draft::{Draft, Note, Setting, array};
use super::super::signals::stop_signal;
use super::super::value::Value;
use super::expand::Names;
use super::ini::Section;
use super::lex;
use super::output::log;
use super::process::{Process, truth};
use crate::spec::print::basic;
use std::collections::BTreeMap;

const STOPWAITSECS: &str = "10";
/// Most processes of one program, the limit of `count`.
const MANY: u32 = 10_000;

/// All keys of a program in supervisord.
pub(super) const KEYS: &[&str] = &[
    "autorestart",
    "autostart",
    "command",
    "directory",
    "environment",
    "exitcodes",
    "killasgroup",
    "numprocs",
    "numprocs_start",
    "priority",
    "process_name",
    "redirect_stderr",
    "serverurl",
    "startretries",
    "startsecs",
    "stderr_capture_maxbytes",
    "stderr_events_enabled",
    "stderr_logfile",
    "stderr_logfile_backups",
    "stderr_logfile_maxbytes",
    "stderr_syslog",
    "stdout_capture_maxbytes",
    "stdout_events_enabled",
    "stdout_logfile",
    "stdout_logfile_backups",
    "stdout_logfile_maxbytes",
    "stdout_syslog",
    "stopasgroup",
    "stopsignal",
    "stopwaitsecs",
    "umask",
    "user",
];

/// The workers of one program.
pub(super) fn program(section: &Section, name: &str, group: &str, names: &Names<'_>) -> Vec<Draft> {
    let settings = &section.settings;
    let mut names = names.clone();
    names.text("program_name", Value::plain(name));
    names.text("group_name", Value::plain(group));
    let mut notes = Vec::new();
    let whole = |key: &str, default: u32, notes: &mut Vec<Note>| {
        let Some(setting) = settings.get(key) else { return default };
        let Some(text) = names.fixed(setting, notes) else { return default };
        text.parse().unwrap_or_else(|_| {
            notes.push(setting.note("is no whole number"));
            default
        })
    };
    let asked = whole("numprocs", 1, &mut notes);
    let processes = asked.min(MANY);
    if let Some(setting) = settings.get("numprocs").filter(|_| asked > MANY) {
        notes.push(setting.note(format!("are more than {MANY}")));
    }
    let first = whole("numprocs_start", 0, &mut notes);
    // If the processes differ only by their names, they become one worker with a `count`.
    let differ =
        settings.values().any(|setting| setting.key != "process_name" && setting.value.contains("%(process_num)"));
    let alike = processes > 1 && !differ;
    notes.extend(naming(settings, name, processes, alike));
    let each = if alike { 1 } else { processes.max(1) };
    let mut children: Vec<Draft> = (0..each)
        .map(|index| {
            let mut names = names.clone();
            let number = first.saturating_add(index);
            names.number("process_num", number);
            names.number("numprocs", processes);
            let pattern = settings.get("process_name").map_or("%(program_name)s-%(process_num)s", |name| &name.value);
            let called = names.expand(pattern).ok().and_then(|called| called.text());
            let called = called.filter(|_| processes > 1 && !alike).unwrap_or_else(|| name.to_owned());
            let mut process = Process {
                settings,
                names,
                alike: if alike { processes } else { 1 },
                number: (each > 1).then_some(number),
                child: Draft::new(&called),
            };
            if index == 0 {
                process.child.notes.append(&mut notes);
            }
            process.make(section, processes == 0);
            process.child
        })
        .collect();
    // A note that applies to all processes is kept once.
    if let Some((first, others)) = children.split_first_mut() {
        others.iter_mut().for_each(|other| other.notes.retain(|note| !first.notes.contains(note)));
    }
    children
}

/// The note about `process_name`, if one is needed.
fn naming(settings: &BTreeMap<String, Setting>, name: &str, processes: u32, alike: bool) -> Option<Note> {
    let Some(setting) = settings.get("process_name") else {
        let numprocs = settings.get("numprocs").filter(|_| processes > 1)?;
        return Some(numprocs.note("supervisord does not start without a process_name that holds %(process_num)"));
    };
    let plain = ["%(program_name)s", name].contains(&setting.value.as_str());
    match processes {
        0 => None,
        1 if plain || setting.value.contains("%(process_num)") => None,
        1 => Some(setting.note(format!("is called `{name}` here"))),
        _ if alike => Some(setting.note(format!("they are called {name}-1 to {name}-{processes} here"))),
        _ => None,
    }
}

impl Process<'_> {
    fn make(&mut self, section: &Section, none: bool) {
        if self.alike > 1 {
            self.child.set("count", self.alike.to_string(), self.settings.get("numprocs"));
        }
        if let Some(numprocs) = self.settings.get("numprocs").filter(|_| none) {
            self.child.note(numprocs.note("none is started"));
            self.child.off = true;
        }
        // Variables of `environment` can be used in all later settings.
        if let Some(setting) = self.settings.get("environment") {
            for (name, value) in environment_of(setting, &self.names, &mut self.child) {
                self.names.variable(&name, &value);
            }
        }
        match self.settings.get("command") {
            Some(setting) => self.command(setting),
            None => self.child.note(section.note("has no command, and supervisord does not start with that")),
        }
        if !self.child.has("command") {
            self.child.off = true;
        }
        // In the order of the file.
        let mut all: Vec<_> = self.settings.values().collect();
        all.sort_by_key(|setting| setting.line);
        for setting in all {
            self.apply(setting);
        }
        if !self.child.has("restart") {
            self.child.set("restart", "\"transient\"", None);
        }
        if !self.child.has("shutdown") {
            self.child.set("shutdown", basic(&format!("{STOPWAITSECS}s")), None);
        }
        log(self);
    }

    fn command(&mut self, setting: &Setting) {
        let words = match self.names.expand(&setting.value).and_then(|text| lex::split(&text)) {
            Ok(words) => words,
            Err(why) => {
                let comment = [" ;", " #"].iter().any(|begin| setting.value.contains(begin)) || why.contains("quote");
                let more =
                    if comment { "; what stands behind ` ;` or ` #` is a comment, within quotes too" } else { "" };
                return self.child.note(setting.note(format!("{why}{more}")));
            }
        };
        self.named_host(setting);
        for name in &words.loose {
            self.child.note(
                setting.note(format!("the value of {name} stays one word, also where it is empty or has blanks")),
            );
        }
        let written: Vec<_> = words.words.iter().map(Value::in_toml).collect();
        self.child.set("command", array(&written), Some(setting));
    }

    fn named_host(&mut self, setting: &Setting) {
        if setting.value.contains("%(host_node_name)") {
            self.child.note(setting.note("the name is that of the host on which this was made"));
        }
    }

    /// The value of a setting that must be known now.
    fn fixed(&mut self, setting: &Setting) -> Option<String> {
        self.names.fixed(setting, &mut self.child.notes)
    }

    /// The boolean value of a setting; `None` if it is invalid.
    fn truth(&mut self, setting: &Setting) -> Option<bool> {
        let text = self.fixed(setting)?;
        let truth = truth(&text);
        if truth.is_none() {
            self.child.note(setting.note("is neither true nor false"));
        }
        truth
    }

    fn apply(&mut self, setting: &Setting) {
        let from = Some(setting);
        match setting.key.as_str() {
            "directory" => self.text("cwd", setting),
            "autostart" => {
                if self.truth(setting) == Some(false) {
                    self.child.set("autostart", "false", from);
                }
            }
            "autorestart" => {
                let Some(text) = self.fixed(setting).map(|text| text.to_ascii_lowercase()) else { return };
                match (text.as_str(), truth(&text)) {
                    ("unexpected", _) => self.child.set("restart", "\"transient\"", from),
                    (_, Some(true)) => self.child.set("restart", "\"permanent\"", from),
                    (_, Some(false)) => self.child.set("restart", "\"temporary\"", from),
                    _ => self.child.note(setting.note("is neither true nor false nor unexpected")),
                }
            }
            "exitcodes" => {
                if let Some(text) = self.fixed(setting) {
                    let codes: Vec<_> = text.split(',').map(str::trim).filter(|code| !code.is_empty()).collect();
                    self.child.set("success-codes", format!("[{}]", codes.join(", ")), from);
                }
            }
            "stopsignal" => {
                if let Some(text) = self.fixed(setting) {
                    stop_signal(&text, setting, &mut self.child);
                }
            }
            "stopwaitsecs" => {
                if let Some(text) = self.fixed(setting).filter(|_| !self.child.is("shutdown", "\"brutal-kill\"")) {
                    self.child.set("shutdown", basic(&format!("{text}s")), from);
                }
            }
            "user" => {
                if let Some(text) = self.fixed(setting) {
                    self.child.set("user", basic(&text.replace('$', "$$")), from);
                }
                if !self.child.has("user") {
                    // A program must not be started as another user than configured, so it becomes a comment.
                    self.child.off = true;
                }
            }
            "umask" => {
                if let Some(text) = self.fixed(setting) {
                    self.child.set("umask", basic(&text), from);
                }
            }
            "startsecs" => {
                // With 0 the start is over when the program runs, as here.
                if self.fixed(setting).is_some_and(|text| text != "0") {
                    self.child.note(setting.note(
                        "a start is over when the program runs, or reports it: \
                         `ready`; see `backoff` for how failures are spread out",
                    ));
                }
            }
            "startretries" => self.child.note(setting.note(
                "how many failures are too many is set by the \
                 supervisor: `intensity` and `period`",
            )),
            "stopasgroup" => {
                if self.truth(setting) == Some(true) {
                    self.child.set("kill-mode", "\"control-group\"", from);
                }
            }
            "killasgroup" => {
                if self.truth(setting) == Some(false) {
                    self.child.note(setting.note("what the program leaves behind is killed here"));
                }
            }
            "stdout_capture_maxbytes" | "stderr_capture_maxbytes" => {
                if self.fixed(setting).is_none_or(|text| text != "0") {
                    self.child.note(setting.lost());
                }
            }
            "stdout_events_enabled" | "stderr_events_enabled" | "stdout_syslog" | "stderr_syslog" => {
                if self.truth(setting) == Some(true) {
                    self.child.note(setting.lost());
                }
            }
            "serverurl" => self.child.note(setting.note("is for those that talk to supervisord, which is not there")),
            "numprocs_start" if self.alike > 1 && setting.value != "1" => {
                self.child.note(setting.note("they are numbered from 1"));
            }
            // These keys are converted elsewhere: into the order, `count`, the name, and `log`.
            key if KEYS.contains(&key) => {}
            _ => self.child.note(setting.note("is no key of a program, and supervisord passes over it")),
        }
    }

    /// Sets a key to a text that may contain variables.
    fn text(&mut self, key: &'static str, setting: &Setting) {
        let value = match self.names.expand(&setting.value) {
            Ok(value) => value,
            Err(why) => return self.child.note(setting.note(why)),
        };
        self.named_host(setting);
        // The reader refuses a text that may be empty after expansion; then the present value is used.
        if Draft::takes(key, &basic(&value.in_toml())) {
            self.child.set(key, basic(&value.in_toml()), Some(setting));
        } else if let Some(text) = self.fixed(setting) {
            self.child.set(key, basic(&text.replace('$', "$$")), Some(setting));
        }
    }
}

/// Parses `KEY="value",OTHER=value`, sets the variables in `to`, and returns them.
pub(super) fn environment_of(setting: &Setting, names: &Names<'_>, to: &mut Draft) -> Vec<(String, Value)> {
    let pairs = match names.expand(&setting.value).and_then(|text| lex::pairs(&text)) {
        Ok(pairs) => pairs,
        Err(why) => {
            to.note(setting.note(why));
            return Vec::new();
        }
    };
    if setting.value.contains("%(host_node_name)") {
        to.note(setting.note("the name is that of the host on which this was made"));
    }
    for (name, value) in &pairs {
        to.variable(name, &value.in_toml(), setting);
    }
    pairs
}
