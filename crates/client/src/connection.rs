//! One connection to a node: the bytes still to be written, and the reader of what the node sends.

use super::stream::{connect_now, send_now};
use super::zmtp::{self, Incoming};
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Most reads of one call, each up to a full buffer, so that a node that sends without end does not hold up a worker.
const READS_MAX: usize = 4;

/// No PONGs are sent while more bytes than this wait to be written: a node that does not read needs no answers.
const ANSWERS_MAX: usize = 256;

/// A non-blocking stream, with at most one batch of messages waiting to be written.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// Bytes to be written; those before `sent` have been written.
    out: Vec<u8>,
    sent: usize,
    incoming: Incoming,
}

impl Connection {
    /// Connects without waiting, or fails; greeting and READY are queued to be written first.
    pub(super) fn open(path: &Path) -> io::Result<Connection> {
        let stream = connect_now(path)?;
        let mut out = Vec::with_capacity(512);
        out.extend(zmtp::GREETING);
        out.extend(zmtp::READY);
        Ok(Connection { stream, out, sent: 0, incoming: Incoming::default() })
    }

    /// Queues a message. The caller must not let a long queue build up.
    pub(super) fn push(&mut self, frames: &[impl AsRef<[u8]>]) {
        zmtp::append_message(&mut self.out, frames);
    }

    /// Whether the node's half of the handshake has arrived, so that messages may be sent.
    pub(super) fn is_open(&self) -> bool {
        self.incoming.is_ready()
    }

    /// Whether the kernel has taken all queued bytes.
    pub(super) fn is_flushed(&self) -> bool {
        self.sent == self.out.len()
    }

    /// Reads and writes what is possible without waiting.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn pump(&mut self) -> io::Result<()> {
        for _ in 0..READS_MAX {
            match self.read() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush()
    }

    /// Reads once and processes the bytes; the end of the stream is an error.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1024];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut answers = Vec::new();
        self.incoming.feed(&buffer[..count], &mut answers)?;
        if self.out.len() - self.sent <= ANSWERS_MAX {
            self.out.extend(answers);
        }
        Ok(())
    }

    /// Writes as much as the kernel takes.
    ///
    /// # Errors
    /// The connection is broken. A full buffer is no error.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match send_now(&self.stream, &self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Writes our half of the handshake, and waits for the node's until `deadline` at most. Reaching the deadline is no
    /// error; [`Connection::is_open`] shows whether the handshake is complete.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn shake_hands(&mut self, deadline: Instant) -> io::Result<()> {
        self.flush()?;
        self.stream.set_nonblocking(false)?;
        while !self.is_open() {
            match self.read_until(deadline) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => return Err(error),
            }
        }
        self.stream.set_nonblocking(true)
    }

    /// Ends a connection whose bytes are all written, and returns when the node has read them all, or at `deadline`.
    ///
    /// Our side is shut down first. When the node reads that end, after all that was written, it closes its own side,
    /// and that is the acknowledgement.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; otherwise the node has exited, or refused the connection.
    pub(super) fn finish(mut self, deadline: Instant) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.shutdown(Shutdown::Write)?;
        loop {
            match self.read_until(deadline) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read_until(&mut self, deadline: Instant) -> io::Result<()> {
        let left = time_left(deadline).ok_or(ErrorKind::TimedOut)?;
        self.stream.set_read_timeout(Some(left))?;
        match self.read() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            other => other,
        }
    }
}

/// The time until `deadline`; `None` if it has passed.
#[allow(clippy::disallowed_methods, reason = "a worker has no node's clock to ask")]
pub(super) fn time_left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}
