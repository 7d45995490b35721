//! The tables of a file whose keys belong to a tree, and which groups of keys each of them has.

/// Written by [`print`](super::print) for children of one `count` that cannot be written as one; not meant for people.
pub(super) const COUNT_GROUP: &str = "count-group";

/// What a table is, as far as its keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file's own level.
    Top,
    /// A child with children.
    Supervisor,
    /// A child with a command.
    Worker,
    /// A child that is neither; it gets the keys of both, so that only what is missing is complained about.
    Unclear,
    /// A `[defaults]` table.
    Defaults,
}

/// Keys that the same tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// The top level's alone.
    Top,
    /// What every child is called.
    Name,
    /// Every child's.
    Child,
    /// What makes the one worker what it is.
    Own,
    /// How a worker's process is set up.
    Setup,
    /// When a worker is ready, and when it has ended well.
    Ready,
    /// Where a worker's output goes.
    Bounds,
    /// A supervisor's as a child.
    Placed,
    /// A supervisor's, the top level included.
    Body,
    /// What a worker, or all below a supervisor, may take of the machine.
    Resources,
}

impl Kind {
    /// The groups that it has, in the order in which keys are listed.
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

    /// What it is called in a message.
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
