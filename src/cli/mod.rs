//! The command line as a whole, and the way to its verbs. `docs/cli.md` and the pages below it are the reference.
//!
//! One file for each verb, with its options; no verb imports another. The modules that verbs share are `failure` (how a
//! verb ends), `options`, `instance` (which instance a command means), `change` and `targets` (requesting changes),
//! `foreground` (what a root is started with), `agent` (asking a host), `journal_history`, [`out`] and others.
//!
//! Results go to stdout, everything else to stderr. When stdout has no reader any more (`events -f | head`), a verb
//! ends silently.

pub mod out;
pub mod render;

mod add;
mod agent;
mod beat;
mod beat_for;
mod before_verb;
mod change;
mod check;
mod completions;
mod deploy;
mod events;
mod failure;
mod file;
mod foreground;
mod help;
mod host;
mod hosts;
mod import;
mod init;
mod instance;
mod journal_history;
mod logs;
mod man;
mod metrics;
mod move_to;
mod notify;
mod options;
mod pages;
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
mod timestamp;
mod top;
mod up;
mod upgrade;
mod version;
mod wait;
mod web;
mod why;
mod zone;

use crate::node;
use add::Add;
use beat::Beat;
use check::Check;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use completions::Completions;
use deploy::Deploy;
use events::Events;
use failure::ExitCode;
use help::{Help, Version};
use host::Host;
use hosts::Hosts;
use import::Import;
use init::Init;
use logs::Logs;
use man::Man;
use metrics::Metrics;
use move_to::Move;
use notify::Notify;
use options::ColorMode;
use panic::Panic;
use reload::Reload;
use remove::Remove;
use reset::Reset;
use restart::Restart;
use run::Run;
use scale::Scale;
use schema::Schema;
use signal::Signal;
use start::Start;
use status::Status;
use std::ffi::{OsStr, OsString};
use stop::Stop;
use top::Top;
use upgrade::Upgrade;
use wait::Wait;
use web::Web;
use why::Why;

/// Help is wrapped here at the latest: longer lines are hard to read, and golden texts need one width.
const HELP_WIDTH: usize = 100;

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   the operation failed
  2   wrong usage, or a file with errors
  3   no such instance runs
  4   no such path in the tree
  5   no answer in time
  6   no agent of a host runs here, or the root runs on another host
  10  of start and run: the root gave up, too many restarts came too fast
  11  of start and run: a child could not be started at boot

Environment:
  TREEVISOR_INSTANCE     the instance to talk to, where several run; like --instance
  TREEVISOR_RUNTIME_DIR  where instances are found; by default $XDG_RUNTIME_DIR/treevisor, or
                         /run/treevisor for root, or /tmp/treevisor-UID
  TREEVISOR_STATE_DIR    where the journals are kept; by default /var/lib/treevisor for root, or
                         $XDG_STATE_HOME/treevisor, or ~/.local/state/treevisor
  NO_COLOR               no colours; CLICOLOR_FORCE=1: colours in a pipe too
";

const EXAMPLES: &str = "\
Examples:
  treevisor check supervisors.toml            what does this file mean, and is it right?
  treevisor start                             run supervisors.toml, here, until it is stopped
  treevisor status                            in another terminal: the tree at work
  treevisor top                               the same, live, with keys to act on it
  treevisor events -f                         what happens to it, one line an event
  treevisor why /web/api                      what led to its state, from the first cause on
  treevisor restart /web/api                  restart one child gracefully
  treevisor panic /web                        kill a subtree now; its supervisor restarts it
  treevisor reload --plan                     the file has changed: what would that do?
  treevisor stop                              stop everything, gracefully
  treevisor run --heartbeat 1s -- ./worker    supervise one program without a file
";

/// Supervision trees, as in Erlang/OTP, for ordinary processes.
///
/// A tree is declared in a TOML file. Its supervisors are processes of their own; they start the workers, restart them
/// by OTP's rules when they die or stop beating, and give up to the supervisor above when that does not help.
#[derive(Debug, Parser)]
#[command(
    name = "treevisor",
    version,
    long_version = version::long(),
    max_term_width = HELP_WIDTH,
    after_help = "See `treevisor VERB --help` for more, with examples.",
    after_long_help = format!("{EXAMPLES}\n{EXIT_CODES}"),
    subcommand_value_name = "VERB",
    disable_help_subcommand = true,
    arg_required_else_help = true,
)]
pub struct Arguments {
    /// The subcommand, with its own options.
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would be a heading")]
    pub common: CommonOptions,
}

/// The options that may stand before the verb.
#[derive(Debug, Args)]
pub struct CommonOptions {
    /// The instance to talk to, where several run
    #[arg(short, long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Print JSON; for verbs that read
    #[arg(long)]
    pub json: bool,
    /// Show and read times in UTC; for verbs that show some
    #[arg(long)]
    pub utc: bool,
    /// When to use colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        display_order = 900
    )]
    pub color: ColorMode,
}

/// The verbs. Each is documented at its own type, where its help is.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a doc comment here would take the place of the verb's help")]
pub enum Verb {
    Start(Start),
    Run(Run),
    Check(Check),
    Status(Status),
    Top(Top),
    Logs(Logs),
    Events(Events),
    Why(Why),
    Metrics(Metrics),
    Web(Web),
    Stop(Stop),
    Restart(Restart),
    Panic(Panic),
    Reload(Reload),
    Add(Add),
    Remove(Remove),
    Scale(Scale),
    Upgrade(Upgrade),
    Wait(Wait),
    Hosts(Hosts),
    Deploy(Deploy),
    Host(Host),
    Move(Move),
    Signal(Signal),
    Reset(Reset),
    Beat(Beat),
    Notify(Notify),
    Init(Init),
    Import(Import),
    Schema(Schema),
    Completions(Completions),
    Man(Man),
    Help(Help),
    Version(Version),
}

/// The command line for clap.
fn command() -> Command {
    without_variables(before_verb::grouped(Arguments::command()), &is_empty)
}

/// Whether this variable is set to nothing.
fn is_empty(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// The command line without variables that are empty: they count as unset, while an empty option is wrong usage.
fn without_variables(command: Command, is_empty: &dyn Fn(&OsStr) -> bool) -> Command {
    let unset = |arg: Arg| if arg.get_env().is_some_and(is_empty) { arg.env(None::<&'static str>) } else { arg };
    command.mut_args(unset).mut_subcommands(|verb| without_variables(verb, is_empty))
}

fn parse(arguments: Vec<OsString>) -> Result<Arguments, clap::Error> {
    let arguments = before_verb::behind_the_verb(arguments);
    // What this does not take, such as --help and wrong usage, is for the whole command line.
    let matches = arguments.get(1).and_then(|verb| only(verb.to_str()?)?.try_get_matches_from(&arguments).ok());
    let matches = matches.map_or_else(|| command().try_get_matches_from(&arguments), Ok)?;
    Arguments::from_arg_matches(&matches)
}

/// The command line with this verb alone; `None` for verbs that only people type. To build all verbs takes a
/// millisecond, a quarter of the time in which a small tree starts.
fn only(verb: &str) -> Option<Command> {
    let verb = match verb {
        "start" => Start::augment_args(Command::new("start")),
        "run" => Run::augment_args(Command::new("run")),
        "beat" => Beat::augment_args(Command::new("beat")),
        "notify" => Notify::augment_args(Command::new("notify")),
        _ => return None,
    };
    let program = CommonOptions::augment_args(Command::new("treevisor")).disable_help_subcommand(true);
    Some(without_variables(program.subcommand_required(true).subcommand(verb), &is_empty))
}

/// Does what the command line says, and returns the exit status. `arguments` begins with the program's name.
pub fn run(arguments: Vec<OsString>) -> i32 {
    // The hidden verbs of treevisor's own processes are handled first, so that a node starts without building clap's
    // whole command line.
    match arguments.get(1).and_then(|verb| verb.to_str()) {
        Some("node") => return node::boot::run_node(),
        Some("keeper") => return node::run_keeper(),
        Some(node::REHEARSAL) => return node::run_rehearsal(),
        _ => {}
    }
    if let Some(code) = completions::answer(&arguments, command) {
        return code;
    }
    let arguments = match parse(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap reports help and version as errors too; these go to stdout. Write errors are ignored, as there may
            // be no reader.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::Usage.number() } else { ExitCode::Done.number() };
        }
    };
    let when = arguments.common.color;
    let done = match arguments.verb {
        Verb::Start(args) => start::run(args, when),
        Verb::Run(args) => run::run(args, when),
        Verb::Check(args) => check::run(args, when).map(ExitCode::number),
        Verb::Status(args) => status::run(args, when).map(ExitCode::number),
        Verb::Logs(args) => logs::run(args, when).map(ExitCode::number),
        Verb::Events(args) => events::run(args, when).map(ExitCode::number),
        Verb::Why(args) => why::run(args, when).map(ExitCode::number),
        Verb::Metrics(args) => metrics::run(args).map(ExitCode::number),
        Verb::Web(args) => web::run(args, when).map(ExitCode::number),
        Verb::Stop(args) => stop::run(args, when).map(ExitCode::number),
        Verb::Restart(args) => restart::run(args, when).map(ExitCode::number),
        Verb::Panic(args) => panic::run(args, when).map(ExitCode::number),
        Verb::Reload(args) => reload::run(args, when).map(ExitCode::number),
        Verb::Add(args) => add::run(args, when).map(ExitCode::number),
        Verb::Remove(args) => remove::run(args, when).map(ExitCode::number),
        Verb::Scale(args) => scale::run(args, when).map(ExitCode::number),
        Verb::Upgrade(args) => upgrade::run(args, when).map(ExitCode::number),
        Verb::Hosts(args) => hosts::run(args, when).map(ExitCode::number),
        Verb::Deploy(args) => deploy::run(args, when).map(ExitCode::number),
        Verb::Host(args) => host::run(args, when),
        Verb::Move(args) => move_to::run(args, when).map(ExitCode::number),
        Verb::Wait(args) => wait::run(args, when).map(ExitCode::number),
        Verb::Signal(args) => signal::run(args, when).map(ExitCode::number),
        Verb::Reset(args) => reset::run(args, when).map(ExitCode::number),
        Verb::Beat(args) => beat::run(args),
        Verb::Notify(args) => notify::run(args).map(ExitCode::number),
        Verb::Init(args) => init::run(args, when).map(ExitCode::number),
        Verb::Import(args) => import::run(args, when).map(ExitCode::number),
        Verb::Schema(args) => schema::run(args).map(ExitCode::number),
        Verb::Completions(args) => completions::run(args).map(ExitCode::number),
        Verb::Man(args) => man::run(args, command()).map(ExitCode::number),
        Verb::Help(args) => help::run(args, command()).map(ExitCode::number),
        Verb::Version(args) => help::version(args, &command()).map(ExitCode::number),
        Verb::Top(args) => top::run(args, when).map(ExitCode::number),
    };
    done.unwrap_or_else(|failure| {
        out::complain(when, &failure);
        failure.code
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// clap counts a value of the environment as given, whether or not its user means this verb.
    #[test]
    fn what_a_variable_sets_conflicts_with_nothing() {
        fn walk(command: &clap::Command) {
            for arg in command.get_arguments() {
                for other in command.get_arg_conflicts_with(arg) {
                    let both = format!("{}: {} and {}", command.get_name(), arg.get_id(), other.get_id());
                    assert!(arg.get_env().is_none() && other.get_env().is_none(), "{both}");
                }
            }
            command.get_subcommands().for_each(walk);
        }
        let mut command = Arguments::command();
        command.build();
        walk(&command);
    }

    fn parse(line: &str) -> Result<Verb, String> {
        super::parse(std::iter::once("treevisor").chain(line.split(' ')).map(OsString::from).collect())
            .map(|arguments| arguments.verb)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let variables = |verbs: &[&str], is_empty: &dyn Fn(&OsStr) -> bool| {
            let mut command = &without_variables(Arguments::command(), is_empty);
            for verb in verbs {
                command = command.find_subcommand(verb).unwrap();
            }
            command.get_arguments().filter_map(Arg::get_env).map(OsStr::to_owned).collect::<Vec<_>>()
        };
        let instance = |variable: &OsStr| variable == "TREEVISOR_INSTANCE";
        assert_eq!(variables(&["status"], &|_| false), ["TREEVISOR_INSTANCE"]);
        assert_eq!(variables(&["status"], &instance), [""; 0]);
        assert_eq!(variables(&["host", "check"], &instance), ["TREEVISOR_HOST_FILE"]);
        assert_eq!(variables(&["host", "check"], &|_| true), [""; 0]);
    }

    #[test]
    fn a_verb_alone_is_parsed_as_among_the_others() {
        for verb in ["start", "run", "beat", "notify"] {
            let (all, alone) = (Arguments::command(), only(verb).unwrap());
            // Their place in the list of verbs alone is another.
            let shown = |program: &Command| program.find_subcommand(verb).unwrap().clone().display_order(0);
            assert_eq!(format!("{:?}", shown(&alone)), format!("{:?}", shown(&all)));
        }
        assert!(only("status").is_none());
        for line in [
            "start",
            "start f.toml --detach --color never",
            "run --heartbeat 1s -- ./worker -x",
            "beat --every 1s --while-pid 7",
            "notify --ready",
        ] {
            let words = || std::iter::once("treevisor").chain(line.split(' '));
            let verb = line.split(' ').next().unwrap();
            let shown = |program: Command| {
                let matches = program.try_get_matches_from(words()).unwrap();
                format!("{:?}", Arguments::from_arg_matches(&matches).unwrap())
            };
            assert_eq!(shown(only(verb).unwrap()), shown(Arguments::command()), "{line}");
        }
    }

    #[test]
    fn run_takes_all_that_follows_as_the_program() {
        let Ok(Verb::Run(run)) = parse("run --heartbeat 2s ./app --misses 3 -x") else { panic!() };
        assert_eq!(run.command, ["./app", "--misses", "3", "-x"]);
        assert_eq!(run.heartbeat, Some(Span::from_secs(2)));
        assert_eq!(run.misses, None);
        let Ok(Verb::Run(run)) = parse("run --command ipc://c --push ipc://h -- app") else { panic!() };
        assert_eq!((run.command_at.as_deref(), run.push.as_deref()), (Some("ipc://c"), Some("ipc://h")));
    }

    #[test]
    fn paths_are_taken_with_and_without_the_slash() {
        assert!(parse("restart --all").is_ok() && parse("restart --all /web").is_err());
        for line in ["stop web/api", "stop /web/api", "stop /web/api/"] {
            let Ok(Verb::Stop(stop)) = parse(line) else { panic!("{line}") };
            assert_eq!(stop.targets.first().as_str(), "/web/api");
        }
        let Ok(Verb::Stop(stop)) = parse("stop") else { panic!() };
        assert!(stop.targets.paths.is_empty());
        assert!(parse("panic").is_err());
        assert!(parse("restart").is_err());
        assert!(parse("panic --force --hold /web").is_err());
    }

    #[test]
    fn values_are_checked() {
        for (line, says) in [
            ("stop --timeout 5 /web", "a unit is missing"),
            ("stop --timeout 0s", "longer than 0s"),
            ("stop a//b", "at least one character"),
            ("run --push tcp://x:1 -- a", "an endpoint on this machine"),
            ("run --intensity -1 -- a", "unlimited"),
            ("run --misses 0 -- a", "1.."),
            ("run --probe-http https://x -- a", "plain HTTP"),
            ("run --probe-http http://x.example/ -- a", "looked up"),
            ("run --probe-tcp localhost -- a", "host:port"),
            ("run --probe-exec ' -- a", "not closed"),
            ("run --start-timeout 5s -- a", "--notify"),
            ("start --output x f.toml", "--detach"),
            ("beat --every 1s", "--while-pid"),
            ("beat --while-pid 0", "1.."),
            ("beat --while-pid 1 -- ls", "cannot be used with"),
            ("beat --progress 1 -- ls", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
