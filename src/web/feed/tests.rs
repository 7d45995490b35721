use super::*;
use crate::control::session::testing::Root as Played;
use crate::link::{Identity, Inbound, SendOutcome};
use crate::os::clock::Clock;
use crate::time::Time;
use crate::wire::codec;
use crate::wire::message::{Refusal, Reply, RootReply};

#[test]
fn a_follower_that_is_refused_is_not_started_again_at_once() {
    let (mut root, _) = Played::new();
    let shared = Arc::new(Shared::new());
    let mut feed = Feed::new(Known::in_test(root.directory.path()), Arc::clone(&shared));
    shared.lock().here("shop", "r1", now_ms());
    let clock = Clock::start();
    let mut refused: Vec<(Identity, Time)> = Vec::new();
    while refused.len() < 2 {
        shared.lock().uses(now_ms());
        feed.look();
        while let Some(Inbound { from, frames, .. }) = root.router.receive() {
            // Read before the follower can know of its refusal.
            let came = clock.now();
            let request = codec::decode_ask(&frames).unwrap().request;
            let reply = Reply::Refused { why: Refusal::Busy, message: "too many".into() };
            let frames = codec::encode_told(&RootReply { request, reply });
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            assert!(matches!(root.router.send(&from, &frames), SendOutcome::Sent | SendOutcome::NoSuchPeer));
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
