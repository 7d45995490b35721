//! Asks the agent of this machine's host.

use crate::ids::Name;
use crate::instance::runtime::{RuntimeDir, RuntimeError};
use crate::link::{Context, Dealer, Identity, LinkError, RouterLimits};
use crate::os::clock::Clock;
use crate::time::{Span, Time};
use crate::wire::hosts::{HostReply, HostRequest, SOCKET, decode_told, encode};
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The name of the instance that is a host's own tree.
pub(super) const INSTANCE: &str = "host";

/// Why there is no answer.
#[derive(Debug)]
pub enum AgentError {
    /// This machine is not a host of a cluster, or its agent does not run.
    NoAgent {
        /// Where its socket would be.
        socket: PathBuf,
    },
    /// This user may not connect to the agent.
    Denied {
        /// Where its socket is.
        socket: PathBuf,
    },
    /// The agent has not answered in time.
    NoAnswer {
        /// How long the tool has waited.
        limit: Span,
    },
    /// The agent refuses the request, for this reason.
    Refused(String),
    /// The agent's answer cannot be read, for this reason.
    NotUnderstood(String),
    /// The socket cannot be used.
    Link(LinkError),
    /// Another user may have put the socket there.
    Runtime(RuntimeError),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::NoAgent { socket } => {
                write!(f, "no agent of a host runs here: nothing listens at {}", socket.display())
            }
            AgentError::Denied { socket } => {
                write!(f, "the agent of this host is not for this user, who may not open {}", socket.display())
            }
            AgentError::NoAnswer { limit } => write!(f, "the agent of this host has not answered in {limit}"),
            AgentError::Refused(why) => f.write_str(why),
            AgentError::NotUnderstood(why) => write!(f, "the agent's answer is not understood: {why}"),
            AgentError::Link(_) | AgentError::Runtime(_) => f.write_str("cannot connect to the agent of this host"),
        }
    }
}

impl std::error::Error for AgentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AgentError::Link(error) => Some(error),
            AgentError::Runtime(error) => Some(error),
            _ => None,
        }
    }
}

/// Where the agent listens for tools, whether it runs or not. `None` where the directory's path is too long for a
/// socket.
fn agent_socket(base: &Path) -> Option<(RuntimeDir, PathBuf)> {
    let name = Name::parse(INSTANCE).ok()?;
    let runtime = RuntimeDir::of(base, &name).ok()?;
    let socket = runtime.path().join(SOCKET);
    Some((runtime, socket))
}

/// Asks the agent whose tree runs below `base`, and waits up to `limit` for the answer. `contents` are the files of a
/// bundle, which are sent after the request.
///
/// # Errors
/// Every [`AgentError`].
pub fn ask_agent(base: &Path, ask: &HostRequest, contents: &[Vec<u8>], limit: Span) -> Result<HostReply, AgentError> {
    let Some((runtime, socket)) = agent_socket(base) else {
        return Err(AgentError::NoAgent { socket: base.to_owned() });
    };
    match UnixStream::connect(&socket).map_err(|cause| cause.kind()) {
        // A refused connection means that the socket is a leftover of an agent that has exited.
        Err(ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused) => {
            return Err(AgentError::NoAgent { socket });
        }
        Err(ErrorKind::PermissionDenied) => return Err(AgentError::Denied { socket }),
        // Any other fault is reported by the connection below.
        _ => {}
    }
    // Last, when the socket is known to exist.
    runtime.check_found().map_err(AgentError::Runtime)?;
    let context = Context::of_tool().map_err(AgentError::Link)?;
    let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
    let own = Identity::drawn().map_err(|cause| AgentError::Link(LinkError::Context { cause }))?;
    let mut dealer = Dealer::connect(&context, &socket, own.as_bytes(), limits).map_err(AgentError::Link)?;
    let frames = encode(1, ask, contents);
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let (clock, end) = (Clock::start(), Time::ZERO + limit);
    if !dealer.send(&frames) {
        return Err(AgentError::NoAnswer { limit: Span::ZERO });
    }
    while clock.now() < end {
        dealer.wait_input(end.since(clock.now()).as_duration());
        if let Some(frames) = dealer.receive() {
            return match decode_told(&frames).map_err(AgentError::NotUnderstood)? {
                (_, HostReply::Refused { message }) => Err(AgentError::Refused(message)),
                (_, told) => Ok(told),
            };
        }
    }
    Err(AgentError::NoAnswer { limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn who_may_not_ask_is_told_so_and_not_that_there_is_no_agent() {
        let base = tempfile::tempdir().unwrap();
        let asked = || ask_agent(base.path(), &HostRequest::Hosts, &[], Span::from_secs(1));
        assert!(matches!(asked(), Err(AgentError::NoAgent { .. })));
        let (_, socket) = agent_socket(base.path()).unwrap();
        let directory = socket.parent().unwrap();
        fs::create_dir_all(directory).unwrap();
        fs::set_permissions(directory, Permissions::from_mode(0o000)).unwrap();
        let denied = asked();
        let may_look = fs::read_dir(directory).is_ok();
        fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
        // Root is never denied access.
        assert!(may_look || matches!(denied, Err(AgentError::Denied { .. })), "{denied:?}");
    }
}
