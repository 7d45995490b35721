//! The children of a node: what they are, their processes, and what is done with these.

mod away;
mod carried;
mod child;
mod clear;
mod groups;
mod handing;
mod hold;
mod holding;
mod late;
mod launch;
mod launch_failure;
mod look;
mod main_pid;
mod main_process;
mod node_link;
mod output;
mod past;
mod postmortem;
mod process;
mod reading;
mod renew;
mod runs;
mod signals;
mod sockets;
mod start;
mod successor;
mod table;

pub(super) use self::away::Away;
pub(super) use self::carried::CarriedChildren;
pub(super) use self::child::{Child, Program, member};
pub(super) use self::clear::Looked;
pub(super) use self::launch::{credentials, identity_environment};
#[cfg(feature = "hosts")]
pub(crate) use self::look::look_at_placed;
pub(super) use self::node_link::NodeLink;
pub(super) use self::output::{Followers, LAST, Output, TakeLine};
pub use self::past::Look;
pub(super) use self::renew::News;
pub(super) use self::table::Children;
