//! Tests of the comparison of two trees.

use super::*;

fn tree(text: &str) -> TreeSpec {
    let read = super::super::read_text("shop.toml", text, &|_| None);
    read.tree.unwrap_or_else(|| panic!("{:?}", read.diagnostics))
}

/// `ACTION PATH KEY…` of each step, `!` behind the keys that take a restart.
fn words(old: &str, new: &str, prune: bool) -> Vec<String> {
    let diff = diff(&tree(old), &tree(new), prune).unwrap();
    let mut words: Vec<String> = diff
        .steps
        .iter()
        .map(|step| {
            let keys: String = step
                .changes
                .iter()
                .map(|change| format!(" {}{}", change.key, if change.restart.is_some() { "!" } else { "" }))
                .collect();
            format!("{:?} {}{keys}", step.action, step.path)
        })
        .collect();
    words.push(format!("stay {}", diff.stay));
    words
}

fn worker(name: &str, more: &str) -> String {
    format!("[[child]]\nname = \"{name}\"\ncommand = \"./{name}\"\n{more}\n")
}

#[test]
fn equal_trees_differ_in_nothing() {
    let text = worker("a", "count = 3") + &worker("b", "env = { X = \"1\" }");
    assert_eq!(words(&text, &text, false), ["stay 4"]);
}

#[test]
fn what_comes_goes_and_moves() {
    let old = worker("a", "") + &worker("b", "") + &worker("c", "");
    let new = worker("c", "") + &worker("a", "") + &worker("d", "");
    assert_eq!(words(&old, &new, false), ["Move /c", "Start /d", "Stop /b", "stay 1"]);
}

#[test]
fn a_changed_count_is_children_that_come_or_go() {
    let (two, three) = (worker("a", "count = 2") + &worker("b", ""), worker("a", "count = 3") + &worker("b", ""));
    assert_eq!(words(&two, &three, false), ["Start /a-3", "stay 3"]);
    assert_eq!(words(&three, &two, false), ["Stop /a-3", "stay 3"]);
    // An added `count` before it changes the group numbers of the following ones, which is no change of them.
    assert_eq!(words(&two, &(worker("z", "count = 2") + &two), false), ["Start /z-1", "Start /z-2", "stay 3"]);
}

#[test]
fn copies_are_rolled_and_what_becomes_one_is_not() {
    let (old, new) = (worker("a", "count = 2"), worker("a", "count = 2\nnice = 1"));
    assert_eq!(words(&old, &new, false), ["Roll /a-1 nice!", "Roll /a-2 nice!", "stay 0"]);
    let update = worker("a", "count = 2\nupdate = { at-once = 2 }");
    assert_eq!(words(&old, &update, false), ["Update /a-1 update", "Update /a-2 update", "stay 0"]);
    assert_eq!(words(&worker("a-1", ""), &worker("a", "count = 1"), false), ["Restart /a-1 command!", "stay 0"]);
}

#[test]
fn subtrees_are_told_by_their_top_and_compared_below() {
    let web = |inner: &str| {
        let inner = inner.replace("[[child]]", "[[child.child]]");
        format!("[[child]]\nname = \"web\"\nstrategy = \"one-for-all\"\n{inner}")
    };
    let (one, two) = (worker("x", ""), web(&(worker("a", "") + &worker("b", "nice = 1"))));
    let old = format!("{one}{two}");
    let diff_of = |new: &str| diff(&tree(&old), &tree(new), false).unwrap();
    let gone = diff_of(&one);
    assert_eq!((gone.steps[0].action, gone.steps[0].below), (Action::Stop, 2));
    let changed = format!("{one}{}", web(&(worker("a", "") + &worker("b", "nice = 2"))).replace("all", "one"));
    assert_eq!(words(&old, &changed, false), ["Update /web strategy", "Restart /web/b nice!", "stay 2"]);
    let leaf = format!("{one}{}", worker("web", ""));
    assert_eq!(words(&old, &leaf, false), ["Restart /web kind!", "stay 1"]);
}

#[test]
fn the_roots_own_keys_are_taken_over_and_its_name_is_not() {
    let text = worker("a", "");
    let other = format!("strategy = \"one-for-all\"\nintensity = 7\n{text}");
    assert_eq!(words(&text, &other, false), ["Update / strategy intensity", "stay 1"]);
    for (key, line) in
        [("name", "name = \"other\""), ("containment", "containment = \"group\""), ("journal", "journal = false")]
    {
        let refused = diff(&tree(&text), &tree(&format!("{line}\n{text}")), false).unwrap_err();
        assert_eq!(refused.key, key);
        assert!(refused.to_string().contains("while it runs"), "{refused}");
    }
}

#[test]
fn what_was_added_by_hand_stays_unless_pruned() {
    let text = worker("a", "");
    let mut old = tree(&text);
    let mut added = old.root.children[0].clone();
    (added.name, added.added) = (crate::ids::Name::parse("b").unwrap(), true);
    old.root.children.push(added);
    let action = |prune| diff(&old, &tree(&text), prune).unwrap().steps[0].action;
    assert_eq!((action(false), action(true)), (Action::Keep, Action::Stop));
    // Once the file has it, it is a child like any other.
    let both = format!("{text}{}", worker("b", "").replace("./b", "./a"));
    assert!(diff(&old, &tree(&both), true).unwrap().is_empty());
}

#[test]
fn the_values_of_the_environment_are_not_shown() {
    let changed = diff(
        &tree(&worker("a", "env = { KEY = \"old-secret\", GONE = \"x\" }")),
        &tree(&worker("a", "env = { KEY = \"new-secret\" }")),
        false,
    );
    let text = format!("{:?}", changed.unwrap());
    assert!(text.contains("env.KEY") && text.contains("env.GONE") && !text.contains("secret"), "{text}");
}

/// The plan and the tree agree: a key takes a restart exactly when the revision is another one, and a child is
/// touched exactly when its settings are others.
#[test]
fn a_restart_is_planned_exactly_where_the_revision_changes() {
    let beat = "heartbeat = { interval = \"1s\", misses = 3 }";
    let notify = "heartbeat = { interval = \"1s\", misses = 3, source = \"notify\" }";
    let cases: &[(&str, &str, bool)] = &[
        ("", "restart = \"transient\"", false),
        ("", "shutdown = \"9s\"", false),
        ("", "start-timeout = \"9s\"", false),
        ("", "backoff = true", false),
        ("", "success-codes = [0, 3]", false),
        ("", "stop-signal = \"INT\"", false),
        ("", "kill-mode = \"control-group\"", false),
        ("", "stop-command = [\"./stop\"]", false),
        ("", "memory-max = \"1G\"", false),
        ("listen = \"tcp://[::1]:81\"", "listen = { address = \"tcp://[::1]:81\", backlog = 9 }", false),
        ("", "log = { file = \"x.log\" }", false),
        ("log = { file = \"x.log\" }", "log = { file = \"y.log\", keep = 2 }", false),
        ("", "log = false", true),
        ("", "cwd = \"/\"", true),
        ("", "env = { A = \"1\" }", true),
        ("env = { A = \"1\" }", "env = { A = \"2\" }", true),
        ("", "clear-env = true", true),
        ("", "user = \"nobody\"", true),
        ("", "group = \"nogroup\"", true),
        ("", "umask = \"027\"", true),
        ("", "limits = { nofile = 99 }", true),
        ("", "nice = 3", true),
        ("", "ready = \"notify\"", true),
        ("", "ready = { tcp = \"127.0.0.1:1\" }", true),
        ("ready = { tcp = \"127.0.0.1:1\" }", "ready = { tcp = \"127.0.0.1:1\", interval = \"2s\" }", true),
        (beat, "heartbeat = { interval = \"1s\", misses = 3 }\nready = \"heartbeat\"", false),
        ("", beat, true),
        (beat, "heartbeat = { interval = \"1s\", misses = 9 }", false),
        (beat, "heartbeat = { interval = \"1s\", misses = 3, grace = \"9s\" }", false),
        (beat, "heartbeat = { interval = \"1s\", misses = 3, progress = true }", false),
        (beat, "heartbeat = { interval = \"2s\", misses = 3 }", true),
        (beat, notify, true),
        (notify, "heartbeat = { interval = \"1s\", misses = 4, source = \"notify\" }", true),
    ];
    for (old, new, restart) in cases {
        let (old_tree, new_tree) = (tree(&worker("a", old)), tree(&worker("a", new)));
        let [step] = &*diff(&old_tree, &new_tree, false).unwrap().steps else { panic!("{old} to {new}") };
        assert_eq!(step.action, if *restart { Action::Restart } else { Action::Update }, "{old} to {new}");
        let revision = |tree: &TreeSpec| {
            let child = &tree.root.children[0];
            let ChildKind::Worker(exec) = &child.kind else { panic!("a worker") };
            revision(&child.policy, Some(exec))
        };
        let differs = revision(&old_tree) != revision(&new_tree);
        assert_eq!(differs, *restart, "{old} to {new}");
        assert_ne!(settings_of(&old_tree), settings_of(&new_tree), "{old} to {new}");
    }
}

/// The settings of the first child.
fn settings_of(tree: &TreeSpec) -> u64 {
    let child = &tree.root.children[0];
    settings(&child.policy, (&child.kind).into())
}

#[test]
fn settings_are_those_of_the_child_alone_whatever_its_name_and_its_count() {
    let same = |old: &str, new: &str| settings_of(&tree(old)) == settings_of(&tree(new));
    assert!(same(&worker("a", ""), &worker("b", "").replace("./b", "./a")));
    // The number of the `count` depends on those before it in the file.
    let copies = |group: &str| worker("a", &format!("count-group = {group}"));
    assert!(same(&copies("1"), &copies("2")));
    let placed = |keys: &str, below: &str| {
        format!("[[child]]\nname = \"s\"\n{keys}\n{}", worker("a", below).replace("[[child]]", "[[child.child]]"))
    };
    assert!(same(&placed("", ""), &placed("", "nice = 3")), "the supervisor reports what changes below it");
    for keys in ["strategy = \"one-for-all\"", "placement = [\"b\"]", "on-panic = \"./x\"", "heartbeat = false"] {
        assert!(!same(&placed("", ""), &placed(keys, "")), "{keys}");
    }
}
