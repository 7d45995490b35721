//! The command line: one file a verb, and here what they share. `docs/cli.md` is the reference.
//!
//! A verb returns how it ended, or a [`Failure`], which says what was tried, on what, what is wrong and what to do.
//! Answers go to stdout, everything else to stderr. A reader that leaves (`events -f | head`) ends a verb in silence.

pub mod args;
pub mod out;
pub mod render;

mod accounts;
mod add;
mod beat;
mod beat_for;
mod check;
mod completions;
mod events;
mod file;
mod import;
mod init;
mod logs;
mod man;
mod moment;
mod notify;
mod panic;
mod plan;
mod reload;
mod remove;
mod reset;
mod restart;
mod run;
mod scale;
mod schema;
mod screen;
mod signal;
mod start;
mod status;
mod stop;
mod targets;
mod top;
mod wait;
mod why;

use crate::control::session::AskError;
use crate::control::{self, FindError, Instance, Limits, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::logging::{Format, complaint};
use crate::node;
use crate::time::Span;
use crate::wire::message::{Outcome, Refusal, Reply, Verb as Asked};
use args::{Arguments, Target, Verb, When};
use clap::Parser;
use std::ffi::OsString;

/// What the program's exit status means. The numbers are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// The operation failed.
    Failed = 1,
    /// Wrong usage, or a file with errors.
    Usage = 2,
    /// No such instance runs.
    NoInstance = 3,
    /// No such path in the tree.
    NoPath = 4,
    /// No answer in time.
    NoAnswer = 5,
    /// The root gave up: too many restarts came too fast. Of `start` and `run`; also the exit status of nodes.
    GaveUp = 10,
    /// A child could not be started at boot. Of `start` and `run`; also the exit status of nodes.
    NotStarted = 11,
}

impl ExitCode {
    /// As a number.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// Why a verb came to nothing.
#[derive(Debug)]
pub struct Failure {
    code: i32,
    /// What was tried and what is wrong; empty when there is nothing to say.
    message: String,
    /// What to do.
    hint: Option<String>,
}

impl Failure {
    /// With no hint.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Failure {
        Failure { code: code.number(), message: message.into(), hint: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Tells it as a record of a log in JSON, and leaves nothing to be said.
    fn told_as_log(self) -> Failure {
        let hint = self.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        out::raw_error(&format!("{}\n", complaint(Format::Json, &format!("{}{hint}", self.message))));
        Failure { message: String::new(), hint: None, ..self }
    }

    /// What is wrong, without a word on what to do.
    fn in_a_line(self) -> String {
        self.message
    }

    /// Nobody reads our stdout any more. That is no failure of ours, and nothing to talk about.
    pub fn reader_left() -> Failure {
        Failure::new(ExitCode::Done, "")
    }

    /// All has been said already.
    pub fn said(code: ExitCode) -> Failure {
        Failure::new(code, "")
    }
}

/// Does what the command line says, and returns the exit status. `arguments` begins with the program's name.
pub fn run(arguments: Vec<OsString>) -> i32 {
    // The hidden verbs of our own processes come first: a node that starts need not wait for the whole of the command
    // line to be built up.
    match arguments.get(1).and_then(|verb| verb.to_str()) {
        Some("node") => return node::boot::run_node(),
        Some("keeper") => return node::keeper::run(),
        _ => {}
    }
    if let Some(code) = completions::answer(&arguments) {
        return code;
    }
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are errors too, in clap's eyes; they go to stdout. Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::Usage.number() } else { ExitCode::Done.number() };
        }
    };
    let when = arguments.color;
    let done = match arguments.verb {
        Verb::Start(args) => start::run(args, when),
        Verb::Run(args) => run::run(args, when),
        Verb::Check(args) => check::run(args, when).map(ExitCode::number),
        Verb::Status(args) => status::run(args, when).map(ExitCode::number),
        Verb::Logs(args) => logs::run(args, when).map(ExitCode::number),
        Verb::Events(args) => events::run(args, when).map(ExitCode::number),
        Verb::Why(args) => why::run(args, when).map(ExitCode::number),
        Verb::Stop(args) => stop::run(args, when).map(ExitCode::number),
        Verb::Restart(args) => restart::run(args, when).map(ExitCode::number),
        Verb::Panic(args) => panic::run(args, when).map(ExitCode::number),
        Verb::Reload(args) => reload::run(args, when).map(ExitCode::number),
        Verb::Add(args) => add::run(args, when).map(ExitCode::number),
        Verb::Remove(args) => remove::run(args, when).map(ExitCode::number),
        Verb::Scale(args) => scale::run(args, when).map(ExitCode::number),
        Verb::Wait(args) => wait::run(args, when).map(ExitCode::number),
        Verb::Signal(args) => signal::run(args, when).map(ExitCode::number),
        Verb::Reset(args) => reset::run(args, when).map(ExitCode::number),
        Verb::Beat(args) => beat::run(args),
        Verb::Notify(args) => notify::run(args).map(ExitCode::number),
        Verb::Init(args) => init::run(args, when).map(ExitCode::number),
        Verb::Import(args) => import::run(args, when).map(ExitCode::number),
        Verb::Schema(args) => schema::run(args).map(ExitCode::number),
        Verb::Completions(args) => completions::run(args).map(ExitCode::number),
        Verb::Man(args) => man::run(args).map(ExitCode::number),
        Verb::Top(args) => top::run(args, when).map(ExitCode::number),
    };
    done.unwrap_or_else(|failure| {
        out::complain(when, &failure);
        failure.code
    })
}

/// Finds the instance that is meant. `verb` and `path` are what it is looked for, for the case that there is none.
fn find(target: &Target, verb: &str, path: &Path) -> Result<Instance, Failure> {
    control::find(&control::own_base(), target.instance.as_deref()).map_err(|error| not_found(verb, path, &error))
}

fn not_found(verb: &str, path: &Path, error: &FindError) -> Failure {
    let message = format!("cannot {verb} {path}: {}", Chain(error));
    match error {
        FindError::NoneRuns { .. } => Failure::new(ExitCode::NoInstance, message)
            .hint("start one with `treevisor start FILE`; those of other users are seen by them only"),
        FindError::NotRunning { .. } => Failure::new(ExitCode::NoInstance, message)
            .hint("the name of an instance is that of `name` in its file, or the file's own"),
        FindError::Several { .. } => {
            Failure::new(ExitCode::Usage, message).hint("say which one, with --instance NAME or TREEVISOR_INSTANCE")
        }
        FindError::BadName { .. } | FindError::Runtime(_) => Failure::new(ExitCode::Usage, message),
        FindError::Look { .. } => Failure::new(ExitCode::Failed, message),
    }
}

/// A change that one operator asks for, and how it is told.
struct Change<'a> {
    /// As in "cannot stop /web": "stop".
    verb: &'static str,
    path: &'a Path,
    asked: Asked,
    timeout: Span,
    /// It ends the instance, so that its end is the answer.
    ends_instance: bool,
}

/// The first reply to anything comes at once from a root that runs.
const FIRST_REPLY: Span = Span::from_secs(5);

/// A root that has answered its last request has little left to do.
const GONE_WITHIN: Span = Span::from_secs(5);

/// Work that is done sooner than this is not talked about while it lasts.
const WORTH_TELLING: Span = Span::from_millis(900);

/// Asks for the change, and waits until it is done. Returns what else the root says about it.
fn carry_out(change: Change<'_>, instance: &Instance, when: When) -> Result<String, Failure> {
    let mut said: Option<String> = None;
    carry_out_with(change, instance, &mut |waiting_for, since| {
        if since >= WORTH_TELLING && said.as_deref() != Some(waiting_for) {
            out::say(when, waiting_for);
            said = Some(waiting_for.to_owned());
        }
    })
}

/// The same, with somebody else who hears how it goes.
fn carry_out_with(
    change: Change<'_>,
    instance: &Instance,
    progress: &mut dyn FnMut(&str, Span),
) -> Result<String, Failure> {
    let Change { verb, path, asked, timeout, ends_instance } = change;
    let failed = |error| ask_failed(verb, path, instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let limits = Limits { first: FIRST_REPLY.min(timeout), overall: timeout };
    let reply = session.ask(asked, limits, progress);
    let detail = match reply {
        Ok(Reply::Done { outcome: Outcome::Ok, detail }) => detail,
        Ok(Reply::Done { outcome, detail }) => return Err(failed(AskError::Failed { outcome, detail })),
        Ok(_) => return Err(failed(AskError::NotUnderstood("an answer to something else".into()))),
        Err(AskError::Gone) if ends_instance => String::new(),
        Err(error) => return Err(failed(error)),
    };
    if ends_instance && !session.wait_gone(GONE_WITHIN) {
        let message = format!("\"{}\" has ended, but its lock is still held", instance.name);
        return Err(Failure::new(ExitCode::NoAnswer, message)
            .hint(format!("clear it away with `treevisor panic --force -i {} /`", instance.name)));
    }
    Ok(detail)
}

/// Puts an error of a conversation into words, with what to do about it.
fn ask_failed(verb: &str, path: &Path, instance: &Instance, error: AskError) -> Failure {
    let name = &instance.name;
    let message = format!("cannot {verb} {path} of \"{name}\": {}", Chain(&error));
    let force = || {
        let killed = if path.is_root() { "the whole instance" } else { path.as_str() };
        format!("the root may be hung or stopped; `treevisor panic --force -i {name} {path}` kills {killed} without it")
    };
    match error {
        AskError::Link(_) | AskError::NotUnderstood(_) => Failure::new(ExitCode::Failed, message),
        AskError::Gone => Failure::new(ExitCode::NoInstance, message),
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
                .hint("the root is of another version than this tool; `treevisor --version` tells this one's"),
            Refusal::Down | Refusal::NotAllowed | Refusal::Busy | Refusal::Forgotten => {
                Failure::new(ExitCode::Failed, message)
            }
        },
        AskError::Failed { outcome: Outcome::StartFailed, detail } if verb == "reload" => {
            Failure::new(ExitCode::Failed, format!("\"{name}\" is reloaded, but for this: {detail}")).hint(
                "it is down, and all else is done; correct the file and reload again, or `treevisor restart PATH`",
            )
        }
        AskError::Failed { outcome: Outcome::Overtaken, .. } if verb == "reload" => {
            Failure::new(ExitCode::Failed, message).hint("`treevisor reload --plan` shows what is still to be done")
        }
        AskError::Failed { outcome: Outcome::NotFound, .. } => Failure::new(ExitCode::NoPath, message),
        AskError::Failed { .. } => Failure::new(ExitCode::Failed, message),
    }
}

/// The path of the tree that is most like `path`, if any is.
fn near_path(path: &Path, instance: &Instance) -> Option<Path> {
    near(path, instance.runtime.read_instance().ok()?.tree_paths.into_iter().map(|known| known.path))
}

/// The one of these paths that is most like `path`, if any is.
fn near(path: &Path, known: impl Iterator<Item = Path>) -> Option<Path> {
    /// Below this, two paths have nothing to do with each other.
    const LIKE: f64 = 0.75;
    let like = |other: &Path| {
        let whole = strsim::jaro_winkler(path.as_str(), other.as_str());
        // Whoever forgets the way to a child still knows its name.
        let name = if path.name().is_some() && path.name() == other.name() { 1.0 } else { 0.0 };
        whole.max(name)
    };
    known
        .map(|known| (like(&known), known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}

/// What a change that is done prints: one line, so that who asked for it sees that it was the right thing.
fn done_line(path: &Path, instance: &Instance, word: &str, detail: &str) -> String {
    let what = if path.is_root() { instance.name.to_string() } else { path.to_string() };
    if detail.is_empty() {
        format!("{what} {word}\n")
    } else {
        format!("{what} {word}: {}\n", crate::text::clean(detail))
    }
}
