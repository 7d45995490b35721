//! The membership of the etcd cluster: listing, adding and removing members. etcd answers a change after a majority of
//! the members has agreed on it.
//!
//! A member is added as a learner, which has no vote until it has caught up with the others. So adding a member that
//! then fails never costs the others their majority.

use super::Etcd;
use super::wire::{number, parse};
use crate::time::Span;
use serde::Deserialize;
use serde_json::json;

/// A server of etcd that belongs to the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The id of the member. A member that is added again under the same name gets another id.
    #[serde(rename = "ID", deserialize_with = "number")]
    pub id: u64,
    /// Its name; empty until it was started for the first time.
    pub name: String,
    /// The URLs for the other members.
    #[serde(rename = "peerURLs")]
    pub peers: Vec<String>,
    /// The URLs for clients; empty until the member was started.
    #[serde(rename = "clientURLs")]
    pub clients: Vec<String>,
    /// Whether it is a learner: it has no vote, and does not answer clients.
    #[serde(rename = "isLearner")]
    pub learner: bool,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Added {
    member: Member,
    members: Vec<Member>,
}

impl Etcd {
    /// Lists all members, as seen by the member that answers: a change made a moment ago may be missing.
    ///
    /// # Errors
    /// No member answers within the limit.
    pub fn members(&mut self, limit: Span) -> Result<Vec<Member>, String> {
        Ok(self.ask_members::<Members>("list", &json!({}), limit)?.members)
    }

    /// Whether a member answers, be it a learner or without a majority.
    pub fn answers(&mut self, limit: Span) -> bool {
        self.each(limit, |etcd, at, left| etcd.post(at, "/v3/maintenance/status", "{}", left)).is_ok()
    }

    /// Adds a learner with this peer URL. Returns the new member, and all members including it.
    ///
    /// # Errors
    /// No member answers within the limit, or etcd refuses: a member has this URL already, another learner is not
    /// promoted yet, or there is no majority.
    pub fn add_learner(&mut self, peer: &str, limit: Span) -> Result<(Member, Vec<Member>), String> {
        let added: Added = self.ask_members("add", &json!({ "peerURLs": [peer], "isLearner": true }), limit)?;
        Ok((added.member, added.members))
    }

    /// Promotes a learner to a member with a vote.
    ///
    /// # Errors
    /// No member answers within the limit, or the learner has not caught up yet.
    pub fn promote(&mut self, id: u64, limit: Span) -> Result<(), String> {
        self.ask_members::<Members>("promote", &json!({ "ID": id.to_string() }), limit).map(drop)
    }

    /// Removes a member, which then stops by itself.
    ///
    /// # Errors
    /// No member answers within the limit, or the remaining ones would have no majority.
    pub fn remove(&mut self, id: u64, limit: Span) -> Result<(), String> {
        self.ask_members::<Members>("remove", &json!({ "ID": id.to_string() }), limit).map(drop)
    }

    fn ask_members<T: for<'a> Deserialize<'a>>(
        &mut self,
        what: &str,
        body: &serde_json::Value,
        limit: Span,
    ) -> Result<T, String> {
        let path = format!("/v3/cluster/member/{what}");
        let body = body.to_string();
        self.each(limit, |etcd, at, left| etcd.post(at, &path, &body, left).and_then(|body| parse(&body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read() {
        let text = br#"{"header":{"cluster_id":"1"},"members":[{"ID":"15884190961197594108","name":"a","peerURLs":["https://a:2380"],
            "clientURLs":["https://a:2379"]},{"ID":"7","peerURLs":["https://b:2380"],"isLearner":true}]}"#;
        let all = parse::<Members>(text).unwrap().members;
        assert_eq!((all[0].id, all[0].name.as_str(), all[0].learner), (15_884_190_961_197_594_108, "a", false));
        assert_eq!((all[1].name.as_str(), all[1].clients.len(), all[1].learner), ("", 0, true));
        assert!(parse::<Members>(br#"{"members":[{"ID":"x"}]}"#).is_err() && parse::<Members>(b"{}").is_err());
    }
}
