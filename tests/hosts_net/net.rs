//! Three hosts as network namespaces on a bridge, which has one of its own. Cuts are made with neighbours that are not
//! there: nothing but ip(8) is needed, and nothing of them is seen by the processes, as a firewall's refusals would be.
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub(crate) const HOSTS: [&str; 3] = ["a", "b", "c"];

/// The address of a host.
pub(crate) fn address(host: &str) -> String {
    let number = HOSTS.iter().position(|name| *name == host).expect("one of the three") + 1;
    format!("10.78.0.{number}")
}

/// No card has it.
const NOWHERE: &str = "02:00:00:ff:ff:ff";

pub(crate) struct Net {
    prefix: String,
}

/// Runs ip(8). The words are split at blanks.
fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Net {
    /// # Errors
    /// Why there can be no namespaces here. Whatever fails after the first is a fault of the test.
    pub(crate) fn new() -> Result<Net, String> {
        let net = Net { prefix: format!("tv{}", std::process::id()) };
        ip(&format!("netns add {}", net.namespace("-")))?;
        net.lay_out();
        Ok(net)
    }

    fn lay_out(&self) {
        let bridge = self.namespace("-");
        let do_it = |words: String| ip(&words).unwrap();
        do_it(format!("-n {bridge} link add name br0 type bridge"));
        do_it(format!("-n {bridge} link set dev br0 up"));
        for host in HOSTS {
            let namespace = self.namespace(host);
            do_it(format!("netns add {namespace}"));
            do_it(format!("-n {bridge} link add name p{host} type veth peer name eth0 netns {namespace}"));
            do_it(format!("-n {bridge} link set dev p{host} master br0 up"));
            do_it(format!("-n {namespace} link set dev lo up"));
            do_it(format!("-n {namespace} address add {}/24 dev eth0", address(host)));
            do_it(format!("-n {namespace} link set dev eth0 up"));
        }
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    /// The file by which a process enters a host.
    pub(crate) fn file(&self, host: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(self.namespace(host))
    }

    pub(crate) fn link(&self, host: &str, up: bool) {
        let state = if up { "up" } else { "down" };
        ip(&format!("-n {} link set dev eth0 {state}", self.namespace(host))).unwrap();
    }

    /// What this host sends arrives nowhere.
    pub(crate) fn cut_out(&self, host: &str, cut: bool) {
        for other in HOSTS.into_iter().filter(|other| *other != host) {
            self.cut(host, other, cut);
        }
    }

    /// What is sent to this host does not arrive.
    pub(crate) fn cut_in(&self, host: &str, cut: bool) {
        for other in HOSTS.into_iter().filter(|other| *other != host) {
            self.cut(other, host, cut);
        }
    }

    fn cut(&self, from: &str, to: &str, cut: bool) {
        let (namespace, to) = (self.namespace(from), address(to));
        if cut {
            ip(&format!("-n {namespace} neigh replace {to} lladdr {NOWHERE} dev eth0 nud permanent")).unwrap();
        } else {
            ip(&format!("-n {namespace} neigh del {to} dev eth0")).unwrap();
        }
    }

    /// What the member of the store on this host answers to a question; `None` where it does not.
    pub(crate) fn ask_store(&self, host: &str, path: &str, body: &str) -> Option<serde_json::Value> {
        let namespace = File::open(self.file(host)).unwrap();
        let at: SocketAddr = format!("{}:2379", address(host)).parse().unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let ask = move || -> Option<serde_json::Value> {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let mut stream = TcpStream::connect_timeout(&at, Duration::from_millis(500)).ok()?;
            stream.set_read_timeout(Some(Duration::from_millis(1000))).unwrap();
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
        };
        // The namespace is that of a thread, which ends with the question.
        std::thread::spawn(ask).join().unwrap()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in HOSTS.into_iter().chain(["-"]) {
            let _ = ip(&format!("netns del {}", self.namespace(host)));
        }
    }
}
