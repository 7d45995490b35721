//! Erlang/OTP supervision trees for ordinary OS processes.

pub mod client;
pub mod error;
pub mod ids;
#[cfg(feature = "supervisor")]
pub mod link;
#[cfg(feature = "supervisor")]
pub mod logging;
#[cfg(feature = "supervisor")]
pub mod logs;
#[cfg(feature = "supervisor")]
pub mod node;
#[cfg(feature = "supervisor")]
pub mod os;
#[cfg(feature = "supervisor")]
pub mod spec;
#[cfg(feature = "supervisor")]
pub mod supervision;
pub mod time;
pub mod wire;
