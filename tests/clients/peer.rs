//! A node as docs/protocol.md has it, as far as a worker can see one: a listener, and on each connection the bytes of
//! section 11. Written from the page alone, without libzmq and without anything of treevisor, so that it can be made to
//! misbehave and so that the page is tested as well.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Nothing takes so long on a sound machine; waiting longer means that something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// One message.
pub(crate) type Frames = Vec<Vec<u8>>;

/// The node's socket.
pub(crate) struct Node {
    path: PathBuf,
    listener: Option<UnixListener>,
}

impl Node {
    pub(crate) fn bind(path: &Path) -> Node {
        Node { path: path.to_owned(), listener: Some(UnixListener::bind(path).unwrap()) }
    }

    /// The node is gone: nothing listens, and the socket's file is still there, as after a kill.
    pub(crate) fn close(&mut self) {
        self.listener = None;
    }

    /// The node is back at the same place.
    pub(crate) fn reopen(&mut self) {
        fs::remove_file(&self.path).unwrap();
        self.listener = Some(UnixListener::bind(&self.path).unwrap());
    }

    /// The next connection, before a byte of it is read or written.
    #[track_caller]
    pub(crate) fn accept(&self) -> Connection {
        let end = Instant::now() + LIMIT;
        self.accept_until(end).expect("the client does not connect")
    }

    /// The next connection, if it comes until `end`.
    pub(crate) fn accept_until(&self, end: Instant) -> Option<Connection> {
        let listener = self.listener.as_ref().unwrap();
        listener.set_nonblocking(true).unwrap();
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(LIMIT)).unwrap();
                    stream.set_write_timeout(Some(LIMIT)).unwrap();
                    return Some(Connection { stream, peeked: Vec::new() });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("accepting: {error}"),
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// The next connection after the handshake.
    #[track_caller]
    pub(crate) fn meet(&self) -> Connection {
        let mut connection = self.accept();
        connection.greet();
        connection.expect_ready();
        connection.say_ready();
        connection
    }
}

/// One client's connection.
pub(crate) struct Connection {
    stream: UnixStream,
    /// Bytes that were looked at before their turn.
    peeked: Vec<u8>,
}

impl Connection {
    /// Exchanges greetings. Ours goes out first: a client may send the rest of its own only when it has seen the
    /// beginning of ours (libzmq does so).
    #[track_caller]
    pub(crate) fn greet(&mut self) {
        let mut ours = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
        ours.extend(b"NULL");
        ours.resize(64, 0);
        self.write(&ours);
        let theirs = self.bytes(64);
        assert_eq!(theirs[0], 0xff, "the signature begins with ff: {theirs:02x?}");
        assert_eq!(theirs[9] & 1, 1, "the signature ends with an odd byte: {theirs:02x?}");
        assert!(theirs[10] >= 3, "ZMTP 3 or later is spoken: {theirs:02x?}");
        let mut mechanism = b"NULL".to_vec();
        mechanism.resize(20, 0);
        assert_eq!(theirs[12..32], mechanism, "the mechanism is NULL, filled up with zeros");
        assert_eq!(theirs[32], 0, "a client is no server");
    }

    /// The client's READY, which names its type and no identity.
    #[track_caller]
    pub(crate) fn expect_ready(&mut self) {
        let (flags, body) = self.frame();
        assert_eq!(flags & COMMAND, COMMAND, "the first thing after the greeting is a command, got {body:02x?}");
        let properties = body.strip_prefix(b"\x05READY").unwrap_or_else(|| panic!("READY, got {body:02x?}"));
        let mut rest = properties;
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (name, after) = rest[1..].split_at(usize::from(rest[0]));
            let len = u32::from_be_bytes(after[..4].try_into().unwrap()) as usize;
            let (value, after) = after[4..].split_at(len);
            found.push((name.to_ascii_lowercase(), value.to_vec()));
            rest = after;
        }
        assert!(found.contains(&(b"socket-type".to_vec(), b"DEALER".to_vec())), "it is a DEALER: {found:?}");
        for (name, value) in found {
            assert!(name != b"identity" || value.is_empty(), "a worker leaves its routing id empty");
        }
    }

    pub(crate) fn say_ready(&mut self) {
        let mut body = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER".to_vec();
        body.extend(b"\x08Identity\x00\x00\x00\x00");
        self.say(COMMAND, &body);
    }

    /// Sends one frame.
    pub(crate) fn say(&mut self, flags: u8, body: &[u8]) {
        let mut bytes = match u8::try_from(body.len()) {
            Ok(len) => vec![flags, len],
            Err(_) => [vec![flags | LONG], (body.len() as u64).to_be_bytes().to_vec()].concat(),
        };
        bytes.extend(body);
        self.write(&bytes);
    }

    #[track_caller]
    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the client has closed the connection");
    }

    #[track_caller]
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.peeked.len() < count {
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the client has closed the connection; {} bytes before that", self.peeked.len()),
                Ok(taken) => self.peeked.extend(&buffer[..taken]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the client says nothing: {error}"),
            }
        }
        self.peeked.drain(..count).collect()
    }

    /// The next frame: its flags and its body.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let flags = self.bytes(1)[0];
        assert_eq!(flags & !(MORE | LONG | COMMAND), 0, "flags that do not exist: {flags:02x}");
        let len = if flags & LONG == 0 {
            u64::from(self.bytes(1)[0])
        } else {
            u64::from_be_bytes(self.bytes(8).try_into().unwrap())
        };
        assert!(len <= 512, "a frame of {len} bytes");
        (flags, self.bytes(len as usize))
    }

    /// The next message; commands are passed over.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Frames {
        let mut frames = Vec::new();
        loop {
            let (flags, body) = self.frame();
            if flags & COMMAND != 0 {
                continue;
            }
            frames.push(body);
            if flags & MORE == 0 {
                return frames;
            }
        }
    }

    /// The next beat; other messages are passed over.
    #[track_caller]
    pub(crate) fn beat(&mut self) -> Beat {
        loop {
            let frames = self.message();
            if frames.get(1).is_some_and(|kind| kind == b"BEAT") {
                return Beat::read(&frames);
            }
        }
    }

    /// From now on whatever the client writes fails.
    pub(crate) fn shut_ears(&self) {
        self.stream.shutdown(std::net::Shutdown::Read).unwrap();
    }

    /// What the kernel has of the client at this moment, without waiting for more.
    pub(crate) fn waiting(&mut self) -> &[u8] {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 65536];
        if let Ok(taken) = self.stream.read(&mut buffer) {
            self.peeked.extend(&buffer[..taken]);
        }
        self.stream.set_nonblocking(false).unwrap();
        &self.peeked
    }

    /// All messages until the client closes.
    #[track_caller]
    pub(crate) fn messages_until_closed(mut self) -> Vec<Frames> {
        let mut rest = std::mem::take(&mut self.peeked);
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the client does not close: {error}"),
        }
        let mut at = Connection { stream: self.stream, peeked: rest };
        let mut messages = Vec::new();
        while at.has_whole_message() {
            messages.push(at.message());
        }
        messages
    }

    /// Whether a whole message has been read already. What a client has written in part when it ends is no message.
    fn has_whole_message(&self) -> bool {
        let mut rest = &self.peeked[..];
        loop {
            let head = match rest {
                [flags, ..] if flags & LONG != 0 => 9,
                _ => 2,
            };
            if rest.len() < head {
                return false;
            }
            let len = rest[1..head].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let flags = rest[0];
            if rest.len() < head + len {
                return false;
            }
            rest = &rest[head + len..];
            if flags & (MORE | COMMAND) == 0 {
                return true;
            }
        }
    }
}

/// A beat, as section 5 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    pub token: String,
    pub seq: Option<u64>,
    pub progress: Option<u64>,
    pub pending: Option<u64>,
    pub busy_ms: Option<u64>,
    pub status: String,
}

impl Beat {
    #[track_caller]
    pub(crate) fn read(frames: &Frames) -> Beat {
        assert!((3..=8).contains(&frames.len()), "a beat has 3 to 8 frames: {frames:?}");
        assert_eq!(frames[0], b"TV1", "{frames:?}");
        assert_eq!(frames[1], b"BEAT", "{frames:?}");
        let number = |at: usize| {
            let frame = frames.get(at).filter(|frame| !frame.is_empty())?;
            assert!(frame.iter().all(u8::is_ascii_digit), "frame {at} is no number: {frames:?}");
            Some(std::str::from_utf8(frame).unwrap().parse().expect("below 2^64"))
        };
        let status = frames.get(7).cloned().unwrap_or_default();
        assert!(status.len() <= 256, "a status of {} bytes", status.len());
        Beat {
            token: String::from_utf8(frames[2].clone()).expect("a token of hexadecimal digits"),
            seq: number(3),
            progress: number(4),
            pending: number(5),
            busy_ms: number(6),
            status: String::from_utf8(status).expect("a status in UTF-8: a node drops the whole beat otherwise"),
        }
    }
}
