//! Where the reply to a request goes.

use crate::link::{Identity, PeerCred};
use serde::{Deserialize, Serialize};

/// The receiver of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Asker {
    /// An operator's tool at the control endpoint.
    Operator {
        /// Its address there.
        to: Identity,
        /// The number that it has given its request.
        request: u64,
    },
    /// Our parent, for a caller above.
    Parent {
        /// The number that it has given its request.
        request: u64,
    },
    /// No receiver.
    #[serde(rename = "nobody")]
    None,
}

impl Asker {
    /// The asker whose request had this number, of the same sender.
    pub fn numbered(&self, request: u64) -> Option<Asker> {
        match self {
            Asker::Operator { to, .. } => Some(Asker::Operator { to: to.clone(), request }),
            Asker::Parent { .. } => Some(Asker::Parent { request }),
            Asker::None => None,
        }
    }
}

/// An operator, by the process that has asked, and on whose behalf that did, such as "uid 1000 (pid 71; web, acting
/// key)".
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

/// Gives numbers to what is asked of child nodes, each only once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Numbers(u64);

impl Numbers {
    /// The next number, counted from 1. An upgrade goes on with the count, so that no late reply meets a new request.
    pub fn draw(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
