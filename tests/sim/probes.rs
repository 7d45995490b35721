//! Probes of whether a worker is ready: the node's schedule of them is the program's, and a fake network carries them.
//!
//! One that the worker answers well is the last. One that gets no answer is given up on by its schedule; an answer that
//! comes after that is none.

use crate::checkers::{Rule, Verdict, ensure};
use crate::kernel::Life;
use crate::mutations::Mutation;
use crate::node::Node;
use crate::world::{Happening, World};
use treevisor::node::schedule::{Due, Schedule};
use treevisor::supervision::{Event, Run};
use treevisor::time::{Span, Time};

/// Between two rounds, and for each probe.
const INTERVAL: Span = Span::from_millis(200);
const PATIENCE: Span = Span::from_millis(100);

/// The probes of one process.
pub(crate) struct Probing {
    pub(crate) schedule: Schedule,
    /// Which of its probes is under way.
    nth: u64,
}

impl Probing {
    pub(crate) fn new(now: Time) -> Probing {
        // A second way to ask, which answers like the first one.
        Probing { schedule: Schedule::new(now, INTERVAL, vec![PATIENCE; 2]), nth: 0 }
    }
}

impl World {
    /// Makes the probes that are due, and gives up on those that have taken too long.
    pub(crate) fn probes_due(&mut self, node: &mut Node, lost: Span) -> Verdict {
        let runs: Vec<Run> = node.probing.keys().copied().collect();
        for run in runs {
            let Some(probing) = node.probing.get_mut(&run) else { continue };
            probing.schedule.credit(self.now, lost);
            let mut late = false;
            // One that was given up on makes room for the next.
            for _ in 0..3 {
                match probing.schedule.due(self.now) {
                    Due::Nothing => break,
                    Due::Start(_) => {
                        probing.nth += 1;
                        let slow = self.is_stormy() && self.probe_rng.chance(100);
                        let takes = if slow { (50, 300) } else { (1, 20) };
                        let delay = self.probe_rng.millis(takes.0, takes.1);
                        let over = Happening::ProbeOver(node.pid, run, probing.nth);
                        self.after(delay, over);
                    }
                    Due::TooLong => {
                        self.saw("a probe takes too long");
                        if self.mutation != Some(Mutation::ProbeForgotten) {
                            probing.schedule.ended(self.now, false);
                        }
                        late = true;
                    }
                }
            }
            let due = probing.schedule.deadline().filter(|at| *at <= self.now);
            ensure!(due.is_none(), Rule::Deadlines, "a probe of {run:?} is due, and is not made");
            if late {
                self.blames(node, run);
                node.inbox.push_back(Event::Probed(run, Err("no answer in time".into())));
            }
        }
        self.settle(node)
    }

    /// What a probe was sent to has answered, or would have by now.
    pub(crate) fn probe_over(&mut self, node: &mut Node, run: Run, nth: u64) {
        let Some(pid) = node.process(run) else { return };
        let Some(probing) = node.probing.get_mut(&run) else { return };
        if probing.nth != nth || probing.schedule.running().is_none() {
            return;
        }
        let process = self.kernel.get(pid);
        if process.life == Life::Alive && (process.freezes > 0 || process.hung) {
            // It takes the connection, and that is all.
            return;
        }
        let refused = process.life != Life::Alive || self.now < process.answers_from;
        let bad = refused || self.is_stormy() && self.probe_rng.chance(200);
        probing.schedule.ended(self.now, !bad);
        if bad {
            self.saw("a readiness probe fails");
            self.blames(node, run);
        } else {
            node.probing.remove(&run);
            self.kernel.get_mut(pid).said_ready = true;
            self.saw("a readiness probe is answered");
        }
        node.inbox.push_back(Event::Probed(run, if bad { Err("refused".into()) } else { Ok(()) }));
        self.wake(node);
    }

    /// A worker that its node cannot know to be ready may be taken for one that does not start.
    fn blames(&mut self, node: &Node, run: Run) {
        if let Some(pid) = node.process(run) {
            self.kernel.get_mut(pid).excuse.get_or_insert("its readiness probe failed");
        }
    }
}
