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
    assert_eq!(ours.receive(&mut buffer).unwrap(), None);
    theirs.send(b"READY=1").unwrap();
    theirs.send(b"").unwrap();
    theirs.send(b"far too long").unwrap();
    let us = Some(Sender { pid: std::process::id(), uid: nix::unistd::geteuid().as_raw() });
    let expected = |bytes, cut| Some(Datagram { bytes, cut, sender: us, had_descriptors: false });
    assert_eq!(ours.receive(&mut buffer).unwrap(), expected(7, false));
    assert_eq!(&buffer[..7], b"READY=1");
    assert_eq!(ours.receive(&mut buffer).unwrap(), expected(0, false));
    assert_eq!(ours.receive(&mut buffer).unwrap(), expected(8, true));
    assert_eq!(ours.receive(&mut buffer).unwrap(), None);
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
    // Nobody has the writing end any more: this does not wait.
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
