use super::*;
use crate::node::testing;
use crate::supervision::Config;

const TREE: &str = "name = \"test\"\n\
    [[child]]\nname = \"web\"\ncommand = [\"serve\"]\ncount = 3\n\
    [[child]]\nname = \"db-7\"\ncommand = [\"store\"]\n\
    [[child]]\nname = \"lab\"\n[[child.child]]\nname = \"x\"\ncommand = [\"try\"]\n";

/// Calls `at` with the view of a root of [`TREE`] that has not begun yet.
fn look(at: impl FnOnce(&View<'_>)) {
    let context = testing::context();
    let children = testing::children(TREE, &context);
    let tree = testing::tree(TREE).root;
    let members = children.iter().map(Child::member).collect();
    let core = Supervisor::new(Config { policy: tree.policy, members, uplink: None, node: 1, seed: 1 });
    let Ok(limits) = Limits::begin(tree.resources, &context.place) else { panic!("there is none to set") };
    let dropped = Dropped::default();
    at(&View {
        core: &core,
        children: &children,
        context: &context,
        hooks: &tree.hooks,
        limits: &limits,
        dropped: &dropped,
        stalled: Span::ZERO,
        tree: None,
    });
}

#[test]
fn a_node_that_has_begun_has_the_spec_of_its_file() {
    look(|view| {
        let (mut now, mut file) = (view.spec(), testing::tree(TREE).root);
        let names = |spec: &SupervisorSpec| spec.children.iter().map(|child| child.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&now), names(&file));
        now.children.clear();
        file.children.clear();
        assert_eq!(now, file);
        assert!(view.holds().is_empty());
    });
}

#[test]
fn a_count_is_known_by_the_lowest_of_its_copies_and_a_number_in_a_name_is_none() {
    look(|view| {
        let counted = view.counted("web").unwrap();
        assert_eq!((counted.number, counted.spec.name.as_str()), (1, "web-1"));
        for name in ["db", "web-1", "we", "lab"] {
            assert!(view.counted(name).is_none(), "{name}");
        }
    });
}

#[test]
fn what_is_below_a_child_node_is_known_from_its_spec() {
    look(|view| {
        let of = |name: &str| view.find(name).unwrap();
        let path = |text: &str| Path::parse(text).unwrap();
        assert_eq!(view.levels(), 1);
        assert!(view.has_below(of("lab"), &path("/lab/x")) && !view.has_below(of("lab"), &path("/lab/y")));
        assert!(!view.has_below(of("db-7"), &path("/db-7/x")), "a worker has nothing below it");
        assert!(view.spec_view(&path("/lab/x"), "unknown").is_some());
        assert!(view.spec_view(&path("/other/x"), "unknown").is_none());
        assert!(view.nodes().is_empty(), "none of them runs");
    });
}

#[test]
fn in_a_tree_that_no_agent_has_started_nothing_is_placed_and_no_host_is_shown() {
    look(|view| {
        for which in [Places::Anything, Places::Children, Places::Child(view.find("lab").unwrap())] {
            assert!(!view.places(which), "{which:?}");
        }
        let own = ChildView::Supervisor(Box::new(view.own_view(Time::ZERO, None)));
        let json = serde_json::to_string(&view.status(Time::ZERO, own)).unwrap();
        for key in ["cluster", "root_host", "store", "host", "placement"] {
            assert!(!json.contains(&format!("\"{key}\":")), "{key}: {json}");
        }
    });
}
