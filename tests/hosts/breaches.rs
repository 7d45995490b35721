//! Rules that are switched wrong, so that it is known that the checkers see it.
//!
//! No breach is in the program. Each stands between the agent and its world: in the settings that it is made with, in
//! an event before it is handed in, in an action before it is carried out, or in the world itself.

use crate::machine::{Instant, Machine};
use crate::store::Store;
use treevisor::hosts::record::{self, Host, HostState, Ownership};
use treevisor::hosts::{Action, Answer, Event, Key, Stored, Timing};
use treevisor::time::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The deadline is counted from the answer to a renewal, not from its sending.
    FromTheAnswer,
    /// G is zero.
    NoGuard,
    /// Another host's record is made dead whatever its version is.
    BlindDeclaration,
    /// A claim of a host that is dead is taken for over in whichever of its epochs it was made.
    EpochIgnored,
    /// An epoch begins although something of the one before is left.
    BeginsBeforeEmpty,
    /// Neither fence nor timer.
    NothingKills,
    /// Clocks differ by more than was reckoned with.
    Drift,
    /// Others are declared dead after 0.8 D.
    Hasty,
    /// Leases are reckoned by the wall clock.
    WallTime,
    /// A renewal does not wait for the fence.
    PokeNotAwaited,
    /// A claim is set free when it is asked to stop.
    FreesBeforeEmpty,
}

/// Each with the seed that is tried first: one that has shown it, so that the others need not be run.
pub(crate) const BREACHES: &[(Breach, u64)] = &[
    (Breach::FromTheAnswer, 274),
    (Breach::NoGuard, 0),
    (Breach::BlindDeclaration, 4),
    (Breach::EpochIgnored, 105),
    (Breach::BeginsBeforeEmpty, 1),
    (Breach::NothingKills, 2),
    (Breach::Drift, 157),
    (Breach::Hasty, 0),
    (Breach::WallTime, 12),
    (Breach::PokeNotAwaited, 9),
    (Breach::FreesBeforeEmpty, 4),
];

impl Breach {
    pub(crate) fn settings(self, timing: &mut Timing) {
        if self == Breach::NoGuard {
            timing.guard = Span::ZERO;
        }
    }

    /// Changes an event before it is handed in.
    pub(crate) fn event(self, cluster: &str, event: &mut Event) {
        let Event::Answered { answer: Answer::Records(records), .. } = event else { return };
        let host = |records: &[Stored], name: &str| {
            let key = Key::Host(name.to_owned()).in_store(cluster);
            let stored = records.iter().find(|stored| stored.key == key)?;
            record::read::<Host>(&stored.value).ok()
        };
        for at in 0..records.len() {
            match (self, Key::parse(cluster, &records[at].key)) {
                (Breach::EpochIgnored, Some(Key::Own(_))) => {
                    let Ok(mut own) = record::read::<Ownership>(&records[at].value) else { continue };
                    if let Some(holder) = host(records, &own.host) {
                        own.epoch = own.epoch.min(holder.epoch);
                        records[at].value = record::write(&own).expect("it was as long before");
                    }
                }
                (Breach::Hasty, Some(Key::Host(_))) => {
                    let Ok(mut host) = record::read::<Host>(&records[at].value) else { continue };
                    host.ttl_ms = host.ttl_ms * 4 / 5;
                    records[at].value = record::write(&host).expect("it was as long before");
                }
                _ => {}
            }
        }
    }

    /// Changes an action before it is carried out. What comes back is handed in at once.
    pub(crate) fn action(
        self,
        at: Instant,
        timing: &Timing,
        machine: &mut Machine,
        store: &Store,
        own_key: &str,
        action: &mut Action,
    ) -> Option<Event> {
        match (self, action) {
            (Breach::FromTheAnswer, Action::SetDeadline(deadline)) => {
                *deadline = machine.clocks.read(at).plus(timing.held());
                None
            }
            (Breach::BlindDeclaration, Action::Swap { key, expected, new, .. }) => {
                let dead = record::read::<Host>(new).is_ok_and(|host| host.state == HostState::Dead);
                if key.contains("/host/") && key != own_key && dead {
                    *expected = store.get(key).map(|(_, version, _)| *version);
                }
                None
            }
            (Breach::BeginsBeforeEmpty, Action::Clear(number)) => Some(Event::Cleared(*number)),
            (Breach::PokeNotAwaited, Action::Poke(number)) => Some(Event::Poked(*number)),
            (Breach::FreesBeforeEmpty, Action::Stop { run, .. }) => {
                Some(Event::Exited { run: *run, end: treevisor::hosts::RunEnd::HandedOver })
            }
            _ => None,
        }
    }
}
