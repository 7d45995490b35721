//! The two directories of an instance: the runtime directory, which exists while it runs, and the state directory,
//! which outlives it. Nodes, workers' sockets and tools find them by the same rules.

pub mod runtime;
pub mod state;
