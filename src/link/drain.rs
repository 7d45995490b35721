//! The one rule about libzmq's descriptor, and the calls that every socket is used through.
//!
//! A libzmq socket has a descriptor that becomes readable when *something* has happened to the socket. It signals
//! changes, not of states, and any use of the socket (a send too) may swallow the change: then messages wait and the
//! descriptor stays silent. A loop that trusts the descriptor alone falls asleep on waiting messages sooner or later;
//! a measured one did so after some 100,000. Whether it is watched level-triggered or edge-triggered makes no
//! difference. Hence the rule:
//!
//! > **Ask [`has_input`] as the last thing before every sleep. If it returns true, do not sleep.**
//!
//! Between a "no" and the sleep nothing may touch the socket. If a message comes in just then, the descriptor is
//! readable and the sleep ends at once, since asking has taken note of all changes before.
//!
//! A signal handler that runs on the thread interrupts any of these calls; [`retry`] begins them again. Nothing has
//! been sent or received by a call that was interrupted.

use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::time::Duration;

/// Calls until the call was not interrupted by a signal handler.
pub(super) fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            done => return done,
        }
    }
}

/// Whether a message waits. See the module's rule.
pub(super) fn has_input(socket: &zmq::Socket) -> bool {
    // It fails only on a socket that is closed, and a socket that we hold is not.
    retry(|| socket.get_events()).is_ok_and(|events| events.contains(zmq::POLLIN))
}

/// Receives one message, if one waits, and hands its frames to `each`, together with the frame's place.
///
/// A message is taken whole, even when `each` returns `Break`: then the rest of it is thrown away. Returns the number
/// of frames, or `None` when no message waits.
pub(super) fn receive(
    socket: &zmq::Socket,
    mut each: impl FnMut(usize, &mut zmq::Message) -> ControlFlow<()>,
) -> Option<usize> {
    let mut frame = zmq::Message::new();
    let mut wanted = ControlFlow::Continue(());
    let mut frames = 0;
    loop {
        // libzmq shows a message once all of it is there. An error after the first frame is therefore impossible
        // as long as the socket exists; were it to come, the message would be worth nothing, and there is none to wait
        // for.
        retry(|| socket.recv(&mut frame, zmq::DONTWAIT)).ok()?;
        if wanted.is_continue() {
            wanted = each(frames, &mut frame);
        }
        frames += 1;
        if !frame.get_more() {
            return Some(frames);
        }
    }
}

/// Sends the frames as one message. All or none of them are queued; nothing waits.
///
/// # Errors
/// `EAGAIN` when the queue is full, `EHOSTUNREACH` when the peer that the first frame names is not there.
pub(super) fn send<'a>(socket: &zmq::Socket, frames: impl IntoIterator<Item = &'a [u8]>) -> zmq::Result<()> {
    let mut frames = frames.into_iter().peekable();
    while let Some(frame) = frames.next() {
        let more = if frames.peek().is_some() { zmq::SNDMORE } else { 0 };
        // libzmq looks at the queue at a message's first frame only. The later ones cannot fail: when the peer goes
        // away in between, libzmq drops them silently.
        retry(|| socket.send(frame, zmq::DONTWAIT | more))?;
    }
    Ok(())
}

/// How a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// A message is there.
    Input,
    /// The connection was made again: what was under way in the one before may be lost.
    Reconnected,
    /// The watched output has no reader any more.
    OutputClosed,
    /// None of these; the limit is over.
    Nothing,
}

/// Waits until a message is there or on `beside`, or the reader of `output` has left, at most `limit`. What has come on
/// `beside` is shown as [`Waited::Reconnected`].
pub(super) fn wait_input(
    socket: &zmq::Socket,
    beside: Option<&zmq::Socket>,
    output: Option<RawFd>,
    limit: Duration,
) -> Waited {
    // Time is counted in slices, so that a signal handler in the middle (for instance when a terminal is resized) does
    // not end the wait, and no clock has to be read to go on with what is left. A signal costs at most a slice.
    const SLICE: Duration = Duration::from_millis(250);
    let mut left = limit;
    loop {
        let slice = left.min(SLICE);
        // Rounded up, or the last fraction of a millisecond would be spent turning.
        let millis = slice.as_nanos().div_ceil(1_000_000) as i64;
        let mut items = vec![socket.as_poll_item(zmq::POLLIN)];
        items.extend(beside.map(|socket| socket.as_poll_item(zmq::POLLIN)));
        // Of the output only its end is of interest, and that is reported without being asked for.
        items.extend(output.map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLERR)));
        match zmq::poll(&mut items, millis) {
            Ok(0) | Err(zmq::Error::EINTR) => left -= slice,
            Ok(_) if items[0].is_readable() => return Waited::Input,
            Ok(_) if beside.is_some() && items[1].is_readable() => return Waited::Reconnected,
            Ok(_) => return Waited::OutputClosed,
            // As in `has_input`.
            Err(_) => return Waited::Nothing,
        }
        if left.is_zero() {
            return if has_input(socket) { Waited::Input } else { Waited::Nothing };
        }
    }
}
