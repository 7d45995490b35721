//! Gates: which peers may connect to a socket over `ipc://`, and how long each one's messages may be, decided by the
//! program.
//!
//! libzmq has a filter of users (`ZMQ_IPC_FILTER_UID`), which is copied when a socket is bound and cannot be changed
//! afterwards; it does not count connections; and it holds a message until its last part has come, however long that
//! is. A [`Gate`] is called instead: when a connection is accepted, when a peer has sent its routing id, and when a
//! connection ends. It is called by libzmq's own thread, so it must neither block nor panic.
//!
//! Install the gate before the socket is bound, and remove it after the socket is closed.

use libc::{c_char, c_int, c_void, size_t};
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An accepted connection, and the process at its other end by the kernel's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The file descriptor of the connection, which belongs to libzmq.
    pub fd: c_int,
    /// The user that has connected.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process id; 0 for a process of another PID namespace.
    pub pid: u32,
}

/// The limits of one message. The connection of a peer that exceeds them is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageMax {
    /// How many parts it may have.
    pub parts: usize,
    /// Bytes of all parts together.
    pub bytes: usize,
}

/// The decision about a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The connection is kept.
    Stay,
    /// The connection is closed, without a call of [`Gate::left`].
    Go,
    /// The connection is kept, and the one with this descriptor is closed instead.
    Instead(c_int),
}

/// The program's decisions about the connections of one socket.
pub trait Gate: Send + Sync {
    /// Decides on a new connection.
    fn admit(&self, peer: Peer) -> Admission;
    /// Called when an admitted connection ends, before its descriptor is closed.
    fn left(&self, fd: c_int);
    /// The limits for a peer with this routing id; `None` if the socket does not use routing ids.
    fn limits(&self, id: Option<&[u8]>) -> MessageMax;
    /// Called before [`Gate::left`] for a connection that has exceeded its limits.
    fn broken(&self);
}

/// Whether this libzmq calls gates: the system's library does not.
pub fn is_there() -> bool {
    cfg!(own_libzmq)
}

#[derive(Default)]
struct Gates {
    last: c_int,
    by_path: HashMap<PathBuf, c_int>,
    by_number: HashMap<c_int, Arc<dyn Gate>>,
}

fn gates() -> MutexGuard<'static, Option<Gates>> {
    static GATES: Mutex<Option<Gates>> = Mutex::new(None);
    GATES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs a gate for the socket that will be bound at `path`. Returns false if libzmq does not call gates.
pub fn put(path: &Path, gate: Arc<dyn Gate>) -> bool {
    if !is_there() {
        return false;
    }
    #[cfg(own_libzmq)]
    install();
    let mut gates = gates();
    let gates = gates.get_or_insert_default();
    gates.last += 1;
    gates.by_number.insert(gates.last, gate);
    if let Some(earlier) = gates.by_path.insert(path.to_owned(), gates.last) {
        gates.by_number.remove(&earlier);
    }
    true
}

/// Removes the gate of the socket at `path`. It is no longer called, not even for connections that are still open.
pub fn take_away(path: &Path) {
    let mut gates = gates();
    let Some(gates) = gates.as_mut() else { return };
    if let Some(number) = gates.by_path.remove(path) {
        gates.by_number.remove(&number);
    }
}

fn with(number: c_int) -> Option<Arc<dyn Gate>> {
    gates().as_ref()?.by_number.get(&number).cloned()
}

extern "C" fn find(path: *const c_char) -> c_int {
    // SAFETY: libzmq passes the text under which it has bound, which ends with a zero byte.
    let path = unsafe { CStr::from_ptr(path) };
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    gates().as_ref().and_then(|gates| gates.by_path.get(path).copied()).unwrap_or(0)
}

extern "C" fn admit(gate: c_int, fd: c_int, uid: u32, gid: u32, pid: i32) -> c_int {
    let peer = Peer { fd, uid, gid, pid: u32::try_from(pid).unwrap_or(0) };
    match with(gate).map_or(Admission::Stay, |gate| gate.admit(peer)) {
        Admission::Stay => 1,
        Admission::Go => 0,
        Admission::Instead(other) => {
            // Its engine runs in this very thread, which finds the end of the stream next and closes it. SAFETY: plain
            // numbers; `other` is open, for it was admitted and has not left.
            unsafe { libc::shutdown(other, libc::SHUT_RDWR) };
            1
        }
    }
}

extern "C" fn left(gate: c_int, fd: c_int) {
    if let Some(gate) = with(gate) {
        gate.left(fd);
    }
}

extern "C" fn limits(gate: c_int, id: *const c_void, size: size_t, parts: *mut size_t, bytes: *mut size_t) {
    let Some(gate) = with(gate) else { return };
    // SAFETY: libzmq passes a message's data and size, or a null pointer for none.
    let id = (!id.is_null()).then(|| unsafe { std::slice::from_raw_parts(id.cast::<u8>(), size) });
    let max = gate.limits(id);
    // SAFETY: both point to members of the calling session.
    unsafe {
        *parts = max.parts;
        *bytes = max.bytes;
    }
}

extern "C" fn broken(gate: c_int) {
    if let Some(gate) = with(gate) {
        gate.broken();
    }
}

#[cfg(own_libzmq)]
fn install() {
    unsafe extern "C" {
        fn treevisor_zmq_gate(
            find: extern "C" fn(*const c_char) -> c_int,
            admit: extern "C" fn(c_int, c_int, u32, u32, i32) -> c_int,
            left: extern "C" fn(c_int, c_int),
            limits: extern "C" fn(c_int, *const c_void, size_t, *mut size_t, *mut size_t),
            broken: extern "C" fn(c_int),
        );
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: the functions have the signatures that the other side declares, and exist as long as the program. It is
    // called once, and before a socket is bound that asks for them.
    ONCE.call_once(|| unsafe { treevisor_zmq_gate(find, admit, left, limits, broken) });
}
