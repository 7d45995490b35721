//! One service: its settings, to a worker's keys.

use super::super::draft::{Draft, Setting, dollars};
use super::command::{command, specified};
use super::{Unit, basic};
use crate::text::is_obeyed;
use crate::time::Span;
use std::collections::BTreeMap;

/// What systemd takes where nothing is written.
const TIMEOUT: &str = "90s";

/// The worker that a unit means. `units` are the names of all that are carried over with it.
pub(super) fn worker(unit: &Unit, units: &[String]) -> Draft {
    let mut worker = Draft::new(unit.stem().trim_end_matches('@'));
    worker.about.extend(
        unit.last("Unit", "Description").map(|setting| setting.value.chars().filter(|c| !is_obeyed(*c)).collect()),
    );
    let variables = environment(unit, &mut worker);
    let types = unit.last("Service", "Type").map_or("simple", |setting| setting.value.as_str());
    let notify = matches!(types, "notify" | "notify-reload");
    command(unit, types, &variables, &mut worker);
    worker.set("restart", "\"temporary\"", None);
    if notify {
        worker.set("ready", "\"notify\"", None);
    }
    let timeouts = ["TimeoutStopSec", "TimeoutSec"].iter().find_map(|key| unit.last("Service", key));
    limit("shutdown", timeouts, &mut worker);
    if notify {
        let timeouts = ["TimeoutStartSec", "TimeoutSec"].iter().find_map(|key| unit.last("Service", key));
        limit("start-timeout", timeouts, &mut worker);
    }
    for setting in &unit.settings {
        let counts = std::ptr::eq(setting, unit.last(&setting.section, &setting.key).unwrap_or(setting));
        match setting.section.as_str() {
            "Unit" => of_unit(setting, units, &mut worker),
            // Several of these add up, and were taken above.
            "Service" if matches!(setting.key.as_str(), "Environment" | "ExecStart") => {}
            "Service" if counts && !setting.value.is_empty() => of_service(setting, unit, notify, &mut worker),
            "Service" => {}
            "Install" if setting.key == "WantedBy" => {
                worker.note(setting.note("what is started with the machine is the tree: examples/treevisor.service"))
            }
            _ => worker.note(setting.lost()),
        }
    }
    worker
}

/// A time in which something has to be done.
fn limit(key: &'static str, setting: Option<&Setting>, worker: &mut Draft) {
    let text = setting.map_or(Some(TIMEOUT.to_owned()), |setting| match setting.value.as_str() {
        // For systemd, no time at all is none that ends.
        "infinity" | "0" => Some("infinity".into()),
        text => span(text),
    });
    match (text, setting) {
        (Some(text), from) => worker.set(key, basic(&text), from),
        (None, Some(from)) => worker.note(from.note("is no time")),
        (None, None) => {}
    }
}

fn of_unit(setting: &Setting, units: &[String], worker: &mut Draft) {
    let others: Vec<_> =
        setting.value.split_whitespace().filter(|name| !units.iter().any(|unit| unit == name)).collect();
    match setting.key.as_str() {
        "Description" | "Documentation" | "StartLimitBurst" | "StartLimitIntervalSec" | "" => {}
        "After" | "Before" if others.is_empty() => {}
        "After" | "Before" => worker
            .note(setting.note(format!("the tree has no {}; let the tree's own unit wait for it", others.join(", ")))),
        "Requires" | "BindsTo" | "PartOf" | "Wants" if others.is_empty() => {
            worker.note(setting.note(
                "who is restarted with whom is said by the supervisor's `strategy`: \
                 \"rest-for-one\" restarts all that stand after the one that failed",
            ));
        }
        "Requires" | "BindsTo" | "PartOf" | "Wants" => worker.note(setting.note("is for the tree's own unit")),
        _ => worker.note(setting.lost()),
    }
}

fn of_service(setting: &Setting, unit: &Unit, notify: bool, worker: &mut Draft) {
    let from = Some(setting);
    let value = setting.value.as_str();
    if setting.key.starts_with("Limit") {
        return resource(unit, setting, worker);
    }
    match setting.key.as_str() {
        "Type" => match value {
            "simple" | "exec" | "notify" => {}
            "notify-reload" => worker.note(setting.note("nobody is asked to read his file again")),
            "idle" => worker.note(setting.note("is started when its turn comes")),
            "forking" => worker.note(setting.note(
                "it has to stay in the foreground: most programs have \
                 an option for that",
            )),
            "oneshot" => worker.note(setting.note("what stands after it does not wait for its end")),
            _ => worker.note(setting.lost()),
        },
        "Restart" => match value {
            "no" => {}
            "always" => worker.set("restart", "\"permanent\"", from),
            "on-failure" => worker.set("restart", "\"transient\"", from),
            "on-abnormal" | "on-abort" | "on-watchdog" => {
                worker.set("restart", "\"transient\"", from);
                worker.note(setting.note("it is restarted after every failure, an exit code too"));
            }
            _ => worker.note(setting.note("there is no restart type for it; it is not restarted")),
        },
        "RestartSec" => match span(value) {
            Some(delay) if delay == "0s" => {}
            Some(delay) => {
                let delay = basic(&delay);
                worker.set("backoff", format!("{{ initial = {delay}, max = {delay}, jitter = 0 }}"), from);
            }
            None => worker.note(setting.note("is no time")),
        },
        "StartLimitBurst" | "StartLimitInterval" | "TimeoutStopSec" => {}
        "TimeoutSec" | "TimeoutStartSec" if notify => {}
        "TimeoutSec" => {}
        "TimeoutStartSec" => worker.note(setting.note("its start is over when the program runs")),
        "KillSignal" => worker.set("stop-signal", basic(value), from),
        "KillMode" if matches!(value, "control-group" | "mixed") => {}
        "KillMode" => worker.note(setting.note("all that it leaves behind is always killed")),
        "SendSIGKILL" | "FinalKillSignal" => worker.note(setting.note("who does not go in time is killed, by SIGKILL")),
        "User" => worker.set("user", account(value), from),
        "Group" => worker.set("group", account(value), from),
        "WorkingDirectory" => {
            match (value.strip_prefix('-').unwrap_or(value), specified(value.strip_prefix('-').unwrap_or(value), unit))
            {
                ("~", _) => worker.set("cwd", basic("${HOME:-/}"), from),
                (_, Ok(text)) => worker.set("cwd", basic(&text), from),
                (_, Err(why)) => worker.note(setting.note(why)),
            }
        }
        "UMask" => worker.set("umask", basic(value), from),
        "Nice" => worker.set("nice", value, from),
        "EnvironmentFile" => worker.note(setting.note(
            "is not read; put its variables into `env`, or \
             start the tree with them",
        )),
        "WatchdogSec" => match span(value).map(|text| (Span::parse(&text), text)) {
            Some((Ok(whole), _)) if whole.as_nanos() >= 2 => {
                let half = Span::from_nanos(whole.as_nanos() / 2);
                worker.set(
                    "heartbeat",
                    format!("{{ interval = {}, misses = 2, source = \"notify\" }}", basic(&half.to_string())),
                    from,
                );
            }
            Some((Ok(_), _)) => {}
            _ => worker.note(setting.note("is no time")),
        },
        "SuccessExitStatus" => {
            let (codes, others): (Vec<_>, Vec<_>) =
                value.split_whitespace().partition(|word| word.parse::<u8>().is_ok());
            let codes: Vec<_> = std::iter::once("0").chain(codes.into_iter().filter(|code| *code != "0")).collect();
            worker.set("success-codes", format!("[{}]", codes.join(", ")), from);
            if !others.is_empty() {
                worker.note(setting.note(format!(
                    "{}: only numbers are exit codes here; an end by a \
                     signal is a failure",
                    others.join(" ")
                )));
            }
        }
        "StandardOutput" | "StandardError" => output(setting, worker),
        "NotifyAccess" => {}
        "MemoryMax" | "CPUQuota" | "TasksMax" => {
            worker.note(setting.note("limits by cgroup are not supported yet: `memory-max`, `cpu-max`, `pids-max`"))
        }
        "ExecReload" => worker.note(setting.note("nobody is asked to read his file again")),
        key if key.starts_with("Exec") => {
            worker.note(setting.note("only one command is run; do it in the program, or in a script in front of it"))
        }
        _ => worker.note(setting.lost()),
    }
}

fn account(value: &str) -> String {
    basic(&dollars(value))
}

/// `StandardOutput=`; both outputs go the same way here.
fn output(setting: &Setting, worker: &mut Draft) {
    let value = setting.value.as_str();
    let is_stdout = setting.key == "StandardOutput";
    match value.split_once(':') {
        Some(("file" | "append" | "truncate", path)) if is_stdout => {
            worker.set("log", format!("{{ file = {} }}", basic(&dollars(path))), Some(setting));
        }
        None if value == "null" && is_stdout => worker.set("log", "false", Some(setting)),
        None if matches!(value, "journal" | "inherit") || value.starts_with("journal+") => {}
        _ if is_stdout => worker.note(setting.note("goes to treevisor's own output")),
        _ => worker.note(setting.note("both outputs go the same way, in order")),
    }
}

/// `LimitNOFILE=soft:hard`. All limits of a unit make one key.
fn resource(unit: &Unit, setting: &Setting, worker: &mut Draft) {
    if worker.has("limits") {
        return;
    }
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for setting in unit.settings.iter().filter(|setting| setting.section == "Service") {
        let Some(name) = setting.key.strip_prefix("Limit").map(str::to_ascii_lowercase) else { continue };
        let one = |text: &str| match text {
            "infinity" => Some("\"unlimited\"".to_owned()),
            text => amount(text).map(|amount| amount.to_string()),
        };
        let value = match setting.value.split_once(':') {
            Some((soft, hard)) => {
                one(soft).zip(one(hard)).map(|(soft, hard)| format!("{{ soft = {soft}, hard = {hard} }}"))
            }
            None => one(&setting.value),
        };
        let mut tried = Draft::default();
        match value {
            Some(value) => {
                tried.set("limits", format!("{{ {name} = {value} }}"), Some(setting));
                match tried.notes.pop() {
                    Some(note) => worker.note(note),
                    None => drop(all.insert(name, value)),
                }
            }
            None => worker.note(setting.note("write the number into `limits`")),
        }
    }
    let pairs: Vec<_> = all.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !pairs.is_empty() {
        worker.set("limits", format!("{{ {} }}", pairs.join(", ")), Some(setting));
    }
}

/// A number with a suffix that counts by 1024.
fn amount(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor: u64 = match &text[digits..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

/// A time as systemd writes it: `90`, `1min 30s`, `500ms`.
pub(super) fn span(text: &str) -> Option<String> {
    let mut total = Span::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "" | "s" | "sec" | "second" | "seconds" => "s",
            "ms" | "msec" => "ms",
            "us" | "usec" | "µs" | "μs" => "us",
            "m" | "min" | "minute" | "minutes" => "m",
            "h" | "hr" | "hour" | "hours" => "h",
            "d" | "day" | "days" => "d",
            _ => return None,
        };
        total += Span::parse(&format!("{number}{unit}")).ok()?;
        rest = tail.trim_start();
    }
    Some(total.to_string())
}

/// `Environment=`, and the variables by name.
fn environment(unit: &Unit, worker: &mut Draft) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for setting in unit.all("Service", "Environment") {
        let Some(words) = shlex::split(&setting.value) else {
            worker.note(setting.note("a quote is not closed"));
            continue;
        };
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => match specified(value, unit) {
                    Ok(value) => {
                        worker.variable(name, &value, setting);
                        variables.insert(name.to_owned(), value);
                    }
                    Err(why) => worker.note(setting.note(why)),
                },
                None => worker.note(setting.note(format!("{word} is no NAME=value"))),
            }
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, meant) in
            [("90", "1m30s"), ("1min 30s", "1m30s"), ("500ms", "500ms"), ("2h", "2h"), ("0", "0s"), ("1.5s", "1.5s")]
        {
            assert_eq!(span(text).map(|text| Span::parse(&text).unwrap()), Span::parse(meant).ok(), "{text}");
        }
        assert_eq!(span("soon"), None);
        assert_eq!(span(""), None);
    }
}
