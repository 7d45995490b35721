//! ZeroMQ sockets, for nodes and for the operator's tools.
//!
//! Only this room and one file of `os` use the crate `zmq`. This room deals with endpoints, socket options and the rule
//! about libzmq's descriptor (file `drain.rs`). The content of frames belongs to `wire`, and which peer may send what
//! to the node. It imports nothing but the hallway.
//!
//! | type | is | used by |
//! | --- | --- | --- |
//! | [`Router`] | many peers, distinguished by identity | a node towards its children and towards operators |
//! | [`Dealer`] | one peer | a node towards its parent, an operator's tool towards the root |
//! | [`Pull`] | messages without a sender, only counted | beats and buttons over plain PUSH |
//!
//! Between hosts there are two more types, in [`curve`].
//!
//! All of them follow these rules:
//!
//! - **Nothing blocks.** Sending and receiving return at once. The two exceptions are documented:
//!   [`Dealer::wait_input`], and dropping the last socket and [`Context`] after a `close` with a linger.
//! - **Nothing trusts a peer.** A frame above the limit closes that peer's connection before it is read
//!   (`ZMQ_MAXMSGSIZE`); queues are bounded on both sides; a message with too many frames is dropped and counted. A
//!   [`Door`] (file `door.rs`) decides which peers may connect, how often, and how long their messages may be.
//! - **Check before sleeping.** Code that sleeps on a socket's `fd` calls its `has_input` as the last thing before.
//!
//! The sockets that children and operators connect to are made here, and libzmq accepts from a duplicate: so they stay
//! with this process, whatever happens to libzmq's context. A socket at an endpoint of the user's choice ([`Pull`])
//! belongs to libzmq.
//!
//! Every descriptor is close-on-exec, libzmq's too, so no child inherits one.

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
