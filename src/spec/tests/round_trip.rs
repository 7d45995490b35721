//! Round trips to TOML and back, and hostile input.

use super::*;

fn any_name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_.-]{1,12}".prop_filter_map("no name", |text| Name::parse(&text).ok())
}

/// Text as hostile as TOML allows, but for NUL.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "(\\$|\\{|\\}|\"|\\\\|'|\n|\t|\u{1}|\u{7f}|ä|:-|A){0,8}"]
}

fn any_word() -> impl Strategy<Value = String> {
    any_text().prop_filter("empty", |text| !text.is_empty())
}

fn any_command() -> impl Strategy<Value = Vec<String>> {
    (any_word(), vec(any_text(), 0..3)).prop_map(|(program, args)| std::iter::once(program).chain(args).collect())
}

fn any_span() -> impl Strategy<Value = Span> {
    prop_oneof![
        (1u64..100_000).prop_map(Span::from_millis),
        any::<u64>().prop_map(|nanos| Span::from_nanos(nanos.max(1)))
    ]
}

fn any_backoff() -> impl Strategy<Value = Backoff> {
    (any_span(), any_span(), 1.0f64..1000.0, 0.0f64..1.0, any_span())
        .prop_map(|(a, b, factor, jitter, reset)| Backoff { initial: a.min(b), max: a.max(b), factor, jitter, reset })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    (option::of(0..=i64::MAX as u64), option::of(0..=i64::MAX as u64)).prop_map(|(a, b)| {
        let (low, high) =
            (a.unwrap_or(u64::MAX).min(b.unwrap_or(u64::MAX)), a.unwrap_or(u64::MAX).max(b.unwrap_or(u64::MAX)));
        let limit = |n| (n != u64::MAX).then_some(n);
        Limit { soft: limit(low), hard: limit(high) }
    })
}

fn any_resources() -> BoxedStrategy<Resources> {
    fn cap<T: Clone + std::fmt::Debug + 'static>(value: BoxedStrategy<Option<T>>) -> BoxedStrategy<Option<Cap<T>>> {
        option::of((value, any::<bool>()).prop_map(|(value, best_effort)| Cap { value, best_effort })).boxed()
    }
    let amount = || {
        let amount =
            prop_oneof![(1..=i64::MAX as u64).prop_map(Amount::Absolute), (1..=10_000u32).prop_map(Amount::Share)];
        cap(option::of(amount).boxed())
    };
    let weight = || cap((1..=10_000u32).prop_map(Some).boxed());
    (amount(), amount(), cap(option::of(1..100_000_000u32).boxed()), weight(), amount(), weight())
        .prop_map(|(memory_max, memory_high, cpu_max, cpu_weight, pids_max, io_weight)| Resources {
            memory_max,
            memory_high,
            cpu_max,
            cpu_weight,
            pids_max,
            io_weight,
        })
        .boxed()
}

fn any_exec() -> BoxedStrategy<ExecSpec> {
    let ids = (option::of(any_word()), option::of(any_word()), option::of(0u32..=0o777), option::of(-20..=19));
    let signal = (1..=64).prop_filter("not asked with", |n| *n != 9 && *n != 19);
    let limits = btree_map(prop_oneof![Just("nofile".to_owned()), Just("core".to_owned())], any_limit(), 0..3);
    let env = btree_map("[A-Z\"ä. ]{1,5}", any_text(), 0..3);
    let log = prop_oneof![Just(false), Just(true)];
    (any_command(), option::of(any_word()), env, any::<bool>(), ids, (signal, limits), log, any_resources())
        .prop_map(|(command, cwd, env, clear_env, (user, group, umask, nice), (stop_signal, limits), log, max)| {
            ExecSpec {
                cwd: cwd.map(Into::into),
                env,
                clear_env,
                user,
                group,
                umask,
                limits,
                nice,
                stop_signal,
                log: if log { LogSpec::Capture } else { LogSpec::Discard },
                resources: max,
                ..ExecSpec::new(command)
            }
        })
        .boxed()
}

fn any_policy() -> BoxedStrategy<ChildPolicy> {
    let restart = prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)];
    let shutdown =
        prop_oneof![Just(Shutdown::BrutalKill), any_span().prop_map(Shutdown::After), Just(Shutdown::Infinity)];
    let heartbeat = (any_span(), 1u32.., any_span(), any::<bool>())
        .prop_map(|(interval, misses, grace, progress)| Heartbeat { interval, misses, grace, progress });
    (restart, any::<bool>(), shutdown, option::of(heartbeat), option::of(any_span()), option::of(any_backoff()))
        .prop_map(|(restart, significant, shutdown, heartbeat, start_timeout, backoff)| ChildPolicy {
            restart,
            significant: significant && restart != Restart::Permanent,
            shutdown,
            heartbeat,
            start_timeout,
            backoff,
            ..ChildPolicy::default()
        })
        .boxed()
}

fn any_ask() -> BoxedStrategy<Ask> {
    let server = (prop_oneof![Just(None), any::<std::net::IpAddr>().prop_map(Some)], 1u16..)
        .prop_map(|(address, port)| Server { host: address.map_or(Host::Local, Host::Address), port });
    prop_oneof![
        any_command().prop_map(Ask::Exec),
        server.clone().prop_map(Ask::Tcp),
        (server, "/[!-\"$-~]{0,8}").prop_map(|(server, path)| Ask::Http(server, path)),
    ]
    .boxed()
}

/// One written child: a worker, several by a count, or a supervisor.
fn any_children(depth: u32) -> BoxedStrategy<Vec<ChildSpec>> {
    let sources = vec(
        prop_oneof![
            Just(BeatSource::Notify),
            (any_ask(), option::of(any_span())).prop_map(|(ask, timeout)| BeatSource::Probe(Probe { ask, timeout })),
        ],
        0..2,
    );
    let codes = prop_oneof![Just(vec![0]), Just(vec![]), Just(vec![3, 0, 255])];
    let ready = prop_oneof![Just(Ready::Exec), Just(Ready::Heartbeat), Just(Ready::Notify)];
    let worker = (any_name(), any_policy(), any_exec(), sources, codes, ready, 0usize..4, any::<bool>())
        .prop_map(|(name, policy, mut exec, sources, success_codes, ready, count, log)| {
            let mut policy = ChildPolicy { success_codes, ready, ..policy };
            if policy.heartbeat.is_some() {
                exec.sources.extend(sources);
            } else if ready == Ready::Heartbeat {
                policy.ready = Ready::Exec;
            }
            // Group 0 stands for "the next one" until the supervisor is put together.
            policy.group = (count > 0).then_some(0);
            let child = |number: Option<usize>| {
                let mut exec = exec.clone();
                let name = match number {
                    Some(number) => Name::parse(&format!("{name}-{number}")).unwrap(),
                    None => name.clone(),
                };
                if log {
                    exec.log = LogSpec::File { file: format!("/{name}.log").into(), max_size: 7, keep: 1 };
                }
                ChildSpec {
                    name,
                    policy: policy.clone(),
                    kind: ChildKind::Worker(Box::new(exec)),
                    added: false,
                    behind: false,
                }
            };
            if count == 0 { vec![child(None)] } else { (1..=count).map(|number| child(Some(number))).collect() }
        })
        .boxed();
    if depth == 0 {
        return worker.boxed();
    }
    let supervisor = (any_name(), any_policy(), any_supervisor(depth - 1)).prop_map(|(name, policy, below)| {
        let heartbeat = policy.heartbeat.map(|beat| Heartbeat { progress: false, ..beat });
        let policy = ChildPolicy { heartbeat, ..policy };
        vec![ChildSpec { name, policy, kind: ChildKind::Supervisor(Box::new(below)), added: false, behind: false }]
    });
    prop_oneof![2 => worker, 1 => supervisor].boxed()
}

fn any_supervisor(depth: u32) -> BoxedStrategy<SupervisorSpec> {
    let strategy = prop_oneof![Just(Plan::OneForOne), Just(Plan::OneForAll), Just(Plan::RestForOne)];
    let auto =
        prop_oneof![Just(AutoShutdown::Never), Just(AutoShutdown::AnySignificant), Just(AutoShutdown::AllSignificant)];
    let order = (
        prop_oneof![Just(StartOrder::InOrder), Just(StartOrder::Together)],
        prop_oneof![Just(StopOrder::Reverse), Just(StopOrder::Together)],
    );
    let intensity = (option::of(any::<u32>()), any_span()).prop_map(|(max, period)| Intensity { max, period });
    // A member is sometimes left out, as a later `scale` or `remove` would do, so that a row is no whole count.
    let children = vec((any_children(depth), any::<u8>()), 1..4);
    (strategy, intensity, auto, order, vec(option::of(any_command()), 3), any_resources(), children)
        .prop_map(|(strategy, intensity, auto_shutdown, (start_order, stop_order), mut hooks, resources, written)| {
            let mut children: Vec<ChildSpec> = Vec::new();
            for (group, (mut members, left_out)) in (1..).zip(written) {
                if members.len() > 1 && left_out < 40 {
                    members.remove(usize::from(left_out) % members.len());
                }
                for mut child in members {
                    child.policy.group = child.policy.group.map(|_| group);
                    child.policy.significant &= auto_shutdown != AutoShutdown::Never;
                    if children.iter().all(|other| other.name != child.name) {
                        children.push(child);
                    }
                }
            }
            let policy = SupervisorPolicy { strategy, intensity, auto_shutdown, start_order, stop_order };
            let hooks = Hooks {
                on_panic: hooks.pop().flatten(),
                on_escalate: hooks.pop().flatten(),
                on_restart: hooks.pop().flatten(),
            };
            SupervisorSpec { policy, hooks, resources, placement: None, children }
        })
        .boxed()
}

fn is_limited(supervisor: &SupervisorSpec) -> bool {
    supervisor.resources.limit_keys().next().is_some()
        || supervisor.children.iter().any(|child| match &child.kind {
            ChildKind::Worker(exec) => exec.resources.limit_keys().next().is_some(),
            ChildKind::Supervisor(below) => is_limited(below),
        })
}

fn any_tree() -> impl Strategy<Value = TreeSpec> {
    let containment = prop_oneof![Just(Containment::Auto), Just(Containment::Cgroup), Just(Containment::Group)];
    let journal = prop_oneof![
        Just(None),
        Just(Some(JournalSpec::default())),
        (JournalSpec::MAX_SIZE_LEAST..1 << 40, 0u32..1000)
            .prop_map(|(max_size, keep)| Some(JournalSpec { max_size, keep })),
    ];
    (any_name(), containment, journal, any_supervisor(2)).prop_map(|(name, containment, journal, mut root)| {
        // No two workers of a tree share a log file.
        fn own_logs(at: &ids::Path, supervisor: &mut SupervisorSpec) {
            for child in &mut supervisor.children {
                let path = at.child(&child.name);
                match &mut child.kind {
                    ChildKind::Supervisor(below) => own_logs(&path, below),
                    ChildKind::Worker(exec) => {
                        if let LogSpec::File { file, .. } = &mut exec.log {
                            *file = format!("/logs{at}{}", file.display()).into();
                        }
                    }
                }
            }
        }
        own_logs(&ids::Path::root(), &mut root);
        // Where there are limits, there are cgroups.
        let limited = is_limited(&root);
        let containment = if limited { Containment::Auto } else { containment };
        TreeSpec { name, containment, journal, placement: None, root }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back(tree in any_tree()) {
        let text = print::to_toml(&tree);
        let read = parse(&text);
        let errors: Vec<_> = read.errors().map(ToString::to_string).collect();
        prop_assert!(errors.is_empty(), "{errors:#?}\n{text}");
        let again = read.tree.expect("no errors, so a tree");
        prop_assert_eq!(&again, &tree, "{}", text);
        prop_assert_eq!(print::to_toml(&again), text);
    }

    #[test]
    fn no_text_is_too_bad(text in "(\\PC|\n|[\u{0}-\u{20}]|=|\\[|\\]|\"|child|name|command){0,60}") {
        let read = parse(&text);
        for found in &read.diagnostics {
            render(found, found.line % 2 == 0, 80);
        }
        prop_assert!(read.tree.is_some() || read.errors().next().is_some());
    }

    #[test]
    fn no_slip_in_a_good_file_is_too_bad(at in 0usize..2200, cut in 0usize..30, put in "(\\PC|\n|\"|=|\\[|\\]|\\{|\\}|\\$|[0-9]){0,4}") {
        let good = include_str!("../../../tests/data/good/shop.toml").replace("include = \"more.toml\"", "command = \"m\"");
        let border = |at: usize| (0..=at.min(good.len())).rev().find(|at| good.is_char_boundary(*at)).unwrap();
        let (from, to) = (border(at), border(at + cut));
        let text = format!("{}{put}{}", &good[..from], &good[to..]);
        let read = parse(&text);
        for found in &read.diagnostics {
            let shown = render(found, false, 80);
            prop_assert!(!shown.contains("Failed to read contents"), "{shown}");
            prop_assert!(found.line == 0 || found.column > 0);
        }
        prop_assert!(read.tree.is_some() || read.errors().next().is_some());
    }
}
