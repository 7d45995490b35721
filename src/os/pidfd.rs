//! A process by a descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2) with P_PIDFD. Unlike a pid, it cannot be
//! reused.
use crate::time::Span;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

#[cfg(test)]
mod tests;

/// A process, by its descriptor.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

/// The resources that a process has used, as in getrusage(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Span,
    /// CPU time in the kernel.
    pub system: Span,
    /// Largest resident set in KiB.
    pub max_rss_kib: u64,
}

/// How a process ended. Exactly one of `code` and `signal` is set if the kernel has reported the exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitStatus {
    /// Its exit status, 0 to 255.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It has left a core file.
    pub core_dumped: bool,
    /// The resources that it has used.
    pub usage: Usage,
}

impl PidFd {
    /// Opens a process by its pid. For children of this process there is no race; for others the pid may have been
    /// reused meanwhile.
    ///
    /// # Errors
    /// ESRCH if there is no such process.
    pub fn open(pid: u32) -> io::Result<PidFd> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Another descriptor of the same process.
    ///
    /// # Errors
    /// EMFILE.
    pub(super) fn try_clone(&self) -> io::Result<PidFd> {
        self.0.try_clone().map(PidFd)
    }

    /// Takes over a descriptor from clone(2), or one that a former program of this process has left.
    pub fn from_owned(fd: OwnedFd) -> PidFd {
        PidFd(fd)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// ESRCH if the process is gone.
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

    /// Sends a signal to a child that has not been reaped: its pid cannot have been reused, so kill(2) serves if the
    /// call by descriptor is refused.
    ///
    /// # Errors
    /// An error for which [`is_gone`] is true if the child has ended; others if the kernel refuses.
    pub fn signal_child(&self, pid: u32, signal: i32) -> io::Result<()> {
        match self.signal(signal) {
            Err(error) if may_be_the_call(&error) => by_number(pid, signal),
            result => result,
        }
    }

    /// Reaps a child that has ended, and returns its exit status; `None` while it runs. Never blocks.
    ///
    /// # Errors
    /// Only of a process that has ended: ECHILD if it was no child of this one, or was reaped already; others if the
    /// kernel refuses.
    pub fn wait(&self) -> io::Result<Option<ExitStatus>> {
        // SAFETY: all-zero is a valid value of both plain structs.
        let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
        // The system call has a fifth argument, which glibc's wrapper lacks.
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
            let error = io::Error::last_os_error();
            // No error of waitid means that the process has ended; only the descriptor shows that.
            return if self.wait_exit(Span::ZERO) { Err(error) } else { Ok(None) };
        }
        // SAFETY: waitid fills in these fields; with WNOHANG and no such child the pid stays zero.
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

    /// Whether a child has ended. Does not reap it, so its pid is not reused.
    pub fn has_ended(&self) -> bool {
        // SAFETY: all-zero is a valid value; the pointer is to a live one. With WNOHANG and no such child the number
        // stays zero.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PIDFD, self.0.as_raw_fd() as libc::id_t, &raw mut info, flags) == 0
                && info.si_pid() != 0
        }
    }

    /// Waits up to `limit` for the end of the process, which need not be a child. Returns whether it has ended. For
    /// command-line clients and the keeper.
    pub fn wait_exit(&self, limit: Span) -> bool {
        super::fd::wait_readable_any(&[self.0.as_fd()], Some(limit)).unwrap_or(false)
    }

    /// Waits for the end of the process without limit. Only for the keeper, which does nothing else.
    pub fn wait_exit_forever(&self) {
        // An error of poll(2), such as a lack of memory, does not mean that the process has ended.
        while super::fd::wait_readable_any(&[self.0.as_fd()], None).is_err() {
            super::clock::pause(Span::from_millis(100));
        }
    }
}

impl PidFd {
    /// The exit status of a process that has ended, had this pid, and is no child of this one. `None` for a status of 0
    /// before its parent has reaped it, and, after that, on kernels before Linux 6.15, which do not report it.
    pub fn told_exit(&self, pid: u32) -> Option<ExitStatus> {
        let of_zombie = super::process::stat(pid).filter(|stat| stat.has_ended()).map(|stat| stat.exit_code);
        // A process that can be signalled is not reaped, so the pid was its own when it was read.
        let of_zombie = of_zombie.filter(|status| *status != 0 && self.signal(0).is_ok());
        let of_reaped = || {
            let info = Info::of(self.0.as_raw_fd(), Info::EXIT).ok()?;
            (info.mask & Info::EXIT != 0).then_some(info.exit_code)
        };
        let status = of_zombie.or_else(of_reaped)?;
        let exited = libc::WIFEXITED(status);
        Some(ExitStatus {
            code: exited.then(|| libc::WEXITSTATUS(status)),
            signal: (!exited).then(|| libc::WTERMSIG(status)),
            core_dumped: !exited && libc::WCOREDUMP(status),
            usage: Usage::default(),
        })
    }
}

/// struct pidfd_info of linux/pidfd.h, which libc does not have for every target.
#[repr(C)]
#[derive(Default)]
pub(super) struct Info {
    mask: u64,
    cgroup: u64,
    /// The pid in our pid namespace.
    pub(super) pid: u32,
    ids: [u32; 2],
    credentials: [u32; 8],
    exit_code: i32,
}

impl Info {
    const EXIT: u64 = 1 << 3;

    /// The information about a process; `mask` asks for optional fields.
    ///
    /// # Errors
    /// ENOTTY if this is no pidfd, and on kernels before Linux 6.13. ESRCH if the process has been reaped.
    pub(super) fn of(pidfd: RawFd, mask: u64) -> io::Result<Info> {
        // PIDFD_GET_INFO. The size of the struct is part of the request number; this one is of the first version, which
        // ends with the exit status.
        const GET_INFO: u32 = 3 << 30 | (size_of::<Info>() as u32) << 16 | 0xff << 8 | 11;
        let mut info = Info { mask, ..Info::default() };
        // SAFETY: the pointer is to a live value of the size that the request's number encodes.
        let result = unsafe { libc::ioctl(pidfd, GET_INFO as _, &raw mut info) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
    }
}

/// Whether an error of opening or signalling a process means that it is gone. No other error means that: a seccomp
/// filter may refuse the call, or descriptors or memory may be lacking.
pub fn is_gone(error: &io::Error) -> bool {
    // pidfd_open(2) returns EINVAL or ENOENT for the number of a thread that is not the first of its process.
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL | libc::ENOENT))
}

/// Whether the kernel may have refused the *system call* and not the signal: by a seccomp filter (EPERM, ENOSYS or any
/// errno of its author's choice), on an old kernel, or for lack of descriptors.
fn may_be_the_call(error: &io::Error) -> bool {
    !is_gone(error)
}

/// A process that is no child of this one, for sending signals: by a descriptor, or if the kernel gives none, by its
/// pid and start time.
#[derive(Debug)]
pub struct ProcessHandle {
    pid: u32,
    /// [`u64::MAX`] if `/proc` hides the process: then the descriptor alone identifies it.
    began: u64,
    fd: Option<PidFd>,
}

impl ProcessHandle {
    /// Opens the process `pid` that started at `began`, in ticks as in proc_pid_stat(5).
    ///
    /// # Errors
    /// An error for which [`is_gone`] is true if there is no such process any more; others if it cannot be checked.
    pub fn open(pid: u32, began: u64) -> io::Result<ProcessHandle> {
        let fd = match PidFd::open(pid) {
            Ok(fd) => Some(fd),
            Err(error) if is_gone(&error) => return Err(error),
            Err(_) => None,
        };
        let reach = ProcessHandle { pid, began, fd };
        // The pid may have been reused between the caller's check and the open, so it is checked once more, now that
        // the descriptor holds the process.
        reach.look()?;
        Ok(reach)
    }

    /// Opens the process that has this pid now.
    ///
    /// # Errors
    /// Those of [`ProcessHandle::open`].
    pub fn of(pid: u32) -> io::Result<ProcessHandle> {
        match super::process::look(pid) {
            Ok(Some(stat)) if !stat.has_ended() => ProcessHandle::open(pid, stat.began),
            Ok(_) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            Err(error) if super::process::is_hidden(&error) => {
                let hidden = ProcessHandle { pid, began: u64::MAX, fd: Some(PidFd::open(pid)?) };
                hidden.look()?;
                Ok(hidden)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the process has ended.
    ///
    /// # Errors
    /// If it cannot be checked.
    pub fn has_ended(&self) -> io::Result<bool> {
        match self.look() {
            Ok(()) => Ok(false),
            Err(error) if is_gone(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether the process may still be running: true as well if it cannot be checked.
    pub fn may_run(&self) -> bool {
        !self.has_ended().unwrap_or(false)
    }

    /// Its start time, in ticks as in proc_pid_stat(5); [`u64::MAX`] if `/proc` hides it.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// In this PID namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// An error for which [`is_gone`] is true if the process is gone; others if the kernel refuses.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match self.fd.as_ref().map(|fd| fd.signal(signal)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if !may_be_the_call(&error) => Err(error),
            Some(Err(_)) | None => {
                self.look()?;
                by_number(self.pid, signal)
            }
        }
    }

    /// Checks that the pid still belongs to this process.
    fn look(&self) -> io::Result<()> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        if let Some(hidden) = self.fd.as_ref().filter(|_| self.began == u64::MAX) {
            return if hidden.wait_exit(Span::ZERO) { Err(gone()) } else { Ok(()) };
        }
        match super::process::look(self.pid)? {
            Some(stat) if stat.began == self.began && !stat.has_ended() => Ok(()),
            Some(_) | None => Err(gone()),
        }
    }
}

/// kill(2), for one process.
fn by_number(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1).ok_or(io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: plain numbers.
    if unsafe { libc::kill(pid, signal) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
