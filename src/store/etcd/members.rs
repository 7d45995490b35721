//! The members of etcd itself: which there are, one more, one less. Each change is agreed upon by a majority of them
//! before it is answered.
//!
//! A member is added as a learner, which has no vote until it has all that the others have; so an addition that comes
//! to nothing takes the majority from none of them.

use super::Etcd;
use super::wire::{number, parse};
use crate::time::Span;
use serde::Deserialize;
use serde_json::json;

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Member {
    /// By which it is known: another one of the same name is another member.
    #[serde(rename = "ID", deserialize_with = "number")]
    pub id: u64,
    /// What it is called; empty until it was started for the first time.
    pub name: String,
    /// Where other members find it.
    #[serde(rename = "peerURLs")]
    pub peers: Vec<String>,
    /// Where clients find it; none until it was started.
    #[serde(rename = "clientURLs")]
    pub clients: Vec<String>,
    /// It has no vote, and clients are not answered by it.
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
    /// All members, as the one sees them that answers: what was changed a moment ago may be missing.
    ///
    /// # Errors
    /// None answers within the limit.
    pub fn members(&mut self, limit: Span) -> Result<Vec<Member>, String> {
        Ok(self.ask_members::<Members>("list", &json!({}), limit)?.members)
    }

    /// Adds a member without a vote that others find at this URL: all of them then, and the new one.
    ///
    /// # Errors
    /// None answers within the limit, or they refuse: there is one at this URL, another one has no vote yet, no
    /// majority is there.
    pub fn add_learner(&mut self, peer: &str, limit: Span) -> Result<(Member, Vec<Member>), String> {
        let added: Added = self.ask_members("add", &json!({ "peerURLs": [peer], "isLearner": true }), limit)?;
        Ok((added.member, added.members))
    }

    /// Gives it a vote.
    ///
    /// # Errors
    /// None answers within the limit, or it has not yet all that the others have.
    pub fn promote(&mut self, id: u64, limit: Span) -> Result<(), String> {
        self.ask_members::<Members>("promote", &json!({ "ID": id.to_string() }), limit).map(drop)
    }

    /// Takes it away. It stops itself.
    ///
    /// # Errors
    /// None answers within the limit, or those that are left would be no majority.
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
