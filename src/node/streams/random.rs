//! Random histories of one reader of lines and of the two nodes between it and a worker: slow or full connections,
//! messages that are lost with a replaced process, requests that are read after they have expired, and nodes that do
//! not run for a while. In each of them, every line is received once and in order, or is counted as lost.

use super::lines::Source;
use super::*;
use crate::ids::Incarnation;
use crate::link::{Identity, SendOutcome};
use crate::node::requests::Question;
use crate::node::requests::route::Query;
use crate::node::testing;
use crate::supervision::{ChildId, Run};
use crate::wire::message::{ToNode, Verb};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::collections::VecDeque;

const BELOW: Run = Run { child: ChildId(0), incarnation: Incarnation::FIRST };

/// The number of the request to the node below, and of the tool's own request.
const ASKED: u64 = 7;
const TOOL: u64 = 1;

/// One step.
#[derive(Debug, Clone)]
enum Op {
    /// The worker prints so many lines of so many bytes.
    Print(u64, usize),
    /// So many messages are received: by the root from below, by the node below, by the tool, by the root from the
    /// tool.
    Up(usize),
    Down(usize),
    ToTool(usize),
    FromTool(usize),
    Pass(u64),
    /// The root, or the node below, is upgraded: messages on their way to or from it are lost.
    ReplaceRoot,
    ReplaceBelow,
    /// The queues to the tool and to the root are full, or not full any more.
    Full(bool, bool),
    /// The root, the node below, or both did not run for so long.
    Lose(u64, bool, bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (1u64..200, prop_oneof![4 => Just(10usize), 1 => Just(4_000)]).prop_map(|(lines, bytes)| Op::Print(lines, bytes)),
        6 => (0usize..5).prop_map(Op::Up),
        6 => (0usize..5).prop_map(Op::Down),
        6 => (0usize..5).prop_map(Op::ToTool),
        6 => (0usize..5).prop_map(Op::FromTool),
        6 => (0u64..900).prop_map(Op::Pass),
        1 => Just(Op::ReplaceRoot),
        1 => Just(Op::ReplaceBelow),
        2 => any::<(bool, bool)>().prop_map(|(tool, root)| Op::Full(tool, root)),
        1 => (0u64..20_000, prop_oneof![Just((true, true)), Just((true, false)), Just((false, true))])
            .prop_map(|(millis, (root, below))| Op::Lose(millis, root, below)),
    ];
    prop::collection::vec(op, 1..200)
}

/// The connections out of one node.
#[derive(Default)]
struct Way {
    replies: VecDeque<(u64, Reply)>,
    asked: VecDeque<ToNode>,
    /// The time by which a request expires.
    now: Time,
    full: bool,
    drawn: u64,
}

impl Way {
    fn send(&mut self, to: &Asker, reply: Reply) {
        let (Asker::Operator { request, .. } | Asker::Parent { request }) = to else { panic!("{to:?}") };
        self.replies.push_back((*request, reply));
    }
}

impl Ways for Way {
    fn reply(&mut self, to: &Asker, reply: &Reply) -> SendOutcome {
        if self.full {
            return SendOutcome::Full;
        }
        self.send(to, reply.clone());
        SendOutcome::Sent
    }

    fn events(&mut self, _: &Identity, _: &[Vec<u8>]) -> SendOutcome {
        SendOutcome::Sent
    }

    fn ask(&mut self, node: Run, request: u64, within: Span, verb: Verb) -> bool {
        let within_ms = within.as_millis();
        let question = Question { node, request, within_ms, lasting: false, by: String::new(), verb, meant: None };
        self.asked.push_back(question.message(millis(self.now)));
        true
    }

    fn number(&mut self) -> u64 {
        self.drawn += 1;
        ASKED + self.drawn
    }
}

struct World {
    now: Time,
    children: Children,
    root: Streams,
    below: Streams,
    from_root: Way,
    from_below: Way,
    from_tool: VecDeque<StreamVerb>,
    printed: u64,
    /// What the tool has received.
    received: u64,
    lines: u64,
    lost: u64,
    last: Option<u64>,
    again: bool,
    said: Time,
    replaced: Time,
    /// The node below has dropped its reader, since the root did not run: the number of lost lines is not known.
    forgotten: bool,
}

impl World {
    fn new() -> World {
        let query = || Query { paths: vec![Path::root()], lines: Some(0), since_ms: None, follow: true };
        let tree = "name = \"t\"\n[[child]]\nname = \"db\"\ncommand = [\"true\"]";
        let children = testing::children(tree, &testing::context());
        let (mut root, mut below) = (Streams::default(), Streams::default());
        let (mut from_root, mut from_below) = (Way::default(), Way::default());
        let now = Time::ZERO + Span::from_secs(1);
        from_root.now = now;
        assert!(root.request(now, tool(), StreamVerb::Logs(query()), (&children, Some(0)), &mut from_root).is_none());
        let due = Some(now + Span::from_millis(700));
        let source = Source { run: Some(BELOW), caught_up: false, due, ..Source::new(BELOW.child, ASKED, Some(0)) };
        root.readers[0].sources.push(source);
        let asked = StreamVerb::Logs(query());
        assert!(below.request(now, parent(ASKED), asked, (&children, None), &mut from_below).is_none());
        World {
            now,
            children,
            root,
            below,
            from_root,
            from_below,
            from_tool: VecDeque::new(),
            printed: 0,
            received: 0,
            lines: 0,
            lost: 0,
            last: None,
            again: false,
            said: now,
            replaced: Time::ZERO,
            forgotten: false,
        }
    }

    fn play(&mut self, op: &Op) {
        match *op {
            Op::Print(lines, bytes) => {
                for _ in 0..lines {
                    let text = format!("{:0bytes$}", self.printed);
                    self.printed += 1;
                    for reader in &mut self.below.readers {
                        reader.push(LogView::untimed(Path::root(), text.clone()));
                    }
                }
            }
            Op::Up(messages) => (0..messages).for_each(|_| self.up()),
            Op::Down(messages) => (0..messages).for_each(|_| self.down()),
            Op::ToTool(messages) => (0..messages).for_each(|_| self.tool_reads()),
            Op::FromTool(messages) => (0..messages).for_each(|_| self.root_reads()),
            Op::Pass(millis) => self.pass(Span::from_millis(millis)),
            // Upgrades are far enough apart for followers to report in between that they are still there.
            Op::ReplaceRoot | Op::ReplaceBelow if self.now < self.replaced + Span::from_secs(6) => {}
            Op::ReplaceRoot => {
                self.replaced = self.now;
                self.from_root = Way { drawn: self.from_root.drawn, now: self.now, ..Way::default() };
                self.from_below.replies.clear();
                self.from_tool.clear();
                self.root = self.root.clone();
                self.root.begins_again(self.now);
            }
            Op::ReplaceBelow => {
                self.replaced = self.now;
                self.from_root.asked.clear();
                self.from_below = Way::default();
                self.below = self.below.clone();
                self.below.begins_again(self.now);
            }
            Op::Full(tool, root) => (self.from_root.full, self.from_below.full) = (tool, root),
            Op::Lose(millis, root, below) => {
                let lost = Span::from_millis(millis);
                // What the root has sent is received while it does not run, and what the node below sends meanwhile is
                // what the root reads first.
                while root && !below && !self.from_root.asked.is_empty() {
                    self.down();
                }
                self.pass(lost);
                if root && !below {
                    self.from_below.full = false;
                    self.below_feeds();
                    while !self.from_below.replies.is_empty() {
                        self.up();
                    }
                }
                if root {
                    self.root.credit(self.now, lost);
                }
                if below {
                    self.below.credit(self.now, lost);
                }
                if root && below {
                    // The whole machine has slept.
                    self.said += lost;
                }
            }
        }
        if self.now.since(self.said) >= Span::from_secs(2) {
            self.said = self.now;
            self.from_tool.push_back(StreamVerb::StillFollowing { request: TOOL });
            // No message is delayed for as long as a reader may be silent.
            while !self.from_tool.is_empty() {
                self.root_reads();
            }
            while !self.from_root.asked.is_empty() {
                self.down();
            }
        }
        self.root.feed(self.now, &self.children, None, &mut self.from_root);
        self.below_feeds();
    }

    fn pass(&mut self, time: Span) {
        self.now += time;
        self.from_root.now = self.now;
    }

    fn below_feeds(&mut self) {
        self.below.feed(self.now, &self.children, None, &mut self.from_below);
        self.forgotten |= self.below.readers.is_empty();
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            for op in [Op::Up(9), Op::ToTool(9), Op::FromTool(9), Op::Down(9), Op::Pass(100)] {
                self.play(&op);
            }
        }
    }

    fn up(&mut self) {
        match self.from_below.replies.pop_front() {
            None => {}
            Some((request, Reply::Logs { lines, lost, caught_up, silent, nth })) => {
                let part = Part { lines, lost, caught_up, silent, nth };
                self.root.lines(self.now, BELOW, request, part, &mut self.from_root);
            }
            Some((request, Reply::Refused { why, .. })) => {
                self.root.refused(self.now, request, Some(why), &mut self.from_root);
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    fn down(&mut self) {
        let Some(message) = self.from_root.asked.pop_front() else { return };
        let ToNode::Request { request: asked, verb, void_after_ms, .. } = message else { panic!("{message:?}") };
        if millis(self.now) > void_after_ms {
            return;
        }
        let verb = match verb {
            Verb::LogsSeen { request, replies, through, again } => {
                StreamVerb::Seen { request, replies, through, again }
            }
            Verb::StillFollowing { request } => StreamVerb::StillFollowing { request },
            Verb::Logs { paths, lines, since_ms, follow } => StreamVerb::Logs(Query { paths, lines, since_ms, follow }),
            Verb::Unfollow { request } => StreamVerb::Unfollow { request },
            other => panic!("{other:?}"),
        };
        let by = parent(asked);
        if let Some((to, refusal)) =
            self.below.request(self.now, by, verb, (&self.children, None), &mut self.from_below)
        {
            assert!(self.forgotten, "{refusal:?}");
            self.from_below.send(&to, refusal);
        }
    }

    /// Does what `treevisor logs` does.
    fn tool_reads(&mut self) {
        let Some((TOOL, Reply::Logs { lines, lost, nth, .. })) = self.from_root.replies.pop_front() else { return };
        if nth == self.received + 1 {
            self.received = nth;
            self.again = false;
            self.lost += lost;
            for line in lines {
                let number = line.text.parse().unwrap();
                assert!(self.last.is_none_or(|last| last < number), "{number} after {:?}", self.last);
                self.last = Some(number);
                self.lines += 1;
            }
        } else {
            self.again = nth > self.received;
        }
        let through = Some(self.received);
        self.from_tool.push_back(StreamVerb::Seen { request: TOOL, replies: 1, through, again: self.again });
    }

    fn root_reads(&mut self) {
        let Some(verb) = self.from_tool.pop_front() else { return };
        let refused = self.root.request(self.now, tool(), verb, (&self.children, Some(0)), &mut self.from_root);
        assert_eq!(refused, None);
    }
}

fn millis(now: Time) -> u64 {
    now.since(Time::ZERO).as_millis()
}

fn tool() -> Asker {
    Asker::Operator { to: Identity::new(b"tool"), request: TOOL }
}

fn parent(request: u64) -> Asker {
    Asker::Parent { request }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_line_comes_once_and_in_order_or_is_counted(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.play(op);
        }
        world.play(&Op::Full(false, false));
        world.settle();
        if world.forgotten {
            prop_assert!(world.lines == world.printed || world.lost > 0);
            world.play(&Op::Print(1, 10));
            world.settle();
            prop_assert_eq!(world.last, Some(world.printed - 1), "the reader gets nothing more");
        } else {
            prop_assert_eq!(world.lines + world.lost, world.printed, "{} lines and {} lost", world.lines, world.lost);
        }
        prop_assert!(world.from_root.replies.is_empty() && world.from_below.replies.is_empty());
    }
}

#[test]
fn an_acknowledgement_that_is_read_late_is_one() {
    let mut world = World::new();
    while world.from_below.replies.len() < 4 {
        world.play(&Op::Print(200, 10));
    }
    world.play(&Op::Up(4));
    assert!(!world.from_root.asked.is_empty(), "it acknowledges them");
    world.play(&Op::Print(200, 10));
    assert!(world.from_below.replies.is_empty(), "no more is sent ahead");
    world.pass(Span::from_millis(3_001));
    world.settle();
    assert!(!world.forgotten);
    assert_eq!((world.lines, world.lost), (world.printed, 0));
}
