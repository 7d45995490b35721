//! Adjusts messages between the top node of a placed subtree and its present parent, as the node may have had another
//! parent before: request numbers, which each parent counts by itself, and what was reported to an earlier parent.
//! Pure.

use crate::time::{Span, Time};
use crate::wire::codec;
use crate::wire::message::{ChildBody, FromChild, FromNode, Refusal, Reply, ToNode, Verb};

/// What has not been acknowledged is sent again after this.
const AGAIN: Span = Span::from_millis(500);

/// Time for a node to answer a reload, in milliseconds; it is sent again until then. A node acknowledges at once that
/// it has begun.
const WITHIN: u64 = 10_000;

/// The index of the JSON frame in a message of a node.
const JSON: usize = 3;

/// The frames of a message.
pub(super) type Frames = Vec<Vec<u8>>;

/// The state of one node.
#[derive(Debug, Default)]
pub(super) struct RelayedNode {
    /// Added to the request numbers of the present parent, so that none was used by an earlier parent.
    raised: u64,
    /// The highest request number that the node was sent.
    highest: u64,
    /// The node's last report of its children, and its sequence number.
    children: Option<(u64, Frames)>,
    /// The present parent has not acknowledged `children`.
    is_news: bool,
    /// The reload that the present parent or an earlier one has brought, until the node has carried it out.
    reload: Option<Verb>,
    again: Option<Time>,
}

/// What is to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) up: Option<Frames>,
    pub(super) down: Option<Frames>,
}

impl RelayedNode {
    /// The node has got another parent, which brings this reload. `None`: the spec is that of the last reload, which
    /// the node may not have carried out yet.
    pub(super) fn adopted(&mut self, reload: Option<Verb>, now: Time) {
        self.raised = self.highest + 1;
        self.highest = self.raised;
        self.is_news = self.children.is_some();
        self.reload = reload.or_else(|| self.reload.take());
        self.again = (self.is_news || self.reload.is_some()).then_some(now);
    }

    /// Converts a message of the parent for the node. `far`: the time of this machine in milliseconds, if the parent is
    /// on another machine.
    pub(super) fn down(&mut self, frames: Frames, far: Option<u64>) -> Frames {
        match codec::decode_to_node(&frames) {
            Ok(ToNode::Request { request, within_ms, mut void_after_ms, by, mut verb, incarnation, above }) => {
                let request = request.saturating_add(self.raised);
                self.highest = self.highest.max(request);
                // A request expires by a clock that all processes of one machine share. From another machine its time
                // starts again here.
                if let Some(now) = far.filter(|_| void_after_ms != u64::MAX) {
                    void_after_ms = now.saturating_add(verb.valid_for_ms(within_ms));
                }
                if let Verb::LogsSeen { request, .. } | Verb::Unfollow { request } | Verb::StillFollowing { request } =
                    &mut verb
                {
                    *request = request.saturating_add(self.raised);
                }
                codec::encode_to_node(&ToNode::Request {
                    request,
                    within_ms,
                    void_after_ms,
                    by,
                    verb,
                    incarnation,
                    above,
                })
            }
            Ok(ToNode::ChildrenSeen { seq }) => {
                self.is_news &= self.children.as_ref().is_some_and(|(last, _)| *last != seq);
                frames
            }
            // Other messages are passed on; the node checks them.
            _ => frames,
        }
    }

    /// Converts a message of the node for its parent; `None`: it is not for the present parent.
    pub(super) fn up(&mut self, frames: Frames) -> Option<Frames> {
        // Checked before decoding, for speed: most messages are beats and events, which pass unchanged.
        let is = |kind: &[u8]| frames.get(JSON).is_some_and(|json| json.starts_with(kind));
        let (reply, children) = (is(b"{\"is\":\"reply\"") && self.raised > 0, is(b"{\"is\":\"children\""));
        if !reply && !children {
            return Some(frames);
        }
        let Ok(FromChild { token, body: ChildBody::Node(message) }) = codec::decode_from_child(&frames) else {
            return Some(frames);
        };
        match *message {
            FromNode::Children { seq, .. } => {
                self.children = Some((seq, frames.clone()));
                Some(frames)
            }
            FromNode::Reply { request, reply } if request > self.raised => {
                let reply = FromNode::Reply { request: request - self.raised, reply };
                Some(codec::encode_from_child(&FromChild { token, body: ChildBody::Node(Box::new(reply)) }))
            }
            FromNode::Reply { request, reply } => {
                if request == self.raised && !is_to_come(&reply) {
                    self.reload = None;
                }
                None
            }
            _ => Some(frames),
        }
    }

    /// What is to be sent now, for the first time or again.
    pub(super) fn due(&mut self, now: Time) -> Due {
        if self.again.is_none_or(|at| at > now) {
            return Due::default();
        }
        let up = self.children.as_ref().filter(|_| self.is_news).map(|(_, frames)| frames.clone());
        let down = self.reload.clone().map(|verb| {
            codec::encode_to_node(&ToNode::Request {
                // Parents number their requests from 1, so this number is free.
                request: self.raised,
                within_ms: WITHIN,
                void_after_ms: u64::MAX,
                by: "the host's agent".into(),
                verb,
                incarnation: None,
                above: Vec::new(),
            })
        });
        self.again = (up.is_some() || down.is_some()).then_some(now + AGAIN);
        Due { up, down }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.again
    }
}

/// Whether the node has yet to carry out the reload that it has answered so. If it has refused it because it was busy,
/// the reload is sent again under the same number: a refusal is not remembered as the result.
fn is_to_come(reply: &Reply) -> bool {
    matches!(reply, Reply::Accepted { .. } | Reply::Refused { why: Refusal::Busy | Refusal::Full, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Token;
    use crate::wire::message::Outcome;
    use serde_json::Value;

    fn of_node(message: FromNode) -> Frames {
        codec::encode_from_child(&FromChild { token: Token([1; 16]), body: ChildBody::Node(Box::new(message)) })
    }

    fn reply(request: u64) -> Frames {
        of_node(FromNode::Reply { request, reply: Reply::Done { outcome: Outcome::Ok, detail: String::new() } })
    }

    fn request(request: u64, void_after_ms: u64, verb: Verb) -> Frames {
        let by = "test".into();
        codec::encode_to_node(&ToNode::Request {
            request,
            within_ms: 300,
            void_after_ms,
            by,
            verb,
            incarnation: None,
            above: Vec::new(),
        })
    }

    fn children(seq: u64) -> Frames {
        of_node(FromNode::Children { seq, spec: Value::Null, holds: Vec::new() })
    }

    #[test]
    fn each_parent_counts_its_requests_by_itself() {
        let mut relayed = RelayedNode::default();
        assert_eq!(relayed.down(request(7, 9_000, Verb::Ping), None), request(7, 9_000, Verb::Ping));
        assert_eq!(relayed.up(reply(7)), Some(reply(7)));
        relayed.adopted(None, Time::ZERO);
        assert_eq!(relayed.down(request(1, 9_000, Verb::Ping), None), request(9, 9_000, Verb::Ping));
        assert_eq!(relayed.up(reply(9)), Some(reply(1)));
        assert_eq!(relayed.up(reply(7)), None, "that was for another parent");
        let unfollow = |request| Verb::Unfollow { request };
        assert_eq!(relayed.down(request(2, 9_000, unfollow(1)), None), request(10, 9_000, unfollow(9)));
        assert_eq!(relayed.due(Time::ZERO), Due::default());
    }

    #[test]
    fn a_request_has_its_time_by_the_clock_of_the_host_that_it_has_come_to() {
        let mut relayed = RelayedNode::default();
        assert_eq!(relayed.down(request(1, 1_000_000, Verb::Ping), Some(50)), request(1, 350, Verb::Ping));
        let lasts = request(2, u64::MAX, Verb::Ping);
        assert_eq!(relayed.down(lasts.clone(), Some(50)), lasts);
        let other = vec![b"what".to_vec()];
        assert_eq!(relayed.down(other.clone(), Some(50)), other);
    }

    #[test]
    fn a_new_parent_gets_what_stands_below_the_node_until_it_has_seen_it() {
        let mut relayed = RelayedNode::default();
        assert_eq!(relayed.up(children(1)), Some(children(1)));
        assert_eq!(relayed.up(children(2)), Some(children(2)));
        assert_eq!(relayed.due(Time::ZERO), Due::default(), "the first one gets it from the node");
        relayed.adopted(None, Time::ZERO);
        let again = || Due { up: Some(children(2)), down: None };
        assert_eq!(relayed.due(Time::ZERO), again());
        assert_eq!(relayed.due(Time::ZERO), Due::default(), "not at once");
        let later = relayed.next_deadline().unwrap();
        let seen = |seq| codec::encode_to_node(&ToNode::ChildrenSeen { seq });
        assert_eq!(relayed.down(seen(1), None), seen(1));
        assert_eq!(relayed.due(later), again());
        relayed.down(seen(2), None);
        assert_eq!(relayed.due(later + AGAIN), Due::default());
        assert_eq!(relayed.next_deadline(), None);
    }

    #[test]
    fn the_spec_of_a_new_parent_is_a_reload_that_is_sent_until_the_node_has_done_it() {
        let mut relayed = RelayedNode::default();
        relayed.down(request(7, 9_000, Verb::Ping), None);
        relayed.adopted(Some(Verb::Ping), Time::ZERO);
        let reload = relayed.due(Time::ZERO).down.unwrap();
        let Ok(ToNode::Request { request: 8, void_after_ms: u64::MAX, .. }) = codec::decode_to_node(&reload) else {
            panic!("{reload:?}");
        };
        let accepted = Reply::Accepted { waiting_for: "it".into() };
        assert_eq!(relayed.up(of_node(FromNode::Reply { request: 8, reply: accepted })), None);
        let later = relayed.next_deadline().unwrap();
        assert_eq!(relayed.due(later).down, Some(reload));
        // The node gets another parent with the same spec before the reload is carried out.
        relayed.adopted(None, later);
        let again = relayed.due(later).down.unwrap();
        assert!(matches!(codec::decode_to_node(&again), Ok(ToNode::Request { request: 9, .. })), "{again:?}");
        assert_eq!(relayed.up(reply(8)), None);
        assert_eq!(relayed.due(later + AGAIN).down, Some(again), "that was for another parent");
        assert_eq!(relayed.up(reply(9)), None);
        assert_eq!(relayed.due(later + AGAIN + AGAIN), Due::default());
    }

    #[test]
    fn a_reload_that_a_busy_node_has_refused_is_sent_again_and_one_that_it_cannot_do_is_not() {
        let mut relayed = RelayedNode::default();
        relayed.adopted(Some(Verb::Ping), Time::ZERO);
        let mut now = Time::ZERO;
        let reload = relayed.due(now).down.unwrap();
        let refused =
            |why| of_node(FromNode::Reply { request: 1, reply: Reply::Refused { why, message: String::new() } });
        for why in [Refusal::Full, Refusal::Busy] {
            assert_eq!(relayed.up(refused(why)), None, "no parent has asked for it");
            now += AGAIN;
            assert_eq!(relayed.due(now).down.as_ref(), Some(&reload), "{why:?}");
        }
        // The present parent has the same spec, which the node does not have yet.
        relayed.adopted(None, now);
        assert!(relayed.due(now).down.is_some());
        assert_eq!(relayed.up(refused(Refusal::NotUnderstood)), None, "that was for another parent");
        let refused = Reply::Refused { why: Refusal::NotUnderstood, message: String::new() };
        relayed.up(of_node(FromNode::Reply { request: 2, reply: refused }));
        assert_eq!(relayed.due(now + AGAIN), Due::default());
    }
}
