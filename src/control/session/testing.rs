//! A root as tools see it, for tests.

use super::*;
use crate::ids::Name;
use crate::link::{Inbound, Router, SendOutcome};
use crate::os::lock::LockFile;
use crate::wire::message::Outcome;
use std::fs;

/// A limit that is reached only if something is broken.
pub(crate) const LONG: Span = Span::from_secs(30);

/// The root's side of a session.
pub(crate) struct Root {
    pub(crate) router: Router,
    _context: Context,
    lock: LockFile,
    pub(crate) directory: tempfile::TempDir,
}

impl Root {
    pub(crate) fn new() -> (Root, RuntimeDir) {
        Root::below("")
    }

    /// A root whose base directory is this one below that of the test.
    pub(crate) fn below(base: &str) -> (Root, RuntimeDir) {
        let directory = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::of(&directory.path().join(base), &Name::parse("shop").unwrap()).unwrap();
        runtime.create().unwrap();
        let lock = LockFile::acquire(&runtime.lock_file()).unwrap();
        let context = Context::new().unwrap();
        let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
        let router = Router::bind(&context, &runtime.control_socket(), limits).unwrap();
        (Root { router, _context: context, lock, directory }, runtime)
    }

    pub(crate) fn next(&mut self) -> (Identity, Ask) {
        self.next_after(0)
    }

    /// The next request with a number above `old`. On a busy machine those up to it may have been sent again, and a
    /// follower may have had to say that it is still there.
    pub(crate) fn next_after(&mut self, old: u64) -> (Identity, Ask) {
        let clock = Clock::start();
        loop {
            if let Some(Inbound { from, frames, .. }) = self.router.receive() {
                let ask = codec::decode_ask(&frames).unwrap();
                if ask.request > old && !matches!(ask.verb, Verb::StillFollowing { .. }) {
                    return (from, ask);
                }
            }
            assert!(clock.now().since(Time::ZERO) < LONG, "no request came");
            clock::pause(Span::from_millis(1));
        }
    }

    /// Answers the ping that a follower begins with, and returns its request.
    pub(crate) fn next_of_a_follower(&mut self) -> (Identity, Ask) {
        let (to, ping) = self.next();
        self.tell(&to, ping.request, Reply::Done { outcome: Outcome::Ok, detail: String::new() });
        self.next_after(ping.request)
    }

    /// Another image of the program takes the root's place, as in a hot upgrade: its connections are gone.
    pub(crate) fn is_replaced(&mut self) {
        let context = Context::new().unwrap();
        let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
        let socket = self.router.path().to_owned();
        fs::remove_file(&socket).unwrap();
        self.router = Router::bind(&context, &socket, limits).unwrap();
        self._context = context;
    }

    /// Ends as a root does: the sockets first, and the lock last.
    pub(crate) fn end(self) -> tempfile::TempDir {
        let Root { router, _context: context, lock, directory } = self;
        router.close(LONG);
        drop(context);
        lock.release();
        directory
    }

    pub(crate) fn tell(&mut self, to: &Identity, request: u64, reply: Reply) {
        let frames = codec::encode_told(&RootReply { request, reply });
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        assert_eq!(self.router.send(to, &frames), SendOutcome::Sent);
    }
}

/// The cluster's records are not waited for, and show nothing, as no agent answers.
pub(crate) fn without_records(session: &mut Session) {
    session.forwarded.as_mut().unwrap().shown_within = Span::ZERO;
}
