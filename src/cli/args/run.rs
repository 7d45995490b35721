//! Options of `treevisor run`.

use super::{Show, positive_span, span};
use crate::spec::probe::Ask;
use crate::time::Span;
use clap::{Args, ValueEnum};
use std::ffi::OsString;

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
    /// The first restart waits this long, each further one twice as long; 0s restarts at once. By default 100ms
    /// where restarts are unlimited, else none
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub backoff: Option<Span>,
    /// A restart waits no longer than this
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "30s")]
    pub backoff_max: Span,
    /// A program that ran at least this long has its next restart after the first wait again
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "10s")]
    pub backoff_reset: Span,
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
