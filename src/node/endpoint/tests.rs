use super::messages::Received;
use super::*;
use crate::ids::Incarnation;
use crate::link::Dealer;
use crate::node::luggage::Packing;
use crate::node::testing;
use crate::os::clock;
use crate::os::pidfd::ExitStatus;
use crate::os::process;
use crate::time::Time;
use crate::wire::message::{BeatFrame, ChildBody, FromChild};
use serde_json::json;
use std::collections::VecDeque;

/// A tree with one worker, which sends heartbeats.
const TREE: &str = r#"
    name = "test"
    [[child]]
    name = "web"
    command = ["true"]
    heartbeat = { interval = "1s" }
"#;

const RUN: Run = Run { child: ChildId(0), incarnation: Incarnation::FIRST };

/// An endpoint with one worker, and the connection of a process to it.
struct Scene {
    directory: tempfile::TempDir,
    context: Context,
    children: Children,
    processes: Processes,
    peer: Dealer,
    endpoint: Endpoint,
    events: VecDeque<Event>,
}

impl Scene {
    fn new(token: Token) -> Scene {
        let (directory, context) = (tempfile::tempdir().expect("a directory"), testing::context());
        let mut children = testing::children(TREE, &context);
        children.start_in_test(RUN, &context);
        let door = doors::for_children(process::own_uid(), Token([0; 16]), 1, 1_024);
        let sockets = Sockets::new().expect("a context");
        let mut endpoint = Endpoint::bind(sockets, &directory.path().join("s"), door, false).expect("a socket");
        endpoint.speakers.admit(RUN, token, None, context.now());
        let limits = RouterLimits { frame_bytes_max: 64, frames_max: 1 };
        let peer = Dealer::connect(endpoint.sockets(), endpoint.path(), b"", limits).expect("a connection");
        let (processes, events) = (Processes::new(false), VecDeque::new());
        Scene { directory, context, children, processes, peer, endpoint, events }
    }

    fn beat(&mut self, token: Token, seq: u64) {
        self.say(token, ChildBody::Beat(BeatFrame { seq, ..BeatFrame::default() }));
    }

    fn say(&mut self, token: Token, body: ChildBody) {
        let frames = codec::encode_from_child(&FromChild { token, body });
        assert!(self.peer.send(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    }

    /// Takes turns until there is an event to hand in.
    fn next(&mut self) -> Event {
        let Scene { context, children, processes, endpoint, events, .. } = self;
        while events.is_empty() {
            assert!(context.now() < Time::ZERO + Span::from_secs(60), "nothing has come");
            let mut intake = endpoint.intake();
            while let Some(received) = endpoint.receive(&mut intake, context, processes, children) {
                match received {
                    Received::Event(event) => events.push_back(event),
                    Received::Node { .. } => panic!("there is no child node"),
                }
            }
            events.extend(endpoint.report_drops(context, processes, None));
            clock::pause(Span::from_millis(1));
        }
        events.pop_front().expect("there is one")
    }
}

#[test]
fn a_workers_beat_is_an_event() {
    let token = Token([7; 16]);
    let mut scene = Scene::new(token);
    scene.beat(token, 5);
    assert!(matches!(scene.next(), Event::Beat(RUN, beat) if beat.seq == 5));
}

#[test]
fn messages_of_every_kind_are_within_the_limit_of_a_second() {
    let token = Token([7; 16]);
    let mut scene = Scene::new(token);
    // A second that does not end during the test.
    let now = Time::ZERO + Span::from_secs(1_000);
    scene.endpoint.speakers.admit(RUN, token, None, now);
    assert!((2..crate::wire::BEATS_PER_SECOND_MAX).all(|_| scene.endpoint.speakers.may_beat(RUN, now)));
    scene.say(token, ChildBody::Stopping);
    scene.say(token, ChildBody::Ready);
    assert!(matches!(scene.next(), Event::Ready(RUN)));
    for body in [ChildBody::Ready, ChildBody::Stopping] {
        scene.endpoint.drops = Drops::default();
        scene.say(token, body);
        let Event::Dropped { dropped, .. } = scene.next() else { panic!("it is beyond the limit") };
        assert_eq!(*dropped, crate::supervision::Dropped { too_many: 1, ..Default::default() });
    }
}

#[test]
fn a_strangers_beat_is_dropped_and_its_sender_is_named() {
    let mut scene = Scene::new(Token([7; 16]));
    scene.beat(Token([8; 16]), 1);
    let Event::Dropped { by, sender, dropped } = scene.next() else { panic!("it counts as a beat") };
    let own = format!("process {} of user {}", scene.context.pid, process::own_uid());
    assert_eq!((by, sender), (None, Some(own)));
    assert_eq!(*dropped, crate::supervision::Dropped { unknown_token: 1, ..Default::default() });
}

#[test]
fn a_beat_that_is_read_after_the_end_is_none() {
    let token = Token([7; 16]);
    let mut scene = Scene::new(token);
    scene.children.get_mut(RUN.child).and_then(|child| child.process_of(RUN)).expect("it runs").status =
        Some(ExitStatus::default());
    scene.beat(token, 1);
    scene.beat(Token([8; 16]), 2);
    assert!(matches!(scene.next(), Event::Dropped { .. }), "the first of the two has been read before");
}

#[test]
fn every_socket_of_a_workers_notifications_is_carried_over_an_upgrade() {
    let mut scene = Scene::new(Token([7; 16]));
    let path = scene.directory.path().join("n");
    let mut socket = DatagramSocket::bind(&path).expect("a socket");
    std::fs::remove_file(&path).expect("a cleaner");
    socket.bind_again(|_| Ok(())).expect("a second one");
    let fds: Vec<RawFd> = socket.fds().collect();
    scene.endpoint.notify.listen(RUN, socket, None, &mut testing::reactor()).expect("an epoll");
    let mut packing = Packing::default();
    let carried = serde_json::to_value(scene.endpoint.pack(&mut packing)).expect("JSON");
    assert!(fds.len() == 2 && fds.iter().all(|fd| packing.numbers().contains(fd)), "{fds:?}");
    let notify = &carried["notify"][0];
    assert_eq!((&notify["socket"], &notify["before"]), (&json!(fds[0]), &json!([fds[1]])));
}

#[test]
fn a_socket_for_beats_that_could_not_be_bound_after_an_upgrade_is_bound_when_that_is_possible() {
    let mut scene = Scene::new(Token([7; 16]));
    let path = scene.directory.path().join("beats");
    let tree = format!(
        "name = \"test\"\n[[child]]\nname = \"web\"\ncommand = [\"true\"]\n\
         heartbeat = {{ source = [{{ push = \"ipc://{}\" }}] }}",
        path.display()
    );
    let (context, mut reactor, mut missing) = (&scene.context, testing::reactor(), Vec::new());
    let mut children = testing::children(&tree, context);
    let other = std::os::unix::net::UnixListener::bind(&path).expect("a socket of another process");
    let Endpoint { pulls, sockets, .. } = &mut scene.endpoint;
    pulls.go_on(&children, sockets, &context.logger, &mut reactor);
    let mut put_back = |endpoint: &mut Endpoint| {
        assert!(endpoint.misses_a_file());
        endpoint.put_back_files(context, &mut reactor, &mut children, &mut missing);
        endpoint.misses_a_socket()
    };
    assert!(put_back(&mut scene.endpoint), "another process has it still");
    drop(other);
    assert!(!put_back(&mut scene.endpoint));
    assert!(scene.endpoint.pulls.are_at(Some(&path)) && !scene.endpoint.misses_a_file());
}
