//! The error numbers that libzmq's functions leave in `zmq_errno`.

pub use libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EBUSY, ECONNREFUSED, EFAULT, EHOSTUNREACH, EINPROGRESS, EINTR, EINVAL,
    EMFILE, EMSGSIZE, ENAMETOOLONG, ENETDOWN, ENOBUFS, ENODEV, ENOENT, ENOMEM, ENOTCONN, ENOTSOCK, ENOTSUP, EPROTO,
    EPROTONOSUPPORT,
};

use libc::c_int;

/// Where libzmq's own numbers begin: far from those of any system.
pub const ZMQ_HAUSNUMERO: c_int = 156_384_712;

// Stand-ins for systems without the number. On Linux none of them is ever returned; `zmq` names them all the same.

/// Stands in for `ENOTSUP`.
pub const ENOTSUP_ALT: c_int = ZMQ_HAUSNUMERO + 1;
/// Stands in for `EPROTONOSUPPORT`.
pub const EPROTONOSUPPORT_ALT: c_int = ZMQ_HAUSNUMERO + 2;
/// Stands in for `ENOBUFS`.
pub const ENOBUFS_ALT: c_int = ZMQ_HAUSNUMERO + 3;
/// Stands in for `ENETDOWN`.
pub const ENETDOWN_ALT: c_int = ZMQ_HAUSNUMERO + 4;
/// Stands in for `EADDRINUSE`.
pub const EADDRINUSE_ALT: c_int = ZMQ_HAUSNUMERO + 5;
/// Stands in for `EADDRNOTAVAIL`.
pub const EADDRNOTAVAIL_ALT: c_int = ZMQ_HAUSNUMERO + 6;
/// Stands in for `ECONNREFUSED`.
pub const ECONNREFUSED_ALT: c_int = ZMQ_HAUSNUMERO + 7;
/// Stands in for `EINPROGRESS`.
pub const EINPROGRESS_ALT: c_int = ZMQ_HAUSNUMERO + 8;
/// Stands in for `ENOTSOCK`.
pub const ENOTSOCK_ALT: c_int = ZMQ_HAUSNUMERO + 9;
/// Stands in for `EMSGSIZE`.
pub const EMSGSIZE_ALT: c_int = ZMQ_HAUSNUMERO + 10;

/// The call does not fit the state of the socket.
pub const EFSM: c_int = ZMQ_HAUSNUMERO + 51;
/// The transport does not go with the socket type.
pub const ENOCOMPATPROTO: c_int = ZMQ_HAUSNUMERO + 52;
/// The context was terminated.
pub const ETERM: c_int = ZMQ_HAUSNUMERO + 53;
/// No I/O thread is there.
pub const EMTHREAD: c_int = ZMQ_HAUSNUMERO + 54;
