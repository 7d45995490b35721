//! Trees in several files, and several children made of one table.

use super::*;

#[test]
fn files_of_variables_lie_beside_the_file_that_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("web")).unwrap();
    for (name, text) in [
        ("common.env", "A=common\nB=common\n"),
        ("web/own.env", "B=own\n"),
        ("wrong.env", "SECRET\nTREEVISOR_PATH=SECRET\n"),
        (
            "shop.toml",
            "[defaults]\nenv-file = \"common.env\"\nenv = { C = \"c\" }\n[[child]]\nname = \"a\"\ncommand = \"a\"\n[[child]]\nname = \"web\"\n\
             include = \"web/web.toml\"\n",
        ),
        (
            "web/web.toml",
            "[[child]]\nname = \"b\"\ncommand = \"b\"\nenv-file = [\"../common.env\", \"-none.env\", \"own.env\"]\n[[child]]\nname = \"c\"\n\
             command = \"c\"\nenv-file = []\n",
        ),
        (
            "bad.toml",
            "[[child]]\nname = \"a\"\ncommand = \"a\"\ncount = 3\nenv-file = [\"wrong.env\", \"none.env\", \"web\"]\n",
        ),
    ] {
        std::fs::write(at(name), text).unwrap();
    }
    let got = super::read(&at("shop.toml"), &no_env);
    let tree = got.tree.unwrap_or_else(|| panic!("{:?}", got.diagnostics));
    let shown = |exec: &ExecSpec| {
        exec.env_from_files.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(exec(&tree.root.children[0])), "A=common B=common");
    let web = below(&tree.root.children[1]);
    assert_eq!([shown(exec(&web.children[0])), shown(exec(&web.children[1]))], ["A=common B=own", ""]);
    let files = &exec(&web.children[0]).env_files;
    assert_eq!((files[1].path.as_path(), files[1].optional), (&*at("web/none.env"), true));
    assert!(!print::to_toml(&tree).contains("own\n"), "what is in a file is not for display");

    let bad = super::read(&at("bad.toml"), &no_env);
    let said: Vec<_> = bad.diagnostics.iter().map(|found| (found.code, found.line, found.message.clone())).collect();
    let path = |name: &str| at(name).display().to_string();
    assert_eq!(
        said,
        [
            ("bad-env-file", 5, format!("cannot read `{}`: in line 1 there is no =", path("wrong.env"))),
            (
                "bad-env-file",
                5,
                format!("cannot read `{}`: in line 2 a variable is set that treevisor sets itself", path("wrong.env"))
            ),
            ("no-env-file", 5, format!("there is no file `{}`", path("none.env"))),
            ("bad-env-file", 5, format!("cannot read `{}`: Is a directory", path("web"))),
        ]
    );
    assert!(bad.diagnostics.iter().all(|found| !found.to_string().contains("SECRET")));
    let elsewhere = super::read_for_elsewhere(&at("bad.toml"), &no_env);
    let errors = elsewhere.errors().map(|error| error.code).collect::<Vec<_>>();
    assert_eq!(errors, ["bad-env-file"; 3], "a file that is missing may be there on the other machine");
}

#[test]
fn what_a_file_of_variables_holds_is_part_of_the_spec() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.toml");
    std::fs::write(&file, worker("env-file = \"a.env\"\n")).unwrap();
    let read = |text: &str| {
        std::fs::write(dir.path().join("a.env"), text).unwrap();
        super::read(&file, &no_env).tree.unwrap()
    };
    let (old, same, new) = (read("A=1\n"), read("# more\nA='1'\n"), read("A=2\nSECRET=x\n"));
    assert!(diff::diff(&old, &same, false).unwrap().is_empty(), "a comment is no change");
    let steps = diff::diff(&old, &new, false).unwrap().steps;
    assert_eq!(steps[0].action, diff::Action::Restart);
    let change = diff::Change {
        key: "env-file".into(),
        old: Some("…".into()),
        new: Some("…".into()),
        restart: Some("a process gets its environment when it is executed"),
    };
    assert_eq!(steps[0].changes, [change]);
}

#[test]
fn each_copy_is_read_with_its_own_number() {
    let text = "[defaults]\nenv = { SHARD = \"${@n-1}\" }\n[[child]]\nname = \"web\"\ncount = 3\n\
        command = \"serve --port ${@n+8079} $${@n}\"\ncwd = \"/srv/${@n}\"\nlog = { file = \"web-${@n}.log\" }\n\
        heartbeat = { interval = \"1s\", misses = 3, source = { http = \"http://127.0.0.1:${@n+8079}/\" } }\n";
    let tree = tree(text);
    let web: Vec<_> = tree.root.children.iter().map(exec).collect();
    assert_eq!(tree.root.children[2].policy.number_of("web-3"), Some(3));
    assert_eq!(web[2].command, ["serve", "--port", "8082", "${@n}"]);
    assert_eq!((web[0].env["SHARD"].as_str(), web[2].env["SHARD"].as_str()), ("0", "2"));
    let LogSpec::File { file, .. } = &web[1].log else { panic!("a file") };
    assert_eq!((web[1].cwd.as_deref(), &**file), (Some(Path::new("/srv/2")), Path::new("web-2.log")));
    let ask = Ask::http("http://127.0.0.1:8081/").unwrap();
    assert_eq!(web[1].sources, [BeatSource::Probe(Probe { ask, timeout: None })]);
    let again = parse(&print::to_toml(&tree)).tree.unwrap();
    assert_eq!(exec(&again.root.children[2]).command, web[2].command);

    // Further copies are read from the same template, with the variables of the first reading.
    let text = worker(
        "count = 2\nenv = { A = \"${HOME}/${@n}\", B = \"${NONE:-x}\" }\numask = 0o027\nlog = { file = \"a.log\" }\n",
    );
    let read = read_text("shop.toml", &text, &|name| (name == "HOME").then(|| "/ho$me ${X}".to_owned()));
    let like = &read.tree.unwrap().root.children[1];
    let copy = copy_of(like, name("w-7"), 7).unwrap().unwrap();
    assert_eq!((exec(&copy).env["A"].as_str(), exec(&copy).env["B"].as_str()), ("/ho$me ${X}/7", "x"));
    let LogSpec::File { file, .. } = &exec(&copy).log else { panic!("a file") };
    assert_eq!((&**file, exec(&copy).umask, copy.policy.group), (Path::new("a-7.log"), Some(0o027), Some(1)));
    assert_eq!(exec(&copy).template, exec(like).template);
    let alike = super::tree(&worker("count = 2\n")).root.children.remove(1);
    assert!(copy_of(&alike, name("w-7"), 7).is_none(), "these differ by their names only");
    let ports = worker("count = 2\nheartbeat = { source = { tcp = \"127.0.0.1:${@n+65533}\" } }\n");
    let ports = parse(&ports).tree.unwrap();
    assert!(copy_of(&ports.root.children[1], name("w-3"), 3).unwrap().is_err(), "there is no port 65536");
}

#[test]
fn the_number_of_a_copy_without_copies_is_an_error() {
    assert_eq!(codes(&worker("env = { A = \"${@n}\" }\n")), ["no-copies"]);
    assert_eq!(codes("on-panic = \"x ${@n}\"\n[[child]]\nname = \"w\"\ncommand = \"x\"\n"), ["no-copies"]);
    let defaults = "[defaults]\nenv = { A = \"${@n}\" }\n[[child]]\nname = \"w\"\ncommand = \"x\"\n";
    assert_eq!(codes(defaults), ["no-copies"]);
    assert!(codes(&format!("{defaults}count = 1\n")).is_empty());
    assert_eq!(codes(&worker("count = 2\nenv = { A = \"${@n-2}\" }\n")), ["bad-variable"]);
    assert_eq!(codes(&worker("count = 2\nenv = { A = \"${@x}\" }\n")), ["bad-variable"]);
}

#[test]
fn a_pattern_includes_the_children_of_each_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    std::fs::create_dir(dir.path().join("else[1]")).unwrap();
    let child = |name: &str| format!("[[child]]\nname = \"{name}\"\ncommand = \"x\"\n");
    write("shop.toml", &format!("include = \"conf.d/*.toml\"\n[defaults]\nnice = 5\n{}", child("own")));
    let names = |read: &Read| {
        let tree = read.tree.as_ref().unwrap_or_else(|| panic!("{:?}", read.diagnostics));
        tree.root.children.iter().map(|child| child.name.to_string()).collect::<Vec<_>>().join(" ")
    };
    let got = || super::read(&dir.path().join("shop.toml"), &no_env);
    assert_eq!((names(&got()).as_str(), got().diagnostics[0].code), ("own", "nothing-included"));
    write("conf.d/20-b.toml", &format!("[defaults]\numask = \"027\"\n{}{}", child("b"), child("c")));
    write("conf.d/10-a.toml", &child("a"));
    write("conf.d/.hidden.toml", &child("hidden"));
    write("conf.d/30.toml~", &child("old"));
    write("conf.d/40-empty.toml", "");
    write("else[1]/d.toml", "[[child]]\nname = \"d\"\ninclude = \"d/*.toml\"\n");
    std::os::unix::fs::symlink("../else[1]/d.toml", dir.path().join("conf.d/30-link.toml")).unwrap();
    let read = got();
    assert_eq!(names(&read), "own a b c d");
    let tree = read.tree.unwrap();
    let [a, b] = [1, 2].map(|at| exec(&tree.root.children[at]));
    assert_eq!(((a.nice, a.umask), (b.nice, b.umask)), ((Some(5), None), (Some(5), Some(0o27))));
    assert!(below(&tree.root.children[4]).children.is_empty(), "a supervisor whose directory is empty waits for files");
    let found: Vec<_> = read.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(found, ["nothing-included"]);
    // Special characters in the directory of the including file are not part of the pattern.
    assert_eq!(names(&super::read(&dir.path().join("else[1]/d.toml"), &no_env)), "d");
    // Two children with the same name, and keys of a supervisor.
    write("conf.d/50.toml", &format!("intensity = 7\ninclude = \"x.toml\"\n{}", child("a")));
    let mut wrong: Vec<_> = got().errors().map(|found| found.code).collect();
    wrong.sort_unstable();
    wrong.dedup();
    assert_eq!(wrong, ["duplicate-name", "include-and-children", "wrong-place"]);
    write("conf.d/50.toml", &child("a"));
    assert_eq!(got().errors().map(|found| found.code).collect::<Vec<_>>(), ["duplicate-name"]);
    write("shop.toml", "include = \"**/*.toml\"\n");
    assert_eq!(got().errors().map(|found| found.code).collect::<Vec<_>>(), ["bad-value"]);
    assert_eq!(codes("include = \"conf.d/*.toml\"\n"), ["unreadable"], "there are no other files");
}

#[test]
fn a_placed_subtree_and_its_copies_are_read_and_written_back() {
    let text = r#"
[[child]]
name = "db"
placement = ["a", ["b", "c"]]
  [[child.child]]
  name = "w"
  command = "w"
[[child]]
name = "web"
count = 2
placement = { hosts = ["a"], require = { disk = "ssd" }, spread = "zone", apart = ["db"], exclusive = false, takeover = true, delay = "3s", adopt = false, move-on-give-up = false }
  [[child.child]]
  name = "w"
  command = "w"
[[child]]
name = "any"
placement = {}
  [[child.child]]
  name = "w"
  command = "w"
"#;
    let tree = parse(text).tree.expect("it is right");
    let names: Vec<_> = tree.root.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["db", "web-1", "web-2", "any"]);
    let placed = |name: &str| match &tree.root.child(name).unwrap().kind {
        ChildKind::Supervisor(below) => below.placement.clone().unwrap(),
        ChildKind::Worker(_) => panic!("a supervisor"),
    };
    let web = placed("web-2");
    assert_eq!((web.group, web.spread), (Some(Name::parse("web").unwrap()), super::tree::Spread::Label("zone".into())));
    assert!(!web.exclusive && web.takeover && !web.move_on_give_up && web.adopt == Some(false));
    assert_eq!(*placed("any"), super::tree::PlacementSpec::default());
    let printed = print::to_toml(&tree);
    assert_eq!(parse(&printed).tree.as_ref(), Some(&tree), "{printed}");
    assert!(printed.contains("count = 2") && printed.contains("placement = [\"a\", [\"b\", \"c\"]]"), "{printed}");
    // A changed placement is taken over while it runs.
    let other = parse(&text.replace("[\"a\", [\"b\", \"c\"]]", "[\"b\"]")).tree.unwrap();
    let plan = super::diff::diff(&tree, &other, false).unwrap();
    let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert_eq!(
        (step.action, step.path.as_str(), step.changes[0].key.as_str()),
        (super::diff::Action::Update, "/db", "placement")
    );
}
