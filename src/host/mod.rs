//! What a host of a cluster runs beside its trees: the shell around the decisions of its agent, and the fence.
//!
//! | file | what |
//! | --- | --- |
//! | [`agent`] | the process that acts for the host |
//! | [`etcd`] | the process that becomes this host's member of the store |
//! | [`fence`] | the process that kills at the deadline of the lease |
//! | [`identity`] | the keys of a host, and the certificates by which hosts recognize each other |
//! | [`member`] | which hosts belong to the cluster: its first host, keys for others, and that they are not taken any more |

pub mod agent;
pub mod etcd;
pub mod fence;
pub mod identity;
mod known;
pub mod member;
mod way;
