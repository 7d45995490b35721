//! Verbs, options and the help that teaches them. The golden texts of the tests, and `docs/cli.md`, are made from this.

mod add;
mod completions;
mod import;
mod init;
mod logs;
mod man;
mod reload;
mod remove;
mod reset;
mod scale;
mod schema;
mod signal;
mod status;
mod targets;
mod top;
mod wait;
mod why;

pub use add::Add;
pub use completions::{Completions, Shell};
pub use import::{Format, Import};
pub use init::Init;
pub use logs::{Lines, Logs};
pub use man::Man;
pub use reload::Reload;
pub use remove::Remove;
pub use reset::Reset;
pub use scale::Scale;
pub use schema::Schema;
pub use signal::Signal;
pub use status::{Status, WatchOrPath};
pub use targets::{Pattern, Targets};
pub use top::Top;
pub use wait::{Until, Wait};
pub use why::Why;

use super::moment::Moment;
use crate::ids::Path;
use crate::spec::probe::Ask;
use crate::time::Span;
use crate::wire::view::KINDS;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Help is wrapped here at the latest: longer lines are hard to read, and golden texts need one width.
const HELP_WIDTH: usize = 100;

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   the operation failed
  2   wrong usage, or a file with errors
  3   no such instance runs
  4   no such path in the tree
  5   no answer in time
  10  of start and run: the root gave up, too many restarts came too fast
  11  of start and run: a child could not be started at boot

Environment:
  TREEVISOR_INSTANCE     the instance to talk to, where several run; like --instance
  TREEVISOR_RUNTIME_DIR  where instances are found; by default $XDG_RUNTIME_DIR/treevisor, or
                         /run/treevisor for root, or /tmp/treevisor-UID
  TREEVISOR_STATE_DIR    where the journals are kept; by default /var/lib/treevisor for root, or
                         $XDG_STATE_HOME/treevisor, or ~/.local/state/treevisor
  NO_COLOR               no colours; CLICOLOR_FORCE=1: colours in a pipe too
";

const EXAMPLES: &str = "\
Examples:
  treevisor check supervisors.toml            what does this file mean, and is it right?
  treevisor start supervisors.toml            run the tree, here, until it is stopped
  treevisor status                            in another terminal: the tree at work
  treevisor top                               the same, live, with keys to act on it
  treevisor events -f                         what happens to it, one line an event
  treevisor why /web/api                      what led to its state, from the first cause on
  treevisor restart /web/api                  stop one child in order, and start it
  treevisor panic /web                        kill a subtree now; its supervisor heals it
  treevisor reload --plan                     the file has changed: what would that do?
  treevisor stop                              stop everything, in order
  treevisor run --heartbeat 1s -- ./worker    supervise one program without a file
";

/// Supervision trees, as in Erlang/OTP, for ordinary processes.
///
/// A tree is declared in a TOML file. Its supervisors are processes of their own; they start the workers, restart them
/// by OTP's rules when they die or stop beating, and give up to the supervisor above when that does not help.
#[derive(Debug, Parser)]
#[command(
    name = "treevisor",
    version,
    max_term_width = HELP_WIDTH,
    after_help = "See `treevisor VERB --help` for more, with examples.",
    after_long_help = format!("{EXAMPLES}\n{EXIT_CODES}"),
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    disable_help_subcommand = true,
    arg_required_else_help = true,
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// When to use colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        display_order = 900
    )]
    pub color: When,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum When {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb".
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs. Each is documented at its own type, where its help is.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a doc comment here would take the place of the verb's help")]
pub enum Verb {
    Start(Start),
    Run(Run),
    Check(Check),
    Status(Status),
    Top(Top),
    Logs(Logs),
    Events(Events),
    Why(Why),
    Stop(Stop),
    Restart(Restart),
    Panic(Panic),
    Reload(Reload),
    Add(Add),
    Remove(Remove),
    Scale(Scale),
    Wait(Wait),
    Signal(Signal),
    Reset(Reset),
    Beat(Beat),
    Notify(Notify),
    Init(Init),
    Import(Import),
    Schema(Schema),
    Completions(Completions),
    Man(Man),
}

/// Which instance is meant.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The instance; needed only where several run
    #[arg(short, long, value_name = "NAME", env = "TREEVISOR_INSTANCE", hide_env_values = true)]
    pub instance: Option<String>,
}

/// Runs a tree from its file
///
/// Runs the tree of FILE in the foreground, until it is stopped or gives up. The output of the workers is shown with
/// their paths in front.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Signals:
  TERM, INT  stop the tree in order; a second one kills what is left at once
  QUIT       panic: kill the whole tree at once
  HUP        read the file again, as `treevisor reload` does; errors are logged, and change nothing

Examples:
  treevisor start supervisors.toml
  treevisor start --detach supervisors.toml && treevisor status

Exit codes:
  0   the tree was stopped, or ended by itself through auto-shutdown
  1   it could not begin: the instance runs already, no sockets, no cgroup
  2   the file has errors; nothing was started
  5   with --detach: the tree is not up yet, and goes on
  10  the root gave up: too many restarts came too fast
  11  a child could not be started at boot
")]
pub struct Start {
    /// The tree's file
    pub file: PathBuf,
    /// Run in the background, and return when the tree is up or has failed
    #[arg(short, long)]
    pub detach: bool,
    /// With --detach: append log and output to this file, instead of output.log in the instance's runtime directory
    #[arg(long, value_name = "FILE", requires = "detach")]
    pub output: Option<PathBuf>,
    /// With --detach: wait this long for the tree to be up
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "60s", requires = "detach")]
    pub timeout: Span,
    /// What is shown.
    #[command(flatten)]
    pub show: Show,
    /// Where to say that the tree is up
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "detach")]
    pub ready_at: Option<PathBuf>,
}

/// What is shown while a tree runs.
#[derive(Debug, Clone, Copy, Args)]
pub struct Show {
    /// How much of its own doings treevisor logs: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true)]
    pub log_level: LogLevel,
    /// How log and output are written: term, for people, or json, one object a line
    #[arg(long, value_name = "FORMAT", default_value = "term", hide_possible_values = true)]
    pub log_format: LogFormat,
    /// Do not show the output of the workers
    #[arg(long)]
    pub no_output: bool,
}

/// How log and output are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum LogFormat {
    /// For people, in colours on a terminal.
    Term,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// Supervision acted.
    Warn,
    /// Life events.
    Info,
    /// Each event and action.
    Debug,
    /// Frames; not in release builds.
    Trace,
}

impl From<LogLevel> for slog::Level {
    fn from(level: LogLevel) -> slog::Level {
        match level {
            LogLevel::Error => slog::Level::Error,
            LogLevel::Warn => slog::Level::Warning,
            LogLevel::Info => slog::Level::Info,
            LogLevel::Debug => slog::Level::Debug,
            LogLevel::Trace => slog::Level::Trace,
        }
    }
}

/// Supervises one program, without a file
///
/// Starts CMD, and starts it again when it fails, hangs or is panicked. When it ends with success, so does this, with
/// exit code 0.
#[derive(Debug, Args)]
#[command(after_long_help = "\
With --heartbeat the program must beat: by a client library or by `treevisor beat`, unless one of
--notify, --push or --probe-... says how it does. Of several of these any beat counts. It is killed
and started again after that many intervals without a beat. With --command, any message from a
ZeroMQ PUSH socket is a big red button: the program is killed and started again.

--notify is for programs that run under systemd with Type=notify: the start is over with READY=1,
and, with --heartbeat or --misses, WATCHDOG=1 is a beat. A watchdog of 10 seconds (WatchdogSec=10)
is --heartbeat 5s --misses 2.

Examples:
  treevisor run -- ./server --port 8080
  treevisor run --heartbeat 1s --misses 3 --grace 10s -- ./worker
  treevisor run --notify --start-timeout 30s -- redis-server --supervised systemd
  treevisor run --probe-http http://127.0.0.1:8080/health --grace 10s -- ./server --port 8080
  treevisor run --push ipc://heartbeat --command ipc://command -- ./random_app
  treevisor run --intensity 5 --period 1m -- ./server     no more than five restarts a minute
")]
pub struct Run {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
    /// The name of the instance and of the worker; by default the program's
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A beat is due this often; with --push, --probe-... or --misses it is 1s by default, else none is
    /// asked for
    #[arg(long, value_name = "TIME", value_parser = positive_span)]
    pub heartbeat: Option<Span>,
    /// So many intervals without a beat are a hang [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub misses: Option<u32>,
    /// The first beat after a start may come this much later
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "0s")]
    pub grace: Span,
    /// Take any message at this ZeroMQ endpoint, such as ipc://heartbeat, for a beat
    #[arg(long, value_name = "ENDPOINT", value_parser = ipc)]
    pub push: Option<String>,
    /// The program speaks sd_notify: READY=1 ends its start, and beats that are asked for are WATCHDOG=1
    #[arg(long)]
    pub notify: bool,
    /// Ask this URL once an interval; an answer of 2xx is a beat. As all probes, it may be given again
    #[arg(long, value_name = "URL", value_parser = probe_http)]
    pub probe_http: Vec<Ask>,
    /// Connect to this server once an interval; a connection that is accepted is a beat
    #[arg(long, value_name = "HOST:PORT", value_parser = probe_tcp)]
    pub probe_tcp: Vec<Ask>,
    /// Run this command once an interval; success is a beat. Split into words as a shell does, but no shell is run
    #[arg(long, value_name = "COMMAND", value_parser = probe_exec)]
    pub probe_exec: Vec<Ask>,
    /// How long a probe may take; by default as long as the interval
    #[arg(long, value_name = "TIME", value_parser = positive_span)]
    pub probe_timeout: Option<Span>,
    /// Kill the program when its start, until READY=1, takes longer than this; needs --notify
    #[arg(long, value_name = "TIME", value_parser = positive_span, requires = "notify")]
    pub start_timeout: Option<Span>,
    /// Panic the program at any message at this ZeroMQ endpoint, such as ipc://command
    #[arg(long = "command", id = "button", value_name = "ENDPOINT", value_parser = ipc)]
    pub command_at: Option<String>,
    /// When it is started again: after a failure (transient), after any end (permanent), never (temporary)
    #[arg(long, value_name = "TYPE", default_value = "transient", hide_possible_values = true)]
    pub restart: RestartType,
    /// Restarts allowed within the period: a number, or "unlimited"
    #[arg(long, value_name = "N", value_parser = intensity, default_value = "unlimited")]
    pub intensity: Intensity,
    /// The period
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "30s")]
    pub period: Span,
    /// How long the program has to stop when it is asked to, before it is killed
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "5s")]
    pub shutdown: Span,
    /// What is shown.
    #[command(flatten)]
    pub show: Show,
}

/// OTP's restart types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum RestartType {
    /// After any end.
    Permanent,
    /// After a failure.
    Transient,
    /// Never.
    Temporary,
}

/// Restarts allowed; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity(pub Option<u32>);

/// Checks a file, and shows the tree that it means
///
/// Reads FILE as `start` would, starts nothing, and draws the tree with its rules. All errors of the file are shown at
/// once, on stderr; so are warnings about rules that work against each other.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor check supervisors.toml
  treevisor check --json supervisors.toml | jq '.diagnostics[].message'

Exit codes:
  0  the file is right; there may be warnings
  2  it has errors, or cannot be read
")]
pub struct Check {
    /// The tree's file
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Tells what happened, one event a line
///
/// Prints what happened in the tree, or in the part of it at PATH, oldest first; times are UTC. It is kept on disk: without
/// a running instance its last run is told, and with --since, --until or -n those before it as well.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Kinds:
  starting started ready beat_late hung dropped exited restarting stopping stopped escalated
  gave_up auto_shutdown panic held reloaded start_failed

Times are UTC, as all that is printed:
  10m, 1h30m              so long ago
  03:00, 03:00:30         the last time it was so late
  2026-11-24, 2026-11-24T03:00, 2026-11-24T03:00:30+01:00

Examples:
  treevisor events
  treevisor events -f /web
  treevisor events --since 03:10 --until 03:15 --kind exited,hung
  treevisor events -n 20 -i shop          the end of the story, also when nothing runs
  treevisor events -f --json | jq 'select(.kind == \"exited\") | {path, code, signal}'
")]
pub struct Events {
    /// Where in the tree
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Go on with what happens from now on, until the instance ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only events of these kinds
    #[arg(short, long, value_name = "KIND", value_delimiter = ',', value_parser = event_kind)]
    pub kind: Vec<String>,
    /// Not what happened before
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Not what happened after
    #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with = "follow")]
    pub until: Option<Moment>,
    /// Only the last N of them; with --follow, of those that are there already
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub last: Option<usize>,
    /// Print each event as one JSON object on a line of its own
    #[arg(long)]
    pub json: bool,
    /// Wait this long for the first answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}

/// Stops a part of the tree, or all of it, in order
///
/// Asks the child at PATH to stop, as OTP's terminate_child does: a supervisor stops its children one by one, the last
/// started first; who does not go within its shutdown time is killed. It stays down until `restart`. Without PATH the
/// whole instance ends.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor stop /web/jobs-3
  treevisor stop '/web/jobs-*' /mail
  treevisor stop
")]
pub struct Stop {
    /// What to stop.
    #[command(flatten)]
    pub targets: Targets,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Wait this long until all of it is down; it goes on afterwards
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

/// Stops children in order, and starts them
///
/// The child at PATH alone is restarted, whatever the strategy of its supervisor, and no restart is counted. What was
/// stopped, held or has ended is started. Of several, those of different supervisors are restarted at the same time.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["paths", "all"]).required(true))]
#[command(after_long_help = "\
Examples:
  treevisor restart /web/api
  treevisor restart /web          a supervisor, with all that is below it
  treevisor restart '/web/jobs-*' /db
  treevisor restart --all
")]
pub struct Restart {
    /// What to restart.
    #[command(flatten)]
    pub targets: Targets,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Wait this long until all of it is up; it goes on afterwards
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

/// Kills a part of the tree now
///
/// The big red button. All processes at and below PATH are killed, without being asked, also when the supervisors in
/// between hang or are stopped. The supervisor above then restarts what was killed by its own strategy, as after any
/// crash. The panic of / ends the instance.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["paths", "all"]).required(true))]
#[command(after_long_help = "\
Examples:
  treevisor panic /web/api             kill it, and let its supervisor start it again
  treevisor panic --hold /web          kill it, and leave it down until `treevisor restart /web`
  treevisor panic '/web/jobs-*' /mail  several at once
  treevisor panic --force /            kill everything, even with the root itself hung
")]
pub struct Panic {
    /// What to kill.
    #[command(flatten)]
    pub targets: Targets,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Leave it down, until it is restarted
    #[arg(long)]
    pub hold: bool,
    /// Ask nobody: find the processes from outside and kill them. For when the root hangs. What is killed this way comes
    /// back by its supervisor's strategy as soon as that runs again
    #[arg(long, conflicts_with = "hold")]
    pub force: bool,
    /// Wait this long until all of it is gone
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "10s")]
    pub timeout: Span,
}

/// Sends a heartbeat, from a shell script
///
/// Called by a worker (or something that a worker has started), tells the worker's supervisor that it lives. Where
/// nothing is supervised it does nothing, and ends with 0: a script runs the same without treevisor.
///
/// With CMD, beats for a program that cannot: whenever it makes output, which is passed on, as are signals and its exit
/// status. With --while-pid, beats as long as a process is there, which says that it has not ended and no more.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Environment, set by the supervisor:
  TREEVISOR_ENDPOINT      where to send it
  TREEVISOR_TOKEN         which child, in which incarnation, it is for
  TREEVISOR_HEARTBEAT_MS  how often one is due
  TREEVISOR_EXE           this program, for scripts that do not find it in their PATH

Examples:
  while work; do treevisor beat; done
  treevisor beat --ready                       the start is over (ready = \"heartbeat\")
  treevisor beat --progress $n --pending $left --status \"file $n\"
  treevisor beat --busy-for 5m && pg_dump shop > shop.sql
  treevisor beat -- rsync -a --info=progress2 /srv backup:    alive is what still talks
  ./server & exec treevisor beat --every 1s --while-pid $!

Exit codes:
  0    sent; or, without --strict, there was nobody to send it to
  1    with --strict: nothing is supervised
  5    with --strict: the supervisor did not take it in time
  126  of CMD: it cannot be executed
  127  of CMD: it was not found
  n    of CMD: its own; 128 + n when signal n has ended it
")]
pub struct Beat {
    /// Work done so far; with `progress = true` a counter that stands still is as bad as silence
    #[arg(long, value_name = "N")]
    pub progress: Option<u64>,
    /// Work that waits; with 0 the counter may stand still
    #[arg(long, value_name = "N")]
    pub pending: Option<u64>,
    /// Announce a silence: the next beat may take this long
    #[arg(long, value_name = "TIME", value_parser = positive_span)]
    pub busy_for: Option<Span>,
    /// A short text for `status`
    #[arg(long, value_name = "TEXT")]
    pub status: Option<String>,
    /// Say that the start is over
    #[arg(long)]
    pub ready: bool,
    /// Fail where nothing is supervised, or nobody takes the beat
    #[arg(long)]
    pub strict: bool,
    /// Beat again and again until this process has ended, which need not be a child
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    #[arg(conflicts_with_all = ["progress", "pending", "busy_for", "ready", "strict"])]
    pub while_pid: Option<u32>,
    /// With --while-pid: this often [default: twice in an interval]
    #[arg(long, value_name = "TIME", value_parser = positive_span, requires = "while_pid")]
    pub every: Option<Span>,
    /// Run this program, and beat when it makes output
    #[arg(last = true, value_name = "CMD")]
    #[arg(conflicts_with_all = ["while_pid", "progress", "pending", "busy_for", "ready", "strict"])]
    pub command: Vec<OsString>,
}

/// Says something by sd_notify, from a shell script
///
/// What systemd-notify does, for machines without systemd: sends assignments as in sd_notify(3) to the socket that the
/// environment names. Under treevisor that is a worker with `ready = "notify"` or `source = "notify"`. Where nobody
/// wants notifications it does nothing, and ends with 0: a script runs the same without a supervisor.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What treevisor understands:
  READY=1                the start (with ready = \"notify\"), or a reloading, is over
  WATCHDOG=1             a beat
  WATCHDOG=trigger       it hangs: kill it, as if its beats had stopped
  WATCHDOG_USEC=N        from now on a silence of N microseconds is a hang
  EXTEND_TIMEOUT_USEC=N  what it does now, start, stop or work, may take so long from now
  STATUS=TEXT            shown by `treevisor status`; so are RELOADING=1, STOPPING=1, MAINPID=N
  ERRNO=N                why it fails, told with its exit; so are BUSERROR=NAME, EXIT_STATUS=N

Environment, set by the supervisor:
  NOTIFY_SOCKET          where to send it
  WATCHDOG_USEC          a silence that long is a hang, in microseconds; beat twice as often at least
  WATCHDOG_PID           the process that is to beat

Examples:
  treevisor notify --ready --status \"serving on port 8080\"
  while work; do treevisor notify WATCHDOG=1; done
  treevisor notify EXTEND_TIMEOUT_USEC=60000000 && pg_dump shop > shop.sql

Exit codes:
  0  sent; or, without --strict, there was nobody to send it to
  1  with --strict: nobody wants notifications
  2  nothing to say
  5  with --strict: nobody took it in time
")]
pub struct Notify {
    /// What to say, as in sd_notify(3)
    #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
    pub assignments: Vec<String>,
    /// Say that the start is over: READY=1
    #[arg(long)]
    pub ready: bool,
    /// Say that it winds itself up: STOPPING=1
    #[arg(long)]
    pub stopping: bool,
    /// A short text for `status`: STATUS=TEXT
    #[arg(long, value_name = "TEXT")]
    pub status: Option<String>,
    /// Fail where nobody wants notifications, or nobody takes this one
    #[arg(long)]
    pub strict: bool,
}

fn assignment(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() && !text.contains(['\n', '\r']) => Ok(text.to_owned()),
        _ => Err("an assignment in one line is expected, such as READY=1".into()),
    }
}

fn span(text: &str) -> Result<Span, String> {
    Span::parse(text).map_err(|error| error.to_string())
}

fn positive_span(text: &str) -> Result<Span, String> {
    match span(text)? {
        Span::ZERO => Err("it must be longer than 0s".into()),
        span => Ok(span),
    }
}

fn path(text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(|error| error.to_string())
}

fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text, crate::os::clock::wall())
}

fn event_kind(text: &str) -> Result<String, String> {
    if KINDS.contains(&text) {
        return Ok(text.to_owned());
    }
    let wanted = text.to_lowercase().replace('-', "_");
    let near = KINDS.iter().map(|kind| (strsim::jaro_winkler(kind, &wanted), kind)).max_by(|a, b| a.0.total_cmp(&b.0));
    Err(match near {
        Some((likeness, kind)) if likeness >= 0.75 => format!("there is no such kind of event; did you mean {kind}?"),
        _ => format!("there is no such kind of event; there are {}", KINDS.join(", ")),
    })
}

fn ipc(text: &str) -> Result<String, String> {
    match text.strip_prefix("ipc://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("an endpoint on this machine is expected, such as ipc://heartbeat".into()),
    }
}

fn probe_http(text: &str) -> Result<Ask, String> {
    Ask::http(text).map_err(|error| error.to_string())
}

fn probe_tcp(text: &str) -> Result<Ask, String> {
    Ask::tcp(text).map_err(|error| error.to_string())
}

fn probe_exec(text: &str) -> Result<Ask, String> {
    Ask::exec(text).map_err(|error| error.to_string())
}

fn intensity(text: &str) -> Result<Intensity, String> {
    match text {
        "unlimited" => Ok(Intensity(None)),
        number => match number.parse() {
            Ok(number) => Ok(Intensity(Some(number))),
            Err(_) => Err("a number from 0 on is expected, or \"unlimited\"".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Verb, String> {
        Arguments::try_parse_from(std::iter::once("treevisor").chain(line.split(' ')))
            .map(|arguments| arguments.verb)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn run_takes_all_that_follows_as_the_program() {
        let Ok(Verb::Run(run)) = parse("run --heartbeat 2s ./app --misses 3 -x") else { panic!() };
        assert_eq!(run.command, ["./app", "--misses", "3", "-x"]);
        assert_eq!(run.heartbeat, Some(Span::from_secs(2)));
        assert_eq!(run.misses, None);
        let Ok(Verb::Run(run)) = parse("run --command ipc://c --push ipc://h -- app") else { panic!() };
        assert_eq!((run.command_at.as_deref(), run.push.as_deref()), (Some("ipc://c"), Some("ipc://h")));
    }

    #[test]
    fn paths_are_taken_with_and_without_the_slash() {
        assert!(parse("restart --all").is_ok() && parse("restart --all /web").is_err());
        for line in ["stop web/api", "stop /web/api", "stop /web/api/"] {
            let Ok(Verb::Stop(stop)) = parse(line) else { panic!("{line}") };
            assert_eq!(stop.targets.first().as_str(), "/web/api");
        }
        let Ok(Verb::Stop(stop)) = parse("stop") else { panic!() };
        assert!(stop.targets.paths.is_empty());
        assert!(parse("panic").is_err());
        assert!(parse("restart").is_err());
        assert!(parse("panic --force --hold /web").is_err());
    }

    #[test]
    fn values_are_checked() {
        for (line, says) in [
            ("stop --timeout 5 /web", "a unit is missing"),
            ("stop --timeout 0s", "longer than 0s"),
            ("stop a//b", "at least one character"),
            ("run --push tcp://x:1 -- a", "an endpoint on this machine"),
            ("run --intensity -1 -- a", "unlimited"),
            ("run --misses 0 -- a", "1.."),
            ("run --probe-http https://x -- a", "plain HTTP"),
            ("run --probe-http http://x.example/ -- a", "looked up"),
            ("run --probe-tcp localhost -- a", "host:port"),
            ("run --probe-exec ' -- a", "not closed"),
            ("run --start-timeout 5s -- a", "--notify"),
            ("start --output x f.toml", "--detach"),
            ("beat --every 1s", "--while-pid"),
            ("beat --while-pid 0", "1.."),
            ("beat --while-pid 1 -- ls", "cannot be used with"),
            ("beat --progress 1 -- ls", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
