//! Hooks: commands that users want to be run when a subtree was panicked, a supervisor has given up, or a child is
//! restarted. They run in the background and nothing waits for them: supervision does not depend on them.
//!
//! A hook runs in a node that is left to run it. The node that restarts a child runs its own `on-restart`; `on-panic`
//! and `on-escalate` of a supervisor are run by the one above it, which outlives it, and those of the root by the root
//! itself, which stays for them when all its children are gone.
//!
//! None is left behind: each has a time limit, after which it is killed with its process group; it is killed with its
//! node, and is found by the tree's mark like every process of the tree.

mod queue;

use self::queue::{Class, Queue, Queued};
use super::aside::Aside;
use super::children::{self, What};
use super::reactor::Source;
use super::strangers::Kin;
use super::turn::Node;
use crate::ids::Path;
use crate::os::descendants::below::ticks_now;
use crate::os::descendants::stamp::{self, Stamp};
use crate::os::fd;
use crate::os::net;
use crate::os::signals::Caught;
use crate::os::spawn::{self, PlanSpec, SpawnError};
use crate::spec::tree;
use crate::supervision::{ChildId, End, Fact};
use crate::text;
use crate::time::{Span, Time};
use crate::wire::view::EventView;
use slog::{debug, warn};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::fd::AsFd;

/// How long a hook may take.
const LIMIT: Span = Span::from_secs(30);

/// How long a node that ends waits for hooks, unless it is the root: no beats come from it meanwhile.
const FAREWELL: Span = Span::from_secs(1);

/// Hooks that run at once: of restarts, and altogether. Hooks for disasters do not queue behind routine.
const RESTARTS_AT_ONCE: usize = 4;
const AT_ONCE: usize = 16;

/// How long the root waits for its last hooks altogether; then those that run are killed, and the others are not run.
const LAST_HOOKS: Span = Span::from_secs(60);

/// The hooks of a node.
pub(super) struct Hooks {
    own: tree::Hooks,
    running: Vec<Running>,
    waiting: Queue<Order>,
    /// Children that have been panicked and whose exit has not been seen yet, with what is to be reported of it.
    panicked: HashMap<ChildId, Facts>,
    number: u64,
}

struct Running {
    number: u64,
    key: Key,
    about: Path,
    aside: Aside,
    until: Time,
    killed: bool,
}

/// A hook that is to be run.
struct Order {
    key: Key,
    command: Vec<String>,
    about: Path,
    facts: Facts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Panic,
    Escalate,
    Restart,
}

impl Key {
    fn as_str(self) -> &'static str {
        match self {
            Key::Panic => "on-panic",
            Key::Escalate => "on-escalate",
            Key::Restart => "on-restart",
        }
    }

    fn class(self) -> Class {
        match self {
            Key::Panic | Key::Escalate => Class::Disaster,
            Key::Restart => Class::Routine,
        }
    }
}

/// What a hook is given.
#[derive(Clone)]
struct Facts {
    message: String,
    event: Option<EventView>,
}

impl Facts {
    fn of(view: &EventView) -> Facts {
        Facts { message: super::translate::sentence(view), event: Some(view.clone()) }
    }

    fn without_event(message: String) -> Facts {
        Facts { message, event: None }
    }
}

impl Hooks {
    pub fn new(own: tree::Hooks) -> Hooks {
        Hooks { own, running: Vec::new(), waiting: Queue::new(), panicked: HashMap::new(), number: 0 }
    }

    /// What this supervisor runs itself.
    pub fn own(&self) -> &tree::Hooks {
        &self.own
    }

    /// Other hooks from now on.
    pub fn set_own(&mut self, own: tree::Hooks) {
        self.own = own;
    }

    /// A child is no more.
    pub fn forget(&mut self, child: ChildId) {
        self.panicked.remove(&child);
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.running.iter().filter(|running| !running.killed).map(|running| running.until).min()
    }

    /// Whether one more of this kind may run now.
    fn has_room(running: &[Running], class: Class) -> bool {
        let restarts = running.iter().filter(|running| running.key == Key::Restart).count();
        running.len() < AT_ONCE && (class == Class::Disaster || restarts < RESTARTS_AT_ONCE)
    }

    fn next(&mut self) -> Option<Order> {
        self.waiting.pop(|class| Hooks::has_room(&self.running, class))
    }
}

impl Node {
    /// Something has happened: calls the hooks that are for it.
    pub(super) fn call_hooks(&mut self, fact: &Fact, child: Option<ChildId>, view: &EventView) {
        match (fact, child) {
            (Fact::Restarting { .. }, _) => self.call_hook_for(Key::Restart, self.hooks.own.on_restart.clone(), view),
            (Fact::Escalated { .. }, Some(child)) => {
                let Some(What::Node(below)) = self.children.get(child).map(|handle| &handle.what) else { return };
                self.call_hook_for(Key::Escalate, below.now().hooks.on_escalate.clone(), view);
            }
            (Fact::GaveUp { .. }, _) if self.uplink.is_none() => {
                self.call_hook_for(Key::Escalate, self.hooks.own.on_escalate.clone(), view);
            }
            (Fact::Panic { .. }, Some(child)) => {
                let facts = Facts::of(view);
                let runs = self.children.get_mut(child).is_some_and(|handle| handle.process.is_some());
                match runs {
                    true => drop(self.hooks.panicked.insert(child, facts)),
                    false => self.subtree_panicked(child, &view.path.clone(), facts),
                }
            }
            (Fact::Exited { .. }, Some(child)) => {
                if let Some(facts) = self.hooks.panicked.remove(&child) {
                    self.subtree_panicked(child, &view.path.clone(), facts);
                }
            }
            _ => {}
        }
    }

    /// Calls a hook, if there is one, for the event in `view`.
    fn call_hook_for(&mut self, key: Key, command: Option<Vec<String>>, view: &EventView) {
        let Some(command) = command else { return };
        self.call_hook(Order { key, command, about: view.path.clone(), facts: Facts::of(view) });
    }

    /// Nothing is left of a subtree that an operator has killed past the nodes above it.
    pub(super) fn killed_past_its_node(&mut self, path: &Path) {
        if let Some((child, _)) = self.children.towards(path) {
            let facts = Facts::without_event(format!("{path} was killed past its supervisor"));
            self.subtree_panicked(child, path, facts);
        }
    }

    /// The subtree at `within`, which is at or below this child, was panicked: every supervisor in it has its hook run,
    /// the deepest and youngest first, as they would have been stopped.
    fn subtree_panicked(&mut self, child: ChildId, within: &Path, facts: Facts) {
        let Some(handle) = self.children.get(child) else { return };
        let What::Node(below) = &handle.what else { return };
        let mut orders = Vec::new();
        below.now().for_each_supervisor(&handle.path, &mut |path, supervisor| {
            if let (true, Some(command)) = (path.is_within(within), &supervisor.hooks.on_panic) {
                let (command, about, facts) = (command.clone(), path.clone(), facts.clone());
                orders.push(Order { key: Key::Panic, command, about, facts });
            }
        });
        orders.into_iter().rev().for_each(|order| self.call_hook(order));
    }

    fn call_hook(&mut self, order: Order) {
        let (key, class) = (order.key, order.key.class());
        if Hooks::has_room(&self.hooks.running, class) {
            self.start_hook(order);
            return;
        }
        let about = order.about.clone();
        match self.hooks.waiting.push(class, order) {
            Queued::Waits | Queued::Lost => {}
            // Reported once, and their number when their turn would have come.
            Queued::FirstLost => {
                warn!(self.context.logger, "too many hooks wait already, further ones are not run"; "hook" => key.as_str(),
                    "path" => %about);
            }
        }
    }

    fn start_hook(&mut self, order: Order) {
        let Order { key, command, about, facts } = order;
        match self.spawn_hook(key, &command, &about, &facts) {
            Ok(running) => {
                debug!(self.context.logger, "a hook is run"; "hook" => key.as_str(), "path" => %about,
                    "pid" => running.aside.pid());
                self.hooks.running.push(running);
            }
            Err(why) => {
                warn!(self.context.logger, "a hook cannot be run"; "hook" => key.as_str(), "path" => %about, "why" => why);
            }
        }
    }

    fn spawn_hook(&mut self, key: Key, command: &[String], about: &Path, facts: &Facts) -> Result<Running, String> {
        // It is a process of this node's, wherever it is about: so it is not taken for something that the panicked
        // subtree has left.
        let mut environment: BTreeMap<OsString, OsString> = self.context.base_environment.iter().cloned().collect();
        environment.extend(children::identity_environment(&self.context.place, &self.context.place.path));
        environment.insert("TREEVISOR_HOOK".into(), key.as_str().into());
        environment.insert("TREEVISOR_SUBJECT".into(), about.as_str().into());
        environment.insert("TREEVISOR_MESSAGE".into(), facts.message.replace('\0', " ").into());
        if let Some(event) = &facts.event {
            environment.insert("TREEVISOR_EVENT_ID".into(), event.id.to_string().into());
            environment.insert("TREEVISOR_EVENT_AT".into(), event.at.clone().into());
            if let Ok(json) = serde_json::to_string(event) {
                environment.insert("TREEVISOR_EVENT".into(), text::json(&json).into_owned().into());
            }
        }
        let (reader, writer) = fd::output_pipe().map_err(|error| error.to_string())?;
        let words = |error: SpawnError| {
            let ours = if net::is_our_own(error.errno) { " (this supervisor lacks it)" } else { "" };
            format!("{error}{ours}")
        };
        let stamp = Stamp::of_hook(&self.context.place.mark, &self.context.place.path, self.hooks.number + 1);
        let mut limits = BTreeMap::from([("nofile".to_string(), self.context.place.nofile)]);
        limits.extend(stamp.limit().map(|limit| (stamp::LIMIT.to_string(), limit)));
        let plan = spawn::prepare(PlanSpec {
            argv: command.iter().map(OsString::from).collect(),
            env: environment.into_iter().collect(),
            pid_variable: None,
            cwd: None,
            credentials: None,
            umask: None,
            limits,
            nice: None,
            stdout: Some(writer.as_fd()),
            stderr: Some(writer.as_fd()),
            extra: Vec::new(),
            parent_death_signal: Some(9),
            new_session: true,
            cgroup: None,
        })
        .map_err(words)?;
        let since = ticks_now();
        let spawned = plan.spawn().map_err(words)?;
        let kin = Kin { leader: spawned.pid, stamp, since };
        self.hooks.number += 1;
        let number = self.hooks.number;
        let aside = self.watch_aside(spawned, reader, Source::Hook(number), kin)?;
        Ok(Running { number, key, about: about.clone(), aside, until: self.context.now() + LIMIT, killed: false })
    }

    /// Something of a hook is ready.
    pub(super) fn hear_hook(&mut self, number: u64) {
        let Some(at) = self.hooks.running.iter().position(|running| running.number == number) else { return };
        let mut running = self.hooks.running.swap_remove(at);
        let Some(verdict) = self.hear_aside(&mut running.aside) else {
            self.hooks.running.push(running);
            return;
        };
        if let Err(why) = verdict {
            warn!(self.context.logger, "a hook has failed"; "hook" => running.key.as_str(), "path" => %running.about,
                "why" => why);
        }
        while let Some(order) = self.hooks.next() {
            self.start_hook(order);
        }
        if let Some(count) = self.hooks.waiting.take_lost() {
            warn!(self.context.logger, "hooks were not run, as too many waited"; "count" => count);
        }
    }

    /// Ends hooks that have taken too long.
    pub(super) fn hooks_due(&mut self, now: Time, lost: Span) {
        for running in &mut self.hooks.running {
            running.until += lost;
            if running.until <= now && !running.killed {
                running.killed = true;
                if let Some(why) = running.aside.kill(format!("it took longer than {LIMIT}")) {
                    warn!(self.context.logger, "a hook that takes too long cannot be killed"; "hook" => running.key.as_str(),
                        "path" => %running.about, "pid" => running.aside.pid(), "why" => why);
                }
            }
        }
    }

    /// This node ends, and all its children have. Hooks for disasters are given their time, all others are ended.
    pub(super) fn finish_hooks(&mut self, end: End) {
        let is_root = self.uplink.is_none();
        if is_root && end == End::Panicked {
            let children: Vec<_> = self.children.with_ids().map(|(id, child)| (id, child.path.clone())).collect();
            for (child, path) in children.into_iter().rev() {
                let facts = Facts::without_event("the whole tree was panicked".into());
                self.subtree_panicked(child, &path, facts);
            }
            if let Some(command) = self.hooks.own.on_panic.clone() {
                let facts = Facts::without_event("the whole tree was panicked".into());
                self.call_hook(Order { key: Key::Panic, command, about: self.context.place.path.clone(), facts });
            }
        }
        self.hooks.waiting.clear_routine();
        let last = self.context.now() + FAREWELL;
        for running in &mut self.hooks.running {
            if running.key == Key::Restart {
                running.killed = true;
                running.aside.kill("its supervisor has ended".into());
            } else if !is_root {
                running.until = running.until.min(last);
            }
        }
        if !is_root {
            self.forget_waiting_hooks();
        }
        let end = self.context.now() + LAST_HOOKS;
        let mut patience = None;
        while !self.hooks.running.is_empty() {
            let now = self.context.now();
            if now >= end {
                self.hurry_hooks();
            }
            self.hooks_due(now, Span::ZERO);
            self.context.log_handle.flush();
            if self.hooks.next_deadline().is_none() && now >= *patience.get_or_insert(now + FAREWELL) {
                // All of them were killed; one that is stuck in the kernel is not waited for.
                return;
            }
            // No other source is read any more, so this is not the loop's own wait. In small steps, for the sake of
            // output and signals.
            let processes: Vec<_> = self.hooks.running.iter().map(|running| running.aside.process().as_fd()).collect();
            let _ = fd::wait_readable_any(&processes, Some(Span::from_millis(20)));
            let numbers: Vec<u64> = self.hooks.running.iter().map(|running| running.number).collect();
            numbers.into_iter().for_each(|number| self.hear_hook(number));
            self.hurry_hooks_on_signal();
        }
    }

    /// A signal while the last hooks run: an operator who stops us once more does not want to wait for them.
    fn hurry_hooks_on_signal(&mut self) {
        let hurry = |caught: &Caught| matches!(caught, Caught::Terminate { .. } | Caught::Interrupt | Caught::Quit);
        if self.reactor.signals.drain().iter().any(hurry) {
            self.hurry_hooks();
        }
    }

    fn hurry_hooks(&mut self) {
        self.forget_waiting_hooks();
        for running in self.hooks.running.iter_mut().filter(|running| !running.killed) {
            running.killed = true;
            running.aside.kill("it was not waited for".into());
        }
    }

    fn forget_waiting_hooks(&mut self) {
        match self.hooks.waiting.clear() {
            0 => {}
            count => warn!(self.context.logger, "hooks were not run, as this supervisor has ended"; "count" => count),
        }
    }
}
