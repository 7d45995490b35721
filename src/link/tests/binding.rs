//! Binding sockets: what is at their paths before and after, and PULL sockets.

use super::*;

#[test]
fn any_message_to_a_pull_socket_counts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let context = Context::new().expect("a context");
    let endpoint = format!("ipc://{}/heartbeat", directory.path().display());
    let mut pull = Pull::bind(&context, &endpoint).expect("a pull socket");
    assert_eq!(pull.drain(), 0);
    let push = context.context.socket(zmq::PUSH).expect("a push socket");
    push.connect(&endpoint).expect("connected");
    push.send("", 0).expect("sent");
    push.send("beat", 0).expect("sent");
    push.send_multipart(["a", "b", "c"], 0).expect("sent");
    let mut count = 0;
    while count < 3 {
        if !pull.has_input() {
            sleep_on(pull.fd());
        }
        count += pull.drain();
    }
    assert_eq!((count, pull.drain()), (3, 0));
}

#[test]
fn a_link_in_the_place_of_a_pull_socket_gives_nothing_away() {
    use std::os::unix::fs::MetadataExt;
    const WORKER: u32 = 65_533;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let context = Context::new().expect("a context");
    let (path, secret) = (directory.path().join("heartbeat"), directory.path().join("secret"));
    std::fs::write(&secret, "precious").expect("written");
    let owner = |path: &Path| path.symlink_metadata().expect("it is there").uid();
    let ours = owner(&secret);
    let pull = Pull::bind(&context, &format!("ipc://{}", path.display())).expect("a pull socket");
    pull.give_to(WORKER);
    // Only root may change the owner of a file.
    assert_eq!(owner(&path), if ours == 0 { WORKER } else { ours });
    std::fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink(&secret, &path).expect("linked");
    pull.give_to(WORKER);
    assert_eq!((owner(&path), owner(&secret)), (ours, ours));
    pull.close();
}

#[test]
fn nothing_is_bound_over_a_file_or_a_living_socket() {
    let room = Room::new();
    let again = Router::bind(&room.context, &room.socket(), LIMITS);
    assert!(matches!(again, Err(LinkError::InUse { .. })), "{again:?}");
    let file = room.directory.path().join("file");
    std::fs::write(&file, "precious").expect("written");
    for path in [file.as_path(), room.directory.path()] {
        let over = Pull::bind(&room.context, &format!("ipc://{}", path.display()));
        assert!(matches!(over, Err(LinkError::NotASocket { .. })), "{over:?}");
    }
    assert_eq!(std::fs::read(&file).expect("it is there"), b"precious");
    // The leftover of an ended process does not prevent binding.
    let stale = room.directory.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("bound"));
    assert!(stale.exists());
    Router::bind(&room.context, &stale, LIMITS).expect("a leftover is replaced");
    // The check does not disturb the socket that is bound there.
    let mut router = room.router;
    let mut dealer =
        Dealer::connect(&room.context, &room.directory.path().join("r.sock"), b"", LIMITS).expect("a dealer");
    assert!(dealer.send(&[b"x"]));
    assert_eq!(next_message(&mut router).frames, [b"x"]);
}

#[test]
fn unusable_places_are_refused_with_their_reason() {
    let context = Context::new().expect("a context");
    let long = PathBuf::from(format!("/{}", "x".repeat(99)));
    let error = Router::bind(&context, &long, LIMITS).expect_err("100 bytes are too many");
    assert!(error.to_string().contains("it has 100 bytes, at most 99 are possible"), "{error}");
    for path in ["", "@abstract", "*", "a\0b"] {
        let error = Dealer::connect(&context, Path::new(path), b"", LIMITS).expect_err("unusable");
        assert!(matches!(error, LinkError::PathUnusable { .. }), "{error}");
    }
    let error = Pull::bind(&context, "tcp://127.0.0.1:1").expect_err("not ipc");
    assert_eq!(error.to_string(), "cannot use the endpoint tcp://127.0.0.1:1: ipc://PATH is expected");
    let error = Router::bind(&context, Path::new("/nonexistent/r.sock"), LIMITS).expect_err("no such directory");
    assert_eq!(error.to_string(), "cannot bind ipc:///nonexistent/r.sock");
    assert!(std::error::Error::source(&error).expect("a cause").to_string().starts_with("No such file"));
    for identity in [&[b'x'; 256][..], &[0, 1]] {
        let error = Dealer::connect(&context, Path::new("/x.sock"), identity, LIMITS).expect_err("unusable");
        assert!(matches!(error, LinkError::Identity { .. }), "{error}");
    }
}
