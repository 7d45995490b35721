//! What is done to the cluster, and what has to come of it.
use crate::cluster::{Cluster, LEASE, Part};
use crate::net::HOSTS;
use crate::observe::Line;
use crate::{PATIENCE, now, until};
use std::fmt;
use std::fs;
use std::time::Duration;

/// A fault. Those of a host are inflicted on the one that runs the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    KillAgent,
    StopAgent,
    KillFence,
    StopFence,
    KillRoot,
    StopRoot,
    StopAllButWorkers,
    KillHost,
    FreezeHost,
    LinkDown,
    CutOut,
    CutIn,
    KillLeader,
    StopLeader,
    StopMajority,
    FreezeDiskOfLeader,
}

/// What came of one.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    pub(crate) from: Line,
    pub(crate) to: Line,
    /// From the fault to the first line of the workers that run afterwards, in nanoseconds; of one that was not noticed: nothing.
    took: u64,
    /// All that were ever seen.
    pub(crate) overlaps: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { kind, from, to, took, .. } = self;
        let kind = format!("{kind:?}");
        write!(f, "{kind:<18} {} ({}) -> {} ({})", from.host, from.token, to.host, to.token)?;
        if from.token != to.token { write!(f, "  {:.2} s", *took as f64 / 1e9) } else { Ok(()) }
    }
}

impl Fault {
    pub(crate) fn has_moved(&self) -> bool {
        self.from.token != self.to.token
    }
}

impl Kind {
    /// From the worst on.
    const ALL: [Kind; 16] = [
        Kind::StopAllButWorkers,
        Kind::CutOut,
        Kind::CutIn,
        Kind::KillAgent,
        Kind::StopFence,
        Kind::FreezeHost,
        Kind::KillHost,
        Kind::StopMajority,
        Kind::LinkDown,
        Kind::FreezeDiskOfLeader,
        Kind::StopAgent,
        Kind::KillLeader,
        Kind::KillRoot,
        Kind::KillFence,
        Kind::StopLeader,
        Kind::StopRoot,
    ];

    /// So many, each kind as often as any other, in an order that the seed decides.
    pub(crate) fn in_some_order(count: usize, seed: usize, has_disks: bool) -> Vec<Kind> {
        let possible = Kind::ALL.into_iter().filter(|kind| has_disks || *kind != Kind::FreezeDiskOfLeader);
        let mut kinds: Vec<Kind> = possible.cycle().take(count).collect();
        // xorshift; any order is as good.
        let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for at in (1..kinds.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            kinds.swap(at, (state % (at as u64 + 1)) as usize);
        }
        kinds
    }

    /// Whether the host that runs the tree can not keep it.
    fn must_move(self) -> bool {
        match self {
            Kind::StopAllButWorkers
            | Kind::KillHost
            | Kind::FreezeHost
            | Kind::LinkDown
            | Kind::CutOut
            | Kind::CutIn => true,
            // A new agent is there at once, and may be the first to claim.
            Kind::KillAgent | Kind::StopAgent | Kind::StopMajority | Kind::FreezeDiskOfLeader => false,
            // Without a fence the lease is not renewed, but there is another one in time.
            Kind::KillFence
            | Kind::StopFence
            | Kind::KillRoot
            | Kind::StopRoot
            | Kind::KillLeader
            | Kind::StopLeader => false,
        }
    }

    /// Inflicts it, waits until the workers run again, mends it, and waits until all hosts are of use again.
    pub(crate) fn inflict(self, cluster: &mut Cluster) -> Fault {
        let settled = until(PATIENCE, || cluster.all_live() && is_fresh(cluster, now().saturating_sub(1_000_000_000)));
        assert!(settled, "before {self:?}: the cluster does not come to rest: {}", cluster.logs());
        let from = cluster.observer.last().expect("the workers run");
        let host = HOSTS.into_iter().find(|host| *host == from.host).expect("one of the three");
        let at = now();
        let members = self.begin(cluster, host);
        // Long enough for what would be noticed to be noticed.
        let lasts = if self == Kind::FreezeDiskOfLeader { 3 * LEASE } else { LEASE + 2 };
        let stays = |cluster: &Cluster| is_fresh(cluster, at + lasts * 1_000_000_000);
        let moved = |cluster: &Cluster| cluster.observer.last().is_some_and(|line| line.token > from.token);
        let over = if self == Kind::StopMajority {
            // Nothing runs by then, and nothing can.
            std::thread::sleep(Duration::from_secs(LEASE + 2));
            let last = cluster.observer.last().expect("they ran");
            assert!(now() - last.at > 1_000_000_000, "it runs without a store: {}", cluster.logs());
            true
        } else {
            until(PATIENCE, || moved(cluster) || !self.must_move() && stays(cluster))
        };
        self.mend(cluster, host, &members);
        assert!(over, "{self:?} of {host}: it does not run elsewhere: {}", cluster.logs());
        assert!(
            self != Kind::StopFence || cluster.logs_of(host).contains("the fence does not answer, and is replaced"),
            "a stopped fence is not replaced: {}",
            cluster.logs_of(host)
        );
        let again = until(PATIENCE, || is_fresh(cluster, now().saturating_sub(500_000_000)));
        assert!(again, "{self:?} of {host}: the workers do not run again: {}", cluster.logs());
        let to = cluster.observer.last().expect("they ran");
        let verdict = cluster.observer.judge();
        let first = verdict.reigns.get(&to.token).map_or(at, |reign| reign.first);
        Fault { kind: self, from, took: first.saturating_sub(at), to, overlaps: verdict.overlaps }
    }

    /// Gives the members of the store that it is about.
    fn begin(self, cluster: &mut Cluster, host: &'static str) -> Vec<&'static str> {
        match self {
            Kind::KillAgent => cluster.signal(host, Part::Agent, libc::SIGKILL),
            Kind::StopAgent => cluster.signal(host, Part::Agent, libc::SIGSTOP),
            Kind::KillFence => cluster.signal(host, Part::Fence, libc::SIGKILL),
            Kind::StopFence => cluster.signal(host, Part::Fence, libc::SIGSTOP),
            Kind::KillRoot => cluster.signal(host, Part::Root, libc::SIGKILL),
            Kind::StopRoot => cluster.signal(host, Part::Root, libc::SIGSTOP),
            Kind::StopAllButWorkers => cluster.signal(host, Part::AllButWorkers, libc::SIGSTOP),
            Kind::KillHost => cluster.kill_host(host),
            Kind::FreezeHost => freeze(cluster, host, true),
            Kind::LinkDown => cluster.net.link(host, false),
            Kind::CutOut => cluster.net.cut_out(host, true),
            Kind::CutIn => cluster.net.cut_in(host, true),
            Kind::KillLeader | Kind::StopLeader | Kind::FreezeDiskOfLeader => {
                assert!(until(PATIENCE, || cluster.leader().is_some()), "the store has no leader: {}", cluster.logs());
                let leader = cluster.leader().unwrap_or(host);
                match self {
                    Kind::KillLeader => cluster.signal_member(leader, libc::SIGKILL),
                    Kind::StopLeader => cluster.signal_member(leader, libc::SIGSTOP),
                    _ => cluster.freeze_disk(Some(leader)),
                }
                return vec![leader];
            }
            Kind::StopMajority => {
                let members = vec![HOSTS[0], HOSTS[2]];
                members.iter().for_each(|member| cluster.signal_member(member, libc::SIGSTOP));
                return members;
            }
        }
        Vec::new()
    }

    fn mend(self, cluster: &mut Cluster, host: &'static str, members: &[&'static str]) {
        match self {
            // Its tree has ended them by now, or nothing has.
            Kind::KillAgent | Kind::StopAgent | Kind::KillFence | Kind::StopFence | Kind::KillRoot | Kind::StopRoot => {
            }
            Kind::StopAllButWorkers => cluster.signal(host, Part::AllButWorkers, libc::SIGCONT),
            Kind::KillHost => cluster.start_host(host),
            Kind::FreezeHost => freeze(cluster, host, false),
            Kind::LinkDown => cluster.net.link(host, true),
            Kind::CutOut => cluster.net.cut_out(host, false),
            Kind::CutIn => cluster.net.cut_in(host, false),
            Kind::FreezeDiskOfLeader => cluster.freeze_disk(None),
            Kind::KillLeader => cluster.start_member(members[0]),
            Kind::StopLeader | Kind::StopMajority => {
                members.iter().for_each(|member| cluster.signal_member(member, libc::SIGCONT));
            }
        }
    }
}

/// Whether the workers have written after this moment.
fn is_fresh(cluster: &Cluster, since: u64) -> bool {
    cluster.observer.last().is_some_and(|line| line.at > since)
}

fn freeze(cluster: &Cluster, host: &str, on: bool) {
    fs::write(cluster.group(host).path().join("cgroup.freeze"), if on { "1" } else { "0" }).unwrap();
}
