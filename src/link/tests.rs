//! Real sockets in a temporary directory. Every wait has a limit that is long enough to mean "broken".

mod binding;
mod doors;
mod own_process;

use crate::os::zeromq;
use crate::time::Span;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};

use super::*;

const LIMITS: RouterLimits = RouterLimits { frame_bytes_max: 64 * 1024, frames_max: 8 };
/// Longer than anything takes on a busy machine.
const BROKEN: Duration = Duration::from_secs(20);

/// A directory, a context, and a router bound in it.
struct Room {
    directory: tempfile::TempDir,
    context: Context,
    router: Router,
}

impl Room {
    fn new() -> Room {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let context = Context::new().expect("a context");
        let router = Router::bind(&context, &directory.path().join("r.sock"), LIMITS).expect("a router");
        Room { directory, context, router }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("r.sock")
    }

    fn dealer(&self, identity: &[u8]) -> Dealer {
        Dealer::connect(&self.context, &self.socket(), identity, LIMITS).expect("a dealer")
    }
}

/// Sleeps until the descriptor is readable, as a loop would: a plain poll(2), which does not use the socket.
fn sleep_on(fd: RawFd) {
    assert!(sleeps_well(fd), "nothing came");
}

/// Whether sleeping on the descriptor ended before the limit.
fn sleeps_well(fd: RawFd) -> bool {
    let mut items = [zmq::PollItem::from_fd(fd, zmq::POLLIN)];
    zmq::poll(&mut items, BROKEN.as_millis() as i64).expect("no signal is expected") > 0
}

fn next_message(router: &mut Router) -> Inbound {
    loop {
        match router.receive() {
            Some(message) => return message,
            None if router.has_input() => {}
            None => sleep_on(router.fd()),
        }
    }
}

fn answer(dealer: &mut Dealer) -> Vec<Vec<u8>> {
    assert!(dealer.wait_input(BROKEN), "no answer");
    dealer.receive().expect("it was said to be there")
}

#[test]
fn a_message_goes_both_ways_with_all_its_frames() {
    let mut room = Room::new();
    let mut dealer = room.dealer(b"/web/api#1");
    assert!(dealer.send(&[b"one", b"", b"three"]));
    let heard = next_message(&mut room.router);
    assert_eq!(heard.from, Identity::new(b"/web/api#1"));
    assert_eq!(heard.frames, [b"one".to_vec(), vec![], b"three".to_vec()]);
    assert_eq!(room.router.send(&heard.from, &[b"", b"back"]), SendOutcome::Sent);
    assert_eq!(answer(&mut dealer), [vec![], b"back".to_vec()]);
    assert!(room.router.take_dropped().is_empty());
}

#[test]
fn a_dealer_without_a_name_can_be_answered() {
    let mut room = Room::new();
    let (mut one, mut two) = (room.dealer(b""), room.dealer(b""));
    assert!(one.send(&[b"1"]) && two.send(&[b"2"]));
    for _ in 0..2 {
        let heard = next_message(&mut room.router);
        assert_eq!(room.router.send(&heard.from, &[&heard.frames[0]]), SendOutcome::Sent);
    }
    assert_eq!(answer(&mut one), [b"1"]);
    assert_eq!(answer(&mut two), [b"2"]);
}

#[test]
fn the_kernel_says_who_a_peer_is_and_the_peer_cannot() {
    let mut room = Room::new();
    let own = PeerCred {
        pid: std::process::id(),
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    };
    let mut dealer = room.dealer(b"honest");
    assert!(dealer.send(&[b"x"]));
    assert_eq!(next_message(&mut room.router).peer, Some(own));
    let mut liar = Raw::connect(&room.socket(), &[("Identity", b"liar"), ("Peer-Address", b"localhost:0:0:1")]);
    liar.write(&frame(0, b"x"));
    let heard = next_message(&mut room.router);
    assert_eq!((heard.from, heard.peer), (Identity::new(b"liar"), Some(own)));
}

#[test]
fn the_kernel_says_who_a_peer_of_an_old_version_is() {
    let mut room = Room::new();
    let mut peer = UnixStream::connect(room.socket()).expect("a connection");
    // ZMTP 1.0 has no handshake: an empty identity, then a message of one byte. libzmq takes any other protocol for it.
    peer.write_all(b"\x01\x00\x02\x00x").expect("room");
    let heard = next_message(&mut room.router);
    assert_eq!((heard.frames, heard.peer.map(|peer| peer.pid)), (vec![b"x".to_vec()], Some(std::process::id())));
}

#[test]
fn a_message_to_no_peer_is_an_error() {
    let mut room = Room::new();
    let absent = Identity::new(b"absent");
    assert_eq!(room.router.send(&absent, &[b"x"]), SendOutcome::NoSuchPeer);
    assert_eq!(room.router.send(&absent, &[b"x", b"y"]), SendOutcome::NoSuchPeer);
    // A failed send must not leave frames behind that would become part of a later message.
    let mut dealer = room.dealer(b"a peer");
    assert!(dealer.send(&[b"hello"]));
    let heard = next_message(&mut room.router);
    assert_eq!(room.router.send(&heard.from, &[b"a", b"b"]), SendOutcome::Sent);
    assert_eq!(answer(&mut dealer), [b"a", b"b"]);
}

#[test]
fn a_peer_that_does_not_read_fills_its_queue_only() {
    let mut room = Room::new();
    let mut deaf = Raw::connect(&room.socket(), &[("Identity", b"deaf")]);
    deaf.write(&frame(0, b"hello"));
    let deaf_name = next_message(&mut room.router).from;
    let frame = vec![0; 32 * 1024];
    let full = (0..10_000).any(|_| room.router.send(&deaf_name, &[&frame]) == SendOutcome::Full);
    assert!(full, "the queue has no end");
    let mut dealer = room.dealer(b"keen");
    assert!(dealer.send(&[b"hello"]));
    let heard = next_message(&mut room.router);
    assert_eq!(room.router.send(&heard.from, &[b"still here"]), SendOutcome::Sent);
    assert_eq!(answer(&mut dealer), [b"still here"]);
}

#[test]
fn a_dealer_whose_peer_is_not_there_fills_its_queue_and_delivers_it_later() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let context = Context::new().expect("a context");
    let socket = directory.path().join("later.sock");
    let mut dealer = Dealer::connect(&context, &socket, b"early", LIMITS).expect("a dealer");
    let sent = (0..1000u32).take_while(|number| dealer.send(&[&number.to_be_bytes()])).count();
    assert!((1..=64).contains(&sent), "{sent}");
    let mut router = Router::bind(&context, &socket, LIMITS).expect("a router");
    for number in 0..sent as u32 {
        assert_eq!(next_message(&mut router).frames, [number.to_be_bytes()]);
    }
}

#[test]
fn as_many_messages_as_there_are_peers_have_one_of_each_among_them() {
    let mut room = Room::new();
    let mut dealers: Vec<Dealer> = (0..50u8).map(|number| room.dealer(&[b'p', number])).collect();
    for dealer in &mut dealers {
        assert!(dealer.send(&[b"hello"]));
    }
    for _ in &dealers {
        next_message(&mut room.router);
    }
    for dealer in &mut dealers {
        (0..20).for_each(|_| assert!(dealer.send(&[b"x"])));
    }
    // The same thread of libzmq carries this message after all of those, so all of them have arrived when it has.
    let other = room.directory.path().join("other.sock");
    let mut behind = Router::bind(&room.context, &other, LIMITS).expect("a router");
    let mut last = Dealer::connect(&room.context, &other, b"last", LIMITS).expect("a dealer");
    assert!(last.send(&[b"x"]));
    next_message(&mut behind);
    // A socket that has become ready since the last call is not yet among those that are read in turn.
    assert!(room.router.has_input());
    let heard: BTreeSet<Identity> = dealers.iter().map(|_| next_message(&mut room.router).from).collect();
    assert_eq!(heard.len(), dealers.len());
}

#[test]
fn a_message_with_too_many_frames_is_dropped_and_counted() {
    let mut room = Room::new();
    let mut dealer = room.dealer(b"wordy");
    let frames = [b"x".as_slice(); 9];
    assert!(dealer.send(&frames));
    assert!(dealer.send(&frames[..8]));
    assert_eq!(next_message(&mut room.router).frames.len(), 8);
    let dropped = room.router.take_dropped().too_many_frames;
    assert_eq!(dropped.iter().map(|peer| peer.map(|peer| peer.pid)).collect::<Vec<_>>(), [Some(std::process::id())]);
    assert!(room.router.take_dropped().is_empty());
    // The same in the other direction.
    assert_eq!(room.router.send(&Identity::new(b"wordy"), &frames), SendOutcome::Sent);
    assert_eq!(room.router.send(&Identity::new(b"wordy"), &[b"short"]), SendOutcome::Sent);
    assert!(dealer.wait_input(BROKEN));
    while dealer.has_input() || dealer.wait_input(BROKEN) {
        if let Some(frames) = dealer.receive() {
            assert_eq!(frames, [b"short"]);
            break;
        }
    }
}

#[test]
fn an_oversized_frame_costs_its_sender_the_connection_and_no_other_peer_anything() {
    let mut room = Room::new();
    let mut giant = Raw::connect(&room.socket(), &[("Identity", b"giant")]);
    let mut dealer = room.dealer(b"small");
    assert!(dealer.send(&[b"before"]));
    assert_eq!(next_message(&mut room.router).frames, [b"before"]);
    // The header of a frame of 100 MB, and then as much of the frame as the socket accepts.
    let mut head = vec![0x02];
    head.extend((100_000_000u64).to_be_bytes());
    giant.write(&head);
    let taken = giant.write_until_closed(&[0; 8192], 100_000_000);
    // The size of the kernel's buffers, not more.
    assert!(taken < 4_000_000, "{taken} bytes were taken");
    assert!(dealer.send(&[b"after"]));
    assert_eq!(next_message(&mut room.router).frames, [b"after"]);
    assert_eq!(room.router.send(&Identity::new(b"giant"), &[b"x"]), SendOutcome::NoSuchPeer);
}

#[test]
fn a_message_that_never_ends_costs_its_sender_the_connection() {
    let mut room = Room::new();
    let mut endless = Raw::connect(&room.socket(), &[("Identity", b"endless")]);
    let part = frame(0x01, &[7; 200]);
    let taken = endless.write_until_closed(&part, 100_000_000);
    assert!(taken < 4_000_000, "{taken} bytes were taken");
    let mut dealer = room.dealer(b"brief");
    assert!(dealer.send(&[b"x"]));
    assert_eq!(next_message(&mut room.router).from, Identity::new(b"brief"));
}

#[test]
fn the_last_to_take_a_name_has_it() {
    let mut room = Room::new();
    let mut old = room.dealer(b"/a#1");
    assert!(old.send(&[b"old"]));
    assert_eq!(next_message(&mut room.router).frames, [b"old"]);
    let mut new = room.dealer(b"/a#1");
    assert!(new.send(&[b"new"]));
    assert_eq!(next_message(&mut room.router).frames, [b"new"]);
    assert_eq!(room.router.send(&Identity::new(b"/a#1"), &[b"to the new one"]), SendOutcome::Sent);
    assert_eq!(answer(&mut new), [b"to the new one"]);
}

#[test]
fn a_dealer_finds_a_router_that_was_replaced() {
    let Room { directory, context, router } = Room::new();
    let socket = directory.path().join("r.sock");
    let mut dealer = Dealer::connect(&context, &socket, b"loyal", LIMITS).expect("a dealer");
    let mut router = router;
    assert!(dealer.send(&[b"1"]));
    assert_eq!(next_message(&mut router).frames, [b"1"]);
    router.close(Span::ZERO);
    // libzmq's reaper thread closes the socket, so for a moment the path may still be in use.
    let mut router = until(|| Router::bind(&context, &socket, LIMITS).ok());
    assert!(dealer.send(&[b"2"]));
    // Messages in transit to the old router may be lost; the dealer sends again.
    let heard = until(|| {
        let heard = router.receive();
        if heard.is_none() {
            dealer.send(&[b"2"]);
        }
        heard
    });
    assert_eq!(heard.frames, [b"2"]);
}

#[test]
fn what_was_sent_before_closing_arrives_when_there_is_a_linger() {
    let mut room = Room::new();
    for number in 0..20u8 {
        let context = Context::new().expect("a context");
        let mut dealer = Dealer::connect(&context, &room.socket(), b"brief", LIMITS).expect("a dealer");
        assert!(dealer.send(&[&[number]]));
        dealer.close(Span::from_secs(10));
        drop(context);
        assert_eq!(next_message(&mut room.router).frames, [[number]]);
    }
}

#[test]
fn a_connection_that_is_made_after_closing_is_reported_to_none_and_carries_what_was_sent() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (context, far) = (Context::new().expect("a context"), Context::new().expect("a context"));
    let socket = directory.path().join("later.sock");
    let mut dealer = Dealer::connect_and_report(&context, &socket, b"brief", LIMITS).expect("a dealer");
    assert!(dealer.send(&[b"x"]));
    dealer.close(Span::from_secs(60));
    let mut router = Router::bind(&far, &socket, LIMITS).expect("a router");
    assert_eq!(next_message(&mut router).frames, [b"x"]);
    let dropped = thread::spawn(move || drop(context));
    until(|| dropped.is_finished().then_some(()));
}

#[test]
fn dropping_everything_with_unsent_messages_does_not_hang() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let context = Context::new().expect("a context");
    let mut dealer = Dealer::connect(&context, &directory.path().join("absent.sock"), b"", LIMITS).expect("a dealer");
    assert!(dealer.send(&[b"x"]));
    let dropped = thread::spawn(move || drop((dealer, context)));
    until(|| dropped.is_finished().then_some(()));
}

#[test]
fn waiting_ends_with_the_limit() {
    let room = Room::new();
    let mut dealer = room.dealer(b"patient");
    assert!(!dealer.wait_input(Duration::ZERO));
    assert!(!dealer.wait_input(Duration::from_millis(20)));
}

/// Several senders, with answers in between (which consume the descriptor's signals), and the rule: the loop must never
/// sleep while a message waits. A loop without the rule hangs within this many messages.
#[test]
fn the_rule_loses_no_wake_up() {
    const SENDERS: u32 = 2;
    const EACH: u32 = 100_000;
    let mut room = Room::new();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mut dealer = room.dealer(&[b'a' + sender as u8]);
            thread::spawn(move || {
                let mut answers = 0;
                for number in 0..EACH {
                    while !dealer.send(&[&number.to_be_bytes()]) {
                        thread::yield_now();
                    }
                    while dealer.receive().is_some() {
                        answers += 1;
                    }
                }
                while answers < EACH / 100 && dealer.wait_input(BROKEN) {
                    while dealer.receive().is_some() {
                        answers += 1;
                    }
                }
                answers
            })
        })
        .collect();
    let mut heard = 0;
    while heard < SENDERS * EACH {
        if !room.router.has_input() {
            let woken = sleeps_well(room.router.fd());
            assert!(woken, "it slept after {heard} messages; does one wait? {}", room.router.has_input());
        }
        for _ in 0..512 {
            let Some(message) = room.router.receive() else { break };
            heard += 1;
            let number = u32::from_be_bytes(message.frames[0][..].try_into().expect("four bytes"));
            if number % 100 == 0 {
                assert_eq!(room.router.send(&message.from, &[b"yes"]), SendOutcome::Sent);
            }
        }
    }
    for sender in senders {
        assert_eq!(sender.join().expect("no panic"), EACH / 100);
    }
}

/// Repeats until there is a result. libzmq's threads bring it about, and report nothing.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let steps = BROKEN.as_millis() / 2;
    for _ in 0..steps {
        if let Some(answer) = ask() {
            return answer;
        }
        // A poll of no descriptors is a pause.
        zmq::poll(&mut [], 2).expect("no signal is expected");
    }
    panic!("it never came about");
}

/// A peer that implements ZMTP 3.0 itself, so that it can break the rules.
struct Raw(UnixStream);

impl Raw {
    /// Connects as a DEALER with these properties, and performs the handshake.
    fn connect(socket: &Path, properties: &[(&str, &[u8])]) -> Raw {
        let mut stream = UnixStream::connect(socket).expect("connected");
        stream.set_read_timeout(Some(BROKEN)).expect("set");
        let mut greeting = [0; 64];
        greeting[0] = 0xff;
        greeting[9] = 0x7f;
        greeting[10] = 3;
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting).expect("greeted");
        stream.read_exact(&mut greeting).expect("greeted back");
        let mut ready = b"\x05READY".to_vec();
        for (name, value) in [("Socket-Type", &b"DEALER"[..])].iter().chain(properties) {
            ready.push(name.len() as u8);
            ready.extend(name.as_bytes());
            ready.extend((value.len() as u32).to_be_bytes());
            ready.extend(*value);
        }
        stream.write_all(&frame(0x04, &ready)).expect("said");
        let mut head = [0; 2];
        stream.read_exact(&mut head).expect("heard");
        assert_eq!(head[0], 0x04);
        stream.read_exact(&mut vec![0; head[1].into()]).expect("heard");
        Raw(stream)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("written");
    }

    /// Writes `piece` repeatedly until the connection is closed, at most `limit` bytes. Returns how many were accepted.
    fn write_until_closed(&mut self, piece: &[u8], limit: usize) -> usize {
        self.0.set_write_timeout(Some(BROKEN)).expect("set");
        let mut taken = 0;
        while taken < limit {
            match self.0.write(piece) {
                Ok(bytes) => taken += bytes,
                Err(error) => {
                    let closed = [std::io::ErrorKind::BrokenPipe, std::io::ErrorKind::ConnectionReset];
                    assert!(closed.contains(&error.kind()), "{error}");
                    break;
                }
            }
        }
        taken
    }
}

/// A short ZMTP frame.
fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags, u8::try_from(body.len()).expect("a short frame")];
    frame.extend(body);
    frame
}

#[test]
fn events_that_nothing_reads_hold_up_neither_the_socket_nor_its_end() {
    let room = Room::new();
    let endpoint = context::endpoint(&room.directory.path().join("d.sock")).unwrap();
    let mut socket = room.context.socket(zmq::DEALER, &endpoint, LIMITS.frame_bytes_max).unwrap();
    let _reports = room.context.reports(&socket, "inproc://events", zmq::SocketEvent::LISTENING as i32).unwrap();
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        // One event each; two sockets with libzmq's own limits keep 2,000 of them.
        for _ in 0..2_500 {
            socket.bind(&endpoint).unwrap();
            socket.unbind(&endpoint).unwrap();
        }
        zeromq::report_no_more(&mut socket);
        drop(socket);
        done.send(()).unwrap();
    });
    is_done.recv_timeout(BROKEN).expect("libzmq waits for the events to be read");
}
