//! Where an instance is found and what it leaves: the directory of a running one, and the one that outlives it. Both
//! ends of every socket and the tools that look for an instance need them.

pub mod runtime;
pub mod state;
