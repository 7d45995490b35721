//! Where the reply to a request goes.

use crate::link::Identity;
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

/// Gives numbers to what is asked of child nodes, each only once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Numbers(u64);

impl Numbers {
    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
