//! The input of an import, and the facts about the machine that it needs.

use std::rc::Rc;

/// A file that was read: its name as shown, and its content.
pub(super) struct Text {
    pub(super) name: Rc<str>,
    pub(super) text: String,
}

/// The facts about the machine on which a file is imported.
pub(super) struct Machine<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) host: String,
}
