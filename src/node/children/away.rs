//! A child whose process is on a host that the agent has chosen: what is kept of it here.

use super::node_link::NodeLink;
use crate::link::Identity;
use crate::supervision::Run;

/// The present run of a placed child.
#[derive(Debug)]
pub(in crate::node) struct Away {
    pub run: Run,
    /// Where it runs, once it does.
    pub host: Option<String>,
    /// It ran there before it was this supervisor's.
    pub adopted: bool,
    /// Where its frames come from: the agent presents them under this name.
    pub link: NodeLink,
    /// It counts among those that are to beat.
    pub(super) promised: bool,
}

impl Away {
    pub(crate) fn new(run: Run, name: &[u8], promised: bool) -> Away {
        Away { run, host: None, adopted: false, link: NodeLink::named(Identity::new(name)), promised }
    }
}
