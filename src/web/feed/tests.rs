use super::super::store::Store;
use super::*;
use crate::control::{RuntimeDir, StateDir};
use crate::ids::Name;
use crate::link::{Context, Identity, Inbound, Router, RouterLimits, SendOutcome};
use crate::os::clock::Clock;
use crate::os::lock::LockFile;
use crate::time::Time;
use crate::wire::codec;
use crate::wire::message::{Refusal, Reply, RootReply};
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};

#[test]
fn a_follower_that_is_refused_is_not_started_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let name = Name::parse("shop").unwrap();
    let runtime = RuntimeDir::of(directory.path(), &name).unwrap();
    runtime.create().unwrap();
    let _lock = LockFile::acquire(&runtime.lock_file()).unwrap();
    let context = Context::new().unwrap();
    let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
    let mut root = Router::bind(&context, &runtime.control_socket(), limits).unwrap();
    let state = StateDir::of(directory.path(), &name);
    let shared = Arc::new(Shared::new());
    let mut feed = Feed::new(Known { name, runtime, store: Store::of(state.clone()), state }, Arc::clone(&shared));
    shared.lock().here("shop", "r1", now_ms());
    let clock = Clock::start();
    let mut refused: Vec<(Identity, Time)> = Vec::new();
    while refused.len() < 2 {
        shared.lock().uses(now_ms());
        feed.look();
        while let Some(Inbound { from, frames, .. }) = root.receive() {
            // Read before the follower can know of its refusal.
            let came = clock.now();
            let request = codec::decode_ask(&frames).unwrap().request;
            let reply = Reply::Refused { why: Refusal::Busy, message: "too many".into() };
            let frames = codec::encode_told(&RootReply { request, reply });
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            assert!(matches!(root.send(&from, &frames), SendOutcome::Sent | SendOutcome::NoSuchPeer));
            // Each follower has an identity of its own. On a busy machine one may ask more than once before it is
            // refused.
            if refused.last().is_none_or(|(last, _)| *last != from) {
                refused.push((from, came));
            }
        }
        assert!(clock.now().since(Time::ZERO) < Span::from_secs(30), "no follower");
        clock::pause(Span::from_millis(1));
    }
    assert!(refused[1].1.since(refused[0].1) >= AGAIN, "{refused:?}");
}
