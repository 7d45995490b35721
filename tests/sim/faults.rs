//! What befalls a tree.

use crate::checkers::{Rule, Verdict, ensure};
use crate::kernel::{Life, Pid, Process, Role, Spell};
use crate::network::Weather;
use crate::node::Node;
use crate::stray;
use crate::world::{Happening, World, log};
use treevisor::ids::{Incarnation, Name};
use treevisor::supervision::{ChildId, Command, Event, Member, Notice, Run, StopReason};
use treevisor::time::{Span, Time};

impl World {
    /// One fault, and the next one is planned.
    pub(crate) fn fault(&mut self) -> Verdict {
        if !self.is_stormy() {
            return Ok(());
        }
        let pace = self.scenario.hazards.pace;
        let delay = pace.scaled(self.faults.between(100, 1_900) as f64 / 1_000.0);
        self.after(delay, Happening::Fault);
        let h = &self.scenario.hazards;
        let weights = [
            h.kill_worker,
            h.kill_node,
            h.freeze_worker,
            h.freeze_node,
            h.suspend,
            h.stranger,
            h.command,
            h.weather,
            h.spawn_failures,
            h.debugger,
            h.massacre,
            h.stray,
            h.spurious_tick,
        ];
        match self.faults.weighted(&weights) {
            0 => self.kill_one(Role::Worker),
            1 => self.kill_one(Role::Node),
            2 => self.freeze_one(Role::Worker),
            3 => self.freeze_one(Role::Node),
            4 => self.suspend(),
            5 => self.stranger(),
            6 => {
                // Often several at once, and about the same few children: that is where they get into each other's way.
                for _ in 0..self.faults.between(1, 3) {
                    self.random_command(20);
                }
            }
            7 => {
                let any = |world: &mut World, most: u64| world.faults.below(most) as u32;
                let weather = Weather { lost: any(self, 500), late: any(self, 200), doubled: any(self, 300) };
                log!(self, "{weather:?}");
                self.saw("bad weather");
                self.network.weather = weather;
                let delay = self.faults.millis(500, 6_000);
                self.after(delay, Happening::ClearSky);
            }
            8 => {
                let place = match self.faults.chance(700) {
                    true => Some(crate::scenarios::SpecId(self.faults.below(self.tree.specs.len() as u64) as usize)),
                    false => None,
                };
                self.spawn_trouble = Some((place, *self.faults.pick(&[300, 700, 1_000])));
                log!(self, "starts fail: {:?}", self.spawn_trouble);
                let delay = self.faults.millis(50, 3_000);
                self.after(delay, Happening::SpawnsWork);
            }
            9 => {
                if let Some(pid) = self.some_process(Role::Worker) {
                    log!(self, "a debugger holds {}", self.name_of(pid));
                    self.saw("a debugger");
                    self.kernel.get_mut(pid).held = true;
                    let delay = self.faults.millis(1_000, 10_000);
                    self.freeze(pid, true);
                    self.after(delay, Happening::Release(pid));
                    self.after(delay, Happening::Thaw(pid));
                }
            }
            10 => {
                for _ in 0..self.faults.between(2, 5) {
                    let role = if self.faults.chance(200) { Role::Node } else { Role::Worker };
                    self.kill_one(role);
                }
            }
            11 => return self.stray(),
            _ => return self.spurious_tick(),
        }
        Ok(())
    }

    fn some_process(&mut self, role: Role) -> Option<Pid> {
        let fits = |_, process: &Process| process.role == role && process.life == Life::Alive;
        self.kernel.draw(&mut self.faults, fits)
    }

    fn kill_one(&mut self, role: Role) {
        let Some(pid) = self.some_process(role).filter(|&pid| pid != self.root) else { return };
        log!(self, "kill -9 {}", self.name_of(pid));
        self.saw(if role == Role::Node { "a node is killed" } else { "a worker is killed" });
        self.doom(pid);
    }

    fn freeze_one(&mut self, role: Role) {
        // Two pauses without a beat between them are a longer one; each alone is what is promised to be survived.
        if self.now.since(self.last_thaw) < Span::from_millis(200) && self.last_thaw > Time::ZERO {
            return;
        }
        let Some(pid) = self.some_process(role) else { return };
        let duration =
            if self.faults.chance(500) { self.faults.millis(50, 1_500) } else { self.faults.millis(1_000, 12_000) };
        log!(self, "SIGSTOP {} for {duration}", self.name_of(pid));
        self.saw(if role == Role::Node { "a node is stopped" } else { "a worker is stopped" });
        self.freeze(pid, true);
        self.after(duration, Happening::Thaw(pid));
    }

    /// Everything stands still: a suspended machine, a frozen cgroup, a starved host. No child is to blame.
    fn suspend(&mut self) {
        if self.now.since(self.last_thaw) < Span::from_millis(200) && self.last_thaw > Time::ZERO {
            return;
        }
        let duration = self.faults.millis(100, 20_000);
        let all: Vec<Pid> =
            self.kernel.living().iter().copied().filter(|&pid| self.kernel.get(pid).life == Life::Alive).collect();
        log!(self, "the machine stands still for {duration}");
        self.saw("the machine stands still");
        all.iter().for_each(|&pid| self.freeze(pid, false));
        self.after(duration, Happening::ThawAll(all));
    }

    fn stranger(&mut self) {
        let role = if self.faults.chance(400) { Role::Node } else { Role::Worker };
        if let Some(pid) = self.some_process(role).filter(|&pid| pid != self.root) {
            log!(self, "a stranger's SIGTERM to {}", self.name_of(pid));
            self.saw("a stranger's SIGTERM");
            if role == Role::Node && self.faults.chance(200) {
                self.order(pid, Event::StopNow);
            } else {
                self.terminate(pid, StopReason::Stranger);
            }
        }
    }

    /// An operator asks a node for something.
    pub(crate) fn random_command(&mut self, delay_ms: u64) {
        let Some(pid) = self.some_process(Role::Node) else { return };
        let Some(node) = self.nodes[pid].as_deref() else { return };
        let order = node.witness.order().to_vec();
        let spec = node.spec;
        let child = if order.is_empty() || self.faults.chance(20) { ChildId(77) } else { *self.faults.pick(&order) };
        let command = match self.faults.weighted(&[4, 4, 4, 2, 3, 3, 2, 2]) {
            0 => Command::Terminate(child),
            1 => Command::Restart(child),
            2 => Command::Cycle(child),
            3 => Command::Delete(child),
            4 => {
                let spec = &self.tree.specs[spec.0];
                let all: Vec<_> = spec.children.iter().chain(&spec.addable).chain(&spec.addable).copied().collect();
                let Some(&added) = all.get(self.faults.below(all.len().max(1) as u64) as usize) else { return };
                let mut member = self.member(added, 0);
                if self.faults.chance(30) {
                    member = Member { name: Name::parse("unfit").expect("a name"), ..member };
                    let policy = std::sync::Arc::make_mut(&mut member.policy);
                    policy.restart = treevisor::spec::policy::Restart::Permanent;
                    policy.significant = true;
                }
                Command::Start(Box::new(member))
            }
            5 => Command::Panic { child, hold: false },
            6 => Command::Panic { child, hold: true },
            _ => Command::Reset(self.faults.chance(50).then_some(child)),
        };
        let delay = self.faults.millis(0, delay_ms);
        self.after(delay, Happening::Ask(pid, Box::new(command)));
    }

    pub(crate) fn rename_some_time(&mut self) {
        let delay = self.main_rng.millis(100, self.scenario.renames);
        self.after(delay, Happening::MainPid);
    }

    /// A worker hands its work on to another process and names that one. It is the same life: only the number is
    /// another.
    pub(crate) fn rename(&mut self) {
        if !self.is_stormy() {
            return;
        }
        self.rename_some_time();
        let named =
            |_, process: &Process| process.role == Role::Worker && process.life == Life::Alive && process.run.is_some();
        let Some(pid) = self.kernel.draw(&mut self.main_rng, named) else { return };
        let (Some(parent), Some(run)) = (self.kernel.get(pid).parent, self.kernel.get(pid).run) else { return };
        // No process of the fake kernel has such a number.
        let main = u32::try_from(1_000_000 + pid * 8 + self.main_rng.below(3) as usize).expect("few processes");
        log!(self, "{} is process {main} from now on", self.name_of(pid));
        self.saw("a worker names another main process");
        let notice = Notice { main_pid: Some(main), ..Notice::default() };
        self.order(parent, Event::Notice(run, Box::new(notice)));
    }

    /// Something is going to be unkillable, in those scenarios that have it.
    pub(crate) fn stuck_some_time(&mut self) {
        if self.scenario.stuck > 0 {
            let delay = self.stuck_rng.millis(200, 2 * u64::from(self.scenario.stuck));
            self.after(delay, Happening::Spell);
        }
    }

    /// A process cannot be killed any more, for a while or for good: it waits for a disk, or has become another user.
    /// With the next draw it is being killed already, or is a daemon that its worker leaves behind.
    pub(crate) fn spell(&mut self) {
        if !self.is_stormy() {
            return;
        }
        self.stuck_some_time();
        if self.now < self.scenario.peace {
            return;
        }
        let role = *self.stuck_rng.pick(&[Role::Worker, Role::Worker, Role::Worker, Role::Daemon, Role::Node]);
        let fits = |pid, process: &Process| {
            let is_free = process.life == Life::Alive && process.spell.is_none() && process.freezes == 0;
            process.role == role && is_free && pid != self.root
        };
        let Some(pid) = self.kernel.draw(&mut self.stuck_rng, fits) else { return };
        // An order to stop cannot be given to it either.
        let foreign = role != Role::Node && self.stuck_rng.chance(400);
        let spell = if foreign { Spell::Foreign } else { Spell::Asleep };
        let long = self.stuck_rng.chance(600);
        let duration = if long { self.stuck_rng.millis(10_000, 60_000) } else { self.stuck_rng.millis(10, 10_000) };
        log!(self, "{} cannot be killed for {duration}: {spell:?}", self.name_of(pid));
        self.saw("a process cannot be killed");
        let process = self.kernel.get_mut(pid);
        process.spell = Some(spell);
        if spell == Spell::Asleep {
            self.freeze(pid, true);
        }
        self.after(duration, Happening::Wakes(pid));
        // Often it is asked to end, or it ends and leaves what it has.
        let Some(parent) = self.kernel.get(pid).parent else { return };
        let above = if role == Role::Daemon { self.kernel.get(parent).parent } else { Some(parent) };
        let owner = if role == Role::Daemon { parent } else { pid };
        let run = self.kernel.get(owner).run;
        let delay = self.stuck_rng.millis(0, 50);
        match (self.stuck_rng.below(6), above, run) {
            (0, Some(above), Some(run)) => {
                let command = Command::Panic { child: run.child, hold: self.stuck_rng.chance(300) };
                self.after(delay, Happening::Ask(above, Box::new(command)));
            }
            (1, Some(above), Some(run)) => {
                let command =
                    if self.stuck_rng.chance(500) { Command::Terminate(run.child) } else { Command::Cycle(run.child) };
                self.after(delay, Happening::Ask(above, Box::new(command)));
            }
            (2, _, _) if role == Role::Daemon => self.doom(owner),
            (3, Some(above), _) if above != self.root => self.doom(above),
            _ => {}
        }
    }

    /// A process can be killed again: what has been sent to it meanwhile comes.
    pub(crate) fn wakes(&mut self, pid: Pid) {
        let process = self.kernel.get_mut(pid);
        let Some(spell) = process.spell.take() else { return };
        let life = process.life;
        log!(self, "{} can be killed again", self.name_of(pid));
        match (spell, life) {
            (_, Life::Dead) => {}
            (Spell::Asleep, Life::Doomed) => self.dies_soon(pid),
            (Spell::Asleep, Life::Alive) => self.thaw(pid),
            // The signals that were refused are lost; their sender sends them again.
            (Spell::Foreign, _) => {}
        }
    }

    fn working_node(&mut self) -> Option<Pid> {
        let pid = self.some_process(Role::Node)?;
        let works = self.nodes[pid].as_deref().is_some_and(Node::is_working) && self.kernel.get(pid).is_active();
        works.then_some(pid)
    }

    /// Events that make no sense now are dropped: nothing follows from them.
    fn stray(&mut self) -> Verdict {
        let Some(pid) = self.working_node() else { return Ok(()) };
        let Some(mut node) = self.nodes[pid].take() else { return Ok(()) };
        let at = self.faults.next();
        let unknown = Run { child: ChildId(99), incarnation: Incarnation(1) };
        let present = node.some_run(at);
        let earlier = present.map_or(unknown, |run| Run { incarnation: Incarnation(run.incarnation.0 - 1), ..run });
        let later = present.map_or(unknown, |run| Run { incarnation: run.incarnation.next(), ..run });
        let run = *self.faults.pick(&[unknown, earlier, later]);
        let there = present.filter(|_| self.scenario.late_spawns == 0 && self.scenario.late_looks == 0);
        let event = self.faults.pick(&stray::events(run, there.unwrap_or(run))).clone();
        log!(self, "stray at {}: {event:?}", self.name_of(pid));
        if node.core.next_deadline().is_some_and(|at| at <= self.now) {
            // What is due comes with whatever is handed in.
            self.nodes[pid] = Some(node);
            return Ok(());
        }
        let mut actions = Vec::new();
        let same = self.handle(&mut node, event.clone(), &mut actions);
        self.nodes[pid] = Some(node);
        same?;
        ensure!(actions.is_empty(), Rule::NoSuchProcess, "{event:?} is stray and led to {actions:?}");
        Ok(())
    }

    /// A tick before the deadline changes nothing.
    fn spurious_tick(&mut self) -> Verdict {
        let Some(pid) = self.working_node() else { return Ok(()) };
        let Some(mut node) = self.nodes[pid].take() else { return Ok(()) };
        let before = node.core.next_deadline();
        let mut actions = Vec::new();
        let mut same = Ok(());
        if before.is_none_or(|at| at > self.now) {
            same = self.handle(&mut node, Event::Tick { lost: Span::ZERO }, &mut actions);
        }
        let after = node.core.next_deadline();
        self.nodes[pid] = Some(node);
        same?;
        ensure!(
            actions.is_empty() && before == after,
            Rule::Deadlines,
            "a tick before its time led to {actions:?}, and the deadline from {before:?} to {after:?}"
        );
        Ok(())
    }
}
