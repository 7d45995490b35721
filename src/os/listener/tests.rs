use super::*;
use crate::os::free_port::free_port;
use crate::spec::account::Account;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

fn at(text: &str) -> Listen {
    Listen::new(Address::parse(text).unwrap())
}

#[test]
fn a_connection_waits_for_whatever_accepts_it() {
    let port = free_port();
    let held = Listener::open(&at(&format!("tcp://127.0.0.1:{port}"))).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"early").unwrap();
    drop(client);
    let worker = TcpListener::from(held.as_fd().try_clone_to_owned().unwrap());
    let mut read = String::new();
    worker.accept().unwrap().0.read_to_string(&mut read).unwrap();
    assert_eq!(read, "early");
    drop(worker);
    TcpStream::connect(("127.0.0.1", port)).expect("a worker that goes refuses nothing");
}

#[test]
fn a_port_in_use_is_told_with_the_process_that_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://127.0.0.1:{}", other.local_addr().unwrap().port());
    let error = Listener::open(&at(&address)).unwrap_err();
    assert_eq!(error.errno, libc::EADDRINUSE);
    let text = error.to_string();
    assert!(text.starts_with(&format!("opening {address}: Address already in use; ")), "{text}");
    // On a machine with many processes the search for the holder may reach its time limit.
    let us = format!("process {} (", std::process::id());
    assert!(text.contains(&us) && text.ends_with("listens there") || text.contains("ss -tlnp"), "{text}");
}

#[test]
fn two_may_share_a_port_where_both_say_so() {
    let wanted = Listen { reuse_port: true, ..at(&format!("tcp://127.0.0.1:{}", free_port())) };
    let one = Listener::open(&wanted).unwrap();
    Listener::open(&wanted).unwrap();
    let alone = Listen { reuse_port: false, ..wanted };
    one.adjust(&alone).unwrap();
    assert!(Listener::open(&alone).is_err());
}

#[test]
fn a_file_has_the_mode_that_is_asked_for_and_goes_with_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").join("app.sock");
    let us = Account { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw(), ..nobody() };
    let wanted = Listen {
        mode: Some(0o666),
        user: Some("us".into()),
        account: Some(Box::new(us)),
        ..at(&format!("unix:{}", path.display()))
    };
    let held = Listener::open(&wanted).unwrap();
    let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o666);
    UnixStream::connect(&path).unwrap();
    held.adjust(&Listen { mode: Some(0o600), ..wanted }).unwrap();
    assert_eq!(mode(), 0o600);
    drop(held);
    assert!(!path.exists());
}

#[test]
fn what_a_link_in_its_place_leads_to_keeps_its_owner_and_mode() {
    let dir = tempfile::tempdir().unwrap();
    let (path, secret) = (dir.path().join("app.sock"), dir.path().join("secret"));
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let theirs = Account { uid: 65_533, gid: 65_533, ..nobody() };
    let wanted = Listen {
        mode: Some(0o666),
        user: Some("theirs".into()),
        account: Some(Box::new(theirs)),
        ..at(&format!("unix:{}", path.display()))
    };
    let held = Listener::open(&at(&format!("unix:{}", path.display()))).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&secret, &path).unwrap();
    held.adjust(&wanted).unwrap();
    // A link that is placed there after the check is refused as well.
    let (_, reason) = give(&path, FileId::at(&path).unwrap(), &wanted).unwrap_err();
    assert_eq!(reason, "looking at its file: a symbolic link lies in its place");
    let found = secret.metadata().unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (nix::unistd::geteuid().as_raw(), 0o600));
}

fn nobody() -> Account {
    Account { uid: 0, gid: 0, groups: Vec::new(), name: None, home: None, shell: None }
}

#[test]
fn what_was_left_behind_is_replaced_and_what_is_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let wanted = at(&format!("unix:{}", path.display()));
    drop(UnixListener::bind(&path).unwrap());
    let held = Listener::open(&wanted).expect("nothing listens to what lies there");
    let error = Listener::open(&wanted).unwrap_err().to_string();
    assert!(error.contains(&format!("process {} (", std::process::id())), "{error}");
    UnixStream::connect(&path).expect("the first one still listens");

    // A file that has replaced it is not removed.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    drop(held);
    assert!(path.exists());
    let error = Listener::open(&wanted).unwrap_err().to_string();
    assert!(error.contains("no socket"), "{error}");
}

#[test]
fn an_abstract_name_is_no_file() {
    let wanted = at(&format!("unix:@treevisor-test-{}", std::process::id()));
    let held = Listener::open(&wanted).unwrap();
    assert!(Listener::open(&wanted).unwrap_err().to_string().contains("listens there"));
    drop(held);
    Listener::open(&wanted).unwrap();
}

#[test]
fn sockets_that_listen_are_found_in_the_kernels_table() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
        1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n";
    assert_eq!(listening(table, 8080).collect::<Vec<_>>(), ["4711"]);
    assert_eq!(listening(table, 80).count(), 0);
}
