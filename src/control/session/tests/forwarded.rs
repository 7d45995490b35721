//! Sessions with a root on another host.

use super::*;
use crate::link::Router;
use crate::wire::hosts::{HostReply, SOCKET, decode_ask, encode};
use serde_json::{Value, json};

/// Plays the agent of this machine's host, which sees these instances and the store in this state, until the sender is
/// dropped.
fn agent(base: &std::path::Path, store: &str, instances: Value) -> mpsc::Sender<()> {
    let told = HostReply::Hosts(Box::new(
        serde_json::from_value(json!({
            "cluster": "test", "here": "b", "hosts": [], "instances": instances,
            "store": {
                "kind": "etcd", "state": store, "endpoints": [], "age_ms": 1, "size_bytes": null, "quota_bytes": null,
            },
        }))
        .unwrap(),
    ));
    let context = Context::new().unwrap();
    let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
    let mut router = Router::bind(&context, &base.join("host").join(SOCKET), limits).unwrap();
    let (ends, end) = mpsc::channel();
    thread::spawn(move || {
        // Declared in this thread, so that it is dropped after the socket.
        let _context = context;
        while end.try_recv() == Err(mpsc::TryRecvError::Empty) {
            if let Some(Inbound { from, frames, .. }) = router.receive() {
                let frames = encode(decode_ask(&frames).unwrap().0, &told, &[]);
                let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                assert_eq!(router.send(&from, &frames), SendOutcome::Sent);
            }
            clock::pause(Span::from_millis(1));
        }
        drop(router);
    });
    ends
}

#[test]
fn the_end_of_the_way_to_a_root_on_another_host_is_not_the_end_of_the_instance() {
    let seen = |wanted: &str, host: Option<&str>| {
        json!([{
            "instance": "shop", "wanted": wanted, "digest": null, "host": host, "token": 1, "since_ms": 1,
            "note": null, "candidates": [],
        }])
    };
    for (store, instances, reopened, has_ended) in [
        ("ok", seen("up", Some("c")), false, false),
        // The endpoint was closed and opened again, perhaps for another run.
        ("ok", seen("up", Some("c")), true, false),
        // Another host is about to start it; or the claim is not freed yet.
        ("ok", seen("up", None), false, false),
        ("ok", seen("down", Some("c")), false, false),
        ("ok", seen("down", None), false, true),
        ("ok", json!([]), false, true),
        // The agent has just begun, and has not read the records yet; or it cannot read them.
        ("lost", json!([]), false, false),
        ("lost", seen("down", None), false, false),
    ] {
        let (mut root, runtime) = Root::below("host/via");
        let agent = agent(root.directory.path(), store, instances);
        let mut session = Session::connect(&runtime).unwrap();
        // A busy machine may take longer to answer than the agent is waited for once.
        session.forwarded.as_mut().unwrap().shown_within = if has_ended { LONG } else { Span::ZERO };
        let (finish, finished) = mpsc::channel();
        let played = thread::spawn(move || {
            let (to, ask) = root.next();
            root.tell(&to, ask.request, accepted("/web is stopping"));
            if !reopened {
                return root.end();
            }
            root.is_replaced();
            finished.recv().unwrap();
            assert!(root.router.receive().is_none(), "what was asked is for the run that it was sent to");
            root.end()
        });
        let ended = session.ask(Verb::Stop { path: Path::root() }, LIMITS, &mut |_, _| {}).unwrap_err();
        let again = ask(&mut session, LIMITS).unwrap_err();
        finish.send(()).unwrap_or_default();
        drop((played.join().unwrap(), agent));
        for error in [ended, again] {
            assert!(matches!((&error, has_ended), (AskError::Cut, false) | (AskError::Gone, true)), "{error:?}");
        }
    }
}
