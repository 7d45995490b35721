//! `treevisor notify`: sd_notify(3) for shell scripts, where there is no systemd-notify.

use super::args::Notify;
use super::{ExitCode, Failure};
use crate::error::Chain;
use std::time::Duration;
use treevisor_client::{self as client, NotifyError};

/// Whoever does not take a notification by then is stopped or starved. The script goes on: it has its own work to do.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn run(args: Notify) -> Result<ExitCode, Failure> {
    let mut lines = Vec::new();
    lines.extend(args.ready.then(|| "READY=1".to_owned()));
    lines.extend(args.stopping.then(|| "STOPPING=1".to_owned()));
    // A text of several lines would be several assignments.
    lines.extend(args.status.map(|text| format!("STATUS={}", text.replace(['\n', '\r'], " "))));
    lines.extend(args.assignments);
    if lines.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "there is nothing to say")
            .hint("name one assignment at least, as in `treevisor notify WATCHDOG=1`"));
    }
    let lenient = |failure: Failure| if args.strict { Err(failure) } else { Ok(ExitCode::Done) };
    match client::notify(&lines.join("\n"), LIMIT) {
        Ok(true) => Ok(ExitCode::Done),
        Ok(false) => lenient(
            Failure::new(ExitCode::Failed, "cannot notify: nobody wants notifications of this process")
                .hint("NOTIFY_SOCKET is not set: write ready = \"notify\" or source = \"notify\" for the worker"),
        ),
        Err(error @ NotifyError::Address) => {
            lenient(Failure::new(ExitCode::Failed, format!("cannot notify: {}", Chain(&error))))
        }
        Err(error) => lenient(Failure::new(ExitCode::NoAnswer, format!("cannot notify: {}", Chain(&error)))),
    }
}
