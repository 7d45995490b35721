//! How a reader is reached, and the nodes below that it reads from.

use crate::link::{Identity, SendOutcome};
use crate::node::asker::Asker;
use crate::supervision::Run;
use crate::time::Span;
use crate::wire::message::{Reply, Verb};

/// The ways out of a node, for as long as it takes to send something.
pub(in crate::node) trait Ways {
    /// To a reader, here or above.
    fn reply(&mut self, to: &Asker, reply: &Reply) -> SendOutcome;
    /// To a reader of events.
    fn events(&mut self, to: &Identity, frames: &[Vec<u8>]) -> SendOutcome;
    /// To a child node, under this number; false when it cannot be reached.
    fn ask(&mut self, node: Run, request: u64, within: Span, verb: Verb) -> bool;
    /// A new number for what a child node is asked.
    fn number(&mut self) -> u64;
}
