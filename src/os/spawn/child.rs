//! The child half of a start: from clone(2) to execve(2), under the rules at the head of [`super`].

use super::plan::{Failed, PlanData, Stage};
use super::raw::{Word, raw};
use super::report::Report;
use super::slots::Stream;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, Ordering};

/// The orders for the child. Where it shares this memory, they must not move or be freed, nor may the plan, until the
/// child has left it.
pub(super) struct Shared {
    pub plan: Rc<PlanData>,
    /// The child has a copy of this memory.
    pub copies_memory: bool,
    /// The pid of the parent, which the child's getppid(2) must return.
    pub parent: libc::pid_t,
    /// The slots of the streams: low descriptor numbers, so that little of the descriptor table has to be copied.
    pub slots: Vec<RawFd>,
    /// One above the highest slot.
    pub above_slots: RawFd,
    /// The child moves into its cgroup itself.
    pub enters: bool,
    /// The signals whose disposition in the parent may not be the default ([`signals::changed`]).
    pub changed_signals: u64,
    /// Where the child reports to the parent.
    pub report: *const Report,
    /// How often the child stops first.
    #[cfg(test)]
    pub stops: u32,
}

/// The handler has a restorer, linux/signal.h.
const SA_RESTORER: u64 = 0x0400_0000;

/// Makes one system call: returns its result, or its errno as an error.
macro_rules! ask {
    ($number:expr $(, $argument:expr)*) => {{
        let mut words = [0usize; 6];
        let given = [$($argument.word()),*];
        words[..given.len()].copy_from_slice(&given);
        // SAFETY: all pointers are into the plan or this frame, both of which outlive the call.
        match unsafe { raw($number, words) } {
            result if result < 0 => Err(-result as i32),
            result => Ok(result),
        }
    }};
}

/// Makes one system call that must succeed for the start to go on.
macro_rules! call {
    ($stage:expr, $number:expr $(, $argument:expr)*) => {
        match ask!($number $(, $argument)*) {
            Ok(result) => result,
            Err(errno) => return Failed::at($stage, errno),
        }
    };
}

/// The child half. Makes raw system calls on prepared data, and nothing else. They do not set errno, as the parent may
/// be running in the same memory, with the same thread-local storage.
pub(super) extern "C" fn child_half(shared: *mut libc::c_void) -> ! {
    // SAFETY: the parent half passes a live `Shared`, keeps it until we have left its memory, and writes to nothing of
    // it.
    let shared = unsafe { &*shared.cast_const().cast::<Shared>() };
    // SAFETY: as above; it is in memory that the parent sees in any case.
    let report = unsafe { &*shared.report };
    let mut list = RobustList::EMPTY;
    let shown = if shared.copies_memory { list.show_leaving(&report.here) } else { Ok(()) };
    let failure = match shown {
        Ok(()) => prepare_child(shared, report),
        Err(errno) => Failed::at(Stage::Clone, errno),
    };
    // SAFETY: the parent reads it when we are gone.
    unsafe { *report.failed.get() = Some(failure) };
    end(127)
}

/// Ends this process, without running any Rust code.
pub(super) fn end(code: i32) -> ! {
    loop {
        // SAFETY: takes a number.
        unsafe { raw(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

/// The signals whose default action dumps core, signal(7).
const DUMP_CORE: [i32; 10] = [
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGSYS,
];

/// The handler of these signals as long as the child half has the memory of its parent: a core dump would kill all
/// processes that share it (before Linux 5.16), or write it to a file. execve(2) resets it.
extern "C" fn killed(_: i32) {
    // SAFETY: plain numbers.
    unsafe {
        let own = raw(libc::SYS_getpid, [0; 6]);
        raw(libc::SYS_kill, [own as usize, libc::SIGKILL as usize, 0, 0, 0, 0]);
    }
    end(127);
}

/// A list with one futex for set_robust_list(2): when this process leaves its memory, by execve(2) or by its end, the
/// kernel sets FUTEX_OWNER_DIED in the futex and wakes the thread that waits on it. CLONE_CHILD_CLEARTID does so only
/// where other processes share the memory. The layout is that of struct robust_list_head, linux/futex.h, and of the
/// only entry.
#[repr(C)]
struct RobustList {
    first: *const libc::c_void,
    offset: isize,
    pending: *const libc::c_void,
    entry: *const libc::c_void,
}

impl RobustList {
    const EMPTY: RobustList =
        RobustList { first: std::ptr::null(), offset: 0, pending: std::ptr::null(), entry: std::ptr::null() };

    /// Has the kernel show at `here` when this process has left its memory. The list must stay where it is.
    fn show_leaving(&mut self, here: &AtomicI32) -> Result<(), i32> {
        let entry = &raw const self.entry;
        self.first = entry.cast();
        // The last entry leads back to the head.
        self.entry = (&raw const *self).cast();
        self.offset = (here.as_ptr() as isize).wrapping_sub(entry as isize);
        ask!(libc::SYS_set_robust_list, &raw const *self, std::mem::offset_of!(RobustList, entry))?;
        // The kernel heeds only a futex of the thread that ends, and wakes only where a thread is marked as waiting.
        let own = ask!(libc::SYS_gettid)? as u32;
        here.store((own | libc::FUTEX_WAITERS) as i32, Ordering::Release);
        Ok(())
    }
}

/// Resets the dispositions of all signals: of those that the parent may have `changed`, since the others have the
/// default. This comes first: they are unblocked last, and a handler of the parent must not run in the child.
fn reset_signals(changed: u64) -> Result<(), i32> {
    // A handler, flags, restorer and mask of zero mean SIG_DFL in the kernel's layout. The restorer, which x86-64
    // requires, is where a handler would return to.
    let default = [0u64; 4];
    let handler = killed as extern "C" fn(i32) as usize as u64;
    let killed = [handler, SA_RESTORER, handler, 0];
    for signal in 1..=64i32 {
        let dumps = DUMP_CORE.contains(&signal);
        if (dumps || changed >> (signal - 1) & 1 == 1) && signal != libc::SIGKILL && signal != libc::SIGSTOP {
            let action = if dumps { &killed } else { &default };
            ask!(libc::SYS_rt_sigaction, signal, action.as_ptr(), 0usize, 8usize)?;
        }
    }
    Ok(())
}

/// Everything up to execve(2). Returns only on failure.
fn prepare_child(shared: &Shared, report: &Report) -> Failed {
    let plan = &*shared.plan;
    #[cfg(test)]
    for _ in 0..shared.stops {
        let own = call!(Stage::Signals, libc::SYS_getpid) as i32;
        call!(Stage::Signals, libc::SYS_kill, own, libc::SIGSTOP);
    }

    if let Err(errno) = reset_signals(shared.changed_signals) {
        return Failed::at(Stage::Signals, errno);
    }
    // Until here the descriptor table is shared with the parent. All descriptors above the slots are dropped when it is
    // copied, so that thousands of open descriptors cost nothing.
    if ask!(libc::SYS_close_range, shared.above_slots, u32::MAX, libc::CLOSE_RANGE_UNSHARE).is_err() {
        // Before Linux 5.9. The parent's own descriptors are close-on-exec.
        call!(Stage::Descriptors, libc::SYS_unshare, libc::CLONE_FILES);
    }
    // From here on no more than the memory is shared with the parent.
    if report.apart.swap(true, Ordering::AcqRel) {
        // The parent has given up this child, and the slots may belong to another start.
        end(127);
    }
    for (target, slot) in shared.slots.iter().enumerate() {
        if matches!(plan.streams.get(target), Some(Stream::AsItIs)) {
            // A descriptor of the parent with this number already; it must lose close-on-exec.
            call!(Stage::Streams, libc::SYS_fcntl, target, libc::F_SETFD, 0i32);
            continue;
        }
        call!(Stage::Streams, libc::SYS_dup3, *slot, target, 0i32);
    }
    // Inherited descriptors that are not meant for the child. This fails only before Linux 5.9.
    let _ = ask!(libc::SYS_close_range, shared.slots.len(), shared.above_slots, 0i32);

    if let (Some(procs), true) = (&plan.cgroup_procs, shared.enters) {
        // Early, so that no resource is used outside of the cgroup. "0" means the writing process.
        let file = call!(Stage::Cgroup, libc::SYS_openat, libc::AT_FDCWD, procs.as_ptr(), libc::O_WRONLY, 0i32) as i32;
        call!(Stage::Cgroup, libc::SYS_write, file, c"0".as_ptr(), 1usize);
        call!(Stage::Cgroup, libc::SYS_close, file);
    }
    if plan.new_session {
        call!(Stage::Session, libc::SYS_setsid);
    }
    if let Some(umask) = plan.umask {
        call!(Stage::Prepare, libc::SYS_umask, umask);
    }
    for (resource, limit) in &plan.limits {
        call!(Stage::Limits, libc::SYS_prlimit64, 0i32, *resource, std::ptr::from_ref(limit), 0usize);
    }
    if let Some(nice) = plan.nice {
        call!(Stage::Nice, libc::SYS_setpriority, libc::PRIO_PROCESS, 0i32, nice);
    }
    if let Some(credentials) = &plan.credentials {
        let (uid, gid) = (credentials.uid, credentials.gid);
        call!(Stage::Groups, libc::SYS_setgroups, credentials.groups.len(), credentials.groups.as_ptr());
        call!(Stage::Groups, libc::SYS_setresgid, gid, gid, gid);
        call!(Stage::User, libc::SYS_setresuid, uid, uid, uid);
    }
    // As the user that the process runs as, which may not have access.
    if let Some(cwd) = &plan.cwd {
        call!(Stage::WorkingDirectory, libc::SYS_chdir, cwd.as_ptr());
    }
    if let Some(signal) = plan.parent_death_signal {
        // After the change of user, which clears it. The check that the parent still exists follows, since a parent
        // that has ended before this line sends no signal.
        call!(Stage::ParentDeath, libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal);
        if call!(Stage::ParentDeath, libc::SYS_getppid) != shared.parent as isize {
            return Failed::at(Stage::ParentDeath, libc::ESRCH);
        }
    }
    for own_pid in &plan.own_pids {
        own_pid.write(call!(Stage::Prepare, libc::SYS_getpid) as u32);
    }
    let nothing = 0u64;
    call!(Stage::Signals, libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const nothing, 0usize, 8usize);
    execute(plan)
}

/// Opens standard input, and executes the first program that can be executed. Returns only on failure. It runs in the
/// child, as the user of the process, since file systems may not answer.
fn execute(plan: &PlanData) -> Failed {
    if let Some(file) = &plan.stdin {
        // With signals unblocked: opening a fifo blocks here until it has a writer, as in a shell.
        let how = libc::O_RDONLY | libc::O_NOCTTY;
        let opened = call!(Stage::Input, libc::SYS_openat, libc::AT_FDCWD, file.as_ptr(), how, 0i32) as i32;
        call!(Stage::Input, libc::SYS_dup3, opened, 0i32, 0i32);
        call!(Stage::Input, libc::SYS_close, opened);
    }
    let mut denied = None;
    for (index, program) in plan.programs.iter().enumerate() {
        if plan.looked_up && ask!(libc::SYS_faccessat, libc::AT_FDCWD, program.as_ptr(), libc::X_OK).is_err() {
            if mode_of(program).is_some_and(|mode| mode & libc::S_IFMT == libc::S_IFREG) {
                denied.get_or_insert(index);
            }
            continue;
        }
        let executed =
            ask!(libc::SYS_execve, program.as_ptr(), plan.argv.pointers.as_ptr(), plan.env.pointers.as_ptr());
        let errno = executed.err().unwrap_or(0);
        let mode = mode_of(program);
        if plan.looked_up && mode.is_none_or(|mode| mode & libc::S_IFMT != libc::S_IFREG) {
            continue;
        }
        return Failed { stage: Stage::Exec, errno, program: index, mode };
    }
    match denied {
        Some(program) => Failed { program, ..Failed::at(Stage::LookUp, libc::EACCES) },
        None => Failed::at(Stage::LookUp, libc::ENOENT),
    }
}

/// The mode of a file, if it exists.
fn mode_of(file: &std::ffi::CStr) -> Option<u32> {
    // SAFETY: zeroes are a valid one.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    ask!(libc::SYS_newfstatat, libc::AT_FDCWD, file.as_ptr(), &raw mut found, 0i32).ok()?;
    Some(found.st_mode)
}
