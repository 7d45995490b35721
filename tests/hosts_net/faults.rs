//! What is done to the cluster, and what has to come of it.
use crate::cluster::{Cluster, LEASE, Part};
use crate::net::HOSTS;
use crate::observe::{Line, Subject, Verdict};
use crate::{PATIENCE, now, until};
use std::fmt;
use std::fs;
use std::time::Duration;

/// A kind of fault. Those of a host are inflicted on one that runs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    KillAgent,
    StopAgent,
    KillFence,
    StopFence,
    KillTop,
    StopTop,
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

/// A fault, and of which of both the host is hit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    kind: Kind,
    of: Subject,
}

/// What one of both was before a fault, and after it.
#[derive(Debug)]
struct Course {
    from: Line,
    to: Line,
    /// From the fault to the first line of the workers that run afterwards, in nanoseconds; of one that was not
    /// noticed: nothing.
    took: u64,
}

/// What came of a fault.
#[derive(Debug)]
pub(crate) struct Fault {
    plan: Plan,
    host: &'static str,
    root: Course,
    placed: Course,
    /// What was not hit, and was moved or restarted all the same.
    pub(crate) disturbed: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18} {}", format!("{:?}", self.plan.kind), self.host)?;
        for subject in Subject::ALL {
            let Course { from, to, took } = self.course(subject);
            write!(f, "  {subject} {} ({}) -> {} ({})", from.host, from.token, to.host, to.token)?;
            if from.token != to.token {
                write!(f, " {:.2} s", *took as f64 / 1e9)?;
            }
        }
        self.disturbed.iter().try_for_each(|what| write!(f, "  DISTURBED: {what}"))
    }
}

impl Fault {
    fn course(&self, subject: Subject) -> &Course {
        match subject {
            Subject::Root => &self.root,
            Subject::Placed => &self.placed,
        }
    }

    pub(crate) fn has_moved(&self, subject: Subject) -> bool {
        let Course { from, to, .. } = self.course(subject);
        from.token != to.token
    }

    /// How long it did not run because its host was lost, in nanoseconds.
    pub(crate) fn lost(&self, subject: Subject) -> Option<u64> {
        let Course { from, took, .. } = self.course(subject);
        (self.plan.kind.must_move() && from.host == self.host).then_some(*took)
    }

    /// How long it did not run because its agent was killed, in nanoseconds.
    pub(crate) fn killed(&self, subject: Subject) -> Option<u64> {
        let Course { from, took, .. } = self.course(subject);
        (self.plan.kind == Kind::KillAgent && from.host == self.host && self.has_moved(subject)).then_some(*took)
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
        Kind::KillTop,
        Kind::KillFence,
        Kind::StopLeader,
        Kind::StopTop,
    ];

    /// Whether a host can not keep what it runs.
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
            Kind::KillFence | Kind::StopFence | Kind::KillTop | Kind::StopTop | Kind::KillLeader | Kind::StopLeader => {
                false
            }
        }
    }

    /// Whether it is a fault of one host, of which what runs on another one need not notice anything.
    fn is_of_a_host(self) -> bool {
        !matches!(self, Kind::KillLeader | Kind::StopLeader | Kind::StopMajority | Kind::FreezeDiskOfLeader)
    }

    /// Gives the members of the store that it is about.
    fn begin(self, cluster: &mut Cluster, host: &'static str, of: Subject) -> Vec<&'static str> {
        let top = match of {
            Subject::Root => Part::Root,
            Subject::Placed => Part::Placed,
        };
        match self {
            Kind::KillAgent => cluster.signal(host, Part::Agent, libc::SIGKILL),
            Kind::StopAgent => cluster.signal(host, Part::Agent, libc::SIGSTOP),
            Kind::KillFence => cluster.signal(host, Part::Fence, libc::SIGKILL),
            Kind::StopFence => cluster.signal(host, Part::Fence, libc::SIGSTOP),
            Kind::KillTop => cluster.signal(host, top, libc::SIGKILL),
            Kind::StopTop => cluster.signal(host, top, libc::SIGSTOP),
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
            Kind::KillAgent | Kind::StopAgent | Kind::KillFence | Kind::StopFence | Kind::KillTop | Kind::StopTop => {}
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

impl Plan {
    /// So many, each kind as often as any other, in an order that the seed decides, now the one and now the other of
    /// both. `only`: the name of one, as it is printed.
    pub(crate) fn in_some_order(count: usize, seed: usize, has_disks: bool, only: Option<&str>) -> Vec<Plan> {
        let possible = Kind::ALL.into_iter().filter(|kind| has_disks || *kind != Kind::FreezeDiskOfLeader);
        let possible = possible.filter(|kind| only.is_none_or(|only| format!("{kind:?}") == only));
        let kinds = possible.clone().count();
        assert!(kinds > 0, "there is no {only:?} among {:?}", Kind::ALL);
        // With each round the other one, so that each kind comes to both.
        let of = |at: usize| Subject::ALL[(at % kinds + at / kinds + seed) % 2];
        let mut plans: Vec<Plan> =
            possible.cycle().enumerate().map(|(at, kind)| Plan { kind, of: of(at) }).take(count).collect();
        // xorshift; any order is as good.
        let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for at in (1..plans.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            plans.swap(at, (state % (at as u64 + 1)) as usize);
        }
        plans
    }

    /// Inflicts it, waits until all workers run again, mends it, and waits until all hosts are of use again.
    pub(crate) fn inflict(self, cluster: &mut Cluster) -> Fault {
        let Plan { kind, of } = self;
        let settled = until(PATIENCE, || cluster.all_live() && all_fresh(cluster, now().saturating_sub(1_000_000_000)));
        assert!(settled, "before {self:?}: the cluster does not come to rest: {}", cluster.logs());
        let before = cluster.observer.judge();
        let from = Subject::ALL.map(|subject| cluster.observer.last(subject).expect("its workers run"));
        let host = host_of(&from, of);
        let at = now();
        let members = kind.begin(cluster, host, of);
        // Long enough for what would be noticed to be noticed.
        let lasts = if kind == Kind::FreezeDiskOfLeader { 3 * LEASE } else { LEASE + 2 };
        let runs = |cluster: &Cluster, from: &Line| {
            let Some(line) = cluster.observer.last(from.subject) else { return false };
            let is_lost = kind.must_move() && from.host == host;
            line.token > from.token || !is_lost && line.at > at + lasts * 1_000_000_000
        };
        let over = if kind == Kind::StopMajority {
            // Nothing runs by then, and nothing can.
            std::thread::sleep(Duration::from_secs(LEASE + 2));
            for subject in Subject::ALL {
                let last = cluster.observer.last(subject).expect("they ran");
                assert!(now() - last.at > 1_000_000_000, "{subject} runs without a store: {}", cluster.logs());
            }
            true
        } else {
            until(PATIENCE, || from.iter().all(|from| runs(cluster, from)))
        };
        kind.mend(cluster, host, &members);
        assert!(over, "{self:?} of {host}: not all runs elsewhere: {}", cluster.logs());
        assert!(
            kind != Kind::StopFence || cluster.logs_of(host).contains("the fence does not answer, and is replaced"),
            "a stopped fence is not replaced: {}",
            cluster.logs_of(host)
        );
        let again = until(PATIENCE, || all_fresh(cluster, now().saturating_sub(500_000_000)));
        assert!(again, "{self:?} of {host}: the workers do not run again: {}", cluster.logs());
        let verdict = cluster.observer.judge();
        assert!(verdict.overlaps.is_empty(), "{self:?} of {host}: {:?}", verdict.overlaps);
        let mut disturbed = Vec::new();
        let mut course = |subject: Subject| {
            let from = from.iter().find(|line| line.subject == subject).expect("both").clone();
            let to = cluster.observer.last(subject).expect("they ran");
            let pids = |verdict: &Verdict| verdict.reign(subject, from.token).map(|reign| reign.pids.clone());
            let is_hit = match kind {
                Kind::KillTop | Kind::StopTop => subject == of,
                _ => !kind.is_of_a_host() || from.host == host,
            };
            if !is_hit && from.token != to.token {
                disturbed.push(format!("{subject} was moved"));
            } else if !is_hit && pids(&before) != pids(&verdict) {
                disturbed.push(format!("workers of {subject} were restarted"));
            }
            let first = verdict.reign(subject, to.token).map_or(at, |reign| reign.first);
            Course { from, to, took: first.saturating_sub(at) }
        };
        let (root, placed) = (course(Subject::Root), course(Subject::Placed));
        Fault { plan: self, host, root, placed, disturbed }
    }
}

fn host_of(lines: &[Line], subject: Subject) -> &'static str {
    let line = lines.iter().find(|line| line.subject == subject).expect("both");
    HOSTS.into_iter().find(|host| *host == line.host).expect("one of the three")
}

/// Whether the workers of both have written after this moment.
fn all_fresh(cluster: &Cluster, since: u64) -> bool {
    Subject::ALL.into_iter().all(|subject| cluster.observer.last(subject).is_some_and(|line| line.at > since))
}

fn freeze(cluster: &Cluster, host: &str, on: bool) {
    fs::write(cluster.group(host).path().join("cgroup.freeze"), if on { "1" } else { "0" }).unwrap();
}
