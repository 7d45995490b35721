//! The cluster, where this machine is a host of one: what the agent reports of it, one question at a time however many
//! pages ask.

use super::shared::now_ms;
use crate::control::{AgentError, ask_agent, own_base};
use crate::error::Chain;
use crate::time::Span;
use crate::wire::hosts::{HostAsk, HostTold, HostsView};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// An answer is used again for so many milliseconds.
const FRESH_MS: u64 = 1_000;

/// An agent that takes longer does not answer.
const WITHIN: Span = Span::from_secs(2);

/// What is known of the cluster.
#[derive(Clone)]
pub(super) enum Seen {
    /// This machine is no host, or its agent does not run.
    NoHost,
    /// Its agent has answered.
    View(Arc<HostsView>),
    /// It has not, and why.
    Silent(String),
}

/// What the agent has reported last, and when.
#[derive(Default)]
pub(super) struct Cluster(Mutex<Option<(u64, Seen)>>);

impl Cluster {
    /// The cluster, a second old at most.
    pub(super) async fn seen(&self) -> Seen {
        let mut last = self.0.lock().await;
        if let Some((at, seen)) = &*last
            && now_ms() < at + FRESH_MS
        {
            return seen.clone();
        }
        let seen = match spawn_blocking(|| ask_agent(&own_base(), &HostAsk::Hosts, &[], WITHIN)).await {
            Ok(Ok(HostTold::Hosts(view))) => Seen::View(Arc::new(*view)),
            Ok(Err(AgentError::NoAgent { .. } | AgentError::Denied { .. })) => Seen::NoHost,
            Ok(Ok(_)) => Seen::Silent("the agent of this host has answered something else".into()),
            Ok(Err(error)) => Seen::Silent(Chain(&error).to_string()),
            Err(error) => Seen::Silent(Chain(&error).to_string()),
        };
        *last = Some((now_ms(), seen.clone()));
        seen
    }
}
