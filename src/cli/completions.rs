//! `treevisor completions`, and the completions at each TAB.
//!
//! The script for a shell calls this program at each TAB, with [`ASKED`] in the environment. clap's engine completes
//! verbs, options and files; running instances and their paths are looked up here. A TAB must not be slow: if a root
//! does not answer at once, the tree is read from the instance's file instead.

use super::failure::{ExitCode, Failure};
use super::instance::anywhere;
use super::out::Out;
use crate::control::{self, Instance, Session};
use crate::ids::Path;
use crate::os::process;
use crate::time::Span;
use crate::wire::view::ChildView;
use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::Shells;
use std::any::TypeId;
use std::ffi::{OsStr, OsString};

/// Print a completion script for a shell
///
/// Verbs, options and files are completed, and the paths and instances of what runs just then: the shell asks this
/// program at each TAB. What is printed belongs to this version, so have your shell ask for it anew.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Where to:
  bash  in ~/.bashrc:                  source <(treevisor completions bash)
  zsh   in ~/.zshrc, after compinit:   source <(treevisor completions zsh)
  fish  in ~/.config/fish/config.fish: treevisor completions fish | source

Examples:
  source <(treevisor completions bash)
")]
pub struct Completions {
    /// Which shell: bash, zsh or fish
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub shell: Shell,
}

/// A shell that can complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Shell {
    /// bash(1)
    Bash,
    /// zsh(1)
    Zsh,
    /// fish(1)
    Fish,
}

/// The variable that a shell sets to its name when it asks for completions.
const ASKED: &str = "TREEVISOR_COMPLETE";

/// Limit for the root's answer; a TAB that takes no longer is not noticed.
const LIMIT: Span = Span::from_millis(300);

/// If there are more paths than this, only the next level is shown.
const MANY: usize = 100;

pub(super) fn run(args: Completions) -> Result<ExitCode, Failure> {
    let shell = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    // A program that was called by a path may not be in PATH.
    let called = std::env::args_os().next().is_some_and(|name| name.to_string_lossy().contains('/'));
    let program = if called { process::self_exe_name() } else { "treevisor".into() };
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(shell) {
        shell
            .write_registration(ASKED, "treevisor", "treevisor", &program.to_string_lossy(), &mut script)
            .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot write the completions: {error}")))?;
    }
    Out::open().write(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Done)
}

/// Answers a shell that asks for completions and returns the exit status; `None` if none asks. `program` is the command
/// line for clap.
pub(super) fn answer(arguments: &[OsString], program: fn() -> Command) -> Option<i32> {
    std::env::var_os(ASKED)?;
    let here = std::env::current_dir().ok();
    match CompleteEnv::with_factory(|| command(program)).var(ASKED).try_complete(arguments.to_vec(), here.as_deref()) {
        Ok(true) => Some(ExitCode::Done.number()),
        Ok(false) => None,
        Err(error) => {
            let _ = error.print();
            Some(ExitCode::Usage.number())
        }
    }
}

/// The command line for clap, with completers for paths and instances.
fn command(program: fn() -> Command) -> Command {
    program()
        .mut_args(|arg| completed(arg, program))
        .mut_subcommands(|verb| verb.mut_args(|arg| completed(arg, program)))
}

fn completed(arg: Arg, program: fn() -> Command) -> Arg {
    let id = arg.get_id().as_str();
    if id == "instance" {
        arg.add(ArgValueCompleter::new(instances))
    } else if id == "what" {
        arg.add(ArgValueCompleter::new(files_and_paths))
    } else if arg.get_value_parser().type_id() == TypeId::of::<Path>() || matches!(id, "path" | "paths") {
        arg.add(ArgValueCompleter::new(paths))
    } else if id == "verb" {
        arg.add(ArgValueCompleter::new(move |written: &OsStr| verbs(written, &program())))
    } else {
        arg
    }
}

fn verbs(written: &OsStr, program: &Command) -> Vec<CompletionCandidate> {
    let about = |verb: &Command| verb.get_about().cloned();
    let begun = |verb: &&Command| written.to_str().is_some_and(|written| verb.get_name().starts_with(written));
    program
        .get_subcommands()
        .filter(begun)
        .map(|verb| CompletionCandidate::new(verb.get_name()).help(about(verb)))
        .collect()
}

fn instances(written: &OsStr) -> Vec<CompletionCandidate> {
    let Some(written) = written.to_str() else { return Vec::new() };
    let running = control::running(&control::own_base()).unwrap_or_default();
    running
        .iter()
        .map(|instance| instance.name.as_str())
        .filter(|name| name.starts_with(written))
        .map(CompletionCandidate::new)
        .collect()
}

fn paths(written: &OsStr) -> Vec<CompletionCandidate> {
    let Some(written) = written.to_str() else { return Vec::new() };
    let words: Vec<OsString> = std::env::args_os().collect();
    let Ok(instance) = anywhere(named(&words).as_deref()) else { return Vec::new() };
    matching(known(&instance), written)
        .into_iter()
        .map(|(path, state)| CompletionCandidate::new(path).help((!state.is_empty()).then(|| state.into())))
        .collect()
}

/// Completions for `start`: paths of a running tree, which begin with a slash there, and files.
fn files_and_paths(written: &OsStr) -> Vec<CompletionCandidate> {
    let begins = |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(b"/");
    let mut found: Vec<_> = paths(written).into_iter().filter(begins).collect();
    found.extend(PathCompleter::any().complete(written));
    found
}

/// The instance that the command line or else the environment names.
fn named(words: &[OsString]) -> Option<String> {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    let mut found = None;
    while let Some(word) = words.next() {
        if word == "-i" || word == "--instance" {
            found = words.next().map(|name| name.into_owned()).or(found);
        } else if let Some(name) = word.strip_prefix("--instance=").or_else(|| word.strip_prefix("-i")) {
            found = Some(name.to_owned());
        }
    }
    found.or_else(|| std::env::var("TREEVISOR_INSTANCE").ok()).filter(|name| !name.is_empty())
}

/// All paths of the tree, with their states if the root answers.
fn known(instance: &Instance) -> Vec<(String, String)> {
    let asked = Session::connect(&instance.runtime).and_then(|mut session| session.status(&Path::root(), LIMIT));
    if let Ok(status) = asked {
        let state = |child: &ChildView| match child.is_supervisor() {
            true => format!("{}, a supervisor", child.state()),
            false => child.state().to_owned(),
        };
        return status.root.all().into_iter().map(|child| (child.path().to_string(), state(child))).collect();
    }
    let kept = instance.runtime.read_instance().map(|file| file.tree_paths).unwrap_or_default();
    kept.into_iter().map(|known| (known.path.to_string(), String::new())).collect()
}

/// The paths that begin with `written`, which may lack the leading slash; if there are very many, only the next level.
fn matching(all: Vec<(String, String)>, written: &str) -> Vec<(String, String)> {
    let bare = !written.is_empty() && !written.starts_with('/');
    let shown = |path: String| if bare { path.trim_start_matches('/').to_owned() } else { path };
    let mut found: Vec<_> = all
        .into_iter()
        .map(|(path, state)| (shown(path), state))
        .filter(|(path, _)| path.starts_with(written) && !path.is_empty())
        .collect();
    if found.len() > MANY {
        let next_level = |path: &str| !path[written.len()..].trim_start_matches('/').contains('/');
        found.retain(|(path, _)| next_level(path));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_instance_is_the_one_that_stands_on_the_line() {
        for line in [
            "t -- t status -i shop",
            "t -- t status --instance shop /",
            "t -- t stop --instance=shop",
            "t -- t stop -ishop",
        ] {
            assert_eq!(named(&words(line)).as_deref(), Some("shop"), "{line}");
        }
    }

    #[test]
    fn paths_go_on_from_what_is_written() {
        let all: Vec<_> =
            ["/", "/db", "/web", "/web/api", "/web/jobs-1"].map(|path| (path.to_owned(), String::new())).into();
        let found = |written: &str| -> Vec<String> {
            matching(all.clone(), written).into_iter().map(|(path, _)| path).collect()
        };
        assert_eq!(found(""), ["/", "/db", "/web", "/web/api", "/web/jobs-1"]);
        assert_eq!(found("/web/"), ["/web/api", "/web/jobs-1"]);
        assert_eq!(found("web/a"), ["web/api"]);
        assert_eq!(found("/x"), [""; 0]);
    }

    #[test]
    fn many_come_level_by_level() {
        let mut all = vec![("/".to_owned(), String::new())];
        for group in 0..20 {
            all.push((format!("/g{group}"), String::new()));
            all.extend((0..20).map(|worker| (format!("/g{group}/w{worker}"), String::new())));
        }
        assert_eq!(matching(all.clone(), "").len(), 21);
        assert_eq!(matching(all.clone(), "/g1/").len(), 20);
        assert_eq!(matching(all, "/g1/w1").len(), 11);
    }

    #[test]
    fn every_path_and_instance_completes_itself() {
        let program = <crate::cli::Arguments as clap::CommandFactory>::command;
        for verb in command(program).get_subcommands() {
            for arg in verb.get_arguments() {
                let is_path = arg.get_value_parser().type_id() == TypeId::of::<Path>();
                if is_path || arg.get_id() == "instance" {
                    assert!(arg.get::<ArgValueCompleter>().is_some(), "{} {}", verb.get_name(), arg.get_id());
                }
            }
        }
    }
}
