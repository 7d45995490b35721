//! The child half: from the clone to execve(2), under the rules that the head of [`super`] gives.

use super::plan::{Failed, PlanData, Stage};
use super::raw::{Word, raw};
use super::slots::Stream;
use std::cell::UnsafeCell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// What the two halves share: orders for the child, and its report of what went wrong. It stays where it is, and the
/// plan with it, until the child has left our memory.
pub(super) struct Shared {
    pub plan: Rc<PlanData>,
    /// Our own number, which the child's getppid(2) must give.
    pub parent: libc::pid_t,
    /// Where the streams stand: low numbers, so that little of our table has to be copied.
    pub slots: Vec<RawFd>,
    /// The number above all slots.
    pub above_slots: RawFd,
    /// 1 until the child has left our memory by execve(2) or by its end: the kernel then writes a 0 and wakes the
    /// waiting thread.
    pub here: AtomicI32,
    /// The child's table of descriptors is its own: the slots can be used again.
    pub apart: AtomicBool,
    /// Read when `here` is 0.
    pub failed: UnsafeCell<Option<Failed>>,
    #[cfg(test)]
    pub stops: bool,
}

/// The child half. Raw system calls on prepared data, and nothing else. They leave no errno: the parent may be going on
/// in the same memory, with the same thread-local storage.
pub(super) extern "C" fn child_half(shared: *mut libc::c_void) -> ! {
    // SAFETY: the parent half passes a live `Shared`, keeps it until we have left its memory, and writes to nothing of
    // it.
    let shared = unsafe { &*shared.cast_const().cast::<Shared>() };
    let failure = prepare_child(shared);
    // SAFETY: the parent reads it when we are gone.
    unsafe { *shared.failed.get() = Some(failure) };
    end(127)
}

/// Ends this process; nothing of Rust's may run on the way.
pub(super) fn end(code: i32) -> ! {
    loop {
        // SAFETY: takes a number.
        unsafe { raw(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

/// One system call: its result, or its errno as an error.
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

/// One system call without which there is no start.
macro_rules! call {
    ($stage:expr, $number:expr $(, $argument:expr)*) => {
        match ask!($number $(, $argument)*) {
            Ok(result) => result,
            Err(errno) => return Failed::at($stage, errno),
        }
    };
}

/// Everything up to execve(2); returns only what failed.
fn prepare_child(shared: &Shared) -> Failed {
    let plan = &*shared.plan;
    #[cfg(test)]
    if shared.stops {
        let own = call!(Stage::Signals, libc::SYS_getpid) as i32;
        call!(Stage::Signals, libc::SYS_kill, own, libc::SIGSTOP);
    }

    // Dispositions first: the signals are unblocked last, and a handler of ours must not run in the new program's name.
    // A handler, flags, restorer and mask of zero are SIG_DFL, as the kernel lays them out.
    let default = [0u64; 4];
    for signal in 1..=64i32 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            call!(Stage::Signals, libc::SYS_rt_sigaction, signal, default.as_ptr(), 0usize, 8usize);
        }
    }

    // The descriptor table is shared with the parent until here. Everything above the slots is dropped while it is
    // being copied, so that thousands of open descriptors cost nothing.
    if ask!(libc::SYS_close_range, shared.above_slots, u32::MAX, libc::CLOSE_RANGE_UNSHARE).is_err() {
        // Before Linux 5.9. Our own descriptors are closed by exec.
        call!(Stage::Descriptors, libc::SYS_unshare, libc::CLONE_FILES);
    }
    // From here on nothing of ours is the parent's but the memory.
    shared.apart.store(true, Ordering::Release);
    for (target, slot) in shared.slots.iter().enumerate() {
        if matches!(plan.streams.get(target), Some(Stream::AsItIs)) {
            // Our own with this number, which would go with the execution as all of ours do.
            call!(Stage::Streams, libc::SYS_fcntl, target, libc::F_SETFD, 0i32);
            continue;
        }
        call!(Stage::Streams, libc::SYS_dup3, *slot, target, 0i32);
    }
    // What was inherited without being meant for the child. Fails before Linux 5.9 only.
    let _ = ask!(libc::SYS_close_range, shared.slots.len(), shared.above_slots, 0i32);

    if let Some(procs) = &plan.cgroup_procs {
        // Before anything can be left behind outside of it. "0" is the writing process.
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
    // As the user that it runs as, which may not be let everywhere.
    if let Some(cwd) = &plan.cwd {
        call!(Stage::WorkingDirectory, libc::SYS_chdir, cwd.as_ptr());
    }
    if let Some(signal) = plan.parent_death_signal {
        // After the change of user, which clears it; and then a look whether the parent is still there, since its exit
        // before this line sends nothing.
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

/// Opens what it reads, and executes the first of the programs that can be; returns only why there is none. As the user
/// that it runs as, and in the child: their file systems may not answer.
fn execute(plan: &PlanData) -> Failed {
    if let Some(file) = &plan.stdin {
        // With signals on: a fifo waits here for what writes to it, as it does in a shell.
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

/// The mode of a file, if it is there.
fn mode_of(file: &std::ffi::CStr) -> Option<u32> {
    // SAFETY: zeroes are a valid one.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    ask!(libc::SYS_newfstatat, libc::AT_FDCWD, file.as_ptr(), &raw mut found, 0i32).ok()?;
    Some(found.st_mode)
}
