//! The processes: three members of the store and three hosts, each in its namespace and in a cgroup of its own.
use crate::net::{HOSTS, Net, address};
use crate::observe::{Observer, Subject};
use crate::{PATIENCE, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use treevisor::host::identity::keys::draw_curve;
use treevisor::host::identity::{Certificate, Keys, SigningKey};
use treevisor::os::cgroup::Group;
use treevisor::os::cgroup::tree::Tree;
use treevisor::os::pidfd::ProcessHandle;
use treevisor::os::random;

const TREEVISOR: &str = env!("CARGO_BIN_EXE_treevisor");

/// For the program beside it.
const _: &str = env!("CARGO_BIN_EXE_treevisor-host");

/// Seconds: the shortest there is.
pub(crate) const LEASE: u64 = 5;

/// The port at which a host listens for the others.
const MESH: u16 = 7400;

/// What runs on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `treevisor-host agent`
    Agent,
    /// `treevisor-host fence`
    Fence,
    /// The hosted root.
    Root,
    /// The top node of the placed subtree.
    Placed,
    /// All but the workers.
    AllButWorkers,
}

pub(crate) struct Cluster {
    pub(crate) net: Net,
    pub(crate) observer: Observer,
    directory: tempfile::TempDir,
    tree: Option<Tree>,
    members: BTreeMap<&'static str, Child>,
    hosts: BTreeMap<&'static str, Child>,
    /// Whether each member has a disk of its own, which can be frozen.
    pub(crate) has_disks: bool,
    frozen: Option<PathBuf>,
}

impl Cluster {
    /// All of it, with the tree deployed and running somewhere; or why there can be none here.
    pub(crate) fn start() -> Result<Cluster, String> {
        let tree = Tree::create("net", &random::mark().unwrap()).map_err(|reason| format!("no cgroups: {reason}"))?;
        // Dropped, it is removed again.
        let directory = tempfile::Builder::new().prefix("tvn").tempdir().unwrap();
        let observer = Observer::new(&directory.path().join("lines"));
        let mut cluster = Cluster {
            net: Net::new()?,
            observer,
            directory,
            tree: Some(tree),
            members: BTreeMap::new(),
            hosts: BTreeMap::new(),
            has_disks: false,
            frozen: None,
        };
        cluster.has_disks = HOSTS.iter().all(|host| cluster.make_disk(host));
        for host in HOSTS {
            cluster.start_member(host);
        }
        cluster.wait("the store has a leader", |cluster| cluster.leader().is_some());
        let by = SigningKey::draw().unwrap();
        for host in HOSTS {
            cluster.write_file(host, &by);
            cluster.start_host(host);
        }
        cluster.wait("all hosts are live", Cluster::all_live);
        cluster.deploy();
        let runs = |cluster: &Cluster, subject| cluster.observer.last(subject).is_some();
        cluster.wait("the workers run", |cluster| Subject::ALL.into_iter().all(|subject| runs(cluster, subject)));
        Ok(cluster)
    }

    #[track_caller]
    fn wait(&self, what: &str, is: impl Fn(&Cluster) -> bool) {
        if !until(PATIENCE, || is(self)) {
            panic!("{what}: it does not come about; {}", self.logs());
        }
    }

    fn below(&self, host: &str) -> PathBuf {
        self.directory.path().join(host)
    }

    /// The cgroup of a host, or of a member of the store.
    pub(crate) fn group(&self, name: &str) -> Group {
        self.tree.as_ref().expect("there until the end").root().child(name).unwrap()
    }

    /// A command that begins in the namespace of a host, and in a cgroup.
    fn command(&self, host: &str, group: &str, program: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let procs = self.group(group).path().join("cgroup.procs");
        let namespace = format!("--net={}", self.net.file(host).display());
        command.args(["-c", "echo $$ > \"$0\" && exec nsenter \"$@\""]).arg(procs).arg(namespace).arg(program);
        command.stdin(Stdio::null());
        command
    }

    fn log(&self, host: &str, name: &str) -> fs::File {
        fs::create_dir_all(self.below(host)).unwrap();
        fs::File::options().append(true).create(true).open(self.below(host).join(name)).unwrap()
    }

    fn disk(&self, host: &str) -> PathBuf {
        self.below(host).join("disk")
    }

    /// A file system in a file, which can be mounted. Only the member's own mount namespace has it, so it goes with
    /// that.
    fn make_disk(&self, host: &str) -> bool {
        let (disk, at) = (self.disk(host), self.below(host).join("etcd"));
        fs::create_dir_all(&at).unwrap();
        let script = "truncate -s 400M \"$0\" && mkfs.ext4 -q \"$0\" && mount -o loop \"$0\" \"$1\"";
        let made = Command::new("unshare").args(["--mount", "sh", "-c", script]).arg(disk).arg(at).output();
        made.is_ok_and(|output| output.status.success())
    }

    /// Whatever is written to the disk of a member waits, or goes on.
    pub(crate) fn freeze_disk(&mut self, member: Option<&str>) {
        let fsfreeze = |how: &str, at: &Path| {
            let done = Command::new("fsfreeze").arg(how).arg(at).status();
            assert!(done.is_ok_and(|status| status.success()), "fsfreeze {how} {}", at.display());
        };
        if let Some(at) = self.frozen.take() {
            fsfreeze("--unfreeze", &at);
        }
        if let Some(member) = member {
            let root = PathBuf::from(format!("/proc/{}/root", self.members[member].id()));
            let at = root.join(self.below(member).join("etcd").strip_prefix("/").unwrap());
            fsfreeze("--freeze", &at);
            self.frozen = Some(at);
        }
    }

    pub(crate) fn start_member(&mut self, host: &'static str) {
        let at = |host: &str, port: u16| format!("http://{}:{port}", address(host));
        let all: Vec<_> = HOSTS.iter().map(|host| format!("{host}={}", at(host, 2380))).collect();
        let log = self.log(host, "etcd.log");
        let mut command = self.command(host, &format!("etcd-{host}"), if self.has_disks { "unshare" } else { "etcd" });
        if self.has_disks {
            command.args(["--mount", "sh", "-c", "mount -o loop \"$0\" \"$1\" && shift && exec \"$@\""]);
            command.arg(self.disk(host)).arg(self.below(host).join("etcd")).arg("etcd");
        }
        let child = command
            // Without --pre-vote, which is off in etcd 3.4, a member that comes back unseats the leader.
            .args([
                "--name",
                host,
                "--log-level",
                "error",
                "--auto-compaction-retention",
                "1h",
                "--pre-vote",
                "--data-dir",
            ])
            .arg(self.below(host).join("etcd").join("data"))
            .args(["--listen-client-urls", &at(host, 2379), "--advertise-client-urls", &at(host, 2379)])
            .args(["--listen-peer-urls", &at(host, 2380), "--initial-advertise-peer-urls", &at(host, 2380)])
            .args(["--initial-cluster", &all.join(",")])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members.insert(host, child);
    }

    fn write_file(&self, host: &str, by: &SigningKey) {
        // Its own member first.
        let others = HOSTS.iter().filter(|other| **other != host);
        let endpoints: Vec<_> =
            [&host].into_iter().chain(others).map(|host| format!("\"http://{}:2379\"", address(host))).collect();
        let file = format!(
            "cluster = \"net\"\nname = \"{host}\"\nlease = \"{LEASE}s\"\nsettle = \"{}s\"\nlisten = \"tcp://{}:{MESH}\"\n\
             [store]\nendpoints = [{}]\n[env]\nHOSTS_NET_LINES = \"{}\"\n",
            2 * LEASE,
            address(host),
            endpoints.join(", "),
            self.observer.path().display()
        );
        fs::create_dir_all(self.below(host)).unwrap();
        fs::write(self.below(host).join("host.toml"), file).unwrap();
        let curve = draw_curve().unwrap();
        let certificate =
            Certificate { cluster: "net".to_owned(), name: host.to_owned(), public: curve.public.clone(), serial: 1 };
        let keys = Keys { cert: certificate.sign(by).unwrap(), curve, signing: by.clone(), also: None };
        let key = self.below(host).join("host.key");
        fs::write(&key, keys.text()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn start_host(&mut self, host: &'static str) {
        let log = self.log(host, "host.log");
        let mut command = self.command(host, host, TREEVISOR);
        command.args(["host", "run", "--file"]).arg(self.below(host).join("host.toml"));
        let child = self.at(host, &mut command).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.hosts.insert(host, child);
    }

    fn at<'a>(&self, host: &str, command: &'a mut Command) -> &'a mut Command {
        command
            .env("TREEVISOR_RUNTIME_DIR", self.below(host).join("run"))
            .env("TREEVISOR_STATE_DIR", self.below(host).join("state"))
    }

    fn tool(&self, host: &str, words: &[&str]) -> Output {
        self.at(host, Command::new(TREEVISOR).args(words)).stdin(Stdio::null()).output().unwrap()
    }

    fn deploy(&self) {
        let program = std::env::current_exe().unwrap();
        let worker = |name: &str| {
            format!(
                "name = \"{name}\"\ncommand = [{:?}, \"worker\", \"--exact\", \"--test-threads=1\"]\n",
                program.display().to_string()
            )
        };
        // One right below the root and one deeper, each by a way of its own to its end; and one that may run on another
        // host.
        let text = format!(
            "name = \"shop\"\ncontainment = \"cgroup\"\nintensity = 100\n\
             [[child]]\n{}[[child]]\nname = \"below\"\n[[child.child]]\n{}\
             [[child]]\nname = \"db\"\nintensity = 100\nplacement = [\"c\", \"b\", \"a\"]\n[[child.child]]\n{}",
            worker("near"),
            worker("far"),
            worker("w")
        );
        let file = self.directory.path().join("shop.toml");
        fs::write(&file, text).unwrap();
        let output = self.tool(HOSTS[0], &["deploy", file.to_str().unwrap()]);
        assert!(output.status.success(), "deploy: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether each host is seen live by each: its agent is there, has a lease, and there is a link to it.
    pub(crate) fn all_live(&self) -> bool {
        HOSTS.iter().all(|host| {
            let output = self.tool(host, &["hosts", "--json"]);
            let Ok(view) = serde_json::from_slice::<Value>(&output.stdout) else { return false };
            let Some(hosts) = view["hosts"].as_array() else { return false };
            let is_of_use = |other: &&Value| {
                let linked = other["name"] == *host || other["link"] == "up";
                other["state"] == "live" && other["cgroup"] == true && linked
            };
            hosts.iter().filter(is_of_use).count() == HOSTS.len()
        })
    }

    /// The host whose member leads the store.
    pub(crate) fn leader(&self) -> Option<&'static str> {
        HOSTS.into_iter().find(|host| {
            let status = self.net.ask_store(host, "/v3/maintenance/status", "{}");
            status.is_some_and(|status| {
                status["leader"] == status["header"]["member_id"] && status["leader"] != Value::Null
            })
        })
    }

    /// Sends a signal to some of a host's processes.
    pub(crate) fn signal(&self, host: &str, part: Part, signal: i32) {
        let mut reached = 0;
        for pid in self.group(host).members().unwrap() {
            let Ok(bytes) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let program = Path::new(&*words[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let verb = words.get(1).map(|word| word.to_string()).unwrap_or_default();
            let is = match part {
                Part::Agent => program == "treevisor-host" && verb == "agent",
                Part::Fence => program == "treevisor-host" && verb == "fence",
                Part::Root => program == "treevisor" && verb == "start",
                Part::Placed => {
                    program == "treevisor" && verb == "node" && words.get(2).is_some_and(|path| path == "/db")
                }
                Part::AllButWorkers => program.starts_with("treevisor"),
            };
            if is && let Ok(process) = ProcessHandle::of(pid) {
                reached += usize::from(process.signal(signal).is_ok());
            }
        }
        assert!(reached > 0, "there is no {part:?} on {host}: {}", self.logs());
    }

    /// Sends a signal to a member of the store; SIGKILL is waited for.
    pub(crate) fn signal_member(&mut self, host: &str, signal: i32) {
        let child = self.members.get_mut(host).expect("a member");
        ProcessHandle::of(child.id()).unwrap().signal(signal).unwrap();
        if signal == libc::SIGKILL {
            child.wait().unwrap();
        }
    }

    /// Kills all processes of a host at once, and waits until they are gone.
    pub(crate) fn kill_host(&mut self, host: &str) {
        let group = self.group(host);
        assert!(
            until(PATIENCE, || {
                let _ = group.kill();
                !group.populated()
            }),
            "what runs on {host} does not die"
        );
        self.hosts.get_mut(host).expect("a host").wait().unwrap();
    }

    /// What all hosts have told, the end of it.
    pub(crate) fn logs(&self) -> String {
        HOSTS.iter().map(|host| self.logs_of(host)).collect()
    }

    /// The same of one.
    pub(crate) fn logs_of(&self, host: &str) -> String {
        let mut text = String::new();
        for name in ["etcd.log", "host.log"] {
            let log = fs::read_to_string(self.below(host).join(name)).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            text.push_str(&format!("\n--- {host} {name}\n"));
            lines.iter().rev().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A process that waits for a disk does not die.
        if self.frozen.is_some() {
            self.freeze_disk(None);
        }
        let Some(tree) = self.tree.take() else { return };
        let root = tree.root();
        let empty = until(PATIENCE, || {
            let _ = root.kill();
            !root.populated()
        });
        for child in self.members.values_mut().chain(self.hosts.values_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        tree.remove();
        assert!(empty || std::thread::panicking(), "something is left");
    }
}
