//! `treevisor metrics` against real trees, and what Prometheus' own tools make of it.

use crate::harness::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TREE: &str = r#"
intensity = 10
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "web"
[[child.child]]
name = "api"
count = 3
heartbeat = { interval = "300ms", misses = 20 }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.2; done"]
"#;

/// The series of a page, with their values.
pub(crate) fn series(page: &str) -> BTreeMap<String, f64> {
    let rows = page.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    rows.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// A program of the package `prometheus`; without it the test is skipped, with a notice.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok() {
        return Some(Command::new(name));
    }
    eprintln!("notice: there is no {name} here (apt-get install prometheus); the test is skipped");
    None
}

/// What promtool has against a page; `None` where there is no promtool.
fn complaints(page: &str) -> Option<String> {
    let mut promtool = tool("promtool")?;
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ran = promtool.spawn().unwrap();
    ran.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let done = ran.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    Some(format!("{}{}", if done.status.success() { "" } else { "refused: " }, String::from_utf8_lossy(&said)))
}

#[test]
fn the_pages_that_are_kept_are_without_faults() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/metrics");
    let pages: Vec<PathBuf> = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() >= 4);
    for page in pages {
        if let Some(complaints) = complaints(&fs::read_to_string(&page).unwrap()) {
            assert_eq!(complaints, "", "{}", page.display());
        }
    }
}

#[test]
fn a_tree_that_runs_is_measured_whole_or_in_part() {
    let mut tree = Tree::start(TREE);
    signal(tree.pid("/db"), 9);
    tree.incarnation("/db", 2);
    until("all beat", || {
        let web = tree.status("/web");
        web["children"].as_array().unwrap().iter().all(|child| child["heartbeat"]["beats"] != 0)
    });
    let page = |arguments: &[&str]| tree.run(&[&["metrics"], arguments].concat()).expect(0).stdout;
    let whole = page(&[]);
    assert_eq!(complaints(&whole).unwrap_or_default(), "");
    let all = series(&whole);
    let name = tree.instance()["instance"].as_str().unwrap_or("tree").to_owned();
    let of = |family: &str, labels: &str| all.get(&format!("{family}{{tree=\"{name}\",{labels}}}")).copied();
    assert_eq!(of("treevisor_child_up", "path=\"/\",kind=\"supervisor\""), Some(1.0), "{whole}");
    assert_eq!(of("treevisor_child_exits_total", "path=\"/db\",cause=\"signal\""), Some(1.0));
    assert_eq!(of("treevisor_supervisor_exits_total", "supervisor=\"/\",cause=\"signal\""), Some(1.0));
    assert_eq!(of("treevisor_supervisor_exits_total", "supervisor=\"/\",cause=\"gave_up\""), Some(0.0));
    assert_eq!(of("treevisor_restart_duration_seconds_count", "supervisor=\"/\""), Some(1.0));
    assert!(of("treevisor_heartbeats_total", "path=\"/web/api-1\"").is_some_and(|beats| beats >= 1.0));
    assert!(of("treevisor_memory_bytes", "path=\"/web/api-1\"").is_some_and(|bytes| bytes > 0.0));
    // A quiet tree is printed in the same words, and its start times do not jitter.
    let again = series(&page(&[]));
    assert_eq!(all.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
    let starts = |all: &BTreeMap<String, f64>| {
        all.iter()
            .filter(|(name, _)| name.contains("start_time_seconds"))
            .map(|(name, at)| (name.clone(), *at))
            .collect::<Vec<_>>()
    };
    assert_eq!(starts(&all), starts(&again));
    assert_eq!(starts(&all).len(), 1 + 6);
    // In part.
    let supervisors = page(&["--workers", "none", "--usage", "false"]);
    assert!(!supervisors.contains("path=\"/db\"") && !supervisors.contains("treevisor_memory_bytes"));
    assert!(supervisors.contains("supervisor=\"/web\"") && supervisors.contains("path=\"/web\""));
    let below = page(&["/web/*", "/db"]);
    assert!(below.contains("path=\"/web/api-2\"") && below.contains("path=\"/db\""));
    assert!(!below.contains("path=\"/web\"") && !below.contains("supervisor="));
    tree.run(&["metrics", "/nothing"]).expect(4);
    tree.run(&["metrics", "/nothing/*"]).expect(4);
    tree.run(&["metrics", "--workers", "some"]).expect(2);
    tree.stop();
}

#[test]
fn a_file_has_a_whole_page_or_the_one_before() {
    let tree = Tree::start(TREE);
    let file = tree.dir().join("tree.prom");
    let output = file.to_str().unwrap().to_owned();
    tree.run(&["metrics", "--output", &output]).expect(0);
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (over, file) = (Arc::clone(&over), file.clone());
        std::thread::spawn(move || {
            let mut read = 0;
            while !over.load(Ordering::Relaxed) {
                let page = fs::read_to_string(&file).expect("it is there at all times");
                let last = page.lines().last().unwrap_or_default();
                let whole =
                    page.ends_with('\n') && last.starts_with("treevisor_supervisor_info{") && last.contains("/web");
                assert!(whole, "half a page: {last:?}");
                read += 1;
            }
            read
        })
    };
    for _ in 0..50 {
        tree.run(&["metrics", "--output", &output]).expect(0);
    }
    over.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 50);
    let beside = files_below(tree.dir()).into_iter().filter(|file| file.to_string_lossy().contains("tree.prom"));
    assert_eq!(beside.collect::<Vec<_>>(), std::slice::from_ref(&file), "nothing is left beside it");
    // What cannot be replaced is refused, before anything is asked.
    tree.run(&["metrics", "--output", "/dev/null"]).expect(2);
    tree.run(&["metrics", "--output", "/nowhere/x.prom"]).expect(1);
    // A tree that is gone leaves no old truth behind.
    tree.run(&["stop"]).expect(0);
    let gone = tree.run(&["metrics", "-i", "tree", "--output", &output]);
    let page = fs::read_to_string(&file).unwrap();
    assert_eq!((gone.code, series(&page).get("treevisor_up{tree=\"tree\"}")), (Some(3), Some(&0.0)), "{page}");
    tree.run(&["metrics"]).expect(3);
}

#[test]
fn a_root_that_hangs_is_told_so_in_the_file() {
    let tree = Tree::start(TREE);
    let file = tree.dir().join("tree.prom");
    signal(tree.root_pid(), 19);
    let hung = tree.run(&["metrics", "--output", file.to_str().unwrap()]);
    signal(tree.root_pid(), 18);
    assert_eq!(hung.code, Some(5), "{}", hung.stderr);
    assert_eq!(complaints(&fs::read_to_string(&file).unwrap()).unwrap_or_default(), "");
    assert!(
        series(&fs::read_to_string(&file).unwrap())
            .into_iter()
            .any(|(name, up)| name.starts_with("treevisor_up") && up == 0.0)
    );
    tree.stop();
}
