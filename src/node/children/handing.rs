//! What a node decides of the start of a child node, wherever that runs.

use super::child::{Child, Subtree};
use super::node_link;
use crate::ids::{Incarnation, ReportId, Token};
use crate::node::context::Place;
use crate::node::record::Handed;
use crate::os::random;
use std::io;

impl Child {
    /// What this node decides of the start of a child node that is placed.
    pub(crate) fn hand_down(
        &self,
        incarnation: Incarnation,
        below: &Subtree,
        place: &Place,
        cause: Option<ReportId>,
    ) -> Result<Handed, String> {
        let [token, own] = draw_secrets().map_err(|error| format!("drawing a token: {error}"))?;
        Ok(self.handed(incarnation, below, place, cause, token, own))
    }

    /// The same, wherever it runs. `own` is drawn for its name.
    pub(super) fn handed(
        &self,
        incarnation: Incarnation,
        below: &Subtree,
        place: &Place,
        cause: Option<ReportId>,
        token: Token,
        own: Token,
    ) -> Handed {
        Handed {
            path: self.path.clone(),
            incarnation,
            cause,
            token,
            name: node_link::name(place.family, own),
            heartbeat: self.policy.heartbeat,
            holds: below.holds.clone(),
            log_level: place.log_level.as_usize(),
            log_format: place.log_format,
            output_format: place.output_format,
            show_output: place.show_output,
        }
    }
}

/// A token for a child, and one for the name of a child node.
pub(super) fn draw_secrets() -> io::Result<[Token; 2]> {
    let mut numbers = [0u8; 32];
    random::fill(&mut numbers)?;
    Ok([0, 16].map(|at| Token(numbers[at..at + 16].try_into().expect("half of 32 bytes"))))
}
