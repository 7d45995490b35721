//! System calls that change nothing in this thread: no errno, no cancellation, no lock.
//!
//! While the child half runs in this memory, the parent goes on. libc's wrappers would write errno, which both share.

/// One system call; a negative result is the errno.
///
/// # Safety
/// Those of the system call.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn raw(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the kernel's convention: it changes nothing but these registers.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The same through libc, which writes errno: on these machines the child has a copy of its parent's memory.
///
/// # Safety
/// Those of the system call.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn raw(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: as for this function; the location of errno is always valid.
    unsafe {
        match libc::syscall(number, a, b, c, d, e, f) {
            -1 => -(*libc::__errno_location() as isize),
            result => result as isize,
        }
    }
}

/// An argument of a system call, as wide as a register.
pub(super) trait Word {
    fn word(self) -> usize;
}

macro_rules! words {
    ($($kind:ty),*) => { $(impl Word for $kind { fn word(self) -> usize { self as usize } })* };
}
words!(i32, u32, i64, u64, usize);

impl<T> Word for *const T {
    fn word(self) -> usize {
        self as usize
    }
}

impl<T> Word for *mut T {
    fn word(self) -> usize {
        self as usize
    }
}
