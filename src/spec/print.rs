//! A tree as canonical TOML, which [`read_text`](super::read_text) reads back to the same tree.
//!
//! `check` prints this, and a child node receives its subtree so. What has a default of everyday interest is written out
//! (strategy, intensity, period, restart, shutdown); the rest only where it differs from the default. Nothing refers to
//! another file or to the environment any more. Workers of one `count` are written as one where that says the same.

use super::check::{BACKOFF, numbered};
use super::exec::{BeatSource, ExecSpec, Limit, LogSpec};
use super::expand::escape;
use super::keys::COUNT_GROUP;
use super::policy::{
    AutoShutdown, Backoff, ChildPolicy, Heartbeat, Ready, Restart, Shutdown, StopOrder, Strategy, SupervisorPolicy,
};
use super::probe::{Ask, Probe};
use super::raw::COUNT_MAX;
use super::tree::{ChildKind, ChildSpec, Containment, JournalSpec, SupervisorSpec, TreeSpec};
use crate::ids::Name;
use crate::signal;
use crate::text::is_obeyed;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The tree as TOML.
pub fn to_toml(tree: &TreeSpec) -> String {
    let mut out = Printer { text: String::new(), indent: 0 };
    out.line("name", &string(tree.name.as_str()));
    match tree.containment {
        Containment::Auto => {}
        Containment::Cgroup => out.line("containment", "\"cgroup\""),
        Containment::Group => out.line("containment", "\"group\""),
    }
    if tree.journal != Some(JournalSpec::default()) {
        out.line("journal", &journal(tree.journal));
    }
    out.body(&tree.root, "child");
    out.text
}

/// The value of `journal`.
pub(super) fn journal(journal: Option<JournalSpec>) -> String {
    match journal {
        Some(JournalSpec { max_size, keep }) => format!("{{ max-size = {max_size}, keep = {keep} }}"),
        None => "false".into(),
    }
}

/// The keys of a supervisor's own body with their values, as [`to_toml`] writes them.
pub(super) fn own_keys(supervisor: &SupervisorSpec) -> Vec<(String, String)> {
    let mut out = Printer { text: String::new(), indent: 0 };
    out.own(supervisor);
    out.pairs()
}

/// The keys of a child with their values, as [`to_toml`] writes them; of a supervisor, those that it has as a child.
pub(super) fn child_keys(child: &ChildSpec) -> Vec<(String, String)> {
    let mut out = Printer { text: String::new(), indent: 0 };
    match &child.kind {
        ChildKind::Worker(exec) => out.worker(child, exec, None),
        ChildKind::Supervisor(_) => out.supervisor(child),
    }
    out.pairs()
}

struct Printer {
    text: String,
    /// Levels below the root.
    indent: usize,
}

impl Printer {
    /// Blanks before a line: the root and its children both stand at the margin.
    fn margin(&self) -> usize {
        2 * self.indent.saturating_sub(1)
    }

    fn line(&mut self, key: &str, value: &str) {
        let indent = self.margin();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{key} = {value}", "");
    }

    /// What was written so far. No value has a line break of its own.
    fn pairs(self) -> Vec<(String, String)> {
        let pairs = self.text.lines().filter_map(|line| line.trim_start().split_once(" = "));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The keys of a supervisor's own body.
    fn own(&mut self, supervisor: &SupervisorSpec) {
        let SupervisorPolicy { strategy, intensity, auto_shutdown, stop_order } = &supervisor.policy;
        self.line("strategy", &string(strategy_word(*strategy)));
        match intensity.max {
            Some(max) => self.line("intensity", &max.to_string()),
            None => self.line("intensity", "\"unlimited\""),
        }
        self.line("period", &quote(&intensity.period));
        match auto_shutdown {
            AutoShutdown::Never => {}
            AutoShutdown::AnySignificant => self.line("auto-shutdown", "\"any-significant\""),
            AutoShutdown::AllSignificant => self.line("auto-shutdown", "\"all-significant\""),
        }
        if *stop_order == StopOrder::Together {
            self.line("stop-order", "\"together\"");
        }
        for (key, command) in supervisor.hooks.by_key() {
            self.line(key, &strings(command));
        }
    }

    /// The keys and children of a supervisor; `header` is the name of its children's tables.
    fn body(&mut self, supervisor: &SupervisorSpec, header: &str) {
        self.own(supervisor);
        let mut last_group = 0;
        let mut rest = supervisor.children.as_slice();
        while let Some(first) = rest.first() {
            let (taken, counted) = match counted(rest, last_group) {
                Some(counted) => (counted.members, Some(counted)),
                None => (1, None),
            };
            last_group = first.policy.group.map_or(last_group, |group| group.max(last_group));
            self.indent += 1;
            self.child(first, counted, header);
            self.indent -= 1;
            rest = &rest[taken..];
        }
    }

    fn child(&mut self, child: &ChildSpec, counted: Option<Counted>, header: &str) {
        let indent = self.margin();
        let _ = writeln!(self.text, "\n{:indent$}[[{header}]]", "");
        match &child.kind {
            ChildKind::Worker(exec) => self.worker(child, exec, counted),
            ChildKind::Supervisor(below) => {
                self.supervisor(child);
                self.body(below, &format!("{header}.child"));
            }
        }
    }

    /// What a supervisor has as a child.
    fn supervisor(&mut self, child: &ChildSpec) {
        self.line("name", &string(child.name.as_str()));
        self.policy(&child.policy);
        match child.policy.heartbeat {
            None => self.line("heartbeat", "false"),
            Some(beat) if beat == Heartbeat::default() => {}
            Some(beat) => self.line("heartbeat", &heartbeat(&beat, &[])),
        }
    }

    /// What every child has.
    fn policy(&mut self, policy: &ChildPolicy) {
        let restart = match policy.restart {
            Restart::Permanent => "permanent",
            Restart::Transient => "transient",
            Restart::Temporary => "temporary",
        };
        self.line("restart", &string(restart));
        match policy.shutdown {
            Shutdown::BrutalKill => self.line("shutdown", "\"brutal-kill\""),
            Shutdown::After(span) => self.line("shutdown", &quote(&span)),
            Shutdown::Infinity => self.line("shutdown", "\"infinity\""),
        }
        if policy.significant {
            self.line("significant", "true");
        }
        if let Some(span) = policy.start_timeout {
            self.line("start-timeout", &quote(&span));
        }
        if let Some(delays) = &policy.backoff {
            self.line("backoff", &backoff(delays));
        }
    }

    fn worker(&mut self, child: &ChildSpec, exec: &ExecSpec, counted: Option<Counted>) {
        let name = counted.as_ref().map_or(child.name.as_str(), |counted| &counted.name);
        self.line("name", &string(name));
        self.line("command", &strings(&exec.command));
        match (&counted, child.policy.group) {
            (Some(counted), _) => self.line("count", &counted.members.to_string()),
            (None, Some(group)) => self.line(COUNT_GROUP, &group.to_string()),
            (None, None) => {}
        }
        self.policy(&child.policy);
        if let Some(beat) = &child.policy.heartbeat {
            self.line("heartbeat", &heartbeat(beat, &exec.sources));
        }
        match child.policy.ready {
            Ready::Exec => {}
            Ready::Heartbeat => self.line("ready", "\"heartbeat\""),
            Ready::Notify => self.line("ready", "\"notify\""),
        }
        if child.policy.success_codes != [0] {
            self.line("success-codes", &format!("{:?}", child.policy.success_codes));
        }
        if let Some(cwd) = &exec.cwd {
            self.line("cwd", &path(cwd));
        }
        if !exec.env.is_empty() {
            let pairs: Vec<_> =
                exec.env.iter().map(|(name, value)| format!("{} = {}", key(name), string(value))).collect();
            self.line("env", &format!("{{ {} }}", pairs.join(", ")));
        }
        if exec.clear_env {
            self.line("clear-env", "true");
        }
        for (key, value) in [("user", &exec.user), ("group", &exec.group)] {
            if let Some(value) = value {
                self.line(key, &string(value));
            }
        }
        if let Some(mask) = exec.umask {
            self.line("umask", &format!("\"{mask:03o}\""));
        }
        if !exec.limits.is_empty() {
            let pairs: Vec<_> = exec.limits.iter().map(|(name, limit)| format!("{name} = {}", limits(limit))).collect();
            self.line("limits", &format!("{{ {} }}", pairs.join(", ")));
        }
        if let Some(nice) = exec.nice {
            self.line("nice", &nice.to_string());
        }
        match signal::name(exec.stop_signal) {
            Some("TERM") => {}
            Some(name) => self.line("stop-signal", &string(name)),
            None => self.line("stop-signal", &exec.stop_signal.to_string()),
        }
        match &exec.log {
            LogSpec::Capture => {}
            LogSpec::Discard => self.line("log", "false"),
            LogSpec::File { file, max_size, keep } => {
                let file = counted.and_then(|counted| counted.log).unwrap_or_else(|| file.clone());
                self.line("log", &format!("{{ file = {}, max-size = {max_size}, keep = {keep} }}", path(&file)));
            }
        }
        if let Some(bytes) = exec.memory_max {
            self.line("memory-max", &bytes.to_string());
        }
        if let Some(thousandths) = exec.cpu_max {
            self.line("cpu-max", &format!("{:?}", f64::from(thousandths) / 1000.0));
        }
        if let Some(pids) = exec.pids_max {
            self.line("pids-max", &pids.to_string());
        }
    }
}

/// Workers that one `count` says.
struct Counted {
    /// The name that it numbers.
    name: String,
    members: usize,
    /// The log file that it numbers.
    log: Option<PathBuf>,
}

/// Whether `children` begin with all the workers that one `count` makes, and nothing but their number differs. `last`
/// is the highest group number so far: the reader gives a `count` the next one.
fn counted(children: &[ChildSpec], last: u32) -> Option<Counted> {
    let first = children.first()?;
    let ChildKind::Worker(exec) = &first.kind else { return None };
    let group = first.policy.group.filter(|group| *group == last + 1)?;
    let name = first.name.as_str().strip_suffix("-1")?;
    Name::parse(name).ok()?;
    let log = match &exec.log {
        LogSpec::File { file, .. } => Some(unnumbered(file, 1)?),
        _ => None,
    };
    let alike = |(index, child): (usize, &ChildSpec)| {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let mut exec = exec.clone();
        if let (LogSpec::File { file, .. }, Some(log)) = (&mut exec.log, &log) {
            *file = numbered(log, number);
        }
        child.name.as_str() == format!("{name}-{number}")
            && child.policy == first.policy
            && child.kind == ChildKind::Worker(exec)
    };
    let run = children.iter().take_while(|child| child.policy.group == Some(group));
    // One that breaks the row would be written on its own, and be taken for the next group.
    let members = run.clone().count();
    if members > COUNT_MAX as usize || !run.enumerate().all(alike) {
        return None;
    }
    Some(Counted { name: name.to_owned(), members, log })
}

/// What [`numbered`] made `file` of with this number.
pub(super) fn unnumbered(file: &Path, number: u32) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_str()?.strip_suffix(&format!("-{number}"))?;
    let base = match file.extension() {
        Some(extension) => file.with_file_name(format!("{stem}.{}", extension.to_str()?)),
        None => file.with_file_name(stem),
    };
    (numbered(&base, number) == file).then_some(base)
}

fn strategy_word(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::OneForOne => "one-for-one",
        Strategy::OneForAll => "one-for-all",
        Strategy::RestForOne => "rest-for-one",
    }
}

fn heartbeat(beat: &Heartbeat, sources: &[BeatSource]) -> String {
    let mut out = format!("{{ interval = {}, misses = {}", quote(&beat.interval), beat.misses);
    if !beat.grace.is_zero() {
        let _ = write!(out, ", grace = {}", quote(&beat.grace));
    }
    match sources {
        [] | [BeatSource::Zmq] => {}
        [one] => {
            let _ = write!(out, ", source = {}", source(one));
        }
        several => {
            let all: Vec<_> = several.iter().map(source).collect();
            let _ = write!(out, ", source = [{}]", all.join(", "));
        }
    }
    if beat.progress {
        out.push_str(", progress = true");
    }
    out.push_str(" }");
    out
}

fn source(source: &BeatSource) -> String {
    match source {
        BeatSource::Zmq => "\"zmq\"".into(),
        BeatSource::Notify => "\"notify\"".into(),
        BeatSource::Probe(Probe { ask, timeout }) => {
            let asked = match ask {
                Ask::Exec(command) => format!("exec = {}", strings(command)),
                Ask::Tcp(server) => format!("tcp = {}", string(&server.to_string())),
                Ask::Http(..) => format!("http = {}", string(&ask.to_string())),
            };
            let timeout = timeout.map(|timeout| format!(", timeout = {}", quote(&timeout))).unwrap_or_default();
            format!("{{ {asked}{timeout} }}")
        }
        BeatSource::Push(endpoint) => format!("{{ push = {} }}", string(endpoint)),
    }
}

fn backoff(delays: &Backoff) -> String {
    if *delays == BACKOFF {
        return "true".into();
    }
    let Backoff { initial, max, factor, jitter, reset } = delays;
    format!(
        "{{ initial = {}, max = {}, factor = {factor:?}, jitter = {jitter:?}, reset = {} }}",
        quote(initial),
        quote(max),
        quote(reset)
    )
}

fn limits(limit: &Limit) -> String {
    let one = |limit: Option<u64>| limit.map_or_else(|| "\"unlimited\"".to_owned(), |limit| limit.to_string());
    if limit.soft == limit.hard {
        one(limit.soft)
    } else {
        format!("{{ soft = {}, hard = {} }}", one(limit.soft), one(limit.hard))
    }
}

/// Something without special characters, in quotes.
fn quote(value: &impl std::fmt::Display) -> String {
    format!("\"{value}\"")
}

fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}

fn strings(values: &[String]) -> String {
    let all: Vec<_> = values.iter().map(|value| string(value)).collect();
    format!("[{}]", all.join(", "))
}

/// A string whose dollars stand for themselves.
fn string(text: &str) -> String {
    basic(&escape(text))
}

/// A key, bare where it can be.
pub fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !text.is_empty() && text.chars().all(bare) { text.to_owned() } else { basic(text) }
}

/// A string in TOML's quotes, `$` and all.
pub fn basic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // Every character of the set is in the first plane.
            c if is_obeyed(c) => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
