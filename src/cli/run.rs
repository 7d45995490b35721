//! `treevisor run`: one supervised program without a file.

use super::failure::{ExitCode, Failure};
use super::foreground::{first_line, root_options, runtime_of};
use super::options::{ColorMode, Show, positive_span, span};
use crate::control::StateDir;
use crate::ids::Name;
use crate::node::boot::{self, RootOptions};
use crate::spec::exec::{BeatSource, ExecSpec, StdinSpec};
use crate::spec::policy::{
    AutoShutdown, Backoff, ChildPolicy, Heartbeat, Intensity, Ready, Restart, Shutdown, StartOrder, StopOrder,
    Strategy, SupervisorPolicy,
};
use crate::spec::probe::{Ask, Probe};
use crate::spec::tree::{ChildKind, ChildSpec, Containment, JournalSpec, SupervisorSpec, TreeSpec};
use crate::time::Span;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Supervise one program, without a file
///
/// Starts CMD, and starts it again when it fails, hangs or is panicked. When it ends with success, so does this, with
/// exit code 0.
#[derive(Debug, Args)]
#[command(after_long_help = "\
With --heartbeat the program must beat: by a client library or by `treevisor beat`, unless one of
--notify, --push or --probe-... says how it does. Of several of these any beat counts. It is killed
and started again after that many intervals without a beat. With --command, any message from a
ZeroMQ PUSH socket is a big red button: the program is killed and started again.

--notify is for programs that run under systemd with Type=notify: the start is over with READY=1,
and, with --heartbeat or --misses, WATCHDOG=1 is a beat. A watchdog of 10 seconds (WatchdogSec=10)
is --heartbeat 5s --misses 2.

Examples:
  treevisor run -- ./server --port 8080
  treevisor run --heartbeat 1s --misses 3 --grace 10s -- ./worker
  treevisor run --notify --start-timeout 30s -- redis-server --supervised systemd
  treevisor run --probe-http http://127.0.0.1:8080/health --grace 10s -- ./server --port 8080
  treevisor run --push ipc://heartbeat --command ipc://command -- ./random_app
  treevisor run --intensity 5 --period 1m -- ./server     no more than five restarts a minute
")]
pub struct Run {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
    /// The name of the instance and of the worker; by default the program's, and where such an instance
    /// runs already, NAME-2, NAME-3 ... of the instance
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A beat is due this often; with --push, --probe-... or --misses it is 1s by default, else none is
    /// asked for
    #[arg(long, value_name = "TIME", value_parser = positive_span)]
    pub heartbeat: Option<Span>,
    /// Intervals without a heartbeat until it counts as hung [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub misses: Option<u32>,
    /// The first beat after a start may come this much later
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "0s")]
    pub grace: Span,
    /// Take any message at this ZeroMQ endpoint, such as ipc://heartbeat, for a beat
    #[arg(long, value_name = "ENDPOINT", value_parser = ipc)]
    pub push: Option<String>,
    /// The program uses sd_notify: READY=1 is its readiness, WATCHDOG=1 its heartbeat
    #[arg(long)]
    pub notify: bool,
    /// Health check: GET this URL once an interval; 2xx is a heartbeat. As all probes, it may be repeated
    #[arg(long, value_name = "URL", value_parser = probe_http)]
    pub probe_http: Vec<Ask>,
    /// Health check: connect to this server once an interval; an accepted connection is a heartbeat
    #[arg(long, value_name = "HOST:PORT", value_parser = probe_tcp)]
    pub probe_tcp: Vec<Ask>,
    /// Health check: run this command once an interval; success is a heartbeat. Split into words as by a shell; no
    /// shell runs
    #[arg(long, value_name = "COMMAND", value_parser = probe_exec)]
    pub probe_exec: Vec<Ask>,
    /// How long a probe may take; by default as long as the interval
    #[arg(long, value_name = "TIME", value_parser = positive_span)]
    pub probe_timeout: Option<Span>,
    /// Kill the program when its start, until READY=1, takes longer than this; needs --notify
    #[arg(long, value_name = "TIME", value_parser = positive_span, requires = "notify")]
    pub start_timeout: Option<Span>,
    /// Panic the program at any message at this ZeroMQ endpoint, such as ipc://command
    #[arg(long = "command", id = "button", value_name = "ENDPOINT", value_parser = ipc)]
    pub command_at: Option<String>,
    /// Restart policy: after a failure (transient), after any exit (permanent), never (temporary)
    #[arg(long, value_name = "TYPE", default_value = "transient", hide_possible_values = true)]
    pub restart: RestartType,
    /// Restarts allowed within the period: a number, or "unlimited"
    #[arg(long, value_name = "N", value_parser = intensity, default_value = "unlimited")]
    pub intensity: MaxRestarts,
    /// The period
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "30s")]
    pub period: Span,
    /// The first restart waits this long, each further one twice as long; 0s restarts at once. By default 100ms
    /// where restarts are unlimited, else none
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub backoff: Option<Span>,
    /// A restart waits no longer than this
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "30s")]
    pub backoff_max: Span,
    /// A program that ran at least this long has its next restart after the first wait again
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "10s")]
    pub backoff_reset: Span,
    /// Graceful shutdown: how long the program has to stop before it is killed
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "5s")]
    pub shutdown: Span,
    #[command(flatten)]
    pub show: Show,
}

/// OTP's restart types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum RestartType {
    /// After any end.
    Permanent,
    /// After a failure.
    Transient,
    /// Never.
    Temporary,
}

/// Restarts allowed; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxRestarts(pub Option<u32>);

fn ipc(text: &str) -> Result<String, String> {
    match text.strip_prefix("ipc://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("an endpoint on this machine is expected, such as ipc://heartbeat".into()),
    }
}

fn probe_http(text: &str) -> Result<Ask, String> {
    Ask::http(text).map_err(|error| error.to_string())
}

fn probe_tcp(text: &str) -> Result<Ask, String> {
    Ask::tcp(text).map_err(|error| error.to_string())
}

fn probe_exec(text: &str) -> Result<Ask, String> {
    Ask::exec(text).map_err(|error| error.to_string())
}

fn intensity(text: &str) -> Result<MaxRestarts, String> {
    match text {
        "unlimited" => Ok(MaxRestarts(None)),
        number => match number.parse() {
            Ok(number) => Ok(MaxRestarts(Some(number))),
            Err(_) => Err("a number from 0 on is expected, or \"unlimited\"".into()),
        },
    }
}

/// The default interval of beats, if they are expected at all.
const INTERVAL: Span = Span::from_secs(1);

/// The default of the first backoff delay if restarts are unlimited.
const BACKOFF_FIRST: Span = Span::from_millis(100);

/// The default number of missed intervals that count as a hang, as in a file.
const MISSES: u32 = 3;

pub(super) fn run(args: Run, when: ColorMode) -> Result<i32, Failure> {
    args.show.can_be_written()?;
    Ok(boot::run_root(options(args, when)?))
}

fn options(args: Run, when: ColorMode) -> Result<RootOptions, Failure> {
    let mut tree = tree(&args)?;
    if !std::io::stdin().is_terminal() {
        read_what_we_read(&mut tree);
    }
    Ok(RootOptions {
        another_name: args.name.is_none().then_some(renamed),
        panic_button: args.command_at,
        ..root_options(&args.show, tree, PathBuf::new(), when)?
    })
}

/// The same options with the next name of the instance: `app`, `app-2`, `app-3`. The worker keeps its name.
fn renamed(mut options: RootOptions) -> Option<RootOptions> {
    /// Longer names are cut to leave room for a number.
    const KEPT: usize = Name::MAX_LEN - "-4294967295".len();
    let worker = &options.tree.root.children.first()?.name;
    let kept = &worker.as_str()[..worker.as_str().len().min(KEPT)];
    let number: u32 = match options.tree.name == *worker {
        true => 1,
        false => options.tree.name.as_str().strip_prefix(kept)?.strip_prefix('-')?.parse().ok()?,
    };
    options.tree.name = Name::parse(&format!("{kept}-{}", number + 1)).ok()?;
    options.runtime = runtime_of(&options.tree).ok()?;
    options.state = StateDir::own(&options.tree.name);
    // The instance of the other name runs, so commands have to name this one.
    options.first_line = options.first_line.map(|_| first_line(&options.tree, true));
    Some(options)
}

/// Passes this process's standard input, a pipe or a file, on to the program. A terminal is not passed on: the program
/// is in a session of its own, where job control does not reach it, so after Ctrl-Z it would still read input that is
/// meant for the shell.
fn read_what_we_read(tree: &mut TreeSpec) {
    for child in &mut tree.root.children {
        if let ChildKind::Worker(exec) = &mut child.kind {
            exec.stdin = StdinSpec::Inherit;
        }
    }
}

/// The tree of the options: a root with one worker.
fn tree(args: &Run) -> Result<TreeSpec, Failure> {
    let mut command = Vec::new();
    for word in &args.command {
        let word = word.to_str().ok_or_else(|| {
            Failure::new(ExitCode::Usage, format!("cannot run {}: it is not UTF-8", word.to_string_lossy()))
        })?;
        command.push(word.to_owned());
    }
    let name = match &args.name {
        Some(name) => Name::parse(name)
            .map_err(|error| Failure::new(ExitCode::Usage, format!("cannot use the name \"{name}\": {error}")))?,
        None => name_of(&command[0]),
    };
    let mut exec = ExecSpec::new(command);
    let sources = sources(args);
    let asks = sources.iter().any(|source| matches!(source, BeatSource::Push(_) | BeatSource::Probe(_)));
    let beats = asks || args.heartbeat.is_some() || args.misses.is_some();
    if beats && !sources.is_empty() {
        exec.sources = sources;
    }
    let restart = match args.restart {
        RestartType::Permanent => Restart::Permanent,
        RestartType::Transient => Restart::Transient,
        RestartType::Temporary => Restart::Temporary,
    };
    let policy = ChildPolicy {
        restart,
        // Its final end ends the root. A permanent child never ends for good, and must not be significant (R4).
        significant: restart != Restart::Permanent,
        shutdown: Shutdown::After(args.shutdown),
        heartbeat: beats.then(|| Heartbeat {
            interval: args.heartbeat.unwrap_or(INTERVAL),
            misses: args.misses.unwrap_or(MISSES),
            grace: args.grace,
            progress: false,
        }),
        ready: if args.notify { Ready::Notify } else { Ready::Exec },
        start_timeout: args.start_timeout,
        backoff: backoff(args),
        ..ChildPolicy::default()
    };
    Ok(TreeSpec {
        name: name.clone(),
        containment: Containment::Auto,
        journal: Some(JournalSpec::default()),
        placement: None,
        root: SupervisorSpec {
            policy: SupervisorPolicy {
                strategy: Strategy::OneForOne,
                intensity: Intensity { max: args.intensity.0, period: args.period },
                auto_shutdown: if restart == Restart::Permanent {
                    AutoShutdown::Never
                } else {
                    AutoShutdown::AnySignificant
                },
                start_order: StartOrder::InOrder,
                stop_order: StopOrder::Reverse,
            },
            hooks: crate::spec::tree::Hooks::default(),
            resources: crate::spec::resources::Resources::default(),
            placement: None,
            children: vec![ChildSpec {
                name,
                policy,
                kind: ChildKind::Worker(Box::new(exec)),
                added: false,
                behind: false,
            }],
        },
    })
}

/// The backoff of restarts. Without a limit of restarts, a program that cannot run would be started hundreds of times a
/// second for ever, so there is one by default. With a limit, delays could keep it from ever being reached, so they are
/// used only on request.
fn backoff(args: &Run) -> Option<Backoff> {
    let initial = match (args.backoff, args.intensity.0) {
        (Some(initial), _) => Some(initial).filter(|initial| !initial.is_zero()),
        (None, None) => Some(BACKOFF_FIRST),
        (None, Some(_)) => None,
    }?;
    let (max, reset) = (args.backoff_max.max(initial), args.backoff_reset);
    Some(Backoff { initial, max, factor: 2.0, jitter: 0.1, reset })
}

/// The sources of beats from the options; empty for the spec's default.
fn sources(args: &Run) -> Vec<BeatSource> {
    let notify = args.notify.then_some(BeatSource::Notify);
    let push = args.push.clone().map(BeatSource::Push);
    let asks = args.probe_http.iter().chain(&args.probe_tcp).chain(&args.probe_exec);
    let probes = asks.map(|ask| BeatSource::Probe(Probe { ask: ask.clone(), timeout: args.probe_timeout }));
    notify.into_iter().chain(push).chain(probes).collect()
}

/// A name from the program's path: its last component, without characters that are invalid in names.
fn name_of(program: &str) -> Name {
    let last = program.rsplit('/').next().unwrap_or(program);
    let kept: String = last
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        .take(Name::MAX_LEN)
        .collect();
    Name::parse(&kept).unwrap_or_else(|_| Name::parse("run").expect("it is a name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Arguments, Verb};
    use crate::spec::probe::Ask;
    use clap::Parser;

    fn tree_of(line: &str) -> TreeSpec {
        let words = ["treevisor", "run"].into_iter().chain(line.split(' '));
        let Ok(Arguments { verb: Verb::Run(args), .. }) = Arguments::try_parse_from(words) else { panic!("{line}") };
        tree(&args).unwrap()
    }

    #[test]
    fn by_default_it_is_the_wrapper_that_it_came_from() {
        let tree = tree_of("-- /opt/my+app/worker.py --fast");
        assert_eq!(tree.name.as_str(), "worker.py");
        assert_eq!(tree.root.policy.intensity.max, None);
        assert_eq!(tree.root.policy.auto_shutdown, AutoShutdown::AnySignificant);
        let child = &tree.root.children[0];
        assert_eq!((child.policy.restart, child.policy.significant), (Restart::Transient, true));
        assert_eq!(child.policy.heartbeat, None);
        let ChildKind::Worker(exec) = &child.kind else { panic!() };
        assert_eq!(exec.command, ["/opt/my+app/worker.py", "--fast"]);
        assert_eq!(exec.sources, [BeatSource::Zmq]);
    }

    #[test]
    fn the_first_line_has_the_name_that_it_runs_under() {
        let words = ["treevisor", "run", "./app"];
        let Ok(Arguments { verb: Verb::Run(args), .. }) = Arguments::try_parse_from(words) else { panic!() };
        let first = RootOptions { first_line: Some("top".into()), ..options(args, ColorMode::Never).unwrap() };
        let third = renamed(renamed(first).unwrap()).unwrap();
        assert_eq!(third.tree.name.as_str(), "app-3");
        assert!(third.first_line.unwrap().ends_with(" top -i app-3"));
    }

    #[test]
    fn beats_are_asked_for_by_any_of_their_options() {
        let heartbeat = |line| tree_of(line).root.children[0].policy.heartbeat;
        let default = Heartbeat { interval: INTERVAL, misses: MISSES, grace: Span::ZERO, progress: false };
        assert_eq!(heartbeat("--push ipc://heartbeat ./app"), Some(default));
        assert_eq!(heartbeat("--misses 2 ./app"), Some(Heartbeat { misses: 2, ..default }));
        assert_eq!(
            heartbeat("--heartbeat 200ms --grace 5s ./app"),
            Some(Heartbeat { interval: Span::from_millis(200), grace: Span::from_secs(5), ..default })
        );
    }

    #[test]
    fn what_speaks_sd_notify_is_ready_by_its_word_and_beats_where_beats_are_asked_for() {
        let child = |line| {
            let child = tree_of(line).root.children.remove(0);
            let ChildKind::Worker(exec) = child.kind else { panic!("{line}") };
            (child.policy, exec.sources)
        };
        let (policy, sources) = child("--notify --start-timeout 9s ./app");
        assert_eq!((policy.ready, policy.start_timeout), (Ready::Notify, Some(Span::from_secs(9))));
        assert_eq!((policy.heartbeat, sources), (None, vec![BeatSource::Zmq]));
        let (policy, sources) = child("--notify --heartbeat 5s --misses 2 ./app");
        assert_eq!(policy.heartbeat.map(|promise| promise.limit()), Some(Span::from_secs(10)));
        assert_eq!(sources, [BeatSource::Notify]);
    }

    #[test]
    fn of_several_sources_each_is_taken() {
        let tree = tree_of(
            "--probe-exec pg_isready --probe-tcp localhost:1 --probe-http http://localhost/ --push ipc://p --probe-timeout 2s a",
        );
        let child = &tree.root.children[0];
        assert_eq!(child.policy.heartbeat.map(|promise| promise.interval), Some(INTERVAL));
        assert_eq!(child.policy.ready, Ready::Exec);
        let ChildKind::Worker(exec) = &child.kind else { panic!() };
        let probe = |ask| BeatSource::Probe(Probe { ask, timeout: Some(Span::from_secs(2)) });
        assert_eq!(
            exec.sources,
            [
                BeatSource::Push("ipc://p".into()),
                probe(Ask::http("http://localhost/").unwrap()),
                probe(Ask::tcp("localhost:1").unwrap()),
                probe(Ask::Exec(vec!["pg_isready".into()])),
            ]
        );
    }

    #[test]
    fn a_permanent_program_has_no_end() {
        let tree = tree_of("--restart permanent --intensity 5 --period 1m ./app");
        assert!(!tree.root.children[0].policy.significant);
        assert_eq!(tree.root.policy.auto_shutdown, AutoShutdown::Never);
        assert_eq!(tree.root.policy.intensity, Intensity { max: Some(5), period: Span::from_secs(60) });
    }

    #[test]
    fn restarts_without_a_bound_wait_longer_and_longer() {
        let backoff = |line| tree_of(line).root.children[0].policy.backoff;
        let default = Backoff {
            initial: Span::from_millis(100),
            max: Span::from_secs(30),
            factor: 2.0,
            jitter: 0.1,
            reset: Span::from_secs(10),
        };
        assert_eq!(backoff("./app"), Some(default));
        assert_eq!(backoff("--intensity 5 ./app"), None);
        assert_eq!(backoff("--backoff 0s ./app"), None);
        assert_eq!(
            backoff("--backoff 1m --backoff-reset 5m ./app"),
            Some(Backoff {
                initial: Span::from_secs(60),
                max: Span::from_secs(60),
                reset: Span::from_secs(300),
                ..default
            })
        );
        assert_eq!(
            backoff("--intensity 5 --backoff 1s --backoff-max 4s ./app"),
            Some(Backoff { initial: Span::from_secs(1), max: Span::from_secs(4), ..default })
        );
    }

    #[test]
    fn every_program_makes_a_name() {
        for (program, name) in [("./app", "app"), ("a b", "ab"), ("/", "run"), ("..", "run"), ("é", "run")] {
            assert_eq!(name_of(program).as_str(), name, "{program}");
        }
        assert_eq!(name_of(&"x".repeat(100)).as_str().len(), 64);
    }
}
