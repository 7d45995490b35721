//! The keys of the tree's own tables, a row for each: its name, the field that it sets, its description in editors, its
//! default, and why its change needs a restart, if it does.
//!
//! Reading, writing, describing and comparing a key all use its row; a new key needs nothing else in this room. Keys
//! are listed and written in the order of the rows.

use super::super::exec::{ExecSpec, KillMode, LogSpec, StdinSpec};
use super::super::kind::COUNT_GROUP;
use super::super::policy::{AutoShutdown, ChildPolicy, Ready, Shutdown, StartOrder, StopOrder, Update};
use super::super::shape::{
    Boolean, Command, Filename, Filled, Positive, a_whole, a_word, any, integer, keys, reference, shapes, text_like,
    word,
};
use super::super::tree::{COUNT_MAX, Containment, JournalSpec, SupervisorSpec, TreeSpec};
use super::super::value::{Scope, Value, name};
use super::listen::{Listens, known_at_start};
use super::placement::{Placed, Placement};
use super::process::{Account, EnvFiles, Environment, ExitCodes, Limits, Stdin, StopSignal, Umask};
use super::settings::{Delays, Journal, Log, Updates};
use crate::ids::Name;
use crate::time::Span;
use serde_json::json;
use std::collections::BTreeMap;
use toml::de::DeValue;

const AT_EXEC: &str = "it is set before the program is executed";
const ENVIRONMENT: &str = "a process gets its environment when it is executed";

keys! {
    /// Keys of the top level only.
    TOP of TreeSpec {
        "name" => AName, always(name);
        "Name of the instance, as `treevisor -i NAME status` asks for it. By default the file's name without `.toml`."
        "containment" => a_word(&[]), unless(Containment::Auto, containment), default("\"auto\"");
        "How processes are kept together and killed: \"auto\" (cgroup v2 where the tree may write one, else process \
         groups and descendants), \"cgroup\" (refuse to start without), \"group\" (never use cgroups)."
        "journal" => Journal, unless(Some(JournalSpec::default()), journal), default("true");
        "The events that are kept on disk: true for 16 MiB of them at most, false for none, or a table."
        "placement" => Placement, optional(placement);
        "On which hosts of a cluster the tree may run, the first rather than the second: [\"a\", \"b\", [\"c\", \"d\"]], or a table \
         with `hosts` and `require`, the labels that a host must have. By default on all. Such a tree is deployed, not started."
    }
    /// The name of a child.
    NAME of Option<Name> {
        "name" => AName, by(Option::as_ref, |to, name| *to = Some(name));
        "Name of the child, unique among its siblings (OTP's id): 1 to 64 of A-Z a-z 0-9 _ . -"
    }
    /// Keys of every child.
    CHILD of ChildPolicy {
        "restart" => a_word(&[
            ("always", "permanent"),
            ("unless-stopped", "permanent"),
            ("on-failure", "transient"),
            ("on-abnormal", "transient"),
            ("unexpected", "transient"),
            ("never", "temporary"),
            ("no", "temporary"),
        ]), always(restart), default("\"permanent\"");
        "Restart policy. \"permanent\": always restarted, after exit code 0 too. \"transient\": after an abnormal exit only. \
         \"temporary\": never."
        "autostart" => Boolean, unless(true, autostart), default("true");
        "Started with its supervisor. false: not before `treevisor start PATH`."
        // Workers and supervisors have different defaults.
        "shutdown" => AShutdown, always(shutdown);
        "Graceful shutdown timeout; then it is killed, with its leftover processes. \"brutal-kill\" kills at once, \
         \"infinity\" waits forever. Default: \"5s\" for a worker, \"infinity\" for a supervisor."
        "significant" => Boolean, unless(false, significant), default("false");
        "Its end by itself counts for the supervisor's `auto-shutdown`. Not for permanent children."
        "start-timeout" => Timeout, unless(None, start_timeout), default("\"infinity\"");
        "A child that is not ready by then has failed. A worker needs a `ready` other than \"exec\" for it."
        "backoff" => Delays, unless(None, backoff), default("false");
        "Delays between restarts. Off by default, as in OTP."
        "heartbeat" => reference("worker-heartbeat"), by_hand(),
            known("its heartbeat is passed in its environment", told_of_beats);
        "Signs of life that are expected: { interval, misses, grace, source, progress }, or false for the exit alone, \
         which is a worker's default. A supervisor beats by itself, every second."
    }
    /// Keys of one worker that cannot stand in `[defaults]`.
    OWN of ExecSpec {
        "command" => Command, always(command), restart("a process gets its command when it is executed");
        "The program and its arguments: [\"program\", \"argument\"], or one string that is cut into words as a shell \
         cuts them. No shell is run; for one write [\"sh\", \"-c\", \"…\"]."
        "listen" => Listens, unless(Vec::new(), listen),
            known("it gets its sockets when it is executed", known_at_start);
        "Sockets that its supervisor opens and holds, and hands to each incarnation (LISTEN_FDS): \
         [\"tcp://127.0.0.1:8080\", \"unix:/run/app.sock\"], or tables with `address`. Those of a `count` share them."
        "count" => integer(1, COUNT_MAX.into()), by_hand();
        "Number of replicas, NAME-1 to NAME-N."
        COUNT_GROUP => integer(1, u32::MAX.into()), by_hand();
        "Those of one `count` that is not written as one."
    }
    /// How a worker's process is set up.
    SETUP of ExecSpec {
        "cwd" => Filename, optional(cwd), restart(AT_EXEC);
        "Working directory; by default where the tree was started."
        "env" => Environment, unless(BTreeMap::new(), env), restart(ENVIRONMENT);
        "Added to the environment: { NAME = \"value\" }."
        "env-file" => EnvFiles, unless(Vec::new(), env_files), known(ENVIRONMENT, |_, exec| {
            format!("{:?}", exec.env_from_files)
        });
        "Files with further variables, KEY=value a line, relative to this file: one, or an array of which later ones win. \
         `env` wins over them. It may be missing with a minus in front: \"-local.env\"."
        "clear-env" => Boolean, unless(false, clear_env), default("false"), restart(ENVIRONMENT);
        "Begin with an empty environment instead of treevisor's."
        "stdin" => Stdin, unless(StdinSpec::Null, stdin), default("\"/dev/null\""), restart(AT_EXEC);
        "Its standard input: \"/dev/null\", a file (relative to its `cwd`), or \"inherit\" for treevisor's own."
        "user" => Account, optional(user), restart(AT_EXEC);
        "Runs as this user, by name or number; by default as treevisor."
        "group" => Account, optional(group), restart(AT_EXEC);
        "Runs as this group, by name or number; by default the user's own."
        "umask" => Umask, optional(umask), restart(AT_EXEC);
        "File mode mask in octal: \"022\" or 0o022. A decimal number is an error."
        "limits" => Limits, unless(BTreeMap::new(), limits), restart(AT_EXEC);
        "Resource limits as of getrlimit(2): { nofile = 1024, core = \"unlimited\" }."
        "nice" => a_whole(-20, 19), optional(nice), restart(AT_EXEC);
        "Scheduling priority, from -20 (first) to 19 (last); by default inherited."
        "oom-score-adjust" => a_whole(-1000, 1000), optional(oom_score_adjust), restart(AT_EXEC);
        "How likely the kernel ends it when memory runs out, from -1000 (never) to 1000 (first); by default as treevisor."
        "stop-signal" => StopSignal, unless(ExecSpec::STOP_SIGNAL, stop_signal), default("\"TERM\"");
        "The signal that asks the program to stop."
        "kill-mode" => a_word(&[("process", "mixed"), ("none", "mixed"), ("group", "control-group")]),
            unless(KillMode::Mixed, kill_mode), default("\"mixed\"");
        "Which processes get that signal: \"mixed\" the worker's own, and what it leaves behind is killed; \"control-group\" \
         all of them, and each has its time."
        "stop-command" => Command, optional(stop_command);
        "Asks the program to stop instead of a signal, with its pid in TREEVISOR_PID. One that fails kills it."
        "on-hang" => Command, optional(on_hang);
        "Looks at a program that hangs before it is killed, with its pid in TREEVISOR_PID: [\"py-spy\", \"dump\", …]. It has 10 \
         seconds, and its output stands in the log."
        "hang-signal" => StopSignal, optional(hang_signal);
        "Sent to a program that hangs before it is killed, such as \"ABRT\" for a core dump; it has the time of `shutdown` \
         to end by it."
    }
    /// When a worker is ready, and when it has ended well.
    READY of ChildPolicy {
        "ready" => reference("ready"), by_hand(), default("\"exec\""),
            known("how its start ends is settled when it is executed", |policy, exec| {
                let is_step = policy.ready == Ready::Exit;
                format!("{} {is_step} {:?}", exec.speaks_by_notify(policy), exec.ready_probe)
            });
        "Readiness, when the next sibling may start: \"exec\" the program runs, \"heartbeat\" its first beat came, \
         \"notify\" READY=1 by sd_notify, \"exit\" it has exited with a success code: a step, such as a \
         migration; or a probe is answered: { http }, { tcp } or { exec }, with an interval and a timeout of its own."
        "success-codes" => ExitCodes, unless([0], success_codes), default("[0]");
        "Exit codes that are a normal exit."
        "update" => Updates, unless(Update::default(), update),
            default("{\"at-once\": 1, \"order\": \"stop-first\", \"settle\": \"5s\"}");
        "How the copies of a `count` are replaced when a reload changes what they run: at-once of them at a time, each up \
         for settle before the next."
    }
    /// Where a worker's output goes.
    BOUNDS of ExecSpec {
        "log" => Log, unless(LogSpec::Capture, log), default("true"),
            known("where it writes to is given to it when it is executed", |_, exec| {
                (exec.log == LogSpec::Discard).to_string()
            });
        "Where its output goes: true to treevisor, false to /dev/null, a table to treevisor and to a file that is rotated."
    }
    /// Keys of a supervisor as a child.
    PLACED of SupervisorSpec {
        "placement" => Placed, by(|of: &SupervisorSpec| of.placement.as_deref(), |of, value| of.placement = Some(Box::new(value)));
        "On which hosts of a cluster this subtree may run, the first rather than the second: [\"a\", \"b\", [\"c\", \"d\"]], or a \
         table. Without it, where its parent runs."
        "count" => integer(1, COUNT_MAX.into()), by_hand();
        "Number of replicas, NAME-1 to NAME-N: of a worker, or of a supervisor with a `placement`."
    }
    /// Keys of a supervisor's body, the top level included.
    BODY of SupervisorSpec {
        "strategy" => a_word(&[("simple-one-for-one", "one-for-one"), ("all-for-one", "one-for-all")]),
            always(policy.strategy), default("\"one-for-one\"");
        "Which siblings restart with a failed child: \"one-for-one\" none, \"one-for-all\" all, \"rest-for-one\" those after it."
        "intensity" => Restarts, always(policy.intensity.max), default("3");
        "Restarts allowed within `period`. One more, and the supervisor stops its children and gives up, which its own \
         supervisor sees as a failure. Or \"unlimited\"."
        "period" => Positive, always(policy.intensity.period), default("\"30s\"");
        "Length of the window in which restarts are counted."
        "auto-shutdown" => a_word(&[("any", "any-significant"), ("all", "all-significant")]),
            unless(AutoShutdown::Never, policy.auto_shutdown), default("\"never\"");
        "End this supervisor when significant children have ended by themselves: \"any-significant\" the first, \
         \"all-significant\" the last of them."
        "start-order" => a_word(&[("parallel", "together"), ("sequential", "in-order")]),
            unless(StartOrder::InOrder, policy.start_order), default("\"in-order\"");
        "How its children are started when it is started itself. \"in-order\": each is up before the next is begun. \"together\": \
         all at once, for children that do not depend on each other."
        "stop-order" => a_word(&[("parallel", "together"), ("sequential", "reverse")]),
            unless(StopOrder::Reverse, policy.stop_order), default("\"reverse\"");
        "\"reverse\": the youngest child first, each gone before the next is asked. \"together\": all are asked at once."
        "heartbeat" => reference("supervisor-heartbeat"), by_hand(), default("{\"interval\": \"1s\", \"misses\": 3}");
        "Liveness of this supervisor, watched by the one above: { interval, misses, grace }, or false for its exit alone."
        "on-panic" => Command, optional(hooks.on_panic);
        "Run once after this subtree was panicked and nothing of it is left."
        "on-escalate" => Command, optional(hooks.on_escalate);
        "Run when this supervisor escalates: it gave up."
        "on-restart" => Command, optional(hooks.on_restart);
        "Run when this supervisor restarts a child."
        "defaults" => reference("defaults"), by_hand();
        "For all workers below; a worker's own key wins."
        "child" => json!({ "type": "array", "minItems": 1, "items": reference("child") }), by_hand();
        "The children in start order: [[child]], and one level down [[child.child]]."
        // `overlay` has taken the value when it read the files.
        "include" => Filled, by(|_: &SupervisorSpec| None, |_, _| {});
        "Takes the supervisor's body, its children with it, from another file, relative to this file; or, as a pattern such as \
         \"conf.d/*.toml\", children from all files that are like it, in the order of their names."
    }
}

/// The parts of a heartbeat that a process gets at its start: the interval, the limit if it uses sd_notify, and the
/// sources, which are set up before the start.
fn told_of_beats(policy: &ChildPolicy, exec: &ExecSpec) -> String {
    let limit = |misses| exec.speaks_by_notify(policy).then_some(misses);
    format!("{:?}", policy.heartbeat.map(|beat| (beat.interval, limit(beat.misses), &exec.sources)))
}

shapes! {
    /// A name of a child, or of the tree.
    AName: Name, name, |name: &Name| format!("\"{name}\""),
        text_like(&format!("(?!\\.{{1,2}}$)[A-Za-z0-9_.-]{{1,{}}}", Name::MAX_LEN));
    /// How a child is stopped.
    AShutdown: Shutdown, shutdown, |shutdown: &Shutdown| match shutdown {
        Shutdown::BrutalKill => "\"brutal-kill\"".into(),
        Shutdown::After(span) => format!("\"{span}\""),
        Shutdown::Infinity => "\"infinity\"".into(),
    }, any([word(["brutal-kill", "infinity"]), reference("span")]);
    /// How long a start may take; `None` for "infinity".
    Timeout: Option<Span>, timeout, |timeout: &Option<Span>| match timeout {
        Some(span) => format!("\"{span}\""),
        None => "\"infinity\"".into(),
    }, any([word(["infinity"]), reference("positive-span")]);
    /// How many restarts are not too many; `None` for "unlimited".
    Restarts: Option<u32>, restarts, |max: &Option<u32>| {
        max.map_or_else(|| "\"unlimited\"".into(), |max| max.to_string())
    }, any([integer(0, u32::MAX.into()), word(["unlimited"])]);
}

fn shutdown(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Shutdown> {
    const WORDS: [(&str, Shutdown); 2] = [("brutal-kill", Shutdown::BrutalKill), ("infinity", Shutdown::Infinity)];
    const FOREIGN: [(&str, &str); 4] =
        [("kill", "brutal-kill"), ("brutal", "brutal-kill"), ("infinite", "infinity"), ("never", "infinity")];
    let of = |text: &str| WORDS.iter().find(|(word, _)| *word == text).map(|(_, shutdown)| *shutdown);
    if let DeValue::String(text) = value.value {
        if let Some(shutdown) = of(text) {
            return Some(shutdown);
        }
        // A text that begins with a letter must be one of the words.
        if text.starts_with(|c: char| c.is_alphabetic()) {
            return scope.choice_or(value, &WORDS, &FOREIGN, ", or a duration such as \"5s\"");
        }
        // A variable may hold one of the words too.
        if text.contains('$')
            && let Some(shutdown) = of(&scope.text(value)?)
        {
            return Some(shutdown);
        }
    }
    scope.span(value, ", \"brutal-kill\" or \"infinity\"").map(Shutdown::After)
}

fn timeout(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Option<Span>> {
    match value.value {
        DeValue::String(text) if text == "infinity" => Some(None),
        _ => scope.positive(value).map(Some),
    }
}

fn restarts(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Option<u32>> {
    match value.value {
        DeValue::String(_) => scope.choice(value, &[("unlimited", None)], &[("infinity", "unlimited")]),
        DeValue::Integer(_) => scope.small(value, 0..=u32::MAX).map(Some),
        _ => {
            scope.wrong_type(value, "a whole number or \"unlimited\"", "intensity = 3");
            None
        }
    }
}
