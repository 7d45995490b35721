//! Warnings about combinations that are valid and seldom intended, across all levels of the tree.

use super::copies;
use super::exec::{BeatSource, KillMode, StdinSpec};
use super::listen::Address;
use super::placed;
use super::policy::{Backoff, ChildPolicy, Intensity, Ready, Restart, Shutdown, StartOrder, StopOrder, Strategy};
use super::probe::{Ask, Probe, Server};
use super::resources::{Amount, Cap, Resources};
use super::source::{Finding, Findings, Place};
use super::tree::{ChildKind, ChildSpec, SupervisorSpec, TreeSpec};
use crate::ids::Path;
use crate::time::Span;

/// Adds the warnings for a tree without errors.
pub(super) fn lint(tree: &TreeSpec, findings: &mut Findings) {
    let root = Path::root();
    if tree.root.policy.intensity.max == Some(0)
        && let Some(place) = findings.sources.place(&root, "intensity")
    {
        findings.add(
            Finding::warning(
                "intensity-zero",
                place,
                "`intensity = 0` at the top level: the first failure ends the tree",
            )
            .label("no restart allowed")
            .hint("allow some: intensity = 3, period = \"30s\""),
        );
    }
    let mut lint = Lint { findings, inherits: None };
    lint.supervisor(&root, &tree.root);
    placed::lint(&tree.root, findings);
}

struct Lint<'a> {
    findings: &'a mut Findings,
    /// The first worker that inherits treevisor's standard input.
    inherits: Option<Path>,
}

impl Lint<'_> {
    fn supervisor(&mut self, at: &Path, supervisor: &SupervisorSpec) {
        self.restart_storm(at, supervisor);
        for (child, (key, finding)) in copies::shared(&supervisor.children) {
            self.warn(&at.child(&child.name), key, finding);
        }
        self.high_above_max(at, &supervisor.resources);
        let is_temporary = |child: &ChildSpec| child.policy.restart == Restart::Temporary;
        let mut next = 0;
        for (index, child) in supervisor.children.iter().enumerate() {
            let path = at.child(&child.name);
            self.one_miss(&path, &child.policy);
            if let ChildKind::Worker(exec) = &child.kind {
                self.high_above_max(&path, &exec.resources);
            }
            self.slow_probe(&path, child);
            let before = index.checked_sub(1).and_then(|before| supervisor.children[before].policy.group);
            self.endless_rollout(&path, &child.policy, before);
            self.probe_of_held_socket(&path, child);
            self.programs_behind_a_shell(&path, child);
            self.disarmed_window(&path, &child.policy, &supervisor.policy.intensity);
            // The first one behind this child that is not temporary. Looked for once: it is the same for many children.
            next = next.max(index + 1);
            next += supervisor.children.iter().skip(next).take_while(|child| is_temporary(child)).count();
            self.temporary_in_chain(&path, child, supervisor.children.get(next), supervisor.policy.strategy);
            self.one_reader(&path, child);
            if let ChildKind::Supervisor(below) = &child.kind {
                self.stop_times(&path, &child.policy, below);
                self.start_times(&path, &child.policy, below);
                self.supervisor(&path, below);
            }
        }
    }

    /// If several workers read the same input, each line reaches only one of them.
    fn one_reader(&mut self, path: &Path, child: &ChildSpec) {
        let ChildKind::Worker(exec) = &child.kind else { return };
        if exec.stdin != StdinSpec::Inherit {
            return;
        }
        let Some(first) = self.inherits.clone() else {
            self.inherits = Some(path.clone());
            return;
        };
        self.warn(path, "stdin", |place| {
            Finding::warning("shared-stdin", place, format!("{first} and {path} read the same standard input"))
                .label("what one of them has read, the other does not get")
                .hint("let one worker inherit it")
        });
    }

    fn warn(&mut self, path: &Path, key: &str, finding: impl FnOnce(Place) -> Finding) {
        // Only a tree that was not read from text has no places.
        if let Some(place) = self.findings.sources.place_above(path, key) {
            self.findings.add(finding(place));
        }
    }

    /// `memory-high` above `memory-max` never takes effect, as the worker is killed before.
    fn high_above_max(&mut self, path: &Path, resources: &Resources) {
        let of = |cap: Option<Cap<Amount>>| cap.and_then(|cap| cap.value);
        let above = match (of(resources.memory_high), of(resources.memory_max)) {
            (Some(Amount::Absolute(high)), Some(Amount::Absolute(max))) => high >= max,
            (Some(Amount::Share(high)), Some(Amount::Share(max))) => high >= max,
            _ => false,
        };
        if above {
            self.warn(path, "memory-high", |place| {
                Finding::warning("no-effect", place, "`memory-high` has no effect: `memory-max` is reached before")
                    .label("not below `memory-max`")
                    .hint("lower it, so that its processes are slowed down before they are killed")
            });
        }
    }

    /// A deadline below two intervals takes the jitter of one beat for a hang.
    fn one_miss(&mut self, path: &Path, policy: &ChildPolicy) {
        if policy.heartbeat.is_some_and(|beat| beat.misses == 1) {
            self.warn(path, "heartbeat.misses", |place| {
                Finding::warning("tight-heartbeat", place, "`misses = 1`: one late heartbeat counts as a hang")
                    .label("the deadline is one interval")
                    .hint("write misses = 2 or more; a shorter interval detects a hang as fast")
            });
        }
    }

    /// A copy without a bound for its readiness can block a roll-out for ever.
    fn endless_rollout(&mut self, path: &Path, policy: &ChildPolicy, before: Option<u32>) {
        let is_awaited = matches!(policy.ready, Ready::Notify | Ready::Probe);
        let endless = is_awaited && policy.start_timeout.is_none() && policy.heartbeat.is_none();
        if !endless || policy.group.is_none() || policy.group == before {
            return;
        }
        self.warn(path, "ready", |place| {
            Finding::warning(
                "endless-rollout",
                place,
                "a copy that never becomes ready holds a rolling update for ever",
            )
            .label("nothing limits how long this takes")
            .hint("write start-timeout = \"30s\": then the copy has failed, and goes back to its old spec")
        });
    }

    /// A probe whose timeout is as long as the heartbeat's limit leaves no time for a second attempt.
    fn slow_probe(&mut self, path: &Path, child: &ChildSpec) {
        let (ChildKind::Worker(exec), Some(beat)) = (&child.kind, &child.policy.heartbeat) else { return };
        let limit = beat.limit();
        let patience = |source: &BeatSource| match source {
            BeatSource::Probe(probe) => probe.timeout,
            _ => None,
        };
        if let Some(timeout) = exec.sources.iter().filter_map(patience).find(|timeout| *timeout >= limit) {
            self.warn(path, "heartbeat.source", |place| {
                Finding::warning(
                    "slow-probe",
                    place,
                    format!("a probe may take {timeout}, but its worker counts as hung after {limit}"),
                )
                .label("one slow answer counts as a hang")
                .hint("lower `timeout`, or raise `interval` or `misses`")
            });
        }
    }

    /// A TCP probe of a socket that the supervisor holds always succeeds: the kernel accepts connections even if the
    /// worker hangs.
    fn probe_of_held_socket(&mut self, path: &Path, child: &ChildSpec) {
        let ChildKind::Worker(exec) = &child.kind else { return };
        let held = |server: &Server| {
            let addresses = server.addresses().into_iter().map(Address::Tcp);
            addresses.into_iter().any(|at| exec.listen.iter().any(|listen| listen.address.overlaps(&at)))
        };
        let tcp = |probe: &Probe| matches!(&probe.ask, Ask::Tcp(server) if held(server));
        let liveness = |source: &BeatSource| matches!(source, BeatSource::Probe(probe) if tcp(probe));
        // With such a readiness probe, a roll-out takes a release for good that accepts no connections.
        for (key, is_vain) in [
            ("ready", exec.ready_probe.as_ref().is_some_and(|ready| tcp(&ready.probe))),
            ("heartbeat.source", exec.sources.iter().any(liveness)),
        ] {
            if is_vain {
                self.warn(path, key, |place| {
                    let message = "this probe succeeds whatever becomes of the worker";
                    Finding::warning("probe-of-held-socket", place, message)
                        .label("its supervisor holds that socket, and the kernel accepts connections to it")
                        .hint("ask for an answer: { http = \"http://…\" } or { exec = [\"…\"] }")
                });
            }
        }
    }

    /// A shell ends at the stop signal without stopping the programs that it has started.
    fn programs_behind_a_shell(&mut self, path: &Path, child: &ChildSpec) {
        let ChildKind::Worker(exec) = &child.kind else { return };
        let asked_alone = exec.kill_mode == KillMode::Mixed && exec.stop_command.is_none();
        let behind = shell_script(&exec.command).is_some_and(runs_behind);
        if asked_alone && child.policy.shutdown != Shutdown::BrutalKill && behind {
            self.warn(path, "command", |place| {
                Finding::advice("shell-stop", place, "only the shell is asked to stop, not the programs behind it")
                    .label("they are killed when it has ended")
                    .hint("write kill-mode = \"control-group\" to ask all of them, or start the last program by `exec`")
            });
        }
    }

    /// If the backoff delays together are longer than the window, it never contains enough restarts to give up.
    fn disarmed_window(&mut self, path: &Path, policy: &ChildPolicy, intensity: &Intensity) {
        let (Some(backoff), Some(max)) = (&policy.backoff, intensity.max) else { return };
        if policy.restart == Restart::Temporary || max == 0 {
            return;
        }
        let delays = sum_of_delays(backoff, max, intensity.period);
        if delays > intensity.period {
            self.warn(path, "backoff", |place| {
                Finding::warning(
                    "window-disarmed",
                    place,
                    format!(
                        "this backoff keeps the supervisor from ever giving up: {max} delays last longer than its period of {}",
                        intensity.period
                    ),
                )
                .label("retried forever, never escalated")
                .hint("raise the supervisor's `period`, lower its `intensity`, or lower `max` of the backoff")
            });
        }
    }

    /// Without a limit and without a backoff, a program that exits at once is restarted in a tight loop for ever.
    fn restart_storm(&mut self, at: &Path, supervisor: &SupervisorSpec) {
        let storms = |child: &&ChildSpec| {
            let is_worker = matches!(child.kind, ChildKind::Worker(_));
            is_worker && child.policy.restart != Restart::Temporary && child.policy.backoff.is_none()
        };
        let (None, Some(first)) = (supervisor.policy.intensity.max, supervisor.children.iter().find(storms)) else {
            return;
        };
        let name = first.name.as_str();
        if let Some(place) = self.findings.sources.place(at, "intensity") {
            self.findings.add(
                Finding::warning(
                    "restart-storm",
                    place,
                    format!("`intensity = \"unlimited\"` and `{name}` has no `backoff`: a crash loop without pause or end"),
                )
                .label("no limit, no delay")
                .hint("add backoff = { initial = \"100ms\", max = \"30s\" } (in [defaults] for all children), or write a number"),
            );
        }
    }

    /// With `rest-for-one`, later children may depend on a temporary child, which is never restarted. A step is exempt,
    /// as it is done before the next child starts.
    fn temporary_in_chain(&mut self, path: &Path, child: &ChildSpec, next: Option<&ChildSpec>, strategy: Strategy) {
        let (Strategy::RestForOne, Restart::Temporary, Some(next)) = (strategy, child.policy.restart, next) else {
            return;
        };
        if child.policy.ready == Ready::Exit {
            return;
        }
        self.warn(path, "restart", |place| {
            Finding::warning("temporary-in-chain", place, "a temporary child in the middle of a rest-for-one chain")
                .label("never started again (R15, R27)")
                .hint(format!(
                    "`{}` and later children continue without it, and do not wait for its end: for a step, which they \
                     wait for, write ready = \"exit\"; else move it to the end, or make it transient",
                    next.name
                ))
        });
    }

    /// If children may take longer to stop than their supervisor's shutdown timeout, they are killed half-way.
    fn stop_times(&mut self, path: &Path, policy: &ChildPolicy, below: &SupervisorSpec) {
        let Shutdown::After(given) = policy.shutdown else { return };
        let needed = stop_time(below);
        if needed.is_some_and(|needed| needed <= given) {
            return;
        }
        let needed = needed.map_or_else(|| "forever".to_owned(), |needed| format!("up to {needed}"));
        self.warn(path, "shutdown", |place| {
            Finding::warning(
                "stop-times",
                place,
                format!("the children below may take {needed} to stop, but their supervisor has {given}"),
            )
            .label("children that are left by then are killed")
            .hint("write shutdown = \"infinity\" for the supervisor (its default), or give its children less time")
        });
    }

    /// Children that may take longer to start than their supervisor's start timeout.
    fn start_times(&mut self, path: &Path, policy: &ChildPolicy, below: &SupervisorSpec) {
        let Some(given) = policy.start_timeout else { return };
        let needed = start_time(below);
        if needed > given {
            self.warn(path, "start-timeout", |place| {
                Finding::warning(
                    "start-times",
                    place,
                    format!("the children below may take up to {needed} to start, one after the other; their supervisor has {given}"),
                )
                .label("its start may fail although no child's has")
                .hint("raise it above the sum of the children's, or remove it")
            });
        }
    }
}

/// The sum of the first `count` delays; a sum beyond `enough` need not be exact.
fn sum_of_delays(backoff: &Backoff, count: u32, enough: Span) -> Span {
    let mut delay = backoff.initial;
    let mut sum = Span::ZERO;
    for done in 0..count {
        sum += delay;
        if sum > enough {
            break;
        }
        let next = delay.scaled(backoff.factor).min(backoff.max);
        if next == delay {
            // All further delays are the same.
            return sum + delay.times(u64::from(count - done - 1));
        }
        delay = next;
    }
    sum
}

/// The longest time that a graceful shutdown of all children can take; `None` if it is unbounded.
fn stop_time(supervisor: &SupervisorSpec) -> Option<Span> {
    let mut sum = Span::ZERO;
    let mut longest = Span::ZERO;
    let mut group: Option<(u32, Span)> = None;
    for child in &supervisor.children {
        let time = match (&child.policy.shutdown, &child.kind) {
            (Shutdown::BrutalKill, _) => Span::ZERO,
            (Shutdown::After(time), _) => *time,
            (Shutdown::Infinity, ChildKind::Worker(_)) => return None,
            (Shutdown::Infinity, ChildKind::Supervisor(below)) => stop_time(below)?,
        };
        longest = longest.max(time);
        // The copies of one `count` are stopped together.
        group = match (group, child.policy.group) {
            (Some((open, time_of_group)), Some(number)) if open == number => Some((open, time_of_group.max(time))),
            (before, number) => {
                sum += before.map_or(Span::ZERO, |(_, time)| time);
                match number {
                    Some(number) => Some((number, time)),
                    None => {
                        sum += time;
                        None
                    }
                }
            }
        };
    }
    sum += group.map_or(Span::ZERO, |(_, time)| time);
    Some(match supervisor.policy.stop_order {
        StopOrder::Reverse => sum,
        StopOrder::Together => longest,
    })
}

/// The longest time that all starts with a timeout can take together.
fn start_time(supervisor: &SupervisorSpec) -> Span {
    let times = supervisor.children.iter().map(|child| {
        let own = child.policy.start_timeout;
        match &child.kind {
            ChildKind::Worker(_) => own.unwrap_or(Span::ZERO),
            ChildKind::Supervisor(below) => own.unwrap_or_else(|| start_time(below)),
        }
    });
    match supervisor.policy.start_order {
        StartOrder::InOrder => times.fold(Span::ZERO, |sum, time| sum + time),
        StartOrder::Together => times.max().unwrap_or(Span::ZERO),
    }
}

/// The script of `sh -c SCRIPT`.
fn shell_script(command: &[String]) -> Option<&str> {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];
    let [program, flag, script, ..] = command else { return None };
    let name = program.rsplit('/').next().unwrap_or(program);
    let is_script = SHELLS.contains(&name) && flag.starts_with('-') && flag.ends_with('c');
    is_script.then_some(script)
}

/// A script without quoted text and without command substitutions, which have ended when their command begins.
fn own_words(script: &str) -> String {
    let (mut own, mut closers) = (String::new(), Vec::new());
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match (closers.last().copied(), c) {
            (Some('\''), '\\') => {}
            (inner, '\\') => {
                chars.next();
                own.extend(inner.is_none().then_some('_'));
            }
            (Some(closer), _) if c == closer => drop(closers.pop()),
            (Some('\''), _) | (Some('"'), '\'') => {}
            (inner, '$') if chars.next_if_eq(&'(').is_some() => {
                closers.push(')');
                own.extend(inner.is_none().then_some('_'));
            }
            (Some(')'), '(') => closers.push(')'),
            (_, '\'' | '"' | '`') => closers.push(c),
            (None, _) => own.push(c),
            (Some(_), _) => {}
        }
    }
    own
}

/// Built-in commands of the shell, which take no time.
const BUILT_IN: [&str; 7] = ["echo", "exit", "export", "printf", "return", "true", ":"];

/// Whether a script runs programs as children of its shell for long: a pipeline, a background command, or a last
/// command that is not started by `exec`.
fn runs_behind(script: &str) -> bool {
    let simple = own_words(script).replace("&&", ";").replace("||", ";").replace(">&", ">").replace("&>", ">");
    let words: Vec<&str> = simple.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    if words.contains(&"trap") {
        // A script with a trap handles the signal itself.
        return false;
    }
    // In a script with a loop or a condition, the shell itself is the long-running program.
    let in_turn = !["while", "until", "for", "if", "case"].iter().any(|keyword| words.contains(keyword));
    let commands: Vec<&str> = simple.split([';', '\n']).map(str::trim).filter(|command| !command.is_empty()).collect();
    let own =
        |command: &str| !command.contains('|') && BUILT_IN.contains(&command.split(' ').next().unwrap_or_default());
    let Some(last) = commands.iter().rfind(|command| !own(command)) else { return false };
    // Commands before the last one have ended when it runs, unless they are in the background.
    let at_once = simple.contains('&') || last.contains('|');
    at_once || in_turn && commands.len() > 1 && !last.starts_with("exec ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_with_programs_behind_the_shell_are_told_from_others() {
        for script in [
            "a & b; true",
            "a | b",
            "$(a) | b",
            "cd x; ./server",
            "a && b",
            "(a; exec b) | tee c",
            "a\nb",
            "a; exit 1",
            "echo x | a; exit",
        ] {
            assert!(runs_behind(script), "{script}");
        }
        for script in [
            "./server",
            "exec ./server",
            "cd x && exec ./server 2>&1",
            "echo 'a; b | c'",
            "while true; do work; done",
            "trap bye TERM; work & wait",
            "a > b 2>&1; exec c",
            "yes | head -1; exec c",
            "echo 'no such table' >&2; exit 3",
            "exec ./server --id $(hostname | cut -d. -f1)",
            "exec ./server \"$(echo \"a | b\" | c)\" $((1 | (2)))",
            "cd `ls | head -1` && exec ./server",
            "",
        ] {
            assert!(!runs_behind(script), "{script}");
        }
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(shell_script(&words("/bin/sh -ec x")), Some("x"));
        assert_eq!(shell_script(&words("python3 -c x")), None);
    }
}
