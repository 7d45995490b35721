//! Deployments: a bundle is kept on this host's disk, offered to the other hosts, and then made the wanted one in the
//! store. Pure: no descriptor, no clock.

use super::bundles::Kept;
use crate::hosts::Key;
use crate::hosts::record::{self, Want, WantState};
use crate::store::{self, Ask, Record, Version};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// How long the other hosts may take to fetch and check a bundle.
const ANSWERED: Span = Span::from_secs(15);

/// So many hosts must have a bundle, so that the loss of one or two does not lose it; all live hosts, if there are
/// fewer.
const ENOUGH: usize = 3;

/// How often another writer may change the record first before the deployment fails.
const TRIES: u32 = 5;

/// The next step of a deployment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Offer the bundle with this digest to these hosts.
    Offer(String, Vec<String>),
    /// Read or write this record of the store.
    Ask(Ask),
    /// The deployment has ended.
    Over(Result<Deployed, String>),
}

/// The result of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deployed {
    pub(super) digest: String,
    /// The bundle was the wanted one already.
    pub(super) again: bool,
    /// The hosts that do not have the bundle, with the reason; `None`: hosts are not connected, and it was offered to
    /// none.
    pub(super) without: Option<BTreeMap<String, String>>,
}

/// Whether another host has the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OfferState {
    Asked,
    Kept,
    /// The host has checked the bundle, and found errors.
    Wrong(String),
    /// The host could not be reached, or has not answered in time.
    Silent(String),
}

struct Deploy<A> {
    asker: A,
    kept: Option<Kept>,
    tries: u32,
    /// The state of each other host; `None`: hosts are not connected.
    others: Option<BTreeMap<String, OfferState>>,
    until: Time,
}

/// The deployments that are in progress.
pub(super) struct Deploys<A> {
    cluster: String,
    host: String,
    last: u64,
    all: BTreeMap<u64, Deploy<A>>,
}

impl<A> Deploys<A> {
    pub(super) fn new(cluster: &str, host: &str) -> Deploys<A> {
        Deploys { cluster: cluster.to_owned(), host: host.to_owned(), last: 0, all: BTreeMap::new() }
    }

    /// Begins a deployment, and returns its number.
    pub(super) fn begin(&mut self, asker: A) -> u64 {
        self.last += 1;
        self.all.insert(self.last, Deploy { asker, kept: None, tries: 0, others: None, until: Time::ZERO });
        self.last
    }

    /// Removes a deployment that has ended, and returns the tool that has asked for it.
    pub(super) fn end(&mut self, number: u64) -> Option<A> {
        self.all.remove(&number).map(|deploy| deploy.asker)
    }

    /// The disk of this host has kept the bundle, or has failed to. `others`: the other live hosts, each with the
    /// reason why it cannot be reached, or `None` if it can; `None` altogether: hosts are not connected.
    pub(super) fn kept(
        &mut self,
        number: u64,
        kept: Result<Kept, String>,
        others: Option<BTreeMap<String, Option<String>>>,
        now: Time,
    ) -> Option<Next> {
        let deploy = self.all.get_mut(&number)?;
        let kept = match kept {
            Err(why) => return Some(Next::Over(Err(why))),
            Ok(kept) => kept,
        };
        let digest = kept.digest.clone();
        deploy.kept = Some(kept);
        deploy.until = now + ANSWERED;
        let there = |why: Option<String>| why.map_or(OfferState::Asked, OfferState::Silent);
        let others = others.map(|others| others.into_iter().map(|(host, why)| (host, there(why))).collect());
        deploy.others = others;
        let asked = |others: &BTreeMap<String, OfferState>| -> Vec<String> {
            others.iter().filter(|(_, there)| **there == OfferState::Asked).map(|(host, _)| host.clone()).collect()
        };
        let asked = deploy.others.as_ref().map(asked).unwrap_or_default();
        if asked.is_empty() { Some(self.decide(number)?) } else { Some(Next::Offer(digest, asked)) }
    }

    /// Another host has kept the bundle, or has refused it. Returns the next step of each deployment of that bundle.
    pub(super) fn arrived(&mut self, host: &str, digest: &str, kept: &Result<(), String>) -> Vec<(u64, Next)> {
        let mut decided = Vec::new();
        for (number, deploy) in &mut self.all {
            let same = deploy.kept.as_ref().is_some_and(|kept| kept.digest == digest);
            let there = deploy.others.as_mut().filter(|_| same).and_then(|others| others.get_mut(host));
            if let Some(there) = there.filter(|there| **there == OfferState::Asked) {
                *there = kept.clone().map_or_else(OfferState::Wrong, |()| OfferState::Kept);
                decided.push(*number);
            }
        }
        decided.into_iter().filter_map(|number| Some((number, self.decide(number)?))).collect()
    }

    /// The offers without an answer so far: digest and host of each.
    pub(super) fn unanswered(&self) -> Vec<(String, String)> {
        let of = |deploy: &Deploy<A>| -> Vec<(String, String)> {
            let Some((kept, others)) = deploy.kept.as_ref().zip(deploy.others.as_ref()) else { return Vec::new() };
            let asked = others.iter().filter(|(_, there)| **there == OfferState::Asked);
            asked.map(|(host, _)| (kept.digest.clone(), host.clone())).collect()
        };
        self.all.values().flat_map(of).collect()
    }

    /// Hosts that have not answered at the deadline of a deployment count as hosts without the bundle.
    pub(super) fn due(&mut self, now: Time) -> Vec<(u64, Next)> {
        let mut decided = Vec::new();
        for (number, deploy) in self.all.iter_mut().filter(|(_, deploy)| deploy.until <= now) {
            for there in deploy.others.iter_mut().flat_map(BTreeMap::values_mut).filter(|it| **it == OfferState::Asked)
            {
                *there = OfferState::Silent(format!("it has not answered in {ANSWERED}"));
                decided.push(*number);
            }
        }
        decided.dedup();
        decided.into_iter().filter_map(|number| Some((number, self.decide(number)?))).collect()
    }

    /// Decides once all hosts have answered: goes on if enough hosts have the bundle, and no host that may run it has
    /// found errors.
    fn decide(&self, number: u64) -> Option<Next> {
        let deploy = self.all.get(&number)?;
        let kept = deploy.kept.as_ref()?;
        let prefix = Key::Want(kept.instance.clone()).in_store(&self.cluster);
        let Some(others) = &deploy.others else { return Some(Next::Ask(Ask::Read { prefix })) };
        if others.values().any(|there| *there == OfferState::Asked) {
            return None;
        }
        let lacks = lacks(others);
        let wrong = |(host, there): &(&String, &OfferState)| {
            matches!(there, OfferState::Wrong(_)) && kept.placement.rank(host).is_some()
        };
        let have = 1 + others.len() - lacks.len();
        if others.iter().any(|one| wrong(&one)) || have < ENOUGH.min(1 + others.len()) {
            let reasons: Vec<_> = lacks.iter().map(|(host, why)| format!("{host}: {why}")).collect();
            return Some(Next::Over(Err(format!(
                "it has to be on {ENOUGH} hosts, or on all that live, and to be right on each that may run it; it is not on {}",
                reasons.join("; ")
            ))));
        }
        Some(Next::Ask(Ask::Read { prefix }))
    }

    /// The store has answered the read, or the swap.
    pub(super) fn answered(&mut self, number: u64, answer: store::Answer, wall_ms: u64) -> Option<Next> {
        let deploy = self.all.get_mut(&number)?;
        let Kept { digest, instance, placement, .. } = deploy.kept.clone()?;
        let without = deploy.others.as_ref().map(lacks);
        let over = |again| Next::Over(Ok(Deployed { digest: digest.clone(), again, without: without.clone() }));
        let key = Key::Want(instance).in_store(&self.cluster);
        let found = match answer {
            store::Answer::Records(records) => records.into_iter().find(|record| record.key == key),
            store::Answer::Lost(found) => found,
            store::Answer::Done(_) => return Some(over(false)),
            store::Answer::Unknown(why) => {
                let why = format!("the store does not answer ({why}); the bundle lies on this host: deploy it again");
                return Some(Next::Over(Err(why)));
            }
            store::Answer::Health(_) => return None,
        };
        deploy.tries += 1;
        if deploy.tries > TRIES {
            return Some(Next::Over(Err("others change what is deployed at the same time; deploy it again".into())));
        }
        Some(match wanted(found.as_ref()) {
            Err(why) => Next::Over(Err(why)),
            Ok((_, want)) if want.bundle == digest && want.state == WantState::Up => over(true),
            Ok((_, want)) if want.serial == u64::MAX => Next::Over(Err(format!(
                "{key} has the largest serial there is: no program of ours has written that; delete it"
            ))),
            Ok((expected, want)) => {
                let new = Want {
                    bundle: digest,
                    serial: want.serial + 1,
                    state: WantState::Up,
                    by: self.host.clone(),
                    at: wall_ms,
                    note: None,
                    placement,
                };
                match record::write(&new) {
                    Ok(new) => Next::Ask(Ask::Swap { key, expected, new }),
                    Err(error) => Next::Over(Err(error.to_string())),
                }
            }
        })
    }
}

fn wanted(found: Option<&Record>) -> Result<(Option<Version>, Want), String> {
    let Some(found) = found else { return Ok((None, Want::default())) };
    let want = record::read(&found.value).map_err(|error| format!("{}: {error}", found.key))?;
    Ok((Some(found.version), want))
}

/// The hosts without the bundle, and why.
fn lacks(others: &BTreeMap<String, OfferState>) -> BTreeMap<String, String> {
    let why = |(host, there): (&String, &OfferState)| match there {
        OfferState::Asked | OfferState::Kept => None,
        OfferState::Wrong(why) | OfferState::Silent(why) => Some((host.clone(), why.clone())),
    };
    others.iter().filter_map(why).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::record::{Choice, Placement};

    fn kept() -> Kept {
        let placement = Placement { hosts: vec![Choice::One("a".into())], ..Placement::default() };
        Kept { digest: "d1".into(), instance: "web".into(), file: "web.toml".into(), placement }
    }

    fn begun() -> (Deploys<()>, u64) {
        let mut deploys = Deploys::new("shop", "a");
        let number = deploys.begin(());
        let next = deploys.kept(number, Ok(kept()), None, Time::ZERO);
        assert_eq!(next, Some(Next::Ask(Ask::Read { prefix: "/treevisor/shop/want/web".into() })));
        (deploys, number)
    }

    fn written(next: Option<Next>) -> (Option<Version>, Want) {
        let Some(Next::Ask(Ask::Swap { expected, new, .. })) = next else { panic!("{next:?}") };
        (expected, record::read(&new).unwrap())
    }

    fn record(version: Version, want: &Want) -> Record {
        Record { key: "/treevisor/shop/want/web".into(), version, value: record::write(want).unwrap() }
    }

    #[test]
    fn the_first_one_makes_the_record_and_later_ones_raise_its_serial() {
        let (mut deploys, number) = begun();
        // The record of another instance, whose name has the same beginning.
        let other = Record { key: "/treevisor/shop/want/web-2".into(), version: 4, value: b"{}".to_vec() };
        let (expected, want) = written(deploys.answered(number, store::Answer::Records(vec![other]), 5));
        assert_eq!((expected, want.serial, want.state, want.by.as_str(), want.at), (None, 1, WantState::Up, "a", 5));
        // Another host has written the record first.
        let other = Want { bundle: "d0".into(), serial: 7, state: WantState::Up, ..Want::default() };
        let (expected, want) = written(deploys.answered(number, store::Answer::Lost(Some(record(9, &other))), 6));
        assert_eq!((expected, want.serial), (Some(9), 8));
        assert_eq!(want.placement, kept().placement);
        let over = deploys.answered(number, store::Answer::Done(10), 7);
        assert_eq!(over, Some(Next::Over(Ok(Deployed { digest: "d1".into(), again: false, without: None }))));
    }

    #[test]
    fn what_is_wanted_already_is_not_written_again_unless_it_is_down() {
        let (mut deploys, number) = begun();
        let up = Want { bundle: "d1".into(), serial: 7, state: WantState::Up, ..Want::default() };
        let over = deploys.answered(number, store::Answer::Records(vec![record(3, &up)]), 5);
        assert_eq!(over, Some(Next::Over(Ok(Deployed { digest: "d1".into(), again: true, without: None }))));
        let (mut deploys, number) = begun();
        let down = Want { state: WantState::Down, ..up };
        let (expected, want) = written(deploys.answered(number, store::Answer::Records(vec![record(3, &down)]), 5));
        assert_eq!((expected, want.serial), (Some(3), 8));
    }

    #[test]
    fn a_store_that_does_not_answer_is_said_so() {
        let (mut deploys, number) = begun();
        let over = deploys.answered(number, store::Answer::Unknown("refused".into()), 5);
        assert!(matches!(over, Some(Next::Over(Err(why))) if why.contains("refused")));
        let (mut deploys, number) = begun();
        let last = Want { serial: u64::MAX, ..Want::default() };
        let over = deploys.answered(number, store::Answer::Lost(Some(record(2, &last))), 5);
        assert!(matches!(over, Some(Next::Over(Err(why))) if why.contains("largest serial")));
        let (mut deploys, number) = begun();
        let garbage = Record { key: "/treevisor/shop/want/web".into(), version: 1, value: b"[".to_vec() };
        let over = deploys.answered(number, store::Answer::Lost(Some(garbage)), 5);
        assert!(matches!(over, Some(Next::Over(Err(_)))));
    }

    /// A deployment beside these hosts, of which those with a reason cannot be reached.
    fn offered(others: &[(&str, Option<&str>)]) -> (Deploys<&'static str>, u64, Option<Next>) {
        let mut deploys = Deploys::new("shop", "a");
        let number = deploys.begin("tool");
        let others = others.iter().map(|(host, why)| ((*host).to_owned(), why.map(str::to_owned))).collect();
        let next =
            deploys.kept(number, Ok(Kept { placement: Placement::default(), ..kept() }), Some(others), Time::ZERO);
        (deploys, number, next)
    }

    fn refused(next: Option<&Next>) -> &str {
        let Some(Next::Over(Err(why))) = next else { panic!("{next:?}") };
        why
    }

    #[test]
    fn it_is_wanted_when_three_hosts_or_all_have_it() {
        let (mut deploys, number, next) = offered(&[("b", None), ("c", None), ("d", Some("no link"))]);
        assert_eq!(next, Some(Next::Offer("d1".into(), vec!["b".into(), "c".into()])));
        assert!(deploys.arrived("b", "d1", &Ok(())).is_empty());
        assert!(deploys.arrived("c", "d2", &Ok(())).is_empty(), "another bundle");
        let asked = deploys.arrived("c", "d1", &Ok(()));
        assert!(matches!(&asked[..], [(_, Next::Ask(Ask::Read { .. }))]), "{asked:?}");
        let over = deploys.answered(number, store::Answer::Done(1), 5);
        let Some(Next::Over(Ok(Deployed { without: Some(without), .. }))) = over else { panic!("{over:?}") };
        assert_eq!(without, BTreeMap::from([("d".to_owned(), "no link".to_owned())]));
        // Of two hosts, both must have it.
        let (_, _, next) = offered(&[("b", Some("no link"))]);
        assert!(refused(next.as_ref()).contains("b: no link"));
        let (_, _, next) = offered(&[]);
        assert!(matches!(next, Some(Next::Ask(_))));
    }

    #[test]
    fn it_is_not_wanted_where_a_host_that_may_run_it_has_found_it_wrong_or_too_few_answer() {
        let (mut deploys, ..) = offered(&[("b", None), ("c", None), ("d", None)]);
        deploys.arrived("b", "d1", &Ok(()));
        deploys.arrived("c", "d1", &Ok(()));
        let over = deploys.arrived("d", "d1", &Err("no user web".into()));
        assert!(refused(over.first().map(|(_, next)| next)).contains("d: no user web"));
        let (mut deploys, ..) = offered(&[("b", None), ("c", None)]);
        deploys.arrived("b", "d1", &Ok(()));
        assert!(deploys.due(Time::ZERO + Span::from_secs(14)).is_empty());
        let over = deploys.due(Time::ZERO + Span::from_secs(15));
        assert!(refused(over.first().map(|(_, next)| next)).contains("c: it has not answered"));
        assert_eq!(over.len(), 1);
    }
}
