//! Tests of the whole room: golden diagnostics, defaults and rules.

mod bounds;
mod files;
mod lints;
mod round_trip;

use super::exec::{BeatSource, ExecSpec, Limit, LogSpec};
use super::kind::{COUNT_GROUP, Kind};
use super::policy::{
    AutoShutdown, Backoff, ChildPolicy, Heartbeat, Intensity, Ready, Restart, Shutdown, StartOrder, StopOrder,
    Strategy as Plan, SupervisorPolicy, Words,
};
use super::probe::{Ask, Host, Probe, Server};
use super::resources::{Amount, Cap, Resources};
use super::tree::{ChildKind, ChildSpec, Containment, Hooks, JournalSpec, SupervisorSpec, TreeSpec};
use super::*;
use crate::ids::{self, Name};
use crate::time::Span;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Read {
    read_text("shop.toml", text, &no_env)
}

/// The tree, and no warnings either.
#[track_caller]
fn tree(text: &str) -> TreeSpec {
    let read = parse(text);
    let said: Vec<_> = read.diagnostics.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{said:#?}");
    read.tree.expect("a tree without diagnostics")
}

#[track_caller]
fn codes(text: &str) -> Vec<&'static str> {
    parse(text).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

fn exec(child: &ChildSpec) -> &ExecSpec {
    match &child.kind {
        ChildKind::Worker(exec) => exec,
        ChildKind::Supervisor(_) => panic!("{} is a supervisor", child.name),
    }
}

fn below(child: &ChildSpec) -> &SupervisorSpec {
    match &child.kind {
        ChildKind::Supervisor(below) => below,
        ChildKind::Worker(_) => panic!("{} is a worker", child.name),
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A worker with these lines.
fn worker(lines: &str) -> String {
    format!("[[child]]\nname = \"a\"\ncommand = \"a\"\n{lines}\n")
}

/// The pages about the file.
fn reference() -> String {
    ["docs/spec.md", "docs/spec/worker.md"].map(|page| std::fs::read_to_string(page).unwrap()).concat()
}

/// Each file in `tests/data/bad` beside what is said about it.
#[test]
fn golden_diagnostics() {
    let reference = reference();
    let folder = Path::new("tests/data/bad");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 30);
    for file in files {
        let read = read(&file, &no_env);
        assert!(!read.diagnostics.is_empty(), "{}", file.display());
        assert_eq!(read.tree.is_none(), read.errors().next().is_some(), "{}", file.display());
        for found in &read.diagnostics {
            assert!(reference.contains(&format!("`{}`", found.code)), "docs/spec.md does not know {}", found.code);
        }
        let shown: String = read.diagnostics.iter().map(|found| render(found, false, 100)).collect();
        let shown: String = shown.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        insta::assert_snapshot!(file.file_stem().unwrap().to_str().unwrap(), shown);
    }
}

/// Every key has its line in the reference.
#[test]
fn the_reference_knows_every_key() {
    let reference = reference();
    for kind in [Kind::Top, Kind::Supervisor, Kind::Worker, Kind::Defaults] {
        for key in keys::names(kind).into_iter().filter(|key| *key != COUNT_GROUP) {
            assert!(reference.contains(&format!("`{key}`")), "docs/spec.md does not know {key}");
        }
    }
}

/// The words of the file are those of JSON.
#[test]
fn every_word_is_the_same_in_json() {
    fn hold<T: Words + serde::Serialize>() {
        for (word, value) in T::WORDS {
            assert_eq!((serde_json::to_value(value).unwrap(), value.word()), ((*word).into(), *word));
        }
    }
    hold::<Plan>();
    hold::<Restart>();
    hold::<AutoShutdown>();
    hold::<StartOrder>();
    hold::<StopOrder>();
    hold::<Ready>();
    hold::<Containment>();
}

#[test]
fn unreadable_files_are_diagnostics() {
    for (path, cause) in [("tests/data/bad/nowhere.toml", "No such file"), ("tests/data/bad", "directory")] {
        let read = read(Path::new(path), &no_env);
        assert!(read.tree.is_none());
        let [found] = read.diagnostics.as_slice() else { panic!("{:?}", read.diagnostics) };
        assert_eq!((found.code, found.line, found.column), ("unreadable", 0, 0));
        assert!(found.message.contains(path) && found.message.contains(cause), "{}", found.message);
        assert!(render(found, false, 80).contains(path));
    }
}

#[test]
fn every_diagnostic_has_its_json() {
    let read = parse("stategy = 1\n[[child]]\nname = \"a\"\ncommand = \"a\"\n");
    assert_eq!(
        serde_json::to_value(&read.diagnostics[0]).unwrap(),
        serde_json::json!({
            "severity": "error",
            "code": "unknown-key",
            "file": "shop.toml",
            "line": 1,
            "column": 1,
            "message": "unknown key `stategy` at the top level",
            "hint": "write `strategy`, or remove the line",
        })
    );
    assert_eq!(read.diagnostics[0].to_string(), "shop.toml:1:1: error: unknown key `stategy` at the top level");
}

#[test]
fn a_misspelt_command_is_one_error() {
    let of = |line: &str| codes(&format!("[[child]]\nname = \"a\"\n{line}\n"));
    assert_eq!(of("comand = \"a\""), ["unknown-key"]);
    assert_eq!(of("exec = \"a\""), ["unknown-key"]);
    assert_eq!(of("shutdwn = \"1s\""), ["worker-or-supervisor", "unknown-key"]);
}

#[test]
fn columns_are_characters() {
    let read = parse("[[child]]\nname = \"a\"\ncommand = \"a\"\nenv = { \"ä\" = \"ö\", B = true }\n");
    let [found] = read.diagnostics.as_slice() else { panic!("{:?}", read.diagnostics) };
    assert_eq!((found.line, found.column), (4, 24));
    assert_eq!(&found.text[found.span.clone()], "true");
}

#[test]
fn nothing_of_the_file_is_obeyed_by_a_terminal() {
    let read = parse("\"\\u001b[31m\" = 1\n[[child]]\nname = \"\\u001b[2J\"\ncommand = \"a\" \u{1b}]0;x\n");
    assert!(read.diagnostics.len() >= 2);
    for found in &read.diagnostics {
        assert!(!render(found, false, 80).contains('\u{1b}'), "{found}");
        assert!(!found.message.contains('\u{1b}') && !found.label.contains('\u{1b}'));
    }
}

#[test]
fn what_is_not_written_has_otps_defaults() {
    let tree = tree(
        "[[child]]\nname = \"a\"\ncommand = \"a\"\n[[child]]\nname = \"s\"\n[[child.child]]\nname = \"b\"\ncommand = \"b\"\n",
    );
    assert_eq!(tree.name, name("shop"));
    assert_eq!(tree.containment, Containment::Auto);
    assert_eq!(tree.journal, Some(JournalSpec { max_size: 2 << 20, keep: 7 }));
    assert_eq!(tree.root.policy, SupervisorPolicy::default());
    assert_eq!(tree.root.policy.intensity, Intensity { max: Some(3), period: Span::from_secs(30) });
    let [a, s] = tree.root.children.as_slice() else { panic!() };
    assert_eq!(a.policy, ChildPolicy::default());
    assert_eq!(exec(a), &ExecSpec::new(vec!["a".into()]));
    assert_eq!(
        s.policy,
        ChildPolicy { shutdown: Shutdown::Infinity, heartbeat: Some(Heartbeat::default()), ..ChildPolicy::default() }
    );
}

#[test]
fn the_whole_reference_is_understood() {
    let read = read(Path::new("tests/data/good/shop.toml"), &no_env);
    let said: Vec<_> = read.diagnostics.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{said:#?}");
    assert_eq!(read.sources.files().count(), 2);
    let tree = read.tree.unwrap();
    insta::assert_snapshot!("good-shop", print::to_toml(&tree));
    assert_eq!(parse(&print::to_toml(&tree)).tree.as_ref(), Some(&tree));

    let web = below(tree.root.child("web").unwrap());
    let jobs: Vec<_> = web.children.iter().filter(|child| child.policy.group == Some(1)).collect();
    assert_eq!(jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["jobs-1", "jobs-2", "jobs-3", "jobs-4"]);
    assert!(
        matches!(&exec(jobs[3]).log, LogSpec::File { file, keep: LOG_KEEP, max_size: LOG_MAX_SIZE } if file == Path::new("jobs-4.log"))
    );
    let more = below(web.child("more").unwrap());
    // Written beside the include; from the file; from the file's defaults over those above it.
    assert_eq!(more.policy.intensity, Intensity { max: Some(7), period: Span::from_secs(120) });
    assert_eq!(more.children[0].policy.shutdown, Shutdown::BrutalKill);
    assert_eq!(exec(&more.children[0]).env["RUST_LOG"], "debug");
    assert_eq!(tree.containment, Containment::Auto);

    let at = |path: &str, key: &str| {
        let place = read.sources.place(&ids::Path::parse(path).unwrap(), key).unwrap();
        let file = read.sources.path(place.file).file_name().unwrap().to_str().unwrap().to_owned();
        (file, read.sources.position(place).0)
    };
    assert_eq!(at("/db", "nice"), ("shop.toml".into(), 22));
    assert_eq!(at("/web/jobs-3", "count"), ("shop.toml".into(), 57));
    assert_eq!(at("/web/api", "backoff.max"), ("shop.toml".into(), 13));
    assert_eq!(at("/web/more/b", ""), ("more.toml".into(), 11));
}

#[test]
fn defaults_reach_every_worker_and_no_supervisor() {
    let tree = tree(
        "[defaults]\nshutdown = \"9s\"\nrestart = \"transient\"\nheartbeat = { interval = \"2s\", misses = 5 }\nenv = { A = \"1\", B = \"1\" }\n\
         limits = { nofile = 5, core = 0 }\nbackoff = { initial = \"1s\" }\n\
         [[child]]\nname = \"a\"\ncommand = \"a\"\nheartbeat = { misses = 7 }\nenv = { B = \"2\" }\nlimits = { core = 1 }\nbackoff = { factor = 3 }\n\
         [[child]]\nname = \"b\"\ncommand = \"b\"\nheartbeat = false\nbackoff = false\nshutdown = \"1s\"\n\
         [[child]]\nname = \"s\"\n[child.defaults]\nheartbeat = false\nenv = { A = \"3\" }\n\
         [[child.child]]\nname = \"c\"\ncommand = \"c\"\n[[child.child]]\nname = \"d\"\ncommand = \"d\"\nheartbeat = true\n",
    );
    let [a, b, s] = tree.root.children.as_slice() else { panic!() };
    assert_eq!(a.policy.heartbeat.unwrap().interval, Span::from_secs(2));
    assert_eq!(a.policy.heartbeat.unwrap().misses, 7);
    assert_eq!(exec(a).env, BTreeMap::from([("A".into(), "1".into()), ("B".into(), "2".into())]));
    assert_eq!(exec(a).limits["core"], Limit { soft: Some(1), hard: Some(1) });
    assert_eq!(exec(a).limits["nofile"], Limit { soft: Some(5), hard: Some(5) });
    assert_eq!(a.policy.backoff.unwrap().initial, Span::from_secs(1));
    assert_eq!(a.policy.backoff.unwrap().factor, 3.0);
    assert_eq!(a.policy.restart, Restart::Transient);
    assert_eq!((b.policy.heartbeat, b.policy.backoff), (None, None));
    assert_eq!(b.policy.shutdown, Shutdown::After(Span::from_secs(1)));
    assert_eq!((s.policy.restart, s.policy.shutdown, s.policy.backoff), (Restart::Permanent, Shutdown::Infinity, None));
    let [c, d] = below(s).children.as_slice() else { panic!() };
    assert_eq!(c.policy.heartbeat, None);
    assert_eq!(c.policy.shutdown, Shutdown::After(Span::from_secs(9)));
    assert_eq!(exec(c).env, BTreeMap::from([("A".into(), "3".into()), ("B".into(), "1".into())]));
    // Switched on again: inner defaults that switch it off leave nothing of the outer ones.
    assert_eq!(d.policy.heartbeat, Some(Heartbeat::default()));
}

#[test]
fn counts_make_numbered_groups() {
    let tree = tree(
        "[[child]]\nname = \"a\"\ncommand = \"a\"\ncount = 1\n[[child]]\nname = \"b\"\ncommand = \"b\"\n\
         [[child]]\nname = \"c\"\ncommand = \"c\"\ncount = 2\n",
    );
    let found: Vec<_> = tree.root.children.iter().map(|child| (child.name.as_str(), child.policy.group)).collect();
    assert_eq!(found, [("a-1", Some(1)), ("b", None), ("c-1", Some(2)), ("c-2", Some(2))]);
    assert_eq!(codes("[[child]]\nname = \"a\"\ncommand = \"a\"\ncount = 2\nlog = { file = \"x.log\" }\n"), [""; 0]);
    let long = "x".repeat(63);
    assert_eq!(codes(&format!("[[child]]\nname = \"{long}\"\ncommand = \"a\"\ncount = 2\n")), ["bad-name"]);
}

#[test]
fn variables_are_put_in_after_a_command_is_cut() {
    let env = |name: &str| (name == "X").then(|| "two words' \"$Y".to_owned());
    let read = read_text("shop.toml", "[[child]]\nname = \"a\"\ncommand = 'run ${X} \"${Z:-d e}\" $$5'\n", &env);
    assert_eq!(exec(&read.tree.unwrap().root.children[0]).command, ["run", "two words' \"$Y", "d e", "$5"]);
}

#[test]
fn values_in_all_their_spellings() {
    let one = |lines: &str| exec(&tree(&worker(lines)).root.children[0]).clone();
    assert_eq!(one("umask = 0o022").umask, Some(0o022));
    assert_eq!(one("umask = \"77\"").umask, Some(0o077));
    assert_eq!(one("stop-signal = 34").stop_signal, 34);
    assert_eq!(one("stop-signal = \"int\"").stop_signal, 2);
    assert_eq!(one("user = 0").user.as_deref(), Some("0"));
    assert_eq!(
        one("limits = { stack = \"8MiB\" }").limits["stack"],
        Limit { soft: Some(8 << 20), hard: Some(8 << 20) }
    );
    assert_eq!(one("log = false").log, LogSpec::Discard);
    let journal = |line: &str| tree(&format!("{line}\n{}", worker(""))).journal;
    assert_eq!(journal("journal = false"), None);
    assert_eq!(journal("journal = true"), Some(JournalSpec::default()));
    assert_eq!(journal("journal = { max-size = \"64KiB\" }"), Some(JournalSpec { max_size: 64 << 10, keep: 7 }));
    assert_eq!(journal("journal = { keep = 0 }"), Some(JournalSpec { max_size: 2 << 20, keep: 0 }));
    let policy = |lines: &str| tree(&worker(lines)).root.children[0].policy.clone();
    assert_eq!(policy("shutdown = \"0s\"").shutdown, Shutdown::After(Span::ZERO));
    assert_eq!(policy("shutdown = \"${NO:-infinity}\"").shutdown, Shutdown::Infinity);
    assert_eq!(policy("backoff = true").backoff, Some(BACKOFF));
    assert_eq!(policy("heartbeat = true").heartbeat, Some(Heartbeat::default()));
    assert_eq!(policy("start-timeout = \"infinity\"").start_timeout, None);
    let later = |lines: &str| exec(&parse(&worker(lines)).tree.unwrap().root.children[0]).clone();
    assert_eq!(
        later("heartbeat = { source = { exec = \"probe me\" } }").sources,
        [BeatSource::Probe(Probe { ask: Ask::Exec(vec!["probe".into(), "me".into()]), timeout: None })]
    );
}

#[test]
fn a_tree_without_cgroups_has_no_limits() {
    let of = |text: &str| {
        let read = parse(&format!("containment = \"group\"\n{text}"));
        let found = read.diagnostics.iter().map(|found| (found.code, found.line, found.is_error()));
        (read.tree.is_some(), found.collect::<Vec<_>>())
    };
    let worker = "[[child]]\nname = \"a\"\ncommand = \"a\"\ncount = 3\n";
    let error = |line| ("limit-without-cgroup", line, true);
    assert_eq!(of(&format!("pids-max = 9\n{worker}")), (false, vec![error(2)]));
    // A finding that applies to many children is reported once.
    assert_eq!(of(&format!("[defaults]\nmemory-max = \"1G\"\n{worker}")), (false, vec![error(3)]));
    let soft = format!("{worker}cpu-max = {{ value = 1, best-effort = true }}\nio-weight = {{ value = 5 }}\n");
    assert_eq!(of(&soft), (false, vec![("no-effect", 6, false), error(7)]));
    assert_eq!(of(&format!("{worker}memory-max = \"max\"\n")), (true, vec![]));
    assert!(parse(&format!("{worker}memory-max = 1\n")).diagnostics.is_empty(), "what this machine has is for `os`");
}

#[test]
fn lints_see_across_levels() {
    let nested = |above: &str, below: &str| {
        let workers: String = ["b", "c"]
            .iter()
            .map(|name| format!("[[child.child]]\nname = \"{name}\"\ncommand = \"x\"\n{below}\n"))
            .collect();
        codes(&format!("[[child]]\nname = \"s\"\n{above}\n{workers}"))
    };
    assert_eq!(nested("shutdown = \"10s\"", ""), [""; 0]);
    assert_eq!(nested("shutdown = \"9s\"", ""), ["stop-times"]);
    assert_eq!(nested("shutdown = \"9s\"\nstop-order = \"together\"", ""), [""; 0]);
    assert_eq!(nested("shutdown = \"9s\"", "shutdown = \"infinity\""), ["stop-times"]);
    assert_eq!(nested("shutdown = \"5s\"", "shutdown = \"1s\"\ncount = 5"), [""; 0]);
    assert_eq!(nested("shutdown = \"1s\"", "shutdown = \"1s\"\ncount = 5"), ["stop-times"]);
    let ready = "heartbeat = true\nready = \"heartbeat\"\nstart-timeout = \"5s\"";
    assert_eq!(nested("start-timeout = \"10s\"", ready), [""; 0]);
    assert_eq!(nested("start-timeout = \"9s\"", ready), ["start-times"]);

    let chain = |first: &str| {
        codes(&format!("strategy = \"rest-for-one\"\n{}{}", worker(first), worker("").replace("\"a\"", "\"b\"")))
    };
    assert_eq!(chain("restart = \"temporary\""), ["temporary-in-chain"]);
    assert_eq!(chain("restart = \"temporary\"\nready = \"exit\""), [""; 0], "a step is over when the next one begins");

    let window =
        |intensity: &str, backoff: &str| codes(&format!("{intensity}\n{}", worker(&format!("backoff = {backoff}"))));
    assert_eq!(window("intensity = 3\nperiod = \"30s\"", "{ initial = \"10s\", max = \"10s\" }"), [""; 0]);
    assert_eq!(window("intensity = 3\nperiod = \"29s\"", "{ initial = \"10s\", max = \"10s\" }"), ["window-disarmed"]);
    assert_eq!(window("intensity = \"unlimited\"", "{ max = \"1h\" }"), [""; 0]);
    assert_eq!(window("intensity = 4000000000\nperiod = \"1d\"", "{ initial = \"1ns\", max = \"1ns\" }"), [""; 0]);
    // 1 + 2 + 4 s.
    assert_eq!(window("period = \"7s\"", "{ initial = \"1s\", max = \"1m\" }"), [""; 0]);
    assert_eq!(window("period = \"6s\"", "{ initial = \"1s\", max = \"1m\" }"), ["window-disarmed"]);
    assert_eq!(codes(&worker("heartbeat = { misses = 1 }")), ["tight-heartbeat"]);

    let unlimited = |keys: &str| codes(&format!("intensity = \"unlimited\"\n{}", worker(keys)));
    assert_eq!(unlimited(""), ["restart-storm"]);
    assert_eq!(unlimited("backoff = false"), ["restart-storm"]);
    assert_eq!(unlimited("backoff = true"), [""; 0]);
    assert_eq!(unlimited("restart = \"temporary\""), [""; 0]);
}

#[test]
fn a_warning_about_one_copy_leaves_the_others() {
    let placed = |below: &str| {
        format!(
            "[[child]]\nname = \"s\"\ncount = 4\nplacement = {{ spread = true }}\n{}",
            worker(below).replace("[[child]]", "[[child.child]]")
        )
    };
    let listen = "listen = \"tcp://0.0.0.0:8080\"";
    // On hosts of their own, and without a number that could be part of the address.
    let tree = tree(&placed(listen));
    let names: Vec<_> = tree.root.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["s-1", "s-2", "s-3", "s-4"]);
    // Within a copy, and outside of it, there are other warnings.
    let twice = format!("{listen}\n[[child]]\nname = \"b\"\ncommand = \"b\"\n{listen}");
    assert_eq!(codes(&placed(&twice)), ["shared-socket"]);
    assert_eq!(parse(&placed(&twice)).tree.unwrap().root.children.len(), 4);
    let outside = format!("{}{}", placed(listen), worker(listen));
    assert_eq!(codes(&outside), ["shared-socket"]);
    assert_eq!(parse(&outside).tree.unwrap().root.children.len(), 5);

    let text = worker("count = 4\nenv-file = \"secrets-${@n}.env\"");
    let read = parse(&text);
    let codes: Vec<_> = read.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!((codes, read.tree.unwrap().root.children.len()), (vec!["no-env-file"; 4], 4));
}

/// The table of a reload: what needs a restart, and what is refused.
#[test]
fn the_page_about_reloads_knows_what_a_running_tree_cannot_take_over() {
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    let rows =
        |done: &str| -> String { page.lines().filter(|line| line.starts_with("| ") && line.contains(done)).collect() };
    let restarts = rows("| stop and start");
    for (key, ..) in keys::known_at_start(&ChildPolicy::default(), &ExecSpec::new(vec!["x".into()])) {
        assert!(restarts.contains(&format!("`{key}`")), "{key}");
    }
    for key in ["name", "containment", "journal"] {
        assert!(rows("| refused").contains(&format!("`{key}`")), "{key}");
    }
}
