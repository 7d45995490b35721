//! Where the reply to a request goes.

use crate::link::{Identity, PeerCred};
use serde::{Deserialize, Serialize};

/// The receiver of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Asker {
    /// An operator's tool at the control endpoint.
    Operator {
        /// The tool's address at that endpoint.
        to: Identity,
        /// The number that the tool has given its request.
        request: u64,
    },
    /// The parent node, which passes on the request of a caller above it.
    Parent {
        /// The number that the parent has given its request.
        request: u64,
    },
    /// No process waits for the reply.
    #[serde(rename = "nobody")]
    None,
}

impl Asker {
    /// The same asker with the number of another of its requests. `None` if there is no asker.
    pub fn numbered(&self, request: u64) -> Option<Asker> {
        match self {
            Asker::Operator { to, .. } => Some(Asker::Operator { to: to.clone(), request }),
            Asker::Parent { .. } => Some(Asker::Parent { request }),
            Asker::None => None,
        }
    }
}

/// Describes an operator in a text for people: the peer process, and on whose behalf it has sent the request (`via`),
/// such as "uid 1000 (pid 71; web, acting key)".
pub(super) fn operator(peer: Option<PeerCred>, via: Option<&str>) -> String {
    let Some(PeerCred { pid, uid, .. }) = peer else {
        return match via {
            Some(via) => format!("an operator ({via})"),
            None => "an operator".into(),
        };
    };
    match via {
        Some(via) => format!("uid {uid} (pid {pid}; {via})"),
        None => format!("uid {uid} (pid {pid})"),
    }
}

/// Numbers for the requests to child nodes. Each number is given out only once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Numbers(u64);

impl Numbers {
    /// The next number, counted from 1. The count survives a hot upgrade, so that no late reply is taken for the reply
    /// to a new request.
    pub fn draw(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
