use super::*;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// A ROUTER that accepts from `listener`, and its context.
fn accepting(listener: &UnixListener, path: &Path) -> (zmq::Socket, zmq::Context) {
    let context = zmq::Context::new();
    let mut socket = context.socket(zmq::ROUTER).unwrap();
    bind_to(&mut socket, &format!("ipc://{}", path.display()), listener).unwrap();
    (socket, context)
}

/// libzmq sends its greeting to every connection that it has accepted.
fn is_greeted(mut stream: &UnixStream) -> bool {
    stream.read(&mut [0; 1]).unwrap() == 1
}

#[test]
fn connections_that_come_before_libzmq_and_between_two_of_it_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let early = UnixStream::connect(&path).unwrap();
    let first = accepting(&listener, &path);
    assert!(is_greeted(&early));
    drop(first);
    let between = UnixStream::connect(&path).unwrap();
    let _second = accepting(&listener, &path);
    assert!(is_greeted(&between));
}

#[test]
fn a_socket_takes_a_second_listener_beside_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let old = UnixListener::bind(&path).unwrap();
    let (mut socket, _context) = accepting(&old, &path);
    std::fs::remove_file(&path).unwrap();
    let new = UnixListener::bind(&path).unwrap();
    bind_to(&mut socket, &format!("ipc://{}", path.display()), &new).unwrap();
    drop(new);
    assert!(is_greeted(&UnixStream::connect(&path).unwrap()), "it is libzmq's duplicate that counts");
}

#[test]
fn an_endpoint_that_libzmq_does_not_take_is_an_error_and_costs_no_descriptor() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("s")).unwrap();
    let context = zmq::Context::new();
    let mut socket = context.socket(zmq::ROUTER).unwrap();
    let copies = |listener: &UnixListener| {
        let inode = |fd: &Path| std::fs::read_link(fd).ok();
        let ours = inode(Path::new(&format!("/proc/self/fd/{}", listener.as_raw_fd())));
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        all.filter(|entry| inode(&entry.as_ref().unwrap().path()) == ours).count()
    };
    let error = bind_to(&mut socket, &format!("ipc://{}", "x".repeat(200)), &listener).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
    assert_eq!(copies(&listener), 1);
    bind_to(&mut socket, &format!("ipc://{}", directory.path().join("s").display()), &listener).unwrap();
    assert_eq!(copies(&listener), 2);
}
