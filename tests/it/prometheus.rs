//! The rules, the dashboard and the counters, with a real Prometheus that scrapes a tree which fails in known ways.

use crate::harness::*;
use crate::metrics::tool;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file)
}

fn succeeds(command: &mut Command) {
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
}

#[test]
fn the_rules_are_right_and_each_alert_fires_for_its_fault_alone() {
    let Some(mut promtool) = tool("promtool") else { return };
    succeeds(promtool.args(["check", "rules"]).arg(contrib("prometheus/treevisor.rules.yml")));
    succeeds(Command::new("promtool").args(["test", "rules"]).arg(contrib("prometheus/treevisor.rules.test.yml")));
}

#[test]
fn every_alert_says_what_to_type() {
    let rules = fs::read_to_string(contrib("prometheus/treevisor.rules.yml")).unwrap();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert_eq!(alerts.len(), 14);
    for alert in alerts {
        assert!(["`treevisor why ", "`treevisor hosts`"].iter().any(|type_this| alert.contains(type_this)), "{alert}");
        assert!(alert.contains("severity: "), "{alert}");
    }
}

#[test]
fn the_dashboard_has_the_shape_that_grafana_reads() {
    let modules = std::env::var_os("NODE_PATH").map(PathBuf::from);
    let Some(modules) =
        modules.filter(|path| path.join("@grafana/schema").is_dir() && path.join("typescript").is_dir())
    else {
        eprintln!("notice: @grafana/schema and TypeScript are not in NODE_PATH; the dashboard's shape is not checked");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&modules, dir.path().join("node_modules")).unwrap();
    let types = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dashboard.ts")).unwrap();
    let dashboard = fs::read_to_string(contrib("grafana/treevisor.json")).unwrap();
    fs::write(dir.path().join("dashboard.ts"), types + &dashboard).unwrap();
    let mut tsc = Command::new("node");
    tsc.arg(modules.join("typescript/bin/tsc")).current_dir(dir.path());
    tsc.args(["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]);
    succeeds(tsc.args(["--target", "es2022", "dashboard.ts"]));
}

/// Each of these fails in its own way when the test lets it.
const TREE: &str = r#"
intensity = 100
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "stuck"
ready = "notify"
command = ["sh", "-c", "[ -e stuck ] || \"$TREEVISOR_EXE\" notify --ready; exec sleep 1000"]
[[child]]
name = "lab"
intensity = 0
[[child.child]]
name = "mouse"
command = ["sleep", "1000"]
[[child]]
name = "web"
intensity = 100
heartbeat = { interval = "20s", misses = 3, grace = "60s" }
[[child.child]]
name = "api"
heartbeat = { interval = "300ms", misses = 50 }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.2; done"]
[[child]]
name = "tight"
intensity = 5
period = "1h"
[[child.child]]
name = "job"
command = ["sleep", "1000"]
[[child]]
name = "late"
intensity = 100
[[child.child]]
name = "riser"
ready = "notify"
command = ["sh", "-c", "[ -e risen ] && sleep 6; touch risen; \"$TREEVISOR_EXE\" notify --ready; exec sleep 1000"]
"#;

/// A Prometheus with a directory of its own, on loopback. Ended when it is dropped.
struct Prometheus {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes each second, with rules that wait for two seconds where the real ones wait for minutes.
    fn start(mut program: Command, scraped: [u16; 2]) -> Prometheus {
        let dir = tempfile::tempdir().unwrap();
        let rules = fs::read_to_string(contrib("prometheus/treevisor.rules.yml")).unwrap();
        let short =
            |line: &str| if line.trim_start().starts_with("for: ") { "        for: 2s" } else { line }.to_owned();
        let rules: Vec<String> = rules.lines().map(short).collect();
        fs::write(dir.path().join("rules.yml"), rules.join("\n")).unwrap();
        let [tree, hosts] = scraped;
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [rules.yml]\nscrape_configs:\n  \
             - job_name: treevisor\n    static_configs: [{{ targets: ['127.0.0.1:{tree}', '127.0.0.1:{hosts}'] }}]\n"
        );
        fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let process = program
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Prometheus { process, port, _dir: dir };
        until("Prometheus is up", || get(port, "/-/ready").is_some_and(|(status, _)| status == 200));
        prometheus
    }

    fn api(&self, path: &str) -> Value {
        let (status, body) = get(self.port, path).expect("Prometheus answers");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &answer["status"]), (200, &Value::from("success")), "{path}: {body}");
        answer["data"].clone()
    }

    fn query(&self, expression: &str) -> Vec<Value> {
        let mut path = "/api/v1/query?query=".to_owned();
        expression.bytes().for_each(|byte| _ = write!(path, "%{byte:02X}"));
        let data = self.api(&path);
        assert_eq!(data["resultType"], "vector", "{expression}");
        data["result"].as_array().unwrap().clone()
    }

    /// The names of the alerts that fire now.
    fn firing(&self) -> BTreeSet<String> {
        let data = self.api("/api/v1/alerts");
        let firing = data["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until exactly these fire.
    #[track_caller]
    fn fires(&self, what: &str, names: &[&str]) {
        let expected: BTreeSet<String> = names.iter().map(|name| format!("Treevisor{name}")).collect();
        until(what, || {
            let firing = self.firing();
            assert!(firing.is_subset(&expected), "{what}: {firing:?}");
            firing == expected
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Serves what `treevisor metrics` last wrote of a tree, for as long as the test runs. On a busy machine a scrape must
/// not wait for a process to be started.
fn serve(mut metrics: Command) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let file = tempfile::NamedTempFile::new().unwrap();
    metrics.args(["metrics", "-i", "tree", "--output"]).arg(file.path());
    metrics.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let page = file.path().to_owned();
    let (scraped, scrapes) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _file = file;
        loop {
            let _ = metrics.status();
            // The next one is for the next scrape.
            if scrapes.recv().is_err() {
                return;
            }
            scrapes.try_iter().for_each(drop);
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let page = fs::read_to_string(&page).unwrap_or_default();
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n{page}");
            let _ = scraped.send(());
        }
    });
    port
}

/// Serves the page of a cluster's hosts, once it is to be shown. Returns the port.
fn serve_hosts(shown: Arc<AtomicBool>) -> u16 {
    let page = include_str!("../data/metrics/hosts.prom");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let page = if shown.load(Ordering::Relaxed) { page } else { "" };
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n{page}");
        }
    });
    port
}

/// The cause of an end, by its event.
fn cause(event: &Value, is_supervisor: bool) -> &'static str {
    if event["kind"] == "start_failed" {
        return "start_failed";
    }
    match (event["code"].as_i64(), event["killed"].as_str()) {
        (Some(10), _) if is_supervisor => "gave_up",
        (Some(11), _) if is_supervisor => "start_failed",
        (_, Some("hung")) => "hang",
        (_, Some("panic")) => "panic",
        (_, Some("start_timeout")) => "start_timeout",
        (_, Some(_)) => "stopped",
        (_, None) if event["expected"] == true => "stopped",
        (_, None) if event["oom_killed"] == true => "oom",
        (None, None) => "signal",
        (Some(_), None) if event["normal"] == true => "normal",
        (Some(_), None) => "exit",
    }
}

/// All ends that the events tell of, by supervisor above and cause; without those below /lab, which is replaced and
/// counts anew.
fn told(tree: &Tree) -> BTreeMap<(String, String), u64> {
    let events = tree.run(&["events", "--json"]).expect(0).stdout;
    let mut told = BTreeMap::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if !matches!(event["kind"].as_str(), Some("exited" | "start_failed")) {
            continue;
        }
        let path = event["path"].as_str().unwrap();
        let above = path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty()).unwrap_or("/");
        if above == "/lab" {
            continue;
        }
        let cause = cause(&event, ["/lab", "/web", "/tight", "/late"].contains(&path));
        *told.entry((above.to_owned(), cause.to_owned())).or_default() += event["count"].as_u64().unwrap_or(1);
    }
    told
}

/// What Prometheus has counted that is not 0.
fn counted(prometheus: &Prometheus) -> BTreeMap<(String, String), u64> {
    let mut counted = BTreeMap::new();
    for row in prometheus.query("treevisor_supervisor_exits_total > 0") {
        let label = |name: &str| row["metric"][name].as_str().unwrap().to_owned();
        let value: f64 = row["value"][1].as_str().unwrap().parse().unwrap();
        counted.insert((label("supervisor"), label("cause")), value as u64);
    }
    counted
}

/// Every expression of the dashboard, with Grafana's variables replaced.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_slice(&fs::read(contrib("grafana/treevisor.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<String> = targets
        .map(|target| {
            let replaced = [("$tree", ".*"), ("$path", ".*"), ("$__rate_interval", "5m"), ("$__range", "1h")];
            let expression = target["expr"].as_str().unwrap().to_owned();
            replaced.iter().fold(expression, |expression, (variable, value)| expression.replace(variable, value))
        })
        .collect();
    assert!(expressions.len() >= 13);
    expressions
}

#[test]
fn prometheus_counts_what_happens_and_each_alert_fires_for_its_fault() {
    let Some(program) = tool("prometheus") else { return };
    let mut tree = Tree::start(TREE);
    let hosts_shown = Arc::new(AtomicBool::new(false));
    let prometheus = Prometheus::start(program, [serve(tree.command()), serve_hosts(hosts_shown.clone())]);
    until("the tree was scraped, and its rules looked at", || {
        prometheus.query("treevisor_up").len() == 1
            && prometheus.query("count_over_time(treevisor_up[1m]) > 2").len() == 1
    });
    prometheus.fires("a quiet tree", &[]);
    // The first escalation of a new tree.
    signal(tree.pid("/lab/mouse"), 9);
    prometheus.fires("a supervisor gave up", &["GaveUp"]);
    tree.run(&["panic", "--hold", "/db"]).expect(0);
    prometheus.fires("a child is held", &["GaveUp", "HeldForLong"]);
    let mut kill = |path: &str, times: u64| {
        for incarnation in 2..2 + times {
            signal(tree.pid(path), 9);
            tree.incarnation(path, incarnation);
        }
    };
    kill("/web/api", 8);
    prometheus.fires("a child flaps", &["GaveUp", "HeldForLong", "Flapping"]);
    kill("/tight/job", 4);
    let four = ["GaveUp", "HeldForLong", "Flapping", "RestartBudgetLow"];
    prometheus.fires("a window is nearly full", &four);
    let stuck = tree.dir().join("stuck");
    fs::write(&stuck, "").unwrap();
    signal(tree.pid("/stuck"), 9);
    tree.incarnation("/stuck", 2);
    let five = [&four[..], &["ChildNotUp"]].concat();
    prometheus.fires("a child does not come up", &five);
    fs::remove_file(stuck).unwrap();
    signal(tree.pid("/stuck"), 9);
    until("it is up", || !prometheus.firing().contains("TreevisorChildNotUp"));
    prometheus.fires("it is up", &four);
    let of_hosts = |expression: &String| ["host_", "store_", "owners_"].iter().any(|part| expression.contains(part));
    let (of_hosts, of_trees): (Vec<_>, Vec<_>) = expressions().into_iter().partition(of_hosts);
    let comes_of = |expression: &str| {
        assert!(!prometheus.query(expression).is_empty(), "nothing comes of {expression}");
    };
    of_trees.iter().for_each(|expression| comes_of(expression));
    let six = [&four[..], &["SlowRestarts", "ChildNotUp"]].concat();
    signal(tree.pid("/late/riser"), 9);
    tree.kind("/late/riser", "ready");
    tree.event("the riser is up again", |event| {
        event["path"] == "/late/riser" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    until("restarts are slow", || {
        let firing = prometheus.firing();
        assert!(firing.iter().all(|name| six.contains(&name.trim_start_matches("Treevisor"))), "{firing:?}");
        firing.contains("TreevisorSlowRestarts") && !firing.contains("TreevisorChildNotUp")
    });
    // To the last one. What the present scrape has comes a little later.
    let (mut have, mut expected) = Default::default();
    let mut same = || {
        (have, expected) = (counted(&prometheus), told(&tree));
        have == expected
    };
    let end = Instant::now() + Duration::from_secs(20);
    while !same() && Instant::now() < end {}
    assert_eq!(have, expected);
    let web = tree.pid("/web");
    signal(web, 19);
    until("a supervisor cannot be reached", || prometheus.firing().contains("TreevisorSupervisorUnreachable"));
    signal(web, 18);
    // Its alert takes longer than this test may.
    until("it was not let run", || {
        !prometheus.query("treevisor_supervisor_stalled_seconds_total{supervisor='/web'} > 1").is_empty()
    });
    // One of its hosts is lost, which has an alert of its own.
    hosts_shown.store(true, Ordering::Relaxed);
    until("the hosts were scraped", || !prometheus.query("count_over_time(treevisor_host_up[1m]) > 2").is_empty());
    assert!(of_hosts.len() >= 4);
    of_hosts.iter().for_each(|expression| comes_of(expression));
    tree.run(&["stop"]).expect(0);
    until("the tree is down", || prometheus.firing().contains("TreevisorDown"));
    assert_eq!(tree.wait(), 0);
}

/// `examples/observability`: Prometheus, the console and a failing application as workers of one tree.
#[test]
fn the_example_shows_an_alert_fire() {
    let Some(_) = tool("prometheus") else { return };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/observability");
    let (console, port) = (free_port(), free_port());
    let ported = |file: &str| {
        let text = fs::read_to_string(example.join(file)).unwrap();
        let rules = contrib("prometheus/treevisor.rules.yml");
        let text = text.replace(":8808", &format!(":{console}")).replace(":9090", &format!(":{port}"));
        text.replace("../../contrib/prometheus/treevisor.rules.yml", rules.to_str().unwrap())
    };
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    fs::write(dir.path().join("prometheus.yml"), ported("prometheus.yml")).unwrap();
    fs::write(dir.path().join("tree.toml"), ported("observability.toml")).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    until("the application is seen to flap", || {
        let Some((200, alerts)) = get(port, "/api/v1/alerts") else { return false };
        let alerts: Value = serde_json::from_str(&alerts).unwrap();
        let firing = |alert: &Value| {
            alert["state"] == "firing"
                && alert["labels"]["alertname"] == "TreevisorFlapping"
                && alert["labels"]["path"] == "/shop/api"
        };
        alerts["data"]["alerts"].as_array().unwrap().iter().any(firing)
    });
    tree.stop();
}
