//! A tree without processes, for tests.

use super::{Answers, Counted, NodeReader, Places, Seen};
use crate::ids::{Incarnation, Name, Path};
use crate::spec::tree::{ChildSpec, TreeSpec};
use crate::supervision::{ChildId, RolloutStatus, Run, State};
use crate::time::Time;
use crate::wire::view::{ChildView, StatusView, SupervisorView};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The children of one supervisor, which all run, and the paths below them.
pub(super) struct Tree {
    own: Path,
    children: Vec<(Path, bool)>,
    below: Vec<Path>,
    /// Child nodes that cannot answer.
    pub mute: BTreeSet<ChildId>,
    /// Children without a process.
    pub down: BTreeSet<ChildId>,
    /// Paths below child nodes that are held.
    pub held: Vec<Path>,
    /// The incarnation of all children.
    pub incarnation: Incarnation,
    /// Children that are being stopped.
    pub stopping: BTreeSet<ChildId>,
    /// Child nodes that are placed.
    pub placed: BTreeSet<ChildId>,
    /// The hosts of placed child nodes.
    pub hosts: BTreeMap<ChildId, String>,
    /// The specs of the children, where they matter.
    pub specs: Vec<ChildSpec>,
}

impl Tree {
    /// A tree with these paths. Paths that end in a slash are supervisors.
    pub(super) fn of(paths: &[&str]) -> Tree {
        let parse = |text: &str| Path::parse(text.strip_suffix('/').unwrap_or(text)).unwrap();
        let all = || paths.iter().map(|text| (parse(text), text.ends_with('/')));
        let own = parse(paths[0]).parent().unwrap();
        let own_child = |path: &Path| path.parent().as_ref() == Some(&own);
        Tree {
            children: all().filter(|(path, _)| own_child(path)).collect(),
            below: all().map(|(path, _)| path).filter(|path| !own_child(path)).collect(),
            own,
            mute: BTreeSet::new(),
            down: BTreeSet::new(),
            held: Vec::new(),
            incarnation: Incarnation(1),
            stopping: BTreeSet::new(),
            placed: BTreeSet::new(),
            hosts: BTreeMap::new(),
            specs: Vec::new(),
        }
    }

    pub(super) fn run(child: u32) -> Run {
        Run { child: ChildId(child), incarnation: Incarnation::FIRST }
    }
}

impl NodeReader for Tree {
    fn find(&self, name: &str) -> Option<ChildId> {
        let at = self.children.iter().position(|(path, _)| path.name() == Some(name))?;
        Some(ChildId(at as u32))
    }

    fn child(&self, child: ChildId) -> Option<Seen<'_>> {
        let (path, node) = self.children.get(child.0 as usize)?;
        let run = (!self.down.contains(&child)).then(|| Tree::run(child.0));
        let host = self.hosts.get(&child).map(String::as_str);
        Some(Seen { path, node: *node, run, incarnation: self.incarnation, host })
    }

    fn nodes(&self) -> Vec<Run> {
        (0..).zip(&self.children).filter(|(_, (_, node))| *node).map(|(at, _)| Tree::run(at)).collect()
    }

    fn has_below(&self, node: ChildId, path: &Path) -> bool {
        self.below.contains(path) && path.is_within(&self.children[node.0 as usize].0)
    }

    fn levels(&self) -> u64 {
        1
    }

    fn answers(&self, _: Time, node: Run) -> Answers {
        if self.mute.contains(&node.child) { Answers::Never } else { Answers::Promptly }
    }

    fn state(&self, _: Time, child: ChildId) -> State {
        match child {
            _ if self.stopping.contains(&child) => State::Stopping,
            _ if self.down.contains(&child) => State::Stopped,
            _ => State::Running,
        }
    }

    fn rollout(&self) -> Option<RolloutStatus> {
        None
    }

    fn behind(&self, _: ChildId) -> Vec<Path> {
        Vec::new()
    }

    fn is_held(&self, _: ChildId, path: &Path) -> bool {
        self.held.contains(path)
    }

    fn own_view(&self, _: Time, only: Option<&[Name]>) -> SupervisorView {
        let child = |(at, (path, node)): (u32, &(Path, bool))| {
            let placement = self.placed.contains(&ChildId(at)).then(Box::default);
            let view = SupervisorView { placement, ..SupervisorView::bare(path, "unreachable") };
            node.then(|| ChildView::Supervisor(Box::new(view)))
        };
        let mut view = SupervisorView {
            children: (0..).zip(&self.children).filter_map(child).collect(),
            ..SupervisorView::bare(&self.own, "running")
        };
        view.keep_children(only);
        view
    }

    fn child_view(&self, _: Time, child: ChildId) -> Option<ChildView> {
        Some(ChildView::Supervisor(Box::new(SupervisorView::bare(
            &self.children.get(child.0 as usize)?.0,
            "unreachable",
        ))))
    }

    fn spec_view(&self, path: &Path, state: &str) -> Option<ChildView> {
        Some(ChildView::Supervisor(Box::new(SupervisorView::bare(path, state))))
    }

    fn fill(&self, _: Time, _: ChildId, _: &mut SupervisorView) {}

    fn status(&self, _: Time, root: ChildView) -> StatusView {
        StatusView {
            instance: "tree".into(),
            version: String::new(),
            pid: 1,
            uptime_ms: 0,
            containment: "group".into(),
            controllers: Default::default(),
            cluster: None,
            root_host: None,
            store: None,
            root,
        }
    }

    fn tree(&self) -> Option<(TreeSpec, PathBuf)> {
        None
    }

    fn spec_of(&self, child: ChildId) -> Option<ChildSpec> {
        self.specs.get(child.0 as usize).cloned()
    }

    fn counted(&self, name: &str) -> Option<Counted> {
        let first = format!("{name}-1");
        let spec = self.specs.iter().find(|child| child.name.as_str() == first)?.clone();
        Some(Counted { group: spec.policy.group?, number: 1, spec })
    }

    fn left_behind(&self, _: Time) -> Vec<String> {
        Vec::new()
    }

    fn places(&self, which: Places) -> bool {
        match which {
            Places::Anything | Places::Children => !self.placed.is_empty(),
            Places::Child(child) => self.placed.contains(&child),
        }
    }
}
