use super::*;
use crate::hosts::message::{Message, Order, OrderAction};
use crate::link::Context as Sockets;
use crate::node::record::Hosting;
use crate::node::testing;
use crate::supervision::{Action, Command, Config, RequestId};
use std::collections::VecDeque;

const LOCAL: &str = "name = \"test\"\n[[child]]\nname = \"a\"\n[[child.child]]\nname = \"b\"\ncommand = [\"c\"]\n";

fn placed() -> String {
    let delay = "backoff = { initial = \"1h\", max = \"1h\" }";
    LOCAL.replace("name = \"a\"\n", &format!("name = \"a\"\nplacement = [\"x\", \"y\"]\n{delay}\n"))
}

/// A root with its core.
struct Bench {
    context: Context,
    core: Supervisor,
    children: Children,
    endpoint: Endpoint,
    reactor: Reactor,
    placed: Placed,
    /// What is handed to the core next.
    events: VecDeque<Event>,
    hands_over: bool,
    hours: u64,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(tree: &str, hosting: Option<Hosting>) -> Bench {
        let (mut context, directory) = (testing::context(), tempfile::tempdir().unwrap());
        context.place.hosting = hosting;
        let children = testing::children(tree, &context);
        let members = children.iter().map(super::super::children::Child::member).collect();
        let policy = testing::tree(tree).root.policy;
        let core = Supervisor::new(Config { policy, members, uplink: None, node: 1, seed: 1 });
        let (socket, door) = (directory.path().join("s"), context.place.door.clone());
        Bench {
            context,
            core,
            children,
            endpoint: Endpoint::bind(Sockets::new().unwrap(), &socket, door, false).unwrap(),
            reactor: testing::reactor(),
            placed: Placed::default(),
            events: VecDeque::new(),
            hands_over: false,
            hours: 0,
            _directory: directory,
        }
    }

    fn step<T>(&mut self, step: impl FnOnce(&mut Placed, &mut NodeContext<'_>) -> T) -> T {
        let Bench { context, core, children, endpoint, reactor, placed, hands_over, .. } = self;
        let hands_over = *hands_over;
        step(placed, &mut NodeContext { context, core, children, endpoint, reactor, is_root: true, hands_over })
    }

    /// Carries out what follows, as the loop does.
    fn follow(&mut self, follows: Vec<Follow>) {
        for follow in follows {
            match follow {
                Follow::Core(event) => self.events.push_back(event),
                Follow::Begins(away, _) => self.children.begin_away(*away),
                Follow::IsOn { run, host, adopted } => {
                    self.children.get_mut(run.child).expect("it is placed").is_on(run, host, adopted);
                }
                Follow::Gone(run) => assert!(self.children.end_away(run)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes what the agent has sent. Returns the last run that the core has ordered to start, if it was one.
    fn hear(&mut self, heard: Vec<Heard>) -> Option<Run> {
        let follows = self.step(|placed, node| placed.heard(heard, node));
        self.follow(follows);
        let mut started = None;
        while let Some(event) = self.events.pop_front() {
            let mut actions = Vec::new();
            self.core.handle(self.context.now(), event, &mut actions);
            for action in actions {
                if let Action::Spawn(run) = action {
                    let follows = self.step(|placed, node| placed.place(run, node));
                    self.follow(follows.expect("it is placed"));
                    started = Some(run);
                }
            }
        }
        self.step(Placed::settle);
        started
    }

    /// The orders that were not answered, which are sent again.
    fn orders(&mut self) -> Option<Vec<Message>> {
        self.hours += 1;
        let open = self.placed.open.as_mut()?;
        open.outbox.due(Time::ZERO + Span::from_secs(3_600 * self.hours));
        Some(open.outbox.take_out())
    }

    /// The runs of which the agent is asked to release the claim.
    fn done(&mut self) -> Vec<u64> {
        let is_done = |message: Message| match message {
            Message::Order(Order { what: OrderAction::Done, subject, .. }) => Some(subject.run),
            _ => None,
        };
        self.orders().into_iter().flatten().filter_map(is_done).collect()
    }

    /// A placed child that waits: its run has ended, or it has never had a host.
    fn waits(has_run: bool) -> (Bench, Run) {
        let mut bench = Bench::new(&placed(), Some(Hosting { agent: 1, root_token: 7 }));
        bench.events.push_back(Event::Begin);
        let run = bench.hear(Vec::new()).expect("it is placed");
        let next = if has_run {
            bench.hear(vec![Heard::There { run, host: "x".into(), pid: 5, adopted: true }]);
            bench.hear(vec![Heard::Ended { run, exit: Exit::Signal(9), why: None }])
        } else {
            bench.hear(vec![Heard::Event(Event::NoHost { run, why: "there is none".into() })])
        };
        assert_eq!((next, bench.core.state_of(run.child)), (None, Some(State::Waiting)));
        assert_eq!(bench.done(), Vec::<u64>::new(), "it is to be placed again");
        (bench, run)
    }

    fn terminate(&mut self, child: ChildId) {
        let (request, command) = (RequestId(1), Command::Terminate(child));
        self.events.push_back(Event::Asked { request, command, by: "test".into(), meant: None });
        self.hear(Vec::new());
    }
}

#[test]
fn the_claim_of_a_child_that_comes_to_rest_after_its_exit_is_released() {
    for has_run in [true, false] {
        let (mut bench, run) = Bench::waits(has_run);
        bench.terminate(run.child);
        assert_eq!(bench.done(), [run.incarnation.0]);
        // The next root decides over what is down when this one hands over.
        let (mut bench, run) = Bench::waits(has_run);
        bench.hands_over = true;
        bench.terminate(run.child);
        assert_eq!(bench.done(), Vec::<u64>::new());
        // The placement was removed.
        let (mut bench, run) = Bench::waits(has_run);
        bench.children = testing::children(LOCAL, &bench.context);
        bench.hear(Vec::new());
        assert_eq!(bench.done(), [run.incarnation.0]);
    }
}

#[test]
fn the_claim_of_a_child_whose_start_has_failed_is_released_once_it_is_not_tried_again() {
    let (mut bench, run) = Bench::waits(false);
    bench.events.push_back(Event::HostThere(run.child));
    let run = bench.hear(Vec::new()).expect("it is placed again");
    let failure = StartFailure { stage: "exec".into(), errno: 2, message: "there is no such file".into() };
    bench.hear(vec![Heard::Event(Event::SpawnFailed { run, failure })]);
    assert_eq!(bench.done(), Vec::<u64>::new(), "{:?}", bench.core.state_of(run.child));
    bench.terminate(run.child);
    assert_eq!(bench.done(), [run.incarnation.0]);
}

#[test]
fn a_root_reports_what_is_placed_also_if_it_is_nothing() {
    let hosting = Some(Hosting { agent: 1, root_token: 7 });
    for (tree, paths) in [(LOCAL, vec![]), (placed().as_str(), vec!["/a".to_owned()])] {
        let orders_at_start = |hosting| {
            let mut bench = Bench::new(tree, hosting);
            bench.step(Placed::report_paths);
            bench.orders()
        };
        let orders = orders_at_start(hosting).expect("a connection");
        let [Message::Order(Order { what, subject, .. })] = orders.as_slice() else { panic!("{orders:?}") };
        assert_eq!((what, subject.root_token), (&OrderAction::Paths { paths }, 7));
        assert_eq!(orders_at_start(None), None, "no agent has started it");
    }
}
