//! Which hosts may have a subtree, their order, and why the others may not.

use super::message::{Placing, SpreadPolicy};
use super::record::{Host, HostState, Placement};
use std::collections::BTreeMap;
use std::fmt;

/// Why nothing is placed on a witness.
pub(super) const WITNESS: &str = "it is a witness: it votes, and runs nothing";

/// A root that is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Name of the instance to place.
    pub instance: &'a str,
    /// Where it may run.
    pub placement: &'a Placement,
    /// The bundle that it is started from.
    pub bundle: &'a str,
    /// The serial of the order: a failure under an earlier order does not count.
    pub serial: u64,
}

/// Whether a host may have a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eligibility {
    /// The host may have it.
    Yes,
    /// The host may have it, but was lost a short time ago: settled hosts are preferred.
    Unsettled,
    /// The root has given up there, for this reason.
    Tried(String),
    /// The host may not have it, for this reason.
    No(String),
}

impl fmt::Display for Eligibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Eligibility::Yes => f.write_str("fit"),
            Eligibility::Unsettled => f.write_str("fit, but it was lost a short time ago"),
            Eligibility::Tried(why) => write!(f, "the root has given up there: {why}"),
            Eligibility::No(why) => f.write_str(why),
        }
    }
}

/// Judges one host by its record.
pub fn fit(question: &Question<'_>, name: &str, host: &Host) -> Eligibility {
    let Question { instance, placement, bundle, serial } = *question;
    let no = |why: &str| Eligibility::No(why.to_owned());
    if let Some(why) = unfit(placement, name, host) {
        return Eligibility::No(why);
    }
    if !host.cgroup {
        return no("it has no cgroups that can be killed with one write");
    }
    if !host.has_bundle(instance, bundle) {
        return no("what is deployed is not on its disk: deploy it there");
    }
    match host.tried.get(instance) {
        Some(tried) if tried.serial == serial => Eligibility::Tried(tried.note.clone()),
        Some(_) | None if host.settled => Eligibility::Yes,
        Some(_) | None => Eligibility::Unsettled,
    }
}

/// Ranks all hosts: first those that may have the root, settled ones before others; then by preference; then by the
/// number of claims held, fewest first; then by name.
pub fn choose<'a>(
    question: &Question<'_>,
    hosts: impl Iterator<Item = (&'a str, &'a Host)>,
    placed: &BTreeMap<String, usize>,
) -> Vec<(&'a str, Eligibility)> {
    let mut ranked: Vec<_> = hosts.map(|(name, host)| (name, fit(question, name, host))).collect();
    ranked.sort_by_cached_key(|(name, fit)| {
        let class = match fit {
            Eligibility::Yes => 0,
            Eligibility::Unsettled => 1,
            Eligibility::Tried(_) => 2,
            Eligibility::No(_) => 3,
        };
        (class, question.placement.rank(name), placed.get(*name).copied().unwrap_or_default(), *name)
    });
    ranked
}

/// What is known besides the hosts' records when a host for a placed subtree is chosen.
#[derive(Debug, Clone)]
pub(super) struct Seeker<'a> {
    pub(super) placement: &'a Placing,
    /// The host of each other copy of the same group.
    pub(super) group: Vec<String>,
    /// The hosts of the siblings from which the subtree has to be apart.
    pub(super) apart: Vec<String>,
    /// Hosts that cannot have it now, with the reason.
    pub(super) bars: BTreeMap<String, String>,
    /// Hosts that are avoided if there are others.
    pub(super) shunned: Vec<String>,
    /// The host that an operator has asked for.
    pub(super) wished: Option<String>,
    /// The number of claims that each host holds.
    pub(super) placed: BTreeMap<String, usize>,
}

/// A host for a placed subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Why the host may not have it; `None`: it may.
    bar: Option<String>,
    /// Whether the host was not lost a short time ago.
    pub(super) settled: bool,
    /// Whether others are preferred for another reason than rank.
    shunned: bool,
}

impl Candidate {
    pub(super) fn fit(&self) -> bool {
        self.bar.is_none()
    }

    /// Whether a subtree that has ended there may be started there again.
    pub(super) fn may_stay(&self) -> bool {
        self.fit() && !self.shunned
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Candidate { bar: Some(why), .. } => f.write_str(why),
            Candidate { shunned: true, .. } => f.write_str("fit, but it has given up there, or is to be moved away"),
            Candidate { settled: false, .. } => f.write_str("fit, but it was lost a short time ago"),
            Candidate { .. } => f.write_str("fit"),
        }
    }
}

/// Ranks all hosts for a placed subtree, the best first: the one that an operator has asked for; those on which it has
/// not given up; settled ones; by preference; those with the fewest of its group; those with the fewest claims; by
/// name.
pub(super) fn rank<'a>(
    seeker: &Seeker<'_>,
    hosts: impl Iterator<Item = (&'a str, &'a Host)>,
) -> Vec<(String, Candidate)> {
    let hosts: BTreeMap<&str, &Host> = hosts.collect();
    let crowd = |name: &str, host: &Host| match &seeker.placement.spread {
        SpreadPolicy::No => 0,
        SpreadPolicy::Hosts => seeker.group.iter().filter(|other| *other == name).count(),
        SpreadPolicy::Label(label) => {
            let value = host.labels.get(label);
            let same = |other: &&String| hosts.get(other.as_str()).is_some_and(|host| host.labels.get(label) == value);
            seeker.group.iter().filter(same).count()
        }
    };
    let mut ranked: Vec<(String, Candidate, usize)> = hosts
        .iter()
        .map(|(name, host)| {
            let shunned = seeker.shunned.iter().any(|other| other == name);
            let candidate = Candidate { bar: bar(seeker, name, host), settled: host.settled, shunned };
            ((*name).to_owned(), candidate, crowd(name, host))
        })
        .collect();
    ranked.sort_by_cached_key(|(name, candidate, crowd)| {
        let Candidate { bar, settled, shunned } = candidate;
        let wished = seeker.wished.as_ref() == Some(name);
        let placed = seeker.placed.get(name).copied().unwrap_or_default();
        let rank = seeker.placement.on.rank(name);
        (bar.is_some(), !wished, *shunned, !settled, rank, *crowd, placed, name.clone())
    });
    ranked.into_iter().map(|(name, candidate, _)| (name, candidate)).collect()
}

/// Why a host may not have a placed subtree.
fn bar(seeker: &Seeker<'_>, name: &str, host: &Host) -> Option<String> {
    let placement = seeker.placement;
    if let Some(why) = unfit(&placement.on, name, host) {
        return Some(why);
    }
    if !host.cgroup {
        return Some("it has no cgroups that can be killed with one write".into());
    }
    if seeker.apart.iter().any(|other| other == name) {
        return Some("one from which it is to be apart is there".into());
    }
    seeker.bars.get(name).cloned()
}

/// The reasons against a host that hold for roots and for placed subtrees.
fn unfit(placement: &Placement, name: &str, host: &Host) -> Option<String> {
    if host.state == HostState::Dead {
        return Some("the host is lost, or has left".into());
    }
    if placement.rank(name).is_none() {
        return Some("`placement` does not name the host".into());
    }
    if host.witness {
        return Some(WITNESS.into());
    }
    let lacking = placement.require.iter().find_map(|(label, wanted)| lacks(host, label, wanted));
    lacking.or_else(|| host.draining.then(|| "it is being drained".into()))
}

/// How a label of a host differs from the required value.
fn lacks(host: &Host, label: &str, wanted: &str) -> Option<String> {
    match host.labels.get(label) {
        Some(has) if has == wanted => None,
        Some(has) => Some(format!("its label {label} is \"{has}\", and \"{wanted}\" is required")),
        None => Some(format!("it has no label {label}, and \"{wanted}\" is required")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Choice, Tried};
    use super::*;

    fn host() -> Host {
        Host {
            state: HostState::Live,
            cgroup: true,
            settled: true,
            bundles: vec!["shop/sum".into()],
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            ..Host::default()
        }
    }

    fn chosen(placement: &Placement, hosts: &[(&str, Host)], placed: &[(&str, usize)]) -> Vec<String> {
        let question = Question { instance: "shop", placement, bundle: "sum", serial: 2 };
        let placed = placed.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        choose(&question, hosts.iter().map(|(name, host)| (*name, host)), &placed)
            .into_iter()
            .filter(|(_, fit)| matches!(fit, Eligibility::Yes | Eligibility::Unsettled))
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    #[test]
    fn settled_hosts_go_first_then_preference_then_the_fewest_placed_then_the_name() {
        let hosts = [("a", Host { settled: false, ..host() }), ("b", host()), ("c", host()), ("d", host())];
        let any = Placement::default();
        assert_eq!(chosen(&any, &hosts, &[]), ["b", "c", "d", "a"]);
        assert_eq!(chosen(&any, &hosts, &[("b", 1)]), ["c", "d", "b", "a"]);
        let listed =
            Placement { hosts: vec![Choice::One("d".into()), Choice::Equals(vec!["b".into(), "a".into()])], ..any };
        assert_eq!(chosen(&listed, &hosts, &[("d", 9)]), ["d", "b", "a"]);
    }

    #[test]
    fn each_host_that_may_not_says_why() {
        let tried = |serial| [("shop".to_owned(), Tried { serial, note: "api".into() })].into();
        let placement = Placement { require: [("disk".to_owned(), "ssd".to_owned())].into(), ..Placement::default() };
        let question = Question { instance: "shop", placement: &placement, bundle: "sum", serial: 2 };
        let says = |host: Host| fit(&question, "a", &host).to_string();
        assert_eq!(says(host()), "fit");
        assert_eq!(says(Host { state: HostState::Dead, ..host() }), "the host is lost, or has left");
        assert_eq!(says(Host { draining: true, ..host() }), "it is being drained");
        assert_eq!(says(Host { witness: true, ..host() }), "it is a witness: it votes, and runs nothing");
        assert_eq!(says(Host { cgroup: false, ..host() }), "it has no cgroups that can be killed with one write");
        assert!(says(Host { bundles: vec![], ..host() }).ends_with("deploy it there"));
        assert!(says(Host { bundles: vec!["web/sum".into()], ..host() }).ends_with("deploy it there"));
        assert_eq!(says(Host { labels: [].into(), ..host() }), "it has no label disk, and \"ssd\" is required");
        assert_eq!(says(Host { tried: tried(2), ..host() }), "the root has given up there: api");
        assert_eq!(says(Host { tried: tried(1), ..host() }), "fit");
        let elsewhere = Placement { hosts: vec![Choice::One("b".into())], ..Placement::default() };
        let question = Question { placement: &elsewhere, ..question };
        assert_eq!(fit(&question, "a", &host()).to_string(), "`placement` does not name the host");
    }
}
