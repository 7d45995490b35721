//! What a seed means: how many hosts, which lease, how bad the weather.

use crate::breaches::Breach;
use crate::rng::Rng;
use treevisor::hosts::Timing;
use treevisor::hosts::record::{Choice, Placement};
use treevisor::time::Span;

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MILLI: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) hosts: usize,
    pub(crate) instances: Vec<Placement>,
    pub(crate) timing: Timing,
    /// Which hosts have the bundle.
    pub(crate) bundles: Vec<bool>,
    /// By how many millionths the clocks may be fast or slow: A2.
    pub(crate) drift: i64,
    /// By how many BOOTTIME may be, where no machine is suspended.
    pub(crate) slew: i64,
    /// What a kill takes at most, by the host's own clock: A3.
    pub(crate) kill: u64,
    /// The kernel's timers kill at the deadline, besides the fence.
    pub(crate) timers: bool,
    pub(crate) suspends: bool,
    /// The first host has no fault of its own, and the store none.
    pub(crate) calm: bool,
    /// Messages of a thousand that are lost, that are late, that come twice.
    pub(crate) lost: u32,
    pub(crate) late: u32,
    /// Answers of a thousand that are lost, besides.
    pub(crate) mute: u32,
    pub(crate) twice: u32,
    /// Reads may be so stale.
    pub(crate) stale: u64,
    /// How long faults go on, and how long one is from the next on average.
    pub(crate) faults: u64,
    pub(crate) between: u64,
}

impl Scenario {
    pub(crate) fn new(seed: u64, breach: Option<Breach>) -> Scenario {
        let mut rng = Rng::new(seed, 1);
        let lease = *rng.pick(&[5, 5, 6, 15]);
        let mut timing = Timing::of(Span::from_secs(lease));
        timing.settle = timing.lease.times(2);
        if rng.chance(300) {
            timing.guard = Span::from_millis(lease * 50 + 300);
        }
        if rng.chance(200) {
            timing.stop_before = Span::ZERO;
        }
        let drift: i64 = *rng.pick(&[20_000, 20_000, 5_000, 0]);
        let guard = timing.guard.as_nanos();
        // K that this guard allows for, from the formula; no more than a second.
        let of_clocks = (2 * u128::from(timing.lease.as_nanos()) * drift as u128 / (1_000_000 + drift as u128)) as u64;
        let kill = ((guard - of_clocks - MILLI).min(SECOND) / MILLI) * MILLI;
        let timers = breach != Some(Breach::PokeNotAwaited) && rng.chance(700);
        let suspends = timers && rng.chance(500);
        let hosts = rng.between(2, 4) as usize;
        let bad = rng.chance(600);
        let names = ["a", "b", "c", "d"];
        let placement = |rng: &mut Rng| {
            let mut hosts: Vec<Choice> = names[..hosts].iter().map(|name| Choice::One((*name).to_owned())).collect();
            match rng.below(4) {
                0 => Placement { hosts, ..Placement::default() },
                1 => {
                    hosts.reverse();
                    hosts.pop();
                    Placement { hosts, ..Placement::default() }
                }
                _ => Placement::default(),
            }
        };
        let mut scenario = Scenario {
            hosts,
            instances: (0..rng.between(1, 2)).map(|_| placement(&mut rng)).collect(),
            bundles: (0..hosts).map(|_| !rng.chance(80)).collect(),
            drift,
            slew: if suspends { drift } else { 50_000 },
            kill,
            timers,
            suspends,
            calm: breach.is_none() && rng.chance(250),
            lost: if bad { rng.between(0, 100) as u32 } else { 0 },
            late: if bad { rng.between(0, 100) as u32 } else { 5 },
            mute: 0,
            twice: if bad { 20 } else { 0 },
            stale: rng.below(2_001) * MILLI,
            faults: rng.between(80, 240) * SECOND,
            between: rng.between(1, 2 * lease) * SECOND,
            timing,
        };
        if let Some(breach) = breach {
            breach.settings(&mut scenario.timing);
            if matches!(breach, Breach::FromTheAnswer | Breach::NoGuard | Breach::Drift | Breach::Hasty) {
                // What looks often sees a renewal soon, and does not wait for longer than it has to.
                scenario.timing.look = Span::from_millis(200);
                scenario.stale = 0;
            }
        }
        // Weather in which what is broken shows soon.
        match breach {
            Some(Breach::Drift) => (scenario.drift, scenario.slew) = (150_000, 150_000),
            Some(Breach::FromTheAnswer) => scenario.mute = 500,
            Some(Breach::NothingKills) => scenario.timers = false,
            Some(_) | None => {}
        }
        scenario
    }

    /// Within this after the last fault everything runs: two leases, and as long as a host that was lost lets others go
    /// first.
    pub(crate) fn limit(&self) -> u64 {
        self.timing.lease.as_nanos() * 2 + self.timing.settle.as_nanos() + 5 * SECOND
    }

    pub(crate) fn name(&self, host: usize) -> &'static str {
        ["a", "b", "c", "d"][host]
    }

    /// Whether a host may ever run this instance.
    pub(crate) fn may_run(&self, host: usize, instance: usize) -> bool {
        self.bundles[host] && self.instances[instance].rank(self.name(host)).is_some()
    }
}
