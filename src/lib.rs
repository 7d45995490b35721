//! treevisor.
pub mod ids;
pub mod time;
