//! The children of a node: what they are, their processes, and what is done with these.

mod clear;
mod groups;
mod handle;
mod hold;
mod holding;
mod late;
mod launch;
mod look;
mod output;
mod past;
mod postmortem;
mod process;
mod reading;
mod renew;
mod signals;
mod start;
mod table;

pub(super) use self::clear::Looked;
pub(super) use self::handle::{Handle, What, member};
pub(super) use self::launch::{credentials, identity_environment};
pub(super) use self::output::{Followers, LAST, Output, TakeLine};
pub use self::past::Look;
pub(super) use self::renew::News;
pub(super) use self::table::Children;
