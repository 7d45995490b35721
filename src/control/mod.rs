//! Control of an instance by an operator's tool: finds it, sends it requests, follows its events, or kills its
//! processes from outside.
//!
//! The lock in an instance's directory is held by the root while it runs. After a root was killed, its keeper holds it
//! until it has cleaned up.

mod agent;
pub mod detach;
mod find;
pub mod force;
pub mod journal;
pub mod line_order;
pub mod logs;
pub mod many;
pub mod session;

pub use crate::instance::runtime::{BASE_VARIABLE, InstanceFile, RuntimeDir, RuntimeError, TreePath, own_base};
pub use crate::instance::state::{STATE_VARIABLE, StateDir, own_base as own_state_base};
pub use agent::{AgentError, ask_agent};
pub use find::{FindError, Instance, find, find_to_force, is_of_host, is_running, running};
pub use session::{AskError, Limits, Session};
