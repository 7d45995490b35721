//! Tests of the whole room: golden diagnostics, defaults and rules, the way out to TOML and back, and hostile input.

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
        let found = read.sources.locate(&ids::Path::parse(path).unwrap(), key).unwrap();
        (found.file.file_name().unwrap().to_str().unwrap().to_owned(), found.line)
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
    // On again: what the inner defaults switched off has nothing left of the outer ones.
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
    // Said once of what holds for many.
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
fn includes_are_bounded() {
    // A file that includes another one ten times, which does the same, and so on: 10^12 files.
    let files = |path: &Path| {
        let level: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let text: String =
            (0..10).map(|n| format!("[[child]]\nname = \"c{n}\"\ninclude = \"{}.toml\"\n", level + 1)).collect();
        Ok((path.to_owned(), text.into_bytes()))
    };
    let read = read_with(Path::new("0.toml"), &no_env, Disk { files: &files, ..Disk::REGULAR });
    assert!(read.tree.is_none());
    assert!(read.diagnostics.iter().any(|found| found.code == "too-many" || found.code == "too-deep"));
}

#[test]
fn a_path_is_as_long_as_its_cgroup_can_be() {
    let deep = |levels: usize, name: &str| {
        let supervisors: String =
            (1..levels).map(|level| format!("[[{}child]]\nname = \"{name}\"\n", "child.".repeat(level - 1))).collect();
        format!("{supervisors}[[{}child]]\nname = \"{name}\"\ncommand = \"x\"\n", "child.".repeat(levels - 1))
    };
    let long = "n".repeat(64);
    assert!(parse(&deep(PATH_BYTES_MAX / 65, &long)).tree.is_some());
    let read = parse(&deep(PATH_BYTES_MAX / 65 + 1, &long));
    let found: Vec<_> = read.errors().map(|found| (found.code, found.line, found.column)).collect();
    assert_eq!(found, [("too-long", 2 * (PATH_BYTES_MAX as u32 / 65 + 1), 8)]);
    assert!(parse(&deep(DEPTH_MAX, &"n".repeat(45))).tree.is_some());
}

#[test]
fn an_endpoint_for_beats_is_one_that_can_be_bound() {
    let with = |path: &str| {
        parse(&format!(
            "[[child]]\nname = \"a\"\ncommand = \"x\"\nheartbeat = {{ source = {{ push = \"ipc://{path}\" }} }}\n"
        ))
    };
    assert!(with(&"p".repeat(99)).tree.is_some());
    for path in [&*"p".repeat(100), "", "*", "*a", "@a"] {
        let read = with(path);
        assert_eq!(
            read.errors().map(|found| (found.code, found.line)).collect::<Vec<_>>(),
            [("bad-value", 4)],
            "{path}"
        );
    }
}

#[test]
fn depth_is_bounded() {
    let deep = |levels: usize| {
        let mut text = String::new();
        for level in 1..=levels {
            text += &format!("[[{}child]]\nname = \"c\"\n", "child.".repeat(level - 1));
        }
        text + "command = \"x\"\n"
    };
    let read = parse(&deep(DEPTH_MAX));
    assert!(read.tree.is_some(), "{:?}", read.diagnostics);
    assert_eq!(parse(&print::to_toml(read.tree.as_ref().unwrap())).tree, read.tree);
    assert!(parse(&deep(DEPTH_MAX + 1)).diagnostics.iter().any(|found| found.code == "too-deep"));
    for text in [
        format!("[{}a]\n", "a.".repeat(100_000)),
        format!("{}a = 1\n", "a.".repeat(100_000)),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("child = {}", "[{child=".repeat(100_000)),
    ] {
        assert!(parse(&text).tree.is_none());
    }
}

/// Files within files add up; what walks the tree would overflow the stack.
#[test]
fn depth_is_bounded_across_files() {
    let files = |levels: usize| {
        move |path: &Path| {
            let file: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let mut text: String =
                (1..=levels).map(|level| format!("[[{}child]]\nname = \"c\"\n", "child.".repeat(level - 1))).collect();
            text += &if file < 3 { format!("include = \"{}.toml\"\n", file + 1) } else { "command = \"x\"\n".into() };
            Ok((path.to_owned(), text.into_bytes()))
        }
    };
    let read = |levels| read_with(Path::new("0.toml"), &no_env, Disk { files: &files(levels), ..Disk::REGULAR });
    let fits = read(DEPTH_MAX / 4);
    assert!(fits.tree.is_some(), "{:?}", fits.diagnostics);
    assert!(read(DEPTH_MAX / 4 + 1).errors().any(|found| found.code == "too-deep"));
    assert!(read(DEPTH_MAX).errors().any(|found| found.code == "too-deep"));
}

#[test]
fn ten_thousand_errors_are_shown_one_by_one() {
    let read = parse(&"[[child]]\nname = \"a b\"\ncommand = \"a\"\n".repeat(10_000));
    assert_eq!(read.diagnostics.len(), 10_000);
    let last = render(&read.diagnostics[9_999], false, 80);
    assert!(last.contains("[shop.toml:29999:8]") && last.contains("29999 | name = \"a b\""), "{last}");
    let all: usize = read.diagnostics.iter().map(|found| render(found, false, 80).len()).sum();
    assert!(all > 1_000_000);
}

#[test]
fn trees_are_bounded() {
    let text: String =
        (0..11).map(|n| format!("[[child]]\nname = \"c{n}\"\ncommand = \"x\"\ncount = 10000\n")).collect();
    assert_eq!(codes(&text), ["too-many"]);
}

// The way out and back.

fn any_name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_.-]{1,12}".prop_filter_map("no name", |text| Name::parse(&text).ok())
}

/// Text as hostile as TOML allows, but for NUL.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "(\\$|\\{|\\}|\"|\\\\|'|\n|\t|\u{1}|\u{7f}|ä|:-|A){0,8}"]
}

fn any_word() -> impl Strategy<Value = String> {
    any_text().prop_filter("empty", |text| !text.is_empty())
}

fn any_command() -> impl Strategy<Value = Vec<String>> {
    (any_word(), vec(any_text(), 0..3)).prop_map(|(program, args)| std::iter::once(program).chain(args).collect())
}

fn any_span() -> impl Strategy<Value = Span> {
    prop_oneof![
        (1u64..100_000).prop_map(Span::from_millis),
        any::<u64>().prop_map(|nanos| Span::from_nanos(nanos.max(1)))
    ]
}

fn any_backoff() -> impl Strategy<Value = Backoff> {
    (any_span(), any_span(), 1.0f64..1000.0, 0.0f64..1.0, any_span())
        .prop_map(|(a, b, factor, jitter, reset)| Backoff { initial: a.min(b), max: a.max(b), factor, jitter, reset })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    (option::of(0..=i64::MAX as u64), option::of(0..=i64::MAX as u64)).prop_map(|(a, b)| {
        let (low, high) =
            (a.unwrap_or(u64::MAX).min(b.unwrap_or(u64::MAX)), a.unwrap_or(u64::MAX).max(b.unwrap_or(u64::MAX)));
        let limit = |n| (n != u64::MAX).then_some(n);
        Limit { soft: limit(low), hard: limit(high) }
    })
}

fn any_resources() -> BoxedStrategy<Resources> {
    fn cap<T: Clone + std::fmt::Debug + 'static>(value: BoxedStrategy<Option<T>>) -> BoxedStrategy<Option<Cap<T>>> {
        option::of((value, any::<bool>()).prop_map(|(value, best_effort)| Cap { value, best_effort })).boxed()
    }
    let amount = || {
        let amount =
            prop_oneof![(1..=i64::MAX as u64).prop_map(Amount::Absolute), (1..=10_000u32).prop_map(Amount::Share)];
        cap(option::of(amount).boxed())
    };
    let weight = || cap((1..=10_000u32).prop_map(Some).boxed());
    (amount(), amount(), cap(option::of(1..100_000_000u32).boxed()), weight(), amount(), weight())
        .prop_map(|(memory_max, memory_high, cpu_max, cpu_weight, pids_max, io_weight)| Resources {
            memory_max,
            memory_high,
            cpu_max,
            cpu_weight,
            pids_max,
            io_weight,
        })
        .boxed()
}

fn any_exec() -> BoxedStrategy<ExecSpec> {
    let ids = (option::of(any_word()), option::of(any_word()), option::of(0u32..=0o777), option::of(-20..=19));
    let signal = (1..=64).prop_filter("not asked with", |n| *n != 9 && *n != 19);
    let limits = btree_map(prop_oneof![Just("nofile".to_owned()), Just("core".to_owned())], any_limit(), 0..3);
    let env = btree_map("[A-Z\"ä. ]{1,5}", any_text(), 0..3);
    let log = prop_oneof![Just(false), Just(true)];
    (any_command(), option::of(any_word()), env, any::<bool>(), ids, (signal, limits), log, any_resources())
        .prop_map(|(command, cwd, env, clear_env, (user, group, umask, nice), (stop_signal, limits), log, max)| {
            ExecSpec {
                cwd: cwd.map(Into::into),
                env,
                clear_env,
                user,
                group,
                umask,
                limits,
                nice,
                stop_signal,
                log: if log { LogSpec::Capture } else { LogSpec::Discard },
                resources: max,
                ..ExecSpec::new(command)
            }
        })
        .boxed()
}

fn any_policy() -> BoxedStrategy<ChildPolicy> {
    let restart = prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)];
    let shutdown =
        prop_oneof![Just(Shutdown::BrutalKill), any_span().prop_map(Shutdown::After), Just(Shutdown::Infinity)];
    let heartbeat = (any_span(), 1u32.., any_span(), any::<bool>())
        .prop_map(|(interval, misses, grace, progress)| Heartbeat { interval, misses, grace, progress });
    (restart, any::<bool>(), shutdown, option::of(heartbeat), option::of(any_span()), option::of(any_backoff()))
        .prop_map(|(restart, significant, shutdown, heartbeat, start_timeout, backoff)| ChildPolicy {
            restart,
            significant: significant && restart != Restart::Permanent,
            shutdown,
            heartbeat,
            start_timeout,
            backoff,
            ..ChildPolicy::default()
        })
        .boxed()
}

fn any_ask() -> BoxedStrategy<Ask> {
    let server = (prop_oneof![Just(None), any::<std::net::IpAddr>().prop_map(Some)], 1u16..)
        .prop_map(|(address, port)| Server { host: address.map_or(Host::Local, Host::Address), port });
    prop_oneof![
        any_command().prop_map(Ask::Exec),
        server.clone().prop_map(Ask::Tcp),
        (server, "/[!-\"$-~]{0,8}").prop_map(|(server, path)| Ask::Http(server, path)),
    ]
    .boxed()
}

/// One written child: a worker, several by a count, or a supervisor.
fn any_children(depth: u32) -> BoxedStrategy<Vec<ChildSpec>> {
    let sources = vec(
        prop_oneof![
            Just(BeatSource::Notify),
            (any_ask(), option::of(any_span())).prop_map(|(ask, timeout)| BeatSource::Probe(Probe { ask, timeout })),
        ],
        0..2,
    );
    let codes = prop_oneof![Just(vec![0]), Just(vec![]), Just(vec![3, 0, 255])];
    let ready = prop_oneof![Just(Ready::Exec), Just(Ready::Heartbeat), Just(Ready::Notify)];
    let worker = (any_name(), any_policy(), any_exec(), sources, codes, ready, 0usize..4, any::<bool>())
        .prop_map(|(name, policy, mut exec, sources, success_codes, ready, count, log)| {
            let mut policy = ChildPolicy { success_codes, ready, ..policy };
            if policy.heartbeat.is_some() {
                exec.sources.extend(sources);
            } else if ready == Ready::Heartbeat {
                policy.ready = Ready::Exec;
            }
            // Group 0 stands for "the next one" until the supervisor is put together.
            policy.group = (count > 0).then_some(0);
            let child = |number: Option<usize>| {
                let mut exec = exec.clone();
                let name = match number {
                    Some(number) => Name::parse(&format!("{name}-{number}")).unwrap(),
                    None => name.clone(),
                };
                if log {
                    exec.log = LogSpec::File { file: format!("/{name}.log").into(), max_size: 7, keep: 1 };
                }
                ChildSpec {
                    name,
                    policy: policy.clone(),
                    kind: ChildKind::Worker(Box::new(exec)),
                    added: false,
                    behind: false,
                }
            };
            if count == 0 { vec![child(None)] } else { (1..=count).map(|number| child(Some(number))).collect() }
        })
        .boxed();
    if depth == 0 {
        return worker.boxed();
    }
    let supervisor = (any_name(), any_policy(), any_supervisor(depth - 1)).prop_map(|(name, policy, below)| {
        let heartbeat = policy.heartbeat.map(|beat| Heartbeat { progress: false, ..beat });
        let policy = ChildPolicy { heartbeat, ..policy };
        vec![ChildSpec { name, policy, kind: ChildKind::Supervisor(Box::new(below)), added: false, behind: false }]
    });
    prop_oneof![2 => worker, 1 => supervisor].boxed()
}

fn any_supervisor(depth: u32) -> BoxedStrategy<SupervisorSpec> {
    let strategy = prop_oneof![Just(Plan::OneForOne), Just(Plan::OneForAll), Just(Plan::RestForOne)];
    let auto =
        prop_oneof![Just(AutoShutdown::Never), Just(AutoShutdown::AnySignificant), Just(AutoShutdown::AllSignificant)];
    let order = (
        prop_oneof![Just(StartOrder::InOrder), Just(StartOrder::Together)],
        prop_oneof![Just(StopOrder::Reverse), Just(StopOrder::Together)],
    );
    let intensity = (option::of(any::<u32>()), any_span()).prop_map(|(max, period)| Intensity { max, period });
    // A member is sometimes left out, as a later `scale` or `remove` would do, so that a row is no whole count.
    let children = vec((any_children(depth), any::<u8>()), 1..4);
    (strategy, intensity, auto, order, vec(option::of(any_command()), 3), any_resources(), children)
        .prop_map(|(strategy, intensity, auto_shutdown, (start_order, stop_order), mut hooks, resources, written)| {
            let mut children: Vec<ChildSpec> = Vec::new();
            for (group, (mut members, left_out)) in (1..).zip(written) {
                if members.len() > 1 && left_out < 40 {
                    members.remove(usize::from(left_out) % members.len());
                }
                for mut child in members {
                    child.policy.group = child.policy.group.map(|_| group);
                    child.policy.significant &= auto_shutdown != AutoShutdown::Never;
                    if children.iter().all(|other| other.name != child.name) {
                        children.push(child);
                    }
                }
            }
            let policy = SupervisorPolicy { strategy, intensity, auto_shutdown, start_order, stop_order };
            let hooks = Hooks {
                on_panic: hooks.pop().flatten(),
                on_escalate: hooks.pop().flatten(),
                on_restart: hooks.pop().flatten(),
            };
            SupervisorSpec { policy, hooks, resources, placement: None, children }
        })
        .boxed()
}

fn any_tree() -> impl Strategy<Value = TreeSpec> {
    let containment = prop_oneof![Just(Containment::Auto), Just(Containment::Cgroup), Just(Containment::Group)];
    let journal = prop_oneof![
        Just(None),
        Just(Some(JournalSpec::default())),
        (JournalSpec::MAX_SIZE_LEAST..1 << 40, 0u32..1000)
            .prop_map(|(max_size, keep)| Some(JournalSpec { max_size, keep })),
    ];
    (any_name(), containment, journal, any_supervisor(2)).prop_map(|(name, containment, journal, mut root)| {
        // No two workers of a tree share a log file.
        fn own_logs(at: &ids::Path, supervisor: &mut SupervisorSpec) {
            for child in &mut supervisor.children {
                let path = at.child(&child.name);
                match &mut child.kind {
                    ChildKind::Supervisor(below) => own_logs(&path, below),
                    ChildKind::Worker(exec) => {
                        if let LogSpec::File { file, .. } = &mut exec.log {
                            *file = format!("/logs{at}{}", file.display()).into();
                        }
                    }
                }
            }
        }
        own_logs(&ids::Path::root(), &mut root);
        // Where there are limits, there are cgroups.
        let limited = !root.controllers(|_| true).is_empty();
        let containment = if limited { Containment::Auto } else { containment };
        TreeSpec { name, containment, journal, placement: None, root }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back(tree in any_tree()) {
        let text = print::to_toml(&tree);
        let read = parse(&text);
        let errors: Vec<_> = read.errors().map(ToString::to_string).collect();
        prop_assert!(errors.is_empty(), "{errors:#?}\n{text}");
        let again = read.tree.expect("no errors, so a tree");
        prop_assert_eq!(&again, &tree, "{}", text);
        prop_assert_eq!(print::to_toml(&again), text);
    }

    #[test]
    fn no_text_is_too_bad(text in "(\\PC|\n|[\u{0}-\u{20}]|=|\\[|\\]|\"|child|name|command){0,60}") {
        let read = parse(&text);
        for found in &read.diagnostics {
            render(found, found.line % 2 == 0, 80);
        }
        prop_assert!(read.tree.is_some() || read.errors().next().is_some());
    }

    #[test]
    fn no_slip_in_a_good_file_is_too_bad(at in 0usize..2200, cut in 0usize..30, put in "(\\PC|\n|\"|=|\\[|\\]|\\{|\\}|\\$|[0-9]){0,4}") {
        let good = include_str!("../../tests/data/good/shop.toml").replace("include = \"more.toml\"", "command = \"m\"");
        let border = |at: usize| (0..=at.min(good.len())).rev().find(|at| good.is_char_boundary(*at)).unwrap();
        let (from, to) = (border(at), border(at + cut));
        let text = format!("{}{put}{}", &good[..from], &good[to..]);
        let read = parse(&text);
        for found in &read.diagnostics {
            let shown = render(found, false, 80);
            prop_assert!(!shown.contains("Failed to read contents"), "{shown}");
            prop_assert!(found.line == 0 || found.column > 0);
        }
        prop_assert!(read.tree.is_some() || read.errors().next().is_some());
    }
}

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

    // Further ones are read from what these were read from, with the variables of that time.
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
    let alike = super::tests::tree(&worker("count = 2\n")).root.children.remove(1);
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
    // The directory of the file that includes is no pattern.
    assert_eq!(names(&super::read(&dir.path().join("else[1]/d.toml"), &no_env)), "d");
    // Two of one name, and keys of a supervisor.
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
