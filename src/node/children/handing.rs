//! What a child node is given at its start, on this host or on another one.

use super::child::{Child, Subtree};
use super::node_link;
use crate::ids::{Incarnation, ReportId, Token};
use crate::node::context::Place;
use crate::node::record::Handed;
use crate::os::random;
use std::io;

impl Child {
    /// What a placed child node is given at its start. Draws its token and the number in its name.
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

    /// What a child node is given at its start, on any host. `own` is the random number in its name.
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

/// Draws two random numbers: the token of a child, and the number in the name of a child node.
pub(super) fn draw_secrets() -> io::Result<[Token; 2]> {
    let mut numbers = [0u8; 32];
    random::fill(&mut numbers)?;
    Ok([0, 16].map(|at| Token(numbers[at..at + 16].try_into().expect("half of 32 bytes"))))
}
