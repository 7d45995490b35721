use super::*;
use crate::os::fd;
use std::io::Read;
use std::os::unix::net::UnixStream;

#[test]
fn a_connection_is_found_by_its_peer_and_can_be_ended_while_its_owner_keeps_it() {
    let (mut ours, _theirs) = UnixStream::pair().expect("a pair");
    let found = all(fd::nofile_limit().min(4_096));
    let one = found.iter().find(|one| one.fd == ours.as_raw_fd()).expect("it is found");
    assert_eq!((one.pid, one.uid), (std::process::id(), nix::unistd::geteuid().as_raw()));
    assert!(one.end());
    assert_eq!(ours.read(&mut [0]).expect("an end, and no error"), 0);
}

#[test]
fn what_is_no_connection_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = std::os::unix::net::UnixListener::bind(directory.path().join("s")).expect("a listener");
    let file = std::fs::File::open("/dev/null").expect("a file");
    assert_eq!(look(file.as_raw_fd()), None);
    // For a listening socket the kernel records this process itself; there is no peer, and no connection to shut down.
    let noted = look(listener.as_raw_fd());
    assert!(noted.is_none_or(|one| one.pid == std::process::id()), "{noted:?}");
}

#[test]
fn what_waits_unread_is_found_with_its_sender() {
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    let directory = tempfile::tempdir().expect("a directory");
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    let find = || unread(|path| path == Some(&here)).expect("a list");
    let listener = UnixListener::bind(&here).expect("a listener");
    let other = UnixListener::bind(&there).expect("a listener");
    let _elsewhere = UnixStream::connect(&there).expect("a connection");
    assert_eq!(find(), []);
    let mut theirs = UnixStream::connect(&here).expect("a connection");
    assert_eq!(find(), [None], "it waits to be let in");
    let (mut ours, _) = listener.accept().expect("a connection");
    assert_eq!(find(), []);
    theirs.write_all(b"beat").expect("room");
    assert_eq!(find(), [Some(std::process::id())]);
    ours.read_exact(&mut [0; 3]).expect("three bytes");
    assert_eq!(find(), [Some(std::process::id())], "a byte is left");
    ours.read_exact(&mut [0; 1]).expect("the last byte");
    assert_eq!(find(), []);
    // Input at the other end, whose socket has no address, is not wanted.
    ours.write_all(b"answer").expect("room");
    assert_eq!(find(), []);
    drop(other);
}
