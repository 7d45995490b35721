//! One change for several children: finds the children, changes all of them at once, and prints a summary.

use super::change::{Change, FIRST_REPLY, WORTH_TELLING, ask_failed, carry_out, done_line};
use super::failure::{ExitCode, Failure};
use super::instance::{find, near};
use super::options::{ColorMode, Target};
use super::out::{self, Out};
use crate::control::many::Step;
use crate::control::{AskError, Instance, Limits, Session};
use crate::ids::Path;
use crate::pattern::Pattern;
use crate::time::Span;
use crate::wire::message::{Outcome, Reply, Verb};
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
    /// The path for messages about failures before the tree is known.
    pub fn first(&self) -> Path {
        match self.paths.first() {
            Some(Pattern::Path(path)) => path.clone(),
            Some(Pattern::Glob(_)) | None => Path::root(),
        }
    }

    /// Whether the root is one of them. A pattern never matches it, and it is not below itself.
    pub fn name_the_root(&self) -> bool {
        self.paths.iter().any(|pattern| matches!(pattern, Pattern::Path(path) if path.is_root()))
    }
}

/// Parses a pattern, for clap.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text)
}

/// Most changes under way at a time: enough for supervisors to work in parallel, and few enough that each is reported
/// every second.
const AT_ONCE: usize = 16;

/// The children that the arguments mean.
pub(super) enum Resolved {
    /// One named path; the root reports if it does not exist.
    One(Path),
    /// Several paths, none of them below another one.
    Several(Vec<Path>),
}

/// Resolves the arguments. The root is asked for the paths of the tree only if they are needed. Without paths and
/// `--all` the result is `otherwise`.
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

/// The failure for a pattern without a match. Nothing is changed then, even if other patterns match, as one name may be
/// mistyped.
fn nothing_like(pattern: &Pattern, verb: &str, instance: &Instance, known: &[Path]) -> Failure {
    let text = pattern.as_str();
    let message =
        format!("cannot {verb} {text} of \"{}\": nothing in this tree is called so; nothing was done", instance.name);
    let failure = Failure::new(ExitCode::NoPath, message);
    let like = match pattern {
        Pattern::Path(path) => near(path, known.iter().cloned()),
        Pattern::Glob(_) => {
            let plain = text.replace(['*', '?', '[', ']'], "");
            // A pattern never matches the root.
            let below = known.iter().filter(|path| !path.is_root()).cloned();
            Path::parse(&plain).ok().and_then(|path| near(&path, below))
        }
    };
    match like {
        Some(like) => failure.hint(format!("did you mean {like}?")),
        None => failure.hint("`treevisor status` shows the paths of the tree"),
    }
}

/// The paths without those that are below another one.
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

/// All paths of the present tree, including children that were added since its start, without removed ones.
fn known_paths(verb: &str, instance: &Instance) -> Result<Vec<Path>, Failure> {
    let root = Path::root();
    let failed = |error| ask_failed(verb, &root, instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    let status = session.status(&root, FIRST_REPLY).map_err(failed)?;
    Ok(status.root.all().into_iter().map(|child| child.path().clone()).collect())
}

/// A change for one or several children.
pub(super) struct Changes<'a> {
    /// As in "cannot stop /web": "stop".
    pub verb: &'static str,
    /// As in "/web stopped": "stopped".
    pub word: &'static str,
    pub asked: &'a dyn Fn(&Path) -> Verb,
    /// Limit for all of them together.
    pub timeout: Span,
    /// Whether the change ends the instance if it is for the root.
    pub root_ends: bool,
}

/// Carries out the change for all targets, prints a line for each, and a summary if there are several. Without paths
/// and `--all` the target is `otherwise`.
pub(super) fn change_targets(
    changes: &Changes<'_>,
    targets: &Targets,
    otherwise: Option<Path>,
    target: &Target,
    when: ColorMode,
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

/// Carries out the change for all paths, reports each result as it comes, and prints a summary.
fn carry_out_all(
    changes: &Changes<'_>,
    paths: &[Path],
    instance: &Instance,
    when: ColorMode,
) -> Result<ExitCode, Failure> {
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

/// The results of several changes so far.
pub(super) struct Sum {
    word: &'static str,
    when: ColorMode,
    out: Out,
    /// The progress bar, on a terminal; elsewhere, lines report changes that take long.
    bar: Option<ProgressBar>,
    said: Vec<Option<String>>,
    done: usize,
    failed: Vec<Path>,
    /// The failure to write to stdout, if there was one.
    broken: Option<Failure>,
}

impl Sum {
    pub(super) fn new(count: usize, word: &'static str, when: ColorMode) -> Sum {
        let bar = std::io::stderr().is_terminal().then(|| {
            // The template is constant, so an error in it would show in every test.
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

    /// Prints the summary, and returns the exit code.
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

/// Hides the progress bar while `write` runs, so that it does not mix with the output.
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
    fn the_root_is_meant_by_its_own_path_alone() {
        let name_the_root = |texts: &[&str], all| {
            let paths = texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
            Targets { paths, all }.name_the_root()
        };
        assert!(name_the_root(&["/"], false) && name_the_root(&["/web", "/"], false));
        assert!(!name_the_root(&["/*", "**", "/web"], false) && !name_the_root(&[], true));
    }

    #[test]
    fn the_paths_of_a_tree_come_in_its_order() {
        let status = crate::cli::render::testing::shop();
        let paths: Vec<&str> = status.root.all().into_iter().map(|child| child.path().as_str()).collect();
        assert_eq!(paths, ["/", "/db", "/web", "/web/api", "/web/jobs", "/mail"]);
    }

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
