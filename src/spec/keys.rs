//! The keys that each kind of table knows, and what to report about any other one.

use super::diagnostic::{nearest, plain, quoted};

/// What a table is, as far as its keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file's own level.
    Top,
    /// A child with children.
    Supervisor,
    /// A child with a command.
    Worker,
    /// A child that is neither; it gets the keys of both, so that only what is missing is complained about.
    Unclear,
    /// A `[defaults]` table.
    Defaults,
    /// A table with keys of its own, such as `heartbeat`: its name and its keys.
    Small(&'static str, &'static [&'static str]),
}

/// Keys of the top level alone.
const TOP: &[&str] = &["name", "containment", "journal"];
/// Keys of a supervisor, the top level included.
const BODY: &[&str] = &[
    "strategy",
    "intensity",
    "period",
    "auto-shutdown",
    "stop-order",
    "heartbeat",
    "on-panic",
    "on-escalate",
    "on-restart",
    "defaults",
    "child",
    "include",
];
/// Keys of every child.
const CHILD: &[&str] = &["name", "restart", "shutdown", "significant", "start-timeout", "backoff", "heartbeat"];
/// Keys of a worker alone that `[defaults]` does not know: they make the one worker what it is.
const OWN: &[&str] = &["command", "count", COUNT_GROUP];
/// Keys of a worker alone that `[defaults]` knows too.
const WORKER: &[&str] = &[
    "cwd",
    "env",
    "clear-env",
    "user",
    "group",
    "umask",
    "limits",
    "nice",
    "stop-signal",
    "ready",
    "success-codes",
    "log",
    "memory-max",
    "cpu-max",
    "pids-max",
];

/// Keys of a worker's `heartbeat`; and of a supervisor's, whose beats are the node's own.
pub(super) const BEAT: &[&str] = &["interval", "misses", "grace", "source", "progress"];
pub(super) const NODE_BEAT: &[&str] = &["interval", "misses", "grace"];
/// Keys of a `source` that is a table: all but the last are the ways to ask, of which there is one.
pub(super) const SOURCE: &[&str] = &["exec", "tcp", "http", "push", "timeout"];
pub(super) const BACKOFF: &[&str] = &["initial", "max", "factor", "jitter", "reset"];
pub(super) const LOG: &[&str] = &["file", "max-size", "keep"];
pub(super) const JOURNAL: &[&str] = &["max-size", "keep"];
pub(super) const LIMIT: &[&str] = &["soft", "hard"];

/// Written by [`print`](super::print) for children of one `count` that cannot be written as one; not meant for people.
pub(super) const COUNT_GROUP: &str = "count-group";

impl Kind {
    /// The keys, in groups.
    fn groups(self) -> &'static [&'static [&'static str]] {
        match self {
            Kind::Top => &[TOP, BODY],
            Kind::Supervisor => &[CHILD, BODY],
            Kind::Worker => &[CHILD, OWN, WORKER],
            Kind::Unclear => &[CHILD, OWN, WORKER, BODY],
            Kind::Defaults => &[CHILD, WORKER],
            // The slice of a small table is its only group; see `keys`.
            Kind::Small(..) => &[],
        }
    }

    /// The keys that it knows.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        let own: &'static [&'static str] = if let Kind::Small(_, keys) = self { keys } else { &[] };
        let named_by_the_child = self == Kind::Defaults;
        self.groups()
            .iter()
            .copied()
            .flatten()
            .chain(own)
            .copied()
            .filter(move |key| !(named_by_the_child && *key == "name"))
    }

    /// What it is called in a message.
    fn called(self) -> String {
        match self {
            Kind::Top => "the top level".into(),
            Kind::Supervisor => "a supervisor".into(),
            Kind::Worker => "a worker".into(),
            Kind::Unclear => "a child".into(),
            Kind::Defaults => "`[defaults]`".into(),
            Kind::Small(name, _) => quoted(name),
        }
    }
}

/// What is wrong with a key, and what would be right.
pub(super) struct Advice {
    pub(super) message: String,
    pub(super) label: String,
    pub(super) hint: String,
}

/// What to say about `key` in a table of this kind, which does not know it.
pub(super) fn unknown(key: &str, kind: Kind) -> Advice {
    let message =
        format!("unknown key {} {} {}", quoted(key), if kind == Kind::Top { "at" } else { "in" }, kind.called());
    let here = |name: &&str| kind.keys().any(|known| known == *name) && **name != *COUNT_GROUP;
    let spelt = plain(key);
    if let Some(known) = Some(spelt.as_str()).filter(here) {
        return Advice {
            message,
            label: format!("did you mean `{known}`?"),
            hint: format!("keys are written in lower case with hyphens: `{known}`"),
        };
    }
    if let Some(hint) = elsewhere(&spelt, kind) {
        return Advice {
            message: format!("{} is no key of {}", quoted(key), kind.called()),
            label: "not here".into(),
            hint: hint.into(),
        };
    }
    if let Some(hint) = foreign(&spelt.replace('-', "")) {
        return Advice { message, label: "not a word of treevisor".into(), hint: hint.into() };
    }
    if let Some(known) = nearest(key, kind.keys().filter(|known| *known != COUNT_GROUP)) {
        return Advice {
            message,
            label: format!("did you mean `{known}`?"),
            hint: format!("write `{known}`, or remove the line"),
        };
    }
    let all: Vec<_> = kind.keys().filter(|known| *known != COUNT_GROUP).collect();
    Advice { message, label: "not known".into(), hint: format!("known keys are: {}", all.join(", ")) }
}

/// For a key that some other table knows: where it belongs.
fn elsewhere(key: &str, kind: Kind) -> Option<&'static str> {
    let is = |keys: &[&str]| keys.contains(&key);
    match kind {
        Kind::Small(..) => None,
        Kind::Worker if is(BODY) => {
            Some("this child has a `command` and so is a worker; this key belongs to supervisors, which have children")
        }
        Kind::Supervisor if key == "count" || key == "command" => {
            Some("this child has children and so is a supervisor; `command` and `count` belong to workers")
        }
        Kind::Supervisor if is(WORKER) => Some(
            "this child has children and so is a supervisor; this key belongs to workers. For all workers below, write \
             it into this supervisor's `[defaults]`",
        ),
        Kind::Top if is(CHILD) && key != "name" => Some(
            "the top level is nobody's child. The key belongs into a `[[child]]` table, or for all workers into \
             `[defaults]`",
        ),
        Kind::Top if is(WORKER) || is(OWN) => {
            Some("a worker is a `[[child]]` table of its own; for all workers, write the key into `[defaults]`")
        }
        Kind::Defaults if is(OWN) || key == "name" => Some("each worker says this for itself"),
        Kind::Defaults if is(BODY) => Some("`[defaults]` is for workers; each supervisor says this for itself"),
        Kind::Supervisor | Kind::Defaults | Kind::Unclear | Kind::Worker | Kind::Top
            if key == "containment" || key == "journal" =>
        {
            Some("it holds for a whole tree, so it stands at the top level of the file that is started")
        }
        Kind::Supervisor | Kind::Defaults | Kind::Unclear | Kind::Worker | Kind::Top => None,
    }
}

/// What other supervisors' words are called here. The word is in lower case without hyphens or underscores.
fn foreign(word: &str) -> Option<&'static str> {
    Some(match word {
        "cmd" | "exec" | "execstart" | "program" | "run" | "args" | "argv" | "start" | "executable" | "script" => {
            "the program and its arguments are `command = [\"program\", \"argument\"]`, or one string"
        }
        "dir" | "directory" | "workdir" | "workingdir" | "workingdirectory" | "chdir" => {
            "the working directory is `cwd`"
        }
        "environment" | "environ" | "environmentfile" => "the environment is `env = { NAME = \"value\" }`",
        "id" | "title" | "processname" | "programname" => "a child's id is its `name`",
        "autorestart" | "respawn" | "restartpolicy" | "keepalive" => {
            "write `restart = \"permanent\"` (always), \"transient\" (after a failure) or \"temporary\" (never)"
        }
        "autostart" | "enabled" | "disabled" => {
            "all children of a file are started; leave out of the file what is not to be started"
        }
        "startretries" | "maxrestarts" | "maxr" | "restarts" | "retries" | "startlimitburst" | "maxretries" => {
            "how many restarts are too many is said by the supervisor: `intensity = 3`, `period = \"30s\"`"
        }
        "maxt" | "maxseconds" | "within" | "window" | "startlimitinterval" | "startlimitintervalsec" => {
            "the window for restarts is the supervisor's `period = \"30s\"`"
        }
        "startsecs" | "timeoutstartsec" | "startuptimeout" => {
            "when a start is over is said by `ready`, how long it may take by `start-timeout`"
        }
        "restartsec" | "delay" | "restartdelay" | "throttle" => {
            "a delay between restarts is `backoff = { initial = \"100ms\", max = \"5s\" }`"
        }
        "stopwaitsecs" | "timeoutstopsec" | "stoptimeout" | "killtimeout" | "gracefultimeout" | "stoptimeoutsec"
        | "timeout" => "how long a child may take to stop is `shutdown = \"5s\"`",
        "stopsignal" | "killsignal" => "the signal is `stop-signal = \"TERM\"`",
        "watchdog" | "watchdogsec" | "healthcheck" | "liveness" | "livenessprobe" | "beat" => {
            "signs of life are `heartbeat = { interval = \"1s\", misses = 3 }`"
        }
        "type" => "a child with a `command` is a worker, one with children a supervisor; when it is ready says `ready`",
        "modules" => "only Erlang has modules; leave it out",
        "numprocs" | "instances" | "replicas" | "processes" | "scale" | "copies" | "workers" => {
            "several workers of one kind are `count = 4`"
        }
        "exitcodes" | "successexitstatus" | "okexitcodes" => "the codes of a normal exit are `success-codes = [0]`",
        "stdout" | "stderr" | "stdoutlogfile" | "stderrlogfile" | "logfile" | "standardoutput" | "standarderror"
        | "redirectstderr" | "output" => "output goes where `log = { file = \"x.log\" }` says; `log = false` drops it",
        "priority" | "after" | "before" | "dependson" | "requires" | "wants" | "depends" | "order" => {
            "the order in the file is the order of starts; what depends on what is said by the supervisor's `strategy`"
        }
        "killasgroup" | "stopasgroup" | "killmode" => "everything that a child leaves behind is always killed",
        "uid" | "runas" => "the user is `user`",
        "gid" => "the group is `group`",
        "rlimits" | "ulimit" | "ulimits" | "limitnofile" | "rlimit" => "limits are `limits = { nofile = 1024 }`",
        "memorylimit" | "memlimit" | "maxmemory" => "the memory limit is `memory-max = \"200MB\"`",
        "cpuquota" | "cpulimit" | "cpus" => "the CPU limit is `cpu-max = \"150%\"`",
        "tasksmax" | "maxprocs" => "the limit of processes is `pids-max = 100`",
        "children" | "childs" | "childspec" | "childspecs" | "worker" | "supervisor" | "service" | "services"
        | "programs" => "each child is a table of its own, headed `[[child]]`; below a child, `[[child.child]]`",
        "import" | "includes" | "files" => "the children of another file come in by `include = \"other.toml\"`",
        "default" => "what all workers have in common stands in `[defaults]`",
        "onfailure" | "onexit" | "onstop" => "a supervisor's hooks are `on-restart`, `on-escalate` and `on-panic`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_finds_what_was_meant() {
        for (key, kind, word) in [
            ("stategy", Kind::Top, "strategy"),
            ("auto_shutdown", Kind::Supervisor, "auto-shutdown"),
            ("Restart", Kind::Worker, "restart"),
            ("stop_signal", Kind::Worker, "stop-signal"),
            ("strategy", Kind::Worker, "supervisors"),
            ("command", Kind::Top, "[[child]]"),
            ("user", Kind::Supervisor, "[defaults]"),
            ("ExecStart", Kind::Worker, "command ="),
            ("numprocs", Kind::Worker, "count"),
            ("max_restarts", Kind::Supervisor, "intensity"),
            ("intervall", Kind::Small("heartbeat", &["interval", "misses"]), "interval"),
            ("containment", Kind::Supervisor, "top level"),
            ("journal", Kind::Worker, "top level"),
        ] {
            let advice = unknown(key, kind);
            assert!(
                format!("{}{}", advice.label, advice.hint).contains(word),
                "{key}: {} {}",
                advice.label,
                advice.hint
            );
        }
        assert!(unknown("zzzzzz", Kind::Worker).hint.contains("known keys are"));
        assert!(!unknown("zzzzzz", Kind::Worker).hint.contains(COUNT_GROUP));
    }
}
