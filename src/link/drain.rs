//! The rule about libzmq's file descriptor, and the calls that every socket is used through.
//!
//! A libzmq socket has a descriptor that becomes readable when *something* has happened to the socket. It signals
//! changes, not states, and any use of the socket, even a send, may consume the signal: then messages wait although the
//! descriptor is not readable. A loop that relies on the descriptor alone will sooner or later sleep while messages
//! wait; in a measurement this happened after some 100,000 messages. Level-triggered or edge-triggered makes no
//! difference. Hence the rule:
//!
//! > **Call [`has_input`] as the last thing before every sleep. If it returns true, do not sleep.**
//!
//! Between the result "false" and the sleep nothing may use the socket. If a message arrives in between, the descriptor
//! becomes readable and the sleep ends at once, because the call has consumed all earlier changes.
//!
//! A signal handler on the same thread interrupts these calls; [`retry`] repeats them. A call that was interrupted has
//! neither sent nor received anything.

use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::time::Duration;

/// Repeats a call while a signal handler interrupts it.
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
    // Fails only on a closed socket, and this one is open.
    retry(|| socket.get_events()).is_ok_and(|events| events.contains(zmq::POLLIN))
}

/// Receives one message, if one waits, and passes its frames to `each`, together with their index.
///
/// A message is always taken whole: when `each` returns `Break`, the rest of it is discarded. Returns the number of
/// frames, or `None` if no message waits.
pub(super) fn receive(
    socket: &zmq::Socket,
    mut each: impl FnMut(usize, &mut zmq::Message) -> ControlFlow<()>,
) -> Option<usize> {
    let mut frame = zmq::Message::new();
    let mut wanted = ControlFlow::Continue(());
    let mut frames = 0;
    loop {
        // libzmq delivers a message only once all of it has arrived, so an error after the first frame cannot happen
        // while the socket exists. If it did, the message would be useless, and there is nothing to wait for.
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

/// Sends the frames as one message, without waiting. Either all of them are queued or none.
///
/// # Errors
/// `EAGAIN` if the queue is full, `EHOSTUNREACH` if the peer that the first frame names is not connected.
pub(super) fn send<'a>(socket: &zmq::Socket, frames: impl IntoIterator<Item = &'a [u8]>) -> zmq::Result<()> {
    let mut frames = frames.into_iter().peekable();
    let mut is_first = true;
    while let Some(frame) = frames.next() {
        let more = if frames.peek().is_some() { zmq::SNDMORE } else { 0 };
        // libzmq looks at the queue at a message's first frame only. A later frame fails only if the connection ends in
        // between, and only on a socket with ZMQ_IMMEDIATE.
        if let Err(error) = retry(|| socket.send(frame, zmq::DONTWAIT | more)) {
            if !is_first && more != 0 {
                // libzmq drops all frames up to a last one now (lb.cpp): without this one, the next message.
                let _ = retry(|| socket.send("", zmq::DONTWAIT));
            }
            return Err(error);
        }
        is_first = false;
    }
    Ok(())
}

/// The result of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// A message can be received.
    Input,
    /// The socket has reconnected: messages in transit on the former connection may be lost.
    Reconnected,
    /// The watched output has no reader any more.
    OutputClosed,
    /// None of these within the limit.
    Nothing,
}

/// Waits up to `limit` for a message, for an event on `beside`, or until `output` has no reader. An event on `beside`
/// is returned as [`Waited::Reconnected`].
pub(super) fn wait_input(
    socket: &zmq::Socket,
    beside: Option<&zmq::Socket>,
    output: Option<RawFd>,
    limit: Duration,
) -> Waited {
    // The wait is split into slices: a signal handler (for instance when a terminal is resized) costs at most one slice
    // and does not end the wait, and no clock has to be read to know what is left.
    const SLICE: Duration = Duration::from_millis(250);
    let mut left = limit;
    loop {
        let slice = left.min(SLICE);
        // Rounded up, or the last fraction of a millisecond would be spent in a busy loop.
        let millis = slice.as_nanos().div_ceil(1_000_000) as i64;
        let mut items = vec![socket.as_poll_item(zmq::POLLIN)];
        items.extend(beside.map(|socket| socket.as_poll_item(zmq::POLLIN)));
        // Only the end of the output matters; poll(2) reports that without being asked.
        items.extend(output.map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLERR)));
        match zmq::poll(&mut items, millis) {
            Ok(0) | Err(zmq::Error::EINTR) => left -= slice,
            Ok(_) if items[0].is_readable() => return Waited::Input,
            Ok(_) if beside.is_some() && items[1].is_readable() => return Waited::Reconnected,
            Ok(_) => return Waited::OutputClosed,
            // As in `has_input`: only on a closed socket.
            Err(_) => return Waited::Nothing,
        }
        if left.is_zero() {
            return if has_input(socket) { Waited::Input } else { Waited::Nothing };
        }
    }
}
