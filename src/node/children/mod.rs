//! The children of a node.

mod handle;
mod start;
mod table;

pub(super) use self::handle::*;
pub(super) use self::table::Children;
