//! `treevisor notify`: sd_notify(3) for shell scripts on machines without systemd-notify.

use super::failure::{ExitCode, Failure};
use crate::error::Chain;
use clap::Args;
use std::time::Duration;
use treevisor_client::{self as client, NotifyError};

/// Send an sd_notify message, from a shell script
///
/// What systemd-notify does, for machines without systemd: sends assignments as in sd_notify(3) to the socket that the
/// environment names. Under treevisor that is a worker with `ready = "notify"` or `source = "notify"`. Where no
/// `NOTIFY_SOCKET` is set it does nothing, and ends with 0: a script runs the same without a supervisor.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What treevisor understands:
  READY=1                the start (with ready = \"notify\"), or a reloading, is over
  WATCHDOG=1             a beat
  WATCHDOG=trigger       it hangs: kill it, as if its beats had stopped
  WATCHDOG_USEC=N        from now on a silence of N microseconds is a hang
  EXTEND_TIMEOUT_USEC=N  what it does now, start, stop or work, may take so long from now
  STATUS=TEXT            shown by `treevisor status`; so are RELOADING=1, STOPPING=1
  MAINPID=N              process N of the worker is its main one from now on
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
  0  sent; without --strict also where no socket is set
  1  with --strict: no socket is set
  2  empty message
  5  with --strict: not received in time
")]
pub struct Notify {
    /// The message, as in sd_notify(3)
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
    /// Fail if no socket is set, or the message is not received
    #[arg(long)]
    pub strict: bool,
}

fn assignment(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() && !text.contains(['\n', '\r']) => Ok(text.to_owned()),
        _ => Err("an assignment in one line is expected, such as READY=1".into()),
    }
}

/// How long to wait for the receiver. One that takes longer is suspended or starved; the script then goes on without
/// it.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn run(args: Notify) -> Result<ExitCode, Failure> {
    let mut lines = Vec::new();
    lines.extend(args.ready.then(|| "READY=1".to_owned()));
    lines.extend(args.stopping.then(|| "STOPPING=1".to_owned()));
    // A line break would begin another assignment.
    lines.extend(args.status.map(|text| format!("STATUS={}", text.replace(['\n', '\r'], " "))));
    lines.extend(args.assignments);
    if lines.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "the message is empty")
            .hint("name one assignment at least, as in `treevisor notify WATCHDOG=1`"));
    }
    let lenient = |failure: Failure| if args.strict { Err(failure) } else { Ok(ExitCode::Done) };
    match client::notify(&lines.join("\n"), LIMIT) {
        Ok(true) => Ok(ExitCode::Done),
        Ok(false) => lenient(
            Failure::new(ExitCode::Failed, "cannot notify: NOTIFY_SOCKET is not set")
                .hint("NOTIFY_SOCKET is not set: write ready = \"notify\" or source = \"notify\" for the worker"),
        ),
        Err(error @ NotifyError::Address) => {
            lenient(Failure::new(ExitCode::Failed, format!("cannot notify: {}", Chain(&error))))
        }
        Err(error) => lenient(Failure::new(ExitCode::NoAnswer, format!("cannot notify: {}", Chain(&error)))),
    }
}
