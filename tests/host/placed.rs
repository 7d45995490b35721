//! A root with a placed child: the test is the agent that has started it, and the host on which the child runs.
use serde_json::Value;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use treevisor::hosts::loss::Loss;
use treevisor::hosts::message::{Ended, Message, OrderAction, Outcome, Place, Placed, ReportBody, RunReport, Subject};
use treevisor::ids::Token;
use treevisor::link::{Context, Dealer, Door, Identity, MessageMax, Router, RouterLimits, Rules};
use treevisor::os::clock::{self, LeaseTime};
use treevisor::os::page::{Deadline, LeasePage};
use treevisor::os::pidfd::PidFd;
use treevisor::os::process;
use treevisor::os::spawn::{PlanSpec, prepare};
use treevisor::time::{Span, Time};
use treevisor::wire::message::{ChildBody, FromChild, FromNode};
use treevisor::wire::tvh1::{self, Kind};
use treevisor::wire::view::RollupView;
use treevisor::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX, codec};

/// What has not happened after this long is broken.
const PATIENCE: Span = Span::from_secs(30);

const LIMITS: RouterLimits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };

const TREE: &str = r#"
name = "shop"
[[child]]
name = "db"
placement = ["b"]
heartbeat = { interval = "200ms", misses = 3 }
  [[child.child]]
  name = "postgres"
  command = ["sleep", "1000"]
"#;

/// Nothing is placed, and the worker takes its time to stop.
const LOCAL: &str = r#"
name = "shop"
[[child]]
name = "slow"
command = ["sh", "-c", "trap '' TERM; sleep 1000"]
shutdown = "2s"
"#;

/// The agent of the host, with the root that it has started.
struct Agent {
    directory: PathBuf,
    root: Option<(u32, PidFd)>,
    router: Router,
    node: Option<Identity>,
    /// In the place of the placed child.
    relay: Option<(Dealer, Token, u64)>,
    beat_at: Time,
    context: Arc<Context>,
    _page: LeasePage,
}

impl Agent {
    fn begin(name: &str, tree: &str) -> Agent {
        let directory = std::env::temp_dir().join(format!("treevisor-{name}-{}", std::process::id()));
        fs::create_dir_all(directory.join("run/host")).unwrap();
        // Tools find the instance, and no agent that they would ask.
        fs::create_dir_all(directory.join("tools")).unwrap();
        std::os::unix::fs::symlink("../run/shop", directory.join("tools/shop")).unwrap();
        let file = directory.join("supervisors.toml");
        fs::write(&file, tree).unwrap();
        let context = Arc::new(Context::new().unwrap());
        let most = MessageMax { parts: NODE_FRAMES_MAX, bytes: NODE_FRAMES_MAX * NODE_FRAME_MAX };
        let door = Door::new(Rules::of_own(process::own_uid(), 16, most));
        let router = Router::bind_behind(&context, &directory.join("run/host/agent"), LIMITS, door).unwrap();
        let page = LeasePage::new().unwrap();
        let (now, lease) = (clock::both(), Span::from_secs(600));
        page.set(Deadline(LeaseTime { boottime: now.boottime + lease, raw: now.raw + lease }));
        let log = fs::File::create(directory.join("log")).unwrap();
        let words = [env!("CARGO_BIN_EXE_treevisor").into(), "start".into(), file.into()];
        let mut spec = PlanSpec::new(words.into());
        spec.env = environment(&directory, "run");
        spec.env.extend(
            [("TREEVISOR_LEASE", "3"), ("TREEVISOR_FENCE", "9")].map(|(key, value)| (key.into(), value.into())),
        );
        spec.extra = vec![(page.fd(), 3)];
        spec.stderr = Some(log.as_fd());
        let root = prepare(spec).unwrap().spawn().unwrap();
        let root = Some((root.pid, root.pidfd));
        Agent { directory, root, router, node: None, relay: None, beat_at: Time::ZERO, context, _page: page }
    }

    /// The child beats, and what has come from the root is given: one message, if there is one.
    fn turn(&mut self) -> Option<Message> {
        let now = clock::both().boottime;
        if let Some((dealer, token, seq)) = self.relay.as_mut().filter(|_| self.beat_at <= now) {
            self.beat_at = now + Span::from_millis(100);
            *seq += 1;
            say(dealer, *token, FromNode::Rollup { seq: *seq, rollup: RollupView::default() });
            say(dealer, *token, FromNode::Up);
            while dealer.receive().is_some() {}
        }
        let Some(inbound) = self.router.receive() else {
            clock::pause(Span::from_millis(5));
            return None;
        };
        assert!(inbound.peer.is_none_or(|peer| Some(peer.pid) == self.root.as_ref().map(|(pid, _)| *pid)));
        self.node = Some(inbound.from);
        let message = tvh1::decode(inbound.frames).unwrap();
        let header: Value = message.header().unwrap();
        let frames = if message.kind == Kind::Place { vec![message.payload.concat()] } else { Vec::new() };
        Some(Message::read(message.kind.as_str(), header.to_string().as_bytes(), frames).unwrap())
    }

    /// Waits for a message that `is` gives something of.
    #[track_caller]
    fn until<T>(&mut self, what: &str, is: impl Fn(&Message) -> Option<T>) -> T {
        let end = clock::both().boottime + PATIENCE;
        loop {
            if let Some(found) = self.turn().and_then(|message| is(&message)) {
                return found;
            }
            if clock::both().boottime >= end {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                panic!("{what} does not come:\n{log}");
            }
        }
    }

    #[track_caller]
    fn placed_again(&mut self, run: u64) -> Place {
        self.until(&format!("the order to place run {run}"), |message| match message {
            Message::Place(place) if place.subject.run == run => Some((**place).clone()),
            _ => None,
        })
    }

    #[track_caller]
    fn ordered(&mut self, what: &OrderAction) -> Subject {
        self.until(&format!("{what:?}"), |message| match message {
            Message::Order(order) if order.what == *what => Some(order.subject.clone()),
            _ => None,
        })
    }

    #[track_caller]
    fn noted(&mut self, subject: &Subject) {
        self.until("the acknowledgement", |message| match message {
            Message::Told(told) if told.what == ReportBody::Noted && told.subject == *subject => Some(()),
            _ => None,
        });
    }

    fn send(&mut self, message: &Message) {
        let (header, _) = message.frames();
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == message.kind()).unwrap();
        let frames = tvh1::encode(&tvh1::Message::new(kind, &header, Vec::new()).unwrap(), 1);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let _ = self.router.send(self.node.as_ref().unwrap(), &frames);
    }

    fn tell(&mut self, subject: &Subject, what: ReportBody) {
        self.send(&Message::Told(RunReport { subject: subject.clone(), what }));
    }

    /// The run has a process, and connects.
    fn starts(&mut self, place: &Place) {
        let outcome = Outcome::Started { token: 1, pid: 4_711 };
        let (subject, host) = (place.subject.clone(), "b".to_owned());
        self.send(&Message::Placed(Placed { subject, host, epoch: 1, outcome }));
        let handed = &place.boot["handed"];
        let (parent, name) = (place.boot["parent"].as_str().unwrap(), handed["name"].as_str().unwrap());
        let token: Token = serde_json::from_value(handed["token"].clone()).unwrap();
        let mut dealer = Dealer::connect(&self.context, Path::new(parent), name.as_bytes(), LIMITS).unwrap();
        say(&mut dealer, token, FromNode::Hello { pid: 4_711 });
        self.relay = Some((dealer, token, 0));
    }

    /// A tool, and what it prints.
    fn tool(&self, words: &[&str]) -> String {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_treevisor"));
        let output = tool
            .args(words)
            .args(["-i", "shop"])
            .env_clear()
            .envs(environment(&self.directory, "tools"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    /// Waits for the end of a tool that has been started.
    #[track_caller]
    fn until_done(&mut self, mut tool: Child) {
        let end = clock::both().boottime + PATIENCE;
        while tool.try_wait().unwrap().is_none_or(|status| !status.success()) {
            self.turn();
            assert!(clock::both().boottime < end, "the tool does not end");
        }
    }

    /// A tool that waits for the test.
    fn begin_tool(&self, words: &[&str]) -> Child {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_treevisor"));
        let tool = tool.args(words).args(["-i", "shop"]).stdout(Stdio::null()).stderr(Stdio::null());
        tool.env_clear().envs(environment(&self.directory, "tools")).spawn().unwrap()
    }

    /// Ends the root, as the agent does. Returns its exit status, and what it has sent until then.
    #[track_caller]
    fn ends_root(&mut self) -> (Option<i32>, Vec<Message>) {
        let (_, root) = self.root.as_ref().unwrap();
        root.signal(libc::SIGTERM).unwrap();
        let mut messages = Vec::new();
        let end = clock::both().boottime + PATIENCE;
        loop {
            messages.extend(self.turn());
            if let Some(status) = self.root.as_ref().and_then(|(_, root)| root.wait().unwrap()) {
                return (status.code, messages);
            }
            assert!(clock::both().boottime < end, "the root does not end");
        }
    }

    /// Waits until the child is in this state. It runs where it is shown as unreachable: no question is answered here.
    #[track_caller]
    fn until_state(&mut self, state: &str) {
        let end = clock::both().boottime + PATIENCE;
        loop {
            self.turn();
            let status = self.tool(&["status", "--json"]);
            let shown = serde_json::from_str::<Value>(&status).ok();
            let shown = shown.and_then(|shown| Some(shown["root"]["children"][0]["state"].as_str()?.to_owned()));
            if shown.as_deref() == Some(state) {
                return;
            }
            assert!(clock::both().boottime < end, "it is not {state}: {status}");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some((_, root)) = self.root.take() {
            let _ = root.signal(libc::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn say(dealer: &mut Dealer, token: Token, message: FromNode) {
    let frames = codec::encode_from_child(&FromChild { token, body: ChildBody::Node(Box::new(message)) });
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    dealer.send(&frames);
}

fn environment(directory: &Path, runtime: &str) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    vec![
        ("PATH".into(), "/usr/bin:/bin".into()),
        ("TREEVISOR_RUNTIME_DIR".into(), directory.join(runtime).into()),
        ("TREEVISOR_STATE_DIR".into(), directory.join("state").into()),
    ]
}

#[test]
fn a_placed_child_is_asked_for_lost_placed_again_stopped_and_left_for_the_next_root() {
    let mut agent = Agent::begin("placed", TREE);
    let paths = agent.ordered(&OrderAction::Paths { paths: vec!["/db".into()] });
    agent.tell(&paths, ReportBody::Noted);

    let first = agent.placed_again(1);
    assert_eq!((first.subject.path.as_str(), first.subject.root_token), ("/db", 9));
    assert!(first.placement.exclusive && first.placement.adopt);
    assert_eq!(agent.placed_again(1), first, "it is sent until it is answered");
    let outcome = Outcome::NoHost { why: "b: it is drained".into() };
    agent.send(&Message::Placed(Placed { subject: first.subject.clone(), outcome, ..Placed::default() }));
    agent.until_state("waiting");
    agent.tell(&first.subject, ReportBody::HostThere);
    agent.noted(&first.subject);

    let second = agent.placed_again(2);
    agent.starts(&second);
    agent.until_state("unreachable");
    agent.tell(&second.subject, ReportBody::Lost(Loss { why: "b is lost".into(), ..Loss::default() }));
    agent.relay = None;
    agent.noted(&second.subject);

    let third = agent.placed_again(3);
    assert_ne!(third.boot["handed"]["token"], second.boot["handed"]["token"]);
    agent.starts(&third);
    agent.until_state("unreachable");
    let stop = agent.begin_tool(&["stop", "/db"]);
    assert_eq!(agent.ordered(&OrderAction::Stop), third.subject);
    agent.tell(&third.subject, ReportBody::Exited { end: Ended::Code(0), detail: Value::Null });
    agent.relay = None;
    agent.noted(&third.subject);
    assert_eq!(agent.ordered(&OrderAction::Done), third.subject);
    agent.until_done(stop);
    agent.tell(&third.subject, ReportBody::Done);
    agent.until_state("stopped");

    // A silent child is looked at on its host, and killed there.
    let restart = agent.begin_tool(&["restart", "/db"]);
    let fourth = agent.placed_again(4);
    agent.starts(&fourth);
    agent.until_done(restart);
    agent.relay = None;
    assert_eq!(agent.ordered(&OrderAction::Inspect), fourth.subject);
    agent.tell(&fourth.subject, ReportBody::Unreachable { why: "there is no link to b".into() });
    assert_eq!(agent.ordered(&OrderAction::Inspect), fourth.subject, "it is spared, and looked at again");
    agent.tell(&fourth.subject, ReportBody::Inspected { found: serde_json::json!({"hung": "was asleep"}) });
    assert_eq!(agent.ordered(&OrderAction::Kill), fourth.subject);
    agent.tell(&fourth.subject, ReportBody::Exited { end: Ended::Signal(9), detail: Value::Null });
    agent.noted(&fourth.subject);

    // The root goes to another host, and the child stays.
    let fifth = agent.placed_again(5);
    agent.starts(&fifth);
    agent.until_state("unreachable");
    assert!(agent.tool(&["upgrade"]).contains("it has placed children"));
    let (code, mut orders) = agent.ends_root();
    assert_eq!(code, Some(12));
    // That its beats are late is looked at, on a busy machine; and what the agent shows each status would have, which
    // this one does not know, as an earlier version does not.
    let is_asked = |message: &Message| match message {
        Message::Order(order) => !matches!(order.what, OrderAction::Inspect | OrderAction::Show(_)),
        _ => true,
    };
    orders.retain(is_asked);
    assert_eq!(orders, [], "the child is asked for nothing");
}

#[test]
fn the_exit_status_of_a_root_shows_whether_its_agent_has_ended_it_or_an_operator_has_stopped_it_first() {
    for (name, is_stopped, code) in [("ended", false, 12), ("stopped", true, 0)] {
        let mut agent = Agent::begin(name, LOCAL);
        agent.until_state("running");
        let stop = is_stopped.then(|| agent.begin_tool(&["stop"]));
        if is_stopped {
            agent.until_state("stopping");
        }
        assert_eq!(agent.ends_root().0, Some(code), "{name}");
        stop.map(|mut stop| stop.wait());
    }
}
