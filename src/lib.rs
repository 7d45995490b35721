//! Erlang/OTP supervision trees for ordinary OS processes.

pub mod error;
pub mod ids;
pub mod time;
