//! The effect of a door on real connections; the tests in `door.rs` show that its decisions are right.

use super::super::{Door, MessageMax, Refused, Rules, Why};
use super::*;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

fn door(own: usize) -> Door {
    let large = MessageMax { parts: 8, bytes: 100_000 };
    let small = MessageMax { parts: 4, bytes: 100 };
    let uid = crate::os::process::own_uid();
    let family = Some(b"family".as_slice().into());
    Door::new(Rules { uid, own, other: 1, others: 9, anyone: false, family, large, small })
}

fn behind(door: &Door) -> Room {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let context = Context::new().expect("a context");
    let limits = RouterLimits { frame_bytes_max: 1 << 20, frames_max: 100 };
    let socket = directory.path().join("r.sock");
    let router = Router::bind_behind(&context, &socket, limits, door.clone()).expect("a router");
    Room { directory, context, router }
}

fn refused(door: &Door, why: Why) -> Refused {
    until(|| door.take_refused().into_iter().find(|refused| refused.why == why))
}

#[test]
fn long_messages_come_from_the_family_only() {
    let door = door(10);
    let mut room = behind(&door);
    let (mut node, mut worker) = (room.dealer(b"family-1"), room.dealer(b""));
    let long = [b'x'; 99];
    assert!(node.send(&[&long, &long, b"", b"", b""]));
    assert_eq!(next_message(&mut room.router).frames.len(), 5);
    for message in [&[long.as_slice(), b"xx"] as &[&[u8]], &[b"", b"", b"", b"", b""]] {
        assert!(worker.send(message));
        assert_eq!(refused(&door, Why::TooLong).peer.pid, std::process::id());
    }
    // The peer may connect again, and send messages within its limits.
    assert!(worker.send(&[&long, b"x"]));
    assert_eq!(next_message(&mut room.router).frames, [long.to_vec(), b"x".to_vec()]);
}

#[test]
fn a_long_frame_costs_the_connection_before_it_has_come_unless_it_is_of_the_family() {
    let door = door(10);
    let mut room = behind(&door);
    // A header with a length of eight bytes. No byte of the frame follows, so that it alone is judged.
    let header = |length: u64| [&[0x02], length.to_be_bytes().as_slice()].concat();
    let mut worker = Raw::connect(&room.socket(), &[("Identity", b"worker")]);
    worker.write(&header(101));
    assert_eq!(refused(&door, Why::TooLong).peer.pid, std::process::id());
    let mut node = Raw::connect(&room.socket(), &[("Identity", b"family-1")]);
    node.write(&header(99_000));
    node.write(&vec![b'x'; 99_000]);
    assert_eq!(next_message(&mut room.router).frames[0].len(), 99_000);
    node.write(&header(100_001));
    assert_eq!(refused(&door, Why::TooLong).peer.pid, std::process::id());
    // ZMTP 1.0: the length, then the flags, which it counts. This peer has no identity yet.
    let mut old = UnixStream::connect(room.socket()).expect("a connection");
    old.write_all(&[&[0xff], 100_000u64.to_be_bytes().as_slice(), &[0x00]].concat()).expect("room");
    assert_eq!(refused(&door, Why::TooLong).peer.pid, std::process::id());
}

#[test]
fn so_many_connections_and_no_more() {
    let door = door(3);
    let room = behind(&door);
    let mut open: Vec<UnixStream> = (0..5).map(|_| UnixStream::connect(room.socket()).expect("a stream")).collect();
    // libzmq sends its greeting to connections that were admitted; the others read an end of file.
    let mut stayed = open.iter_mut().map(|stream| stream.read(&mut [0; 1]).unwrap_or(0));
    assert_eq!(stayed.by_ref().sum::<usize>(), 3);
    assert_eq!(refused(&door, Why::TooMany).peer.pid, std::process::id());
    drop(open);
    // Ended connections are noticed, and make room for others.
    until(|| UnixStream::connect(room.socket()).ok()?.read(&mut [0; 1]).ok().filter(|read| *read == 1));
}

#[test]
fn another_user_is_turned_away_until_it_is_let_in() {
    let door = door(3);
    let room = behind(&door);
    for (place, mode) in [(room.directory.path(), 0o755), (&room.socket(), 0o666)] {
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).expect("the mode is changed");
    }
    let knock = || {
        let script = "socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or exit 3;
            exit(sysread(S, $b, 1) ? 0 : 4)";
        let mut perl = Command::new("perl");
        perl.args(["-MSocket", "-e", script]).arg(room.socket()).uid(65_533).gid(65_533);
        perl.status().ok().and_then(|status| status.code())
    };
    let Some(code) = knock() else {
        eprintln!("skipped: needs root and perl");
        return;
    };
    assert_eq!(code, 4);
    assert_eq!(refused(&door, Why::Stranger).peer.uid, 65_533);
    door.allow(65_533);
    assert_eq!(knock(), Some(0));
}
