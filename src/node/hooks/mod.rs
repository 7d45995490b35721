//! Hooks: commands of the user's that are run when a subtree was panicked, a supervisor has given up, or a child is
//! restarted. They run in the background, and supervision never waits for them.
//!
//! A hook runs in a node that outlives its cause. The node that restarts a child runs its own `on-restart`. `on-panic`
//! and `on-escalate` of a supervisor are run by its parent; those of the root by the root itself, which stays for them
//! when all its children have ended.
//!
//! No hook is left behind. Each has a time limit, after which it is killed with its process group; it is killed with
//! its node, and is found by the tree's mark like every process of the tree. No other hook waits for one that SIGKILL
//! does not end.

mod bursts;
pub(super) mod carried;
mod causes;
mod queue;
mod running;

use self::bursts::{Bursts, Counted};
use self::causes::Causes;
use self::queue::{Class, Queue, Queued, has_room};
use self::running::{Facts, Key, LIMIT, Order, Running};
use super::children::{Children, Program};
use super::command::CommandFailure;
use super::context::Context;
use super::reactor::Reactor;
use crate::ids::Path;
use crate::spec::tree;
use crate::supervision::{ChildId, Fact};
use crate::time::{Span, Time};
use crate::wire::view::EventView;
use slog::{debug, warn};
use std::collections::HashMap;

/// How long a node that ends waits for hooks, unless it is the root.
const LAST_MOMENT: Span = Span::from_secs(1);

/// How long the root waits for all of its last hooks; then running ones are killed, and waiting ones dropped.
const LAST_HOOKS: Span = Span::from_secs(60);

/// The hooks of a node.
pub(super) struct Hooks {
    is_root: bool,
    own: tree::Hooks,
    running: Vec<Running>,
    waiting: Queue<Order>,
    /// Children that were panicked and are still waited for, with what their hooks are given.
    panicked: HashMap<ChildId, Facts>,
    /// This supervisor itself was panicked: the hooks for all below it are run when nothing is left.
    all_panicked: bool,
    /// Restarts whose hooks are held back, to be run once for several.
    bursts: Bursts<Order>,
    /// The last failures of children, if a hook may need them.
    causes: Causes,
    number: u64,
    /// Set once this supervisor has ended: how long its hooks are waited for, and how long those that were killed.
    ending: Option<Ending>,
}

#[derive(Clone, Copy)]
struct Ending {
    until: Time,
    patience: Option<Time>,
}

impl Ending {
    /// Whether the wait for hooks is over, if so many are running, and so many of these were not killed.
    fn is_over(&mut self, now: Time, running: usize, alive: usize) -> bool {
        if alive > 0 {
            // All earlier hooks were killed, and waiting ones have been started in their place.
            self.patience = None;
            return false;
        }
        // A killed hook that is stuck in the kernel is waited for only a moment.
        running == 0 || *self.patience.get_or_insert(now + LAST_MOMENT) <= now
    }
}

impl Hooks {
    pub(super) fn new(own: tree::Hooks, is_root: bool) -> Hooks {
        Hooks {
            is_root,
            own,
            running: Vec::new(),
            waiting: Queue::new(),
            panicked: HashMap::new(),
            all_panicked: false,
            bursts: Bursts::new(),
            causes: Causes::default(),
            number: 0,
            ending: None,
        }
    }

    /// The hooks in this supervisor's spec.
    pub(super) fn own(&self) -> &tree::Hooks {
        &self.own
    }

    /// Replaces the hooks, after a reload.
    pub(super) fn set_own(&mut self, own: tree::Hooks) {
        self.own = own;
    }

    /// A child was removed.
    pub(super) fn forget(&mut self, child: ChildId) {
        self.panicked.remove(&child);
        self.causes.forget(child);
        self.bursts.forget(child);
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let running = self.running.iter().filter(|running| !running.stuck).map(|running| running.until);
        let ending = self.ending.map(|ending| ending.patience.unwrap_or(ending.until));
        running.chain(self.bursts.next_deadline()).chain(ending).min()
    }

    /// Whether one more hook of this class may run now.
    fn has_room(running: &[Running], class: Class) -> bool {
        has_room(running.iter().map(|running| (running.key.class(), running.stuck)), class)
    }

    fn next(&mut self) -> Option<Order> {
        self.waiting.pop(|class| Hooks::has_room(&self.running, class))
    }

    /// Starts hooks that wait, as far as there is room.
    fn start_waiting(&mut self, context: &Context, reactor: &mut Reactor) {
        while let Some(order) = self.next() {
            self.start(&order, context, reactor);
        }
        if let Some(count) = self.waiting.take_lost() {
            warn!(context.logger, "hooks dropped: the queue was full"; "count" => count);
        }
    }

    /// Runs the hooks for an event.
    pub(super) fn happened(
        &mut self,
        (fact, child, view): (&Fact, Option<ChildId>, &EventView),
        children: &Children,
        context: &Context,
        reactor: &mut Reactor,
    ) {
        if let Some(child) = child
            && (self.own.on_restart.is_some() || self.own.on_escalate.is_some())
        {
            self.causes.note(fact, child, view);
        }
        let orders = self.orders_for(fact, child, view, children);
        let held_back = |order: Order| match (order.key, child) {
            (Key::Restart, Some(child)) => {
                self.bursts.restarted(context.now(), child, &view.at, order).map(standing_for)
            }
            _ => Some(order),
        };
        let orders = orders.into_iter().filter_map(held_back).collect();
        self.call(orders, context, reactor);
    }

    /// The hooks for an event.
    fn orders_for(&mut self, fact: &Fact, child: Option<ChildId>, view: &EventView, children: &Children) -> Vec<Order> {
        let order = |key: Key, command: &Option<Vec<String>>| {
            let command = command.clone()?;
            let facts = Facts::of(view).caused_by(child.and_then(|child| self.causes.of(child)));
            Some(Order { key, command, about: view.path.clone(), facts })
        };
        let one = match (fact, child) {
            (Fact::Restarting { .. }, _) => order(Key::Restart, &self.own.on_restart),
            (Fact::Escalated { .. }, Some(child)) => match children.get(child).map(|child| &child.what) {
                Some(Program::Node(below)) => order(Key::Escalate, &below.now().hooks.on_escalate),
                Some(Program::Worker(_)) | None => None,
            },
            (Fact::GaveUp { .. }, _) if self.is_root => order(Key::Escalate, &self.own.on_escalate),
            (Fact::Panic { .. }, None) => {
                self.all_panicked = true;
                None
            }
            (Fact::Panic { .. }, Some(child)) => {
                let facts = Facts::of(view);
                let process = children.get(child).and_then(|child| child.process.as_ref());
                if process.is_none_or(|process| children.has_given_up_on(process.run)) {
                    return subtree_panicked(children, child, &view.path, &facts);
                }
                self.panicked.insert(child, facts);
                None
            }
            // What cannot be killed may stay for ever: the hooks do not wait for it.
            (Fact::Exited { .. } | Fact::KillFailed { .. }, Some(child)) if !self.all_panicked => {
                let Some(facts) = self.panicked.remove(&child) else { return Vec::new() };
                return subtree_panicked(children, child, &view.path, &facts);
            }
            _ => None,
        };
        one.into_iter().collect()
    }

    /// An operator has killed a subtree without the supervisor above it, and it is waited for no longer: runs the
    /// hooks.
    pub(super) fn killed_past_its_node(
        &mut self,
        path: &Path,
        children: &Children,
        context: &Context,
        reactor: &mut Reactor,
    ) {
        if let Some((child, _)) = children.towards(path) {
            let facts = Facts::without_event(format!("{path} was killed past its supervisor"));
            self.call(subtree_panicked(children, child, path, &facts), context, reactor);
        }
    }

    fn call(&mut self, orders: Vec<Order>, context: &Context, reactor: &mut Reactor) {
        for order in orders {
            let (key, class) = (order.key, order.key.class());
            if Hooks::has_room(&self.running, class) {
                self.start(&order, context, reactor);
                continue;
            }
            let about = order.about.clone();
            match self.waiting.push(class, order) {
                Queued::Waits | Queued::Lost => {}
                // Logged once; the number of lost hooks is logged when the queue has room again.
                Queued::FirstLost => {
                    warn!(context.logger, "hook queue full: hooks are dropped"; "hook" => key.as_str(),
                        "path" => %about);
                }
            }
        }
    }

    fn start(&mut self, order: &Order, context: &Context, reactor: &mut Reactor) {
        let (key, about) = (order.key.as_str(), &order.about);
        self.number += 1;
        match order.start(self.number, context, reactor) {
            Ok(running) => {
                debug!(context.logger, "running a hook"; "hook" => key, "path" => %about, "pid" => running.process.pid());
                self.running.push(running);
            }
            Err(why) if context.logs_again(format_args!("{key} could not run"), about) => {
                warn!(context.logger, "hook could not run"; "hook" => key, "path" => %about, "why" => why);
            }
            Err(_) => {}
        }
    }

    /// Reads the output or the exit of a hook.
    pub(super) fn read(&mut self, number: u64, context: &Context, reactor: &mut Reactor) {
        let Some(at) = self.running.iter().position(|running| running.number == number) else { return };
        let Some(verdict) = self.running[at].process.look(context, reactor) else { return };
        let running = self.running.swap_remove(at);
        if let Err(CommandFailure { why, not_run }) = verdict {
            let (what, key) = (if not_run { "hook could not run" } else { "hook failed" }, running.key.as_str());
            if context.logs_again(format_args!("{key} {what}"), &running.about) {
                warn!(context.logger, "{}", what; "hook" => key, "path" => %running.about, "why" => why);
            }
        }
        self.start_waiting(context, reactor);
    }

    /// Kills hooks that have exceeded their time limit, waits no longer for killed ones that do not end, and runs hooks
    /// that were held back.
    pub(super) fn due(&mut self, now: Time, lost: Span, context: &Context, reactor: &mut Reactor) {
        for running in &mut self.running {
            running.until += running.credited.grant(lost, LIMIT);
            if running.until <= now {
                running.late(context);
            }
        }
        self.start_waiting(context, reactor);
        let counted = self.bursts.due(now).into_iter().map(standing_for);
        // A reload may have changed the command meanwhile.
        let own = self.own.on_restart.clone();
        let orders = counted.filter_map(|order| Some(Order { command: own.clone()?, ..order })).collect();
        self.call(orders, context, reactor);
    }

    /// Whether so many stop signals before the end are an order not to wait for hooks. Not after a panic of this
    /// supervisor: its hooks begin after these signals, and have their time.
    pub(super) fn are_hurried_by(&self, signals: u32) -> bool {
        signals > 1 && !self.all_panicked
    }

    /// This node ends, its children have ended. Hooks of panics and escalations have some time; others are killed.
    pub(super) fn begin_end(&mut self, children: &Children, context: &Context, reactor: &mut Reactor) {
        if self.is_root && self.all_panicked {
            let facts = Facts::without_event("the whole tree was panicked".into());
            for (id, child) in children.with_ids().rev() {
                self.call(subtree_panicked(children, id, &child.path, &facts), context, reactor);
            }
            if let Some(command) = self.own.on_panic.clone() {
                let about = context.place.path.clone();
                self.call(vec![Order { key: Key::Panic, command, about, facts }], context, reactor);
            }
        }
        self.waiting.clear_routine();
        self.bursts.clear();
        let now = context.now();
        for running in &mut self.running {
            if running.key == Key::Restart {
                running.kill("its supervisor has ended", now);
            } else if !self.is_root {
                running.until = running.until.min(now + LAST_MOMENT);
            }
        }
        if !self.is_root {
            self.forget_waiting(context);
        }
        self.ending = Some(Ending { until: now + LAST_HOOKS, patience: None });
    }

    /// Continues the end of all hooks. `hurried`: an operator has ordered the end once more, and does not want to wait
    /// for hooks. Returns whether no hook is waited for any longer.
    pub(super) fn go_on_ending(&mut self, now: Time, hurried: bool, context: &Context) -> bool {
        if hurried || self.ending.is_some_and(|ending| ending.until <= now) {
            self.hurry(context);
        }
        let alive = self.running.iter().filter(|running| !running.process.is_killed()).count();
        let is_over = self.ending.as_mut().is_none_or(|ending| ending.is_over(now, self.running.len(), alive));
        if is_over {
            // Hooks that wait behind killed ones which do not end.
            self.forget_waiting(context);
            self.ending = None;
        }
        is_over
    }

    fn hurry(&mut self, context: &Context) {
        self.forget_waiting(context);
        self.running
            .iter_mut()
            .filter(|running| !running.process.is_killed())
            .for_each(|running| running.kill("it was not waited for", context.now()));
    }

    fn forget_waiting(&mut self, context: &Context) {
        match self.waiting.clear() {
            0 => {}
            count => warn!(context.logger, "hooks dropped: this supervisor ended"; "count" => count),
        }
    }
}

/// The hook for several restarts.
fn standing_for(Counted { count, since, last }: Counted<Order>) -> Order {
    Order { facts: last.facts.standing_for(count, since), ..last }
}

/// The `on-panic` hooks of a panicked subtree at `within`, which is at or below this child: those of every supervisor
/// in it, deepest and last first, in the order in which they would have been stopped.
fn subtree_panicked(children: &Children, child: ChildId, within: &Path, facts: &Facts) -> Vec<Order> {
    let Some(child) = children.get(child) else { return Vec::new() };
    let Program::Node(below) = &child.what else { return Vec::new() };
    let mut orders = Vec::new();
    below.now().for_each_supervisor(&child.path, &mut |path, supervisor| {
        if let (true, Some(command)) = (path.is_within(within), &supervisor.hooks.on_panic) {
            let (command, about, facts) = (command.clone(), path.clone(), facts.clone());
            orders.push(Order { key: Key::Panic, command, about, facts });
        }
    });
    orders.reverse();
    orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::command::HelperProcess;
    use crate::node::reactor::Source;
    use crate::node::testing;
    use crate::os::descendants::stamp::Stamp;
    use crate::supervision::{Exit, Stuck};
    use crate::time::Credit;
    use crate::wire::view::testing::event;
    use serde_json::json;

    const TREE: &str = r#"
        name = "test"
        on-escalate = ["own"]
        [[child]]
        name = "web"
        on-panic = ["web"]
        on-escalate = ["escalated"]
            [[child.child]]
            name = "inner"
            on-panic = ["inner"]
                [[child.child.child]]
                name = "worker"
                command = ["true"]
        [[child]]
        name = "db"
        command = ["true"]
    "#;

    /// The hooks that an event runs, each as the path that it is about and its program.
    fn called(hooks: &mut Hooks, fact: &Fact, child: Option<u32>, path: &str) -> Vec<String> {
        let children = testing::children(TREE, &testing::context());
        let view = event(1, path, "panic", json!({}));
        let orders = hooks.orders_for(fact, child.map(ChildId), &view, &children);
        orders.iter().map(|order| format!("{} {}", order.about, order.command[0])).collect()
    }

    #[test]
    fn a_panicked_subtree_has_the_hooks_of_all_its_supervisors_run_the_deepest_first() {
        let mut hooks = Hooks::new(tree::Hooks::default(), true);
        let panic = Fact::Panic { by: "root".into(), hold: false };
        assert_eq!(called(&mut hooks, &panic, Some(0), "/web"), ["/web/inner inner", "/web web"]);
        assert_eq!(called(&mut hooks, &panic, Some(0), "/web/inner"), ["/web/inner inner"]);
        assert!(called(&mut hooks, &panic, Some(1), "/db").is_empty(), "a worker's panic is no subtree's");
    }

    #[test]
    fn a_panicked_subtree_that_cannot_be_killed_has_its_hooks_run_once() {
        let mut hooks = Hooks::new(tree::Hooks::default(), true);
        let facts = Facts::without_event("panicked".into());
        hooks.panicked.insert(ChildId(0), facts);
        let stuck = Stuck { pid: 7, others: 0, why: "it is stuck in the kernel".into() };
        let failed = Fact::KillFailed { stuck };
        assert_eq!(called(&mut hooks, &failed, Some(0), "/web"), ["/web/inner inner", "/web web"]);
        let exited = Fact::Exited {
            exit: Exit::Signal(9),
            normal: false,
            expected: true,
            done: false,
            explanation: None,
            past: Box::default(),
        };
        assert!(called(&mut hooks, &exited, Some(0), "/web").is_empty());
        assert!(called(&mut hooks, &failed, Some(0), "/web").is_empty(), "it was not panicked");
    }

    #[test]
    fn a_supervisor_that_gives_up_has_its_hook_run_by_the_one_above_and_the_root_by_itself() {
        let own = testing::tree(TREE).root.hooks;
        let escalated = Fact::Escalated { explanation: String::new() };
        let gave_up = Fact::GaveUp { child: "db".into(), used: 4, max: 3, period: Span::from_secs(5) };
        let mut hooks = Hooks::new(own.clone(), true);
        assert_eq!(called(&mut hooks, &escalated, Some(0), "/web"), ["/web escalated"]);
        assert_eq!(called(&mut hooks, &gave_up, None, "/"), ["/ own"]);
        assert!(called(&mut Hooks::new(own, false), &gave_up, None, "/").is_empty());
    }

    /// A hook that runs for long. `Order::start` is for the main thread alone.
    fn running(number: u64, until: Time, context: &Context, reactor: &mut Reactor) -> Running {
        let stamp = Stamp::of_hook(&context.place.mark, &context.place.path, number);
        let process = HelperProcess::asleep(stamp, Source::Hook(number), reactor);
        Running {
            number,
            key: Key::Restart,
            about: Path::root(),
            process,
            until,
            credited: Credit::default(),
            stuck: false,
        }
    }

    #[test]
    fn a_hook_that_sigkill_does_not_end_is_waited_for_no_longer() {
        let (context, mut reactor) = (testing::context(), testing::reactor());
        let mut hooks = Hooks::new(tree::Hooks::default(), true);
        let now = context.now();
        let (later, never) = (now + Span::from_secs(10), now + Span::from_secs(1_000));
        hooks.running.extend((0..4).map(|number| running(number, later, &context, &mut reactor)));
        hooks.running.iter_mut().for_each(|running| running.process.resists());
        assert_eq!(hooks.next_deadline(), Some(later));
        hooks.due(now, Span::ZERO, &context, &mut reactor);
        assert!(!Hooks::has_room(&hooks.running, Class::Routine), "they have time to end");
        hooks.due(later, Span::ZERO, &context, &mut reactor);
        assert!(Hooks::has_room(&hooks.running, Class::Routine) && hooks.running.iter().all(|running| running.stuck));
        hooks.running.push(running(4, never, &context, &mut reactor));
        assert_eq!(hooks.next_deadline(), Some(never), "of the stuck ones only the exit is waited for");
        hooks.hurry(&context);
        while !hooks.running.is_empty() {
            assert!(context.now() < now + Span::from_secs(60), "they were killed");
            (0..5).for_each(|number| hooks.read(number, &context, &mut reactor));
        }
    }

    #[test]
    fn hooks_that_had_waited_for_killed_ones_have_their_time() {
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let mut ending = Ending { until: at(60), patience: None };
        assert!(!ending.is_over(at(30), 16, 0));
        // All killed ones have ended, and two that had waited run.
        assert!(!ending.is_over(at(30), 2, 2) && ending.patience.is_none(), "a deadline that has passed is none");
        assert!(!ending.is_over(at(60), 2, 0) && !ending.is_over(at(60), 1, 0), "they are waited for as all others");
        assert!(ending.is_over(at(61), 1, 0) && ending.is_over(at(61), 0, 0));
    }
}
