//! Requests a change of the tree, waits until it is carried out, and reports the result. Some changes are made from the
//! spec that runs.

use super::failure::{ExitCode, Failure};
use super::instance::{find, near_path};
use super::options::{ColorMode, Target};
use super::out::{self, Out};
use crate::control::{AskError, Instance, Limits, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::os::clock::Clock;
use crate::spec::tree::{ChildSpec, TreeSpec};
use crate::time::{Span, Time};
use crate::wire::message::{Outcome, Refusal, Reply, Verb as Asked};
use std::path::PathBuf;

/// A requested change, and how it is reported.
pub(super) struct Change<'a> {
    /// As in "cannot stop /web": "stop".
    pub(super) verb: &'static str,
    pub(super) path: &'a Path,
    pub(super) asked: Asked,
    pub(super) timeout: Span,
    /// The change ends the instance, so the end of the instance is its success.
    pub(super) ends_instance: bool,
}

/// Limit for the first reply. A root that runs normally replies at once.
pub(super) const FIRST_REPLY: Span = Span::from_secs(5);

/// How long the root may take to exit after its last reply.
pub(super) const GONE_WITHIN: Span = Span::from_secs(5);

/// How much longer to wait for a root that does not answer, as it may just be exiting.
const ONCE_MORE: Span = Span::from_secs(1);

/// Progress is reported only for work that takes longer than this.
pub(super) const WORTH_TELLING: Span = Span::from_millis(900);

/// Requests the change and waits until it is carried out. Returns the details that the root reports.
pub(super) fn carry_out(change: Change<'_>, instance: &Instance, when: ColorMode) -> Result<String, Failure> {
    carry_out_with(change, instance, &mut progress_on_stderr(when))
}

/// Prints what is being waited for, each text once, if it takes long.
pub(super) fn progress_on_stderr(when: ColorMode) -> impl FnMut(&str, Span) {
    let mut said: Option<String> = None;
    move |waiting_for, since| {
        if since >= WORTH_TELLING && said.as_deref() != Some(waiting_for) {
            out::say(when, waiting_for);
            said = Some(waiting_for.to_owned());
        }
    }
}

/// As [`carry_out`], with another recipient for its progress.
pub(super) fn carry_out_with(
    change: Change<'_>,
    instance: &Instance,
    progress: &mut dyn FnMut(&str, Span),
) -> Result<String, Failure> {
    let Change { verb, path, asked, timeout, ends_instance } = change;
    let failed = |error| ask_failed(verb, path, instance, error);
    let (clock, end) = (Clock::start(), Time::ZERO + timeout);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let limits = Limits { first: FIRST_REPLY.min(timeout), overall: timeout };
    let reply = session.ask(asked, limits, progress);
    let detail = match reply {
        Ok(Reply::Done { outcome: Outcome::Ok, detail }) => detail,
        Ok(Reply::Done { outcome, detail }) => return Err(failed(AskError::Failed { outcome, detail })),
        Ok(_) => return Err(failed(AskError::something_else())),
        Err(AskError::Gone) if ends_instance => String::new(),
        Err(error) => return Err(failed(error)),
    };
    if !ends_instance {
        return Ok(detail);
    }
    let name = &instance.name;
    let (message, hint) = match wait_gone(&mut session, &clock, end, progress) {
        Left::Nothing => return Ok(detail),
        Left::Hooks => (
            format!("\"{name}\" has ended, but not its hooks within {}: its root stays for them", timeout.coarse()),
            "it goes on, for a minute at most; wait longer with --timeout, or look at `treevisor status`".to_owned(),
        ),
        Left::Lock => (
            format!("\"{name}\" has ended, but its lock is still held"),
            format!("clear it away with `treevisor panic --force -i {name} /`"),
        ),
    };
    Err(Failure::new(ExitCode::NoAnswer, message).hint(hint))
}

/// What still runs of an instance whose tree has ended.
enum Left {
    Nothing,
    /// The root still answers: it waits for its hooks.
    Hooks,
    /// A root that does not answer holds the lock.
    Lock,
}

/// Waits until nothing of the instance is left. A root whose tree has ended waits for its hooks and answers meanwhile;
/// it is waited for until `end`.
fn wait_gone(session: &mut Session, clock: &Clock, end: Time, progress: &mut dyn FnMut(&str, Span)) -> Left {
    let since = clock.now();
    // Unless there are hooks, the root exits soon.
    while !session.wait_gone(GONE_WITHIN.min(end.since(clock.now())).max(ONCE_MORE)) {
        let limits = Limits { first: FIRST_REPLY, overall: FIRST_REPLY };
        match session.ask(Asked::Ping, limits, &mut |_, _| {}) {
            Ok(_) => {}
            // Another root of this instance may have been started already.
            Err(AskError::Gone) => return Left::Nothing,
            Err(_) => return if session.wait_gone(ONCE_MORE) { Left::Nothing } else { Left::Lock },
        }
        let now = clock.now();
        if now >= end {
            return Left::Hooks;
        }
        progress("the tree has ended; its root stays for its hooks", now.since(since));
    }
    Left::Nothing
}

/// Turns an error of a session into a failure, with advice.
pub(super) fn ask_failed(verb: &str, path: &Path, instance: &Instance, error: AskError) -> Failure {
    let name = &instance.name;
    let message = format!("cannot {verb} {path} of \"{name}\": {}", Chain(&error));
    let force = || {
        let killed = if path.is_root() { "the whole instance" } else { path.as_str() };
        format!("the root may be hung or stopped; `treevisor panic --force -i {name} {path}` kills {killed} without it")
    };
    match error {
        AskError::Link(_) | AskError::Runtime(_) | AskError::NotUnderstood(_) => {
            Failure::new(ExitCode::Failed, message)
        }
        AskError::Gone => Failure::new(ExitCode::NoInstance, message),
        AskError::Cut => Failure::new(ExitCode::NoAnswer, message)
            .hint(format!("`treevisor hosts` shows the links, and `treevisor status -i {name}` what became of it")),
        AskError::ReaderLeft => Failure::reader_left(),
        AskError::NoAnswer { .. } | AskError::FellSilent { .. } => {
            Failure::new(ExitCode::NoAnswer, message).hint(force())
        }
        AskError::NotDone { .. } => Failure::new(ExitCode::NoAnswer, message)
            .hint("it goes on; wait longer with --timeout, or look at `treevisor status`"),
        AskError::Refused { why, .. } => match why {
            Refusal::NoSuchPath => match near_path(path, instance) {
                Some(near) => Failure::new(ExitCode::NoPath, message).hint(format!("did you mean {near}?")),
                None => Failure::new(ExitCode::NoPath, message).hint("`treevisor status` shows the paths of the tree"),
            },
            Refusal::NoAnswer => Failure::new(ExitCode::NoAnswer, message),
            Refusal::NotUnderstood => Failure::new(ExitCode::Usage, message)
                .hint("the root is of another version than this tool; `treevisor --version` shows this one's"),
            Refusal::Down
            | Refusal::NotAllowed
            | Refusal::Busy
            | Refusal::Changed
            | Refusal::Full
            | Refusal::Forgotten => Failure::new(ExitCode::Failed, message),
        },
        AskError::Failed { outcome: Outcome::StartFailed, detail } if verb == "reload" => {
            Failure::new(ExitCode::Failed, format!("\"{name}\" is reloaded, but for this: {detail}")).hint(
                "it is down, and all else is done; correct the file and reload again, or `treevisor restart PATH`",
            )
        }
        AskError::Failed { outcome: Outcome::RolloutStopped, detail } if verb == "reload" => {
            Failure::new(ExitCode::Failed, format!("\"{name}\" is reloaded in part: {detail}"))
                .hint("`treevisor reload` continues, `treevisor reload --abort` goes back")
        }
        AskError::Failed { outcome: Outcome::RolloutStopped, detail } => {
            Failure::new(ExitCode::Failed, format!("{path} of \"{name}\": {detail}"))
                .hint(format!("`treevisor why {path}-N` shows more of one; then `treevisor restart --rolling {path}`"))
        }
        AskError::Failed { outcome: Outcome::Overtaken, .. } if verb == "reload" => {
            Failure::new(ExitCode::Failed, message).hint("`treevisor reload --plan` shows what is still to be done")
        }
        AskError::Failed { outcome: Outcome::NotFound, .. } => Failure::new(ExitCode::NoPath, message),
        AskError::Failed { .. } => Failure::new(ExitCode::Failed, message),
    }
}

/// The spec of the running tree, and the file that it was read from.
pub(super) fn running_tree(
    session: &mut Session,
    verb: &str,
    instance: &Instance,
    timeout: Span,
) -> Result<(TreeSpec, PathBuf), Failure> {
    let failed = |error| ask_failed(verb, &Path::root(), instance, error);
    let first = FIRST_REPLY.min(timeout);
    match session.ask(Asked::Spec, Limits { first, overall: first }, &mut |_, _| {}).map_err(failed)? {
        Reply::Spec { tree, config } => {
            let tree = serde_json::from_value(tree).map_err(|e| failed(AskError::NotUnderstood(e.to_string())))?;
            Ok((tree, config))
        }
        _ => Err(failed(AskError::something_else())),
    }
}

/// A child as a message to the tree carries it.
pub(super) fn in_json(child: &ChildSpec) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(child)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot send \"{}\" to the tree: {error}", child.name)))
}

/// The line that reports a completed change.
pub(super) fn done_line(path: &Path, instance: &Instance, word: &str, detail: &str) -> String {
    let what = if path.is_root() { instance.name.to_string() } else { path.to_string() };
    if detail.is_empty() {
        format!("{what} {word}\n")
    } else {
        format!("{what} {word}: {}\n", crate::text::clean(detail))
    }
}

/// Carries out one change at one path, and prints a line when it is done; most verbs do no more. `word` is as in "/web
/// stopped".
pub(super) fn change_one(
    change: Change<'_>,
    word: &str,
    target: &Target,
    when: ColorMode,
) -> Result<ExitCode, Failure> {
    let path = change.path;
    let instance = find(target, change.verb, path)?;
    let detail = carry_out(change, &instance, when)?;
    Out::open().write(&done_line(path, &instance, word, &detail))?;
    Ok(ExitCode::Done)
}
