use super::*;
use std::io::{IoSlice, Read};
use std::os::unix::net::UnixDatagram;

fn pair(directory: &tempfile::TempDir) -> (DatagramSocket, UnixDatagram) {
    let ours = DatagramSocket::bind(&directory.path().join("n")).unwrap();
    let theirs = UnixDatagram::unbound().unwrap();
    theirs.connect(ours.path()).unwrap();
    (ours, theirs)
}

fn send_with_descriptor(from: &UnixDatagram, bytes: &[u8], fds: &[RawFd]) {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let rights = [ControlMessage::ScmRights(fds)];
    sendmsg::<()>(from.as_raw_fd(), &[IoSlice::new(bytes)], &rights, MsgFlags::empty(), None).unwrap();
}

#[test]
fn a_datagram_tells_who_has_sent_it() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = pair(&directory);
    let mut buffer = [0; 8];
    assert!(ours.receive(&mut buffer).unwrap().is_none());
    theirs.send(b"READY=1").unwrap();
    theirs.send(b"").unwrap();
    theirs.send(b"far too long").unwrap();
    let us = Some(Sender { pid: std::process::id(), uid: nix::unistd::geteuid().as_raw() });
    for (bytes, cut) in [(7, false), (0, false), (8, true)] {
        let got = ours.receive(&mut buffer).unwrap().unwrap();
        assert_eq!((got.bytes, got.cut, got.sender, got.had_descriptors), (bytes, cut, us, false));
        assert!(!matches!(got.process, Process::Gone), "{got:?}");
        if bytes == 7 {
            assert_eq!(&buffer[..7], b"READY=1");
        }
    }
    assert!(ours.receive(&mut buffer).unwrap().is_none());
}

#[test]
fn a_sender_that_has_ended_is_known_to_have() {
    use super::super::testing::{end_of, in_fork, script, start};
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = pair(&directory);
    theirs.send(b"x").unwrap();
    if matches!(ours.receive(&mut [0; 8]).unwrap().unwrap().process, Process::Untold) {
        eprintln!("skipped: the kernel gives no pidfd of a sender");
        return;
    }
    let status = in_fork(|| drop(theirs.send(b"bye")));
    assert_eq!(status.code, Some(0));
    let gone = match ours.receive(&mut [0; 8]).unwrap().unwrap().process {
        Process::Gone => true,
        Process::Held(process) => process.wait_exit(crate::time::Span::ZERO),
        Process::Untold => false,
    };
    assert!(gone);
    let spawned = start(script("exit 0")).unwrap();
    end_of(&spawned.pidfd);
}

#[test]
fn descriptors_that_come_along_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = pair(&directory);
    let (reader, writer) = super::super::fd::pipe().unwrap();
    let fds = vec![writer.as_raw_fd(); 200];
    send_with_descriptor(&theirs, b"BARRIER=1", &fds);
    drop(writer);
    let got = ours.receive(&mut [0; 64]).unwrap().unwrap();
    assert!(got.had_descriptors && got.sender.is_some(), "{got:?}");
    // No process has the write end any more, so this read does not block.
    assert_eq!(fs::File::from(reader).read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn the_file_goes_with_the_socket_and_a_stale_one_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n");
    fs::write(&path, "stale").unwrap();
    let socket = DatagramSocket::bind(&path).unwrap();
    assert_eq!(socket.path(), path);
    drop(socket);
    assert!(!path.exists());
    assert!(DatagramSocket::bind(&directory.path().join("x".repeat(200))).is_err());
}

#[test]
fn a_socket_that_is_bound_again_is_found_by_new_senders_and_kept_for_connected_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ours, connected) = pair(&directory);
    fs::remove_file(ours.path()).unwrap();
    let refused = ours.bind_again(|_| Err(io::Error::other("not now")));
    assert!(refused.is_err() && !ours.path().exists(), "it counts as missing still");
    connected.send(b"1").unwrap();
    ours.bind_again(|_| Ok(())).unwrap();
    assert_eq!(ours.fds().count(), 2);
    connected.send(b"2").unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"3", ours.path()).unwrap();
    let mut buffer = [0; 8];
    let mut received = Vec::new();
    while ours.receive(&mut buffer).unwrap().is_some() {
        received.push(buffer[0]);
    }
    received.sort_unstable();
    assert_eq!(received, *b"123");
}

#[test]
fn what_goes_on_with_a_socket_receives_from_those_before_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let (mut former, connected) = pair(&directory);
    fs::remove_file(former.path()).unwrap();
    former.bind_again(|_| Ok(())).unwrap();
    connected.send(b"1").unwrap();
    let path = former.path().to_owned();
    let DatagramSocket { fd, before, .. } = &former;
    let before = before.iter().map(|fd| fd.try_clone().unwrap()).collect();
    let ours = DatagramSocket::go_on(fd.try_clone().unwrap(), before, path);
    drop(former);
    connected.send(b"2").expect("the socket that it has connected to is there");
    let mut buffer = [0; 8];
    for expected in [b'1', b'2'] {
        assert!(ours.receive(&mut buffer).unwrap().is_some());
        assert_eq!(buffer[0], expected);
    }
    assert_eq!(ours.fds().count(), 2);
}
