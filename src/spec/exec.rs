//! The half of a child spec that `os` and `logs` read: what to execute, as which user, with what, and where its output
//! goes.

use super::account::Account;
use super::listen::Listen;
use super::policy::{ChildPolicy, Evidence, Ready, words};
use super::probe::Probe;
use super::resources::Resources;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything that is needed to execute a worker's program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments; never empty. A program without a slash is looked up in the child's `PATH`.
    pub command: Vec<String>,
    /// Working directory; `None` is the one that the tree was started in. A relative `command[0]` is looked up here.
    #[serde(with = "crate::files::exact::option")]
    pub cwd: Option<PathBuf>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// Files with further variables, of which later ones win; `env` wins over them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_files: Vec<EnvFile>,
    /// The variables in those files, as they were when the spec was read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_from_files: BTreeMap<String, String>,
    /// Whether the environment begins empty instead of being inherited.
    pub clear_env: bool,
    /// Its standard input.
    #[serde(default)]
    pub stdin: StdinSpec,
    /// User to run as, by name or number.
    pub user: Option<String>,
    /// Group to run as, by name or number; by default the user's own.
    pub group: Option<String>,
    /// The ids of `user` and `group` on this system. Filled in when a file is read, and kept: a start never asks for
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Box<Account>>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Resource limits by name, as in getrlimit(2), lower case without `RLIMIT_`: `nofile`, `core`, `as` …
    pub limits: BTreeMap<String, Limit>,
    /// Nice value, -20 to 19, as in setpriority(2).
    pub nice: Option<i32>,
    /// What is added to the score by which the kernel chooses what to end when memory runs out, -1000 to 1000.
    #[serde(default)]
    pub oom_score_adjust: Option<i32>,
    /// Number of the signal that asks the program to stop; SIGTERM by default.
    pub stop_signal: i32,
    /// Which of its processes that signal is sent to.
    #[serde(default)]
    pub kill_mode: KillMode,
    /// The command that asks it to stop, instead of a signal.
    #[serde(default)]
    pub stop_command: Option<Vec<String>>,
    /// The command that looks at it when it hangs, before it is killed.
    #[serde(default)]
    pub on_hang: Option<Vec<String>>,
    /// Number of the signal by which it is to end when it hangs, before it is killed.
    #[serde(default)]
    pub hang_signal: Option<i32>,
    /// Sockets that its supervisor holds and hands to it, in this order, from descriptor 3 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<Listen>,
    /// Where its output goes.
    pub log: LogSpec,
    /// Where its beats come from; never empty, `zmq` by default.
    pub sources: Vec<BeatSource>,
    /// What is asked until it is ready, where [`Ready::Probe`] decides that.
    #[serde(default)]
    pub ready_probe: Option<ReadyProbe>,
    /// Its limits by cgroup.
    #[serde(default)]
    pub resources: Resources,
    /// What another copy of it is read from, where copies differ by more than their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Box<Template>>,
}

impl ExecSpec {
    /// SIGTERM.
    pub const STOP_SIGNAL: i32 = 15;

    /// Whether it runs as a user or a group that its file names.
    pub fn has_account(&self) -> bool {
        self.user.is_some() || self.group.is_some()
    }

    /// What is done with it when it hangs, before it is killed.
    pub(super) fn evidence(&self) -> Evidence {
        Evidence { command: self.on_hang.is_some(), signal: self.hang_signal.is_some() }
    }

    /// Whether a worker with this policy is given a socket for sd_notify.
    pub fn speaks_by_notify(&self, policy: &ChildPolicy) -> bool {
        policy.ready == Ready::Notify || policy.heartbeat.is_some() && self.sources.contains(&BeatSource::Notify)
    }

    /// A spec that executes `command` and leaves everything else at its default.
    pub fn new(command: Vec<String>) -> ExecSpec {
        ExecSpec {
            command,
            cwd: None,
            env: BTreeMap::new(),
            env_files: Vec::new(),
            env_from_files: BTreeMap::new(),
            clear_env: false,
            stdin: StdinSpec::Null,
            user: None,
            group: None,
            account: None,
            umask: None,
            limits: BTreeMap::new(),
            nice: None,
            oom_score_adjust: None,
            stop_signal: ExecSpec::STOP_SIGNAL,
            kill_mode: KillMode::Mixed,
            stop_command: None,
            on_hang: None,
            hang_signal: None,
            listen: Vec::new(),
            log: LogSpec::Capture,
            sources: vec![BeatSource::Zmq],
            ready_probe: None,
            resources: Resources::default(),
            template: None,
        }
    }
}

/// What the copies of a worker were read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The uppermost first: its own table, and each `[defaults]` above it.
    pub tables: Vec<TemplateTable>,
    /// The variables of treevisor's environment that occur in them.
    pub variables: BTreeMap<String, String>,
}

/// One of its tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateTable {
    /// The file that it stands in; absolute.
    #[serde(with = "crate::files::exact")]
    pub file: PathBuf,
    /// Its keys.
    pub toml: String,
}

/// A file of variables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnvFile {
    /// The file; absolute.
    #[serde(with = "crate::files::exact")]
    pub path: PathBuf,
    /// It may be missing.
    pub optional: bool,
}

/// What the node itself puts into a worker's environment.
pub(super) const RESERVED: &[&str] = &[
    "TREEVISOR_ENDPOINT",
    "TREEVISOR_PATH",
    "TREEVISOR_INCARNATION",
    "TREEVISOR_TOKEN",
    "TREEVISOR_HEARTBEAT_MS",
    "TREEVISOR_PID",
    "TREEVISOR_NUMBER",
    "INVOCATION_ID",
    "TREEVISOR_HOST",
    "TREEVISOR_FENCE",
    "TREEVISOR_START",
    "TREEVISOR_FROM",
];

/// What the agent of a host passes to all that it starts: the host, the number of its claim, how it came there, and
/// from where.
pub const HOSTED: &[&str] = &[HOST, FENCE, START, FROM];

/// Why it starts there.
pub const START: &str = "TREEVISOR_START";

/// The host on which it was before.
pub const FROM: &str = "TREEVISOR_FROM";

/// The name of the host.
pub const HOST: &str = "TREEVISOR_HOST";

/// The number of the claim that a tree, or a placed subtree, runs by.
pub const FENCE: &str = "TREEVISOR_FENCE";

/// A probe that is made until it is answered for the first time: then the worker is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadyProbe {
    /// What is asked.
    pub probe: Probe,
    /// How often; above zero.
    pub interval: Span,
}

/// Puts the number of a worker made by `count` into its log file's name, before the extension: `jobs.log`,
/// `jobs-2.log`.
pub(super) fn numbered(file: &Path, number: u32) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    match file.extension() {
        Some(extension) => file.with_file_name(format!("{stem}-{number}.{}", extension.to_string_lossy())),
        None => file.with_file_name(format!("{stem}-{number}")),
    }
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

/// One resource limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// The limit in force.
    pub soft: Option<u64>,
    /// What the soft limit may be raised to.
    pub hard: Option<u64>,
}

/// Which processes of a worker are asked to stop. What is left when its time is over is killed in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillMode {
    /// Its own process; what that leaves behind is killed.
    #[default]
    Mixed,
    /// All of them; each has the same time.
    ControlGroup,
}

words! {
    KillMode { "mixed" Mixed, "control-group" ControlGroup }
}

/// What a worker reads as its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdinSpec {
    /// Nothing: /dev/null.
    #[default]
    Null,
    /// A file, which the worker's process opens, with its rights and relative to its directory.
    File {
        /// The file.
        #[serde(with = "crate::files::exact")]
        file: PathBuf,
    },
    /// That of treevisor.
    Inherit,
}

/// Where a worker's stdout and stderr go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSpec {
    /// `log = true`: captured, the last lines kept, shown with the child's path in the foreground.
    #[default]
    Capture,
    /// `log = false`: to /dev/null.
    Discard,
    /// Captured, and written to a file that is rotated.
    File {
        /// The file; its rotated forerunners are `FILE.1`, `FILE.2` ….
        #[serde(with = "crate::files::exact")]
        file: PathBuf,
        /// Rotated before it would grow beyond this many bytes.
        max_size: u64,
        /// How many rotated files are kept.
        keep: u32,
    },
}

/// Where beats come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeatSource {
    /// The node's ROUTER endpoint: client libraries, `treevisor beat`, any DEALER socket.
    Zmq,
    /// systemd's sd_notify protocol.
    Notify,
    /// A question that the node asks; a good answer is a beat.
    Probe(Probe),
    /// A PULL socket that the node binds at this ZeroMQ endpoint (`ipc://…`); any message is a beat.
    Push(String),
}
