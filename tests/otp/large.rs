//! Ten thousand children under one supervisor: nothing here may take time that grows with their square, or the test
//! would not end in a second. How each step grows is printed by a test that is run by hand.

use super::script::parse_child;
use nix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::time::Duration;
use treevisor::spec::policy::{Intensity, Strategy, SupervisorPolicy};
use treevisor::supervision::*;
use treevisor::time::{Span, Time};

const MANY: u32 = 10_000;

/// Hands in an event and then whatever an obedient kernel answers to what comes back. Returns how many processes were
/// started and how many ended, and whether it halted.
fn obey(core: &mut Supervisor, now: Time, event: Event) -> (u32, u32, bool) {
    let (mut started, mut ended, mut halted) = (0, 0, false);
    let mut events = VecDeque::from([event]);
    let mut actions = Vec::new();
    while let Some(event) = events.pop_front() {
        core.handle(now, event, &mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Spawn(run) => {
                    started += 1;
                    events.push_back(Event::Spawned { run, pid: started });
                }
                Action::AskToStop(run) => {
                    ended += 1;
                    events.push_back(Event::Exited { run, exit: Exit::Code(0), out_of_memory: false });
                }
                Action::Halt(_) => halted = true,
                _ => {}
            }
        }
    }
    (started, ended, halted)
}

#[test]
fn ten_thousand_children_boot_beat_restart_and_stop() {
    let members = (0..MANY).map(|n| parse_child(&format!("w{n}(beats)"))).collect();
    let policy = SupervisorPolicy { strategy: Strategy::OneForAll, ..SupervisorPolicy::default() };
    let mut core = Supervisor::new(Config { policy, members, uplink: None, node: 1, seed: 1 });
    let mut now = Time::ZERO;
    assert_eq!(obey(&mut core, now, Event::Begin), (MANY, 0, false));
    for _ in 0..10 {
        now += Span::from_millis(900);
        for n in 0..MANY {
            let run = core.run_of(ChildId(n)).expect("it runs");
            assert_eq!(obey(&mut core, now, Event::Beat(run, Box::default())), (0, 0, false));
        }
        assert_eq!(core.next_deadline(), Some(now + Span::from_millis(1_500)));
    }
    let run = core.run_of(ChildId(5_000)).expect("it runs");
    let exit = Event::Exited { run, exit: Exit::Signal(11), out_of_memory: false };
    assert_eq!(obey(&mut core, now, exit), (MANY, MANY - 1, false));
    assert_eq!(obey(&mut core, now, Event::Stop(StopReason::Asked)), (0, MANY, true));
    assert_eq!(core.next_deadline(), None);
}

/// CPU time of this thread: that other programs run meanwhile does not count.
fn cpu_time() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock"))
}

/// What so many children cost, from their start to their stop, step by step.
fn cost_of(many: u32) -> Vec<(&'static str, Duration)> {
    let mut costs = Vec::new();
    let mut step = |name, what: &mut dyn FnMut()| {
        let begin = cpu_time();
        what();
        costs.push((name, cpu_time().saturating_sub(begin)));
    };
    let members: Vec<Member> = (0..many).map(|n| parse_child(&format!("w{n}(beats)"))).collect();
    let intensity = Intensity { max: None, ..Intensity::default() };
    let policy = SupervisorPolicy { intensity, ..SupervisorPolicy::default() };
    let all = SupervisorPolicy { strategy: Strategy::OneForAll, ..policy };
    let of = |members: &[Member], policy| Config { policy, members: members.to_vec(), uplink: None, node: 1, seed: 1 };
    let (mut core, mut group) = (Supervisor::new(of(&members, policy)), Supervisor::new(of(&members, all)));
    let now = Time::ZERO;
    let exit_of = |core: &Supervisor, n| {
        let run = core.run_of(ChildId(n)).expect("it runs");
        Event::Exited { run, exit: Exit::Signal(11), out_of_memory: false }
    };
    let reload = |members: &[Member]| {
        Event::Reloaded(Box::new(Reload {
            request: RequestId(1),
            by: "uid 1".into(),
            generation: 1,
            own: None,
            members: members.to_vec(),
            scope: Scope::All { prune: true },
        }))
    };
    step("boot", &mut || assert_eq!(obey(&mut core, now, Event::Begin), (many, 0, false)));
    step("a beat of each", &mut || {
        for n in 0..many {
            let run = core.run_of(ChildId(n)).expect("it runs");
            obey(&mut core, now, Event::Beat(run, Box::default()));
        }
    });
    step("a restart of each", &mut || {
        for n in 0..many {
            let exit = exit_of(&core, n);
            assert_eq!(obey(&mut core, now, exit), (1, 0, false));
        }
    });
    obey(&mut group, now, Event::Begin);
    step("a restart of all", &mut || {
        let exit = exit_of(&group, many / 2);
        assert_eq!(obey(&mut group, now, exit), (many, many - 1, false));
    });
    step("status of all", &mut || assert_eq!(core.children(now).len(), many as usize));
    step("roll-up", &mut || assert_eq!(core.rollup(now).running, many));
    let (event, half) = (reload(&members[..members.len() / 2]), many / 2);
    step("a reload with half of them", &mut || assert_eq!(obey(&mut core, now, event.clone()), (0, half, false)));
    let event = reload(&members);
    step("a reload with all again", &mut || assert_eq!(obey(&mut core, now, event.clone()), (half, 0, false)));
    step("stop", &mut || assert_eq!(obey(&mut core, now, Event::Stop(StopReason::Asked)), (0, many, true)));
    costs
}

/// How the cost of each step grows: with exponent 1 ten times the children cost ten times the CPU time.
/// `cargo test --release --test otp -- --ignored --nocapture exponents`
#[test]
#[ignore = "a measurement: it prints CPU times and asserts none"]
fn exponents_of_a_hundred_to_ten_thousand_children() {
    let least = |many| {
        let runs: Vec<_> = (0..5).map(|_| cost_of(many)).collect();
        let least_of = |at: usize| runs.iter().map(|run| run[at].1).min().unwrap_or_default();
        (0..runs[0].len()).map(|at| (runs[0][at].0, least_of(at).as_secs_f64())).collect::<Vec<_>>()
    };
    let [few, more, most] = [100, 1_000, MANY].map(least);
    println!("{:28} {:>10} {:>10} {:>10} [ms]   exponents", "least of five", 100, 1_000, MANY);
    for (((name, few), (_, more)), (_, most)) in few.into_iter().zip(more).zip(most) {
        let [a, b, c] = [few, more, most].map(|seconds| seconds * 1e3);
        println!("{name:28} {a:10.3} {b:10.3} {c:10.3}        {:.2} {:.2}", (b / a).log10(), (c / b).log10());
    }
}
