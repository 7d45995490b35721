//! The headers of messages of the mesh itself. Those of placed subtrees are defined in `hosts::message`.

use crate::ids::Token;
use crate::wire::hosts::Bundle as Files;
use crate::wire::look::{Kept, RecordCursor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The protocol of this program. Agents of one version work with those of the one before.
pub const PROTOCOL: u32 = 1;

/// `HELLO`: the sender introduces itself. The receiver accepts the host's name only if it is the certificate's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The name of the sending host.
    pub host: String,
    /// The name of its cluster.
    pub cluster: String,
    /// The version of its program.
    pub version: String,
    /// The version of the protocol that its agent speaks, as [`PROTOCOL`].
    pub protocol: u32,
    /// Which life of the host in the cluster this is; 0 before it has a lease.
    pub epoch: u64,
}

/// `PULSE`: the heartbeat of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// Of the sender's host, as in [`Hello`].
    pub epoch: u64,
    /// One more with each pulse.
    pub seq: u64,
}

/// `BUNDLE`: transfers a deployed file with its includes to a host. The receiver asks for one part after the other, so
/// that never so much data is under way that it delays the heartbeats of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The digest of the bundle's content; the receiver checks it.
    pub digest: String,
    /// The step of the transfer.
    #[serde(flatten)]
    pub what: BundleWhat,
}

/// A step in the transfer of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum BundleWhat {
    /// The bundle is being deployed: the receiver is to fetch it, and to answer by `Kept` or `Refused`.
    Offer,
    /// Ask for one part of the bundle.
    Want {
        /// The number of the part, counted from 0.
        part: u32,
    },
    /// One part, in one frame of payload. The parts together are the contents of all files, in the order of `files`.
    Part {
        /// The number of the part.
        part: u32,
        /// The list of files; in the first part only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<Files>,
    },
    /// The bundle is on the receiver's disk, and its digest and content have been checked.
    Kept,
    /// The receiver does not take the bundle.
    Refused {
        /// The reason in words, for people.
        why: String,
    },
}

/// `OPERATOR`: a message between a tool and the root of an instance follows, frame by frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Its name in the cluster.
    pub instance: String,
    /// The number of the conversation between the two agents.
    pub conversation: u64,
    /// Why all conversations with this instance end; no message follows then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// `JOIN`: between a machine that is to become a host and the inviting host. The machine is identified by the key of
/// its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Join {
    /// The machine asks to join.
    Ask {
        /// The token of the invitation.
        token: Token,
        /// The name that the machine is to have.
        name: String,
        /// The machine can run a member of the store: it has etcd.
        #[serde(default)]
        etcd: bool,
        /// The machine is to be a witness: to run a voting member of the store, with nothing placed on it.
        #[serde(default)]
        witness: bool,
    },
    /// The machine has become a host.
    Welcome(Box<Welcome>),
    /// The machine has not become a host.
    Refused {
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// What a new host is given.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Welcome {
    /// The name of the cluster.
    pub cluster: String,
    /// The certificate of the new host's key.
    pub cert: String,
    /// The signing key of the cluster. It is secret: the connection is encrypted, and the token has authenticated the
    /// receiver.
    pub signing: String,
    /// The members of the store, as the inviting host reaches them.
    pub endpoints: Vec<String>,
    /// The certificate authority of the store's members, as PEM.
    #[serde(default)]
    pub ca: Option<String>,
    /// The members of the store require a client certificate of that authority.
    #[serde(default)]
    pub wants_cert: bool,
    /// Whether the new host runs a member of the store; absent if the store is not run by hosts of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<bool>,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// `SIGNING`: transfers the new signing key of the cluster to its hosts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Signing {
    /// Send the key whose public half this is.
    Ask {
        /// The public half, as in the record of the cluster.
        issuer: String,
    },
    /// The answer: the key. It is secret: the connection is encrypted, and its other end authenticated.
    Give {
        /// The secret half, 32 bytes in Base64.
        key: String,
    },
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signing::Ask { issuer } => f.debug_struct("Ask").field("issuer", issuer).finish(),
            Signing::Give { .. } => f.debug_struct("Give").finish_non_exhaustive(),
        }
    }
}

/// `WISH`: a request of an operator on another host. It is sent again until the record of the receiving host shows its
/// effect, so it needs no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRequest {
    /// What the operator wants of the host.
    pub what: RequestedChange,
    /// Milliseconds after which the request expires; the receiver drops it then.
    pub void_after_ms: u64,
}

/// What an operator requests of another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestedChange {
    /// Nothing is to run on the host any more.
    Drain,
    /// The host may run subtrees again.
    Undrain,
}

/// `LOOK`: reads a host's records from its disk, a page at a time. The request is sent again until the answer arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The number of the request, chosen by the host that asks.
    pub number: u64,
    /// The request or the answer.
    #[serde(flatten)]
    pub what: LookWhat,
}

/// The request or the answer in a `LOOK`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum LookWhat {
    /// Ask for a page.
    Ask {
        /// Of the agent or of an instance.
        kept: Kept,
        /// Where the page begins.
        from: RecordCursor,
    },
    /// The page, in one frame of payload.
    Page {
        /// Where the next page begins, if there is one.
        next: Option<RecordCursor>,
    },
    /// The page cannot be read.
    Refused {
        /// The reason in words, for people.
        why: String,
    },
}
