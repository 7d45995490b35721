//! What is imported, and where.

use std::rc::Rc;

/// A file that was read: its name as it is shown, and what is in it.
pub(super) struct Text {
    pub(super) name: Rc<str>,
    pub(super) text: String,
}

/// What is asked of the machine on which a file is imported.
pub(super) struct Machine<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) host: String,
}
