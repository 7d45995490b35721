//! What a path means to one node. Pure.

use super::node_reader::NodeReader;
use crate::ids::Path;
use crate::supervision::ChildId;

/// What a path means to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The node itself.
    Own,
    /// A child of its own.
    Child(ChildId),
    /// A path below one of its child nodes.
    Below(ChildId),
    /// There is no such path.
    Nowhere,
}

impl Place {
    /// What `path` means to the node at `own`.
    pub(super) fn of(path: &Path, own: &Path, reader: &impl NodeReader) -> Place {
        if path == own {
            return Place::Own;
        }
        let Some(child) = path.step_below(own).and_then(|step| reader.find(step)) else { return Place::Nowhere };
        match reader.child(child) {
            Some(seen) if seen.path == path => Place::Child(child),
            Some(seen) if seen.node && reader.has_below(child, path) => Place::Below(child),
            Some(_) | None => Place::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    #[test]
    fn a_path_is_here_at_a_child_below_one_or_nowhere() {
        let tree = Tree::of(&["/web/db", "/web/in/", "/web/in/a"]);
        let place = |text: &str| Place::of(&path(text), &path("/web"), &tree);
        assert_eq!(place("/web"), Place::Own);
        assert_eq!(place("/web/db"), Place::Child(ChildId(0)));
        assert_eq!(place("/web/in"), Place::Child(ChildId(1)));
        assert_eq!(place("/web/in/a"), Place::Below(ChildId(1)));
        for nowhere in ["/", "/webs", "/web/x", "/web/db/x", "/web/in/b"] {
            assert_eq!(place(nowhere), Place::Nowhere, "{nowhere}");
        }
    }
}
