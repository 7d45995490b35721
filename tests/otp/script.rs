//! The little language of the rule table: a spec in one line, then one event a line with the actions it must lead to.
//!
//! ```text
//! rest-for-one 3/30s: a b(transient) c        the supervisor and its children in start order
//! boot                                         begin, and answer every start until all is quiet
//! exit b 1 : ask c                             an event, and all actions but reports, in order
//! exit c 0 : spawn b#2
//! is a=running b=starting c=starting           states as people see them
//! ends a exit=1 signal=2                       how the processes of a child have ended so far; without a child, of all
//! took 2 1.5s                                  so many restarts were measured, which took so long together
//! ```
//!
//! Everything that touches the core's door is in this file.

use crate::twin::Twin;
use std::collections::BTreeMap;
use treevisor::ids::{Incarnation, Name};
use treevisor::spec::policy::*;
use treevisor::supervision::*;
use treevisor::time::{Span, Time};

/// A supervisor under test, with what a row needs to know of it.
pub(crate) struct World {
    pub(crate) core: Supervisor,
    pub(crate) now: Time,
    pub(crate) reports: Vec<Report>,
    names: BTreeMap<ChildId, String>,
    requests: u64,
    pid: u32,
    /// Is written down and made again after each event.
    pub(crate) twin: Option<Twin>,
    /// What is done to what was written down of it.
    pub(crate) change: fn(&str, String) -> String,
    pub(crate) change_of: String,
    /// What the twin first did otherwise.
    pub(crate) differs: Option<String>,
}

/// Runs one row. An error names the line and the difference.
pub(crate) fn check(spec: &str, script: &str) -> Result<(), String> {
    let mut world = World::new(spec);
    world.twin = Some(Twin::of(&world.core));
    play(&mut world, script)?;
    world.differs.map_or(Ok(()), Err)
}

/// The same with a world that is there.
pub(crate) fn play(world: &mut World, script: &str) -> Result<(), String> {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (words, expected) = match line.split_once(" : ") {
            Some((words, expected)) => (words.trim(), expected.trim()),
            None => (line, ""),
        };
        if let Some(claims) = words.strip_prefix("is ") {
            for claim in claims.split_whitespace() {
                let (name, state) = claim.split_once('=').expect("name=state");
                let found = world.status(name).state.as_str();
                same(line, found, state)?;
            }
            continue;
        }
        if let Some(words) = words.strip_prefix("ends").map(str::trim) {
            let (name, causes) = match words.split_once(' ') {
                Some((name, causes)) if !name.contains('=') => (name, causes),
                _ if words.is_empty() || words.contains('=') => ("", words),
                _ => (words, ""),
            };
            let exits = if name.is_empty() { world.core.exits() } else { world.status(name).exits };
            let found: Vec<String> = exits.iter().map(|(cause, n)| format!("{}={n}", cause.as_str())).collect();
            same(line, &found.join(" "), causes.trim())?;
            continue;
        }
        if let Some(facts) = words.strip_prefix("told").map(str::trim) {
            same(line, &world.told().join(" "), facts)?;
            continue;
        }
        let Some(done) = world.play(words) else { continue };
        same(line, &done.join("; "), expected)?;
    }
    Ok(())
}

fn same(line: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("at \"{line}\"\n  expected: {expected}\n  found:    {found}")) }
}

impl World {
    pub(crate) fn new(spec: &str) -> World {
        let (policy, members, uplink) = parse_spec(spec);
        let names = members.iter().enumerate().map(|(n, m)| (ChildId(n as u32), m.name.to_string())).collect();
        let core = Supervisor::new(Config { policy, members, uplink, node: 7, seed: 7 });
        World {
            core,
            now: Time::ZERO,
            reports: Vec::new(),
            names,
            requests: 0,
            pid: 100,
            twin: None,
            change: |_, text| text,
            change_of: String::new(),
            differs: None,
        }
    }

    pub(crate) fn status(&self, name: &str) -> ChildStatus {
        let id = self.core.find(name).unwrap_or_else(|| panic!("no child {name}"));
        self.core.child(self.now, id).expect("found just now")
    }

    /// The kinds of the reports of the last event, as `kind(child)`.
    fn told(&self) -> Vec<String> {
        let about = |r: &Report| r.child.map(|id| self.name(id)).unwrap_or_default();
        self.reports.iter().map(|report| format!("{}({})", super::fact::kind(&report.fact), about(report))).collect()
    }

    fn name(&self, id: ChildId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| format!("?{}", id.0))
    }

    fn run(&self, word: &str) -> Run {
        let (name, incarnation) = match word.split_once('#') {
            Some((name, n)) => (name, Some(Incarnation(n.parse().expect("an incarnation")))),
            None => (word, None),
        };
        // `a+` is the successor of a, `a-` what it has taken the place of.
        let beside = || self.names.iter().rev().find(|(_, other)| *other == name).map(|(id, _)| *id);
        let child = self.core.find(name).or_else(beside).unwrap_or(ChildId(999));
        let present = self.core.child(self.now, child).map(|c| c.incarnation).unwrap_or_default();
        Run { child, incarnation: incarnation.unwrap_or(present) }
    }

    fn request(&mut self, command: Command) -> Event {
        self.requests += 1;
        Event::Asked { request: RequestId(self.requests), command, by: "uid 1".into(), meant: None }
    }

    fn reload(&mut self, words: &[&str], scope: Option<Scope>) -> Event {
        let mut policy = *self.core.policy();
        let mut prune = false;
        let mut uplink = None;
        let mut members = Vec::new();
        for word in words {
            match *word {
                ":prune" => prune = true,
                "uplink" => uplink = Some(Heartbeat::default()),
                "one-for-one" => policy.strategy = Strategy::OneForOne,
                "one-for-all" => policy.strategy = Strategy::OneForAll,
                "rest-for-one" => policy.strategy = Strategy::RestForOne,
                "auto=any" => policy.auto_shutdown = AutoShutdown::AnySignificant,
                _ => match word.split_once('/') {
                    Some((max, period)) => {
                        policy.intensity.max = Some(max.parse().expect("a number"));
                        policy.intensity.period = Span::parse(period).expect("a span");
                    }
                    None => members.push(parse_child(word)),
                },
            }
        }
        self.requests += 1;
        let own = scope.is_none().then_some(OwnPolicy { policy, uplink });
        Event::Reloaded(Box::new(Reload {
            request: RequestId(self.requests),
            by: "uid 1".into(),
            generation: 1,
            own,
            members,
            scope: scope.unwrap_or(Scope::All { prune }),
        }))
    }

    /// Hands in one event; what comes back is in words, reports apart.
    pub(crate) fn hand_in(&mut self, event: Event) -> Vec<String> {
        let mut actions = Vec::new();
        let copy = self.twin.is_some().then(|| event.clone());
        self.core.handle(self.now, event, &mut actions);
        if let (Some(twin), Some(event)) = (&mut self.twin, copy) {
            let same = twin.handle(self.now, event, &actions, &self.core);
            let again = same.and_then(|()| twin.again(|text| (self.change)(&self.change_of, text)));
            if let Err(difference) = again {
                (self.differs, self.twin) = (Some(difference), None);
            }
        }
        self.reports.clear();
        let mut words = Vec::new();
        for action in actions {
            words.push(match action {
                Action::Spawn(run) => {
                    let name = self.core.member(run.child).map(|m| m.name.to_string()).unwrap_or_default();
                    self.names.entry(run.child).or_insert(name);
                    format!("spawn {}{:?}", self.name(run.child), run.incarnation)
                }
                Action::AskToStop(run) => format!("ask {}", self.name(run.child)),
                Action::Kill(run) => format!("kill {}", self.name(run.child)),
                Action::Detach(run) => format!("detach {}", self.name(run.child)),
                Action::Inspect(run) => format!("look {}", self.name(run.child)),
                Action::Examine(run) => format!("examine {}", self.name(run.child)),
                Action::Abort(run) => format!("abort {}", self.name(run.child)),
                Action::TellParent(ToParent::Ready) => "ready".into(),
                Action::TellParent(ToParent::Beat(_)) => "beat".into(),
                Action::TellParent(ToParent::Escalating { .. }) => "escalate".into(),
                Action::Answer(request, answer) => format!("{}:{}", answer_word(&answer), request.0),
                Action::Forget(child) => format!("forget {}", self.name(child)),
                Action::Beside { child, successor, renewed: _ } => {
                    let name = format!("{}+", self.name(child));
                    self.names.insert(successor, name);
                    continue;
                }
                Action::Succeed(child, successor) => {
                    let name = self.name(child);
                    self.names.insert(child, format!("{name}-"));
                    self.names.insert(successor, name.clone());
                    format!("succeed {name}")
                }
                Action::Halt(end) => format!("halt {end:?}"),
                // The shell's affair.
                Action::Renew(_) | Action::Adopt(_, Adopt::Later | Adopt::Settled) => continue,
                Action::Adopt(child, Adopt::Returned) => format!("return {}", self.name(child)),
                Action::Adopt(child, Adopt::New) => format!("roll {}", self.name(child)),
                Action::Adopt(child, Adopt::Former) => format!("back {}", self.name(child)),
                Action::Report(report) => {
                    self.reports.push(*report);
                    continue;
                }
            });
        }
        words
    }

    /// Plays one line; `None` when its actions are not to be compared.
    pub(crate) fn play(&mut self, line: &str) -> Option<Vec<String>> {
        let mut words = line.split_whitespace();
        let verb = words.next().expect("a verb");
        let rest: Vec<&str> = words.collect();
        let span = |n: usize| Span::parse(rest[n]).unwrap_or_else(|e| panic!("{line}: {e}"));
        let child = |world: &World| world.run(rest[0]).child;
        let mut event = match verb {
            "boot" => {
                self.boot();
                return None;
            }
            "begin" => Event::Begin,
            "spawned" => {
                self.pid += 1;
                Event::Spawned { run: self.run(rest[0]), pid: self.pid }
            }
            "failed" => Event::SpawnFailed { run: self.run(rest[0]), failure: failure() },
            "ready" => Event::Ready(self.run(rest[0])),
            // Its readiness probe is answered, or has failed.
            "answered" => Event::Probed(self.run(rest[0]), Ok(())),
            "unanswered" => Event::Probed(self.run(rest[0]), Err("probe x failed: no".into())),
            "beat" => Event::Beat(self.run(rest[0]), Box::new(beat(&rest[1..]))),
            "says" => Event::Notice(self.run(rest[0]), Box::new(notice(&rest[1..]))),
            "escalating" => {
                Event::Escalating { run: self.run(rest[0]), cause: None, explanation: "it had enough".into() }
            }
            "exit" => Event::Exited {
                run: self.run(rest[0]),
                exit: exit(rest[1]),
                out_of_memory: rest.get(2) == Some(&"oom"),
            },
            // What was to be killed is there; with a second word, its own process has ended like that.
            "stuck" => Event::KillFailed {
                run: self.run(rest[0]),
                exit: rest.get(1).map(|word| exit(word)),
                stuck: Stuck { pid: 17, others: 0, why: "it is stuck in the kernel (state D)".into() },
            },
            "homeless" => Event::NoHost { run: self.run(rest[0]), why: "a: it is being drained".into() },
            "home" => Event::HostThere(child(self)),
            "refused" => Event::StopRefused(self.run(rest[0])),
            "examined" => Event::Examined(self.run(rest[0])),
            "hung" => Event::Inspected(self.run(rest[0]), Inspected::Hung(None)),
            "starved" => Event::Inspected(self.run(rest[0]), Inspected::Starved("it gets no CPU time".into())),
            "debugged" => Event::Inspected(self.run(rest[0]), Inspected::Held("a debugger holds it".into())),
            "unreachable" => {
                let why = "there is no link to its host";
                Event::Inspected(self.run(rest[0]), Inspected::Unreachable(why.into()))
            }
            "stop" => {
                let command = Command::Terminate(child(self));
                self.request(command)
            }
            "restart" => {
                let command = Command::Restart(child(self));
                self.request(command)
            }
            "up" => {
                let command = Command::Up(child(self));
                self.request(command)
            }
            "cycle" => {
                let command = Command::Cycle(child(self));
                self.request(command)
            }
            "delete" => {
                let command = Command::Delete(child(self));
                self.request(command)
            }
            "reset" => {
                let which = (!rest.is_empty()).then(|| child(self));
                self.request(Command::Reset(which))
            }
            "panic" | "hold" => {
                let command = Command::Panic { child: child(self), hold: verb == "hold" };
                self.request(command)
            }
            "add" => {
                let member = parse_child(rest[0]);
                self.request(Command::Start(Box::new(member)))
            }
            "rolling" => {
                let group = rest[0].parse().expect("a number");
                self.request(Command::Roll(group))
            }
            // `reload CHILD …`, with `:prune` or `strategy=WORD` among them; `count N CHILD …`; `remove CHILD`.
            "reload" => self.reload(&rest, None),
            "count" => self.reload(&rest[1..], Some(Scope::Count(rest[0].parse().expect("a number")))),
            "remove" => {
                let child = child(self);
                self.reload(&[], Some(Scope::Child(child)))
            }
            "STOP" => Event::Stop(StopReason::Asked),
            "STRANGER" => Event::Stop(StopReason::Stranger),
            "HANDOVER" => Event::Stop(StopReason::HandOver),
            "NOW" => Event::StopNow,
            "ORPHAN" => Event::ParentLost,
            // Time passes, and the deadlines are looked at.
            "wait" => {
                self.now += span(0);
                Event::Tick { lost: Span::ZERO }
            }
            // Time passes in which the supervisor did not run.
            "lose" => {
                self.now += span(0);
                Event::Tick { lost: span(0) }
            }
            // Time passes between a snapshot and what goes on with it.
            "resume" => {
                self.now += span(0);
                Event::Resumed { lost: span(0) }
            }
            // Time passes without a look.
            "later" => {
                self.now += span(0);
                return None;
            }
            "window" => {
                let used = self.core.window_used(self.now).to_string();
                assert_eq!(used, rest[0], "{line}");
                return None;
            }
            "deadline" => {
                let next = self.core.next_deadline().map(|at| at.since(self.now));
                assert_eq!(next, (rest[0] != "none").then(|| span(0)), "{line}");
                return None;
            }
            "took" => {
                let times = self.core.restart_times();
                assert_eq!((times.count().to_string().as_str(), times.sum()), (rest[0], span(1)), "{line}");
                return None;
            }
            "stale" => {
                assert_eq!(self.core.stale().to_string(), rest[0], "{line}");
                return None;
            }
            _ => panic!("no such line: {line}"),
        };
        // `cycle a#2` is for that incarnation.
        if let Event::Asked { meant, .. } = &mut event {
            *meant = rest.first().and_then(|word| word.split_once('#')).map(|_| self.run(rest[0]).incarnation);
        }
        Some(self.hand_in(event))
    }

    /// Begins, and answers every start as a healthy child would, until nothing is starting.
    pub(crate) fn boot(&mut self) {
        let mut todo = self.hand_in(Event::Begin);
        while let Some(word) = todo.iter().find_map(|word| word.strip_prefix("spawn ")).map(str::to_string) {
            todo = self.come_up(&word);
        }
    }

    /// Answers one start, up to the moment at which it is over.
    pub(crate) fn come_up(&mut self, word: &str) -> Vec<String> {
        let run = self.run(word);
        self.pid += 1;
        let mut done = self.hand_in(Event::Spawned { run, pid: self.pid });
        let member = self.core.member(run.child).expect("it was spawned").clone();
        match (member.kind, member.policy.ready) {
            (Kind::Supervisor, _) | (Kind::Worker, Ready::Notify) => done.extend(self.hand_in(Event::Ready(run))),
            (Kind::Worker, Ready::Heartbeat) => {
                done.extend(self.hand_in(Event::Beat(run, Box::default())));
            }
            (Kind::Worker, Ready::Exec) => {}
            (Kind::Worker, Ready::Probe) => done.extend(self.hand_in(Event::Probed(run, Ok(())))),
            (Kind::Worker, Ready::Exit) => {
                done.extend(self.hand_in(Event::Exited { run, exit: Exit::Code(0), out_of_memory: false }))
            }
        }
        done
    }
}

fn answer_word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Ok => "ok",
        Answer::Running => "running",
        Answer::Restarting => "restarting",
        Answer::NotFound => "not_found",
        Answer::AlreadyPresent => "already_present",
        Answer::AlreadyStarted => "already_started",
        Answer::KillFailed(_) => "kill_failed",
        Answer::StartFailed(_) => "start_failed",
        Answer::RolloutStopped(_) => "rollout_stopped",
        Answer::Overtaken(_) => "overtaken",
    }
}

fn failure() -> StartFailure {
    StartFailure { stage: "exec".into(), errno: 2, message: "executing ./x: No such file or directory".into() }
}

/// `3` is an exit code, `sig9` a signal, `lost` the loss of its host.
pub(crate) fn exit(word: &str) -> Exit {
    match word.strip_prefix("sig") {
        None if word == "lost" => Exit::HostLost,
        Some(signal) => Exit::Signal(signal.parse().expect("a signal")),
        None => Exit::Code(word.parse().expect("a code")),
    }
}

fn beat(words: &[&str]) -> Beat {
    let mut beat = Beat::default();
    for word in words {
        let (key, value) = word.split_once('=').expect("key=value");
        match key {
            "seq" => beat.seq = value.parse().expect("a number"),
            "progress" => beat.progress = Some(value.parse().expect("a number")),
            "pending" => beat.pending = Some(value.parse().expect("a number")),
            "busy" => beat.busy_for = Some(Span::parse(value).expect("a span")),
            _ => panic!("no such key: {word}"),
        }
    }
    beat
}

fn notice(words: &[&str]) -> Notice {
    let mut notice = Notice::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let span = || Some(Span::parse(value).expect("a span"));
        match key {
            "hung" => notice.hung = true,
            "ready" => notice.word = Some(ReportedState::Ready),
            "reloading" => notice.word = Some(ReportedState::Reloading),
            "stopping" => notice.word = Some(ReportedState::Stopping),
            "limit" => notice.limit = span(),
            "extend" => notice.extend = span(),
            "main" => notice.main_pid = Some(value.parse().expect("a number")),
            "trouble" => notice.last_failure = Some(value.into()),
            "status" => notice.status = Some(value.into()),
            _ => panic!("no such key: {word}"),
        }
    }
    notice
}

/// `STRATEGY MAX/PERIOD [auto=any|all] [together] [at-once] [uplink]: CHILD CHILD …`
fn parse_spec(text: &str) -> (SupervisorPolicy, Vec<Member>, Option<Heartbeat>) {
    let (head, children) = text.split_once(':').expect("a colon after the supervisor");
    let mut policy = SupervisorPolicy::default();
    let mut uplink = None;
    for word in head.split_whitespace() {
        match word {
            "one-for-one" => policy.strategy = Strategy::OneForOne,
            "one-for-all" => policy.strategy = Strategy::OneForAll,
            "rest-for-one" => policy.strategy = Strategy::RestForOne,
            "auto=any" => policy.auto_shutdown = AutoShutdown::AnySignificant,
            "auto=all" => policy.auto_shutdown = AutoShutdown::AllSignificant,
            "together" => policy.stop_order = StopOrder::Together,
            "at-once" => policy.start_order = StartOrder::Together,
            "uplink" => uplink = Some(Heartbeat::default()),
            _ => {
                let (max, period) = word.split_once('/').expect("max/period");
                policy.intensity.max = (max != "unlimited").then(|| max.parse().expect("a number"));
                policy.intensity.period = Span::parse(period).expect("a span");
            }
        }
    }
    (policy, children.split_whitespace().map(parse_child).collect(), uplink)
}

/// `NAME` or `NAME(word,word=value,…)`.
pub(crate) fn parse_child(text: &str) -> Member {
    let (name, words) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((name, words)) => (name, words),
        None => (text, ""),
    };
    let mut policy = ChildPolicy::default();
    let mut kind = Kind::Worker;
    let mut revision = 0;
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let span = || Span::parse(value).expect("a span");
        match key {
            "permanent" => policy.restart = Restart::Permanent,
            "transient" => policy.restart = Restart::Transient,
            "temporary" => policy.restart = Restart::Temporary,
            "significant" => policy.significant = true,
            "manual" => policy.autostart = false,
            "brutal" => policy.shutdown = Shutdown::BrutalKill,
            "infinity" => policy.shutdown = Shutdown::Infinity,
            "shutdown" => policy.shutdown = Shutdown::After(span()),
            // Supervisors as spec::check makes them: infinity, and a heartbeat unless it is switched off.
            "node" => {
                kind = Kind::Supervisor;
                policy.shutdown = Shutdown::Infinity;
            }
            "examined" => policy.evidence.command = true,
            "aborted" => policy.evidence.signal = true,
            "beats" => policy.heartbeat = Some(Heartbeat::default()),
            "progress" => policy.heartbeat = Some(Heartbeat { progress: true, ..Heartbeat::default() }),
            "grace" => policy.heartbeat = Some(Heartbeat { grace: span(), ..Heartbeat::default() }),
            "at-beat" => policy.ready = Ready::Heartbeat,
            "at-word" => policy.ready = Ready::Notify,
            "at-exit" => policy.ready = Ready::Exit,
            "at-probe" => policy.ready = Ready::Probe,
            "timeout" => policy.start_timeout = Some(span()),
            "backoff" => {
                policy.backoff = Some(Backoff {
                    initial: span(),
                    max: span().times(8),
                    factor: 2.0,
                    jitter: 0.0,
                    reset: Span::from_secs(3600),
                });
            }
            "codes" => policy.success_codes = value.split('+').map(|code| code.parse().expect("a code")).collect(),
            "placed" => {
                kind = Kind::Supervisor;
                policy.shutdown = Shutdown::Infinity;
                policy.placed = true;
            }
            "v" => revision = value.parse().expect("a number"),
            "count" => policy.group = Some(value.parse().expect("a number")),
            "settle" => policy.update.settle = span(),
            "first" => policy.update.order = UpdateOrder::StartFirst,
            "at-once" => policy.update.at_once = value.parse().expect("a number"),
            _ => panic!("no such word: {word}"),
        }
    }
    Member { name: Name::parse(name).expect("a name"), kind, revision, settings: 0, policy: policy.into() }
}
