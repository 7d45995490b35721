//! One host: its clocks, its agent, its fence, and what runs on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use treevisor::hosts::{Action, Agent, ClaimKey, Event, Moment, RequestId, Run, RunId};
use treevisor::time::Time;

/// Nanoseconds of true time, which no host can see.
pub(crate) type Instant = u64;

/// BOOTTIME and MONOTONIC_RAW, each at a rate of its own.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    read_at: Instant,
    /// In millionths of nanoseconds, so that nothing is lost however often they are read.
    boottime: u128,
    raw: u128,
    /// By how many millionths each is fast.
    pub(crate) fast: [i64; 2],
    /// How far the wall clock was set, forth and back; begins so that it stays above zero.
    pub(crate) wall: u64,
    pub(crate) suspended: bool,
}

const MILLION: u128 = 1_000_000;

fn rate(fast: i64) -> u128 {
    MILLION.saturating_add_signed(i128::from(fast))
}

impl Clocks {
    pub(crate) fn new(at: Instant, uptime: u64, wall: u64) -> Clocks {
        let uptime = u128::from(uptime) * MILLION;
        Clocks { read_at: at, boottime: uptime, raw: uptime, fast: [0, 0], wall, suspended: false }
    }

    /// What they show. Also after `fast` or `suspended` are to change.
    pub(crate) fn read(&mut self, at: Instant) -> Moment {
        let passed = u128::from(at - self.read_at);
        self.read_at = at;
        self.boottime += passed * rate(self.fast[0]);
        if !self.suspended {
            self.raw += passed * rate(self.fast[1]);
        }
        let shown = |clock: u128| Time::from_nanos((clock / MILLION) as u64);
        Moment { boottime: shown(self.boottime), raw: shown(self.raw) }
    }

    /// The same by the wall clock alone: what must not be done.
    pub(crate) fn by_wall(&mut self, at: Instant) -> Moment {
        let wall = self.read(at).boottime.as_nanos() + self.wall;
        Moment { boottime: Time::from_nanos(wall), raw: Time::from_nanos(wall) }
    }

    /// In how much true time so much of it will have passed, by the clock with this index.
    pub(crate) fn takes(&self, clock: usize, span: u64) -> u64 {
        (u128::from(span) * MILLION).div_ceil(rate(self.fast[clock])) as u64
    }
}

/// A run of something exclusive.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) run: RunId,
    pub(crate) life: u64,
    pub(crate) claim: ClaimKey,
    pub(crate) token: u64,
    /// It may execute an instruction.
    pub(crate) executes: bool,
    /// Its end is on the way.
    pub(crate) dying: bool,
    /// Its deadline passed while the machine was suspended: what it does until the kill has come is not promised.
    pub(crate) resumed_late: bool,
}

/// One process of an agent.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) number: u64,
    pub(crate) agent: Agent,
    /// What has come while it did not run.
    pub(crate) inbox: VecDeque<Event>,
    /// What was still to be carried out when it was stopped.
    pub(crate) stalled: VecDeque<Action>,
    pub(crate) unanswered: BTreeSet<RequestId>,
    /// Runs whose file is looked for on the disk.
    pub(crate) starting: BTreeMap<RunId, Run>,
    /// The one whose process is being made just when the agent was stopped.
    pub(crate) forking: Option<Run>,
    pub(crate) clearing: Option<u64>,
    /// The first clearing of a life does not end a lease.
    pub(crate) cleared: bool,
    /// Only the last wake-up that was asked for counts.
    pub(crate) wakes: u64,
    pub(crate) halted: bool,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) powered: bool,
    pub(crate) boots: u64,
    pub(crate) clocks: Clocks,
    pub(crate) life: Option<Life>,
    /// The deadline in memory that its fence reads.
    pub(crate) page: Moment,
    /// Only the last look at it that was planned counts.
    pub(crate) plans: u64,
    pub(crate) processes: Vec<Process>,
    /// True times until which something lasts.
    pub(crate) agent_stopped: Instant,
    pub(crate) fence_stopped: Instant,
    pub(crate) suspended: Instant,
    pub(crate) cut_out: Instant,
    pub(crate) cut_in: Instant,
    pub(crate) off: Instant,
    /// Pokes that a stopped fence has not answered.
    pub(crate) pokes: Vec<(u64, u64)>,
    pub(crate) has_bundle: bool,
    /// No fault concerns it.
    pub(crate) calm: bool,
}

impl Machine {
    pub(crate) fn is_awake(&self) -> bool {
        self.powered && !self.clocks.suspended
    }

    pub(crate) fn agent_runs(&self, at: Instant) -> bool {
        self.is_awake() && self.agent_stopped <= at
    }

    pub(crate) fn fence_runs(&self, at: Instant) -> bool {
        self.is_awake() && self.fence_stopped <= at
    }
}
