//! Listening sockets that a supervisor holds for its workers, over their restarts.
//!
//! No connection is accepted here: connections wait in the kernel until a worker accepts them. A thread does all access
//! to socket files, with a time limit, since the file system may not answer.
use super::clock::Clock;
use super::disk;
use super::held_file::HeldFile;
use super::process::command_name;
use crate::error::{errno_words, plain};
use crate::files::{self, FileId};
use crate::spec::listen::{Address, Listen};
use crate::time::{Span, Time};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect, getsockopt, setsockopt, socket,
    sockopt,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// How long the holder of an address is searched for.
const LOOKING: Span = Span::from_millis(50);

/// A listening socket. Dropping it removes its file, unless that was replaced.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    file: Option<SocketFile>,
}

/// The file of a UNIX socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketFile {
    #[serde(with = "files::exact")]
    path: PathBuf,
    id: FileId,
}

/// Why a socket could not be opened or changed.
#[derive(Debug, Clone)]
pub struct ListenError {
    /// The errno; 0 if no system call failed.
    pub errno: i32,
    address: String,
    reason: String,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opening {}: {}", self.address, self.reason)
    }
}

impl std::error::Error for ListenError {}

/// Why an attempt failed: the errno, and an explanation.
type Refused = (i32, String);

impl Listener {
    /// Opens the socket. A socket file to which no process listens is replaced.
    ///
    /// # Errors
    /// Why it cannot listen there; if another process listens there, which one.
    pub fn open(wanted: &Listen) -> Result<Listener, ListenError> {
        let opened = match wanted.address.clone() {
            Address::Tcp(address) => open_tcp(address, wanted),
            Address::Abstract(name) => open_abstract(&name, wanted.backlog),
            Address::Unix(path) => {
                let (file, wanted) = (path.clone(), wanted.clone());
                aside(&path, move || open_file(&file, &wanted)).and_then(|opened| opened)
            }
        };
        opened.map_err(|refused| error(wanted, refused))
    }

    /// Takes over a socket that another image of this program has opened (hot upgrade), with the file from
    /// [`Listener::file`].
    pub fn go_on(socket: OwnedFd, file: Option<SocketFile>) -> Listener {
        Listener { socket, file }
    }

    /// The file of a UNIX socket that has one.
    pub fn file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
    }

    /// Applies the changeable settings of a spec to an open socket: backlog, `reuse_port`, owner and mode of the file.
    ///
    /// # Errors
    /// The setting that could not be changed.
    pub fn adjust(&self, wanted: &Listen) -> Result<(), ListenError> {
        let adjusted = listen(self.as_fd(), wanted.backlog).and_then(|()| match (&wanted.address, &self.file) {
            (Address::Tcp(_), _) => setsockopt(&self.socket, sockopt::ReusePort, &wanted.reuse_port).map_err(kernels),
            (Address::Unix(_), Some(SocketFile { path, id })) => {
                let (file, id, wanted) = (path.clone(), *id, wanted.clone());
                aside(path, move || if FileId::at(&file) == Some(id) { give(&file, id, &wanted) } else { Ok(()) })?
            }
            (Address::Unix(_) | Address::Abstract(_), _) => Ok(()),
        });
        adjusted.map_err(|refused| error(wanted, refused))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(SocketFile { path, id }) = self.file.take() else { return };
        let file = path.clone();
        let _ = disk::ask(&path, move || {
            // Another program may have replaced the file.
            if FileId::at(&file) == Some(id) {
                let _ = fs::remove_file(&file);
            }
        });
    }
}

fn error(wanted: &Listen, (errno, reason): Refused) -> ListenError {
    ListenError { errno, address: wanted.address.to_string(), reason }
}

fn kernels(errno: Errno) -> Refused {
    (errno as i32, errno_words(errno as i32))
}

fn systems(error: &io::Error) -> Refused {
    (error.raw_os_error().unwrap_or(0), plain(error))
}

/// Lets a thread access the file system of `path`.
fn aside<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    disk::ask(path, work).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => (libc::ETIMEDOUT, error.to_string()),
        _ => systems(&error),
    })
}

/// Makes the socket listen, or changes the backlog of one that listens already.
fn listen(socket: BorrowedFd<'_>, backlog: u32) -> Result<(), Refused> {
    // The kernel limits it to `net.core.somaxconn`. SAFETY: plain numbers.
    match unsafe { libc::listen(socket.as_raw_fd(), i32::try_from(backlog).unwrap_or(i32::MAX)) } {
        0 => Ok(()),
        _ => Err(kernels(Errno::last())),
    }
}

fn stream(family: AddressFamily) -> Result<OwnedFd, Refused> {
    // Blocking, as programs expect of inherited sockets.
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(kernels)
}

fn open_tcp(address: SocketAddr, wanted: &Listen) -> Result<Listener, Refused> {
    let socket = stream(if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 })?;
    let opened = (|| {
        // Connections in TIME_WAIT from a former process must not prevent binding.
        setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(kernels)?;
        if wanted.reuse_port {
            setsockopt(&socket, sockopt::ReusePort, &true).map_err(kernels)?;
        }
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).map_err(kernels)?;
        listen(socket.as_fd(), wanted.backlog)
    })();
    opened.map_err(|(errno, mut reason)| {
        match errno {
            libc::EADDRINUSE => match holder(address) {
                Some(pid) => reason.push_str(&format!("; {} listens there", named(pid))),
                None => reason.push_str("; `ss -tlnp` as root shows which process has it"),
            },
            libc::EACCES => reason.push_str("; a port below 1024 takes root or CAP_NET_BIND_SERVICE"),
            libc::EADDRNOTAVAIL => reason.push_str("; this machine has no such address"),
            _ => {}
        }
        (errno, reason)
    })?;
    Ok(Listener { socket, file: None })
}

fn open_abstract(name: &str, backlog: u32) -> Result<Listener, Refused> {
    let socket = stream(AddressFamily::Unix)?;
    let address = UnixAddr::new_abstract(name.as_bytes()).map_err(kernels)?;
    bind(socket.as_raw_fd(), &address).map_err(|errno| match (errno, listener_at(&address)) {
        (Errno::EADDRINUSE, Ok(Some(pid))) => (errno as i32, in_use(pid)),
        _ => kernels(errno),
    })?;
    listen(socket.as_fd(), backlog)?;
    Ok(Listener { socket, file: None })
}

/// A UNIX socket with a file. Connections are possible only once owner and mode of the file are set.
fn open_file(path: &Path, wanted: &Listen) -> Result<Listener, Refused> {
    let socket = stream(AddressFamily::Unix)?;
    let address = UnixAddr::new(path).map_err(kernels)?;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(|error| {
            let (errno, reason) = systems(&error);
            (errno, format!("making its directory {}: {reason}", directory.display()))
        })?;
    }
    if let Some(mode) = wanted.mode {
        // Before bind(2), so that the file never has more permissions than it should.
        nix::sys::stat::fchmod(&socket, nix::sys::stat::Mode::from_bits_truncate(mode)).map_err(kernels)?;
    }
    if let Err(errno) = bind(socket.as_raw_fd(), &address) {
        if errno != Errno::EADDRINUSE {
            return Err(kernels(errno));
        }
        remove_left(path, &address)?;
        bind(socket.as_raw_fd(), &address).map_err(kernels)?;
    }
    let id = FileId::at(path).ok_or((libc::ENOENT, "its file was removed at once".to_owned()))?;
    let listener = Listener { socket, file: Some(SocketFile { path: path.to_owned(), id }) };
    give(path, id, wanted)?;
    listen(listener.as_fd(), wanted.backlog)?;
    Ok(listener)
}

/// Sets owner and mode of a socket's file. The worker may own the directory, so another file may be at the path.
fn give(path: &Path, id: FileId, wanted: &Listen) -> Result<(), Refused> {
    if wanted.account.is_none() && wanted.mode.is_none() {
        return Ok(());
    }
    let failed = |doing: &str, error: &io::Error| {
        let (errno, reason) = systems(error);
        (errno, format!("{doing}: {reason}"))
    };
    let held = HeldFile::socket(path, Some(id)).map_err(|error| failed("looking at its file", &error))?;
    if let Some(account) = &wanted.account {
        let uid = wanted.user.as_ref().map(|_| account.uid);
        held.give(uid, Some(account.gid)).map_err(|error| failed("giving its file away", &error))?;
    }
    if let Some(mode) = wanted.mode {
        held.set_mode(mode).map_err(|error| failed("setting the mode of its file", &error))?;
    }
    Ok(())
}

/// Removes the file of a socket to which no process listens any more.
fn remove_left(path: &Path, address: &UnixAddr) -> Result<(), Refused> {
    let found = path.symlink_metadata().map_err(|error| systems(&error))?;
    if !found.file_type().is_socket() {
        return Err((
            libc::EADDRINUSE,
            "a file lies there that is no socket; remove it, or choose another path".into(),
        ));
    }
    match listener_at(address) {
        Ok(None) => files::remove(path).map_err(|error| systems(&error)),
        Ok(Some(pid)) => Err((libc::EADDRINUSE, in_use(pid))),
        Err(errno) => Err(kernels(errno)),
    }
}

/// The pid of the process that listens at a UNIX socket; `None` if none does, 0 if the process is not visible.
fn listener_at(address: &UnixAddr) -> nix::Result<Option<u32>> {
    let probe = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    match connect(probe.as_raw_fd(), address) {
        Ok(()) => {
            let peer = getsockopt(&probe, sockopt::PeerCredentials)?;
            Ok(Some(u32::try_from(peer.pid()).unwrap_or(0)))
        }
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(None),
        // Its listen queue is full, or it is a datagram socket.
        Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(Some(0)),
        Err(errno) => Err(errno),
    }
}

fn in_use(pid: u32) -> String {
    let holder = if pid == 0 { "another process".to_owned() } else { named(pid) };
    format!("{}; {holder} listens there", errno_words(libc::EADDRINUSE))
}

/// Describes a process in an error message.
fn named(pid: u32) -> String {
    match command_name(pid) {
        Some(name) => format!("process {pid} ({name})"),
        None => format!("process {pid}"),
    }
}

/// The pid of the process that listens at a TCP address, if it is visible and can be found in time.
fn holder(address: SocketAddr) -> Option<u32> {
    let clock = Clock::start();
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            listening(&table, address.port()).map(|inode| format!("socket:[{inode}]")).collect::<Vec<_>>()
        })
        .collect();
    if sockets.is_empty() {
        return None;
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        for descriptor in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let leads_to = fs::read_link(descriptor.path()).unwrap_or_default();
            if sockets.iter().any(|socket| leads_to.as_os_str() == socket.as_str()) {
                return Some(pid);
            }
        }
        if clock.now() > Time::ZERO + LOOKING {
            return None;
        }
    }
    None
}

/// The inodes of the sockets in a table of proc_net_tcp(5) that listen on this port.
fn listening(table: &str, port: u16) -> impl Iterator<Item = &str> {
    table.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, own_port) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == "0A" && u16::from_str_radix(own_port, 16) == Ok(port);
        listens.then(|| fields.get(9).copied()).flatten()
    })
}
