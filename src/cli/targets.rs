//! One change to several children: which ones are meant, doing it to all of them at once, and the sum of it.

use super::change::{Change, FIRST_REPLY, WORTH_TELLING, ask_failed, carry_out, done_line};
use super::failure::{ExitCode, Failure};
use super::instance::{find, near};
use super::options::{Target, When};
use super::out::{self, Out};
use crate::control::many::Step;
use crate::control::{AskError, Instance, Limits, Session};
use crate::ids::Path;
use crate::pattern::Pattern;
use crate::time::Span;
use crate::wire::message::{Outcome, Reply, Verb};
use crate::wire::view::{ChildView, StatusView};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// One or several children.
#[derive(Debug, Clone, Args)]
pub struct Targets {
    /// Paths or patterns: `*` within a name, `**` across levels (quote them)
    #[arg(value_name = "PATH", value_parser = pattern)]
    pub paths: Vec<Pattern>,
    /// All children of the root, each with what is below it
    #[arg(long, conflicts_with = "paths")]
    pub all: bool,
}

impl Targets {
    /// What a failure is about that comes before anything is known of the tree.
    pub fn first(&self) -> Path {
        match self.paths.first() {
            Some(Pattern::Path(path)) => path.clone(),
            Some(Pattern::Glob(_)) | None => Path::root(),
        }
    }
}

/// Reads one, for clap.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text)
}

/// So many changes are under way at one time: enough for supervisors to work side by side, and few enough that each of
/// them is reported every second.
const AT_ONCE: usize = 16;

/// What is meant.
pub(super) enum Resolved {
    /// One path, which was named: the root decides whether there is such a one.
    One(Path),
    /// Several, none of them below another one.
    Several(Vec<Path>),
}

/// Finds out what is meant; the tree is asked for its paths only where that is not plain. With neither paths nor
/// `--all` it is `otherwise`.
pub(super) fn resolve_targets(
    targets: &Targets,
    otherwise: Option<Path>,
    verb: &str,
    instance: &Instance,
    known: impl FnOnce() -> Result<Vec<Path>, Failure>,
) -> Result<Resolved, Failure> {
    match (&targets.paths[..], otherwise) {
        ([Pattern::Path(path)], _) => return Ok(Resolved::One(path.clone())),
        ([], Some(path)) if !targets.all => return Ok(Resolved::One(path)),
        _ => {}
    }
    let known = known()?;
    let mut found = Vec::new();
    if targets.all {
        found.extend(known.iter().filter(|path| path.parent().is_some_and(|above| above.is_root())).cloned());
    }
    for pattern in &targets.paths {
        let before = found.len();
        found.extend(known.iter().filter(|path| pattern.matches(path)).cloned());
        if found.len() == before {
            return Err(nothing_like(pattern, verb, instance, &known));
        }
    }
    let mut found = outermost(&found);
    Ok(if found.len() == 1 { Resolved::One(found.remove(0)) } else { Resolved::Several(found) })
}

/// Nothing is done when one of several is not there: an operator who mistypes one name may have meant all of it
/// otherwise.
fn nothing_like(pattern: &Pattern, verb: &str, instance: &Instance, known: &[Path]) -> Failure {
    let text = pattern.as_str();
    let message =
        format!("cannot {verb} {text} of \"{}\": nothing in this tree is called so; nothing was done", instance.name);
    let failure = Failure::new(ExitCode::NoPath, message);
    let like = match pattern {
        Pattern::Path(path) => near(path, known.iter().cloned()),
        Pattern::Glob(_) => {
            let plain = text.replace(['*', '?', '[', ']'], "");
            // The root is never meant by a pattern.
            let below = known.iter().filter(|path| !path.is_root()).cloned();
            Path::parse(&plain).ok().and_then(|path| near(&path, below))
        }
    };
    match like {
        Some(like) => failure.hint(format!("did you mean {like}?")),
        None => failure.hint("`treevisor status` shows the paths of the tree"),
    }
}

/// The paths without those that stand below another one.
pub(super) fn outermost(paths: &[Path]) -> Vec<Path> {
    let mut kept: Vec<Path> = Vec::new();
    for path in paths {
        if !kept.iter().any(|other| path.is_within(other)) {
            kept.retain(|other| !other.is_within(path));
            kept.push(path.clone());
        }
    }
    kept
}

/// All paths of the tree as it is now: what was added since it began is there, what was removed is not.
fn known_paths(verb: &str, instance: &Instance) -> Result<Vec<Path>, Failure> {
    let root = Path::root();
    let failed = |error| ask_failed(verb, &root, instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let limits = Limits { first: FIRST_REPLY, overall: FIRST_REPLY };
    match session.ask(Verb::status(root.clone()), limits, &mut |_, _| {}).map_err(failed)? {
        Reply::Status { status } => Ok(paths_of(&status)),
        _ => Err(failed(AskError::something_else())),
    }
}

fn paths_of(status: &StatusView) -> Vec<Path> {
    fn walk(view: &ChildView, into: &mut Vec<Path>) {
        match view {
            ChildView::Worker(worker) => into.push(worker.path.clone()),
            ChildView::Supervisor(supervisor) => {
                into.push(supervisor.path.clone());
                supervisor.children.iter().for_each(|child| walk(child, into));
            }
        }
    }
    let mut paths = Vec::new();
    walk(&status.root, &mut paths);
    paths
}

/// A change to whatever is meant.
pub(super) struct Changes<'a> {
    /// As in "cannot stop /web": "stop".
    pub verb: &'static str,
    /// As in "/web stopped": "stopped".
    pub word: &'static str,
    pub asked: &'a dyn Fn(&Path) -> Verb,
    /// For all of them together.
    pub timeout: Span,
    /// Done to the root, it ends the instance.
    pub root_ends: bool,
}

/// Does it to what is meant, prints a line for each that is done, and sums up where there are several. With neither
/// paths nor `--all`, `otherwise` is meant.
pub(super) fn change_targets(
    changes: &Changes<'_>,
    targets: &Targets,
    otherwise: Option<Path>,
    target: &Target,
    when: When,
) -> Result<ExitCode, Failure> {
    let Changes { verb, word, asked, timeout, root_ends } = *changes;
    let instance = find(target, verb, &targets.first())?;
    match resolve_targets(targets, otherwise, verb, &instance, || known_paths(verb, &instance))? {
        Resolved::Several(paths) => carry_out_all(changes, &paths, &instance, when),
        Resolved::One(path) => {
            let ends_instance = root_ends && path.is_root();
            let change = Change { verb, path: &path, asked: asked(&path), timeout, ends_instance };
            let detail = carry_out(change, &instance, when)?;
            Out::open().write(&done_line(&path, &instance, word, &detail))?;
            Ok(ExitCode::Done)
        }
    }
}

/// Does it to all of them, reports each as it is done, and sums up.
fn carry_out_all(changes: &Changes<'_>, paths: &[Path], instance: &Instance, when: When) -> Result<ExitCode, Failure> {
    let Changes { verb, word, asked, timeout, root_ends: _ } = *changes;
    let mut session = Session::connect(&instance.runtime)
        .map_err(|error| ask_failed(verb, paths.first().unwrap_or(&Path::root()), instance, error))?;
    let verbs: Vec<Verb> = paths.iter().map(asked).collect();
    let limits = Limits { first: FIRST_REPLY.min(timeout), overall: timeout };
    let mut sum = Sum::new(paths.len(), word, when);
    session.ask_many(&verbs, limits, AT_ONCE, &mut |at, step, since| {
        let path = &paths[at];
        match step {
            Step::Progress(waiting_for) => sum.progress(at, &waiting_for, since),
            Step::Ended(Ok(Reply::Done { outcome: Outcome::Ok, detail })) => {
                sum.done(&done_line(path, instance, word, &detail));
            }
            Step::Ended(ended) => {
                let error = match ended {
                    Ok(Reply::Done { outcome, detail }) => AskError::Failed { outcome, detail },
                    Ok(_) => AskError::something_else(),
                    Err(error) => error,
                };
                sum.failed(path, &ask_failed(verb, path, instance, error));
            }
        }
    });
    sum.end()
}

/// What has come of several changes so far.
pub(super) struct Sum {
    word: &'static str,
    when: When,
    out: Out,
    /// On a terminal; elsewhere, plain lines report what takes long.
    bar: Option<ProgressBar>,
    said: Vec<Option<String>>,
    done: usize,
    failed: Vec<Path>,
    /// That stdout cannot be written to.
    broken: Option<Failure>,
}

impl Sum {
    pub(super) fn new(count: usize, word: &'static str, when: When) -> Sum {
        let bar = std::io::stderr().is_terminal().then(|| {
            // A template that is wrong would be so in every test.
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}");
            let bar = ProgressBar::new(count as u64);
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Sum { word, when, out: Out::open(), bar, said: vec![None; count], done: 0, failed: Vec::new(), broken: None }
    }

    fn progress(&mut self, at: usize, waiting_for: &str, since: Span) {
        if since < WORTH_TELLING || self.said[at].as_deref() == Some(waiting_for) {
            return;
        }
        self.said[at] = Some(waiting_for.to_owned());
        match &self.bar {
            Some(bar) => bar.set_message(crate::text::clean(waiting_for).into_owned()),
            None => out::say(self.when, waiting_for),
        }
    }

    pub(super) fn done(&mut self, line: &str) {
        self.done += 1;
        let (out, broken) = (&mut self.out, &mut self.broken);
        suspended(self.bar.as_ref(), || {
            if let Err(failure) = out.write(line) {
                broken.get_or_insert(failure);
            }
        });
    }

    pub(super) fn failed(&mut self, path: &Path, failure: &Failure) {
        self.failed.push(path.clone());
        suspended(self.bar.as_ref(), || out::complain(self.when, failure));
    }

    /// The last line, and the exit code of it all.
    pub(super) fn end(mut self) -> Result<ExitCode, Failure> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Some(failure) = self.broken {
            return Err(failure);
        }
        let mut line = format!("{} {}", self.done, self.word);
        if !self.failed.is_empty() {
            let paths: Vec<&str> = self.failed.iter().map(Path::as_str).collect();
            line.push_str(&format!(", {} failed: {}", paths.len(), paths.join(" ")));
        }
        line.push('\n');
        self.out.write(&line)?;
        Ok(if self.failed.is_empty() { ExitCode::Done } else { ExitCode::Failed })
    }
}

/// Writes around the bar, which would otherwise stand in the middle of it.
fn suspended(bar: Option<&ProgressBar>, write: impl FnOnce()) {
    match bar {
        Some(bar) => {
            bar.suspend(write);
            bar.inc(1);
        }
        None => write(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_others_say_nothing_new() {
        let outermost = |texts: &[&str]| {
            let paths: Vec<Path> = texts.iter().map(|text| Path::parse(text).unwrap()).collect();
            super::outermost(&paths).iter().map(Path::to_string).collect::<Vec<_>>()
        };
        assert_eq!(outermost(&["/web/api", "/db", "/web", "/db"]), ["/db", "/web"]);
        assert_eq!(outermost(&["/web", "/webx"]), ["/web", "/webx"]);
        assert_eq!(outermost(&["/a/b", "/"]), ["/"]);
    }
}
