//! The host on which each child in a view runs.

use super::ChildView;
use crate::ids::Path;

impl ChildView {
    /// Sets the host of this child and of all below it, if it is not set. Placed subtrees are left out: they run on
    /// another host, or nowhere.
    pub fn mark_host(&mut self, host: &str, is_placed: &dyn Fn(&Path) -> bool) {
        match self {
            ChildView::Supervisor(view) if is_placed(&view.path) => {}
            ChildView::Supervisor(view) => {
                view.host.get_or_insert_with(|| host.to_owned());
                view.children.iter_mut().for_each(|child| child.mark_host(host, is_placed));
            }
            ChildView::Worker(view) => {
                view.host.get_or_insert_with(|| host.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::view::{SupervisorView, WorkerView};

    fn worker(path: &str) -> ChildView {
        ChildView::Worker(Box::new(WorkerView::bare(&Path::parse(path).unwrap(), "running")))
    }

    fn supervisor(path: &str, child: ChildView) -> ChildView {
        let bare = SupervisorView::bare(&Path::parse(path).unwrap(), "running");
        ChildView::Supervisor(Box::new(SupervisorView { children: vec![child], ..bare }))
    }

    #[test]
    fn what_has_no_placement_runs_where_the_root_runs() {
        let (below, placed) = (supervisor("/in", worker("/in/w")), supervisor("/db", worker("/db/w")));
        let top = SupervisorView { children: vec![below, placed], ..SupervisorView::bare(&Path::root(), "running") };
        let mut top = ChildView::Supervisor(Box::new(top));
        top.mark_host("a", &|path| path.as_str() == "/db");
        let host = |path: &str| match top.find(&Path::parse(path).unwrap()).unwrap() {
            ChildView::Supervisor(view) => view.host.clone(),
            ChildView::Worker(view) => view.host.clone(),
        };
        for path in ["/", "/in", "/in/w"] {
            assert_eq!(host(path).as_deref(), Some("a"), "{path}");
        }
        for path in ["/db", "/db/w"] {
            assert_eq!(host(path), None, "{path}");
        }
    }
}
