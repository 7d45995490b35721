//! The tree goes on with another executable: every supervisor process is replaced by it in its place, one after the
//! other from the root down, and its children notice nothing.
//!
//! 1. **Rehearsal**, in every node: its state as it is now is read by the new executable in a process aside
//!    (`rehearsal`). Nothing has been changed until all of them have gone well.
//! 2. **The root** is replaced at the end of a turn in which nothing is in hand (`Node::exec_in_place`). The other
//!    image reads the snapshot (`state`) and goes on (`boot::resume`); what goes wrong leads back to this one.
//! 3. **Below**, each node does the same when its parent asks for it, and then asks its own child nodes.
//!
//! `course` decides whose turn it is, and `replacing`, beside the loop, carries it out. What is asked of a child node
//! that is being replaced waits until that has connected again.

pub(super) mod course;
pub(super) mod rehearsal;
pub(super) mod restore_check;
pub(super) mod state;
pub(super) mod upgrading;
