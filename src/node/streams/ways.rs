//! How messages are sent to readers, and to the child nodes that send lines for them.

use crate::link::{Identity, SendOutcome};
use crate::node::asker::Asker;
use crate::supervision::Run;
use crate::time::Span;
use crate::wire::message::{Reply, Verb};

/// The connections out of a node, borrowed while something is sent.
pub(in crate::node) trait Ways {
    /// Sends a reply to a reader, at this node or at the parent.
    fn reply(&mut self, to: &Asker, reply: &Reply) -> SendOutcome;
    /// Sends events to a reader.
    fn events(&mut self, to: &Identity, frames: &[Vec<u8>]) -> SendOutcome;
    /// Sends a request to a child node under this number. Returns false if the node cannot be reached.
    fn ask(&mut self, node: Run, request: u64, within: Span, verb: Verb) -> bool;
    /// A new number for a request to a child node.
    fn number(&mut self) -> u64;
}
