//! Ten thousand children under one supervisor: nothing here may take time that grows with their square, or the test
//! would not end in a second.

use super::script::parse_child;
use std::collections::VecDeque;
use treevisor::spec::policy::{Strategy, SupervisorPolicy};
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
