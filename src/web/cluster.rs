//! The state of the cluster that this machine is a host of, as the agent reports it. The agent gets one request at a
//! time, however many pages ask.

use super::shared::now_ms;
use crate::control::{AgentError, ask_agent, own_base};
use crate::error::Chain;
use crate::time::Span;
use crate::wire::hosts::{HostReply, HostRequest, HostsView};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// How long an answer is reused, in milliseconds.
const FRESH_MS: u64 = 1_000;

/// Limit for the agent's answer.
const WITHIN: Span = Span::from_secs(2);

/// The state of the cluster, if known.
#[derive(Clone)]
pub(super) enum Seen {
    /// This machine is not a host, as far as is known: no agent runs, and none has run that this console knows of.
    NoHost,
    /// Its agent has answered.
    View(Arc<HostsView>),
    /// The agent has not answered or has exited, for this reason.
    Silent(String),
}

/// The agent's last answer, and when it came.
#[derive(Default)]
pub(super) struct Cluster(Mutex<Option<(u64, Seen)>>);

impl Cluster {
    /// The state of the cluster, one second old at most.
    pub(super) async fn seen(&self) -> Seen {
        let mut last = self.0.lock().await;
        if let Some((at, seen)) = &*last
            && now_ms() < at + FRESH_MS
        {
            return seen.clone();
        }
        let was_there = matches!(&*last, Some((_, Seen::View(_) | Seen::Silent(_))));
        let seen = spawn_blocking(move || ask(&own_base(), was_there)).await;
        let seen = seen.unwrap_or_else(|error| Seen::Silent(Chain(&error).to_string()));
        *last = Some((now_ms(), seen.clone()));
        seen
    }
}

/// What the agent whose tree runs below `base` answers. One that has exited is silent and not absent, or nothing would
/// report it: it `was_there` before, or a socket is there on which nothing listens.
fn ask(base: &Path, was_there: bool) -> Seen {
    match ask_agent(base, &HostRequest::Hosts, &[], WITHIN) {
        Ok(HostReply::Hosts(view)) => Seen::View(Arc::new(*view)),
        Ok(_) => Seen::Silent("the agent of this host has answered something else".into()),
        Err(AgentError::NoAgent { socket }) if !was_there && !is_socket(&socket) => Seen::NoHost,
        Err(AgentError::Denied { .. }) if !was_there => Seen::NoHost,
        Err(error) => Seen::Silent(Chain(&error).to_string()),
    }
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;
    use crate::instance::runtime::RuntimeDir;
    use crate::wire::hosts::SOCKET;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn an_agent_that_has_exited_is_silent_and_not_absent() {
        let base = tempfile::tempdir().unwrap();
        let is_host = |was_there| !matches!(ask(base.path(), was_there), Seen::NoHost);
        assert!(!is_host(false), "no agent was ever there");
        assert!(is_host(true));
        let runtime = RuntimeDir::of(base.path(), &Name::parse("host").unwrap()).unwrap();
        fs::create_dir_all(runtime.path()).unwrap();
        assert!(!is_host(false));
        // As one that was killed leaves it behind.
        drop(UnixListener::bind(runtime.path().join(SOCKET)).unwrap());
        let Seen::Silent(why) = ask(base.path(), false) else { panic!("not reported") };
        assert!(why.contains("nothing listens"), "{why}");
    }
}
