//! Everything that crosses a process border: messages, their frames, their limits, and the stable JSON. No I/O.
//!
//! [`message`] has every message as a type, [`codec`] turns them into frames and back, [`view`] is the JSON in which
//! status and events travel, [`journal`] the lines in which events are kept, [`snapshot`] the file in which a node
//! hands its state to another version of the program, [`exact`] reads JSON of which every member must be known,
//! [`upgrade`] has the course and the result of a hot upgrade, [`http`] the subset of HTTP that probes use, [`tvh1`]
//! the messages between the agents of a cluster's hosts, [`look`] the pages in which records on a host's disk are read
//! from another host, [`member`] the requests of the command line to `treevisor-host` that change which hosts belong to
//! a cluster. `docs/protocol.md` specifies the frames for authors of a client in another language; a test reads its
//! tables and compares them with the constants below and with what [`codec`] does.

pub mod codec;
pub mod exact;
pub mod hosts;
pub mod http;
pub mod journal;
pub mod json;
pub mod look;
pub mod member;
pub mod message;
pub mod notify;
pub mod snapshot;
pub mod tvh1;
pub mod upgrade;
pub mod view;

use message::BeatFrame;

/// Most frames in a message of a worker (`BEAT`, `READY`, `STOPPING`): a beat with every optional field has eight.
pub const WORKER_FRAMES_MAX: usize = 8;

/// Most bytes in one frame of a worker's message. The status text is the longest field, so its limit is this one.
pub const WORKER_FRAME_MAX: usize = BeatFrame::STATUS_MAX;

/// Most bytes in a message of a worker, all frames together; a connection that brings more in one is closed.
pub const WORKER_MESSAGE_MAX: usize = WORKER_FRAMES_MAX * WORKER_FRAME_MAX;

/// Most frames in a message that carries JSON (`NODE`, `ASK`, `TOLD`), those before the JSON counted.
pub const NODE_FRAMES_MAX: usize = 256;

/// Most bytes in one frame of a message that carries JSON. It is also the limit that a socket accepts at all
/// (`ZMQ_MAXMSGSIZE`, which libzmq applies frame by frame), so that no peer can make a node hold more than this for a
/// single frame. Longer JSON is split.
pub const NODE_FRAME_MAX: usize = 256 * 1024;

/// How many levels deep arrays and objects of JSON may be nested. The deepest tree that is allowed needs half of that.
/// The limit keeps a peer from overflowing the reader's stack.
pub const JSON_DEPTH_MAX: usize = 512;

/// Messages that a node accepts from one worker in a second; further ones are counted and dropped. The limit is far
/// below what one sender can send, and above what a correct worker can have queued after the node itself did not run
/// for a while.
pub const BEATS_PER_SECOND_MAX: u32 = 1_000;
