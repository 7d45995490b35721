//! An agent with a store that answers at once, unless a test makes it fail.

use super::*;

pub(super) struct Bench {
    pub(super) agent: Agent,
    pub(super) now: Moment,
    pub(super) random: u64,
    pub(super) store: BTreeMap<String, (u64, Vec<u8>)>,
    pub(super) version: u64,
    /// With `deaf`, requests do not reach the store; with `mute`, they are carried out and their answers are lost.
    pub(super) deaf: bool,
    pub(super) mute: bool,
    /// Whether the fence answers pokes, and whether clearing ends.
    pub(super) fence: bool,
    pub(super) clears: bool,
    /// The actions that the bench has not carried out by itself.
    pub(super) done: Vec<Action>,
    pub(super) deadline: Moment,
    pub(super) runs: Vec<Run>,
}

const CLUSTER: &str = "shop";

pub(super) fn bundle(digest: &str) -> Bundle {
    Bundle { instance: "web".into(), digest: digest.into() }
}

pub(super) fn key(key: Key) -> String {
    key.in_store(CLUSTER)
}

pub(super) fn agent(boot: &str) -> Agent {
    let about = HostInfo { boot: boot.into(), cgroup: true, ..HostInfo::default() };
    Agent::new(Settings::new("a", CLUSTER, Timing::of(Timing::LEASE), about).unwrap())
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Bench)) -> Bench {
        let mut bench = Bench {
            agent: agent("boot-1"),
            now: Moment::ZERO.plus(Span::from_secs(1_000)),
            random: 0,
            store: BTreeMap::new(),
            version: 0,
            deaf: false,
            mute: false,
            fence: true,
            clears: true,
            done: Vec::new(),
            deadline: Moment::ZERO,
            runs: Vec::new(),
        };
        change(&mut bench);
        bench.hand_in(Event::Begin);
        bench.hand_in(Event::Bundles(vec![bundle("sum")]));
        bench
    }

    pub(super) fn put(&mut self, at: Key, value: &impl serde::Serialize) {
        self.version += 1;
        self.store.insert(key(at), (self.version, write(value).unwrap()));
    }

    pub(super) fn want(&mut self, serial: u64, state: WantState) {
        let want = Want { bundle: "sum".into(), serial, state, ..Want::default() };
        self.put(Key::Want("web".into()), &want);
    }

    pub(super) fn host(&self, name: &str) -> Host {
        read(&self.store[&key(Key::Host(name.into()))].1).unwrap()
    }

    pub(super) fn own(&self) -> Ownership {
        read(&self.store[&key(Key::Own(ClaimKey::root("web")))].1).unwrap()
    }

    pub(super) fn hand_in(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.random += 1;
            let turn = Turn { now: self.now, random: self.random, wall_ms: 1 };
            let mut actions = Vec::new();
            self.agent.handle(turn, event, &mut actions);
            for action in actions {
                events.splice(0..0, self.carry_out(action));
            }
        }
    }

    pub(super) fn carry_out(&mut self, action: Action) -> Option<Event> {
        let unknown = || Answer::Unknown("it is cut off".into());
        match action {
            Action::Read { request, prefix } => {
                assert_eq!(prefix, "/treevisor/shop/");
                let records = self.store.iter();
                let stored = records.map(|(key, (version, value))| Stored {
                    key: key.clone(),
                    version: *version,
                    value: value.clone(),
                });
                let answer = if self.deaf || self.mute { unknown() } else { Answer::Records(stored.collect()) };
                Some(Event::Answered { request, answer })
            }
            Action::Swap { request, key, expected, new } => {
                let answer = if self.deaf { unknown() } else { self.swap(key, expected, new) };
                Some(Event::Answered { request, answer: if self.mute { unknown() } else { answer } })
            }
            Action::Poke(number) => self.fence.then_some(Event::Poked(number)),
            Action::Clear(number) => {
                self.done.push(Action::Clear(number));
                self.clears.then_some(Event::Cleared(number))
            }
            Action::SetDeadline(deadline) => {
                assert!(deadline.boottime >= self.deadline.boottime && deadline.raw >= self.deadline.raw);
                self.deadline = deadline;
                None
            }
            Action::Run(run) => {
                self.runs.push(run.clone());
                self.done.push(Action::Run(run.clone()));
                Some(Event::Started { run: run.run, pid: 1 })
            }
            other => {
                self.done.push(other);
                None
            }
        }
    }

    pub(super) fn swap(&mut self, key: String, expected: Option<u64>, new: Vec<u8>) -> Answer {
        let present = self.store.get(&key);
        if present.map(|(version, _)| *version) != expected {
            return Answer::Lost(present.map(|(version, value)| Stored {
                key: key.clone(),
                version: *version,
                value: value.clone(),
            }));
        }
        self.version += 1;
        self.store.insert(key, (self.version, new));
        Answer::Done(self.version)
    }

    /// Lets time pass, and hands in a tick at each deadline.
    pub(super) fn pass(&mut self, span: Span) {
        let until = self.now.plus(span);
        while let Some(at) = self.agent.next_deadline(self.now) {
            let left = at.since(self.now.boottime);
            if self.now.plus(left).boottime >= until.boottime {
                break;
            }
            self.now = self.now.plus(left.max(Span::from_millis(1)));
            self.hand_in(Event::Tick);
        }
        self.now = until;
        self.hand_in(Event::Tick);
    }

    pub(super) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.done)
    }
}

pub(super) fn seconds(seconds: u64) -> Span {
    Span::from_secs(seconds)
}
