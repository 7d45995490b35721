//! The rules, one function each, named as a fault would be reported. Each says which words of docs/protocol.md it holds
//! a client to.

use crate::languages::Words;
use crate::peer::{Beat, Connection, Frames, LIMIT, Node};
use crate::program::{Program, TOKEN};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// So many beats, each with a status of 256 bytes, are more than the buffers of any client and of the kernel.
const FLOOD: usize = 20_000;

struct Place {
    _dir: tempfile::TempDir,
    socket: PathBuf,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
        let socket = dir.path().join("node");
        Place { _dir: dir, socket }
    }
}

/// A client that is connected and has beaten once.
fn first_beat(words: &Words) -> (Place, Node, Program, Connection) {
    let place = Place::new();
    let node = Node::bind(&place.socket);
    let mut program = Program::supervised(words, &place.socket);
    program.tell("beat");
    let connection = node.meet();
    (place, node, program, connection)
}

/// The client's next connection; it connects when it has something to send.
fn meet_again(node: &Node, program: &mut Program) -> Connection {
    let end = Instant::now() + LIMIT;
    let mut next = loop {
        program.tell("beat");
        if let Some(connection) = node.accept_until(Instant::now() + Duration::from_millis(20)) {
            break connection;
        }
        assert!(Instant::now() < end, "the client does not connect again");
    };
    next.greet();
    next.expect_ready();
    next.say_ready();
    next
}

/// Beats until one with this progress arrives. A client may hold back what comes too soon after the last beat.
#[track_caller]
fn beat_through(program: &mut Program, connection: &mut Connection, fields: &str) -> Beat {
    let end = Instant::now() + LIMIT;
    while connection.waiting().is_empty() {
        assert!(Instant::now() < end, "no beat arrives");
        program.tell(format!("beat {fields}"));
        program.pause();
    }
    connection.beat()
}

/// Section 11: no message before the node's READY. Section 2: no waiting for it either.
pub(crate) fn the_handshake_comes_before_any_message(words: &Words) {
    let place = Place::new();
    let node = Node::bind(&place.socket);
    let mut program = Program::supervised(words, &place.socket);
    // A client may connect when it starts, or with its first beat.
    program.tell("beat");
    let mut connection = node.accept();
    connection.greet();
    connection.expect_ready();
    for _ in 0..5 {
        program.tell("beat");
        program.pause();
    }
    let early = connection.waiting().to_vec();
    assert!(early.is_empty(), "bytes before the node's READY: {early:02x?}");
    connection.say_ready();
    let beat = beat_through(&mut program, &mut connection, "");
    assert_eq!(beat.token, TOKEN);
    program.end();
}

/// Section 5: the frames of a beat; `seq` counts up from 1.
pub(crate) fn a_beat_has_its_frames_and_the_sequence_rises(words: &Words) {
    let (_place, _node, mut program, mut connection) = first_beat(words);
    let mut last = 0;
    for _ in 0..5 {
        let beat = beat_through(&mut program, &mut connection, "");
        assert_eq!(beat.token, TOKEN);
        let seq = beat.seq.expect("a client of a single process counts its beats");
        assert!(seq > last, "{seq} after {last}");
        assert_eq!((beat.progress, beat.pending, beat.busy_ms, beat.status.as_str()), (None, None, None, ""));
        last = seq;
    }
    program.end();
}

/// Section 5: each field where it belongs; a lease is for one beat only.
pub(crate) fn fields_arrive_as_they_were_said(words: &Words) {
    let place = Place::new();
    let node = Node::bind(&place.socket);
    let mut program = Program::supervised(words, &place.socket);
    program.tell("beat progress=1");
    let mut connection = node.meet();
    let until = |program: &mut Program, connection: &mut Connection, fields: &str, progress: u64| {
        let end = Instant::now() + LIMIT;
        loop {
            let beat = beat_through(program, connection, fields);
            if beat.progress == Some(progress) {
                return beat;
            }
            assert!(Instant::now() < end, "no beat with progress {progress}");
        }
    };
    let beat = until(&mut program, &mut connection, "progress=7 pending=0 busy=1500 status=ünwrap all", 7);
    assert_eq!((beat.pending, beat.busy_ms, beat.status.as_str()), (Some(0), Some(1500), "ünwrap all"));
    let beat = until(&mut program, &mut connection, "progress=9007199254740993", 9_007_199_254_740_993);
    assert_eq!(beat.busy_ms, None, "a lease is for one beat only");
    let beat = until(&mut program, &mut connection, "progress=18446744073709551615", u64::MAX);
    assert_eq!(beat.busy_ms, None);
    program.end();
}

/// Section 5: a status is UTF-8 of at most 256 bytes, cut between two characters, without control characters. A client
/// that gets something else from its program sends the beat all the same.
pub(crate) fn a_status_is_one_line_of_utf8_that_fits(words: &Words) {
    let (_place, _node, mut program, mut connection) = first_beat(words);
    let mut said = |what: &[u8], wanted: &dyn Fn(&str) -> bool| {
        let end = Instant::now() + LIMIT;
        loop {
            program.tell([b"beat status=", what].concat());
            program.pause();
            if !connection.waiting().is_empty() {
                // Reading it checks length and UTF-8.
                let status = connection.beat().status;
                if wanted(&status) {
                    return;
                }
                assert!(Instant::now() < end, "said {what:02x?}, got {status:?}");
            }
            assert!(Instant::now() < end, "said {what:02x?}, and no beat arrives");
        }
    };
    said("ü".repeat(200).as_bytes(), &|status| status == "ü".repeat(128));
    said(format!("x{}", "ü".repeat(200)).as_bytes(), &|status| status == format!("x{}", "ü".repeat(127)));
    said(format!("xy{}", "𝄞".repeat(100)).as_bytes(), &|status| status == format!("xy{}", "𝄞".repeat(63)));
    said(b"tab\tbell\x07end", &|status| status == "tab bell end");
    said(b"no \xff\xc3 utf-8 \xed\xa0\x80.", &|status| status.starts_with("no ") && status.ends_with('.'));
    said(b"done", &|status| status == "done");
    program.end();
}

/// Section 5: READY and STOPPING have three frames.
pub(crate) fn ready_and_stopping_are_said(words: &Words) {
    let place = Place::new();
    let node = Node::bind(&place.socket);
    let mut program = Program::supervised(words, &place.socket);
    program.tell("ready");
    let mut connection = node.meet();
    for (command, kind) in [("ready", "READY"), ("stopping", "STOPPING")] {
        program.tell(command);
        let end = Instant::now() + LIMIT;
        loop {
            // What could not be sent yet goes with the next call.
            program.tell("beat");
            program.pause();
            if !connection.waiting().is_empty() {
                let frames = connection.message();
                if frames[1] == kind.as_bytes() {
                    let wanted: Frames = vec![b"TV1".to_vec(), kind.into(), TOKEN.into()];
                    assert_eq!(frames, wanted);
                    break;
                }
            }
            assert!(Instant::now() < end, "no {kind} arrives");
        }
    }
    program.end();
}

/// Section 2: a client connects again.
pub(crate) fn a_node_that_was_gone_is_found_again(words: &Words) {
    let (_place, mut node, mut program, mut connection) = first_beat(words);
    let mut last = beat_through(&mut program, &mut connection, "").seq.unwrap();
    for _ in 0..2 {
        node.close();
        drop(connection);
        for _ in 0..20 {
            program.tell("beat");
            program.pause();
        }
        node.reopen();
        let next = meet_again(&node, &mut program);
        connection = next;
        let seq = beat_through(&mut program, &mut connection, "").seq.unwrap();
        assert!(seq == 1 || seq > last, "the count goes on over a new connection, or begins anew: {seq} after {last}");
        last = seq;
    }
    program.end();
}

/// Section 2: MUST NOT block whatever state the node is in, and what does not fit is dropped. Section 11: a message
/// that was written in part is finished before anything else.
pub(crate) fn a_node_that_does_not_read_stops_no_worker(words: &Words) {
    let (_place, _node, mut program, mut connection) = first_beat(words);
    beat_through(&mut program, &mut connection, "");
    program.tell(format!("beat status={}", "x".repeat(256)));
    program.tell(format!("flood {FLOOD}"));
    program.tell("ready");
    program.tell("stopping");
    // The node reads again: what was written is whole, in order, and by far not all; and the connection is as good as
    // before.
    let (mut last, mut beats) = (0, 0);
    let end = Instant::now() + LIMIT;
    loop {
        while connection.waiting().is_empty() {
            assert!(Instant::now() < end, "no new beat arrives on the old connection when the node reads again");
            program.tell("beat progress=777");
            program.pause();
        }
        let frames = connection.message();
        if frames[1] != b"BEAT" {
            continue;
        }
        let beat = Beat::read(&frames);
        let seq = beat.seq.unwrap();
        assert!(seq > last, "{seq} after {last}");
        last = seq;
        beats += 1;
        if beat.progress == Some(777) {
            break;
        }
    }
    assert!(beats < FLOOD, "{beats} of {FLOOD} beats were kept for a node that did not read");
    program.end();
    connection.messages_until_closed();
}

/// Section 11: no SIGPIPE. A node that shuts the reading side of its end leaves nothing to read that would tell of it.
/// A client may find that out by writing, or wait until the node closes.
pub(crate) fn a_node_that_shuts_its_ears_kills_no_worker(words: &Words) {
    let (_place, node, mut program, mut connection) = first_beat(words);
    beat_through(&mut program, &mut connection, "");
    connection.shut_ears();
    for _ in 0..10 {
        program.tell("beat");
        program.pause();
    }
    drop(connection);
    let mut next = meet_again(&node, &mut program);
    beat_through(&mut program, &mut next, "");
    program.end();
}

/// A node that is stopped accepts no connection: its backlog holds a connection without an answer, or is full.
pub(crate) fn a_node_that_does_not_accept_stops_no_worker(words: &Words) {
    let place = Place::new();
    let _node = Node::bind(&place.socket);
    let mut program = Program::supervised(words, &place.socket);
    program.tell("flood 1000");
    program.tell("ready");
    program.tell("stopping");
    program.end();
    // Full: even to connect would be to wait.
    let mut others = Vec::new();
    let probe = |others: &mut Vec<std::os::fd::OwnedFd>| {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
        use std::os::fd::AsRawFd;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        let connected = connect(fd.as_raw_fd(), &UnixAddr::new(&place.socket).unwrap()).is_ok();
        others.push(fd);
        connected
    };
    while probe(&mut others) {
        assert!(others.len() < 10_000, "the backlog has no end");
    }
    let mut program = Program::supervised(words, &place.socket);
    program.tell("flood 1000");
    program.tell("ready");
    program.end();
}

/// A node that was killed leaves its socket's file behind, or nothing.
pub(crate) fn a_node_that_is_dead_stops_no_worker(words: &Words) {
    let place = Place::new();
    let mut node = Node::bind(&place.socket);
    node.close();
    let mut program = Program::supervised(words, &place.socket);
    program.tell("flood 1000");
    program.tell("ready");
    program.end();
    std::fs::remove_file(&place.socket).unwrap();
    let mut program = Program::supervised(words, &place.socket);
    program.tell("flood 1000");
    program.tell("stopping");
    program.end();
}

/// Section 11: a worker is ready to pass over anything.
pub(crate) fn what_a_node_says_is_passed_over(words: &Words) {
    let (_place, _node, mut program, mut connection) = first_beat(words);
    connection.say(1, b"TV9");
    connection.say(1, &[7; 5000]);
    connection.say(0, b"");
    connection.say(4, b"\x07UNKNOWN and more");
    connection.say(4, b"\x04PING\x00\x0acontext");
    let end = Instant::now() + LIMIT;
    let mut answered = false;
    let mut last = 0;
    for _ in 0..5 {
        // The answer comes between the beats, as soon as the client reads.
        loop {
            if connection.waiting().is_empty() {
                assert!(Instant::now() < end, "no beat arrives after a message from the node");
                program.tell("beat");
                program.pause();
                continue;
            }
            let (flags, body) = connection.frame();
            if flags & 4 != 0 {
                assert_eq!(body, b"\x04PONGcontext");
                answered = true;
                continue;
            }
            let mut frames = vec![body];
            let mut more = flags & 1 != 0;
            while more {
                let (flags, body) = connection.frame();
                frames.push(body);
                more = flags & 1 != 0;
            }
            let seq = Beat::read(&frames).seq.unwrap();
            assert!(seq > last);
            last = seq;
            break;
        }
    }
    assert!(answered, "a PING should be answered");
    program.end();
}

/// Section 3: a client does nothing, and does not fail, when there is no TREEVISOR_ENDPOINT.
pub(crate) fn without_a_supervisor_nothing_happens(words: &Words) {
    let mut program = Program::start(words, &[]);
    tell_all(&mut program);
    program.end();
}

/// The other variables may lack, and those that are needed may be wrong: a worker does not fail for its supervisor's
/// sake.
pub(crate) fn an_environment_of_no_use_is_like_none(words: &Words) {
    let place = Place::new();
    let node = Node::bind(&place.socket);
    let endpoint = format!("ipc://{}", place.socket.display());
    let long = format!("ipc:///{}", "x".repeat(107));
    for environment in [
        &[("TREEVISOR_ENDPOINT", endpoint.as_str())][..],
        &[("TREEVISOR_ENDPOINT", &endpoint), ("TREEVISOR_TOKEN", "secret")],
        &[("TREEVISOR_ENDPOINT", ""), ("TREEVISOR_TOKEN", TOKEN)],
        &[("TREEVISOR_ENDPOINT", "ipc://"), ("TREEVISOR_TOKEN", TOKEN)],
        &[("TREEVISOR_ENDPOINT", "nonsense"), ("TREEVISOR_TOKEN", TOKEN)],
        &[("TREEVISOR_ENDPOINT", "ipc://@abstract"), ("TREEVISOR_TOKEN", TOKEN)],
        &[("TREEVISOR_ENDPOINT", &long), ("TREEVISOR_TOKEN", TOKEN)],
    ] {
        let mut program = Program::start(words, environment);
        tell_all(&mut program);
        program.end();
        assert!(node.accept_until(Instant::now()).is_none(), "it has connected with {environment:?}");
    }
    // What is needed is enough.
    let mut program = Program::start(
        words,
        &[("TREEVISOR_ENDPOINT", &endpoint), ("TREEVISOR_TOKEN", TOKEN), ("TREEVISOR_HEARTBEAT_MS", "often")],
    );
    program.tell("beat");
    let mut connection = node.meet();
    assert_eq!(beat_through(&mut program, &mut connection, "").token, TOKEN);
    program.end();
}

/// Section 11: what the node has not read when it closes is not delivered. It is due again on the next connection.
pub(crate) fn what_a_node_has_not_read_is_not_delivered(words: &Words) {
    let (_place, node, mut program, mut connection) = first_beat(words);
    beat_through(&mut program, &mut connection, "");
    while !connection.waiting().is_empty() {
        connection.message();
    }
    program.tell("stopping");
    drop(connection);
    let answer = program.ask("deliver");
    if answer.starts_with("unsupported") {
        return eprintln!("skipped: this client cannot tell");
    }
    assert_eq!(answer, "not delivered");
    let delivered = std::thread::scope(|scope| {
        let reader = scope.spawn(|| node.meet().messages_until_closed());
        assert_eq!(program.ask("deliver"), "ok");
        reader.join().unwrap()
    });
    let kinds: Vec<_> = delivered.iter().map(|frames| String::from_utf8_lossy(&frames[1])).collect();
    assert!(kinds.iter().any(|kind| kind == "STOPPING"), "{kinds:?}");
    assert_eq!(program.ask("deliver"), "ok", "nothing is left to be delivered");
    program.end();
}

fn tell_all(program: &mut Program) {
    for command in ["beat", "ready", "beat progress=1 pending=2 busy=3 status=four", "flood 100", "fork", "stopping"] {
        program.tell(command);
    }
}

/// Section 2: no use of the parent's socket after a fork. Section 5: at most one process counts.
pub(crate) fn a_forked_child_does_not_speak_for_its_parent(words: &Words) {
    let place = Place::new();
    let node = Node::bind(&place.socket);
    let mut program = Program::supervised(words, &place.socket);
    program.tell("beat");
    let mut parents = node.meet();
    let before = beat_through(&mut program, &mut parents, "").seq.unwrap();
    while !parents.waiting().is_empty() {
        parents.beat();
    }
    // The child beats with what it has inherited, then makes a heart of its own and waits until its beat is taken.
    let (send, receive) = std::sync::mpsc::channel();
    let node = &node;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let end = Instant::now() + LIMIT;
            let mut childs = loop {
                match node.accept_until(Instant::now() + Duration::from_millis(5)) {
                    Some(connection) => break connection,
                    None if receive.try_recv().is_ok() => return,
                    None => assert!(Instant::now() < end, "the child does not connect"),
                }
            };
            childs.greet();
            childs.expect_ready();
            childs.say_ready();
            let beat = childs.beat();
            assert_eq!((beat.progress, beat.seq), (Some(4711), None), "a child's own heart does not count");
            assert_eq!(childs.messages_until_closed(), Vec::<Frames>::new());
        });
        if !program.tell("fork") {
            eprintln!("skipped: this client says that it does not fork");
        }
        let _ = send.send(()); // Gone if the child has come already.
    });
    let beat = beat_through(&mut program, &mut parents, "progress=5");
    assert_eq!(beat.busy_ms, None, "the child has spoken on its parent's connection");
    assert!(beat.seq.unwrap() > before);
    program.end();
}
