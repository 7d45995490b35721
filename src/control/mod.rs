//! What an operator's tool uses to talk to an instance: find it, ask it, follow its events, or act past it.
//!
//! An instance runs as long as a process holds the lock in its directory: the root, and after a root that was killed
//! the keeper, until it has cleaned up.

mod agent;
pub mod detach;
mod find;
pub mod force;
pub mod journal;
pub mod logs;
pub mod many;
pub mod session;

pub use crate::instance::runtime::{BASE_VARIABLE, InstanceFile, RuntimeDir, RuntimeError, TreePath, own_base};
pub use crate::instance::state::{STATE_VARIABLE, StateDir, own_base as own_state_base};
pub use agent::{AgentError, ask_agent};
pub use find::{FindError, Instance, find, find_to_force, is_of_host, is_running, running};
pub use session::{AskError, Limits, Session};
