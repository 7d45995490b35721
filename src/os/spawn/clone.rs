//! The system call that makes the process: clone3(2) where it exists, with the cgroup; otherwise clone(2).

use crate::os::cgroup::Group;
use crate::os::pidfd::PidFd;
use crate::os::thread::SignalsBlocked;
use std::ffi::CString;
use std::io;
#[cfg(target_arch = "x86_64")]
use std::os::fd::{AsFd, AsRawFd};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a process can be created in its cgroup: that needs clone3(2), for which libc has no wrapper.
pub(super) const CLONES_INTO_CGROUP: bool = cfg!(target_arch = "x86_64");

/// Set where a child that shares this memory would suspend this thread until it has left: clone3(2) is not available.
static WOULD_SUSPEND: AtomicBool = AtomicBool::new(!CLONES_INTO_CGROUP);

/// Whether a child that shares this memory would suspend this thread until it has left it, so that starts are made with
/// [`clone_copy`].
pub(super) fn would_suspend() -> bool {
    WOULD_SUSPEND.load(Ordering::Relaxed)
}

/// As where clone3(2) is not available.
#[cfg(test)]
pub(super) fn pretend_to_suspend(pretended: bool) {
    WOULD_SUSPEND.store(pretended || !CLONES_INTO_CGROUP, Ordering::Relaxed);
}

/// A stack for the child half.
const STACK: usize = 64 * 1024;

#[repr(C, align(16))]
pub(super) struct Stack([u8; STACK]);

impl Stack {
    pub(super) fn new() -> Box<Stack> {
        Box::new(Stack([0; STACK]))
    }
}

pub(super) type ChildHalf = extern "C" fn(*mut libc::c_void) -> !;

/// Makes a process that runs `half(argument)` in this memory, while this thread is suspended (CLONE_VFORK).
pub(super) fn clone_vfork(
    group: Option<&Group>,
    half: ChildHalf,
    argument: *mut libc::c_void,
) -> Result<(u32, PidFd), i32> {
    use std::cell::RefCell;
    thread_local!(static CHILD_STACK: RefCell<Box<Stack>> = RefCell::new(Stack::new()));

    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::CLONE_PIDFD;
    CHILD_STACK.with_borrow_mut(|stack| {
        // SAFETY: the stack is used by nothing else; `half` and `argument` fit each other; the child half keeps to what
        // the module's head says.
        unsafe { clone_masked(flags, group, stack, half, argument, std::ptr::null_mut()) }
    })
}

/// Makes a process that runs `half(argument)` in this memory and on `stack`, while this thread goes on. When the
/// process has left this memory, by execve(2) or by its end, the kernel writes 0 to `here` and wakes the thread that
/// waits on it (CLONE_CHILD_CLEARTID).
///
/// ENOSYS where clone3(2) is not available; from then on [`would_suspend`] is true.
///
/// # Safety
/// Stack, argument and `here` must not move or be freed until then, and the half must not change this thread's storage.
pub(super) unsafe fn clone_apart(
    group: Option<&Group>,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
    here: *mut i32,
) -> Result<(u32, PidFd), i32> {
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_PIDFD | libc::CLONE_CHILD_CLEARTID;
    // SAFETY: as for this function.
    unsafe { clone_masked(flags, group, stack, half, argument, here) }
}

/// Makes a process that runs `half(argument)` on `stack` in a copy of this memory, as fork(2) does, but shares the
/// descriptor table.
///
/// # Safety
/// The half makes raw system calls alone, and leaves the descriptors as they are until it has a table of its own.
pub(super) unsafe fn clone_copy(
    group: Option<&Group>,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
) -> Result<(u32, PidFd), i32> {
    let flags = libc::CLONE_FILES | libc::CLONE_PIDFD;
    // SAFETY: as for this function.
    unsafe { clone_masked(flags, group, stack, half, argument, std::ptr::null_mut()) }
}

unsafe fn clone_masked(
    flags: libc::c_int,
    group: Option<&Group>,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
    here: *mut i32,
) -> Result<(u32, PidFd), i32> {
    // No signal may reach the child while it has the parent's handlers.
    let blocked = SignalsBlocked::all();
    // SAFETY: as for this function.
    let made = unsafe { clone_into(flags as u64, group, stack, half, argument, here) };
    drop(blocked);
    let (pid, pidfd) = made?;
    // SAFETY: the kernel has just made it for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid.unsigned_abs(), PidFd::from_owned(pidfd)))
}

/// The arguments of clone3(2), up to the cgroup.
#[cfg(target_arch = "x86_64")]
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

#[cfg(target_arch = "x86_64")]
unsafe fn clone_into(
    flags: u64,
    group: Option<&Group>,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
    here: *mut i32,
) -> Result<(libc::pid_t, RawFd), i32> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    let arguments = CloneArguments {
        flags: flags | if group.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: (&raw mut pidfd) as u64,
        child_tid: here as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.0.as_mut_ptr() as u64,
        stack_size: STACK as u64,
        cgroup: group.map_or(0, |group| group.as_fd().as_raw_fd() as u64),
        ..CloneArguments::default()
    };
    let result: i64;
    // libc has no wrapper for clone3. In the child the system call returns on the new stack, with all registers
    // unchanged but rax, rcx and r11. The child must never leave this block: it calls its half, which does not return.
    // SAFETY: the arguments are laid out as the kernel wants them and live across the call; the stack is 16-aligned at
    // both ends, as the call needs it; the parent goes on as after any system call.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<CloneArguments>(),
            in("r8") argument,
            in("r9") half,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match i32::try_from(-result) {
        // Containers with an older system call filter have no clone3, and return one of these errors.
        Ok(libc::ENOSYS | libc::EPERM) if group.is_none() => {
            // SAFETY: as for this function.
            unsafe { clone_by_libc(flags, stack, half, argument) }
        }
        Ok(errno) if errno > 0 => Err(errno),
        _ => Ok((result as libc::pid_t, pidfd)),
    }
}

/// On other machines than x86-64 the child moves into its cgroup itself.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_into(
    flags: u64,
    _: Option<&Group>,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
    _: *mut i32,
) -> Result<(libc::pid_t, RawFd), i32> {
    // SAFETY: as for this function.
    unsafe { clone_by_libc(flags, stack, half, argument) }
}

/// clone(2) through libc's wrapper, which supports no cgroup. musl's refuses CLONE_CHILD_CLEARTID, without which only
/// CLONE_VFORK shows that a child has left this memory: this thread would be suspended for as long as a file system
/// does not answer. So such a child is not made.
unsafe fn clone_by_libc(
    flags: u64,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
) -> Result<(libc::pid_t, RawFd), i32> {
    let flags = flags as i32 | libc::SIGCHLD;
    if flags & libc::CLONE_CHILD_CLEARTID != 0 {
        WOULD_SUSPEND.store(true, Ordering::Relaxed);
        return Err(libc::ENOSYS);
    }
    let mut pidfd: RawFd = -1;
    // SAFETY: the two types differ in the return type only, and the half never returns.
    let half: extern "C" fn(*mut libc::c_void) -> libc::c_int = unsafe { std::mem::transmute(half) };
    // SAFETY: the top of the stack is 16-aligned; with CLONE_PIDFD the third pointer is where the descriptor goes.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr().add(STACK).cast();
        let (no_tls, nowhere): (*mut libc::c_void, *mut i32) = (std::ptr::null_mut(), std::ptr::null_mut());
        libc::clone(half, top, flags, argument, &raw mut pidfd, no_tls, nowhere)
    };
    if pid < 0 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    Ok((pid, pidfd))
}

/// Whether a process that is started in a cgroup gets there; tested with one that ends at once.
pub(crate) fn try_in_group(group: &Group) -> io::Result<bool> {
    extern "C" fn end_at_once(procs: *mut libc::c_void) -> ! {
        let mut code = 0;
        if !procs.is_null() {
            // SAFETY: the maker passes a path that outlives us.
            unsafe {
                let flags = libc::O_WRONLY | libc::O_CLOEXEC;
                let file = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, procs, flags, 0);
                if file < 0 || libc::syscall(libc::SYS_write, file, c"0".as_ptr(), 1) < 0 {
                    code = 1;
                }
                // The descriptor table is shared with the parent, where the file would stay open.
                libc::syscall(libc::SYS_close, file);
            }
        }
        loop {
            // SAFETY: ends this process.
            unsafe { libc::syscall(libc::SYS_exit_group, code) };
        }
    }
    let by_itself = !CLONES_INTO_CGROUP || group.is_entered_by_itself();
    let procs = CString::new(group.path().join("cgroup.procs").into_os_string().into_vec())?;
    let argument = if by_itself { procs.as_ptr().cast_mut().cast() } else { std::ptr::null_mut() };
    let made = clone_vfork(if by_itself { None } else { Some(group) }, end_at_once, argument);
    let (_, process) = match made {
        // clone3 does not exist here, or may not be used: then a process must move into the cgroup itself.
        Err(libc::ENOSYS | libc::EPERM) if !by_itself => return Ok(false),
        made => made.map_err(io::Error::from_raw_os_error)?,
    };
    loop {
        if let Some(status) = process.wait()? {
            return Ok(status.code == Some(0));
        }
        process.wait_exit(crate::time::Span::from_secs(1));
    }
}
