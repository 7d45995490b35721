//! What a host of a cluster runs beside its trees: the agent, the shell around the decisions of `hosts`, and the fence.
//!
//! | file | what |
//! | --- | --- |
//! | [`agent`] | the process that acts for the host |
//! | [`etcd`] | the process that becomes etcd, as this host's member of the store |
//! | [`fence`] | the process that kills at the deadline of the lease |
//! | [`identity`] | the keys of a host, and the certificates by which hosts recognize each other |
//! | [`member`] | the hosts of the cluster: makes the first one, makes keys for others, revokes those of removed ones |

pub mod agent;
pub mod etcd;
pub mod fence;
pub mod identity;
mod known;
pub mod member;
mod store_opener;
