//! What a node on this host is shown about its placed children, for `status`.

use super::agent::Agent;
use super::choose::Candidate;
use super::event::{ParentId, Turn};
use super::message::{Outcome, Subject};
use super::placed_children::{PlacedChild, State};
use super::record::{ClaimKey, HostState, note};
use super::shown::{CandidateShown, ChildShown, Show, Shown, StoreShown};
use crate::time::Span;

/// The size in bytes at which an answer is split into parts. Each part is one frame, and a child has as many candidates
/// as the cluster has hosts.
const PART_BYTES: usize = 64 * 1024;

impl Agent {
    /// The answer about the children of this node, in one part or several.
    pub(super) fn shown(&self, turn: Turn, parent: ParentId, node: &Subject, show: Show) -> Vec<Shown> {
        let store = StoreShown { lost: self.store_lost, age_ms: turn.now.shortest_since(self.answered).as_millis() };
        let cluster = self.settings.cluster.clone();
        let part = |children| Shown {
            question: show.question,
            cluster: cluster.clone(),
            store: store.clone(),
            children,
            more: true,
        };
        let placed_children = self.placed_children.all.iter();
        let its = placed_children
            .filter(|(key, placed_child)| placed_child.parent == parent && key.instance == node.instance);
        let mut parts = in_parts(its.map(|(key, placed_child)| self.child_shown(turn, key, placed_child)), part);
        if let Some(last) = parts.last_mut() {
            last.more = false;
        }
        parts
    }

    fn child_shown(&self, turn: Turn, key: &ClaimKey, placed_child: &PlacedChild) -> ChildShown {
        let there = match &placed_child.state {
            State::There(there) if there.end.is_none() => Some(there),
            State::There(_)
            | State::Choosing(_)
            | State::Asking { .. }
            | State::Homeless { .. }
            | State::Failed { .. } => None,
        };
        let token_there = there.and_then(|there| match there.answer {
            Outcome::Started { token, .. } | Outcome::Adopted { token, .. } => Some(token),
            _ => None,
        });
        let host = there.map(|there| there.host.clone()).or_else(|| self.holder_still(key));
        // A claim that was just made may not have been read from the store yet.
        let own = self.owns.get(key).map(|(_, own)| own).filter(|own| Some(&own.host) == host.as_ref());
        let own = own.filter(|own| token_there.is_none_or(|token| own.token == token));
        let ranked = self.ranked_for(turn, key, placed_child);
        ChildShown {
            path: key.path.clone(),
            token: token_there.or(own.map(|own| own.token)),
            since_ms: own.map(|own| own.since),
            lease_left_ms: host.and_then(|host| self.lease_left_of(turn, &host)).map(Span::as_millis),
            start: there.and_then(|there| there.start).map(|start| start.as_str().to_owned()),
            candidates: ranked.into_iter().map(candidate).collect(),
        }
    }

    /// How much of the lease of a host is left; `None`: the host is dead or unknown.
    fn lease_left_of(&self, turn: Turn, host: &str) -> Option<Span> {
        if host == self.settings.name {
            return self.lease_left(turn.now);
        }
        let seen = self.detector.get(host).filter(|seen| seen.record.state == HostState::Live)?;
        Some(seen.left(turn.now))
    }
}

fn candidate((host, ranked): (String, Candidate)) -> CandidateShown {
    CandidateShown { host, fit: ranked.fit(), why: note(&ranked.to_string()) }
}

/// Splits the children into parts; only a part of a single child exceeds the size.
fn in_parts(children: impl Iterator<Item = ChildShown>, part: impl Fn(Vec<ChildShown>) -> Shown) -> Vec<Shown> {
    let (mut parts, mut present, mut bytes) = (Vec::new(), Vec::new(), 0);
    for child in children {
        let more = serde_json::to_vec(&child).map_or(0, |json| json.len());
        if !present.is_empty() && bytes + more > PART_BYTES {
            parts.push(part(std::mem::take(&mut present)));
            bytes = 0;
        }
        bytes += more;
        present.push(child);
    }
    parts.push(part(present));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(path: String, hosts: usize) -> ChildShown {
        let candidate = |host| CandidateShown { host: format!("h{host}"), fit: true, why: "fit".into() };
        ChildShown { path, candidates: (0..hosts).map(candidate).collect(), ..ChildShown::default() }
    }

    fn parts(children: Vec<ChildShown>) -> Vec<Vec<String>> {
        let part = |children| Shown { children, ..Shown::default() };
        let paths = |part: Shown| part.children.into_iter().map(|child| child.path).collect();
        in_parts(children.into_iter(), part).into_iter().map(paths).collect()
    }

    #[test]
    fn an_answer_is_one_part_and_as_many_as_its_length_takes() {
        assert_eq!(parts(vec![]), [Vec::<String>::new()], "a node without children gets cluster and store");
        assert_eq!(parts(vec![child("/a".into(), 3), child("/b".into(), 3)]), [["/a", "/b"]]);
        let many: Vec<ChildShown> = (0..100).map(|at| child(format!("/c{at}"), 50)).collect();
        let paths: Vec<String> = many.iter().map(|child| child.path.clone()).collect();
        let parts = parts(many);
        assert!(parts.len() > 2, "{}", parts.len());
        assert_eq!(parts.concat(), paths);
        // A child that exceeds the size gets a part of its own.
        let long = child("/long".into(), 3_000);
        assert_eq!(self::parts(vec![child("/a".into(), 1), long, child("/b".into(), 1)]), [["/a"], ["/long"], ["/b"]]);
    }
}
