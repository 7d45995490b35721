//! Tests with peers of plain bytes and a clock that the test advances, and with a real ROUTER.
#![allow(clippy::disallowed_methods, reason = "tests have a clock, and look again after a moment")]

use super::*;
use crate::frames::{STATUS_MAX, Token};
use crate::heart::Heart;
use crate::zmtp;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

const SECOND: Duration = Duration::from_secs(1);
/// A limit that is reached only if something is broken.
const LIMIT: Duration = Duration::from_secs(20);

fn token() -> Token {
    Token::parse(&[b'7'; 32]).unwrap()
}

fn live(socket: PathBuf) -> Live {
    let interval = Some(SECOND);
    let mut live = Live::new(Supervised { socket, token: token(), path: None, incarnation: None, interval });
    live.counts = true;
    live.patience = LIMIT;
    live
}

fn heart(socket: PathBuf) -> Heart {
    Heart { live: Some(Box::new(live(socket))) }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("node.sock")
    }
}

/// The messages in what a worker has written; fails if it is not greeting, READY and whole messages.
fn messages(bytes: &[u8]) -> Vec<Message> {
    let mut rest = bytes.strip_prefix(&zmtp::GREETING).unwrap().strip_prefix(zmtp::READY).unwrap();
    let (mut all, mut frames) = (Vec::new(), Vec::new());
    while let [flags, len, tail @ ..] = rest {
        assert!(*flags <= 1, "short frames of messages");
        let (body, tail) = tail.split_at(usize::from(*len));
        frames.push(body.to_vec());
        if *flags == 0 {
            all.push(Message::read(&frames, &token()));
            frames.clear();
        }
        rest = tail;
    }
    assert!(rest.is_empty() && frames.is_empty(), "a message was cut");
    all
}

/// All that was written to an accepted connection so far.
fn read_all(peer: &mut UnixStream) -> Vec<u8> {
    peer.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    let _ = peer.read_to_end(&mut bytes);
    bytes
}

/// Runs the worker's part while a node accepts one connection and does its half of the handshake.
fn with_node(listener: &UnixListener, worker: impl FnOnce()) -> UnixStream {
    thread::scope(|scope| {
        let node = scope.spawn(|| {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(&zmtp::GREETING).unwrap();
            peer.write_all(zmtp::READY).unwrap();
            peer
        });
        worker();
        node.join().unwrap()
    })
}

fn beats(bytes: &[u8]) -> Vec<Beat> {
    let beat = |message| match message {
        Message::Beat(beat) => Some(beat),
        Message::Ready | Message::Stopping => None,
    };
    messages(bytes).into_iter().filter_map(beat).collect()
}

#[test]
fn a_heart_that_nobody_hears_does_nothing() {
    let mut heart = Heart::silent();
    heart.progress(1).pending(1).status("x").busy_for(SECOND).beat();
    heart.ready();
    heart.stopping();
    assert!(!heart.is_supervised() && heart.interval().is_none() && heart.dropped() == 0);
    assert_eq!(heart.deliver(SECOND).unwrap(), Delivered::NotSupervised);
}

#[test]
fn the_first_beat_leaves_with_the_first_call() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let mut heart = heart(place.socket());
    let mut peer = with_node(&listener, || heart.progress(5).pending(2).status("warming up").beat());
    let expected =
        Beat { seq: 1, progress: Some(5), pending: Some(2), busy_for: None, status: Some("warming up".into()) };
    assert_eq!(messages(&read_all(&mut peer)), [Message::Beat(expected)]);
}

#[test]
fn beats_in_the_innermost_loop_are_held_back() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (mut live, start) = (live(place.socket()), now());
    let mut peer = with_node(&listener, || {
        for n in 0..4_000 {
            live.news.progress = Some(n);
            live.beat(start + Duration::from_millis(n));
        }
    });
    let beats = beats(&read_all(&mut peer));
    assert_eq!(beats.iter().map(|beat| beat.seq).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
    assert!(beats.iter().map(|beat| beat.progress.unwrap()).eq((0..16).map(|n| n * 250)), "with the newest values");
    assert_eq!(live.dropped, 0);
}

#[test]
fn a_lease_is_told_at_once_and_its_end_soon() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (mut live, start) = (live(place.socket()), now());
    let mut say = |millis, lease: Option<u64>| {
        live.lease = lease.map(Duration::from_secs);
        live.beat(start + Duration::from_millis(millis));
    };
    let mut peer = with_node(&listener, || {
        say(0, None);
        say(1, Some(60)); // Sent although a beat has just gone.
        say(2, None); // Held back: the lease might be needed again in a moment.
        say(3, Some(60)); // Held back: the lease that stands does.
        say(30, None); // Sent: the lease is over.
        say(31, None); // Held back.
    });
    let leases: Vec<_> = beats(&read_all(&mut peer)).into_iter().map(|beat| beat.busy_for).collect();
    assert_eq!(leases, [None, Some(SECOND * 60), None]);
}

#[test]
fn a_loop_around_leases_does_not_flood() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (mut live, start) = (live(place.socket()), now());
    let mut peer = with_node(&listener, || {
        for micros in 0..1_000_000 / 50 {
            live.lease = Some(LEASE_MAX);
            live.beat(start + Duration::from_micros(micros * 50));
            live.beat(start + Duration::from_micros(micros * 50 + 20));
        }
    });
    let count = beats(&read_all(&mut peer)).len();
    assert!((50..=101).contains(&count), "{count} in a second");
}

#[test]
fn a_node_that_does_not_read_costs_nothing_and_gets_whole_messages() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (mut live, start) = (live(place.socket()), now());
    live.news.status = Some("s".repeat(STATUS_MAX - 1));
    let mut peer = with_node(&listener, || live.beat(start));
    let mut slowest = Duration::ZERO;
    for n in 1..5_000 {
        let begin = now();
        live.beat(start + SECOND * n);
        slowest = slowest.max(begin.elapsed());
    }
    assert!(live.dropped > 0, "the buffer of a socket has an end");
    // The bound only has to distinguish a system call or two, also on a busy machine, from a wait.
    assert!(slowest < LIMIT / 2, "{slowest:?}");
    assert!(live.connection.as_ref().unwrap().is_flushed() || live.in_flight.beat, "one message is kept at most");

    // When the node reads again, the message that was begun is finished before a new one.
    let mut bytes = read_all(&mut peer);
    live.beat(start + SECOND * 5_000);
    bytes.extend(read_all(&mut peer));
    let beats = beats(&bytes);
    assert!(beats.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert!(beats.len() < 5_000);
}

/// As with a suspended node: the kernel accepts the connection, and no answer comes.
#[test]
fn a_node_that_never_answers_is_waited_for_once() {
    let place = Place::new();
    let _nobody_accepts = UnixListener::bind(place.socket()).unwrap();
    let (mut live, start) = (live(place.socket()), now());
    live.patience = HANDSHAKE_WAIT;
    live.beat(start);
    live.patience = LIMIT;
    let begin = now();
    for n in 1..1_000 {
        live.beat(start + SECOND * n);
    }
    assert!(begin.elapsed() < LIMIT);
    assert_eq!(live.dropped, 1_000);
    assert!(live.connection.as_ref().unwrap().is_flushed(), "nothing is queued");
}

#[test]
fn a_node_whose_backlog_is_full_costs_nothing() {
    let place = Place::new();
    let _nobody_accepts = UnixListener::bind(place.socket()).unwrap();
    let mut others = Vec::new();
    while let Ok(stream) = crate::stream::connect_now(&place.socket()) {
        others.push(stream);
    }
    let (mut live, start) = (live(place.socket()), now());
    for n in 0..100 {
        let begin = now();
        live.beat(start + SECOND * n);
        assert!(begin.elapsed() < LIMIT / 2);
    }
    assert_eq!(live.dropped, 100);
    assert_eq!(live.last_error, Some(io::ErrorKind::WouldBlock));
    let error = live.deliver(now() + Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, DeliverError::Unreachable(_)), "{error:?}");
}

#[test]
fn a_new_node_is_told_again_that_the_worker_is_ready() {
    let place = Place::new();
    let (mut live, start) = (live(place.socket()), now());
    live.said_ready = true;
    live.due.ready = true;
    assert!(!live.transmit(start), "no supervisor is there");
    let listener = UnixListener::bind(place.socket()).unwrap();
    assert!(!live.transmit(start + RECONNECT_GAP / 2), "too early for another try");
    let mut peer = with_node(&listener, || assert!(live.transmit(start + RECONNECT_GAP)));
    assert_eq!(messages(&read_all(&mut peer)), [Message::Ready]);
    // The node exits and another one takes its place.
    drop((peer, listener));
    std::fs::remove_file(place.socket()).unwrap();
    live.beat(start + SECOND);
    let listener = UnixListener::bind(place.socket()).unwrap();
    let mut peer = with_node(&listener, || live.beat(start + SECOND * 2));
    let bodies = messages(&read_all(&mut peer));
    assert!(matches!(&bodies[..], [Message::Ready, Message::Beat(_)]), "{bodies:?}");
}

#[test]
fn a_ping_is_answered_with_the_next_beat() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (mut live, start) = (live(place.socket()), now());
    let mut peer = with_node(&listener, || live.beat(start));
    peer.write_all(b"\x04\x0a\x04PING\x00\x0aabc").unwrap();
    live.beat(start + SECOND);
    let bytes = read_all(&mut peer);
    assert!(bytes.windows(10).any(|bytes| bytes == b"\x04\x08\x04PONGabc"));
}

#[test]
fn who_answers_in_another_protocol_is_left() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (mut live, start) = (live(place.socket()), now());
    live.patience = Duration::ZERO;
    live.beat(start);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(&[b'x'; 100]).unwrap();
    live.beat(start + SECOND);
    assert_eq!(live.last_error, Some(io::ErrorKind::InvalidData));
}

/// The situation of a forked child: the record of its parent, and another process id.
#[test]
fn a_forked_child_is_silent() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let mut heart = heart(place.socket());
    heart.live.as_mut().unwrap().owner += 1;
    heart.beat();
    heart.ready();
    assert_eq!(heart.deliver(SECOND).unwrap(), Delivered::NotSupervised);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "it has not even connected");
}

#[test]
fn a_delivery_to_a_node_that_does_not_read_ends_in_time() {
    let place = Place::new();
    let _nobody_accepts = UnixListener::bind(place.socket()).unwrap();
    let mut heart = heart(place.socket());
    heart.live.as_mut().unwrap().patience = Duration::ZERO;
    heart.beat();
    let begin = now();
    let error = heart.deliver(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, DeliverError::NotTaken(_)), "{error:?}");
    assert!(begin.elapsed() < LIMIT);
    assert!(heart.live.unwrap().due.beat, "the next call tries again");
}

#[test]
fn a_delivery_to_nobody_ends_in_time() {
    let mut heart = heart(Place::new().socket());
    heart.beat();
    let error = heart.deliver(Duration::from_millis(50)).unwrap_err();
    let DeliverError::Unreachable(cause) = error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), io::ErrorKind::NotFound);
}

mod with_a_router {
    use super::*;

    /// A ROUTER as a node has it.
    struct Router {
        // Dropped before its context, which waits for it.
        socket: zmq::Socket,
        _context: zmq::Context,
    }

    struct Inbound {
        from: Vec<u8>,
        pid: Option<u32>,
        frames: Vec<Vec<u8>>,
    }

    impl Router {
        fn bind(path: &std::path::Path) -> Router {
            let context = zmq::Context::new();
            let socket = context.socket(zmq::ROUTER).unwrap();
            socket.set_linger(0).unwrap();
            socket.set_rcvhwm(10_000).unwrap();
            socket.set_maxmsgsize(STATUS_MAX as i64).unwrap();
            socket.bind(&format!("ipc://{}", path.display())).unwrap();
            Router { socket, _context: context }
        }

        fn receive(&mut self) -> Option<Inbound> {
            let mut from = zmq::Message::new();
            self.socket.recv(&mut from, zmq::DONTWAIT).ok()?;
            let mut frame = zmq::Message::new();
            let mut inbound = Inbound { from: from.to_vec(), pid: None, frames: Vec::new() };
            while self.socket.get_rcvmore().unwrap() {
                self.socket.recv(&mut frame, 0).unwrap();
                // `localhost:UID:GID:PID`, in a build with credentials.
                let pid = frame.gets("Peer-Address").and_then(|address| address.split(':').nth(3)?.parse().ok());
                inbound.pid = inbound.pid.or(pid);
                inbound.frames.push(frame.to_vec());
            }
            Some(inbound)
        }
    }

    /// Waits for the next message.
    fn receive(router: &mut Router) -> Inbound {
        let begin = now();
        loop {
            if let Some(inbound) = router.receive() {
                return inbound;
            }
            assert!(begin.elapsed() < LIMIT, "no message has come");
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn body(inbound: &Inbound) -> Message {
        Message::read(&inbound.frames, &token())
    }

    #[test]
    fn beats_arrive_in_order_with_credentials() {
        let place = Place::new();
        let mut router = Router::bind(&place.socket());
        let (mut live, start) = (live(place.socket()), now());
        for n in 0..500u32 {
            live.news.progress = Some(n.into());
            live.news.status = Some("ü".repeat(STATUS_MAX / 2));
            live.beat(start + SECOND * n);
            let inbound = receive(&mut router);
            let Message::Beat(beat) = body(&inbound) else { panic!("no beat") };
            assert_eq!((beat.seq, beat.progress), (u64::from(n) + 1, Some(n.into())));
            assert_eq!(inbound.pid, Some(std::process::id()));
        }
        assert_eq!(live.dropped, 0);
        assert!(live.connection.as_ref().unwrap().is_flushed());
    }

    #[test]
    fn two_processes_of_one_worker_do_not_take_each_others_place() {
        let place = Place::new();
        let mut router = Router::bind(&place.socket());
        let (mut one, mut other, start) = (live(place.socket()), live(place.socket()), now());
        one.beat(start);
        let first = receive(&mut router).from;
        other.beat(start);
        assert_ne!(receive(&mut router).from, first);
        one.beat(start + SECOND);
        assert_eq!(receive(&mut router).from, first);
    }

    #[test]
    fn nothing_that_was_delivered_is_lost() {
        const SENDERS: u64 = 400;
        let place = Place::new();
        let mut router = Router::bind(&place.socket());
        let mut seen = std::collections::BTreeSet::new();
        thread::scope(|scope| {
            for thread in 0..4 {
                let socket = place.socket();
                scope.spawn(move || {
                    for n in (0..SENDERS).filter(|n| n % 4 == thread) {
                        let mut heart = heart(socket.clone()).uncounted();
                        heart.ready();
                        heart.progress(n).beat();
                        assert_eq!(heart.deliver(LIMIT).unwrap(), Delivered::Taken);
                    }
                });
            }
            let mut readies = 0;
            while seen.len() < SENDERS as usize || readies < SENDERS {
                match body(&receive(&mut router)) {
                    Message::Ready => readies += 1,
                    Message::Beat(beat) => {
                        assert_eq!(beat.seq, 0);
                        assert!(seen.insert(beat.progress.unwrap()), "a beat came twice");
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
    }

    /// The acknowledgement is the node's process's, not its loop's: it comes while the loop is busy.
    #[test]
    fn a_delivery_does_not_wait_for_the_nodes_loop() {
        let place = Place::new();
        let mut router = Router::bind(&place.socket());
        let mut heart = heart(place.socket());
        heart.beat();
        assert_eq!(heart.deliver(LIMIT).unwrap(), Delivered::Taken);
        assert!(matches!(body(&receive(&mut router)), Message::Beat(_)));
        // A heart stays usable after a delivery.
        heart.stopping();
        assert_eq!(heart.deliver(LIMIT).unwrap(), Delivered::Taken);
        assert_eq!(body(&receive(&mut router)), Message::Stopping);
        assert_eq!(heart.deliver(LIMIT).unwrap(), Delivered::Taken, "nothing to deliver is delivered");
    }

    #[test]
    fn a_node_that_comes_back_is_found_again() {
        let place = Place::new();
        let (mut live, mut at) = (live(place.socket()), now());
        for _ in 0..3 {
            // Dropping it waits until the socket is closed, as the end of a process does.
            let mut router = Router::bind(&place.socket());
            let begin = now();
            let inbound = loop {
                at += SECOND;
                live.beat(at);
                if let Some(inbound) = router.receive() {
                    break inbound;
                }
                assert!(begin.elapsed() < LIMIT, "no beat has come");
                thread::sleep(Duration::from_millis(1));
            };
            assert!(matches!(body(&inbound), Message::Beat(_)));
        }
    }

    #[test]
    fn hundreds_of_hearts_connect_at_once() {
        let place = Place::new();
        let mut router = Router::bind(&place.socket());
        let (mut hearts, mut at) = ((0..300).map(|_| live(place.socket())).collect::<Vec<_>>(), now());
        let mut seen = std::collections::HashSet::new();
        let begin = now();
        while seen.len() < hearts.len() {
            at += SECOND;
            hearts.iter_mut().for_each(|live| live.beat(at));
            while let Some(inbound) = router.receive() {
                seen.insert(inbound.from);
            }
            assert!(begin.elapsed() < LIMIT, "{} of {} have arrived", seen.len(), hearts.len());
        }
    }
}
