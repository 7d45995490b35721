//! Options of `treevisor notify`.

use clap::Args;

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
