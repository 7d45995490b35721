//! What crosses a process border: messages, their frames, their limits, and the stable JSON. No I/O.
//!
//! [`message`] has every message as a type, [`codec`] turns them into frames and back, [`view`] is the JSON in which
//! status and events travel, [`journal`] the lines in which events are kept, [`snapshot`] the file in which a node
//! hands its state to another version of the program, [`exact`] reads JSON that must be taken over whole, [`upgrade`]
//! what becomes of an upgrade, [`http`] the little HTTP that probes speak, [`tvh1`] what the agents of a cluster's
//! hosts send each other, [`look`] how what a host keeps on its disk is read from elsewhere, [`member`] what the tool
//! has `treevisor-host` do about which hosts belong to a cluster. `docs/protocol.md` specifies the frames for authors
//! of a client in another language; a test reads its tables and compares them with the constants below and with what
//! [`codec`] does.

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

/// Most frames in a message of a worker (`BEAT`, `READY`, `STOPPING`): the eight that a full beat has.
pub const WORKER_FRAMES_MAX: usize = 8;

/// Most bytes in one frame of a worker's message: the longest status text, which is longer than all else there is.
pub const WORKER_FRAME_MAX: usize = BeatFrame::STATUS_MAX;

/// Most bytes in a message of a worker, all frames together; a connection that brings more in one is closed.
pub const WORKER_MESSAGE_MAX: usize = WORKER_FRAMES_MAX * WORKER_FRAME_MAX;

/// Most frames in a message that carries JSON (`NODE`, `ASK`, `TOLD`), those before the JSON counted.
pub const NODE_FRAMES_MAX: usize = 256;

/// Most bytes in one frame of a message that carries JSON. It is also the limit that a socket accepts at all
/// (`ZMQ_MAXMSGSIZE`, which libzmq applies frame by frame), so that no peer can make a node hold more than this for a
/// single frame. Longer JSON is split.
pub const NODE_FRAME_MAX: usize = 256 * 1024;

/// How deep arrays and objects of JSON may stand within each other. A tree of the deepest kind needs half of that, and
/// a reader's stack is not at its peer's mercy.
pub const JSON_DEPTH_MAX: usize = 512;

/// Messages that a node takes from one worker in a second; what goes beyond is counted and dropped. It is far below
/// what one sender can send, and above what an honest one can have waiting after the node itself did not run for a
/// while.
pub const BEATS_PER_SECOND_MAX: u32 = 1_000;
