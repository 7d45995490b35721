//! The messages about unknown keys.

use super::diagnostic::{nearest, plain, quoted};

/// A message about an unknown key.
pub(super) struct Advice {
    pub(super) message: String,
    pub(super) label: String,
    pub(super) hint: String,
}

/// The message about `key` in the named table, which has the keys `known`. `elsewhere` returns where a key, in
/// treevisor's spelling, belongs.
pub(super) fn unknown(
    key: &str,
    known: &[&'static str],
    table: &str,
    elsewhere: impl FnOnce(&str) -> Option<&'static str>,
) -> Advice {
    let there = if table == "the top level" { "at" } else { "in" };
    let message = format!("unknown key {} {there} {table}", quoted(key));
    let spelt = plain(key);
    if known.contains(&&*spelt) {
        return Advice {
            message,
            label: format!("did you mean `{spelt}`?"),
            hint: format!("keys are written in lower case with hyphens: `{spelt}`"),
        };
    }
    if let Some(hint) = elsewhere(&spelt) {
        return Advice {
            message: format!("{} is no key of {table}", quoted(key)),
            label: "not here".into(),
            hint: hint.into(),
        };
    }
    if let Some(hint) = foreign(&spelt.replace('-', "")) {
        return Advice { message, label: "not a key of treevisor".into(), hint: hint.into() };
    }
    if let Some(known) = nearest(key, known.iter().copied()) {
        return Advice {
            message,
            label: format!("did you mean `{known}`?"),
            hint: format!("write `{known}`, or remove the line"),
        };
    }
    Advice { message, label: "not known".into(), hint: format!("known keys are: {}", known.join(", ")) }
}

const COMMAND: &str = "the program and its arguments are `command = [\"program\", \"argument\"]`, or one string";

/// Whether an unknown key resembles one that makes a child a worker or a supervisor; its message then says so.
pub(super) fn means_a_kind(key: &str) -> bool {
    nearest(key, ["command", "child", "include"]).is_some() || foreign(&plain(key).replace('-', "")) == Some(COMMAND)
}

/// treevisor's name for a key of another supervisor. The word is in lower case without hyphens or underscores.
fn foreign(word: &str) -> Option<&'static str> {
    Some(match word {
        "cmd" | "exec" | "execstart" | "program" | "run" | "args" | "argv" | "start" | "executable" | "script" => {
            COMMAND
        }
        "dir" | "directory" | "workdir" | "workingdir" | "workingdirectory" | "chdir" => {
            "the working directory is `cwd`"
        }
        "environment" | "environ" => "the environment is `env = { NAME = \"value\" }`",
        "id" | "title" | "processname" | "programname" => "a child's id is its `name`",
        "autorestart" | "respawn" | "restartpolicy" | "keepalive" => {
            "write `restart = \"permanent\"` (always), \"transient\" (after a failure) or \"temporary\" (never)"
        }
        "enabled" | "disabled" | "manual" => "`autostart = false` keeps a child from starting with the tree",
        "startretries" | "maxrestarts" | "maxr" | "restarts" | "retries" | "startlimitburst" | "maxretries" => {
            "the limit of restarts is the supervisor's: `intensity = 3`, `period = \"30s\"`"
        }
        "maxt" | "maxseconds" | "within" | "window" | "startlimitinterval" | "startlimitintervalsec" => {
            "the window for restarts is the supervisor's `period = \"30s\"`"
        }
        "startsecs" | "timeoutstartsec" | "startuptimeout" => "readiness is `ready`, its time limit `start-timeout`",
        "restartsec" | "delay" | "restartdelay" | "throttle" => {
            "a delay between restarts is `backoff = { initial = \"100ms\", max = \"5s\" }`"
        }
        "stopwaitsecs" | "timeoutstopsec" | "stoptimeout" | "killtimeout" | "gracefultimeout" | "stoptimeoutsec"
        | "timeout" => "how long a child may take to stop is `shutdown = \"5s\"`",
        "stopsignal" | "killsignal" => "the signal is `stop-signal = \"TERM\"`",
        "watchdog" | "watchdogsec" | "healthcheck" | "liveness" | "livenessprobe" | "beat" => {
            "liveness is `heartbeat = { interval = \"1s\", misses = 3 }`; a health check is its `source`"
        }
        "type" => "a child with a `command` is a worker, one with children a supervisor; readiness is `ready`",
        "modules" => "only Erlang has modules; leave it out",
        "numprocs" | "instances" | "replicas" | "processes" | "scale" | "copies" | "workers" => {
            "replicas are `count = 4`"
        }
        "exitcodes" | "successexitstatus" | "okexitcodes" => "the codes of a normal exit are `success-codes = [0]`",
        "stdout" | "stderr" | "stdoutlogfile" | "stderrlogfile" | "logfile" | "standardoutput" | "standarderror"
        | "redirectstderr" | "output" => "output goes where `log = { file = \"x.log\" }` says; `log = false` drops it",
        "environmentfile" | "environmentfiles" | "envfiles" | "dotenv" => {
            "files of variables are `env-file = \"FILE\"`"
        }
        "standardinput" | "input" => "its standard input is `stdin = \"FILE\"`, or \"inherit\"",
        "priority" | "after" | "before" | "dependson" | "requires" | "wants" | "depends" | "order" => {
            "children start in the order of the file; dependencies are the supervisor's `strategy`"
        }
        "killasgroup" | "stopasgroup" | "killmode" => {
            "which processes are asked to stop is `kill-mode`; what is left is always killed"
        }
        "schedule" | "cron" | "oncalendar" | "timer" => {
            "there are no timers: let cron run `treevisor start PATH` of a child with `autostart = false`"
        }
        "image" | "build" | "container" | "volumes" | "networks" => {
            "no containers are run: `command` is a program of this machine"
        }
        "port" | "ports" | "expose" | "listenstream" | "sockets" => {
            "sockets that outlive a restart are `listen = [\"tcp://127.0.0.1:8080\"]`; the program opens any other"
        }
        "uid" | "runas" => "the user is `user`",
        "gid" => "the group is `group`",
        "rlimits" | "ulimit" | "ulimits" | "limitnofile" | "rlimit" => "limits are `limits = { nofile = 1024 }`",
        "memorylimit" | "memlimit" | "maxmemory" => "the memory limit is `memory-max = \"200MB\"`",
        "cpuquota" | "cpulimit" | "cpus" => "the CPU limit is `cpu-max = \"150%\"`",
        "tasksmax" | "maxprocs" => "the limit of processes is `pids-max = 100`",
        "children" | "childs" | "childspec" | "childspecs" | "worker" | "supervisor" | "service" | "services"
        | "programs" => "each child is a table of its own, headed `[[child]]`; below a child, `[[child.child]]`",
        "import" | "includes" | "files" => "the children of another file come in by `include = \"other.toml\"`",
        "default" => "values for all workers are in `[defaults]`",
        "onfailure" | "onexit" | "onstop" => "a supervisor's hooks are `on-restart`, `on-escalate` and `on-panic`",
        _ => return None,
    })
}
