//! The half of a child spec that `os` and `logs` read: the command, its user, environment and limits, and where its
//! output goes.

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
    /// Working directory; `None` for the one that the tree was started in. A relative `command[0]` is looked up in it.
    #[serde(with = "crate::files::exact::option")]
    pub cwd: Option<PathBuf>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// Files with further variables. Later files win over earlier ones, and `env` over all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_files: Vec<EnvFile>,
    /// The variables in those files, as they were when the spec was read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_from_files: BTreeMap<String, String>,
    /// Whether the environment begins empty instead of being inherited.
    pub clear_env: bool,
    /// What it reads as descriptor 0.
    #[serde(default)]
    pub stdin: StdinSpec,
    /// User to run as, by name or number.
    pub user: Option<String>,
    /// Group to run as, by name or number; by default the user's own.
    pub group: Option<String>,
    /// The ids of `user` and `group` on this system. They are looked up when a file is read and kept, so that a start
    /// needs no look-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Box<Account>>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Resource limits by name, as in getrlimit(2), lower case without `RLIMIT_`: `nofile`, `core`, `as` …
    pub limits: BTreeMap<String, Limit>,
    /// Nice value, -20 to 19, as in setpriority(2).
    pub nice: Option<i32>,
    /// The OOM score adjustment, -1000 to 1000, as in proc_pid_oom_score_adj(5).
    #[serde(default)]
    pub oom_score_adjust: Option<i32>,
    /// Number of the signal that asks the program to stop; SIGTERM by default.
    pub stop_signal: i32,
    /// The processes that the stop signal is sent to.
    #[serde(default)]
    pub kill_mode: KillMode,
    /// The command that asks the program to stop, instead of a signal.
    #[serde(default)]
    pub stop_command: Option<Vec<String>>,
    /// The command that collects evidence when the worker hangs, before it is killed.
    #[serde(default)]
    pub on_hang: Option<Vec<String>>,
    /// Number of the signal that a hung worker gets before it is killed, for example to dump core.
    #[serde(default)]
    pub hang_signal: Option<i32>,
    /// Sockets that its supervisor holds and passes to it, in this order, from descriptor 3 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<Listen>,
    /// Where its output goes.
    pub log: LogSpec,
    /// The sources of its beats; never empty, `zmq` by default.
    pub sources: Vec<BeatSource>,
    /// The readiness probe, with [`Ready::Probe`].
    #[serde(default)]
    pub ready_probe: Option<ReadyProbe>,
    /// Its limits by cgroup.
    #[serde(default)]
    pub resources: Resources,
    /// The template for further copies, if copies differ by more than their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Box<Template>>,
}

impl ExecSpec {
    /// The default of `stop_signal`: SIGTERM.
    pub const STOP_SIGNAL: i32 = 15;

    /// Whether it runs as a user or a group that its file names.
    pub fn has_account(&self) -> bool {
        self.user.is_some() || self.group.is_some()
    }

    /// What is done with a hung worker before it is killed.
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

/// The tables from which the copies of a worker were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The worker's own table, then each `[defaults]` above it, in order of precedence.
    pub tables: Vec<TemplateTable>,
    /// The variables of treevisor's environment that occur in the tables.
    pub variables: BTreeMap<String, String>,
}

/// One table of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateTable {
    /// The file that has the table; absolute.
    #[serde(with = "crate::files::exact")]
    pub file: PathBuf,
    /// Its keys as TOML.
    pub toml: String,
}

/// A file of variables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnvFile {
    /// The file; absolute.
    #[serde(with = "crate::files::exact")]
    pub path: PathBuf,
    /// The file may be missing.
    pub optional: bool,
}

/// The variables that the node itself sets in a worker's environment. A file cannot set them: its value would be
/// replaced.
pub const RESERVED: &[&str] = &[
    "TREEVISOR_ENDPOINT",
    "TREEVISOR_PATH",
    "TREEVISOR_INSTANCE",
    "TREEVISOR_MARK",
    "TREEVISOR_EXE",
    "TREEVISOR_RUNTIME_DIR",
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

/// The variables that a host's agent sets for the trees that it starts: the host, the fencing token of its claim, the
/// reason of the start, and the previous host.
pub const HOSTED: &[&str] = &[HOST, FENCE, START, FROM];

/// Why the tree, or the placed subtree, is started on this host.
pub const START: &str = "TREEVISOR_START";

/// The host on which it ran before.
pub const FROM: &str = "TREEVISOR_FROM";

/// The name of the host.
pub const HOST: &str = "TREEVISOR_HOST";

/// The fencing token of the claim by which a tree, or a placed subtree, runs.
pub const FENCE: &str = "TREEVISOR_FENCE";

/// A readiness probe: it is repeated until its first success, which makes the worker ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadyProbe {
    /// What is asked of the worker.
    pub probe: Probe,
    /// The interval of its repetition; above zero.
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

/// The inverse of [`numbered`]; `None` if `file` does not have this number.
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
    /// The ceiling for the soft limit.
    pub hard: Option<u64>,
}

/// Which processes of a worker get the stop signal. Those that are left after the shutdown timeout are killed in either
/// case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillMode {
    /// The main process alone; processes that it leaves behind are killed.
    #[default]
    Mixed,
    /// All processes; they share the same timeout.
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
    /// A file, which the worker's process opens with its own permissions, relative to its working directory.
    File {
        /// Relative to its working directory, if not absolute.
        #[serde(with = "crate::files::exact")]
        file: PathBuf,
    },
    /// The standard input of treevisor.
    Inherit,
}

/// Where a worker's stdout and stderr go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSpec {
    /// `log = true`: captured; the last lines are kept, and shown with the child's path if treevisor runs in the
    /// foreground.
    #[default]
    Capture,
    /// `log = false`: to /dev/null.
    Discard,
    /// Captured, and written to a file that is rotated.
    File {
        /// The file; rotated files are `FILE.1`, `FILE.2` ….
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
    /// `NOTIFY_SOCKET`, as of systemd's sd_notify(3).
    Notify,
    /// A probe by the node; each success is a beat.
    Probe(Probe),
    /// A PULL socket that the node binds at this ZeroMQ endpoint (`ipc://…`); any message is a beat.
    Push(String),
}
