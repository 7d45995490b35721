//! A process by a descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2) with P_PIDFD. No pid can be mistaken.
use crate::time::Span;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

#[cfg(test)]
mod tests;

/// A process.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

/// What a process has used, as in getrusage(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Span,
    /// CPU time in the kernel.
    pub system: Span,
    /// Largest resident set in KiB.
    pub max_rss_kib: u64,
}

/// How a process ended. Exactly one of `code` and `signal` is there when the kernel has said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExitStatus {
    /// Its exit status.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It has left a core file.
    pub core_dumped: bool,
    /// What it had used.
    pub usage: Usage,
}

impl PidFd {
    /// Opens a process by its number. For one's own children there is no race; for others the number may have been
    /// given to somebody else meanwhile.
    ///
    /// # Errors
    /// ESRCH when there is none.
    pub fn open(pid: u32) -> io::Result<PidFd> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Takes over a descriptor that clone(2) has made.
    pub(super) fn from_owned(fd: OwnedFd) -> PidFd {
        PidFd(fd)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// ESRCH when the process is gone.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: no siginfo is passed; the descriptor is ours.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes the exit status of a child that has ended; `None` while it lives. Never blocks.
    ///
    /// # Errors
    /// ECHILD when it is no child of ours, or its status was taken already.
    pub fn wait(&self) -> io::Result<Option<ExitStatus>> {
        // SAFETY: all-zero is a valid value of both plain structs.
        let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
        // The call of the kernel has a fifth argument, which glibc's wrapper lacks.
        // SAFETY: both pointers are to live values of the right type.
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                self.0.as_raw_fd(),
                &raw mut info,
                libc::WEXITED | libc::WNOHANG,
                &raw mut usage,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: waitid fills in these fields; with WNOHANG and nobody there the pid stays zero.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        let exited = info.si_code == libc::CLD_EXITED;
        Ok(Some(ExitStatus {
            code: exited.then_some(status),
            signal: (!exited).then_some(status),
            core_dumped: info.si_code == libc::CLD_DUMPED,
            usage: Usage {
                user: span(usage.ru_utime),
                system: span(usage.ru_stime),
                max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
            },
        }))
    }

    /// Whether a child has ended. Its status is left where it is, and so its number is not given to anybody else.
    pub fn has_ended(&self) -> bool {
        // SAFETY: all-zero is a valid value; the pointer is to a live one. With WNOHANG and nobody there the number stays
        // zero.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PIDFD, self.0.as_raw_fd() as libc::id_t, &raw mut info, flags) == 0
                && info.si_pid() != 0
        }
    }

    /// Waits until the process has ended, or the time is over. For command-line clients and the keeper. The process need
    /// not be a child. Returns whether it has ended.
    pub fn wait_exit(&self, limit: Span) -> bool {
        super::fd::wait_readable_any(&[self.0.as_fd()], Some(limit)).unwrap_or(false)
    }

    /// Waits until the process has ended, however long that takes. For the keeper alone, whose life this is.
    pub fn wait_exit_forever(&self) {
        // An error cannot be told from an end here, and to take it for one is the safe side: what is still alive is
        // looked at again before anything is done.
        let _ = super::fd::wait_readable_any(&[self.0.as_fd()], None);
    }
}

impl PidFd {
    /// How a process that is no child of ours has ended: its wait status, once its parent has taken it. `None` before,
    /// and on kernels before Linux 6.15, which do not tell.
    pub fn told_exit(&self) -> Option<ExitStatus> {
        // struct pidfd_info and PIDFD_GET_INFO of linux/pidfd.h, which libc has not for every target. The size is part of
        // the request's number: that of the first version, which ends with the exit status.
        #[repr(C)]
        #[derive(Default)]
        struct Info {
            mask: u64,
            cgroup: u64,
            ids: [u32; 3],
            credentials: [u32; 8],
            exit_code: i32,
        }
        const EXIT: u64 = 1 << 3;
        const GET_INFO: u32 = 3 << 30 | (size_of::<Info>() as u32) << 16 | 0xff << 8 | 11;
        let mut info = Info { mask: EXIT, ..Info::default() };
        // SAFETY: the pointer is to a live value of the size that the request's number says.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), GET_INFO as _, &raw mut info) };
        if result < 0 || info.mask & EXIT == 0 {
            return None;
        }
        let status = info.exit_code;
        let exited = libc::WIFEXITED(status);
        Some(ExitStatus {
            code: exited.then(|| libc::WEXITSTATUS(status)),
            signal: (!exited).then(|| libc::WTERMSIG(status)),
            core_dumped: !exited && libc::WCOREDUMP(status),
            usage: Usage::default(),
        })
    }
}

fn span(time: libc::timeval) -> Span {
    Span::from_micros((time.tv_sec as u64).saturating_mul(1_000_000).saturating_add(time.tv_usec as u64))
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
