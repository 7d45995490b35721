//! The run of a placed child: its process is on a host that the agent has chosen, and this is what the node keeps of
//! it.

use super::node_link::NodeLink;
use crate::link::Identity;
use crate::supervision::Run;

/// The present run of a placed child.
#[derive(Debug)]
pub(in crate::node) struct Away {
    pub run: Run,
    /// The host that it runs on, once the agent has reported that it runs.
    pub host: Option<String>,
    /// The process ran there already, started for another supervisor, and this supervisor has adopted it.
    pub adopted: bool,
    /// The connection of the child node; the agent forwards its frames under this name.
    pub link: NodeLink,
    /// It is counted in `Children::beating`: it has promised heartbeats.
    pub(super) promised: bool,
}

impl Away {
    pub(crate) fn new(run: Run, name: &[u8], promised: bool) -> Away {
        Away { run, host: None, adopted: false, link: NodeLink::named(Identity::new(name)), promised }
    }
}
