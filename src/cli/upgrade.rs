//! `treevisor upgrade`: hot upgrade of a running tree to another executable.

use super::change::{FIRST_REPLY, ask_failed, progress_on_stderr};
use super::failure::{ExitCode, Failure};
use super::instance::find;
use super::options::{ColorMode, Target, positive_span};
use super::out::Out;
use crate::control::{AskError, Instance, Limits, Session};
use crate::ids::Path;
use crate::os::process::self_exe_name;
use crate::text::clean;
use crate::time::Span;
use crate::wire::message::{Reply, Verb};
use crate::wire::upgrade::{self, State, Supervisor};
use clap::Args;
use std::collections::HashMap;
use std::path::{PathBuf, absolute};

/// Replace treevisor itself in a running tree
///
/// The root and all supervisors below it go on with another executable, each in its own process, the root first. No
/// worker is stopped or restarted, no restart is counted, and output, sockets and events go on without a gap. Without
/// --exe the tree gets the program that is called here.
#[derive(Debug, Args)]
#[command(after_long_help = "\
First every supervisor rehearses it: in a process aside the new executable reads what the supervisor
knows, and tells whether it can go on with that. If one cannot, nothing is changed. One that fails
later goes back to the executable that it had and works on, and those below it are left as they are;
`treevisor upgrade` tries these again.

It is refused while the tree starts, ends or is reloaded, and while another upgrade is under way.
FILE has to be an executable of this machine, neither set-id nor with capabilities. Only root and
the tree's user may be able to write it and the directories above it.

SIGUSR2 to the root does the same with the file at the path by which the root was started.

Examples:
  treevisor upgrade --check
  treevisor upgrade
  treevisor upgrade --exe /opt/treevisor-0.2.0/treevisor
  treevisor upgrade --json | jq '.supervisors[] | select(.state != \"upgraded\")'

Exit codes:
  0  all supervisors are upgraded; with --check: all could be
  1  it was refused, or some could not be upgraded; the message names them
  5  not done in time; the operation continues
")]
pub struct Upgrade {
    /// The new executable; by default the one that is called here
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::ExecutablePath)]
    pub exe: Option<PathBuf>,
    /// Only rehearse it in every supervisor, and change nothing
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub target: Target,
    /// Print one JSON object at the end: what has become of each supervisor
    #[arg(long)]
    pub json: bool,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "60s")]
    pub timeout: Span,
}

/// Most failed supervisors that the message names; the list before it has all of them.
const NAMED_MAX: usize = 5;

pub(super) fn run(args: Upgrade, when: ColorMode) -> Result<ExitCode, Failure> {
    let root = Path::root();
    let instance = find(&args.target, "upgrade", &root)?;
    let exe = args.exe.unwrap_or_else(self_exe_name);
    let exe = absolute(&exe).map_err(|error| {
        let message = format!("cannot upgrade \"{}\": --exe {}: {error}", instance.name, exe.display());
        Failure::new(ExitCode::Usage, message)
    })?;
    let failed = |error| ask_failed("upgrade", &root, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    // During an upgrade the root may be silent for long, so a ping first checks that it answers at all.
    let first = FIRST_REPLY.min(args.timeout);
    session.ask(Verb::Ping, Limits { first, overall: first }, &mut |_, _| {}).map_err(failed)?;
    let mut printed = Printed { lines: !args.json, seen: HashMap::new(), last: None, written: Ok(()) };
    let mut progress = progress_on_stderr(when);
    let limits = Limits { first: args.timeout, overall: args.timeout };
    let reply =
        session.ask_through(Verb::Upgrade { exe, check: args.check }, limits, &mut |reply, since| match reply {
            Reply::Upgraded { upgrade } => printed.print(upgrade),
            reply => progress(reply.waits_for().unwrap_or_default(), since),
        });
    let ended = match reply {
        Ok(Reply::Upgraded { upgrade }) => {
            printed.print(&upgrade);
            Ok(())
        }
        Err(AskError::NotDone { waiting_for, .. }) => Err(not_done(&instance, &waiting_for, args.timeout)),
        Err(AskError::NoAnswer { .. }) => Err(not_done(&instance, "it is being rehearsed", args.timeout)),
        Ok(_) => return Err(failed(AskError::something_else())),
        Err(error) => return Err(failed(error)),
    };
    printed.written?;
    let Some(upgrade) = printed.last else { return ended.map(|()| ExitCode::Done) };
    let mut out = Out::open();
    if args.json {
        out.write_json(&upgrade)?;
    } else {
        out.write(&format!("{}\n", clean(&upgrade.summary(instance.name.as_str(), args.check))))?;
    }
    ended?;
    match upgrade.exit_code() {
        0 => Ok(ExitCode::Done),
        _ => Err(some_failed(&upgrade, &instance, args.check)),
    }
}

/// The results that have been printed so far.
struct Printed {
    /// Whether each result is printed in a line as soon as it is known.
    lines: bool,
    seen: HashMap<String, Supervisor>,
    last: Option<upgrade::Upgrade>,
    /// Whether all lines could be written. The upgrade goes on without a reader.
    written: Result<(), Failure>,
}

impl Printed {
    fn print(&mut self, upgrade: &upgrade::Upgrade) {
        for supervisor in &upgrade.supervisors {
            if self.seen.get(&supervisor.path) == Some(supervisor) {
                continue;
            }
            self.seen.insert(supervisor.path.clone(), supervisor.clone());
            if self.lines && self.written.is_ok() {
                self.written = Out::open().write(&format!("{}\n", clean(&supervisor.to_string())));
            }
        }
        self.last = Some(upgrade.clone());
    }
}

fn not_done(instance: &Instance, waiting_for: &str, limit: Span) -> Failure {
    let message = format!("\"{}\" is not upgraded after {}: {waiting_for}", instance.name, limit.coarse());
    Failure::new(ExitCode::NoAnswer, message)
        .hint("it goes on; `treevisor events --kind upgraded,upgrade_failed` shows how it went")
}

fn some_failed(upgrade: &upgrade::Upgrade, instance: &Instance, check: bool) -> Failure {
    let all = &upgrade.supervisors;
    let well = |supervisor: &&Supervisor| matches!(supervisor.state, State::Upgraded | State::Ready);
    let unable = all.len() - all.iter().filter(well).count();
    let failed: Vec<_> = all.iter().filter(|supervisor| supervisor.state == State::Failed).collect();
    let named = failed.iter().take(NAMED_MAX).map(|supervisor| match &supervisor.message {
        Some(reason) => format!("{} ({reason})", supervisor.path),
        None => supervisor.path.clone(),
    });
    let mut named = named.collect::<Vec<_>>().join(", ");
    if failed.len() > NAMED_MAX {
        named += &format!(" and {} more", failed.len() - NAMED_MAX);
    }
    let (name, of) = (&instance.name, all.len());
    let message = format!("{unable} of {of} supervisors of \"{name}\" could not be upgraded: {}", clean(&named));
    Failure::new(ExitCode::Failed, message).hint(match check {
        true => "nothing was changed",
        false => "the old version works on there; `treevisor upgrade` tries it again",
    })
}
