use super::*;
use crate::link::Router;
use crate::os::clock::Clock;
use crate::os::connected;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

fn at(millis: u64) -> Time {
    Time::ZERO + Span::from_millis(millis)
}

/// The state of the places, set by a test.
#[derive(Default)]
struct Scene {
    unread: bool,
    queued: bool,
    sent: Vec<u64>,
    full: bool,
}

impl BarrierIo for Scene {
    fn unread(&mut self) -> bool {
        self.unread
    }

    fn send(&mut self, number: u64) -> bool {
        self.sent.push(number);
        !self.full
    }

    fn queued(&mut self) -> bool {
        self.queued
    }
}

#[test]
fn each_place_is_emptied_in_its_order_and_the_first_two_are_twice() {
    let (mut barrier, mut scene) = (Steps::default(), Scene { unread: true, ..Scene::default() });
    assert_eq!(barrier.step(at(10), &mut scene), Progress::Wait);
    assert_eq!((barrier.deadline(), scene.sent.len()), (Some(at(11)), 0), "bytes lie in the kernel");
    scene.unread = false;
    assert_eq!(barrier.step(at(10), &mut scene), Progress::Wait, "it is not looked at all the time");
    assert!(scene.sent.is_empty());
    assert_eq!(barrier.step(at(12), &mut scene), Progress::Wait);
    assert_eq!((scene.sent.as_slice(), barrier.deadline()), ([1].as_slice(), Some(at(1_010))));
    barrier.take(7, at(13));
    assert_eq!(barrier.step(at(13), &mut scene), Progress::Wait, "that was an answer to something else");
    barrier.take(1, at(14));
    scene.unread = true;
    assert_eq!(barrier.step(at(14), &mut scene), Progress::Wait, "a connection has come to light");
    scene.unread = false;
    assert_eq!(barrier.step(at(15), &mut scene), Progress::Wait);
    assert_eq!(scene.sent, [1, 2]);
    barrier.take(2, at(16));
    scene.queued = true;
    assert_eq!(barrier.step(at(16), &mut scene), Progress::Wait);
    scene.queued = false;
    assert_eq!(barrier.step(at(17), &mut scene), Progress::Until(at(12)));
}

#[test]
fn who_sends_without_end_holds_up_a_verdict_for_one_turn() {
    let (mut barrier, mut scene) = (Steps::default(), Scene { queued: true, ..Scene::default() });
    for number in 1..=2 {
        assert_eq!(barrier.step(at(1), &mut scene), Progress::Wait);
        barrier.take(number, at(1));
    }
    assert_eq!(barrier.step(at(2), &mut scene), Progress::Wait);
    assert_eq!(barrier.step(at(3), &mut scene), Progress::Until(at(1)));
}

#[test]
fn no_verdict_waits_for_ever_and_what_has_come_since_is_asked_for_within_the_same_time() {
    let (mut barrier, mut scene) = (Steps::default(), Scene { unread: true, ..Scene::default() });
    assert_eq!(barrier.step(at(0), &mut scene), Progress::Wait);
    assert_eq!(barrier.step(at(999), &mut scene), Progress::Wait);
    assert_eq!(barrier.deadline(), Some(at(1_000)));
    assert_eq!(barrier.step(at(1_000), &mut scene), Progress::Unknown);
    barrier.run = None;
    assert_eq!(barrier.deadline(), None);
    scene.unread = false;
    for number in 1..=2 {
        assert_eq!(barrier.step(at(2_000), &mut scene), Progress::Wait);
        barrier.take(number, at(2_000));
    }
    assert_eq!(barrier.step(at(2_001), &mut scene), Progress::Until(at(2_000)));
    barrier.again(at(2_400));
    for number in 3..=4 {
        assert_eq!(barrier.step(at(2_500), &mut scene), Progress::Wait);
        barrier.take(number, at(2_500));
    }
    assert_eq!(barrier.step(at(2_500), &mut scene), Progress::Until(at(2_500)));
    barrier.again(at(2_999));
    assert_eq!(barrier.step(at(3_000), &mut scene), Progress::Unknown);
    barrier.run = None;
    scene.full = true;
    assert_eq!(barrier.step(at(4_000), &mut scene), Progress::Unknown, "without a message there is no answer");
}

/// A child's connection, spoken byte by byte: what a call has written has been sent, and nothing else has.
struct Child(UnixStream);

impl Child {
    /// Connects, exchanges greetings, and sends a first beat.
    fn connect(socket: &Path) -> Child {
        let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
        bytes.extend(*b"NULL");
        bytes.resize(64, 0);
        let mut ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER".to_vec();
        bytes.extend([4, ready.len() as u8]);
        bytes.append(&mut ready);
        let mut child = Child(UnixStream::connect(socket).expect("a connection"));
        child.0.write_all(&bytes).expect("room");
        // libzmq takes no message before its half of the handshake is sent; its thread sends that without the loop.
        let mut head = [0; 66];
        child.0.read_exact(&mut head).expect("a greeting and the head of a handshake");
        child.0.read_exact(&mut vec![0; head[65].into()]).expect("the rest of it");
        child.beat();
        child
    }

    fn beat(&mut self) {
        self.0.write_all(b"\x00\x04beat").expect("room");
    }
}

/// A ROUTER with a barrier.
struct Ears {
    clock: Clock,
    socket: PathBuf,
    router: Router,
    barrier: Barrier,
    beats: usize,
}

impl Ears {
    /// One turn of a loop: reads what is there, then asks the barrier.
    fn turn(&mut self) -> Progress {
        while let Some(message) = self.router.receive() {
            let own = self.barrier.take(self.clock.now(), &message.from, &message.frames);
            self.beats += usize::from(!own);
        }
        let unread = || {
            let found = connected::unread(|socket| socket == Some(&self.socket)).expect("a list");
            !found.is_empty()
        };
        self.barrier.step(self.clock.now(), unread, || self.router.has_input())
    }

    /// How many heartbeats were read when the barrier reports that all were.
    fn beats_at_the_verdict(&mut self) -> usize {
        self.barrier.forget();
        self.beats = 0;
        loop {
            match self.turn() {
                Progress::Until(_) => return self.beats,
                Progress::Wait => std::thread::yield_now(),
                // On a machine that keeps libzmq's thread waiting for so long, the barrier shows nothing. It is asked
                // again.
                Progress::Unknown => self.barrier.forget(),
            }
        }
    }
}

#[test]
fn a_verdict_knows_of_all_that_was_sent_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let context = Sockets::new().expect("a context");
    let socket = directory.path().join("s");
    let limits = RouterLimits { frame_bytes_max: 64, frames_max: 8 };
    let router = Router::bind(&context, &socket, limits).expect("a router");
    let barrier = Barrier::connect(&context, &socket).expect("a connection");
    let mut ears = Ears { clock: Clock::start(), socket: socket.clone(), router, barrier, beats: 0 };
    let mut children: Vec<Child> = (0..48).map(|_| Child::connect(&socket)).collect();
    assert_eq!(ears.beats_at_the_verdict(), children.len(), "those of fresh connections");
    for round in 0..60 {
        // Fewer and more connections, some of them twice, in another order each time, and a new one among them.
        let some = 1 + round * 7 % children.len();
        children.rotate_left(some);
        children[..some].iter_mut().for_each(Child::beat);
        let twice = some / 3;
        children[..twice].iter_mut().for_each(Child::beat);
        children[0] = Child::connect(&socket);
        assert_eq!(ears.beats_at_the_verdict(), some + twice + 1, "in round {round}");
    }
}
