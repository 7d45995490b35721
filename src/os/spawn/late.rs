//! The parent half of a start: from clone(2) until the child has left this memory, which may take long.

use super::child::{Shared, child_half};
use super::clone::{self, CLONES_INTO_CGROUP, Stack, clone_apart, clone_copy};
use super::plan::{PlanData, SpawnError, Stage};
use super::report::ReportPage;
use super::slots::Slots;
use crate::os::cgroup::Group;
use crate::os::clock;
use crate::os::dumpable::Change;
use crate::os::pidfd::PidFd;
use crate::os::signals;
use crate::time::Span;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// How long the parent half waits for the child to execute. If the machine is not busy and the disk answers, this takes
/// a few milliseconds.
pub const LIMIT: Span = Span::from_millis(50);

/// The limit while another start is late: both may use the file system that does not answer.
const LIMIT_THEN: Span = Span::from_millis(10);

/// How often the parent half waits for another [`LIMIT`] until the child has a descriptor table of its own. A healthy
/// child may get no processor for half a second where a virtual machine shares its processors with others.
const ROUNDS: u32 = 30;

/// The same for a child that is created in its cgroup.
const ROUNDS_IN_GROUP: u32 = 3;

/// Everything that the child half uses. Where it shares this memory, it must not move or be freed until the child has
/// left it.
struct Held {
    shared: Shared,
    room: Room,
    /// The process of a late start, where its end has to be known: a copying child that is killed before it has begun
    /// reports nothing, and a pid is that of another process once this one has been reaped.
    process: Option<PidFd>,
    /// Set while the child may change its user in this memory.
    change: Cell<Option<Change>>,
}

/// A process that was just started.
#[derive(Debug)]
pub struct Spawned {
    /// Set if it has not executed its program yet.
    pub late: Option<Late>,
    /// In this PID namespace.
    pub pid: u32,
    /// Refers to it even after its pid is given to another.
    pub pidfd: PidFd,
}

/// A process that has not executed its program yet: the file system of its directory or program does not answer, its
/// cgroup is frozen or has used up its CPU time, or the machine is very busy.
pub struct Late {
    held: Option<Box<Held>>,
    pid: u32,
}

/// The memory that a child half writes to.
struct Room {
    stack: Box<Stack>,
    report: ReportPage,
}

impl Room {
    fn take() -> io::Result<Room> {
        match ROOM.take() {
            Some(mut room) => {
                room.report.clear();
                Ok(room)
            }
            None => Ok(Room { stack: Stack::new(), report: ReportPage::new()? }),
        }
    }
}

thread_local! {
    /// Data without an owner that a child half still uses. Never dropped with the thread.
    static LEFT: RefCell<Vec<Left>> = const { RefCell::new(Vec::new()) };
}

struct Left {
    /// `None` if the child has left this memory.
    held: Option<ManuallyDrop<Box<Held>>>,
    /// The process, if it was given up and must be reaped.
    pidfd: Option<PidFd>,
}

impl Left {
    fn is_over(&self) -> bool {
        let reaped = self.pidfd.as_ref().is_none_or(|pidfd| !matches!(pidfd.wait(), Ok(None)));
        reaped && self.held.as_ref().is_none_or(|held| held.can_be_freed())
    }
}

/// Keeps the data until [`sweep`] finds that it is no longer in use.
fn leave(held: Option<Box<Held>>, pidfd: Option<PidFd>) {
    LEFT.with_borrow_mut(|left| left.push(Left { held: held.map(ManuallyDrop::new), pidfd }));
}

/// Kills a process, and reaps it as soon as it has ended.
fn give_up(pid: u32, pidfd: PidFd, held: Option<Box<Held>>) {
    let _ = pidfd.signal_child(pid, libc::SIGKILL);
    pidfd.wait_exit(LIMIT);
    leave(held, Some(pidfd));
    sweep();
}

impl Spawned {
    /// Kills the process, which nothing watches. It is reaped at once, or at a later start if it has not ended by then.
    pub fn give_up(self) {
        give_up(self.pid, self.pidfd, self.late.and_then(|mut late| late.held.take()));
    }
}

impl Held {
    /// Makes the process, in the cgroup `into`. The first start that finds out that it would suspend this thread is
    /// made with a copy of this memory, too.
    fn make(&mut self, into: Option<&Group>) -> Result<(u32, PidFd), i32> {
        if !self.shared.copies_memory {
            let (argument, here) = ((&raw mut self.shared).cast(), self.room.report.here.as_ptr());
            // SAFETY: what is passed on is kept until the child has left; the child half makes raw system calls alone.
            let made = unsafe { clone_apart(into, &mut self.room.stack, child_half, argument, here) };
            if !matches!(made, Err(libc::ENOSYS)) || !clone::would_suspend() {
                return made;
            }
            self.shared.copies_memory = true;
            drop(self.change.take());
        }
        // SAFETY: as above; the descriptors are left as they are until the child has a table of its own.
        unsafe { clone_copy(into, &mut self.room.stack, child_half, (&raw mut self.shared).cast()) }
    }

    fn is_over(&self) -> bool {
        let over = self.room.report.has_left() || self.shared.copies_memory && self.has_ended();
        if over {
            drop(self.change.take());
        }
        over
    }

    /// Whether the process is known to have ended.
    fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.wait_exit(Span::ZERO))
    }

    fn can_be_freed(&self) -> bool {
        self.shared.copies_memory || self.is_over()
    }

    /// Waits up to `limit` until the child has left this memory.
    fn wait(&self, limit: Span) {
        let end = clock::machine_micros() + limit.as_nanos() / 1_000;
        while !self.is_over() {
            let left = end.saturating_sub(clock::machine_micros());
            if left == 0 {
                return;
            }
            let timeout =
                libc::timespec { tv_sec: (left / 1_000_000) as i64, tv_nsec: (left % 1_000_000 * 1_000) as i64 };
            let (nothing, none) = (std::ptr::null::<u32>(), 0u32);
            let here = &self.room.report.here;
            let (word, value) = (here.as_ptr(), here.load(Ordering::Acquire));
            if self.room.report.has_left() {
                continue;
            }
            // Not FUTEX_PRIVATE: the kernel wakes waiters of the shared kind. A changed value, a signal and the timeout
            // are all handled by the loop. SAFETY: both pointers live across the call.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, value, &raw const timeout, nothing, none) };
        }
    }

    /// The result of the start, once the child has left this memory.
    fn outcome(&self) -> Result<(), SpawnError> {
        // SAFETY: the child has left our memory and writes to it no more.
        match unsafe { *self.room.report.failed.get() } {
            None => Ok(()),
            Some(failed) => Err(self.shared.plan.failure(failed)),
        }
    }
}

impl Late {
    /// Waits up to `limit` for the result of the start.
    pub fn wait(&self, limit: Span) {
        if let Some(held) = &self.held {
            held.wait(limit);
        }
    }

    /// Whether the program is known to have been executed.
    pub fn has_executed(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.is_over() && held.outcome().is_ok())
    }

    /// The result of the start: success, or why the program was not executed; then the process has ended, and must be
    /// reaped as usual. `None` if the result is not known yet.
    pub fn outcome(&mut self) -> Option<Result<(), SpawnError>> {
        let held = self.held.take_if(|held| held.is_over())?;
        let outcome = held.outcome();
        if outcome.is_ok() && !held.has_ended() {
            // The program is running: a failure to set the score is no reason to end it.
            let _ = held.shared.plan.set_oom_score(self.pid);
        }
        Some(outcome)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        if let Some(held) = self.held.take().filter(|held| !held.can_be_freed()) {
            leave(Some(held), None);
        }
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").field("over", &self.held.as_ref().is_none_or(|held| held.is_over())).finish()
    }
}

/// Frees the data that is no longer in use. Returns whether some is left.
fn sweep() -> bool {
    LEFT.with_borrow_mut(|left| {
        let mut at = 0;
        while at < left.len() {
            if left[at].is_over() {
                drop(left.swap_remove(at).held.map(ManuallyDrop::into_inner));
            } else {
                at += 1;
            }
        }
        !left.is_empty()
    })
}

thread_local! {
    /// The room of the last start that was not late, for reuse: mostly one start runs at a time.
    static ROOM: RefCell<Option<Room>> = const { RefCell::new(None) };
    /// Until when starts are waited for only briefly, in milliseconds of the machine's clock.
    static SHORTLY: Cell<u64> = const { Cell::new(0) };
}

#[cfg(test)]
thread_local! {
    /// So often the next child stops first, as if another process had sent it SIGSTOP.
    pub(super) static STOPS: Cell<u32> = const { Cell::new(0) };
}

/// For how long after a late start others are waited for only briefly.
const SHORTLY_FOR: Span = Span::from_secs(1);

/// Starts the process of a plan, which checks that `parent` is its parent.
///
/// A child that is created in a frozen cgroup does not run before the cgroup is thawed, not even until it has its own
/// descriptor table; in a throttled one that may take long. So it is killed, and another one enters the cgroup itself,
/// when only a [`Late`] start is held up.
pub(super) fn spawn(plan: &Rc<PlanData>, parent: libc::pid_t) -> Result<Spawned, SpawnError> {
    if let Some(group) = plan.cgroup.as_ref().filter(|group| CLONES_INTO_CGROUP && !group.is_entered_by_itself()) {
        if let Some(spawned) = attempt(plan, parent, Some(group))? {
            return Ok(spawned);
        }
        group.enter_by_itself();
    }
    attempt(plan, parent, None)?.ok_or_else(|| {
        let reason = format!("it did not run for {} ms, so it was killed", LIMIT.as_millis() * u64::from(ROUNDS));
        SpawnError { reason, ..plan.error(Stage::Clone, libc::EAGAIN) }
    })
}

/// Starts the process, created in the cgroup `into`, or one that moves into its cgroup itself. `None` if it has not got
/// a descriptor table of its own in time: it was killed then.
fn attempt(plan: &Rc<PlanData>, parent: libc::pid_t, into: Option<&Group>) -> Result<Option<Spawned>, SpawnError> {
    let shortly = sweep() || clock::machine_millis() < SHORTLY.get();
    let slots = Slots::take(&plan.streams).map_err(|errno| plan.error(Stage::Streams, errno))?;
    let room = Room::take().map_err(|error| plan.error(Stage::Clone, error.raw_os_error().unwrap_or(libc::ENOMEM)))?;
    let copies_memory = plan.copies_memory || clone::would_suspend();
    let mut held = Box::new(Held {
        shared: Shared {
            plan: Rc::clone(plan),
            copies_memory,
            parent,
            slots: slots.numbers[..plan.streams.len()].to_vec(),
            above_slots: slots.above,
            enters: into.is_none(),
            changed_signals: signals::changed(),
            report: room.report.as_ptr(),
            #[cfg(test)]
            stops: STOPS.get(),
        },
        room,
        process: None,
        change: Cell::new(plan.credentials.as_ref().filter(|_| !copies_memory).map(|_| Change::begin())),
    });
    let (pid, pidfd) = held.make(into).map_err(|errno| plan.error(Stage::Clone, errno))?;
    held.wait(if shortly { LIMIT_THEN } else { LIMIT });
    let mut rounds = if into.is_some() { ROUNDS_IN_GROUP } else { ROUNDS };
    while !held.is_over() && !held.room.report.apart.load(Ordering::Acquire) && !pidfd.has_ended() {
        if rounds == 0 || into.is_some_and(|group| group.frozen().unwrap_or(false)) {
            if held.room.report.apart.swap(true, Ordering::AcqRel) {
                break;
            }
            give_up(pid, pidfd, Some(held));
            return Ok(None);
        }
        // The child still uses this process's descriptor table. It blocks on nothing before it has its own; but another
        // process may have stopped it, so it is continued.
        let _ = pidfd.signal_child(pid, libc::SIGCONT);
        held.wait(LIMIT);
        rounds -= 1;
    }
    drop(slots);
    if (held.shared.copies_memory || plan.oom_score_adjust.is_some()) && !held.is_over() {
        // Without it, nothing is lost but the end of a child that is killed in its first microseconds, or is gone when
        // its score would be set.
        held.process = pidfd.try_clone().ok();
    }
    if !held.is_over() {
        SHORTLY.set(clock::machine_millis() + SHORTLY_FOR.as_millis());
        return Ok(Some(Spawned { pid, pidfd, late: Some(Late { held: Some(held), pid }) }));
    }
    let outcome = held.outcome();
    ROOM.set(Some(held.room));
    let outcome = outcome.and_then(|()| {
        plan.set_oom_score(pid).inspect_err(|_| {
            let _ = pidfd.signal_child(pid, libc::SIGKILL);
        })
    });
    match outcome {
        Ok(()) => Ok(Some(Spawned { pid, pidfd, late: None })),
        Err(error) => {
            reap(&pidfd);
            Err(error)
        }
    }
}

impl PlanData {
    /// Sets the score of the process, which must have left this memory: before that, the value applies to all processes
    /// that share the memory, including this one.
    fn set_oom_score(&self, pid: u32) -> Result<(), SpawnError> {
        let Some(score) = self.oom_score_adjust else { return Ok(()) };
        match std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()) {
            Err(error) => match error.raw_os_error() {
                // The process has ended.
                Some(libc::ESRCH | libc::ENOENT) => Ok(()),
                errno => Err(self.error(Stage::OomScore, errno.unwrap_or(0))),
            },
            Ok(()) => Ok(()),
        }
    }
}

/// Reaps a process that has ended or is about to.
fn reap(pidfd: &PidFd) {
    while matches!(pidfd.wait(), Ok(None)) {
        pidfd.wait_exit(Span::from_secs(1));
    }
}

#[cfg(test)]
impl Late {
    /// As if the process had been reaped, and its pid were that of this other one.
    pub(super) fn pid_is_reused(&mut self, pid: u32) {
        self.pid = pid;
    }
}

#[cfg(test)]
impl Spawned {
    /// Waits for the result of the start.
    pub fn settled(mut self) -> Result<Spawned, SpawnError> {
        while let Some(late) = &mut self.late {
            match late.outcome() {
                Some(Ok(())) => self.late = None,
                Some(Err(error)) => {
                    reap(&self.pidfd);
                    return Err(error);
                }
                None => late.wait(Span::from_secs(1)),
            }
        }
        Ok(self)
    }
}
