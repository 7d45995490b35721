//! All small worlds: every supervisor of one to three children, by strategy, restart types, what stood before, which
//! exits and how, against an oracle that has in a few lines which children are stopped and started, in which order,
//! and where all end up.

use super::script::World;

const STRATEGIES: [&str; 3] = ["one-for-one", "one-for-all", "rest-for-one"];
const TYPES: [&str; 3] = ["permanent", "transient", "temporary"];

/// What has become of a child before the exit that is looked at.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Before {
    Up,
    Stopped,
    Ended,
}

const BEFORE: [Before; 3] = [Before::Up, Before::Stopped, Before::Ended];

/// One world.
struct Small {
    strategy: &'static str,
    types: Vec<&'static str>,
    before: Vec<Before>,
}

impl Small {
    fn name(child: usize) -> String {
        ["a", "b", "c"][child].into()
    }

    /// The group that a restart of `child` restarts.
    fn group(&self, child: usize) -> std::ops::Range<usize> {
        match self.strategy {
            "one-for-one" => child..child + 1,
            "one-for-all" => 0..self.types.len(),
            _ => child..self.types.len(),
        }
    }

    /// Whether it comes up when its group is started for `child`.
    fn comes(&self, member: usize, child: usize) -> bool {
        member == child || (self.types[member] != "temporary" && self.before[member] != Before::Stopped)
    }

    /// The world, brought to where the children are as in `before`.
    fn world(&self) -> World {
        let children: Vec<String> =
            self.types.iter().enumerate().map(|(n, restart)| format!("{}({restart})", Small::name(n))).collect();
        let mut world = World::new(&format!("{} 9/30s: {}", self.strategy, children.join(" ")));
        world.boot();
        for (n, before) in self.before.iter().enumerate() {
            let name = Small::name(n);
            match before {
                Before::Up => {}
                Before::Stopped => {
                    world.play(&format!("stop {name}"));
                    world.play(&format!("exit {name} 0"));
                }
                Before::Ended => {
                    world.play(&format!("exit {name} 0"));
                }
            }
        }
        world
    }

    /// Calls `visit` with every world of one to three children. A permanent child never ends, so it is never `Ended`.
    fn each(visit: &mut impl FnMut(Small)) {
        for strategy in STRATEGIES {
            for count in 1..=3usize {
                for shape in 0..9usize.pow(count as u32) {
                    let digit = |n: usize| shape / 9usize.pow(n as u32) % 9;
                    let types: Vec<_> = (0..count).map(|n| TYPES[digit(n) / 3]).collect();
                    let before: Vec<_> = (0..count).map(|n| BEFORE[digit(n) % 3]).collect();
                    let possible = (0..count).all(|n| types[n] != "permanent" || before[n] != Before::Ended);
                    if possible {
                        visit(Small { strategy, types, before });
                    }
                }
            }
        }
    }

    fn describe(&self) -> String {
        format!("{} {:?} {:?}", self.strategy, self.types, self.before)
    }

    fn states(&self, world: &World) -> Vec<&'static str> {
        (0..self.types.len()).map(|n| world.status(&Small::name(n)).state.as_str()).collect()
    }

    fn shown(&self, before: Before) -> &'static str {
        match before {
            Before::Up => "running",
            Before::Stopped => "stopped",
            Before::Ended => "exited",
        }
    }
}

/// Plays an event and then an obedient world: what is asked ends, what is spawned comes up, but for one start that
/// fails. Returns all that the supervisor ordered, in order.
fn obey(world: &mut World, line: &str, mut fails: Option<&str>) -> Vec<String> {
    let mut done = Vec::new();
    let mut todo: std::collections::VecDeque<String> = world.play(line).unwrap_or_default().into();
    while let Some(order) = todo.pop_front() {
        if let Some(name) = order.strip_prefix("ask ") {
            todo.extend(world.play(&format!("exit {name} sig15")).unwrap_or_default());
        } else if let Some(run) = order.strip_prefix("spawn ") {
            let name = run.split('#').next().unwrap_or_default();
            if fails == Some(name) {
                fails = None;
                todo.extend(world.play(&format!("failed {run}")).unwrap_or_default());
            } else {
                todo.extend(world.come_up(run));
            }
        }
        // Which run it is makes no difference to the order.
        done.push(order.split('#').next().unwrap_or_default().to_string());
    }
    done
}

#[test]
fn every_exit_in_every_small_world_has_its_consequence() {
    let mut cases = 0;
    Small::each(&mut |small| {
        for victim in (0..small.types.len()).filter(|&n| small.before[n] == Before::Up) {
            for exit in ["0", "1", "sig9"] {
                let mut world = small.world();
                let found = obey(&mut world, &format!("exit {} {exit}", Small::name(victim)), None);
                let restarted = match small.types[victim] {
                    "permanent" => true,
                    "transient" => exit != "0",
                    _ => false,
                };
                let mut expected = Vec::new();
                let mut states: Vec<_> = small.before.iter().map(|&before| small.shown(before)).collect();
                if restarted {
                    for n in small.group(victim).rev() {
                        if n != victim && small.before[n] == Before::Up {
                            expected.push(format!("ask {}", Small::name(n)));
                            states[n] = "exited";
                        }
                    }
                    for n in small.group(victim).filter(|&n| small.comes(n, victim)) {
                        expected.push(format!("spawn {}", Small::name(n)));
                        states[n] = "running";
                    }
                } else {
                    states[victim] = "exited";
                }
                let case = format!("{}, {} exits with {exit}", small.describe(), Small::name(victim));
                assert_eq!(found, expected, "{case}");
                assert_eq!(small.states(&world), states, "{case}");
                assert_eq!(world.core.window_used(world.now), u32::from(restarted), "{case}");
                cases += 1;
            }
        }
    });
    assert!(cases > 2_000, "only {cases} cases");
}

#[test]
fn every_failed_start_in_every_small_world_is_retried_by_its_strategy() {
    Small::each(&mut |small| {
        for victim in (0..small.types.len()).filter(|&n| small.before[n] == Before::Up) {
            if small.types[victim] == "temporary" {
                continue;
            }
            for fails in small.group(victim).filter(|&n| small.comes(n, victim)) {
                let mut world = small.world();
                let name = Small::name(fails);
                let found = obey(&mut world, &format!("exit {} 1", Small::name(victim)), Some(&name));
                let mut expected = Vec::new();
                for n in small.group(victim).rev().filter(|&n| n != victim && small.before[n] == Before::Up) {
                    expected.push(format!("ask {}", Small::name(n)));
                }
                // The attempt, up to the start that fails (R33) …
                let mut up = Vec::new();
                for n in small.group(victim).filter(|&n| small.comes(n, victim) && n <= fails) {
                    expected.push(format!("spawn {}", Small::name(n)));
                    up.push(n);
                }
                up.pop();
                // … and the retry, whose group begins at the child that failed (R35).
                for &n in up.iter().rev().filter(|n| small.group(fails).contains(n)) {
                    expected.push(format!("ask {}", Small::name(n)));
                }
                for n in small.group(fails).filter(|&n| small.comes(n, fails)) {
                    expected.push(format!("spawn {}", Small::name(n)));
                }
                let case = format!("{}, {} exits, {name} cannot start", small.describe(), Small::name(victim));
                assert_eq!(found, expected, "{case}");
                assert_eq!(world.core.window_used(world.now), 2, "{case}");
            }
        }
    });
}

#[test]
fn every_failed_start_at_boot_stops_in_reverse_what_is_up() {
    for strategy in STRATEGIES {
        for count in 1..=3 {
            for fails in 0..count {
                let names: Vec<String> = (0..count).map(Small::name).collect();
                let mut world = World::new(&format!("{strategy} 9/30s: {}", names.join(" ")));
                let found = obey(&mut world, "begin", Some(&names[fails]));
                let mut expected: Vec<String> = names[..=fails].iter().map(|name| format!("spawn {name}")).collect();
                expected.extend(names[..fails].iter().rev().map(|name| format!("ask {name}")));
                expected.push("halt StartFailed".into());
                assert_eq!(found, expected, "{strategy}, {fails} of {count} fails");
            }
        }
    }
}

#[test]
fn every_small_world_stops_in_reverse() {
    Small::each(&mut |small| {
        let mut world = small.world();
        let found = obey(&mut world, "STOP", None);
        let up = (0..small.types.len()).rev().filter(|&n| small.before[n] == Before::Up);
        let mut expected: Vec<String> = up.map(|n| format!("ask {}", Small::name(n))).collect();
        expected.push("halt Stopped".into());
        assert_eq!(found, expected, "{}", small.describe());
        assert_eq!(world.core.next_deadline(), None);
    });
}

#[test]
fn with_intensity_zero_every_restart_gives_up_and_stops_all() {
    for strategy in STRATEGIES {
        for victim in 0..3 {
            let mut world = World::new(&format!("{strategy} 0/30s: a b c"));
            world.boot();
            let found = obey(&mut world, &format!("exit {} 1", Small::name(victim)), None);
            let mut expected = vec!["escalate".to_string()];
            expected.extend((0..3).rev().filter(|&n| n != victim).map(|n| format!("ask {}", Small::name(n))));
            expected.push("halt GaveUp".into());
            assert_eq!(found, expected, "{strategy}, {victim} exits");
        }
    }
}
