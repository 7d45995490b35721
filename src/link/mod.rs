//! ZeroMQ sockets, for nodes and for the operator's tools alike.
//!
//! This room and one file of `os` name the crate `zmq`. It is about endpoints, socket options and the one rule about
//! libzmq's descriptor (file `drain.rs`); it does not know what is inside a frame (that is `wire`'s business) nor which
//! peer may send what (that is the node's). It imports nothing but the hallway.
//!
//! | type | is | used by |
//! | --- | --- | --- |
//! | [`Router`] | many peers, distinguished by identity | a node towards its children and towards operators |
//! | [`Dealer`] | one peer | a node towards its parent, an operator's tool towards the root |
//! | [`Pull`] | messages without a sender, only counted | beats and buttons of the plain PUSH kind |
//!
//! Between hosts there are two more, [`curve`].
//!
//! What holds for all of them:
//!
//! - **Nothing blocks.** Sending and receiving return at once. The two exceptions are documented:
//!   [`Dealer::wait_input`], and dropping the last socket and [`Context`] after a `close` with a linger.
//! - **Nothing trusts a peer.** A frame above the limit closes that peer's connection before it is read
//!   (`ZMQ_MAXMSGSIZE`); queues are bounded on both sides; a message with too many frames is dropped and counted. Which
//!   peers may connect at all, how often, and how much one message may hold, a [`Door`] decides (file `door.rs`).
//! - **After use, look.** Code that sleeps on a socket's `fd` calls its `has_input` as the last thing before.
//!
//! The sockets that children and operators connect to are made here, and libzmq accepts from a duplicate: so they are
//! this process's own, whatever becomes of libzmq's context. One at an endpoint of the user's ([`Pull`]) is libzmq's.
//!
//! Every descriptor is close-on-exec, libzmq's too, so none reaches a child.

mod context;
#[cfg(feature = "hosts")]
pub mod curve;
mod dealer;
mod door;
mod drain;
#[cfg(feature = "hosts")]
mod keys;
mod peer;
mod place;
mod push;
mod router;
#[cfg(test)]
mod tests;

pub use context::{Context, LinkError, control_socket, endpoint, has_curve, libzmq_version, node_socket};
pub use dealer::Dealer;
pub use door::{Door, MessageMax, Refused, Rules, Why, has_doors};
pub use drain::Waited;
#[cfg(feature = "hosts")]
pub use keys::{KeyPair, PublicKey, SecretKey};
pub use peer::PeerCred;
pub use push::Pull;
pub use router::{Dropped, Identity, Inbound, Router, RouterLimits, SendOutcome};
