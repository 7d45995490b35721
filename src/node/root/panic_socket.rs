//! The panic socket of the root: any message on it panics the first child. The next image of the program binds it anew.

use crate::error::Chain;
use crate::link::{Context as Sockets, Pull};
use crate::node::reactor::{Reactor, Source};
use crate::time::{Span, Time};
use slog::{Logger, info, warn};
use std::path::{Path, PathBuf};

/// After this time, binding is tried again.
const AGAIN: Span = Span::from_secs(1);

pub(in crate::node) enum PanicSocket {
    Bound(Pull),
    /// After an upgrade: it could not be bound, and is tried again.
    Unbound {
        path: PathBuf,
        again: Time,
    },
}

impl PanicSocket {
    /// Binds it at the path at which the former image had it. If that fails, it is tried again.
    pub(super) fn go_on(path: PathBuf, sockets: &Sockets, logger: &Logger, reactor: &mut Reactor) -> PanicSocket {
        let mut socket = PanicSocket::Unbound { path, again: Time::ZERO };
        if let Err(error) = socket.bind(Time::ZERO, sockets, reactor) {
            warn!(logger, "panic button cannot be bound; tried again"; "error" => error);
        }
        socket
    }

    fn bind(&mut self, now: Time, sockets: &Sockets, reactor: &mut Reactor) -> Result<(), String> {
        let PanicSocket::Unbound { path, again } = self else { return Ok(()) };
        *again = now + AGAIN;
        let endpoint = format!("ipc://{}", path.display());
        let pull = Pull::bind(sockets, &endpoint).map_err(|error| Chain(&error).to_string())?;
        reactor.watch(pull.fd(), Source::PanicSocket).map_err(|error| Chain(&error).to_string())?;
        *self = PanicSocket::Bound(pull);
        Ok(())
    }

    /// Binds it if that is due.
    pub(super) fn due(&mut self, now: Time, sockets: &Sockets, logger: &Logger, reactor: &mut Reactor) {
        if self.next_deadline().is_some_and(|at| at <= now) && self.bind(now, sockets, reactor).is_ok() {
            info!(logger, "panic button bound again");
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        match self {
            PanicSocket::Bound(_) => None,
            PanicSocket::Unbound { again, .. } => Some(*again),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            PanicSocket::Bound(pull) => pull.path(),
            PanicSocket::Unbound { path, .. } => path,
        }
    }

    /// Whether a message waits; see [`Pull::has_input`].
    pub(super) fn has_input(&self) -> bool {
        matches!(self, PanicSocket::Bound(pull) if pull.has_input())
    }

    /// Takes the messages that wait. Returns whether there was one.
    pub(super) fn drain(&mut self) -> bool {
        match self {
            PanicSocket::Bound(pull) => pull.drain() > 0,
            PanicSocket::Unbound { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_could_not_be_bound_after_an_upgrade_is_bound_when_that_is_possible() {
        let directory = tempfile::tempdir().unwrap();
        let (context, mut reactor, sockets) = (testing::context(), testing::reactor(), Sockets::new().unwrap());
        let path = directory.path().join("b");
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let other = UnixListener::bind(&path).unwrap();
        let mut socket = PanicSocket::go_on(path.clone(), &sockets, &context.logger, &mut reactor);
        assert_eq!((socket.path(), socket.next_deadline()), (path.as_path(), Some(at(1))));
        socket.due(at(1), &sockets, &context.logger, &mut reactor);
        assert_eq!(socket.next_deadline(), Some(at(2)), "it is bound by another process");
        drop(other);
        socket.due(at(2), &sockets, &context.logger, &mut reactor);
        assert_eq!((socket.path(), socket.next_deadline()), (path.as_path(), None));
        assert!(matches!(socket, PanicSocket::Bound(_)));
    }
}
