//! The part of libzmq's C interface that crate `zmq` 0.10 uses, and a build of libzmq made for a supervisor.
//!
//! This crate takes the place of the published `zmq-sys` 0.12 through `[patch.crates-io]` in the workspace. Why it
//! exists, and how its libzmq differs, is in its README. The declarations follow `zmq.h` of libzmq 4.3.5, whose manual
//! (<https://libzmq.readthedocs.io>) describes each function and option; only those are declared that `zmq` names,
//! `ZMQ_USE_FD`, and those that a test here needs.

#![allow(non_camel_case_types)]

use libc::{c_char, c_int, c_long, c_short, c_void, size_t};

// libsodium is named by no declaration here; the `use` makes the linker see it.
#[cfg(feature = "curve")]
use libsodium_sys as _;

pub mod errno;
pub mod gate;

/// A descriptor as libzmq hands it out (`zmq_fd_t`).
pub type RawFd = c_int;

/// A message; its content is opaque.
///
/// It must be initialised by one of the `zmq_msg_init` functions and must not be copied bytewise afterwards.
#[repr(C)]
// The alignment of a pointer, which `zmq.h` asks for by an attribute.
#[cfg_attr(target_pointer_width = "64", repr(align(8)))]
#[cfg_attr(target_pointer_width = "32", repr(align(4)))]
#[derive(Debug)]
pub struct zmq_msg_t {
    opaque: [u8; 64],
}

impl Default for zmq_msg_t {
    /// Room for a message, to be initialised.
    fn default() -> Self {
        Self { opaque: [0; 64] }
    }
}

/// What `zmq_poll` waits for: a socket, or a descriptor where `socket` is null.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct zmq_pollitem_t {
    /// The libzmq socket, or null.
    pub socket: *mut c_void,
    /// The descriptor to wait for when there is no socket.
    pub fd: RawFd,
    /// The events to wait for.
    pub events: c_short,
    /// The events that have occurred.
    pub revents: c_short,
}

/// Frees the data that a message was made of without copying; libzmq may call it from its own threads.
pub type zmq_free_fn = unsafe extern "C" fn(data: *mut c_void, hint: *mut c_void);

/// Declares constants of `zmq.h` by groups.
macro_rules! constants {
    ($($doc:literal { $($name:ident = $value:expr),+ $(,)? })+) => {
        $($(#[doc = $doc] pub const $name: u32 = $value;)+)+
    };
}

constants! {
    "An option of a context." { ZMQ_IO_THREADS = 1 }

    "A type of socket." {
        ZMQ_PAIR = 0, ZMQ_PUB = 1, ZMQ_SUB = 2, ZMQ_REQ = 3, ZMQ_REP = 4, ZMQ_DEALER = 5, ZMQ_ROUTER = 6,
        ZMQ_PULL = 7, ZMQ_PUSH = 8, ZMQ_XPUB = 9, ZMQ_XSUB = 10, ZMQ_STREAM = 11,
    }

    "An option of a socket." {
        ZMQ_AFFINITY = 4, ZMQ_ROUTING_ID = 5, ZMQ_SUBSCRIBE = 6, ZMQ_UNSUBSCRIBE = 7, ZMQ_RATE = 8,
        ZMQ_RECOVERY_IVL = 9, ZMQ_SNDBUF = 11, ZMQ_RCVBUF = 12, ZMQ_RCVMORE = 13, ZMQ_FD = 14, ZMQ_EVENTS = 15,
        ZMQ_TYPE = 16, ZMQ_LINGER = 17, ZMQ_RECONNECT_IVL = 18, ZMQ_BACKLOG = 19, ZMQ_RECONNECT_IVL_MAX = 21,
        ZMQ_MAXMSGSIZE = 22, ZMQ_SNDHWM = 23, ZMQ_RCVHWM = 24, ZMQ_MULTICAST_HOPS = 25, ZMQ_RCVTIMEO = 27,
        ZMQ_SNDTIMEO = 28, ZMQ_LAST_ENDPOINT = 32, ZMQ_ROUTER_MANDATORY = 33, ZMQ_TCP_KEEPALIVE = 34,
        ZMQ_TCP_KEEPALIVE_CNT = 35, ZMQ_TCP_KEEPALIVE_IDLE = 36, ZMQ_TCP_KEEPALIVE_INTVL = 37, ZMQ_IMMEDIATE = 39,
        ZMQ_XPUB_VERBOSE = 40, ZMQ_IPV6 = 42, ZMQ_MECHANISM = 43, ZMQ_PLAIN_SERVER = 44, ZMQ_PLAIN_USERNAME = 45,
        ZMQ_PLAIN_PASSWORD = 46, ZMQ_CURVE_SERVER = 47, ZMQ_CURVE_PUBLICKEY = 48, ZMQ_CURVE_SECRETKEY = 49,
        ZMQ_CURVE_SERVERKEY = 50, ZMQ_PROBE_ROUTER = 51, ZMQ_REQ_CORRELATE = 52, ZMQ_REQ_RELAXED = 53,
        ZMQ_CONFLATE = 54, ZMQ_ZAP_DOMAIN = 55, ZMQ_ROUTER_HANDOVER = 56, ZMQ_TOS = 57, ZMQ_IPC_FILTER_PID = 58,
        ZMQ_IPC_FILTER_UID = 59, ZMQ_IPC_FILTER_GID = 60, ZMQ_GSSAPI_SERVER = 62, ZMQ_GSSAPI_PRINCIPAL = 63,
        ZMQ_GSSAPI_SERVICE_PRINCIPAL = 64, ZMQ_GSSAPI_PLAINTEXT = 65, ZMQ_HANDSHAKE_IVL = 66, ZMQ_SOCKS_PROXY = 68,
        ZMQ_XPUB_WELCOME_MSG = 72, ZMQ_INVERT_MATCHING = 74, ZMQ_HEARTBEAT_IVL = 75, ZMQ_HEARTBEAT_TTL = 76,
        ZMQ_HEARTBEAT_TIMEOUT = 77, ZMQ_CONNECT_TIMEOUT = 79, ZMQ_USE_FD = 89,
    }

    "A flag of sending or receiving." { ZMQ_DONTWAIT = 1, ZMQ_SNDMORE = 2 }

    "What `ZMQ_EVENTS` and `zmq_poll` report." { ZMQ_POLLIN = 1, ZMQ_POLLOUT = 2, ZMQ_POLLERR = 4 }

    "An event that a monitor reports." {
        ZMQ_EVENT_CONNECTED = 0x0001, ZMQ_EVENT_CONNECT_DELAYED = 0x0002, ZMQ_EVENT_CONNECT_RETRIED = 0x0004,
        ZMQ_EVENT_LISTENING = 0x0008, ZMQ_EVENT_BIND_FAILED = 0x0010, ZMQ_EVENT_ACCEPTED = 0x0020,
        ZMQ_EVENT_ACCEPT_FAILED = 0x0040, ZMQ_EVENT_CLOSED = 0x0080, ZMQ_EVENT_CLOSE_FAILED = 0x0100,
        ZMQ_EVENT_DISCONNECTED = 0x0200, ZMQ_EVENT_MONITOR_STOPPED = 0x0400,
        ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL = 0x0800, ZMQ_EVENT_HANDSHAKE_SUCCEEDED = 0x1000,
        ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL = 0x2000, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH = 0x4000,
        ZMQ_EVENT_ALL = 0xFFFF,
    }
}

// `zmq` compares these with a `c_int`, not with a `u32` as the others.
/// The security mechanism: none.
pub const ZMQ_NULL: c_int = 0;
/// The security mechanism: name and password in the clear.
pub const ZMQ_PLAIN: c_int = 1;
/// The security mechanism: elliptic curves.
pub const ZMQ_CURVE: c_int = 2;
/// The security mechanism: Kerberos.
pub const ZMQ_GSSAPI: c_int = 3;

unsafe extern "C" {
    pub fn zmq_errno() -> c_int;
    pub fn zmq_strerror(number: c_int) -> *const c_char;
    pub fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
    pub fn zmq_has(capability: *const c_char) -> c_int;

    pub fn zmq_ctx_new() -> *mut c_void;
    pub fn zmq_ctx_term(context: *mut c_void) -> c_int;
    pub fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int;
    pub fn zmq_ctx_get(context: *mut c_void, option: c_int) -> c_int;

    pub fn zmq_msg_init(message: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_init_size(message: *mut zmq_msg_t, size: size_t) -> c_int;
    pub fn zmq_msg_init_data(
        message: *mut zmq_msg_t,
        data: *mut c_void,
        size: size_t,
        free: Option<zmq_free_fn>,
        hint: *mut c_void,
    ) -> c_int;
    pub fn zmq_msg_send(message: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_recv(message: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_close(message: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_data(message: *mut zmq_msg_t) -> *mut c_void;
    pub fn zmq_msg_size(message: *const zmq_msg_t) -> size_t;
    pub fn zmq_msg_more(message: *const zmq_msg_t) -> c_int;
    pub fn zmq_msg_gets(message: *const zmq_msg_t, property: *const c_char) -> *const c_char;

    pub fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    pub fn zmq_close(socket: *mut c_void) -> c_int;
    pub fn zmq_setsockopt(socket: *mut c_void, option: c_int, value: *const c_void, size: size_t) -> c_int;
    pub fn zmq_getsockopt(socket: *mut c_void, option: c_int, value: *mut c_void, size: *mut size_t) -> c_int;
    pub fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_unbind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_disconnect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_recv(socket: *mut c_void, buffer: *mut c_void, size: size_t, flags: c_int) -> c_int;
    pub fn zmq_socket_monitor(socket: *mut c_void, endpoint: *const c_char, events: c_int) -> c_int;

    pub fn zmq_poll(items: *mut zmq_pollitem_t, count: c_int, timeout: c_long) -> c_int;
    pub fn zmq_proxy(frontend: *mut c_void, backend: *mut c_void, capture: *mut c_void) -> c_int;
    pub fn zmq_proxy_steerable(
        frontend: *mut c_void,
        backend: *mut c_void,
        capture: *mut c_void,
        control: *mut c_void,
    ) -> c_int;

    pub fn zmq_z85_encode(to: *mut c_char, data: *const u8, size: size_t) -> *mut c_char;
    pub fn zmq_z85_decode(to: *mut u8, text: *const c_char) -> *mut u8;
    pub fn zmq_curve_keypair(public_key: *mut c_char, secret_key: *mut c_char) -> c_int;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_size_that_libzmq_writes() {
        assert_eq!(size_of::<zmq_msg_t>(), 64);
        assert_eq!(align_of::<zmq_msg_t>(), align_of::<*mut c_void>());
    }

    #[test]
    fn the_library_is_new_enough_and_speaks_ipc() {
        let (mut major, mut minor, mut patch) = (0, 0, 0);
        // SAFETY: the three pointers are valid for writing; the text ends with a zero byte.
        let ipc = unsafe {
            zmq_version(&mut major, &mut minor, &mut patch);
            zmq_has(c"ipc".as_ptr())
        };
        assert!((major, minor, patch) >= (4, 3, 4), "{major}.{minor}.{patch}");
        assert_eq!(ipc, 1);
    }

    #[test]
    fn curve_is_there_exactly_when_asked_for() {
        // The system's library may have it either way.
        if std::env::var_os("ZMQ_SYS_SYSTEM").is_none() {
            // SAFETY: the text ends with a zero byte.
            assert_eq!(unsafe { zmq_has(c"curve".as_ptr()) } == 1, cfg!(feature = "curve"));
        }
    }

    #[test]
    fn the_kernel_is_asked_who_a_peer_is() {
        // SAFETY: the handles are used while they live and given back in order; the option's value is a valid
        // pointer to as many bytes as are named.
        unsafe {
            let context = zmq_ctx_new();
            let socket = zmq_socket(context, ZMQ_ROUTER as c_int);
            let uid: libc::uid_t = libc::getuid();
            let done = zmq_setsockopt(socket, ZMQ_IPC_FILTER_UID as c_int, (&raw const uid).cast(), size_of_val(&uid));
            assert_eq!(done, 0, "this libzmq was built without SO_PEERCRED");
            assert_eq!(zmq_close(socket), 0);
            assert_eq!(zmq_ctx_term(context), 0);
        }
    }
}
