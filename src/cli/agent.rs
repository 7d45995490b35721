//! Asks the agent of this machine, and turns errors into failures.

use super::failure::{ExitCode, Failure};
use crate::control::{AgentError, ask_agent, own_base};
use crate::error::Chain;
use crate::time::Span;
use crate::wire::hosts::{HostReply, HostRequest, HostsView};

/// Limit for requests that the agent answers by itself.
pub(super) const AT_ONCE: Span = Span::from_secs(5);

/// Asks the agent. `doing` is what is tried, as in "list the hosts".
pub(super) fn ask(doing: &str, ask: &HostRequest, contents: &[Vec<u8>], limit: Span) -> Result<HostReply, Failure> {
    ask_agent(&own_base(), ask, contents, limit).map_err(|error| failed(doing, &error))
}

/// The state of the cluster, as this host sees it.
pub(super) fn hosts(doing: &str) -> Result<HostsView, Failure> {
    match ask(doing, &HostRequest::Hosts, &[], AT_ONCE)? {
        HostReply::Hosts(view) => Ok(*view),
        _ => Err(not_understood(doing)),
    }
}

pub(super) fn not_understood(doing: &str) -> Failure {
    Failure::new(ExitCode::Failed, format!("cannot {doing}: the agent has answered something else"))
        .hint("agent and tool should be of the same version")
}

fn failed(doing: &str, error: &AgentError) -> Failure {
    let message = format!("cannot {doing}: {}", Chain(error));
    match error {
        AgentError::NoAgent { .. } => Failure::new(ExitCode::NoCluster, message)
            .hint("`treevisor host run` starts it, by the file of the host; see `treevisor host --help`"),
        AgentError::Denied { .. } => {
            Failure::new(ExitCode::Failed, message).hint("root may ask it, and the user that it runs as")
        }
        AgentError::NoAnswer { .. } => {
            Failure::new(ExitCode::NoAnswer, message).hint("look at the host's own tree: `treevisor status -i host`")
        }
        AgentError::Refused(_) | AgentError::NotUnderstood(_) | AgentError::Link(_) | AgentError::Runtime(_) => {
            Failure::new(ExitCode::Failed, message)
        }
    }
}
