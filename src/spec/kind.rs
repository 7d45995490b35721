//! The kinds of tables in the file of a tree, and the groups of keys that each kind has.

/// The key that [`print`](super::print) writes for children of one `count` that cannot be written as one table; not
/// documented for users.
pub(super) const COUNT_GROUP: &str = "count-group";

/// The kind of a table, which decides its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file's own level.
    Top,
    /// A child with children.
    Supervisor,
    /// A child with a command.
    Worker,
    /// A child that is neither a worker nor a supervisor. It has the keys of both, so that only the missing key is
    /// reported.
    Unclear,
    /// A `[defaults]` table.
    Defaults,
}

/// A group of keys that belong to the same kinds of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// The top level's alone.
    Top,
    /// The name of a child.
    Name,
    /// Keys of every child.
    Child,
    /// Keys of one worker that cannot stand in `[defaults]`.
    Own,
    /// How a worker's process is set up.
    Setup,
    /// When a worker is ready, and when it has ended well.
    Ready,
    /// Where a worker's output goes.
    Bounds,
    /// Keys of a supervisor as a child.
    Placed,
    /// Keys of a supervisor's body, the top level included.
    Body,
    Resources,
}

impl Kind {
    /// The groups of its keys, in the order in which keys are listed.
    pub(super) fn groups(self) -> &'static [Group] {
        use Group::{Body, Bounds, Child, Name, Own, Placed, Ready, Resources, Setup, Top};
        match self {
            Kind::Top => &[Top, Body, Resources],
            Kind::Supervisor => &[Name, Child, Placed, Body, Resources],
            Kind::Worker => &[Name, Child, Own, Setup, Ready, Bounds, Resources],
            Kind::Unclear => &[Name, Child, Own, Setup, Ready, Bounds, Placed, Body, Resources],
            Kind::Defaults => &[Child, Setup, Ready, Bounds, Resources],
        }
    }

    /// Its name in messages.
    pub(super) fn called(self) -> &'static str {
        match self {
            Kind::Top => "the top level",
            Kind::Supervisor => "a supervisor",
            Kind::Worker => "a worker",
            Kind::Unclear => "a child",
            Kind::Defaults => "`[defaults]`",
        }
    }
}
