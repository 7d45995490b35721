//! `treevisor check`: what a file means, or what is wrong with it.

use super::failure::{ExitCode, Failure};
use super::file;
use super::options::ColorMode;
use super::out::{self, Out};
use super::render::{self, Branches, Look};
use crate::ids::Path;
use crate::os::accounts::Wanted;
use crate::spec::exec::ExecSpec;
use crate::spec::policy::{
    AutoShutdown, Backoff, ChildPolicy, Heartbeat, Intensity, Ready, Restart, Shutdown, StartOrder, StopOrder, Strategy,
};
use crate::spec::print;
use crate::spec::resources::{Amount, Cap, Resources};
use crate::spec::size;
use crate::spec::tree::{ChildKind, ChildSpec, Containment, SupervisorSpec, TreeSpec};
use crate::time::Span;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Check a file, and show its tree
///
/// Reads FILE as `start` would, starts nothing, and draws the tree with its rules. All errors of the file are shown at
/// once, on stderr; so are warnings about rules that work against each other. Users and groups have to be there on this
/// machine, unless the file is for another one.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor check
  treevisor check --portable supervisors.toml
  treevisor check --json supervisors.toml | jq '.diagnostics[].message'

Exit codes:
  0  the file is right; there may be warnings
  2  it has errors, or cannot be read
")]
pub struct Check {
    /// The tree's file
    #[arg(default_value = "supervisors.toml")]
    pub file: PathBuf,
    /// The file is for another machine: a user or a group that is unknown here is a warning
    #[arg(long)]
    pub portable: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: Check, when: ColorMode) -> Result<ExitCode, Failure> {
    let wanted = if args.portable { Wanted::Elsewhere } else { Wanted::Right };
    let read = file::read(&args.file, wanted);
    let (errors, warnings) = read.counts();
    let ok = read.tree().is_some();
    let code = if ok { ExitCode::Done } else { ExitCode::Usage };
    if args.json {
        let tree = read.tree().map(tree_json);
        Out::open().write_json(&json!({ "ok": ok, "diagnostics": read.diagnostics(), "tree": tree }))?;
        return Ok(code);
    }
    if let Some(tree) = read.tree() {
        Out::open().write(&draw(tree, Look::of_stdout(when)))?;
    }
    read.show(when);
    let name = args.file.display();
    match (ok, warnings) {
        (true, 0) => {}
        (true, _) => out::say(when, &format!("{name} is right, with {}", file::count(warnings, "warning"))),
        (false, _) => {
            let also = if warnings > 0 { format!(" and {}", file::count(warnings, "warning")) } else { String::new() };
            let failure = Failure::new(code, format!("{name} has {}{also}", file::count(errors, "error")));
            return Err(file::hinted(failure, &args.file));
        }
    }
    Ok(code)
}

// The drawing.

fn draw(tree: &TreeSpec, look: Look) -> String {
    let mut rows = vec![[tree.name.to_string(), supervisor_rules(&tree.root), String::new()]];
    child_rows(&tree.root, &Branches::default(), look, &mut rows);
    let mut workers = 0;
    let mut supervisors = 0;
    tree.root.for_each_supervisor(&Path::root(), &mut |_, supervisor| {
        supervisors += 1;
        workers += supervisor.children.iter().filter(|child| !child.is_supervisor()).count();
    });
    let containment = match tree.containment {
        Containment::Auto => "by cgroup where possible",
        Containment::Cgroup => "by cgroup",
        Containment::Group => "by process group",
    };
    format!(
        "{}: {}, {}, containment {containment}\n\n{}",
        tree.name,
        file::count(supervisors, "supervisor"),
        file::count(workers, "worker"),
        render::plain_tree(rows, look)
    )
}

fn child_rows(supervisor: &SupervisorSpec, above: &Branches, look: Look, rows: &mut Vec<[String; 3]>) {
    let runs = runs(&supervisor.children);
    for (at, run) in runs.iter().enumerate() {
        let [first, .., last] = run else {
            let [only] = run else { continue };
            let branches = above.below(at + 1 == runs.len());
            rows.push(row(only, only, &branches, look));
            if let ChildKind::Supervisor(below) = &only.kind {
                child_rows(below, &branches, look, rows);
            }
            continue;
        };
        let mut row = row(first, last, &above.below(at + 1 == runs.len()), look);
        // Shown because it is seldom intended: copies are interchangeable, but this strategy restarts them together.
        if supervisor.policy.strategy != Strategy::OneForOne {
            row[1] = format!("restart each other, {}", row[1]);
        }
        rows.push(row);
    }
}

/// Groups neighbouring children that one `count` has made.
fn runs(children: &[ChildSpec]) -> Vec<&[ChildSpec]> {
    children.chunk_by(|a, b| a.policy.group.is_some() && a.policy.group == b.policy.group).collect()
}

/// The row of a child, or of those from `child` to `last` that one `count` has made: they differ in their number only.
fn row(child: &ChildSpec, last: &ChildSpec, branches: &Branches, look: Look) -> [String; 3] {
    let (rules, command) = match &child.kind {
        ChildKind::Worker(exec) => {
            let last = if let ChildKind::Worker(last) = &last.kind { last } else { exec };
            (worker_rules(&child.policy, exec, last), range(command_line(exec), &command_line(last)))
        }
        ChildKind::Supervisor(below) => {
            let mut rules = supervisor_rules(below);
            // A supervisor also has rules as a child; defaults are not shown.
            for rule in child_rules(&child.policy, true) {
                rules = format!("{rules}, {rule}");
            }
            (rules, String::new())
        }
    };
    let name = range(child.name.to_string(), last.name.as_str());
    [format!("{}{name}", branches.draw(look)), rules, command]
}

/// What the first and the last of some copies have, with a copy's number in it or without.
fn range(first: String, last: &str) -> String {
    if first == last { first } else { format!("{first} .. {last}") }
}

fn supervisor_rules(spec: &SupervisorSpec) -> String {
    let SupervisorSpec { policy, hooks, resources, .. } = spec;
    let mut rules = vec![word(policy.strategy)];
    rules.push(match policy.intensity.max {
        None => "restarts unlimited".into(),
        Some(max) => format!("{} in {}", file::count(max as usize, "restart"), policy.intensity.period),
    });
    if policy.auto_shutdown != AutoShutdown::Never {
        rules.push(format!("auto-shutdown {}", word(policy.auto_shutdown)));
    }
    if policy.start_order == StartOrder::Together {
        rules.push("started together".into());
    }
    if policy.stop_order == StopOrder::Together {
        rules.push("stopped together".into());
    }
    rules.extend(hooks.by_key().map(|(key, _)| key.to_owned()));
    rules.extend(limit_rules(resources));
    rules.join(", ")
}

fn worker_rules(policy: &ChildPolicy, exec: &ExecSpec, last: &ExecSpec) -> String {
    let mut rules = child_rules(policy, false);
    if let Some(user) = &exec.user {
        rules.push(format!("as {user}"));
    }
    rules.extend(limit_rules(&exec.resources));
    let addresses = exec.listen.iter().zip(&last.listen).map(|(first, last)| (&first.address, &last.address));
    rules.extend(addresses.map(|(first, last)| format!("listens at {}", range(first.to_string(), &last.to_string()))));
    rules.join(", ")
}

/// The limits, each value as it is written in a file.
fn limit_rules(resources: &Resources) -> impl Iterator<Item = String> {
    fn one<T>(key: &str, cap: Option<Cap<T>>, show: impl Fn(T) -> String) -> Option<String> {
        let cap = cap?;
        let value = cap.value.map_or_else(|| "max".to_owned(), show);
        Some(format!("{key} {value}{}", if cap.best_effort { " (best-effort)" } else { "" }))
    }
    let amount = |absolute: fn(u64) -> String| {
        move |amount| match amount {
            Amount::Absolute(number) => absolute(number),
            Amount::Share(part) => format!("{}%", f64::from(part) / 100.0),
        }
    };
    let (bytes, number) = (amount(size::binary), amount(|number| number.to_string()));
    let Resources { memory_max, memory_high, cpu_max, cpu_weight, pids_max, io_weight } = *resources;
    let rules = [
        one("memory-max", memory_max, bytes),
        one("memory-high", memory_high, bytes),
        one("cpu-max", cpu_max, |thousandths| format!("{}%", f64::from(thousandths) / 10.0)),
        one("cpu-weight", cpu_weight, |weight| weight.to_string()),
        one("pids-max", pids_max, number),
        one("io-weight", io_weight, |weight| weight.to_string()),
    ];
    rules.into_iter().flatten()
}

fn child_rules(policy: &ChildPolicy, supervisor: bool) -> Vec<String> {
    let mut rules = Vec::new();
    // For a supervisor, only values that differ from OTP's defaults are shown.
    if !supervisor || policy.restart != Restart::Permanent {
        rules.push(word(policy.restart));
    }
    if policy.significant {
        rules.push("significant".into());
    }
    if !policy.autostart {
        rules.push("not started by itself".into());
    }
    match policy.shutdown {
        Shutdown::Infinity if supervisor => {}
        Shutdown::Infinity => rules.push("stop unbounded".into()),
        Shutdown::BrutalKill => rules.push("stop by kill".into()),
        Shutdown::After(span) => rules.push(format!("stop {span}")),
    }
    match policy.heartbeat {
        None if supervisor => rules.push("no heartbeat".into()),
        None => {}
        Some(heartbeat) if supervisor && heartbeat == Heartbeat::default() => {}
        Some(heartbeat) => rules.push(heartbeat_rule(&heartbeat)),
    }
    match policy.ready {
        Ready::Exec => {}
        ready if !supervisor => rules.push(format!("ready by {}", word(ready))),
        _ => {}
    }
    if let Some(limit) = policy.start_timeout {
        rules.push(format!("start within {limit}"));
    }
    if let Some(backoff) = policy.backoff {
        rules.push(format!("back-off {} to {}", backoff.initial, backoff.max));
    }
    rules
}

fn heartbeat_rule(heartbeat: &Heartbeat) -> String {
    let mut rule = format!("beat {} x {}", heartbeat.interval, heartbeat.misses);
    if !heartbeat.grace.is_zero() {
        rule.push_str(&format!(" + {}", heartbeat.grace));
    }
    if heartbeat.progress {
        rule.push_str(" with progress");
    }
    rule
}

/// The command, quoted for a shell.
fn command_line(exec: &ExecSpec) -> String {
    let words = exec.command.iter().map(|word| crate::text::clean(word).into_owned());
    let words: Vec<String> = words.collect();
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// The word for a value in the TOML.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

// The JSON is written by hand, because it is a stable interface while the types of `spec` may change.

fn tree_json(tree: &TreeSpec) -> Value {
    json!({
        "name": tree.name,
        "containment": word(tree.containment),
        "journal": tree.journal.map(|journal| json!({ "max_size": journal.max_size, "keep": journal.keep })),
        "root": supervisor_json(&tree.root, &Path::root(), tree.name.as_str(), None),
    })
}

fn supervisor_json(supervisor: &SupervisorSpec, at: &Path, name: &str, policy: Option<&ChildPolicy>) -> Value {
    let children: Vec<Value> =
        supervisor.children.iter().map(|child| child_json(child, &at.child(&child.name))).collect();
    let mut value = json!({
        "path": at,
        "name": name,
        "kind": "supervisor",
        "strategy": word(supervisor.policy.strategy),
        "intensity": intensity_json(supervisor.policy.intensity),
        "auto_shutdown": word(supervisor.policy.auto_shutdown),
        "start_order": word(supervisor.policy.start_order),
        "stop_order": word(supervisor.policy.stop_order),
        "on_panic": supervisor.hooks.on_panic,
        "on_escalate": supervisor.hooks.on_escalate,
        "on_restart": supervisor.hooks.on_restart,
        "children": children,
    });
    if let Some(policy) = policy {
        add_policy(&mut value, policy);
    }
    add_limits(&mut value, &supervisor.resources);
    value
}

/// Adds the limits by their keys, if there are any.
fn add_limits(value: &mut Value, resources: &Resources) {
    let limits = print::limits(resources);
    if !limits.is_empty() {
        let limits = limits.into_iter().map(|(key, limit)| (key.to_owned(), limit.replace('"', "").into()));
        value["limits"] = Value::Object(limits.collect());
    }
}

fn child_json(child: &ChildSpec, at: &Path) -> Value {
    match &child.kind {
        ChildKind::Supervisor(below) => supervisor_json(below, at, child.name.as_str(), Some(&child.policy)),
        ChildKind::Worker(exec) => {
            let mut value = json!({
                "path": at,
                "name": child.name,
                "kind": "worker",
                "command": exec.command,
                "cwd": exec.cwd,
                "user": exec.user,
                "ready": word(child.policy.ready),
                "success_codes": child.policy.success_codes,
                "backoff": child.policy.backoff.map(backoff_json),
            });
            add_policy(&mut value, &child.policy);
            add_limits(&mut value, &exec.resources);
            value
        }
    }
}

/// Adds the policy that every child has.
fn add_policy(value: &mut Value, policy: &ChildPolicy) {
    value["restart"] = json!(word(policy.restart));
    value["autostart"] = json!(policy.autostart);
    value["significant"] = json!(policy.significant);
    value["shutdown"] = match policy.shutdown {
        Shutdown::BrutalKill => json!("brutal-kill"),
        Shutdown::Infinity => json!("infinity"),
        Shutdown::After(span) => json!({ "after_ms": span.as_millis() }),
    };
    value["heartbeat"] = json!(policy.heartbeat.map(|heartbeat| json!({
        "interval_ms": heartbeat.interval.as_millis(),
        "misses": heartbeat.misses,
        "grace_ms": heartbeat.grace.as_millis(),
        "progress": heartbeat.progress,
    })));
    value["start_timeout_ms"] = json!(policy.start_timeout.map(Span::as_millis));
}

fn intensity_json(intensity: Intensity) -> Value {
    json!({ "max": intensity.max, "period_ms": intensity.period.as_millis() })
}

fn backoff_json(backoff: Backoff) -> Value {
    json!({
        "initial_ms": backoff.initial.as_millis(),
        "max_ms": backoff.max.as_millis(),
        "factor": backoff.factor,
        "jitter": backoff.jitter,
        "reset_ms": backoff.reset.as_millis(),
    })
}

#[cfg(test)]
mod tests;
