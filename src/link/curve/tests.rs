//! Real connections over loopback.

use super::*;
use zmq::CurveKeyPair as Pair;

const LIMITS: Limits = Limits { frame_bytes_max: 256 * 1024, frames_max: 64 };
/// Longer than anything takes on a busy machine.
const BROKEN: i64 = 20_000;

struct Both {
    context: Context,
    router: CurveRouter,
    server: Pair,
    made: u64,
}

impl Both {
    fn new() -> Both {
        let context = Context::new().unwrap();
        let server = Pair::new().unwrap();
        let router = CurveRouter::bind(&context, "tcp://127.0.0.1:*", &server.secret_key, LIMITS).unwrap();
        Both { context, router, server, made: 0 }
    }

    fn connect(&mut self, pair: &Pair) -> CurveDealer {
        self.made += 1;
        let keys = (&pair.public_key, &pair.secret_key);
        CurveDealer::connect(&self.context, self.router.endpoint(), &self.server.public_key, keys, LIMITS, self.made)
            .unwrap()
    }

    /// Sends frames over a connection that is up. For a moment after the event, libzmq does not accept messages yet.
    fn sends(&mut self, dealer: &mut CurveDealer, frames: &[Vec<u8>]) {
        while !dealer.send(frames) {
            self.router.serve();
            std::thread::yield_now();
        }
    }

    /// Serves until `so` returns a value.
    fn until<T>(
        &mut self,
        dealer: &mut CurveDealer,
        so: impl Fn(&mut CurveRouter, &mut CurveDealer) -> Option<T>,
    ) -> T {
        loop {
            self.router.serve();
            if let Some(found) = so(&mut self.router, dealer) {
                return found;
            }
            if self.router.has_input() || dealer.has_news() {
                continue;
            }
            let fds = self.router.fds().into_iter().chain([dealer.fd()]);
            let mut items: Vec<_> = fds.map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLIN)).collect();
            assert!(zmq::poll(&mut items, BROKEN).unwrap() > 0, "nothing came");
        }
    }
}

fn is_up(_: &mut CurveRouter, dealer: &mut CurveDealer) -> Option<()> {
    matches!(dealer.state(), ConnectionState::Up(_)).then_some(())
}

fn allowed(pairs: &[(&Pair, &str)], strangers: bool) -> AllowedPeers {
    let hosts = pairs.iter().map(|(pair, name)| (pair.public_key, (*name).to_owned())).collect();
    AllowedPeers { hosts, strangers }
}

#[test]
fn a_message_has_the_proved_name_of_its_sender_and_none_once_that_is_revoked() {
    let (mut both, pair) = (Both::new(), Pair::new().unwrap());
    both.router.admit(allowed(&[(&pair, "b")], false));
    let mut dealer = both.connect(&pair);
    assert!(!dealer.send(&[b"lost".to_vec()]), "nothing is queued for a connection that is not there");
    both.until(&mut dealer, is_up);
    let largest = vec![7; LIMITS.frame_bytes_max];
    both.sends(&mut dealer, &[b"x".to_vec(), largest.clone()]);
    let first = both.until(&mut dealer, |router, _| router.receive());
    assert_eq!((first.from, first.frames.len()), (Sender::Host("b".into()), 2));
    assert_eq!(first.frames[1], largest);
    both.router.admit(AllowedPeers::default());
    assert!(dealer.send(&[b"y".to_vec()]));
    both.until(&mut dealer, |router, _| {
        assert!(router.receive().is_none());
        (router.rejected().dropped == 1).then_some(())
    });
}

#[test]
fn with_another_key_it_listens_at_the_same_place_and_is_found_by_that_key_alone() {
    let (mut both, pair) = (Both::new(), Pair::new().unwrap());
    both.router.admit(allowed(&[(&pair, "b")], false));
    let mut before = both.connect(&pair);
    both.until(&mut before, is_up);
    let (place, next) = (both.router.endpoint().to_owned(), Pair::new().unwrap());
    both.router.rekey(&both.context, &next.secret_key).unwrap();
    while !both.router.bind_again() {
        std::thread::yield_now();
    }
    assert_eq!(both.router.endpoint(), place);
    both.until(&mut before, |_, dealer| matches!(dealer.state(), ConnectionState::None).then_some(()));
    both.server = next;
    let mut dealer = both.connect(&pair);
    both.until(&mut dealer, is_up);
    both.sends(&mut dealer, &[b"x".to_vec()]);
    let came = both.until(&mut dealer, |router, _| router.receive());
    assert_eq!(came.from, Sender::Host("b".into()));
}

#[test]
fn an_unknown_key_is_refused() {
    let mut both = Both::new();
    both.router.admit(allowed(&[(&Pair::new().unwrap(), "b")], false));
    let mut dealer = both.connect(&Pair::new().unwrap());
    both.until(&mut dealer, |_, dealer| (dealer.state() == ConnectionState::Refused).then_some(()));
    assert_eq!(both.router.rejected().unknown, 1);
    assert!(!dealer.send(&[b"x".to_vec()]));
}

#[test]
fn one_without_a_certificate_is_answered_by_its_connection_while_such_may_connect() {
    let (mut both, pair) = (Both::new(), Pair::new().unwrap());
    both.router.admit(allowed(&[], true));
    let mut dealer = both.connect(&pair);
    both.until(&mut dealer, is_up);
    both.sends(&mut dealer, &[b"join".to_vec()]);
    let came = both.until(&mut dealer, |router, _| router.receive());
    assert_eq!(came.from, Sender::Stranger(pair.public_key));
    assert!(both.router.reply(&came.connection, &[b"welcome".to_vec()]));
    let mut items = [dealer.socket.as_poll_item(zmq::POLLIN)];
    zmq::poll(&mut items, BROKEN).unwrap();
    assert_eq!(dealer.receive(), Some(vec![b"welcome".to_vec()]));
}

#[test]
fn a_peer_without_encryption_is_refused() {
    let mut both = Both::new();
    both.router.admit(allowed(&[], true));
    let plain = both.context.context.socket(zmq::DEALER).unwrap();
    plain.set_linger(0).unwrap();
    plain.monitor("inproc://plain", zmq::SocketEvent::ALL as i32).unwrap();
    let reports = both.context.context.socket(zmq::PAIR).unwrap();
    reports.connect("inproc://plain").unwrap();
    plain.connect(both.router.endpoint()).unwrap();
    plain.send("x", 0).unwrap();
    // Whichever event libzmq reports, the handshake does not succeed.
    loop {
        let mut items = [reports.as_poll_item(zmq::POLLIN)];
        assert!(zmq::poll(&mut items, BROKEN).unwrap() > 0, "nothing came");
        let event = reports.recv_multipart(0).unwrap()[0].clone();
        let event = zmq::SocketEvent::from_raw(u16::from_ne_bytes([event[0], event[1]]));
        assert_ne!(event, zmq::SocketEvent::HANDSHAKE_SUCCEEDED);
        if event == zmq::SocketEvent::DISCONNECTED || event.to_raw() & 0x6800 != 0 {
            break;
        }
    }
    assert!(both.router.receive().is_none());
}

#[test]
fn one_that_is_dropped_before_it_is_up_holds_up_no_other() {
    let (mut both, pair) = (Both::new(), Pair::new().unwrap());
    both.router.admit(allowed(&[(&pair, "b")], false));
    for _ in 0..200 {
        let dealer = both.connect(&pair);
        while !drain::has_input(&both.router.zap) {
            let mut items = [zmq::PollItem::from_fd(both.router.fds[1], zmq::POLLIN)];
            assert!(zmq::poll(&mut items, BROKEN).unwrap() > 0, "nothing was asked");
        }
        // The connection is admitted while the dealer is being closed.
        both.router.serve();
        drop(dealer);
    }
    let mut dealer = both.connect(&pair);
    both.until(&mut dealer, is_up);
}

#[test]
fn there_is_no_way_without_encryption() {
    let context = Context::new().unwrap();
    assert!(matches!(
        CurveRouter::bind(&context, "ipc:///tmp/x", &[1; 32], LIMITS),
        Err(LinkError::NotEncrypted { .. })
    ));
}

#[test]
fn keys_are_read_as_they_are_written() {
    let key = Pair::new().unwrap().public_key;
    assert_eq!(unhex(&hex(&key)), Some(key));
    assert_eq!(unhex("é"), None);
    assert_eq!(property("X-Key", b"ab"), b"\x05X-Key\0\0\0\x02ab");
}
