//! A hot upgrade: every supervisor process is replaced by another executable in its place (execveat(2)), one after the
//! other from the root down. Workers go on running and do not notice.
//!
//! 1. **Rehearsal**, in every node: a process of the new executable reads the node's present state (`rehearsal`).
//!    Nothing is changed before this has succeeded in all nodes.
//! 2. **The root** is replaced at the end of a turn, when no event is pending (`Node::exec_in_place`). The next image
//!    reads the snapshot (`state`) and goes on (`boot::resume`). If it fails, the former image goes on.
//! 3. **Below**, each node does the same when its parent asks it to, and then asks its own child nodes.
//!
//! `course` decides whose turn it is, and `replacing`, beside the loop, carries it out. Questions to a child node that
//! is being replaced are held until it has connected again (`replaced`). `upgrading` keeps all that an upgrade takes.

mod behind;
pub(super) mod course;
pub(super) mod faults;
pub(super) mod rehearsal;
pub(super) mod replaced;
mod reports;
pub(super) mod restore_check;
pub(super) mod state;
pub(super) mod upgrading;
