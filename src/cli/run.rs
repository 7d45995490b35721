//! `treevisor run`: one supervised program without a file.

use super::args::{RestartType, Run, When};
use super::start::{format_of, runtime_of, state_of};
use super::{ExitCode, Failure};
use crate::ids::Name;
use crate::node::boot::{self, RootOptions};
use crate::spec::exec::{BeatSource, ExecSpec};
use crate::spec::policy::{
    AutoShutdown, Backoff, ChildPolicy, Heartbeat, Intensity, Ready, Restart, Shutdown, StopOrder, Strategy,
    SupervisorPolicy,
};
use crate::spec::probe::Probe;
use crate::spec::tree::{ChildKind, ChildSpec, Containment, JournalSpec, SupervisorSpec, TreeSpec};
use crate::time::Span;
use std::path::PathBuf;

/// A beat is due this often where beats are asked for without saying how often.
const INTERVAL: Span = Span::from_secs(1);

/// The first wait of a restart where restarts are unlimited.
const BACKOFF_FIRST: Span = Span::from_millis(100);

/// So many intervals without a beat are a hang, as in a file.
const MISSES: u32 = 3;

pub(super) fn run(args: Run, when: When) -> Result<i32, Failure> {
    let tree = tree(&args)?;
    let runtime = runtime_of(&tree)?;
    Ok(boot::run_root(RootOptions {
        config: PathBuf::new(),
        state: state_of(&tree),
        tree,
        runtime,
        log_level: args.show.log_level.into(),
        log_format: format_of(args.show.log_format, &std::io::stderr(), when),
        output_format: format_of(args.show.log_format, &std::io::stdout(), when),
        show_output: !args.show.no_output,
        ready: None,
        panic_button: args.command_at,
    }))
}

/// The tree that stands for the options: a root with one worker.
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
        // Its end, when it is not to be started again, is ours. A permanent one never ends (R4).
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
        root: SupervisorSpec {
            policy: SupervisorPolicy {
                strategy: Strategy::OneForOne,
                intensity: Intensity { max: args.intensity.0, period: args.period },
                auto_shutdown: if restart == Restart::Permanent {
                    AutoShutdown::Never
                } else {
                    AutoShutdown::AnySignificant
                },
                stop_order: StopOrder::Reverse,
            },
            hooks: crate::spec::tree::Hooks::default(),
            children: vec![ChildSpec { name, policy, kind: ChildKind::Worker(Box::new(exec)), added: false }],
        },
    })
}

/// How long a restart waits. Where nothing else bounds the restarts, a program that cannot run would be started hundreds of
/// times a second for ever; with a bound, waits might keep it from ever being reached, so they are left to who asks.
fn backoff(args: &Run) -> Option<Backoff> {
    let initial = match (args.backoff, args.intensity.0) {
        (Some(initial), _) => Some(initial).filter(|initial| !initial.is_zero()),
        (None, None) => Some(BACKOFF_FIRST),
        (None, Some(_)) => None,
    }?;
    let (max, reset) = (args.backoff_max.max(initial), args.backoff_reset);
    Some(Backoff { initial, max, factor: 2.0, jitter: 0.1, reset })
}

/// Where its beats come from, by the options that say so; without any it is for the spec's default.
fn sources(args: &Run) -> Vec<BeatSource> {
    let notify = args.notify.then_some(BeatSource::Notify);
    let push = args.push.clone().map(BeatSource::Push);
    let asks = args.probe_http.iter().chain(&args.probe_tcp).chain(&args.probe_exec);
    let probes = asks.map(|ask| BeatSource::Probe(Probe { ask: ask.clone(), timeout: args.probe_timeout }));
    notify.into_iter().chain(push).chain(probes).collect()
}

/// A name made of the program's: its last part, with what a name may not hold left out.
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
    use crate::cli::args::{Arguments, Verb};
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
