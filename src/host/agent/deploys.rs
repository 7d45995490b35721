//! Deployments: a bundle is kept on this host's disk, and then made the wanted one in the store. What is asked next follows from what
//! has come; nothing here has a descriptor.

use super::bundles::Kept;
use crate::hosts::Key;
use crate::hosts::record::{self, Want, WantState};
use crate::store::{self, Ask, Record, Version};
use std::collections::BTreeMap;

/// Another writer may be faster so often.
const TRIES: u32 = 5;

/// What follows from what has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask the store.
    Ask(Ask),
    /// It is over.
    Over(Result<Deployed, String>),
}

/// What is wanted by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deployed {
    pub(super) digest: String,
    /// It was wanted already.
    pub(super) again: bool,
}

struct Deploy<A> {
    asker: A,
    kept: Option<Kept>,
    tries: u32,
}

/// Those that are under way, each with what has asked for it.
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

    /// One begins. Gives its number.
    pub(super) fn begin(&mut self, asker: A) -> u64 {
        self.last += 1;
        self.all.insert(self.last, Deploy { asker, kept: None, tries: 0 });
        self.last
    }

    /// It is over: gives what has asked.
    pub(super) fn end(&mut self, number: u64) -> Option<A> {
        self.all.remove(&number).map(|deploy| deploy.asker)
    }

    /// Its bundle is on the disk, or is not.
    pub(super) fn kept(&mut self, number: u64, kept: Result<Kept, String>) -> Option<Next> {
        let deploy = self.all.get_mut(&number)?;
        Some(match kept {
            Err(why) => Next::Over(Err(why)),
            Ok(kept) => {
                let prefix = Key::Want(kept.instance.clone()).in_store(&self.cluster);
                deploy.kept = Some(kept);
                Next::Ask(Ask::Read { prefix })
            }
        })
    }

    /// The store has answered.
    pub(super) fn answered(&mut self, number: u64, answer: store::Answer, wall_ms: u64) -> Option<Next> {
        let deploy = self.all.get_mut(&number)?;
        let Kept { digest, instance, placement, .. } = deploy.kept.clone()?;
        let over = |again| Next::Over(Ok(Deployed { digest: digest.clone(), again }));
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
        let next = deploys.kept(number, Ok(kept()));
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
        // One of another instance whose name begins alike.
        let other = Record { key: "/treevisor/shop/want/web-2".into(), version: 4, value: b"{}".to_vec() };
        let (expected, want) = written(deploys.answered(number, store::Answer::Records(vec![other]), 5));
        assert_eq!((expected, want.serial, want.state, want.by.as_str(), want.at), (None, 1, WantState::Up, "a", 5));
        // Another host was faster.
        let other = Want { bundle: "d0".into(), serial: 7, state: WantState::Up, ..Want::default() };
        let (expected, want) = written(deploys.answered(number, store::Answer::Lost(Some(record(9, &other))), 6));
        assert_eq!((expected, want.serial), (Some(9), 8));
        assert_eq!(want.placement, kept().placement);
        let over = deploys.answered(number, store::Answer::Done(10), 7);
        assert_eq!(over, Some(Next::Over(Ok(Deployed { digest: "d1".into(), again: false }))));
    }

    #[test]
    fn what_is_wanted_already_is_not_written_again_unless_it_is_down() {
        let (mut deploys, number) = begun();
        let up = Want { bundle: "d1".into(), serial: 7, state: WantState::Up, ..Want::default() };
        let over = deploys.answered(number, store::Answer::Records(vec![record(3, &up)]), 5);
        assert_eq!(over, Some(Next::Over(Ok(Deployed { digest: "d1".into(), again: true }))));
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
}
