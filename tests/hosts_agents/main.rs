//! Several hosts on one machine: each a tree of its own, with its agent, fence and cgroups, and a store that they
//! share. Trees are deployed, and their hosts killed, stopped, drained.
//!
//! Each test needs a cgroup that can be killed with one write; where there is none it prints that, and shows nothing.
#![cfg(feature = "hosts")]
#![allow(clippy::disallowed_methods, reason = "tests look at the clock to know when something is broken")]

mod adopted;
#[path = "../../src/os/free_port.rs"]
mod free_port;
mod links;
mod member;
mod placed;
mod store;
mod store_run;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use store::Store;
use treevisor::os::pidfd::PidFd;
use treevisor::time::Span;

/// Nothing takes so long on a sound machine.
const LIMIT: Duration = Duration::from_secs(60);

const TREEVISOR: &str = env!("CARGO_BIN_EXE_treevisor");

/// For the program beside it.
const _: &str = env!("CARGO_BIN_EXE_treevisor-host");

struct Host {
    name: &'static str,
    directory: PathBuf,
    root: Child,
}

/// Some hosts, and what their workers write into one file.
struct Cluster {
    directory: tempfile::TempDir,
    hosts: Vec<Host>,
    store: Store,
}

/// A worker that writes where it runs, and by which claim; and then runs.
const WORKER: &str = r#"
name = "shop"
containment = "cgroup"

[[child]]
name = "w"
command = ["sh", "-c", 'echo "$TREEVISOR_HOST $TREEVISOR_FENCE $TREEVISOR_START ${TREEVISOR_FROM:--}" >> SEEN; exec sleep 1000']
"#;

impl Host {
    /// Runs the host whose file is in this directory.
    fn run(name: &'static str, directory: PathBuf) -> Host {
        let log = fs::File::create(directory.join("log")).unwrap();
        let root = command(&directory, &["host", "run", "--file", "host.toml"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Host { name, directory, root }
    }
}

impl Cluster {
    /// Starts these hosts, and waits until each has its lease. `None` where there is no cgroup to be had.
    fn start(names: &[&'static str]) -> Option<Cluster> {
        Cluster::start_with(names, |_, _| String::new())
    }

    /// The same, with more lines in the file of each host; they are given its directory and its name.
    fn start_with(names: &[&'static str], lines: impl Fn(&Path, &str) -> String) -> Option<Cluster> {
        let directory = tempfile::Builder::new().prefix("tvh").tempdir().unwrap();
        let store = Store::start();
        let start = |name: &&'static str| {
            let below = directory.path().join(name);
            fs::create_dir(&below).unwrap();
            let lines = lines(&below, name);
            let lease = if lines.contains("lease = ") { "" } else { "lease = \"5s\"\n" };
            let file = format!(
                "cluster = \"test\"\nname = \"{name}\"\n{lease}{lines}[store]\nendpoints = [\"{}\"]\n",
                store.url
            );
            fs::write(below.join("host.toml"), file).unwrap();
            Host::run(name, below)
        };
        let hosts = names.iter().map(start).collect();
        let cluster = Cluster { directory, hosts, store };
        let all = cluster.until("each host has its lease", |cluster| {
            let hosts = cluster.hosts_as_seen(cluster.hosts[0].name)?;
            let live =
                |name: &&str| hosts.iter().find(|host| host["name"] == **name && host["state"] == "live").cloned();
            names.iter().map(live).collect::<Option<Vec<Value>>>()
        });
        if all.iter().all(|host| host["cgroup"] == true) {
            return Some(cluster);
        }
        eprintln!("skipped: this machine has no cgroup v2 that can be killed with one write");
        None
    }

    fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).unwrap()
    }

    /// The other one of two.
    fn other(&self, name: &str) -> &'static str {
        self.hosts.iter().map(|host| host.name).find(|other| *other != name).unwrap()
    }

    fn run(&self, host: &str, arguments: &[&str]) -> Output {
        command(&self.host(host).directory, arguments).output().unwrap()
    }

    #[track_caller]
    fn done(&self, host: &str, arguments: &[&str]) -> String {
        let output = self.run(host, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", text(&output.stderr), self.logs());
        text(&output.stdout)
    }

    fn view(&self, host: &str) -> Option<Value> {
        serde_json::from_slice(&self.run(host, &["hosts", "--json"]).stdout).ok()
    }

    fn hosts_as_seen(&self, host: &str) -> Option<Vec<Value>> {
        self.view(host)?["hosts"].as_array().cloned()
    }

    /// What the workers have written: host, token, start, from.
    fn seen(&self) -> Vec<[String; 4]> {
        let text = fs::read_to_string(self.directory.path().join("seen")).unwrap_or_default();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
        text.lines().map(words).collect()
    }

    /// Waits until the workers have written so many lines, and gives the last of them.
    #[track_caller]
    fn nth(&self, number: usize) -> [String; 4] {
        self.until(&format!("{number} starts"), |cluster| cluster.seen().get(number - 1).cloned())
    }

    #[track_caller]
    fn until<T>(&self, what: &str, mut look: impl FnMut(&Cluster) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(begun.elapsed() < LIMIT, "{what} has not come; seen: {:?}{}", self.seen(), self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes the tree and deploys it on these hosts.
    #[track_caller]
    fn deploy(&self, tree: &str, on: &[&str]) {
        let seen = self.directory.path().join("seen");
        let file = self.directory.path().join("shop.toml");
        fs::write(&file, tree.replace("SEEN", seen.to_str().unwrap())).unwrap();
        for host in on {
            self.done(host, &["deploy", file.to_str().unwrap()]);
        }
    }

    /// Waits until each host knows where the tree runs, which it does, and that each could run it.
    #[track_caller]
    fn all_fit(&self) {
        self.until("that each host is fit", |cluster| {
            let fit = |host: &Host| {
                let view = cluster.view(host.name)?;
                // A record that one host has written comes to the others a little later.
                view["instances"][0]["host"].as_str()?;
                let all = view["instances"][0]["candidates"].as_array()?.clone();
                (all.len() == cluster.hosts.len() && all.iter().all(|one| one["fit"] == true)).then_some(())
            };
            cluster.hosts.iter().map(fit).collect::<Option<Vec<()>>>()
        });
    }

    /// Waits until a root that was killed with all that could clear up after it has left nothing to be found.
    #[track_caller]
    fn nothing_left(&self, host: &str) {
        let directory = self.host(host).directory.join("run/shop");
        self.until("that nothing is left", |_| (!directory.exists()).then_some(()));
    }

    /// The process of a host's agent.
    fn agent(&self, host: &str) -> u32 {
        let status = self.done(host, &["status", "-i", "host", "--json"]);
        let status: Value = serde_json::from_str(&status).unwrap();
        let agent = &status["root"]["children"][0];
        u32::try_from(agent["pid"].as_u64().unwrap_or_else(|| panic!("{agent}"))).unwrap()
    }

    fn logs(&self) -> String {
        let log = |host: &Host| {
            let text = fs::read_to_string(host.directory.join("log")).unwrap_or_default();
            let view = self.run(host.name, &["hosts", "--json"]).stdout;
            format!("\n--- {}\n{text}{}", host.name, String::from_utf8_lossy(&view))
        };
        self.hosts.iter().map(log).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for host in &self.hosts {
            let pid = host.root.id();
            for signal in [libc::SIGCONT, libc::SIGTERM] {
                let _ = PidFd::open(pid).and_then(|process| process.signal(signal));
            }
        }
        for host in &mut self.hosts {
            let ended = PidFd::open(host.root.id()).map_or(true, |process| process.wait_exit(Span::from_secs(60)));
            if !ended {
                let _ = host.root.kill();
            }
            let _ = host.root.wait();
        }
    }
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(TREEVISOR);
    command.args(arguments).current_dir(directory).env("NO_COLOR", "1").env_remove("TREEVISOR_INSTANCE");
    command.env("TREEVISOR_RUNTIME_DIR", directory.join("run")).env("TREEVISOR_STATE_DIR", directory.join("state"));
    command
}

fn signal(pid: u32, signal: i32) {
    PidFd::open(pid).and_then(|process| process.signal(signal)).unwrap();
}

/// All processes below this one, and itself.
fn below(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        for task in fs::read_dir(format!("/proc/{}/task", all[at])).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    all
}

#[test]
fn a_tree_runs_on_one_host_and_where_it_was_not_deployed_on_none() {
    let Some(cluster) = Cluster::start(&["a", "b"]) else { return };
    cluster.deploy(WORKER, &["b"]);
    assert_eq!(cluster.nth(1), ["b", "1", "normal", "-"]);
    let view = cluster.until("the claim", |cluster| {
        let view = cluster.view("a")?;
        (view["instances"][0]["host"] == "b").then_some(view)
    });
    let shop = &view["instances"][0];
    assert_eq!((&shop["instance"], &shop["wanted"], &shop["token"]), (&"shop".into(), &"up".into(), &1.into()));
    let a = shop["candidates"].as_array().unwrap().iter().find(|candidate| candidate["host"] == "a").unwrap();
    assert_eq!(a["fit"], false, "{a}");
    assert_eq!(cluster.store.record("/treevisor/test/own/shop//").unwrap()["host"], "b");

    // From the other host, a tool names the one that it runs on.
    let output = cluster.run("a", &["status", "-i", "shop"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("runs on the host b, to which there is no link"), "{error}");
    assert!(cluster.done("b", &["status", "-i", "shop"]).contains("running"));

    // A host that is drained has nowhere to move it to; with the bundle there it moves.
    cluster.done("b", &["host", "drain"]);
    cluster.deploy(WORKER, &["a"]);
    assert_eq!(cluster.nth(2), ["a", "2", "move", "b"]);
    cluster.done("b", &["host", "drain", "--wait"]);
    cluster.done("b", &["host", "undrain"]);
}

#[test]
fn a_tree_runs_where_its_placement_lets_it() {
    let Some(cluster) = Cluster::start(&["a", "b"]) else { return };
    let placed = |hosts: &str| format!("placement = {hosts}{WORKER}");
    cluster.deploy(&placed("[\"b\"]"), &["a", "b"]);
    assert_eq!(cluster.nth(1), ["b", "1", "normal", "-"]);
    cluster.done("b", &["host", "drain"]);
    let why = cluster.until("why it runs nowhere", |cluster| {
        let shop = &cluster.view("a")?["instances"][0];
        let a = shop["candidates"].as_array()?.iter().find(|one| one["host"] == "a")?.clone();
        shop["host"].is_null().then_some(a["why"].as_str()?.to_owned())
    });
    assert_eq!(why, "`placement` does not name the host");
    // Another placement is other content.
    cluster.deploy(&placed("[\"b\", \"a\"]"), &["a", "b"]);
    assert_eq!(cluster.nth(2)[0], "a");
}

#[test]
fn another_content_is_taken_over_in_place() {
    let Some(cluster) = Cluster::start(&["a"]) else { return };
    cluster.deploy(WORKER, &["a"]);
    assert_eq!(cluster.nth(1), ["a", "1", "normal", "-"]);
    cluster.deploy(&format!("{WORKER}env = {{ LATER = \"1\" }}\n"), &["a"]);
    // The same claim, another process.
    assert_eq!(cluster.nth(2), ["a", "1", "normal", "-"]);
    let plan = cluster.done("a", &["deploy", "--plan", cluster.directory.path().join("shop.toml").to_str().unwrap()]);
    assert!(plan.contains("nothing to do"), "{plan}");
}

/// Whether the kernel has a timer for this process that kills it.
fn is_armed(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/timers")).is_ok_and(|timers| timers.contains("signal: 9/"))
}

/// The process of the tree's root, if it answers.
fn root(cluster: &Cluster) -> Option<u32> {
    let status: Value = serde_json::from_slice(&cluster.run("a", &["status", "-i", "shop", "--json"]).stdout).ok()?;
    u32::try_from(status["pid"].as_u64()?).ok()
}

#[test]
fn a_root_is_dead_at_its_deadline_in_every_image_of_the_program_and_replaced_when_it_hangs() {
    let Some(cluster) = Cluster::start(&["a"]) else { return };
    cluster.deploy(WORKER, &["a"]);
    assert_eq!(cluster.nth(1), ["a", "1", "normal", "-"]);
    let first = cluster.until("the root", root);
    assert!(is_armed(first));
    cluster.done("a", &["upgrade", "-i", "shop"]);
    assert_eq!(root(&cluster), Some(first), "it is the same process, and its worker was not started again");
    assert!(is_armed(first));
    assert_eq!(cluster.seen().len(), 1);
    // It goes on to look at the page: a lease later it is still there.
    let claim = |cluster: &Cluster| cluster.hosts_as_seen("a")?[0]["lease_left_ms"].as_u64();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        cluster.until("a lease", claim);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(root(&cluster), Some(first));
    signal(first, libc::SIGSTOP);
    assert_eq!(cluster.nth(2), ["a", "1", "normal", "-"], "by the same claim");
}

#[test]
fn what_an_agent_runs_dies_with_it_and_starts_again_at_once() {
    let Some(cluster) = Cluster::start(&["a", "b"]) else { return };
    cluster.deploy(WORKER, &["a", "b"]);
    let first = cluster.nth(1);
    let other = cluster.other(&first[0]);
    cluster.all_fit();
    let begun = Instant::now();
    signal(cluster.agent(&first[0]), libc::SIGKILL);
    // On whichever host is the first to see that the earlier epoch is over.
    let second = cluster.nth(2);
    let elsewhere = [other, "2", "failover", &first[0]];
    assert!(second == elsewhere || second == [&first[0], "2", "normal", "-"], "{second:?}");
    eprintln!("an agent was killed: on {} after {:?}", second[0], begun.elapsed());
    if second[0] == other {
        cluster.nothing_left(&first[0]);
    }
    // No lease was waited for: the next agent of that host has begun another epoch.
    cluster.until("the next epoch", |cluster| {
        let hosts = cluster.hosts_as_seen(other)?;
        hosts.iter().any(|host| host["name"] == first[0].as_str() && host["epoch"] == 2).then_some(())
    });
}

#[test]
fn a_host_that_stands_still_is_dead_at_its_deadline_and_lost_after_it() {
    let Some(cluster) = Cluster::start(&["a", "b"]) else { return };
    // The worker writes the time of the machine again and again.
    let times = cluster.directory.path().join("times");
    let worker = format!(
        "name = \"shop\"\ncontainment = \"cgroup\"\n[[child]]\nname = \"w\"\ncommand = [\"sh\", \"-c\", 'echo \"$TREEVISOR_HOST \
         $TREEVISOR_FENCE $TREEVISOR_START ${{TREEVISOR_FROM:--}}\" >> SEEN; while :; do read up idle < /proc/uptime; echo \
         \"$TREEVISOR_HOST $up\" >> {0}; sleep 0.02; done']\n",
        times.display()
    );
    cluster.deploy(&worker, &["a", "b"]);
    let first = cluster.nth(1);
    let other = cluster.other(&first[0]);
    cluster.all_fit();
    let runs_by_the_lease = |pid: &u32| {
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        group.contains("/c.agent/x/")
    };
    // Agent, fence and the host's own tree: all but what runs by the lease.
    let stopped: Vec<u32> =
        below(cluster.host(&first[0]).root.id()).into_iter().filter(|pid| !runs_by_the_lease(pid)).collect();
    assert!(stopped.len() >= 4, "{stopped:?}");
    let begun = Instant::now();
    // One that has ended since needs none.
    let stop = |pid: &u32| drop(PidFd::open(*pid).and_then(|process| process.signal(libc::SIGSTOP)));
    stopped.iter().for_each(stop);
    assert_eq!(cluster.nth(2), [other, "2", "failover", &first[0]]);
    eprintln!("a host stands still: elsewhere after {:?}", begun.elapsed());
    // The history of the tree on its new host begins with why it is there.
    let events = cluster.done(other, &["events", "-i", "shop", "--json"]);
    let event: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&event["kind"], &event["path"], &event["from"]),
        (&json!("failed_over"), &json!("/"), &json!(first[0]))
    );
    stopped.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
    cluster.nothing_left(&first[0]);
    let text = fs::read_to_string(&times).unwrap();
    let of = |host: &str| -> Vec<f64> {
        let lines = text.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name == host);
        lines.filter_map(|(_, time)| time.parse().ok()).collect()
    };
    let last = of(&first[0]).into_iter().fold(f64::MIN, f64::max);
    let next = of(other).into_iter().fold(f64::MAX, f64::min);
    assert!(last < next, "both ran: until {last} on {}, and from {next} on {other}", first[0]);
}

#[test]
fn a_tree_that_gives_up_on_one_host_is_tried_on_another() {
    let Some(cluster) = Cluster::start(&["a", "b"]) else { return };
    // On whichever host it is started first it fails, when the test makes it.
    let [first, fails] = ["first", "fails"].map(|name| cluster.directory.path().join(name));
    let worker = format!(
        "name = \"shop\"\nintensity = 0\n[[child]]\nname = \"w\"\ncommand = [\"sh\", \"-c\", 'echo \"$TREEVISOR_HOST $TREEVISOR_FENCE \
         $TREEVISOR_START ${{TREEVISOR_FROM:--}}\" >> SEEN; test -e {0} || echo \"$TREEVISOR_HOST\" > {0}; read host < {0}; test \
         \"$TREEVISOR_HOST\" != \"$host\" && exec sleep 1000; until test -e {1}; do sleep 0.05; done; exit 3']\n",
        first.display(),
        fails.display()
    );
    cluster.deploy(&worker, &["a", "b"]);
    let one = cluster.nth(1);
    let other = cluster.other(&one[0]);
    cluster.all_fit();
    fs::write(&fails, "").unwrap();
    let next =
        cluster.until("a start on the other host", |cluster| cluster.seen().into_iter().find(|line| line[0] == other));
    assert_eq!(next[3], one[0], "{next:?}");
    cluster.until("what its record tells", |cluster| {
        cluster.view(other)?.to_string().contains("the root has given up there").then_some(())
    });
}

#[test]
fn a_host_that_is_stopped_in_order_frees_what_it_runs() {
    let Some(mut cluster) = Cluster::start(&["a", "b"]) else { return };
    cluster.deploy(WORKER, &["a", "b"]);
    let first = cluster.nth(1);
    let other = cluster.other(&first[0]);
    cluster.all_fit();
    signal(cluster.host(&first[0]).root.id(), libc::SIGTERM);
    assert_eq!(cluster.nth(2), [other, "2", "move", &first[0]]);
    let host = cluster.hosts.iter_mut().find(|host| host.name == first[0]).unwrap();
    assert_eq!(host.root.wait().unwrap().code(), Some(0));
    let left = cluster.until("that it has left", |cluster| {
        let hosts = cluster.hosts_as_seen(other)?;
        hosts.into_iter().find(|host| host["name"] == first[0].as_str() && host["state"] == "left")
    });
    assert_eq!(left["placed"], 0);
    assert!(!cluster.host(&first[0]).directory.join("run/host").exists(), "nothing of the host is left");
}

#[test]
fn a_root_that_only_waits_for_hooks_goes_on_to_look_at_its_lease() {
    let Some(cluster) = Cluster::start(&["a"]) else { return };
    let [go, done] = ["go", "done"].map(|name| cluster.directory.path().join(name));
    let hook = format!("until [ -e {} ]; do sleep 0.02; done; echo >{}", go.display(), done.display());
    cluster.deploy(&WORKER.replacen("\n\n", &format!("\non-panic = [\"sh\", \"-c\", \"{hook}\"]\n\n"), 1), &["a"]);
    assert_eq!(cluster.nth(1), ["a", "1", "normal", "-"]);
    let waits = PidFd::open(cluster.until("the root", root)).unwrap();
    let asked = ["panic", "-i", "shop", "--timeout", "60s", "/"];
    let mut panic = command(&cluster.host("a").directory, &asked).spawn().unwrap();
    assert!(!waits.wait_exit(Span::from_secs(6)), "it outlives the lease that it had");
    assert!(panic.try_wait().unwrap().is_none());
    fs::write(go, "").unwrap();
    assert_eq!(panic.wait().unwrap().code(), Some(0));
    assert!(done.exists());
}

#[test]
fn a_host_is_forgotten_when_its_record_shows_it_and_not_while_the_store_is_silent() {
    // No lease ends while the store is silent.
    let Some(cluster) = Cluster::start_with(&["a", "b"], |_, _| "lease = \"30s\"\n".to_owned()) else { return };
    let record = |cluster: &Cluster| cluster.store.record("/treevisor/test/host/b").unwrap();
    let before = record(&cluster);
    let forget = || cluster.run("a", &["host", "forget", "b", "--it-is-dead"]);
    let refused = cluster.store.silent(forget);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && told.contains("does not show it"), "{told}");
    assert_eq!((&before["epoch"], &before["state"]), (&json!(1), &json!("live")));
    cluster.done("a", &["host", "forget", "b", "--it-is-dead"]);
    // It is not dead, and begins another epoch.
    let after = record(&cluster);
    assert!(after["sworn"] == true || after["epoch"].as_u64() > before["epoch"].as_u64(), "{after}");
}
