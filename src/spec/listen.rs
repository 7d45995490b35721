//! Sockets that a supervisor opens for its workers and keeps open across their restarts (socket activation).
//!
//! An address is numeric, never a name that would have to be looked up: see [`probe`](super::probe).

use super::account::Account;
use super::probe::{Host, NoServer, Server};
use crate::ids::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The most sockets of one worker.
pub const LISTEN_MAX: usize = 13;

/// The default of `backlog`, the most connections that wait to be accepted. It is the kernel's default limit.
pub const BACKLOG: u32 = 4096;

/// A socket that the supervisor of a worker opens once and hands to each of its incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Listen {
    /// Where it listens. A supervisor opens one socket for an address, however many of its workers have it.
    pub address: Address,
    /// Its name in `LISTEN_FDNAMES`; by default the worker's.
    pub name: Option<String>,
    /// How many connections may wait to be accepted.
    pub backlog: u32,
    /// File mode of a UNIX socket; `None` is what the umask leaves.
    pub mode: Option<u32>,
    /// Owner of a UNIX socket, by name or number.
    pub user: Option<String>,
    /// Group of a UNIX socket, by name or number; by default the user's own.
    pub group: Option<String>,
    /// The ids of `user` and `group` on this system, filled in when a file is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Box<Account>>,
    /// Whether other programs may listen at the same address, SO_REUSEPORT.
    pub reuse_port: bool,
}

impl Listen {
    /// A socket with defaults for everything but its address.
    pub fn new(address: Address) -> Listen {
        let (name, mode, user, group, account) = (None, None, None, None, None);
        Listen { address, name, backlog: BACKLOG, mode, user, group, account, reuse_port: false }
    }
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Address {
    /// TCP, at an address of this machine and a port.
    Tcp(SocketAddr),
    /// A UNIX stream socket at a path; a relative one begins where the tree was started.
    Unix(PathBuf),
    /// A UNIX stream socket with a name that is no file, unix(7).
    Abstract(String),
}

/// Why a text is no address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAddress {
    /// What is wrong with the text.
    pub what: String,
    /// What would be right.
    pub hint: &'static str,
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.hint)
    }
}

impl std::error::Error for NoAddress {}

/// Most bytes of a path that the kernel accepts, unix(7); one less for an abstract name.
const PATH_MAX: usize = 107;

impl Address {
    /// Reads `tcp://address:port`, `unix:path`, or `unix:@name`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Address, NoAddress> {
        const RIGHT: &str = "write \"tcp://127.0.0.1:8080\", \"tcp://[::]:8080\" or \"unix:/run/app.sock\"";
        let shown = || format!("\"{text}\" is no address to listen at");
        if let Some(server) = text.strip_prefix("tcp://") {
            return match Server::parse(server, None) {
                Ok(Server { host: Host::Address(address), port }) => Ok(Address::Tcp(SocketAddr::new(address, port))),
                Ok(Server { host: Host::Local, port }) => {
                    Ok(Address::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)))
                }
                Err(NoServer::Lookup(name)) => Err(NoAddress {
                    what: format!("\"{name}\" would have to be looked up, and a socket is opened without that"),
                    hint: "write an address of this machine, or 0.0.0.0 or [::] for all of them",
                }),
                Err(NoServer::Form) if server.starts_with([':', '*']) => Err(NoAddress {
                    what: shown(),
                    hint: "write 0.0.0.0:PORT for all addresses of IPv4, [::]:PORT for those of IPv6 too",
                }),
                Err(NoServer::Form) => Err(NoAddress { what: shown(), hint: RIGHT }),
            };
        }
        let Some(path) = text.strip_prefix("unix:") else { return Err(NoAddress { what: shown(), hint: RIGHT }) };
        let path = path.strip_prefix("//").unwrap_or(path);
        let (name, is_abstract) = path.strip_prefix('@').map_or((path, false), |name| (name, true));
        if name.is_empty() || name.contains('\0') || !is_abstract && name.ends_with('/') {
            return Err(NoAddress { what: shown(), hint: RIGHT });
        }
        if path.len() > PATH_MAX {
            let what = format!("this path has {} bytes, and that of a socket has {PATH_MAX} at most", path.len());
            return Err(NoAddress { what, hint: "choose a shorter one, such as \"unix:/run/app.sock\"" });
        }
        Ok(if is_abstract { Address::Abstract(name.to_owned()) } else { Address::Unix(name.into()) })
    }

    /// Whether sockets at both addresses conflict, unless both have SO_REUSEPORT.
    pub(super) fn overlaps(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Tcp(one), Address::Tcp(other)) => {
                let any = one.ip().is_unspecified() || other.ip().is_unspecified();
                one.port() == other.port() && (one.ip() == other.ip() || any)
            }
            _ => self == other,
        }
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        matches!(self, Address::Unix(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Address, NoAddress> {
        Address::parse(&text)
    }
}

/// The names of a worker's sockets for `LISTEN_FDNAMES`. A socket without a name has the worker's; for a copy of a
/// `count`, the name in the file, without the number.
pub fn names(sockets: &[Listen], worker: &Name, counted: bool) -> String {
    let worker = worker.as_str();
    let base = worker.rsplit_once('-').filter(|(_, number)| counted && number.parse::<u32>().is_ok());
    let worker = base.map_or(worker, |(base, _)| base);
    sockets.iter().map(|listen| listen.name.as_deref().unwrap_or(worker)).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_what_is_shown() {
        for (text, shown) in [
            ("tcp://127.0.0.1:8080", "tcp://127.0.0.1:8080"),
            ("tcp://localhost:1", "tcp://127.0.0.1:1"),
            ("tcp://[::]:80", "tcp://[::]:80"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
            ("unix:app.sock", "unix:app.sock"),
            ("unix:@app", "unix:@app"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(Address::parse(shown), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_told_with_what_would_be_right() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, says) in [
            ("8080", "is no address to listen at: write \"tcp://127.0.0.1:8080\""),
            ("tcp://127.0.0.1", "is no address"),
            ("tcp://127.0.0.1:0", "is no address"),
            ("tcp://:80", "0.0.0.0:PORT"),
            ("tcp://*:80", "[::]:PORT"),
            ("tcp://db.example:80", "\"db.example\" would have to be looked up"),
            ("udp://127.0.0.1:80", "is no address"),
            ("unix:", "is no address"),
            ("unix:@", "is no address"),
            ("unix:/run/", "is no address"),
            (&*long, "108 bytes"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_socket_without_a_name_is_called_as_its_worker_whatever_the_number_of_that() {
        let one = Listen::new(Address::parse("tcp://127.0.0.1:1").unwrap());
        let other = Listen { name: Some("admin".into()), ..one.clone() };
        let name = |text: &str| Name::parse(text).unwrap();
        assert_eq!(names(&[one.clone(), other.clone()], &name("web-2"), true), "web:admin");
        assert_eq!(names(std::slice::from_ref(&one), &name("web-2"), false), "web-2");
        assert_eq!(names(&[other, one], &name("web-a"), true), "admin:web-a");
    }
}
