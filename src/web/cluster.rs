//! The state of the cluster that this machine is a host of, as the agent reports it. The agent gets one request at a
//! time, however many pages ask.

use super::shared::now_ms;
use crate::control::{AgentError, ask_agent, own_base};
use crate::error::Chain;
use crate::time::Span;
use crate::wire::hosts::{HostReply, HostRequest, HostsView};
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
    /// This machine is not a host, or its agent does not run.
    NoHost,
    /// Its agent has answered.
    View(Arc<HostsView>),
    /// The agent has not answered, for this reason.
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
        let seen = match spawn_blocking(|| ask_agent(&own_base(), &HostRequest::Hosts, &[], WITHIN)).await {
            Ok(Ok(HostReply::Hosts(view))) => Seen::View(Arc::new(*view)),
            Ok(Err(AgentError::NoAgent { .. } | AgentError::Denied { .. })) => Seen::NoHost,
            Ok(Ok(_)) => Seen::Silent("the agent of this host has answered something else".into()),
            Ok(Err(error)) => Seen::Silent(Chain(&error).to_string()),
            Err(error) => Seen::Silent(Chain(&error).to_string()),
        };
        *last = Some((now_ms(), seen.clone()));
        seen
    }
}
