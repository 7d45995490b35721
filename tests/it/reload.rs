//! Another tree while it runs: reloads, SIGHUP, children that are added, removed and scaled. Only what changed is
//! touched, nothing runs twice, and nothing is left behind, whatever else is going on meanwhile.

use crate::harness::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

const SHOP: &str = r#"
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "web"
  [[child.child]]
  name = "api"
  command = ["sleep", "1001"]
  [[child.child]]
  name = "jobs"
  command = ["sleep", "1002"]
  count = 3
"#;

/// Path and pid of everything that `status` shows.
fn pids(tree: &Tree) -> BTreeMap<String, Option<u64>> {
    fn walk(node: &Value, into: &mut BTreeMap<String, Option<u64>>) {
        into.insert(node["path"].as_str().unwrap().to_string(), node["pid"].as_u64());
        node["children"].as_array().into_iter().flatten().for_each(|child| walk(child, into));
    }
    let mut pids = BTreeMap::new();
    walk(&tree.status("/"), &mut pids);
    pids
}

/// Whether these paths are all, each with a process.
fn all_run(tree: &Tree, paths: &[&str]) -> bool {
    let pids = pids(tree);
    pids.len() == paths.len() && paths.iter().all(|path| pids.get(*path).is_some_and(Option::is_some))
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The paths that the instance file gives to tools that cannot ask the root.
fn told_paths(tree: &Tree) -> Vec<String> {
    let instance = tree.instance();
    instance["tree_paths"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().into()).collect()
}

#[test]
fn only_what_changed_is_touched() {
    let mut tree = Tree::start(SHOP);
    let before = pids(&tree);
    let new = SHOP
        .replace("\"1000\"", "\"2000\"")
        .replace("count = 3", "count = 2")
        .replace("\"1001\"]", "\"1001\"]\n  shutdown = \"1s\"")
        + "[[child]]\nname = \"late\"\ncommand = [\"sleep\", \"1003\"]\n";
    tree.write(&new);

    let plan = tree.run(&["reload", "--plan", "--json"]).expect(0).json();
    let steps: Vec<(&str, &str)> = plan["plan"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["action"].as_str().unwrap(), step["path"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, [("restart", "/db"), ("update", "/web/api"), ("stop", "/web/jobs-3"), ("start", "/late")]);
    assert_eq!((&plan["plan"]["stay"], &plan["done"]), (&Value::from(3), &Value::from(false)));
    assert_eq!(pids(&tree), before, "a plan changes nothing");

    tree.run(&["reload"]).expect(0);
    let after = pids(&tree);
    for same in ["/", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert_ne!(after["/db"], before["/db"]);
    assert!(after["/late"].is_some() && !after.contains_key("/web/jobs-3"));
    let gone = before["/web/jobs-3"].unwrap() as u32;
    assert!(!lives(gone));
    let event = tree.kind("/", "reloaded");
    let counts = ["added", "removed", "restarted", "updated", "kept"].map(|key| event[key].as_u64().unwrap());
    assert_eq!((event["generation"].as_u64(), counts), (Some(1), [1, 0, 1, 0, 1]));
    let event = tree.kind("/web", "reloaded");
    assert_eq!([&event["removed"], &event["updated"]], [1, 1]);
    assert_eq!(tree.status("/")["intensity"]["used"], 0, "nothing is charged");

    // Of what is gone nothing is left: neither its cgroup nor its path.
    if let Some(cgroup) = tree.instance()["cgroup"].as_str() {
        let web = std::path::Path::new(cgroup).join("c.web/below");
        assert!(web.join("c.jobs-2").exists() && !web.join("c.jobs-3").exists());
    }
    assert!(!told_paths(&tree).contains(&"/web/jobs-3".to_string()));
    assert!(told_paths(&tree).contains(&"/late".to_string()));
    let again = tree.run(&["reload", "--plan"]).expect(0);
    assert!(again.stdout.starts_with("nothing to do; "), "{}", again.stdout);
    tree.stop();
}

#[test]
fn a_bad_file_changes_nothing() {
    let mut tree = Tree::start(SHOP);
    let before = pids(&tree);
    tree.write(SHOP.replace("count = 3", "cuont = 3"));
    let ran = tree.run(&["reload"]).expect(2);
    assert!(ran.stderr.contains("cuont") && ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("count"), "it says what would be right: {}", ran.stderr);

    signal(tree.root_pid(), 1);
    tree.line("the file has errors; nothing changed");
    tree.write(format!("containment = \"group\"\n{SHOP}"));
    let ran = tree.run(&["reload"]).expect(1);
    assert!(ran.stderr.contains("`containment` would change"), "{}", ran.stderr);
    signal(tree.root_pid(), 1);
    tree.line("which a tree cannot do while it runs; nothing changed");
    assert_eq!(pids(&tree), before);
    assert!(tree.seen().iter().all(|event| event["kind"] != "reloaded"));
    tree.stop();
}

#[test]
fn sighup_reads_the_file_again() {
    let mut tree = Tree::start(SHOP);
    let before = pids(&tree);
    tree.write(SHOP.replace("\"1001\"", "\"3001\""));
    signal(tree.root_pid(), 1);
    assert_eq!(tree.kind("/", "reloaded")["by"], "SIGHUP");
    tree.incarnation("/web/api", 2);
    let after = pids(&tree);
    assert_eq!((after["/web"], after["/web/jobs-1"]), (before["/web"], before["/web/jobs-1"]));
    assert_ne!(after["/web/api"], before["/web/api"]);
    tree.stop();
}

#[test]
fn what_cannot_be_started_is_told_and_the_rest_is_done() {
    let mut tree = Tree::start(SHOP);
    let new = SHOP.replace("[\"sleep\", \"1001\"]", "[\"./no-such-program\"]")
        + "[[child]]\nname = \"late\"\ncommand = [\"sleep\", \"1003\"]\n";
    tree.write(&new);
    let ran = tree.run(&["reload"]).expect(1);
    assert!(ran.stderr.contains("no-such-program") && ran.stderr.contains("\"api\""), "{}", ran.stderr);
    tree.kind("/web/api", "start_failed");
    assert_eq!(tree.status("/web/api")["state"], "stopped");
    assert_eq!(tree.status("/web")["intensity"]["used"], 0, "it is not retried");
    assert_eq!(tree.status("/late")["state"], "running");
    tree.write(SHOP);
    tree.run(&["reload"]).expect(0);
    assert!(all_run(&tree, &["/", "/db", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2", "/web/jobs-3"]));
    tree.stop();
}

#[test]
fn a_reload_in_the_midst_of_restarts_ends_at_the_new_tree() {
    const CRASHY: &str = r#"
strategy = "one-for-all"
intensity = "unlimited"
[[child]]
name = "calm"
command = ["sleep", "1000"]
[[child]]
name = "crashy"
command = ["sh", "-c", "sleep 0.02; exit 1"]
[[child]]
name = "last"
command = ["sleep", "1001"]
"#;
    let mut tree = Tree::start(CRASHY);
    for round in 0..5u64 {
        tree.incarnation("/last", 3 * round + 2);
        let extra = format!("[[child]]\nname = \"extra-{round}\"\ncommand = [\"sleep\", \"10\"]\n");
        tree.write(CRASHY.replace("\"1001\"", &format!("\"11{round}\"")) + &extra);
        tree.run(&["reload"]).expect(0);
    }
    let healed = CRASHY.replace("sleep 0.02; exit 1", "exec sleep 1002");
    tree.write(&healed);
    tree.run(&["reload"]).expect(0);
    until("all run", || all_run(&tree, &["/", "/calm", "/crashy", "/last"]));
    let here: Vec<u32> = pids(&tree).values().flatten().map(|pid| *pid as u32).collect();
    let mark = tree.mark();
    // Root and keeper carry no mark.
    until("nothing runs twice", || marked(&mark).iter().all(|pid| here.contains(pid)) && marked(&mark).len() == 3);
    tree.stop();
}

#[test]
fn of_two_reloads_at_once_one_is_the_tree_in_the_end() {
    let tree = Tree::start(SHOP);
    let variant = |name: &str| {
        let file = format!("{name}.toml");
        let toml = SHOP.replace("count = 3", "count = 2")
            + &format!("[[child]]\nname = \"{name}\"\ncommand = [\"sleep\", \"99\"]\n");
        fs::write(
            tree.dir().join(&file),
            format!(
                "name = \"tree\"\n{}",
                toml.replace("\"1000\"", &format!("\"{name}\"").replace("one", "501").replace("two", "502"))
            ),
        )
        .unwrap();
        file
    };
    let files = [variant("one"), variant("two")];
    let running: Vec<_> = (0..6)
        .map(|n| {
            let mut command = tree.command();
            command.args(["reload", &files[n % 2]]).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let ran: Vec<Ran> = running.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
    for ran in &ran {
        // A later one may have taken its place before it was begun.
        let overtaken = ran.code == Some(1) && ran.stderr.contains("a later reload");
        assert!(ran.code == Some(0) || overtaken, "{ran:?}");
    }
    let last = if pids(&tree).contains_key("/one") { "/one" } else { "/two" };
    assert!(all_run(&tree, &["/", "/db", last, "/web", "/web/api", "/web/jobs-1", "/web/jobs-2"]));
    let command = fs::read_to_string(format!("/proc/{}/cmdline", tree.pid("/db"))).unwrap();
    assert!(command.contains(if last == "/one" { "501" } else { "502" }), "{command}");
    assert_eq!(marked(&tree.mark()).len(), 6);
    tree.stop();
}

#[test]
fn a_subtree_that_is_just_escalating_can_be_removed() {
    const FRAGILE: &str = r#"
intensity = 1000
[[child]]
name = "calm"
command = ["sleep", "1000"]
"#;
    let failing = r#"
[[child]]
name = "fragile"
intensity = 1
  [[child.child]]
  name = "steady"
  command = ["sleep", "1001"]
  [[child.child]]
  name = "crashy"
  command = ["sh", "-c", "sleep 0.01; exit 1"]
"#;
    let mut tree = Tree::start(&format!("{FRAGILE}{failing}"));
    let calm = tree.pid("/calm");
    for _ in 0..3 {
        tree.kind("/fragile", "gave_up");
        tree.write(FRAGILE);
        tree.run(&["reload"]).expect(0);
        assert!(all_run(&tree, &["/", "/calm"]), "{:?}", pids(&tree));
        assert_eq!(marked(&tree.mark()), [calm].into());
        if let Some(cgroup) = tree.instance()["cgroup"].as_str() {
            assert!(!std::path::Path::new(cgroup).join("c.fragile").exists());
        }
        tree.write(format!("{FRAGILE}{failing}"));
        tree.run(&["reload"]).expect(0);
    }
    assert_eq!(tree.pid("/calm"), calm);
    tree.stop();
}

#[test]
fn a_node_that_is_stopped_or_killed_meanwhile_comes_to_the_new_tree() {
    let mut tree = Tree::start(&SHOP.replace("name = \"web\"", "name = \"web\"\nheartbeat = false"));
    let new = SHOP.replace("name = \"web\"", "name = \"web\"\nheartbeat = false").replace("count = 3", "count = 1");
    let web = tree.pid("/web");
    signal(web, 19);
    tree.write(&new);
    let ran = tree.run(&["reload", "--timeout", "4s"]).expect(5);
    assert!(ran.stderr.contains("not done"), "{}", ran.stderr);
    signal(web, 18);
    until("it has the new tree", || all_run(&tree, &["/", "/db", "/web", "/web/api", "/web/jobs-1"]));
    assert_eq!(tree.pid("/web"), web);

    // Killed, it is started with what it was to become.
    signal(web, 19);
    tree.write(new.replace("count = 1", "count = 2"));
    tree.run(&["reload", "--timeout", "4s"]).expect(5);
    signal(web, 9);
    tree.incarnation("/web", 2);
    tree.event("/web is up again", |event| {
        event["path"] == "/web" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    until("all run", || all_run(&tree, &["/", "/db", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2"]));
    tree.stop();
}

#[test]
fn children_come_and_go_by_hand_and_a_restart_of_their_supervisor_forgets_it() {
    let tree = Tree::start(SHOP);
    let toml = "[[child]]\nname = \"x\"\ncommand = [\"sleep\", \"7\"]\n[[child]]\nname = \"y\"\nstrategy = \"one-for-all\"\n\
                [[child.child]]\nname = \"z\"\ncommand = [\"sleep\", \"1007\"]\n";
    fs::write(tree.dir().join("more.toml"), toml.replace("\"7\"", "\"1006\"")).unwrap();
    let ran = tree.run(&["add", "/web", "more.toml"]).expect(0);
    assert_eq!(ran.stdout, "/web/x added\n/web/y added\n");
    assert!(tree.run(&["add", "/web", "more.toml"]).expect(1).stderr.contains("runs already"));
    assert!(tree.run(&["add", "/db", "more.toml"]).expect(1).stderr.contains("is a worker"));
    tree.run(&["add", "/nowhere", "more.toml"]).expect(4);
    let more = ["/", "/db", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2", "/web/jobs-3"];
    let added = ["/web/x", "/web/y", "/web/y/z"];
    assert!(all_run(&tree, &[&more[..], &added].concat()));
    assert!(told_paths(&tree).contains(&"/web/y/z".to_string()), "the instance file knows it");

    // A reload leaves them alone, and prunes them when `prune` is set.
    let x = tree.pid("/web/x");
    tree.run(&["reload"]).expect(0);
    assert_eq!(tree.pid("/web/x"), x);
    tree.run(&["remove", "/web/y"]).expect(0);
    tree.run(&["remove", "/web/y"]).expect(4);
    assert!(tree.run(&["reload", "--plan"]).expect(0).stdout.starts_with("keep     /web/x"));
    tree.run(&["reload", "--prune"]).expect(0);
    assert!(!lives(x) && all_run(&tree, &more));

    tree.run(&["add", "/web", "more.toml"]).expect(0);
    tree.run(&["remove", "/web/api"]).expect(0);
    tree.run(&["restart", "/web"]).expect(0);
    assert!(all_run(&tree, &more), "as OTP has it (R70): {:?}", pids(&tree));
    tree.stop();
}

#[test]
fn a_count_is_scaled_and_nothing_stays_of_what_was() {
    let mut tree = Tree::start(
        &SHOP
            .replace("count = 3", "count = 3\n  ready = \"notify\"")
            .replace("[\"sleep\", \"1002\"]", "[\"sh\", \"-c\", \"$TREEVISOR_EXE notify --ready; exec sleep 1002\"]"),
    );
    let before = pids(&tree);
    let web = tree.pid("/web");
    let open = descriptors(web);
    let files = files_below(&tree.dir().join("run")).len();
    for _ in 0..3 {
        tree.run(&["scale", "/web/jobs", "9"]).expect(0);
        assert_eq!(tree.status("/web")["children"].as_array().unwrap().len(), 10);
        assert_eq!(tree.run(&["scale", "web/jobs", "2"]).expect(0).stdout, "/web/jobs scaled to 2\n");
    }
    let after = pids(&tree);
    assert_eq!(after["/web/jobs-1"], before["/web/jobs-1"]);
    assert!(all_run(&tree, &["/", "/db", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2"]));
    // The third one had a pidfd, a pipe, a cgroup and a socket of its own.
    assert!(descriptors(web) < open, "{} descriptors, {open} before", descriptors(web));
    assert_eq!(files_below(&tree.dir().join("run")).len(), files - 1);
    if let Some(cgroup) = tree.instance()["cgroup"].as_str() {
        let left = fs::read_dir(std::path::Path::new(cgroup).join("c.web/below")).unwrap().flatten();
        let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("c.jobs")).count();
        assert_eq!(left, 2);
    }
    tree.run(&["scale", "/web/nobody", "3"]).expect(4);
    tree.run(&["scale", "/web/jobs", "0"]).expect(2);
    tree.run(&["reload"]).expect(0);
    tree.event("the third one is back", |event| event["path"] == "/web/jobs-3" && event["kind"] == "ready");
    tree.stop();
}

/// A child whose own policy alone changes keeps its process; the rules hold from then on.
#[test]
fn rules_are_taken_over_in_place() {
    let mut tree = Tree::start(SHOP);
    let before = pids(&tree);
    tree.write(format!(
        "strategy = \"one-for-all\"\n{}",
        SHOP.replace("name = \"web\"", "name = \"web\"\nintensity = 9")
    ));
    tree.run(&["reload"]).expect(0);
    assert_eq!(pids(&tree), before);
    assert_eq!(tree.status("/")["strategy"], "one-for-all");
    assert_eq!(tree.status("/web")["intensity"]["max"], 9);
    signal(tree.pid("/db"), 9);
    tree.incarnation("/web", 2);
    tree.event("/web is up again", |event| {
        event["path"] == "/web" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    assert_eq!(tree.status("/web")["intensity"]["max"], 9, "it is started with its new rules");
    tree.stop();
}

#[test]
fn a_file_that_is_put_into_the_directory_is_taken_with_the_next_reload() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    std::fs::write(dir.path().join("tree.toml"), "include = \"conf.d/*.toml\"\n").unwrap();
    let write = |dir: &std::path::Path, name: &str| {
        let text = format!("[[child]]\nname = \"{name}\"\ncommand = [\"sleep\", \"1000\"]\n");
        std::fs::write(dir.join(format!("conf.d/{name}.toml")), text).unwrap();
    };
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    write(tree.dir(), "b");
    tree.run(&["reload"]).expect(0);
    tree.kind("/b", "started");
    write(tree.dir(), "a");
    signal(tree.root_pid(), 1);
    tree.kind("/a", "started");
    std::fs::remove_file(tree.dir().join("conf.d/b.toml")).unwrap();
    std::fs::remove_file(tree.dir().join("conf.d/a.toml")).unwrap();
    let plan = tree.run(&["reload"]).expect(0);
    assert!(plan.stdout.contains("2 to stop"), "{}", plan.stdout);
    assert!(plan.stderr.contains("no file is like"), "{}", plan.stderr);
    tree.stop();
}
