//! Key by key: what its value must be, and what an editor says of it.

use super::super::keys::{self, Kind};
use super::super::raw::{
    AUTO_SHUTDOWNS, CONTAINMENTS, COUNT_MAX, READIES, RESERVED, RESTARTS, STOP_ORDERS, STRATEGIES,
};
use super::shapes::{
    NUMBER, account, any, boolean, filled, integer, limits, name, reference, stop_signal, switch, text_like, word,
};
use super::table;
use serde_json::{Value, json};

/// What is said of a key: its meaning, and its default where there is one to be written.
pub(super) struct About(pub(super) &'static str, pub(super) Option<Value>);

pub(super) fn plain(description: &'static str) -> About {
    About(description, None)
}

pub(super) fn default(description: &'static str, value: impl Into<Value>) -> About {
    About(description, Some(value.into()))
}

/// The keys of supervisors, workers and `[defaults]`.
pub(super) fn tree_key(kind: Kind, key: &str) -> Option<(Value, About)> {
    Some(match key {
        "name" if kind == Kind::Top => (
            name(),
            plain(
                "Name of the instance, as `treevisor -i NAME status` asks for it. By default the file's \
                     name without `.toml`.",
            ),
        ),
        "name" => (
            name(),
            plain(
                "Name of the child, unique among its siblings (OTP's id): 1 to 64 of A-Z a-z \
                 0-9 _ . -",
            ),
        ),
        "journal" => (
            switch(table(Kind::Small("journal", keys::JOURNAL))),
            default(
                "The events that are kept on disk: true for 16 MiB of them at most, false for none, or a table.",
                true,
            ),
        ),
        "containment" => (
            word(CONTAINMENTS),
            default(
                "How processes are kept together and killed: \"auto\" (cgroup v2 where the tree may \
                     write one, else process groups and descendants), \"cgroup\" (refuse to start \
                     without), \"group\" (never use cgroups).",
                "auto",
            ),
        ),
        "strategy" => (
            word(STRATEGIES),
            default(
                "Who is restarted along with a child that has failed: \"one-for-one\" nobody, \
                     \"one-for-all\" all children, \"rest-for-one\" all that stand after it.",
                "one-for-one",
            ),
        ),
        "intensity" => (
            any([integer(0, u32::MAX.into()), word(&[("unlimited", ())])]),
            default(
                "Restarts allowed within `period`. One more, and the supervisor stops its children and \
                     gives up, which its own supervisor sees as a failure. Or \"unlimited\".",
                3,
            ),
        ),
        "period" => (
            reference("positive-span"),
            default(
                "Length of the window in which restarts are \
             counted.",
                "30s",
            ),
        ),
        "auto-shutdown" => (
            word(AUTO_SHUTDOWNS),
            default(
                "End this supervisor when significant children have ended by themselves: \
                     \"any-significant\" the first, \"all-significant\" the last of them.",
                "never",
            ),
        ),
        "stop-order" => (
            word(STOP_ORDERS),
            default(
                "\"reverse\": the youngest child first, each gone before the next is asked. \
                     \"together\": all are asked at once.",
                "reverse",
            ),
        ),
        "on-panic" => (
            reference("command"),
            plain(
                "Run once after this subtree was panicked and nothing of it is \
                 left.",
            ),
        ),
        "on-escalate" => (reference("command"), plain("Run when this supervisor has given up.")),
        "on-restart" => (reference("command"), plain("Run when this supervisor restarts a child.")),
        "heartbeat" => heartbeat(kind),
        "defaults" => (reference("defaults"), plain("For all workers below; a worker's own key wins.")),
        "include" => (
            filled(),
            plain(
                "Takes the supervisor's body, its children with it, from another file. Relative to \
                 this file.",
            ),
        ),
        "child" => (
            json!({ "type": "array", "minItems": 1, "items": reference("child") }),
            plain("The children in start order: [[child]], and one level down [[child.child]]."),
        ),
        "restart" => (
            word(RESTARTS),
            default(
                "\"permanent\": always started again, after exit code 0 too. \"transient\": after an \
                     abnormal exit only. \"temporary\": never.",
                "permanent",
            ),
        ),
        // Workers and supervisors have different defaults.
        "shutdown" => (
            any([word(&[("brutal-kill", ()), ("infinity", ())]), reference("span")]),
            plain(
                "Asked to stop, given so long, then killed with all that it left behind. \"brutal-kill\" \
                     does not ask, \"infinity\" waits without bound. Default: \"5s\" for a worker, \
                     \"infinity\" for a supervisor.",
            ),
        ),
        "significant" => (
            boolean(),
            default(
                "Its end by itself counts for the supervisor's `auto-shutdown`. Not for permanent children.",
                false,
            ),
        ),
        "start-timeout" => (
            any([word(&[("infinity", ())]), reference("positive-span")]),
            default(
                "A start that is not over by then has failed. A worker needs a `ready` other than \
                     \"exec\" for it.",
                "infinity",
            ),
        ),
        "backoff" => (reference("backoff"), default("Delays between restarts. Off by default, as in OTP.", false)),
        _ => worker_key(key)?,
    })
}

/// The keys that only workers and `[defaults]` have.
pub(super) fn worker_key(key: &str) -> Option<(Value, About)> {
    Some(match key {
        "command" => (
            reference("command"),
            plain(
                "The program and its arguments: [\"program\", \"argument\"], or one string that is cut \
                     into words as a shell cuts them. No shell is run; for one write [\"sh\", \"-c\", \
                     \"…\"].",
            ),
        ),
        "count" => (integer(1, COUNT_MAX.into()), plain("Makes so many workers of it, NAME-1 to NAME-N.")),
        "cwd" => (filled(), plain("Working directory; by default where the tree was started.")),
        "env" => (
            json!({
                "type": "object",
                "propertyNames": { "pattern": "^[^=\\u0000]+$", "not": { "enum": RESERVED } },
                "additionalProperties": { "type": ["string", "integer"] },
            }),
            plain("Added to the environment: { NAME = \"value\" }."),
        ),
        "clear-env" => (boolean(), default("Begin with an empty environment instead of treevisor's.", false)),
        "user" => (account(), plain("Runs as this user, by name or number; by default as treevisor.")),
        "group" => (account(), plain("Runs as this group, by name or number; by default the user's own.")),
        "umask" => (
            any([text_like("(?:0o)?0*[0-7]{1,3}"), integer(0, 0o777)]),
            plain("File mode mask in octal: \"022\" or 0o022. A decimal number is an error."),
        ),
        "limits" => (
            limits(),
            plain(
                "Resource limits as of getrlimit(2): { nofile = 1024, core = \
             \"unlimited\" }.",
            ),
        ),
        "nice" => (
            integer(-20, 19),
            plain(
                "Scheduling priority, from -20 (first) to 19 (last); by default \
                 inherited.",
            ),
        ),
        "stop-signal" => (stop_signal(), default("The signal that asks the program to stop.", "TERM")),
        "ready" => (
            word(READIES),
            default(
                "When its start is over and the next sibling may start: \"exec\" the program runs, \
                     \"heartbeat\" its first beat came, \"notify\" it said READY=1 by sd_notify.",
                "exec",
            ),
        ),
        "success-codes" => (
            json!({ "type": "array", "items": integer(0, 255), "uniqueItems": true }),
            default("Exit codes that are a normal exit.", json!([0])),
        ),
        "log" => (
            switch(table(Kind::Small("log", keys::LOG))),
            default(
                "Where its output goes: true to treevisor, false to /dev/null, a table to treevisor and \
                     to a file that is rotated.",
                true,
            ),
        ),
        "memory-max" => (reference("size"), plain("The most memory, by cgroup. Not supported yet.")),
        "cpu-max" => (
            any([
                text_like(&format!(r"\s*{NUMBER}\s*%\s*")),
                json!({ "type": "number", "minimum": 0.001, "maximum": 100_000 }),
            ]),
            plain("The most CPU, by cgroup: \"150%\", or cores such as 1.5. Not supported yet."),
        ),
        "pids-max" => {
            (json!({ "type": "integer", "minimum": 1 }), plain("The most processes, by cgroup. Not supported yet."))
        }
        _ => return None,
    })
}

/// A supervisor's heartbeat is another one than a worker's.
pub(super) fn heartbeat(kind: Kind) -> (Value, About) {
    const NODE: &str = "How the supervisor above watches this one: { interval, misses, grace }, or false for its exit \
             alone.";
    match kind {
        Kind::Top | Kind::Supervisor => {
            (reference("supervisor-heartbeat"), default(NODE, json!({ "interval": "1s", "misses": 3 })))
        }
        _ => (
            reference("worker-heartbeat"),
            plain(
                "Signs of life that are expected: { interval, misses, grace, source, progress }, or \
                     false for the exit alone, which is a worker's default. A supervisor beats by \
                     itself, every second.",
            ),
        ),
    }
}

pub(super) fn beat_key(key: &str) -> Option<(Value, About)> {
    Some(match key {
        "interval" => (reference("positive-span"), default("A beat is due this often.", "1s")),
        "misses" => (
            integer(1, u32::MAX.into()),
            default("No beat for `interval` times this is a hang: the child is killed, an abnormal exit.", 3),
        ),
        "grace" => (reference("span"), default("Added once, to the first deadline after a start.", "0s")),
        "progress" => (
            boolean(),
            default(
                "Beats carry a counter; one that stands still is as bad as \
             silence.",
                false,
            ),
        ),
        "source" => (
            any([
                reference("source"),
                json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": reference("source") }),
            ]),
            default(
                "Where beats come from: \"zmq\", \"notify\" (WATCHDOG=1 by sd_notify), a probe ({ exec \
                     }, { tcp }, { http }), { push }; or an array of them.",
                "zmq",
            ),
        ),
        _ => return None,
    })
}

pub(super) fn backoff_key(key: &str) -> Option<(Value, About)> {
    let number = |low: u32, high: u32| json!({ "type": "number", "minimum": low, "maximum": high });
    Some(match key {
        "initial" => (reference("positive-span"), default("The first delay.", "100ms")),
        "max" => (reference("positive-span"), default("The longest delay.", "5s")),
        "factor" => (number(1, 1000), default("Each delay is the one before times this.", 2)),
        "jitter" => {
            (number(0, 1), default("Each delay is stretched or shrunk at random by up to this part of it.", 0.1))
        }
        "reset" => (
            reference("positive-span"),
            default("A run of at least this long makes the next delay the first one again.", "1m"),
        ),
        _ => return None,
    })
}

pub(super) fn log_key(key: &str) -> Option<(Value, About)> {
    Some(match key {
        "file" => (filled(), plain("The file; relative to where the tree was started.")),
        "max-size" => (reference("size"), default("It is rotated before it grows beyond this.", "10MiB")),
        "keep" => (integer(0, 1000), default("So many old files stay: FILE.1 to FILE.N.", 5)),
        _ => return None,
    })
}

pub(super) fn journal_key(key: &str) -> Option<(Value, About)> {
    Some(match key {
        "max-size" => {
            (reference("size"), default("The next file begins before one grows beyond this: 64KiB or more.", "2MiB"))
        }
        "keep" => (integer(0, 1000), default("So many full files are kept beside the one that is written to.", 7)),
        _ => return None,
    })
}

pub(super) fn source_key(key: &str) -> Option<(Value, About)> {
    Some(match key {
        "exec" => (reference("command"), plain("A command that ends with exit code 0 is a beat.")),
        "tcp" => (
            text_like(r"(?:localhost|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[[^\]]+\]):[0-9]*[1-9][0-9]*"),
            plain("A connection that is accepted is a beat: \"127.0.0.1:8080\"."),
        ),
        "http" => (
            text_like(
                r"http://(?:localhost|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[[^\]]+\])(?::[0-9]*[1-9][0-9]*)?(?:[/?#]\S*)?",
            ),
            plain("A GET that is answered with 2xx is a beat: \"http://127.0.0.1:8080/health\"."),
        ),
        "push" => (
            text_like("ipc://(?:[^*]|..).{0,106}"),
            plain(
                "Any message to the PULL socket that treevisor binds there is a beat: \
                 \"ipc://heartbeat\".",
            ),
        ),
        "timeout" => (
            reference("positive-span"),
            plain("A probe that is not answered after this long has failed; by default after the interval."),
        ),
        _ => return None,
    })
}
