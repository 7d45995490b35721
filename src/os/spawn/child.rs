//! The child half: from the clone to execve(2), under the rules that the head of [`super`] gives.

use super::{Plan, Stage};
use std::os::fd::RawFd;

/// What the two halves share: orders for the child, and its word on what went wrong.
pub(super) struct Shared<'a> {
    pub plan: &'a Plan,
    /// Our own number, which the child's getppid(2) must give.
    pub parent: libc::pid_t,
    /// Where the streams stand: low numbers, so that little of our table has to be copied.
    pub slots: &'a [RawFd],
    /// The number above all slots.
    pub above_slots: RawFd,
    pub failed: Option<(Stage, i32)>,
}

/// The child half. Raw system calls on prepared data, and nothing else.
///
/// Its errors land in our errno, which is shared; we are stopped until it is over, so nobody reads it in between.
pub(super) extern "C" fn child_half(shared: *mut libc::c_void) -> ! {
    // SAFETY: the parent half passes a live `Shared` and is stopped until we execute or end.
    let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
    let failure = prepare_child(shared);
    shared.failed = Some(failure);
    // SAFETY: ends this process; nothing of Rust's may run on the way.
    unsafe { libc::syscall(libc::SYS_exit_group, 127) };
    loop {
        std::hint::spin_loop();
    }
}

/// One system call; its errno when it fails. Arguments that the kernel takes as pointers or sizes have to be as wide here:
/// nobody promises what is in the upper half of a variadic `int`.
macro_rules! call {
    ($stage:expr, $($argument:expr),+) => {{
        // SAFETY: all pointers are into the plan or this frame, both of which outlive the call.
        if unsafe { libc::syscall($($argument),+) } < 0 {
            // SAFETY: the location of errno is always valid.
            return ($stage, unsafe { *libc::__errno_location() });
        }
    }};
}

/// Everything up to execve(2); returns only what failed.
fn prepare_child(shared: &Shared<'_>) -> (Stage, i32) {
    let plan = shared.plan;

    // Dispositions first: the signals are unblocked last, and a handler of ours must not run in the new program's name.
    // A handler, flags, restorer and mask of zero are SIG_DFL, as the kernel lays them out.
    let default = [0u64; 4];
    for signal in 1..=64i64 {
        if signal != i64::from(libc::SIGKILL) && signal != i64::from(libc::SIGSTOP) {
            call!(Stage::Signals, libc::SYS_rt_sigaction, signal, default.as_ptr(), 0usize, 8usize);
        }
    }

    // The descriptor table is shared with the parent until here. Everything above the slots is dropped while it is
    // being copied, so that thousands of open descriptors cost nothing.
    // SAFETY: plain numbers.
    if unsafe { libc::syscall(libc::SYS_close_range, shared.above_slots, u32::MAX, libc::CLOSE_RANGE_UNSHARE) } < 0 {
        // Before Linux 5.9. Our own descriptors are closed by exec.
        call!(Stage::Descriptors, libc::SYS_unshare, libc::CLONE_FILES);
    }
    for (target, slot) in shared.slots.iter().enumerate() {
        call!(Stage::Streams, libc::SYS_dup3, *slot, target, 0);
    }
    // What was inherited without being meant for anybody. Fails before Linux 5.9 only.
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_close_range, shared.slots.len(), shared.above_slots, 0) };

    if let Some(procs) = &plan.cgroup_procs {
        // Before anything can be left behind outside of it. "0" is the writing process.
        // SAFETY: the path is in the plan.
        let file = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, procs.as_ptr(), libc::O_WRONLY, 0) };
        if file < 0 {
            // SAFETY: the location of errno is always valid.
            return (Stage::Cgroup, unsafe { *libc::__errno_location() });
        }
        call!(Stage::Cgroup, libc::SYS_write, file, c"0".as_ptr(), 1);
        call!(Stage::Cgroup, libc::SYS_close, file);
    }
    if plan.new_session {
        call!(Stage::Session, libc::SYS_setsid);
    }
    if let Some(umask) = plan.umask {
        call!(Stage::Prepare, libc::SYS_umask, umask);
    }
    for (resource, limit) in &plan.limits {
        call!(Stage::Limits, libc::SYS_prlimit64, 0, *resource, std::ptr::from_ref(limit), 0usize);
    }
    if let Some(nice) = plan.nice {
        call!(Stage::Nice, libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice);
    }
    if let Some(credentials) = &plan.credentials {
        let (uid, gid) = (credentials.uid, credentials.gid);
        call!(Stage::Groups, libc::SYS_setgroups, credentials.groups.len(), credentials.groups.as_ptr());
        call!(Stage::Groups, libc::SYS_setresgid, gid, gid, gid);
        call!(Stage::User, libc::SYS_setresuid, uid, uid, uid);
    }
    // As the user that it runs as, who may not be let everywhere.
    if let Some(cwd) = &plan.cwd {
        call!(Stage::WorkingDirectory, libc::SYS_chdir, cwd.as_ptr());
    }
    if let Some(signal) = plan.parent_death_signal {
        // After the change of user, which clears it; and then a look whether the parent is still there, since its death
        // before this line sends nothing.
        call!(Stage::ParentDeath, libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal);
        // SAFETY: takes nothing.
        if unsafe { libc::syscall(libc::SYS_getppid) } != i64::from(shared.parent) {
            return (Stage::ParentDeath, libc::ESRCH);
        }
    }
    if let Some(own_pid) = &plan.own_pid {
        // SAFETY: takes nothing.
        own_pid.write(unsafe { libc::syscall(libc::SYS_getpid) } as u32);
    }
    let nothing = 0u64;
    call!(Stage::Signals, libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const nothing, 0usize, 8usize);
    call!(
        Stage::Exec,
        libc::SYS_execve,
        plan.program.as_ptr(),
        plan.argv.pointers.as_ptr(),
        plan.env.pointers.as_ptr()
    );
    (Stage::Exec, 0)
}
