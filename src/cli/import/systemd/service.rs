//! Converts the settings of a service into a worker's keys.

use super::super::draft::{Draft, Note, Setting, array};
use super::super::signals::stop_signal;
use super::super::value::Value;
use super::amount::{limits, span};
use super::command::{self, Variables, command};
use super::output::output;
use super::protection::protects;
use super::unit::Unit;
use super::watchdog::{of_a_hang, watchdog};
use super::{specifier, words};
use crate::spec::print::basic;
use crate::time::Span;

/// systemd's `DefaultTimeoutStartSec` and `DefaultTimeoutStopSec`.
const TIMEOUT: &str = "90s";
const RESTART_SEC: &str = "100ms";
/// The note about signal settings if the worker has a `stop-command`.
const NO_SIGNAL: &str = "no signal is sent where `stop-command` asks it to stop";
/// The note about settings for a reload.
const RELOAD: &str = "a worker has no command for a reload; `treevisor signal PATH HUP` sends it a signal";

/// Directories that systemd creates for a unit: the beginning of the key, the variable that passes the path, and the
/// base directory.
const DIRECTORIES: &[(&str, &str, &str)] = &[
    ("RuntimeDirectory", "RUNTIME_DIRECTORY", "%t"),
    ("StateDirectory", "STATE_DIRECTORY", "%S"),
    ("CacheDirectory", "CACHE_DIRECTORY", "%C"),
    ("LogsDirectory", "LOGS_DIRECTORY", "%L"),
    ("ConfigurationDirectory", "CONFIGURATION_DIRECTORY", "%E"),
];

/// Keys of which only the last one counts.
const SINGLE: &[&str] = &[
    "Type",
    "Restart",
    "RestartSec",
    "StartLimitBurst",
    "StartLimitInterval",
    "TimeoutStopSec",
    "TimeoutSec",
    "TimeoutStartSec",
    "KillSignal",
    "KillMode",
    "SendSIGKILL",
    "SendSIGHUP",
    "FinalKillSignal",
    "User",
    "Group",
    "DynamicUser",
    "WorkingDirectory",
    "UMask",
    "Nice",
    "OOMScoreAdjust",
    "WatchdogSec",
    "WatchdogSignal",
    "StandardInput",
    "StandardOutput",
    "StandardError",
    "RemainAfterExit",
    "MemoryMax",
    "CPUQuota",
    "TasksMax",
];

/// The worker of a unit, and the steps before it. `units` are the names of all units of this import.
pub(super) fn worker(unit: &Unit<'_>, units: &[String]) -> (Draft, Vec<Draft>) {
    let mut worker = Draft::new(unit.named.stem().trim_end_matches('@'));
    if !Draft::is_name(unit.named.stem().trim_end_matches('@')) {
        worker.note(unit.note(format!("is called `{}` here", worker.name)));
    }
    if let Some(setting) = unit.last("Unit", "Description") {
        let text = unit.named.specified(&setting.value).ok().and_then(|value| value.text());
        let text = text.unwrap_or_else(|| setting.value.clone());
        worker.about.push(text);
    }
    let variables = environment(unit, &mut worker);
    let kind = kind(unit);
    let notify = matches!(kind, "notify" | "notify-reload");
    let before = command(unit, kind, &variables, &mut worker);
    worker.set("restart", "\"temporary\"", None);
    if notify {
        worker.set("ready", "\"notify\"", None);
    }
    let oneshot = kind == "oneshot";
    if oneshot {
        worker.be_a_step("temporary");
    }
    limit("shutdown", unit.latest("Service", &["TimeoutStopSec", "TimeoutSec"]), &mut worker);
    let start_limit = unit.latest("Service", &["TimeoutStartSec", "TimeoutSec"]);
    if oneshot && start_limit.is_some() {
        limit("start-timeout", start_limit, &mut worker);
    }
    if notify {
        limit("start-timeout", unit.latest("Service", &["TimeoutStartSec", "TimeoutSec"]), &mut worker);
    }
    command::stop(unit, kind, &variables, &mut worker);
    limits(unit, &mut worker);
    for setting in unit.effective("Unit") {
        of_unit(setting, unit, units, &mut worker);
    }
    for setting in unit.effective("Service") {
        let counts = unit.last("Service", &setting.key).is_none_or(|last| std::ptr::eq(last, setting));
        if counts || !SINGLE.contains(&setting.key.as_str()) {
            of_service(setting, unit, notify || oneshot || !before.is_empty(), &mut worker);
        }
    }
    for setting in &unit.settings {
        match setting.section.as_str() {
            "Unit" | "Service" => {}
            "Install" if matches!(setting.key.as_str(), "WantedBy" | "RequiredBy" | "UpheldBy") => {
                worker.note(setting.note("what is started with the machine is the tree: packaging/treevisor@.service"));
            }
            "Install" => worker.note(setting.lost()),
            section => worker.note(setting.note(format!("stands in [{section}], which a service does not have"))),
        }
    }
    of_the_group(unit, &mut worker);
    of_a_hang(unit, &mut worker);
    if !worker.has("backoff") && !worker.is("restart", "\"temporary\"") && unit.last("Service", "RestartSec").is_none()
    {
        delay(RESTART_SEC, None, &mut worker);
    }
    let mut steps = command::steps(unit, before, &variables, &mut worker);
    // A oneshot has no start timeout by default.
    for step in steps.iter_mut().filter(|_| !oneshot || start_limit.is_some()) {
        limit("start-timeout", start_limit, step);
    }
    (worker, steps)
}

/// The unit's type, or systemd's default for it.
fn kind<'u>(unit: &'u Unit<'_>) -> &'u str {
    match unit.last("Service", "Type") {
        Some(setting) => &setting.value,
        None if unit.last("Service", "BusName").is_some() => "dbus",
        None if unit.all("Service", "ExecStart").is_empty() => "oneshot",
        None => "simple",
    }
}

fn limit(key: &'static str, setting: Option<&Setting>, worker: &mut Draft) {
    let text = setting.map_or(TIMEOUT, |setting| setting.value.as_str());
    // In systemd a timeout of 0 means none.
    let span =
        if matches!(text, "infinity" | "0") { Some("infinity".into()) } else { span(text).map(|s| s.to_string()) };
    match (span, setting) {
        (Some(text), from) if !worker.is(key, "\"brutal-kill\"") => worker.set(key, basic(&text), from),
        (None, Some(from)) => {
            worker.note(from.note("is no time"));
            limit(key, None, worker);
        }
        _ => {}
    }
}

fn delay(text: &str, from: Option<&Setting>, worker: &mut Draft) {
    let delay = basic(text);
    worker.set("backoff", format!("{{ initial = {delay}, max = {delay}, jitter = 0 }}"), from);
}

fn of_unit(setting: &Setting, unit: &Unit<'_>, units: &[String], worker: &mut Draft) {
    let names = unit.named.specified(&setting.value).ok().and_then(|value| value.text()).unwrap_or_default();
    let others: Vec<_> = names.split_whitespace().filter(|name| !units.iter().any(|unit| unit == name)).collect();
    let key = setting.key.as_str();
    match key {
        "Description"
        | "Documentation"
        | "SourcePath"
        | "StartLimitBurst"
        | "StartLimitIntervalSec"
        | "StartLimitInterval" => {}
        "After" | "Before" if others.is_empty() => {}
        "After" | "Before" => worker
            .note(setting.note(format!("the tree has no {}; let the tree's own unit wait for it", others.join(", ")))),
        // A socket unit is converted with its service, so the dependency is met.
        "Requires" | "BindsTo" | "Wants"
            if others.is_empty() && names.split_whitespace().all(|n| n.ends_with(".socket")) => {}
        "Requires" | "BindsTo" | "PartOf" | "Wants" | "Requisite" | "Upholds" if others.is_empty() => {
            worker.note(setting.note(
                "which workers are restarted together is set by the supervisor's `strategy`: \
                 \"rest-for-one\" restarts all that stand after the one that failed",
            ));
        }
        "Requires" | "BindsTo" | "PartOf" | "Wants" | "Requisite" | "Upholds" => {
            worker.note(setting.note("is for the tree's own unit"));
        }
        "OnFailure" => worker.note(setting.note("a supervisor that gives up runs its hook: `on-escalate`")),
        _ if key.starts_with("Condition") || key.starts_with("Assert") => {
            worker.note(setting.note("is not looked at: it is started in any case"));
        }
        _ => worker.note(setting.lost()),
    }
}

fn of_service(setting: &Setting, unit: &Unit<'_>, start_is_limited: bool, worker: &mut Draft) {
    let from = Some(setting);
    let value = setting.value.as_str();
    match setting.key.as_str() {
        "Environment"
        | "ExecStart"
        | "ExecStartPre"
        | "StartLimitBurst"
        | "StartLimitInterval"
        | "StartLimitIntervalSec" => {}
        // These need no conversion: the environment is inherited anyway.
        "PassEnvironment" | "NotifyAccess" | "Sockets" => {}
        "TimeoutStopSec" | "TimeoutSec" | "ExecStop" | "WatchdogSignal" => {}
        "TimeoutStartSec" if start_is_limited => {}
        key if key.starts_with("Limit") => {}
        "TimeoutStartSec" => worker.note(setting.note("its start is over when the program runs")),
        "Type" => match value {
            "simple" | "exec" | "notify" | "oneshot" => {}
            "notify-reload" => worker.note(setting.note(RELOAD)),
            "idle" => worker.note(setting.note("is started when its turn comes")),
            "forking" => worker.note(setting.note(
                "it has to stay in the foreground (most programs have an option for that); what it leaves in the \
                 background is killed when the first process ends",
            )),
            "dbus" => {
                worker.note(setting.note("its start is over when the program runs, not when its name is on the bus"))
            }
            _ => worker.note(setting.note("is no type")),
        },
        "Restart" => restart(setting, worker),
        "RestartSec" => match span(value) {
            Some(Span::ZERO) => {}
            Some(span) => delay(&span.to_string(), from, worker),
            None => worker.note(setting.note("is no time")),
        },
        "KillSignal" | "KillMode" if worker.has("stop-command") => worker.note(setting.note(NO_SIGNAL)),
        "KillSignal" => stop_signal(value, setting, worker),
        "KillMode" => {}
        "SendSIGKILL" if !is_off(value) => {}
        "FinalKillSignal" if matches!(value, "SIGKILL" | "KILL" | "9") => {}
        "SendSIGKILL" | "FinalKillSignal" => {
            worker.note(setting.note("what does not go in time is killed, by SIGKILL"));
        }
        "User" => {
            account("user", setting, unit, worker);
            worker.note(setting.note("HOME, USER, LOGNAME and SHELL are set to those of the user, as by systemd"));
        }
        "Group" => account("group", setting, unit, worker),
        "WorkingDirectory" => working_directory(setting, unit, worker),
        "UMask" => worker.set("umask", basic(value), from),
        "Nice" => worker.set("nice", value.trim_start_matches('+'), from),
        "OOMScoreAdjust" => worker.set("oom-score-adjust", value.trim_start_matches('+'), from),
        "EnvironmentFile" => {}
        "WatchdogSec" => watchdog(setting, worker),
        "SuccessExitStatus" => success(unit, setting, worker),
        "StandardOutput" | "StandardError" => output(setting, unit, worker),
        "StandardInput" => input(setting, unit, worker),
        "RemainAfterExit" | "DynamicUser" | "SendSIGHUP" if is_off(value) => {}
        // A step that has ended stays `exited (done)`.
        "RemainAfterExit" if worker.is("ready", "\"exit\"") => {}
        "DynamicUser" => {
            worker.note(setting.note("no user is made for it: make one, and name it in `user`"));
            // A service must not be started with more privileges than configured, so it becomes a comment.
            worker.off |= unit.last("Service", "User").is_none();
        }
        "MemoryMax" | "MemoryHigh" | "TasksMax" | "CPUQuota" | "CPUWeight" | "IOWeight" => by_cgroup(setting, worker),
        "ExecReload" => worker.note(setting.note(RELOAD)),
        key if key.starts_with("Exec") => {
            worker.note(setting.note("only one command is run; do it in the program, or in a script in front of it"));
        }
        key if protects(key) && !is_off(value) => {
            worker.note(setting.note("has no counterpart here: it runs without this protection"));
        }
        key if DIRECTORIES.iter().any(|(directory, ..)| *directory == key) => {
            worker.note(setting.note("is not made: let it be there before the start"));
        }
        _ => worker.note(setting.lost()),
    }
}

/// Whether it is a boolean of systemd's that is false.
fn is_off(value: &str) -> bool {
    matches!(value, "no" | "false" | "off" | "0")
}

fn restart(setting: &Setting, worker: &mut Draft) {
    let from = Some(setting);
    match setting.value.as_str() {
        "no" => {}
        // systemd refuses `always` for a oneshot.
        "always" if worker.is("ready", "\"exit\"") => worker.set("restart", "\"transient\"", from),
        "always" => worker.set("restart", "\"permanent\"", from),
        "on-failure" => worker.set("restart", "\"transient\"", from),
        "on-abnormal" | "on-abort" | "on-watchdog" => {
            worker.set("restart", "\"transient\"", from);
            worker.note(setting.note("it is restarted after every failure, an exit code too"));
        }
        _ => worker.note(setting.note("there is no restart type for it; it is not restarted")),
    }
}

fn input(setting: &Setting, unit: &Unit<'_>, worker: &mut Draft) {
    match setting.value.strip_prefix("file:").map(|file| unit.named.specified(file)) {
        Some(Ok(file)) => worker.set("stdin", basic(&file.in_toml()), Some(setting)),
        Some(Err(why)) => worker.note(setting.note(why)),
        None if setting.value == "null" => {}
        None => worker.note(setting.lost()),
    }
}

/// Converts a limit by cgroup, whose form is the same. "infinity" is left out.
fn by_cgroup(setting: &Setting, worker: &mut Draft) {
    let key = match setting.key.as_str() {
        "MemoryMax" => "memory-max",
        "MemoryHigh" => "memory-high",
        "TasksMax" => "pids-max",
        "CPUQuota" => "cpu-max",
        "CPUWeight" => "cpu-weight",
        _ => "io-weight",
    };
    let value = setting.value.trim();
    match value {
        "infinity" | "" => {}
        _ if value.bytes().all(|byte| byte.is_ascii_digit()) => worker.set(key, value, Some(setting)),
        _ => worker.set(key, basic(value), Some(setting)),
    }
}

/// Converts a user or a group.
fn account(key: &'static str, setting: &Setting, unit: &Unit<'_>, worker: &mut Draft) {
    match unit.named.specified(&setting.value) {
        Ok(value) => worker.set(key, basic(&value.in_toml()), Some(setting)),
        Err(why) => worker.note(setting.note(why)),
    }
    // A service must not be started as another user than configured, so it becomes a comment.
    worker.off |= !worker.has(key);
}

/// Converts `KillMode=`: which processes get the stop signal.
fn of_the_group(unit: &Unit<'_>, worker: &mut Draft) {
    const ALL: &str = "\"control-group\"";
    match unit.last("Service", "KillMode") {
        _ if worker.is("shutdown", "\"brutal-kill\"") || worker.has("stop-command") => {}
        // systemd's default.
        None => {
            worker.set("kill-mode", ALL, None);
            worker.note(Note::at(
                &unit.file,
                0,
                "KillMode",
                "systemd's default, control-group, is written down: here it is mixed",
            ));
        }
        Some(setting) => match setting.value.as_str() {
            "mixed" => {}
            "control-group" => {
                worker.set("kill-mode", ALL, Some(setting));
                worker.note(setting.note("asks all processes of the worker, with one `shutdown` time for all"));
            }
            _ => worker.note(setting.note("all that it leaves behind is always killed")),
        },
    }
}

fn working_directory(setting: &Setting, unit: &Unit<'_>, worker: &mut Draft) {
    let path = match setting.value.strip_prefix('-') {
        Some(path) => {
            worker.note(setting.note("`-`: one that is not there is a failed start here"));
            path
        }
        None => &setting.value,
    };
    if path == "~" {
        if unit.last("Service", "User").is_some() {
            return worker
                .note(setting.note("the home of its user is not known when the tree is written down: set `cwd`"));
        }
        return worker.set("cwd", basic("${HOME:-/root}"), Some(setting));
    }
    match unit.named.specified(path) {
        Ok(value) => worker.set("cwd", basic(&value.in_toml()), Some(setting)),
        Err(why) => worker.note(setting.note(why)),
    }
}

/// Converts the exit codes that count as success; those of all lines are combined.
fn success(unit: &Unit<'_>, setting: &Setting, worker: &mut Draft) {
    let all = unit.all("Service", "SuccessExitStatus");
    let mut codes = vec!["0".to_owned()];
    for word in all.iter().flat_map(|setting| setting.value.split_whitespace()) {
        // The only name of sysexits.h that is used in practice.
        let word = if word == "TEMPFAIL" { "75" } else { word };
        if word.parse::<u8>().is_ok() && !codes.iter().any(|known| known == word) {
            codes.push(word.to_owned());
        }
    }
    worker.set("success-codes", format!("[{}]", codes.join(", ")), Some(setting));
    let is_code = |word: &&str| word.parse::<u8>().is_err() && *word != "TEMPFAIL";
    let others: Vec<_> = setting.value.split_whitespace().filter(is_code).collect();
    if !others.is_empty() {
        worker.note(setting.note(format!(
            "{}: only numbers are exit codes here; an end by a \
             signal is a failure",
            others.join(" ")
        )));
    }
}

/// Sets the variables in which systemd passes the directories to the program.
fn directories(unit: &Unit<'_>, worker: &mut Draft, variables: &mut Variables) {
    for (key, variable, below) in DIRECTORIES {
        let settings = unit.all("Service", key);
        let Some(last) = settings.last() else { continue };
        let mut paths = Value::default();
        for word in settings.iter().flat_map(|setting| setting.value.split_whitespace()) {
            let word = word.split(':').next().unwrap_or_default();
            let Ok(path) = unit.named.specified(&format!("{below}/{word}")) else { continue };
            if !paths.is_empty() {
                paths.append(&Value::plain(":"));
            }
            paths.append(&path);
        }
        if !paths.is_empty() && !worker.has_variable(variable) {
            worker.variable(variable, &paths.in_toml(), last);
            variables.insert((*variable).to_owned(), paths);
        }
    }
}

/// Converts `Environment=`, and returns the variables by name.
fn environment(unit: &Unit<'_>, worker: &mut Draft) -> Variables {
    let mut variables = Variables::new();
    for setting in unit.all("Service", "Environment") {
        let words = match words::words(&setting.value) {
            Ok(words) => words,
            Err(why) => {
                worker.note(setting.note(why));
                continue;
            }
        };
        for word in words {
            let Some((name, value)) = word.split_once('=') else {
                worker.note(setting.note(format!("{word} is no NAME=value, and systemd passes over it")));
                continue;
            };
            match unit.named.specified(value) {
                Ok(value) => {
                    worker.variable(name, &value.in_toml(), setting);
                    variables.insert(name.to_owned(), value);
                }
                Err(why) => worker.note(setting.note(why)),
            }
        }
        if specifier::names_host(&setting.value) {
            worker.note(setting.note("the name is that of the host on which this was made"));
        }
    }
    environment_files(unit, worker);
    directories(unit, worker, &mut variables);
    variables
}

fn environment_files(unit: &Unit<'_>, worker: &mut Draft) {
    let mut files = Vec::new();
    for setting in unit.all("Service", "EnvironmentFile") {
        if setting.value.contains(['*', '?', '[']) {
            worker.note(setting.note("is a pattern, and `env-file` takes names: name the files"));
            continue;
        }
        match unit.named.specified(setting.value.trim()) {
            Ok(value) => files.push((value.in_toml(), setting)),
            Err(why) => worker.note(setting.note(why)),
        }
    }
    let Some((_, last)) = files.last() else { return };
    let last = *last;
    let names: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    worker.set("env-file", if let [one] = &*names { basic(one) } else { array(&names) }, Some(last));
    if !unit.all("Service", "Environment").is_empty() {
        worker.note(last.note("wins over `Environment=` in systemd; here `env` wins over `env-file`"));
    }
}
