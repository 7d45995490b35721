//! Functions of libzmq without a safe call in the crate `zmq`: accepting from a socket that is listening already, and
//! ending socket monitoring.
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::ptr;

#[cfg(test)]
mod tests;

/// Binds a libzmq socket to the endpoint at which `listener` listens: libzmq accepts from a duplicate (`ZMQ_USE_FD`),
/// which it closes with the socket. No file is bound or removed.
///
/// # Errors
/// If no descriptor is left; and libzmq's.
pub(crate) fn bind_to(socket: &mut zmq::Socket, endpoint: &str, listener: impl AsFd) -> io::Result<()> {
    // Close-on-exec, as all descriptors of libzmq.
    let copy: OwnedFd = listener.as_fd().try_clone_to_owned()?;
    let number = copy.as_raw_fd();
    // SAFETY: the socket is open as long as it is borrowed; libzmq reads as many bytes as are named here, and keeps
    // none of the pointers. The descriptor is open, and libzmq's alone from a successful bind on.
    let set = unsafe {
        let (value, size) = ((&raw const number).cast(), mem::size_of_val(&number));
        zmq_sys::zmq_setsockopt(socket.as_mut_ptr(), zmq_sys::ZMQ_USE_FD as i32, value, size)
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(endpoint).map_err(|error| io::Error::from_raw_os_error(error.to_raw()))?;
    let _ = copy.into_raw_fd();
    Ok(())
}

/// Ends the monitoring that `zmq_socket_monitor(3)` has begun, if any. Call it while the socket that receives the
/// events is still open. libzmq's thread blocks for ever when it reports an event to a socket that is closed, and with
/// it all sockets of the context; and it reports events until the monitored socket is gone, which is some time after
/// that was closed.
pub(crate) fn report_no_more(socket: &mut zmq::Socket) {
    // SAFETY: the socket is open as long as it is borrowed; without an endpoint no pointer is read.
    let ended = unsafe { zmq_sys::zmq_socket_monitor(socket.as_mut_ptr(), ptr::null(), 0) };
    debug_assert_eq!(ended, 0, "a socket that is open");
}
