//! What must hold after every step, whatever happens.
//!
//! A [`Witness`] stands beside each supervisor. It sees every event that goes in and every action that comes out, knows
//! the spec from the scenario rather than from the supervisor, and keeps a small model of its own. The core's inner
//! state is asked only where the model would have to repeat it. Checks that need the whole world stand in `world.rs`.

use crate::scenarios::{SpecId, Tree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::mem;
use treevisor::ids::{Incarnation, Name, ReportId};
use treevisor::node::outbox::LINGER;
use treevisor::spec::policy::{Ready, Restart, Shutdown, StartOrder, StopOrder, Strategy};
use treevisor::supervision::{
    Action, Adopt, Answer, ChildId, Command, End, Event, Exit, Fact, Report, RequestId, RolloutStage, Run, State,
    StopCause, StopReason, Supervisor, ToParent,
};
use treevisor::time::{Span, Time};

macro_rules! rules {
    ($($(#[$words:meta])+ $rule:ident,)+) => {
        /// The rules that are checked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Rule {
            $($(#[$words])+ $rule,)+
        }

        impl Rule {
            pub(crate) const ALL: &[Rule] = &[$(Rule::$rule),+];
        }
    };
}

rules! {
    /// Never two live incarnations of one path, and no start while anything of the last one is left (D6, D13).
    TwoIncarnations,
    /// Nothing runs below a place whose end has been handed up, below a supervisor that halts, or after the tree.
    Orphan,
    /// No process is asked for, stopped, killed or inspected that is not there, or a second time.
    NoSuchProcess,
    /// Stops go in reverse start order, each gone before the next is asked (R23, R53), but for groups and `together`.
    StopOrder,
    /// Starts go in start order, each over before the next (R6, R24).
    StartOrder,
    /// Only members of the group are stopped with it (R18 to R20).
    Group,
    /// What ends before its turn to be stopped with its group is absorbed: no charge, no second restart (R29).
    Absorbed,
    /// An order to hurry reaches every child at once.
    Hurry,
    /// A temporary child never returns by itself (R15, R27), nor a transient one after a normal exit but with its
    /// group.
    RestartType,
    /// What cannot be killed is reported, once, when it was given up on (D18).
    Told,
    /// What an operator stopped or held stays down until an operator starts it (D2); a hold whatever is replaced above
    /// it.
    StaysDown,
    /// Restarts within a window never exceed the intensity, and no supervisor gives up earlier (R40 to R43).
    Intensity,
    /// What is reported of a worker is about the process that it has named last (D23).
    MainProcess,
    /// Requests are answered exactly once.
    Answers,
    /// A child is not killed before its time to stop is over (R54 to R56).
    StopTime,
    /// Ids of reports count up, causes name earlier reports.
    Causes,
    /// No deadline when all is down; a tick leaves no deadline that is due; one before its time changes nothing.
    Deadlines,
    /// A healthy child that beats is never taken for hung.
    HealthyKilled,
    /// A silent one is, in time.
    HangMissed,
    /// Halt is the last action, for a reason that was given.
    Halt,
    /// As many ends are counted, by whatever cause, as exits and failed starts are reported (D22).
    Counts,
    /// `ToParent::Ready` once, when all below is up (R6).
    Readiness,
    /// When faults cease, the tree settles.
    Settles,
    /// An order to stop is carried out.
    Stops,
    /// Each request of an operator has one last reply, a status in time, and nothing is shown as running that is
    /// silent.
    Replies,
    /// What is killed past a supervisor that hangs is gone when that is reported.
    PanicPast,
    /// No more copies of a `count` are replaced at once than may be, each settles before the next, and none of them is
    /// charged for on probation (D21).
    Rollout,
    /// After a reload the tree is what it says, when it has settled.
    Reloaded,
    /// A supervisor that gives up exits when its parent has taken the reason in, or has not acknowledged it for as long
    /// as the program waits for that.
    Escalation,
    /// A supervisor that was written down and made again is the same.
    Twin,
    /// The core panicked.
    Panicked,
}

/// A rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

/// The outcome of a check.
pub(crate) type Verdict = Result<(), Violation>;

macro_rules! ensure {
    ($holds:expr, $rule:expr, $($text:tt)+) => {
        if !$holds {
            return Err($crate::checkers::Violation { rule: $rule, text: format!($($text)+) });
        }
    };
}
pub(crate) use ensure;

/// How a child was last seen to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastEnd {
    None,
    Normal,
    Abnormal,
    StartFailed,
}

/// One child, as its witness knows it.
#[derive(Debug, Clone)]
struct Watched {
    spec: SpecId,
    incarnation: Incarnation,
    /// The highest that was given to it, or to what was started beside it.
    given: Incarnation,
    /// From the order to start it until its end.
    run: Option<Run>,
    /// Its process exists.
    there: bool,
    /// The process that was started, or that the worker has named last.
    pid: Option<u32>,
    /// It has named another one since it was asked to stop: that one is asked too.
    renamed: bool,
    asked: Option<Time>,
    /// There was a reason to kill it: hung, panicked, start-timeout.
    hurried: bool,
    /// It was asked to stop, by its supervisor or for an operator.
    stopping: bool,
    killed: bool,
    /// The latest request that stopped or held it.
    stays_down: Option<RequestId>,
    last: LastEnd,
    /// Its last end was absorbed by the restart of a group.
    absorbed: bool,
    forgotten: bool,
    /// A run of it that was given up on and is still there.
    lost: Option<Run>,
    /// How its process has ended nevertheless.
    lost_exit: Option<Exit>,
    /// That this cannot be killed was handed in, and not reported yet.
    untold: bool,
    /// Its start was reported to wait for the end of what cannot be killed.
    owed: bool,
    /// An operator holds it down, in this life of its supervisor or since one before.
    held: bool,
    /// A restart was ordered while it was on its way down to be held, and a stop has overtaken it: it is held then, if
    /// nothing was started in between.
    was_held: bool,
    /// It was to go, and has not yet because it cannot be killed.
    leaving: bool,
}

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Terminate(ChildId),
    /// Restart or cycle.
    Start(ChildId),
    Delete(ChildId),
    Add,
    Panic(ChildId),
    Hold(ChildId),
    /// Another set of children.
    Reload,
    Reset,
}

/// What a report held, as far as later reports may refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Restarting(ChildId),
    Other,
}

/// What stands beside one supervisor.
pub(crate) struct Witness {
    at: SpecId,
    node: u32,
    told: Vec<Told>,
    /// Exits and failed starts that were reported: of all, and by child.
    ended: (u64, BTreeMap<ChildId, u64>),
    charges: VecDeque<Time>,
    children: Vec<Watched>,
    order: Vec<ChildId>,
    requests: BTreeMap<RequestId, Request>,
    /// The last request to start what stands at a place.
    starts_asked: BTreeMap<SpecId, RequestId>,
    ends: Ends,
    /// When it halted, if it has.
    halted: Option<Time>,
    ready: bool,
    /// Child nodes whose reason to give up was handed in.
    escalated: BTreeSet<Run>,
    last_spawn: Option<(Option<ReportId>, usize)>,
    /// Those whose turn to be stopped with the group that is being restarted is still to come.
    ahead: BTreeSet<ChildId>,
    /// Copies on probation.
    rolled: BTreeSet<ChildId>,
    /// Those that took the place of a process which had ended, before their start was over.
    early: BTreeSet<Run>,
    /// What stands beside a child, and beside which.
    beside: BTreeMap<ChildId, ChildId>,
    /// An operator, or a start that failed for one, may have left children down that would else run (R37, R66).
    pub(crate) touched: bool,
}

/// Reasons to end that were given or reported.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    asked: bool,
    stranger: bool,
    now: bool,
    orphaned: bool,
    gave_up: bool,
    auto: bool,
    start_failed: bool,
}

impl Ends {
    fn any(self) -> bool {
        let Ends { asked, stranger, now, orphaned, gave_up, auto, start_failed: _ } = self;
        asked || stranger || now || orphaned || gave_up || auto
    }
}

impl Witness {
    /// `held` is what was held in earlier incarnations of this supervisor.
    pub(crate) fn new(
        tree: &Tree,
        children: impl Iterator<Item = SpecId>,
        at: SpecId,
        node: u32,
        held: &BTreeSet<SpecId>,
    ) -> Witness {
        let mut witness = Witness {
            at,
            node,
            told: Vec::new(),
            ended: Default::default(),
            charges: VecDeque::new(),
            children: Vec::new(),
            order: Vec::new(),
            requests: BTreeMap::new(),
            starts_asked: BTreeMap::new(),
            ends: Ends::default(),
            halted: None,
            ready: false,
            escalated: BTreeSet::new(),
            last_spawn: None,
            ahead: BTreeSet::new(),
            rolled: BTreeSet::new(),
            early: BTreeSet::new(),
            beside: BTreeMap::new(),
            touched: false,
        };
        for spec in children {
            let id = witness.add(tree, spec);
            if let Some(child) = witness.child(id).filter(|_| held.contains(&spec)) {
                (child.held, child.stays_down) = (true, Some(RequestId(0)));
            }
        }
        witness
    }

    /// Returns what is held at its end. `told` is what those above believe: a child whose start an operator has
    /// ordered and ended again may be held or not as long as it is on its way down.
    pub(crate) fn bequeath(&self, told: &BTreeSet<SpecId>, held: &mut BTreeSet<SpecId>) {
        let forgotten = self.children.iter().filter(|child| child.forgotten);
        // What stands beside one of these has no hold of its own.
        for child in forgotten.chain(self.order.iter().map(|id| &self.children[id.0 as usize])) {
            let unclear = child.run.is_some() && told.contains(&child.spec);
            if (child.held || unclear) && !child.forgotten {
                held.insert(child.spec);
            } else {
                held.remove(&child.spec);
            }
        }
    }

    pub(crate) fn is_held(&self, id: ChildId) -> bool {
        self.children.get(id.0 as usize).is_some_and(|child| child.held)
    }

    /// Whether this run was given up on and is still there.
    pub(crate) fn is_lost(&self, run: Run) -> bool {
        self.children.get(run.child.0 as usize).is_some_and(|child| child.lost == Some(run))
    }

    /// Which place of the tree a child stands for, also one that was just forgotten.
    pub(crate) fn spec_of_any(&self, id: ChildId) -> Option<SpecId> {
        self.children.get(id.0 as usize).map(|child| child.spec)
    }

    fn add(&mut self, tree: &Tree, spec: SpecId) -> ChildId {
        let starts_by_hand = !tree.specs[spec.0].policy.autostart;
        let id = ChildId(self.children.len() as u32);
        self.children.push(Watched {
            spec,
            incarnation: Incarnation::default(),
            given: Incarnation::default(),
            run: None,
            there: false,
            pid: None,
            renamed: false,
            asked: None,
            hurried: false,
            stopping: false,
            killed: false,
            stays_down: starts_by_hand.then_some(RequestId(0)),
            last: LastEnd::None,
            absorbed: false,
            forgotten: false,
            lost: None,
            lost_exit: None,
            untold: false,
            owed: false,
            held: false,
            was_held: false,
            leaving: false,
        });
        self.order.push(id);
        id
    }

    /// Up to this number there may be children that were added and removed in one turn, and have never been seen.
    fn pass_over(&mut self, tree: &Tree, id: ChildId) {
        let Some(&any) = tree.specs[self.at.0].children.first() else { return };
        while self.children.len() <= id.0 as usize {
            self.add(tree, any);
            self.order.pop();
        }
    }

    /// Which place of the tree a child stands for.
    pub(crate) fn spec_of(&self, id: ChildId) -> Option<SpecId> {
        self.children.get(id.0 as usize).filter(|child| !child.forgotten).map(|child| child.spec)
    }

    /// The child beside which this one stands, or itself.
    fn child_of(&self, mut id: ChildId) -> ChildId {
        while let Some(of) = self.beside.get(&id) {
            id = *of;
        }
        id
    }

    /// All that may have a process.
    fn everything(&self) -> impl Iterator<Item = &ChildId> {
        self.order.iter().chain(self.beside.keys())
    }

    /// What stands beside a child.
    fn beside(&self, id: ChildId) -> impl Iterator<Item = &Watched> {
        let of = move |(_, of): &(&ChildId, &ChildId)| **of == id;
        self.beside.iter().filter(of).map(|(id, _)| &self.children[id.0 as usize])
    }

    /// Whether anything stands beside the child of this one.
    pub(crate) fn has_one_beside(&self, id: ChildId) -> bool {
        self.beside(self.child_of(id)).next().is_some()
    }

    /// The children in start order.
    pub(crate) fn order(&self) -> &[ChildId] {
        &self.order
    }

    /// Whether a request waits for its answer.
    pub(crate) fn waits_for_answers(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Whether a child node's reason to give up was handed in.
    pub(crate) fn has_escalated(&self, run: Run) -> bool {
        self.escalated.contains(&run)
    }

    /// Whether it halted long enough ago for its process to exit whatever its parent has acknowledged.
    pub(crate) fn has_lingered(&self, now: Time) -> bool {
        self.halted.is_some_and(|at| now >= at + LINGER)
    }

    pub(crate) fn stays_down(&self, id: ChildId) -> bool {
        self.children.get(id.0 as usize).is_some_and(|child| child.stays_down.is_some())
    }

    /// Whether it ended by itself with success.
    pub(crate) fn ended_well(&self, id: ChildId) -> bool {
        self.children.get(id.0 as usize).is_some_and(|child| child.last == LastEnd::Normal)
    }

    fn child(&mut self, id: ChildId) -> Option<&mut Watched> {
        self.children.get_mut(id.0 as usize).filter(|child| !child.forgotten)
    }

    /// The child whose present run this is.
    fn running(&mut self, run: Run) -> Option<&mut Watched> {
        self.child(run.child).filter(|child| child.run == Some(run))
    }

    /// Notes what goes in.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Spawned { run, pid } => {
                if let Some(child) = self.running(*run).filter(|child| !child.there) {
                    child.there = true;
                    child.pid = Some(*pid);
                }
            }
            Event::Notice(run, notice) => {
                if let (Some(child), Some(main)) = (self.running(*run).filter(|child| child.there), notice.main_pid) {
                    child.pid = Some(main);
                    child.renamed = true;
                }
            }
            Event::SpawnFailed { run, .. } | Event::NoHost { run, .. } => {
                if let Some(child) = self.running(*run).filter(|child| !child.there) {
                    child.run = None;
                }
            }
            Event::KillFailed { run, exit, .. } => {
                let ahead = self.ahead.contains(&run.child);
                let Some(child) = self.running(*run) else { return };
                child.run = None;
                child.there = false;
                // From here on the process that is left is the one that is meant.
                child.pid = None;
                child.absorbed = ahead;
                (child.lost, child.untold, child.owed) = (Some(*run), true, false);
                child.lost_exit = *exit;
                self.ahead.remove(&run.child);
            }
            Event::Exited { run, .. } => {
                let ahead = self.ahead.contains(&run.child);
                if let Some(child) = self.child(run.child).filter(|child| child.lost == Some(*run)) {
                    child.lost = None;
                    return;
                }
                if let Some(child) = self.running(*run) {
                    child.run = None;
                    child.there = false;
                    child.absorbed = ahead;
                    self.ahead.remove(&run.child);
                }
            }
            // Nothing is to be expected of waiting for it.
            Event::StopRefused(run) => {
                if let Some(child) = self.running(*run) {
                    child.hurried = true;
                }
            }
            Event::Asked { request, command, .. } => {
                if *command == Command::Reset(None) {
                    self.charges.clear();
                }
                let request_kind = match command {
                    Command::Terminate(id) => Request::Terminate(*id),
                    Command::Restart(id) | Command::Up(id) | Command::Cycle(id) => Request::Start(*id),
                    Command::Delete(id) => Request::Delete(*id),
                    Command::Start(_) => Request::Add,
                    // Like a reload, it may start a temporary child again.
                    Command::Roll(_) => Request::Reload,
                    Command::Reset(_) => Request::Reset,
                    Command::Panic { child, hold: false } => Request::Panic(*child),
                    Command::Panic { child, hold: true } => Request::Hold(*child),
                };
                if let Request::Start(id) = request_kind
                    && let Some(spec) = self.spec_of(id)
                {
                    self.starts_asked.insert(spec, *request);
                }
                if self.halted.is_none() {
                    self.requests.insert(*request, request_kind);
                }
            }
            Event::Reloaded(reload) => {
                if self.halted.is_none() {
                    self.requests.insert(reload.request, Request::Reload);
                }
            }
            Event::Stop(StopReason::Asked) => self.ends.asked = true,
            Event::Stop(StopReason::Stranger) => self.ends.stranger = true,
            Event::Stop(StopReason::HandOver) => {}
            // It only names the sender behind what follows.
            Event::Ordered { .. } => {}
            Event::StopNow => self.ends.now = true,
            Event::ParentLost => self.ends.orphaned = true,
            Event::Escalating { run, .. } => {
                self.escalated.insert(*run);
            }
            Event::Begin
            | Event::Ready(_)
            | Event::Probed(..)
            | Event::Beat(..)
            | Event::Dropped { .. }
            | Event::Inspected(..)
            | Event::Examined(_)
            | Event::Tick { .. }
            | Event::Resumed { .. }
            | Event::HostThere(_) => {}
        }
    }

    /// Checks one action, before it is carried out.
    pub(crate) fn action(
        &mut self,
        tree: &Tree,
        now: Time,
        action: &Action,
        core: &Supervisor,
        known: &dyn Fn(ReportId) -> bool,
    ) -> Verdict {
        ensure!(self.halted.is_none(), Rule::Halt, "{action:?} comes after the halt of {}", self.path(tree));
        match action {
            Action::Spawn(run) => self.spawn(tree, now, *run, core),
            Action::AskToStop(run) => {
                let path = self.name(tree, run.child);
                let Some(child) = self.running(*run).filter(|child| child.there) else {
                    return self.stray(tree, action);
                };
                let again = mem::take(&mut child.renamed) && child.asked.is_some();
                ensure!(child.asked.is_none() || again, Rule::NoSuchProcess, "{path} is asked to stop twice");
                child.asked.get_or_insert(now);
                let shutdown = tree.specs[child.spec.0].policy.shutdown;
                ensure!(shutdown != Shutdown::BrutalKill, Rule::StopTime, "{path} is asked although brutal-kill");
                Ok(())
            }
            Action::Kill(run) => self.kill(tree, now, action, *run),
            Action::Examine(run) | Action::Abort(run) | Action::Inspect(run) => {
                match self.running(*run).is_some_and(|child| child.there) {
                    true => Ok(()),
                    false => self.stray(tree, action),
                }
            }
            Action::TellParent(ToParent::Ready) => {
                ensure!(!self.ready, Rule::Readiness, "{} reports twice that it is up", self.path(tree));
                self.ready = true;
                for &id in &self.order {
                    let starting = self.children[id.0 as usize].run.is_some()
                        && core.child(now, id).is_some_and(|child| child.state == State::Starting);
                    ensure!(
                        !starting,
                        Rule::Readiness,
                        "{} reports that it is up while {} is starting",
                        self.path(tree),
                        self.name(tree, id)
                    );
                }
                Ok(())
            }
            Action::TellParent(ToParent::Beat(_) | ToParent::Escalating { .. }) => Ok(()),
            Action::Answer(request, answer) => self.answer(tree, now, *request, answer, core),
            Action::Forget(id) => {
                self.pass_over(tree, *id);
                let name = self.name(tree, *id);
                let Some(child) = self.child(*id) else { return self.stray(tree, action) };
                let gone = child.run.is_none() && child.lost.is_none();
                ensure!(gone, Rule::Orphan, "{name} is forgotten while its process is there");
                child.forgotten = true;
                self.beside.remove(id);
                self.order.retain(|other| other != id);
                // On probation or not: nothing is known of it any more.
                self.rolled.remove(id);
                Ok(())
            }
            // No child of these trees is placed.
            Action::Detach(_) => self.stray(tree, action),
            Action::Renew(_) => {
                self.renew(tree, now, core);
                Ok(())
            }
            Action::Adopt(id, which) => self.adopt(tree, now, *id, *which, core),
            Action::Beside { child, successor, renewed: _ } => self.starts_beside(tree, *child, *successor),
            Action::Succeed(id, successor) => self.succeeds(tree, now, *id, *successor, core),
            Action::Report(report) => self.report(tree, now, report, known),
            Action::Halt(end) => self.halt(tree, now, *end),
        }
    }

    fn adopt(&mut self, tree: &Tree, now: Time, id: ChildId, which: Adopt, core: &Supervisor) -> Verdict {
        let name = self.name(tree, id);
        match which {
            // A later reload has it otherwise: it is rolled on.
            Adopt::Later => drop(self.rolled.remove(&id)),
            Adopt::New => {
                self.rolled.insert(id);
                let update = self.child(id).map(|child| tree.specs[child.spec.0].policy.update).unwrap_or_default();
                let (count, most) = (self.rolled.len(), update.at_once as usize);
                ensure!(count <= most, Rule::Rollout, "{name} is replaced as one of {count} at once");
            }
            Adopt::Former => {
                self.rolled.remove(&id);
            }
            Adopt::Returned => {}
            Adopt::Settled => {
                let was = self.rolled.remove(&id);
                // One that goes has nothing to prove any more.
                let settle = self
                    .child(id)
                    .filter(|child| !child.leaving)
                    .map(|child| tree.specs[child.spec.0].policy.update.settle);
                let status = core.child(now, id).filter(|child| was && child.state == State::Running);
                if let (Some(started), Some(settle)) = (status.and_then(|child| child.started), settle) {
                    ensure!(now.since(started) >= settle, Rule::Rollout, "{name} is said to have settled too early");
                }
            }
        }
        Ok(())
    }

    /// A copy gets a successor: it runs, and is the only one that does.
    fn starts_beside(&mut self, tree: &Tree, id: ChildId, successor: ChildId) -> Verdict {
        let name = self.name(tree, id);
        let Some(child) = self.child(id).filter(|child| child.there).cloned() else {
            ensure!(false, Rule::NoSuchProcess, "{name} has a successor and no process");
            return Ok(());
        };
        ensure!(!self.beside.contains_key(&id), Rule::TwoIncarnations, "the successor of {name} has a successor");
        ensure!(self.beside(id).next().is_none(), Rule::TwoIncarnations, "{name} gets a third process");
        ensure!(child.stays_down.is_none() && !child.leaving, Rule::StaysDown, "{name} gets a successor and goes");
        let most = tree.specs[child.spec.0].policy.update.at_once as usize;
        let is_live = |id: &&ChildId| {
            let child = &self.children[id.0 as usize];
            child.run.is_some() && !child.stopping
        };
        let live = self.beside.keys().filter(is_live).count();
        let count = live + 1 + self.rolled.len();
        ensure!(count <= most, Rule::Rollout, "{name} is replaced as one of {count} at once");
        self.pass_over(tree, ChildId(successor.0 - 1));
        let new = self.add(tree, child.spec);
        ensure!(new == successor, Rule::NoSuchProcess, "the successor of {name} is {successor:?}, not {new:?}");
        self.order.pop();
        self.beside.insert(successor, id);
        let watched = &mut self.children[successor.0 as usize];
        (watched.given, watched.stays_down) = (child.given, None);
        Ok(())
    }

    /// It has settled, or the process before it has ended by itself.
    fn succeeds(&mut self, tree: &Tree, now: Time, id: ChildId, successor: ChildId, core: &Supervisor) -> Verdict {
        let name = self.name(tree, id);
        let of = self.beside.remove(&successor);
        ensure!(
            of == Some(id),
            Rule::TwoIncarnations,
            "{name} is succeeded by {successor:?}, which stands beside {of:?}"
        );
        self.beside.insert(id, successor);
        self.order.iter_mut().filter(|place| **place == id).for_each(|place| *place = successor);
        self.children[id.0 as usize].leaving = true;
        let ended = self.ended.1.remove(&id).unwrap_or_default();
        self.ended.1.insert(successor, ended);
        let [old, new] = [id, successor].map(|id| self.children[id.0 as usize].clone());
        ensure!(new.run.is_some() && !new.stopping, Rule::TwoIncarnations, "{name} is succeeded by what is not there");
        ensure!(!old.held && old.stays_down.is_none(), Rule::StaysDown, "{name} stays down and is succeeded");
        if old.run.is_none() {
            self.rolled.insert(successor);
            self.early.extend(new.run);
            return Ok(());
        }
        let settle = tree.specs[new.spec.0].policy.update.settle;
        let status = core.child(now, successor);
        let started = status.filter(|child| child.state == State::Running).and_then(|child| child.started);
        let settled = started.is_some_and(|started| now.since(started) >= settle);
        ensure!(settled, Rule::Rollout, "{name} is succeeded by what has not settled");
        Ok(())
    }

    /// There may be new children, and another order. A child that is not there any more is forgotten in a moment.
    fn renew(&mut self, tree: &Tree, now: Time, core: &Supervisor) {
        let there = core.children(now);
        let place = |name: &str| {
            let spec = &tree.specs[self.at.0];
            spec.children.iter().chain(&spec.addable).copied().find(|id| tree.specs[id.0].name.as_str() == name)
        };
        let mut new: Vec<(ChildId, SpecId)> = there
            .iter()
            .filter(|child| child.id.0 as usize >= self.children.len())
            .filter_map(|child| Some((child.id, place(child.name.as_str())?)))
            .collect();
        new.sort();
        for (id, spec) in new {
            if id.0 > 0 {
                self.pass_over(tree, ChildId(id.0 - 1));
            }
            self.add(tree, spec);
        }
        let stays: BTreeSet<ChildId> = core.ids().collect();
        for &id in &self.order {
            let child = &mut self.children[id.0 as usize];
            let leaves = !stays.contains(&id);
            let held = core.child(now, id).is_some() && child.held;
            if leaves && !child.leaving || child.leaving && !leaves && !held {
                // When it comes back it is another child, of which no operator has requested anything yet.
                let starts_by_hand = !tree.specs[child.spec.0].policy.autostart;
                (child.stays_down, child.held) = (starts_by_hand.then_some(RequestId(0)), false);
            }
            child.leaving = leaves;
        }
        let order: Vec<ChildId> = there.iter().map(|child| child.id).collect();
        let leaving = self.order.iter().copied().filter(|id| !order.contains(id));
        self.order = order.iter().copied().chain(leaving).collect();
    }

    /// Checks what must hold between two events.
    pub(crate) fn between(&self, tree: &Tree, now: Time, core: &Supervisor, beats_upward: bool) -> Verdict {
        if let Some(roll) = core.rollout().filter(|roll| !roll.reload) {
            let of = |name: &Name| core.find(name.as_str()).and_then(|id| core.member(id)).map(|member| &member.policy);
            let most = roll.replacing.first().and_then(of).map_or(0, |policy| policy.update.at_once as usize);
            let count = roll.replacing.len();
            ensure!(count <= most, Rule::Rollout, "{} restarts {count} copies at once", self.path(tree));
        }
        if self.ends.now || self.ends.orphaned {
            let spared = self.everything().find(|id| {
                let child = &self.children[id.0 as usize];
                child.there && !child.killed
            });
            if let Some(&id) = spared {
                ensure!(false, Rule::Hurry, "{} is not killed at once", self.name(tree, id));
            }
        }
        let untold = self.everything().find(|id| self.children[id.0 as usize].untold);
        if let Some(&id) = untold {
            ensure!(false, Rule::Told, "{} cannot be killed, and that is not reported", self.name(tree, id));
        }
        let (ended, by_child) = &self.ended;
        let counted = core.exits().sum();
        ensure!(counted == *ended, Rule::Counts, "{counted} ends of {ended} are counted at {}", self.path(tree));
        for child in core.children(now) {
            let (counted, ended) = (child.exits.sum(), by_child.get(&child.id).copied().unwrap_or_default());
            ensure!(counted == ended, Rule::Counts, "{counted} ends of {ended} of {}", self.name(tree, child.id));
        }
        let deadline = core.next_deadline();
        if deadline.is_none() || (beats_upward && self.halted.is_none()) {
            return Ok(());
        }
        let down = self.everything().all(|id| self.children[id.0 as usize].run.is_none());
        let quiet =
            self.halted.is_some() || (down && core.children(now).iter().all(|child| child.waits_until.is_none()));
        ensure!(!quiet, Rule::Deadlines, "{} has a deadline although all is down: {deadline:?}", self.path(tree));
        Ok(())
    }

    fn spawn(&mut self, tree: &Tree, now: Time, run: Run, core: &Supervisor) -> Verdict {
        if self.child(run.child).is_none() {
            // A child that an operator added: the core has just given it its number.
            let name = core.member(run.child).map(|member| member.name.clone());
            let spec = &tree.specs[self.at.0];
            let found =
                spec.children.iter().chain(&spec.addable).find(|id| Some(&tree.specs[id.0].name) == name.as_ref());
            ensure!(
                found.is_some() && run.child.0 as usize == self.children.len(),
                Rule::NoSuchProcess,
                "{} starts an unknown child {run:?}",
                self.path(tree)
            );
            found.into_iter().for_each(|&spec| {
                self.add(tree, spec);
            });
        }
        let name = self.name(tree, run.child);
        let ending = self.ends.any() || (self.ends.start_failed && !self.ready);
        ensure!(!ending, Rule::Halt, "{name} is started although its supervisor is ending");
        let starting = self.order.iter().copied().find(|&id| {
            id != run.child
                && self.children[id.0 as usize].run.is_some_and(|run| !self.early.contains(&run))
                && core.child(now, id).is_some_and(|child| child.state == State::Starting)
        });
        let together = !self.ready && tree.specs[self.at.0].sup.start_order == StartOrder::Together;
        if let Some(other) = starting.filter(|_| !together) {
            let other = self.name(tree, other);
            ensure!(false, Rule::StartOrder, "{name} is started while the start of {other} is not over");
        }
        let step = self.order.iter().copied().find(|&id| {
            let child = &self.children[id.0 as usize];
            id != run.child && child.run.is_some() && tree.specs[child.spec.0].policy.ready == Ready::Exit
        });
        if let Some(other) = step.filter(|_| !together) {
            let other = self.name(tree, other);
            ensure!(false, Rule::StartOrder, "{name} is started while the step {other} is not done");
        }
        let place = self.order.iter().position(|&id| id == run.child).unwrap_or(usize::MAX);
        if !self.ready {
            let earlier = self.order[..place.min(self.order.len())].iter().find(|id| {
                self.children[id.0 as usize].incarnation.0 == 0 && self.children[id.0 as usize].stays_down.is_none()
            });
            ensure!(earlier.is_none(), Rule::StartOrder, "{name} is started before {earlier:?}");
        }
        // A later request undoes an earlier one, so one to start it from before the stop does not count.
        let stays_down = self.children[run.child.0 as usize].stays_down;
        let by_operator =
            self.requests.iter().any(|(&id, &request)| request == Request::Start(run.child) && Some(id) > stays_down);
        let by_reload = self.requests.values().any(|&request| request == Request::Reload);
        let is_new = self.requests.values().any(|&request| request == Request::Add);
        let child = &mut self.children[run.child.0 as usize];
        ensure!(child.run.is_none(), Rule::TwoIncarnations, "{name} is started while {:?} is there", child.run);
        ensure!(child.lost.is_none(), Rule::TwoIncarnations, "{name} is started beside {:?}", child.lost);
        ensure!(
            run.incarnation == child.given.next(),
            Rule::TwoIncarnations,
            "{name} gets {:?} after {:?}",
            run.incarnation,
            child.given
        );
        ensure!(
            stays_down.is_none() || by_operator,
            Rule::StaysDown,
            "{name} is started although an operator has stopped it"
        );
        let temporary = tree.specs[child.spec.0].policy.restart == Restart::Temporary;
        ensure!(
            !temporary || child.incarnation.0 == 0 || by_operator || is_new || by_reload || child.owed,
            Rule::RestartType,
            "{name} is temporary and comes again"
        );
        (child.incarnation, child.given) = (run.incarnation, run.incarnation);
        child.run = Some(run);
        child.there = false;
        child.pid = None;
        child.renamed = false;
        child.asked = None;
        child.hurried = false;
        child.stopping = false;
        child.killed = false;
        child.absorbed = false;
        child.owed = false;
        if let Some(of) = self.beside.get(&run.child) {
            self.children[of.0 as usize].given = run.incarnation;
        }
        Ok(())
    }

    fn kill(&mut self, tree: &Tree, now: Time, action: &Action, run: Run) -> Verdict {
        let name = self.name(tree, run.child);
        let hurry = self.ends.now || self.ends.orphaned;
        if self.is_lost(run) {
            // Another attempt, as an operator has asked for it.
            return Ok(());
        }
        let Some(child) = self.running(run).filter(|child| child.there) else { return self.stray(tree, action) };
        child.killed = true;
        let early = match (tree.specs[child.spec.0].policy.shutdown, child.asked) {
            (Shutdown::BrutalKill | Shutdown::After(Span::ZERO), _) => false,
            (Shutdown::After(limit), Some(asked)) => now < asked + limit,
            (Shutdown::After(_) | Shutdown::Infinity, None) | (Shutdown::Infinity, Some(_)) => true,
        };
        ensure!(
            !early || hurry || child.hurried,
            Rule::StopTime,
            "{name} is killed too early: asked {:?}, now {}",
            child.asked.map(Time::as_nanos),
            now.as_nanos()
        );
        Ok(())
    }

    fn answer(&mut self, tree: &Tree, now: Time, request: RequestId, answer: &Answer, core: &Supervisor) -> Verdict {
        let Some(kind) = self.requests.remove(&request) else {
            ensure!(false, Rule::Answers, "{} answers {request:?} twice, or without being asked", self.path(tree));
            return Ok(());
        };
        // What was the child when it was asked about may stand beside it now.
        let kind = match kind {
            Request::Terminate(id) => Request::Terminate(self.child_of(id)),
            Request::Start(id) => Request::Start(self.child_of(id)),
            Request::Delete(id) => Request::Delete(self.child_of(id)),
            Request::Panic(id) => Request::Panic(self.child_of(id)),
            Request::Hold(id) => Request::Hold(self.child_of(id)),
            Request::Add | Request::Reload | Request::Reset => kind,
        };
        match (kind, answer) {
            (Request::Terminate(id) | Request::Hold(id), Answer::Ok | Answer::KillFailed(_)) => {
                self.touched = true;
                let name = self.name(tree, id);
                let successor = self.beside(id).find(|child| !child.leaving && child.run.is_some());
                ensure!(successor.is_none(), Rule::Answers, "{name} is said to be stopped and its successor is there");
                let is_one_lost = self.beside(id).any(|child| child.lost.is_some());
                // What stood beside it may be gone later than a newer request has started it again.
                let started_since = |spec| self.starts_asked.get(&spec).is_some_and(|later| *later > request);
                let started_since = self.spec_of(id).is_some_and(started_since);
                if started_since && self.child(id).is_some_and(|child| child.run.is_some()) {
                    return Ok(());
                }
                if let Some(child) = self.child(id) {
                    let lost = matches!(answer, Answer::KillFailed(_));
                    ensure!(child.run.is_none(), Rule::Answers, "{name} is said to be stopped and is there");
                    ensure!(
                        child.lost.is_some() == lost || is_one_lost,
                        Rule::Answers,
                        "{name}: {answer:?}, and there is {:?}",
                        child.lost
                    );
                    child.stays_down = child.stays_down.max(Some(request));
                }
            }
            (Request::Panic(_) | Request::Reset, Answer::Ok) => {}
            (Request::Start(id), Answer::Ok) => {
                let name = self.name(tree, id);
                if let Some(child) = self.child(id) {
                    let is_step = tree.specs[child.spec.0].policy.ready == Ready::Exit;
                    let up = if is_step { child.last == LastEnd::Normal } else { child.there };
                    ensure!(up, Rule::Answers, "{name} is said to be up and is not there");
                    child.stays_down = None;
                    child.held = false;
                }
            }
            (Request::Delete(_), Answer::Ok) => self.touched = true,
            (Request::Start(id), Answer::StartFailed(_))
                if self.child(id).is_some_and(|child| child.held && !child.owed) =>
            {
                // It stays as it was, which is no longer held if a later order has ended that (R66).
                self.touched = true;
                let is_held = core.child(now, id).is_some_and(|status| status.state == State::Held);
                if let Some(child) = self.child(id) {
                    child.held = is_held;
                }
            }
            (Request::Start(id), Answer::StartFailed(_)) if self.child(id).is_some_and(|child| child.owed) => {
                // Its start comes when its old process is gone.
                if let Some(child) = self.child(id) {
                    child.stays_down = None;
                    child.held = false;
                }
            }
            (Request::Start(id), Answer::Overtaken(_))
                if self.ends.any() || self.child(id).is_some_and(|child| child.run.is_some()) =>
            {
                // It is an operator's word all the same: the next supervisor starts it, or it had been started already.
                self.touched = true;
                if let Some(child) = self.child(id) {
                    child.was_held |= child.held;
                    child.held = false;
                }
            }
            (_, Answer::StartFailed(_) | Answer::Overtaken(_)) => self.touched = true,
            (
                Request::Terminate(_)
                | Request::Start(_)
                | Request::Delete(_)
                | Request::Add
                | Request::Panic(_)
                | Request::Reload
                | Request::Reset
                | Request::Hold(_),
                _,
            ) => {}
        }
        Ok(())
    }

    fn report(&mut self, tree: &Tree, now: Time, report: &Report, known: &dyn Fn(ReportId) -> bool) -> Verdict {
        let expected = ReportId { node: self.node, seq: self.told.len() as u32 + 1 };
        ensure!(report.id == expected, Rule::Causes, "report {} comes where {expected} was due", report.id);
        if let Some(cause) = report.cause {
            let earlier = if cause.node == self.node { cause.seq < report.id.seq } else { known(cause) };
            ensure!(earlier, Rule::Causes, "{report:?} is caused by a report that is not made yet");
        }
        let policy = tree.specs[self.at.0].sup;
        if let (Fact::Panic { .. }, Some(id)) = (&report.fact, report.child) {
            // It means both.
            let beside = self.beside.iter().filter(|(_, of)| **of == id).map(|(id, _)| *id).collect::<Vec<_>>();
            beside.into_iter().for_each(|id| self.children[id.0 as usize].hurried = true);
        }
        let told = match (&report.fact, report.child) {
            (Fact::Restarting { .. }, Some(id)) => Told::Restarting(id),
            _ => Told::Other,
        };
        self.told.push(told);
        if let (Fact::Exited { .. } | Fact::StartFailed { .. }, Some(id)) = (&report.fact, report.child) {
            self.ended.0 += 1;
            *self.ended.1.entry(self.child_of(id)).or_default() += 1;
        }
        let name = report.child.map(|id| self.name(tree, id)).unwrap_or_else(|| self.path(tree).to_string());
        if let (Some(pid), Some(id)) = (report.pid, report.child)
            && let Some(child) = self.child(id).filter(|child| child.pid.is_some())
            && child.incarnation == report.incarnation
        {
            ensure!(child.pid == Some(pid), Rule::MainProcess, "{name} is reported as {pid}, and is {:?}", child.pid);
        }
        match (&report.fact, report.child) {
            (Fact::Starting, Some(id)) => self.starting(tree, id, report.cause)?,
            (Fact::Stopping { why }, Some(id)) => self.stopping(tree, id, why, report.cause)?,
            (Fact::Exited { exit, normal, .. }, Some(id)) => {
                if let Some(child) = self.child(id) {
                    let codes = &tree.specs[child.spec.0].policy.success_codes;
                    let by_itself = matches!(exit, Exit::Code(code) if codes.contains(code));
                    ensure!(by_itself || !normal, Rule::RestartType, "{exit:?} of {name} is taken for a normal exit");
                    child.last = if *normal { LastEnd::Normal } else { LastEnd::Abnormal };
                }
            }
            (Fact::StartFailed { failure, retry }, Some(id)) if failure.stage == "kill" => {
                let is_lost = self.child(id).is_some_and(|child| child.lost.is_some());
                ensure!(*retry && is_lost, Rule::Told, "the start of {name} waits for nothing");
                if let Some(child) = self.child(id) {
                    child.owed = true;
                }
            }
            (Fact::KillFailed { .. }, Some(id)) => {
                if let Some(child) = self.child(id) {
                    ensure!(child.untold, Rule::Told, "{name} is reported twice as unkillable, or without a reason");
                    child.untold = false;
                    // That we have killed it is no normal exit, whatever its status.
                    let codes = &tree.specs[child.spec.0].policy.success_codes;
                    let by_itself = matches!(child.lost_exit, Some(Exit::Code(code)) if codes.contains(&code));
                    child.last = if by_itself && !child.hurried { LastEnd::Normal } else { LastEnd::Abnormal };
                }
            }
            (Fact::Panic { hold: true, .. }, Some(id)) => {
                if let Some(child) = self.child(id) {
                    child.hurried = true;
                    child.held = true;
                }
            }
            (Fact::Held, Some(id)) => {
                if let Some(child) = self.child(id) {
                    child.held |= std::mem::take(&mut child.was_held);
                }
            }
            (Fact::Released { .. }, Some(id)) => {
                if let Some(child) = self.child(id) {
                    (child.held, child.was_held) = (false, false);
                }
            }
            (Fact::StartFailed { retry, .. }, Some(id)) => {
                if !retry {
                    self.ends.start_failed = true;
                }
                if let Some(child) = self.child(id) {
                    child.last = LastEnd::StartFailed;
                }
            }
            (Fact::Hung { .. } | Fact::Panic { .. }, Some(id)) => {
                if let Some(child) = self.child(id) {
                    child.hurried = true;
                }
            }
            (Fact::Restarting { .. }, Some(id)) => {
                ensure!(!self.rolled.contains(&id), Rule::Rollout, "{name} is charged for on probation");
                if let Some(child) = self.child(id) {
                    let fits = match tree.specs[child.spec.0].policy.restart {
                        Restart::Permanent => true,
                        Restart::Transient => child.last != LastEnd::Normal,
                        Restart::Temporary => false,
                    };
                    ensure!(fits, Rule::RestartType, "{name} is restarted after {:?}", child.last);
                    ensure!(!child.absorbed, Rule::Absorbed, "{name} is restarted for an end that was absorbed");
                }
                self.ahead = self.group_of(id, policy.strategy);
                let used = self.charges_at(now, policy.intensity.period) as u32 + 1;
                self.charges.push_back(now);
                ensure!(
                    policy.intensity.max.is_none_or(|max| used <= max),
                    Rule::Intensity,
                    "{name}: restart {used} within the window of {:?}",
                    policy.intensity
                );
            }
            (Fact::GaveUp { .. }, _) => {
                self.ends.gave_up = true;
                let used = self.charges_at(now, policy.intensity.period) as u32;
                ensure!(
                    policy.intensity.max == Some(used),
                    Rule::Intensity,
                    "{name} gives up after {used} restarts in its window of {:?}",
                    policy.intensity
                );
            }
            (Fact::AutoShutdown { .. }, _) => self.ends.auto = true,
            // Of a restart with nothing changed no copy is made to go back.
            // Which are still on probation in the roll-out of a later reload is not reported.
            (Fact::Rollout { stage: RolloutStage::Done | RolloutStage::Stopped | RolloutStage::Overtaken, .. }, _) => {
                self.rolled.clear();
            }
            (
                Fact::Starting
                | Fact::Stopping { .. }
                | Fact::Exited { .. }
                | Fact::StartFailed { .. }
                | Fact::Hung { .. }
                | Fact::Panic { .. }
                | Fact::Restarting { .. }
                | Fact::FailedOver { .. }
                | Fact::NoHost { .. }
                | Fact::Started
                | Fact::Ready
                | Fact::BeatLate { .. }
                | Fact::Unreachable { .. }
                | Fact::Reachable { .. }
                | Fact::Dropped { .. }
                | Fact::Stopped
                | Fact::Held
                | Fact::KillFailed { .. }
                | Fact::HeldAgain
                | Fact::Released { .. }
                | Fact::MainPid { .. }
                | Fact::Succeeded { .. }
                | Fact::Reloaded { .. }
                | Fact::Rollout { .. }
                | Fact::Escalated { .. },
                _,
            ) => {}
        }
        Ok(())
    }

    /// The members of a group that are there.
    fn group_of(&self, origin: ChildId, strategy: Strategy) -> BTreeSet<ChildId> {
        let from = match strategy {
            Strategy::OneForOne => return BTreeSet::new(),
            Strategy::OneForAll => 0,
            Strategy::RestForOne => self.order.iter().position(|&id| id == origin).unwrap_or(0),
        };
        self.order[from..].iter().copied().filter(|id| self.children[id.0 as usize].run.is_some()).collect()
    }

    /// The starts of one sequence go in start order. Those of one restart name the same cause.
    fn starting(&mut self, tree: &Tree, id: ChildId, cause: Option<ReportId>) -> Verdict {
        self.ahead.clear();
        if let Some(child) = self.child(id) {
            child.was_held = false;
        }
        let Some(place) = self.order.iter().position(|&other| other == id) else { return Ok(()) };
        if let Some((before, last)) = self.last_spawn
            && before.is_some()
            && before == cause
        {
            let name = self.name(tree, id);
            ensure!(place >= last, Rule::StartOrder, "{name} is started after one that stands behind it");
        }
        self.last_spawn = Some((cause, place));
        Ok(())
    }

    fn stopping(&mut self, tree: &Tree, id: ChildId, why: &StopCause, cause: Option<ReportId>) -> Verdict {
        let policy = tree.specs[self.at.0].sup;
        let name = self.name(tree, id);
        self.ahead.remove(&id);
        if let Some(child) = self.child(id) {
            child.stopping = *why != StopCause::StartTimeout;
        }
        match why {
            StopCause::Operator(_) | StopCause::Signal(_) | StopCause::Reload(_) => return Ok(()),
            StopCause::StartTimeout => {
                if let Some(child) = self.child(id) {
                    child.hurried = true;
                }
                return Ok(());
            }
            StopCause::Group(_) => {
                let told = cause.and_then(|cause| self.told.get(cause.seq as usize - 1)).copied();
                let Some(Told::Restarting(origin)) = told else {
                    ensure!(false, Rule::Causes, "{name} is stopped with a group for {cause:?}, which is no restart");
                    return Ok(());
                };
                let place = |id| self.order.iter().position(|&other| other == self.child_of(id));
                let member = match policy.strategy {
                    Strategy::OneForOne => self.child_of(id) == self.child_of(origin),
                    Strategy::OneForAll => true,
                    Strategy::RestForOne => place(id) >= place(origin),
                };
                ensure!(member, Rule::Group, "{name} is stopped with {origin:?} under {:?}", policy.strategy);
            }
            StopCause::SupervisorEnds => {
                ensure!(
                    self.ends.any() || self.ends.start_failed,
                    Rule::Halt,
                    "{name} is stopped because its supervisor ends, which had no reason to"
                );
                if self.ends.now || self.ends.orphaned {
                    return Ok(());
                }
            }
        }
        if policy.stop_order == StopOrder::Together {
            return Ok(());
        }
        let Some(place) = self.order.iter().position(|&other| other == id) else { return Ok(()) };
        let group = self.child(id).map(|child| child.spec).and_then(|spec| tree.specs[spec.0].policy.group);
        for (at, &other) in self.order.iter().enumerate() {
            let later = &self.children[other.0 as usize];
            if at == place || (at < place && !later.stopping) {
                continue;
            }
            let alike = group.is_some() && tree.specs[later.spec.0].policy.group == group;
            ensure!(
                later.run.is_none() || alike,
                Rule::StopOrder,
                "{name} is stopped while {}, whose turn is before, is there",
                self.name(tree, other)
            );
        }
        Ok(())
    }

    fn halt(&mut self, tree: &Tree, now: Time, end: End) -> Verdict {
        self.halted = Some(now);
        let path = self.path(tree);
        let Ends { asked, stranger, now, orphaned, gave_up, auto, start_failed } = self.ends;
        let given = match end {
            End::Stopped => asked,
            End::AutoShutdown => auto,
            End::GaveUp => gave_up,
            End::StartFailed => start_failed && !self.ready,
            End::Panicked => now,
            End::Terminated => stranger,
            End::Orphaned => orphaned,
            End::HandedOver => false,
        };
        ensure!(given, Rule::Halt, "{path} halts with {end:?}, which nothing has led to: {:?}", self.ends);
        for &id in self.everything() {
            let there = self.children[id.0 as usize].run;
            ensure!(there.is_none(), Rule::Orphan, "{path} halts while {} is there", self.name(tree, id));
        }
        ensure!(
            self.requests.is_empty(),
            Rule::Answers,
            "{path} halts and leaves requests without an answer: {:?}",
            self.requests
        );
        Ok(())
    }

    fn charges_at(&mut self, now: Time, period: Span) -> usize {
        while self.charges.front().is_some_and(|&at| now.since(at) > period) {
            self.charges.pop_front();
        }
        self.charges.len()
    }

    fn stray(&self, tree: &Tree, action: &Action) -> Verdict {
        ensure!(false, Rule::NoSuchProcess, "{} orders {action:?} and there is no such process", self.path(tree));
        Ok(())
    }

    fn path<'a>(&self, tree: &'a Tree) -> &'a str {
        &tree.specs[self.at.0].path
    }

    fn name(&self, tree: &Tree, id: ChildId) -> String {
        match self.children.get(id.0 as usize) {
            Some(child) => tree.specs[child.spec.0].path.clone(),
            None => format!("{} {id:?}", self.path(tree)),
        }
    }
}
