//! A store that the hosts of a cluster run themselves: nothing is there beforehand but the program etcd.

use super::member::call;
use super::store::Store;
use super::{Cluster, Host, WORKER, command, signal};
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use treevisor::host::identity::{Authority, Keys, SigningKey, key_file};
use treevisor::os::clock;
use treevisor::store::etcd::{Etcd, Tls};
use treevisor::time::Span;

/// Addresses of loopback that no other test has, of this process or another one, since the ports are always the same.
fn addresses() -> [Ipv4Addr; 3] {
    static DRAWN: LazyLock<[u8; 2]> = LazyLock::new(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        [0, 2].map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
    });
    static TESTS: AtomicU8 = AtomicU8::new(0);
    let [x, y] = *DRAWN;
    let test = x.wrapping_add(TESTS.fetch_add(1, Ordering::Relaxed));
    [1, 2, 3].map(|host| Ipv4Addr::new(127, 16 + test % 200, y, host))
}

/// The address of a host's agent, which listens at its port of all addresses.
fn agent(at: Ipv4Addr) -> String {
    format!("{at}:{}", super::free_port::free_port())
}

fn has_etcd() -> bool {
    let there = std::process::Command::new("etcd").arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: there is no etcd");
    }
    there
}

/// Processes whose command line names something below this directory.
fn left_below(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let own = std::process::id().to_string();
    let of =
        |pid: PathBuf| fs::read(pid.join("cmdline")).ok().map(|text| String::from_utf8_lossy(&text).replace('\0', " "));
    let pids = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    pids.filter(|pid| !pid.ends_with(&own)).filter_map(of).filter(|line| line.contains(directory)).collect()
}

/// A short lease, so that a host that is killed is soon lost.
fn shorten(place: &Path) {
    let file = place.join("host.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("run = true"), "{text}");
    fs::write(&file, format!("lease = \"5s\"\n{text}")).unwrap();
}

fn keys(place: &Path) -> Keys {
    Keys::read(&key_file(&place.join("host.toml"))).unwrap().unwrap()
}

/// Both ports of a member, of so many, take certificates of the cluster's authority, and none by another key.
fn only_hosts_are_let_in(cluster: &Cluster, host: &str, at: Ipv4Addr, members: usize, other: SigningKey) {
    let own = keys(&cluster.host(host).directory).signing;
    let [own, other] = [own, other].map(|key| Authority::of(&key.into()).unwrap());
    let client =
        |of: &Authority| of.client(clock::wall()).map(|made| (made.cert.into_bytes(), made.key.into_bytes())).unwrap();
    let asked = |port: u16, ca: &Authority, client: Option<(Vec<u8>, Vec<u8>)>| {
        let tls = Tls { ca: ca.ca().into(), client };
        let endpoint = format!("https://{at}:{port}");
        let mut etcd = Etcd::new(&[endpoint], Some(&tls), || clock::both().boottime).unwrap();
        etcd.members(Span::from_secs(20))
    };
    assert_eq!(asked(2379, &own, Some(client(&own))).map(|all| all.len()), Ok(members), "{}", cluster.logs());
    let reached = asked(2380, &own, Some(client(&own))).unwrap_err();
    assert!(reached.contains("HTTP status 404"), "{reached}");
    for port in [2379, 2380] {
        for (ca, client) in [(&own, Some(client(&other))), (&own, None), (&other, Some(client(&own)))] {
            let refused = asked(port, ca, client).unwrap_err();
            assert!(!refused.contains("HTTP status") && !refused.contains("timeout"), "{refused}");
        }
    }
}

/// Waits until the member of this host has got its vote so many times.
fn has_votes(cluster: &Cluster, host: &str, times: usize) {
    cluster.until(&format!("the member of {host} has a vote"), |cluster| {
        let log = fs::read_to_string(cluster.host(host).directory.join("log")).ok()?;
        (log.matches("has a vote now").count() == times).then_some(())
    });
}

/// Three hosts with a member of the store each, the third a witness; `None` where this machine cannot run them.
fn three(addresses: [Ipv4Addr; 3]) -> Option<Cluster> {
    if !has_etcd() {
        return None;
    }
    let directory = tempfile::Builder::new().prefix("tvh").tempdir().unwrap();
    let mut cluster = Cluster { directory, hosts: Vec::new(), store: Store::start() };
    let [at_a, at_b, at_c] = addresses;
    let a = place(&cluster, "a");
    let (error, code) =
        call(&a, &format!("host init --file host.toml --cluster shop --name a --address {} --store run", agent(at_a)));
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(left_below(cluster.directory.path()), Vec::<String>::new(), "what has made the store has ended");
    shorten(&a);
    let checked = command(&a, &["host", "check", "host.toml"]).output().unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.contains(&format!("a member of it runs here, at {at_a}:2379 and {at_a}:2380: /")), "{checked}");
    cluster.hosts.push(Host::run("a", a));
    if live(&cluster, "a")["cgroup"] != true {
        eprintln!("skipped: this machine has no cgroup v2 that can be killed with one write");
        return None;
    }
    only_hosts_are_let_in(&cluster, "a", at_a, 1, SigningKey::draw().unwrap());
    for (name, at) in [("b", at_b), ("c", at_c)] {
        let place = place(&cluster, name);
        let (error, code) = join(&cluster, &place, name, at, if name == "c" { " --witness" } else { "" });
        assert_eq!(code, Some(0), "{error}{}", cluster.logs());
        shorten(&place);
        cluster.hosts.push(Host::run(name, place));
        live(&cluster, name);
        has_votes(&cluster, name, 1);
    }
    Some(cluster)
}

fn place(cluster: &Cluster, name: &str) -> PathBuf {
    let place = cluster.directory.path().join(name);
    fs::create_dir_all(&place).unwrap();
    place
}

fn join(cluster: &Cluster, place: &Path, name: &str, at: Ipv4Addr, more: &str) -> (String, Option<i32>) {
    let line = cluster.done("a", &["host", "invite"]);
    let line = line.trim().strip_prefix("treevisor ").unwrap();
    call(place, &format!("{line} --name {name} --address {} --file host.toml{more}", agent(at)))
}

fn live(cluster: &Cluster, name: &str) -> Value {
    cluster.until(&format!("{name} is live"), |cluster| {
        cluster.hosts_as_seen(name)?.into_iter().find(|host| host["name"] == name && host["state"] == "live")
    })
}

#[test]
fn two_hosts_and_a_witness_run_their_own_store_and_it_bears_the_loss_of_one() {
    let Some(cluster) = three(addresses()) else { return };
    let status: Value = serde_json::from_str(&cluster.done("c", &["status", "-i", "host", "--json"])).unwrap();
    let children = status["root"]["children"].as_array().unwrap();
    assert_eq!(children.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["store", "agent"]);

    // A disk that is lost: another member takes the place of the one that had it.
    fs::rename(cluster.host("c").directory.join("state/host/store/data"), cluster.directory.path().join("lost"))
        .unwrap();
    signal(u32::try_from(children[0]["pid"].as_u64().unwrap()).unwrap(), 9);
    has_votes(&cluster, "c", 2);
    assert!(cluster.logs().contains("the earlier member at this address is taken away"), "{}", cluster.logs());
    // Also those that were there before it.
    cluster.until("a asks all three", |cluster| (cluster.view("a")?["store"]["members"] == 3).then_some(()));

    cluster.deploy(WORKER, &["a"]);
    let first = cluster.nth(1);
    cluster.until("that both know that each other could run it, and the third could not", |cluster| {
        let fits = |seen_from: &str| {
            let all = cluster.view(seen_from)?["instances"][0]["candidates"].as_array()?.clone();
            let fit: Vec<&str> =
                all.iter().filter(|one| one["fit"] == true).filter_map(|one| one["host"].as_str()).collect();
            (fit.len() == 2 && !fit.contains(&"c")).then_some(())
        };
        fits("a").and(fits("b"))
    });
    let bundles = |host: &str| fs::read_dir(cluster.host(host).directory.join("state/host/bundles")).unwrap().count();
    assert_eq!(["a", "b", "c"].map(bundles), [1, 1, 0]);
    let witness = live(&cluster, "c");
    assert_eq!(
        (&witness["witness"], &witness["note"]),
        (&true.into(), &"it is a witness: it votes, and runs nothing".into())
    );
    // With all of its processes, and its member of the store.
    signal(cluster.host(&first[0]).root.id(), 9);
    let second = cluster.nth(2);
    assert_eq!((second[2].as_str(), &second[3]), ("failover", &first[0]), "{second:?}");
    let lost = cluster.host(&first[0]).directory.clone();
    cluster.until("that nothing of it is left", |_| left_below(&lost).is_empty().then_some(()));

    // What it had written is on the other two: its member is taken away, and it is no host any more.
    let other = cluster.hosts.iter().map(|host| host.name).find(|name| *name != first[0]).unwrap();
    cluster.until("that it is lost", |cluster| {
        let all = cluster.hosts_as_seen(other)?;
        all.into_iter().find(|host| host["name"] == *first[0] && host["state"] == "lost")
    });
    let (told, code) = call(&cluster.host(other).directory, &format!("host remove {} --file host.toml", first[0]));
    assert!(code == Some(0) && told.contains("its member of the store is taken away, 2 are left"), "{told}");
    let all = cluster.directory.path().to_owned();
    drop(cluster);
    assert_eq!(left_below(&all), Vec::<String>::new());
}

#[test]
fn another_signing_key_locks_out_what_has_the_former_and_nothing_else_notices() {
    let at = addresses();
    let Some(cluster) = three(at) else { return };
    cluster.deploy(WORKER, &["a"]);
    let first = cluster.nth(1);
    let place = |name: &str| cluster.host(name).directory.clone();
    let (former, agents) = (keys(&place("a")).signing, ["a", "b", "c"].map(|name| pid(&cluster, name, "agent")));
    // Typed on two hosts at once it is done once; and no member is started again while the store needs it.
    let silent = u32::try_from(pid(&cluster, "c", "store")).unwrap();
    signal(silent, libc::SIGSTOP);
    let rotate = |name| cluster.run(name, &["host", "rotate", "--cluster", "--file", "host.toml"]);
    let told = thread::scope(|scope| {
        let all = ["a", "b"].map(|name| scope.spawn(move || rotate(name)));
        cluster.until("that a member waits for the one that is silent", |cluster| {
            cluster.logs().contains("as long as the store needs it: c does not answer").then_some(())
        });
        signal(silent, libc::SIGCONT);
        all.map(|one| one.join().unwrap())
    });
    let told = told.map(|told| (told.status.code(), String::from_utf8(told.stderr).unwrap()));
    for (code, error) in &told {
        assert_eq!(*code, Some(0), "{error}{}", cluster.logs());
        assert!(error.contains("nothing that was certified by the former one is taken any more"), "{error}");
    }
    let drawn = told.iter().filter(|(_, error)| error.contains("another key is drawn")).count();
    assert_eq!(drawn, 1, "{told:?}");
    let next = keys(&place("a")).signing.issuer();
    assert_ne!(next, former.issuer());
    for (name, at) in ["a", "b", "c"].into_iter().zip(at) {
        let keys = keys(&place(name));
        assert_eq!((keys.signing.issuer(), keys.also.is_none()), (next.clone(), true));
        only_hosts_are_let_in(&cluster, name, at, 3, former.clone());
        for other in ["a", "b", "c"].into_iter().filter(|other| *other != name) {
            cluster.link(name, other, "up");
        }
    }
    assert_eq!(["a", "b", "c"].map(|name| pid(&cluster, name, "agent")), agents);
    assert_eq!(cluster.seen(), [first], "the worker was not touched");
    // A machine that joins from now on has the new one.
    let d = self::place(&cluster, "d");
    let (error, code) = join(&cluster, &d, "d", at[0], "");
    assert_eq!(code, Some(0), "{error}{}", cluster.logs());
    assert_eq!(keys(&d).signing.issuer(), next);
}

/// The process of a child of a host's own tree.
fn pid(cluster: &Cluster, host: &str, child: &str) -> u64 {
    let status: Value = serde_json::from_str(&cluster.done(host, &["status", "-i", "host", "--json"])).unwrap();
    let children = status["root"]["children"].as_array().unwrap();
    children.iter().find(|one| one["name"] == child).unwrap()["pid"].as_u64().unwrap()
}
