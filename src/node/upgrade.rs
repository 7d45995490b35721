//! The tree goes on with another executable.

use super::asker::Asker;
use super::requests::refused;
use super::turn::Node;
use crate::wire::message::Refusal;
use std::path::PathBuf;

impl Node {
    /// An operator wants the tree to go on with `exe`, or to know whether it could.
    pub(super) fn upgrade(&mut self, asker: Asker, _by: String, exe: PathBuf, _check: bool) {
        let message = format!("this version cannot go on as {}: stop the tree, and start it with that", exe.display());
        self.reply(&asker, refused(Refusal::NotAllowed, message));
    }
}
