use super::*;
use crate::os::epoll::{Interest, Poller};
use crate::os::free_port::free_port;
use std::net::TcpListener;

/// Waits for the result of an attempt to connect.
fn settled(connection: &mut Connection) -> io::Result<()> {
    let mut poller = Poller::new().unwrap();
    let tag = poller.next_tag();
    poller.add(connection.as_raw_fd(), tag, Interest::WRITE).unwrap();
    let mut ready = Vec::new();
    while !connection.is_open() {
        poller.wait(Some(crate::os::testing::PATIENCE), &mut ready).unwrap();
        assert!(!ready.is_empty(), "nothing has come of it");
        connection.check()?;
    }
    Ok(())
}

#[test]
fn a_listener_is_reached_and_reads_and_writes_do_not_block() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let mut connection = Connection::open(listener.local_addr().unwrap()).unwrap();
        settled(&mut connection).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(connection.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (mut other, _) = listener.accept().unwrap();
        connection.write_all(b"hello").unwrap();
        other.read_exact(&mut buffer[..5]).unwrap();
        assert_eq!(&buffer[..5], b"hello");
    }
}

#[test]
fn where_nobody_listens_it_is_refused() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let refused = Connection::open(address).and_then(|mut connection| settled(&mut connection)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_full_backlog_leaves_it_in_the_open_and_blocks_no_process() {
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    nix::sys::socket::bind(listener.as_raw_fd(), &nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let attempts: Vec<_> = (0..4).map(|_| Connection::open(address).unwrap()).collect();
    assert!(attempts.iter().any(|attempt| !attempt.is_open()), "the backlog was not full");
    let mut last = attempts.into_iter().next_back().unwrap();
    assert!(!last.check().unwrap());
}

#[test]
fn want_of_our_own_is_told_from_the_others_fault() {
    assert!(is_our_own(libc::EMFILE) && is_our_own(libc::EAGAIN));
    assert!(!is_our_own(libc::ECONNREFUSED) && !is_our_own(libc::ENOENT) && !is_our_own(0));
}
