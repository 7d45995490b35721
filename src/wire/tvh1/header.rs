//! The headers of the mesh itself. Those of placed subtrees are where these are decided.

use crate::ids::Token;
use crate::wire::hosts::Bundle as Files;
use crate::wire::look::{Kept, Spot};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The protocol of this program. Agents of one version work with those of the one before.
pub const PROTOCOL: u32 = 1;

/// `HELLO`: what is at the other end. The host's name is believed only where it is that of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The host.
    pub host: String,
    /// Its cluster.
    pub cluster: String,
    /// The version of its program.
    pub version: String,
    /// Of its agent.
    pub protocol: u32,
    /// Which life of the host in the cluster this is; 0 before it has a lease.
    pub epoch: u64,
}

/// `PULSE`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// As in [`Hello`].
    pub epoch: u64,
    /// One more with each.
    pub seq: u64,
}

/// `BUNDLE`: how a deployed file with its includes comes to a host. It asks for one part after the other, so that there
/// is never more of it under way than the connection's own heartbeats can bear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// What its content is called: the receiver checks it.
    pub digest: String,
    /// What is reported of it.
    #[serde(flatten)]
    pub what: BundleWhat,
}

/// What is reported of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum BundleWhat {
    /// It is being deployed: have it, and answer by `Kept` or `Refused`.
    Offer,
    /// Send this part.
    Want {
        /// Which one, counted from 0.
        part: u32,
    },
    /// One frame: that part of the contents of its files, one after the other in the order of their list.
    Part {
        /// Which one.
        part: u32,
        /// The files; in the first part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<Files>,
    },
    /// It is on the disk here, and was found to be right.
    Kept,
    /// It is not.
    Refused {
        /// Why.
        why: String,
    },
}

/// `OPERATOR`: a message between a tool and the root of an instance follows, frame by frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The instance.
    pub instance: String,
    /// Which of the conversations between the two agents.
    pub conversation: u64,
    /// It is over, and nothing follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// `JOIN`: a machine that is to become a host, and what it is answered. It is known by the key by which it has
/// connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Join {
    /// Of the machine.
    Ask {
        /// That of the invitation.
        token: Token,
        /// What it is to be called.
        name: String,
        /// It can run a member of the store: etcd is there.
        #[serde(default)]
        etcd: bool,
        /// It is to vote by such a member, and nothing is to be placed on it.
        #[serde(default)]
        witness: bool,
    },
    /// It is a host.
    Welcome(Box<Welcome>),
    /// It is none.
    Refused {
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// What a machine gets that has become a host.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Welcome {
    /// What the cluster is called.
    pub cluster: String,
    /// The certificate of its key.
    pub cert: String,
    /// The key by which the cluster signs. Secret: the connection is encrypted, and the token has proved whose it is.
    pub signing: String,
    /// The members of the store, as the inviting host reaches them.
    pub endpoints: Vec<String>,
    /// The authority by which they are known, as PEM.
    #[serde(default)]
    pub ca: Option<String>,
    /// They take only hosts that show a certificate of theirs.
    #[serde(default)]
    pub wants_cert: bool,
    /// Hosts of the cluster run the store, under certificates of its own: whether this one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<bool>,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// `SIGNING`: how the key by which the cluster is to sign comes to its hosts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Signing {
    /// Send the key whose public half this is.
    Ask {
        /// As it stands in the record of the cluster.
        issuer: String,
    },
    /// This is it. Secret: the connection is encrypted, and its other end proved.
    Give {
        /// The key.
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

/// `WISH`: what an operator on another host wants of this one. It is sent until the record of this host shows it, so
/// there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What it is.
    pub what: Wished,
    /// It means nothing any more when it comes so much later.
    pub void_after_ms: u64,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wished {
    /// Nothing is to run there any more.
    Drain,
    /// The end of that.
    Undrain,
}

/// `LOOK`: what lies on a host's disk of what has happened, a page at a time. It is asked for again until it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The number of the question, drawn by the host that asks.
    pub number: u64,
    /// What is asked, or answered.
    #[serde(flatten)]
    pub what: LookWhat,
}

/// What a `LOOK` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum LookWhat {
    /// Send this page.
    Ask {
        /// Of what.
        kept: Kept,
        /// Where it begins.
        from: Spot,
    },
    /// One frame: the page.
    Page {
        /// Where the next one begins, if there is one.
        next: Option<Spot>,
    },
    /// It cannot be read.
    Refused {
        /// Why.
        why: String,
    },
}
