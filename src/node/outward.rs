//! The ways by which a node sends replies and streams: to operators, to the parent, to child nodes.

use super::asker::{Asker, Numbers};
use super::children::{Child, Children, NodeLink};
use super::endpoint::Endpoint;
use super::requests::Question;
use super::streams::Ways;
use super::uplink::Uplink;
use crate::link::{Identity, Router, SendOutcome};
use crate::os::clock;
use crate::supervision::Run;
use crate::time::Span;
use crate::wire::codec;
use crate::wire::message::{Reply, RootReply, ToNode, Verb};

/// The parts of a node that send.
pub(super) struct Outward<'a> {
    pub control: Option<&'a mut Router>,
    pub uplink: Option<&'a mut Uplink>,
    pub endpoint: &'a mut Endpoint,
    pub children: &'a Children,
    pub numbers: &'a mut Numbers,
}

impl Ways for Outward<'_> {
    fn reply(&mut self, to: &Asker, reply: &Reply) -> SendOutcome {
        match (to, &mut self.control, &mut self.uplink) {
            (Asker::Operator { to, request }, Some(control), _) => {
                send(control, to, &codec::encode_told(&RootReply { request: *request, reply: reply.clone() }))
            }
            (Asker::Parent { request }, _, Some(uplink)) => match uplink.try_reply(*request, reply.clone()) {
                true => SendOutcome::Sent,
                false => SendOutcome::Full,
            },
            (Asker::Operator { .. } | Asker::Parent { .. } | Asker::None, _, _) => SendOutcome::NoSuchPeer,
        }
    }

    fn events(&mut self, to: &Identity, frames: &[Vec<u8>]) -> SendOutcome {
        self.control.as_mut().map_or(SendOutcome::NoSuchPeer, |control| send(control, to, frames))
    }

    fn ask(&mut self, node: Run, request: u64, within: Span, verb: Verb) -> bool {
        let within_ms = within.as_millis();
        let question = Question { node, request, within_ms, lasting: false, by: String::new(), verb, meant: None };
        ask(self.children, self.endpoint, question)
    }

    fn number(&mut self) -> u64 {
        self.numbers.draw()
    }
}

/// Sends a message to a peer of the control endpoint.
pub(super) fn send(router: &mut Router, to: &Identity, frames: &[Vec<u8>]) -> SendOutcome {
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    router.send(to, &frames)
}

/// Sends a question to a child node. Returns false if that node cannot be reached.
pub(super) fn ask(children: &Children, endpoint: &mut Endpoint, question: Question) -> bool {
    let node = question.node;
    send_to_node(children, endpoint, node, &question.message(clock::machine_millis()))
}

/// Sends a message to a child node. Returns false if that node cannot be reached.
pub(super) fn send_to_node(children: &Children, endpoint: &mut Endpoint, node: Run, message: &ToNode) -> bool {
    let child = children.get(node.child).filter(|child| child.is_of(node));
    let to = child.and_then(Child::link).and_then(NodeLink::to);
    to.is_some_and(|to| endpoint.send(to, message))
}
