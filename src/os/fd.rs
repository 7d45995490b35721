//! File descriptors: pipes, memory files, inheritance, limits.
use super::clock::Clock;
use super::thread;
use crate::time::{Span, Time};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::backtrace::BacktraceStatus;
use std::fs;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// How long writing a message to stderr may wait for the disk of its file.
const PATIENCE: Span = Span::from_secs(1);

/// Above the numbers that a child's descriptor table copies at first, and below the size of a table with few entries.
const OUT_OF_THE_WAY: RawFd = 48;

#[cfg(test)]
mod tests;

/// A pipe for a worker's output: the read end is non-blocking; the write end blocks, as programs expect.
///
/// # Errors
/// The kernel's.
pub fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    set_nonblocking(reader.as_fd(), true)?;
    Ok((reader, writer))
}

/// A pipe, read end first; both ends are close-on-exec.
///
/// # Errors
/// The kernel's.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// A pipe with a non-blocking write end and a capacity of `bytes`, or as much as the kernel allows.
///
/// # Errors
/// The kernel's.
pub fn wide_pipe(bytes: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    set_nonblocking(writer.as_fd(), true)?;
    // The capacity for ordinary users is limited; the default of 64 KiB suffices.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(bytes));
    Ok((reader, writer))
}

/// A file in memory with this content, positioned at its beginning.
///
/// # Errors
/// The kernel's.
pub fn memfd_with(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// Takes over a descriptor that the parent process has passed at this number, and makes it close-on-exec.
///
/// # Errors
/// If the number is not an open descriptor.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: borrowed for the one call below, which fails with EBADF when nothing is there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor exists, and by the convention between our processes no other code in this one uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Replaces a standard stream by a file. Everything that writes to the stream goes to the file from now on.
///
/// # Errors
/// The kernel's, and `InvalidInput` for a number that is neither 1 nor 2.
pub fn replace_stream(stream: RawFd, file: &fs::File) -> io::Result<()> {
    match stream {
        1 => Ok(nix::unistd::dup2_stdout(file)?),
        2 => Ok(nix::unistd::dup2_stderr(file)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Makes all descriptors but the standard streams close-on-exec.
///
/// # Errors
/// The kernel's, if `/proc` cannot be read either.
pub fn keep_to_ourselves() -> io::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    // Before Linux 5.11, or if a seccomp filter refuses the call.
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if number > 2 {
            // SAFETY: plain numbers; the directory's own descriptor is closed by then, which gives EBADF.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Sets or clears O_NONBLOCK.
///
/// # Errors
/// The kernel's.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Writes a line to stderr. Unlike `eprintln!`, it does not panic if stderr has no reader or the disk is full.
pub fn complain(line: impl std::fmt::Display) {
    let line = format!("{}\n", crate::text::page(&line.to_string()));
    let write = move || drop(io::stderr().write_all(line.as_bytes()));
    // A file may be on a disk that does not answer.
    if is_regular(io::stderr().as_fd()).unwrap_or(false) { thread::briefly(PATIENCE, write) } else { write() }
}

/// Reports a panic of this process like any other error, so that its exit does not wait for a disk.
pub fn complain_of_crashes() {
    std::panic::set_hook(Box::new(|info| {
        let trace = std::backtrace::Backtrace::capture();
        let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        let thread = std::thread::current();
        complain(format_args!("treevisor: thread '{}' {info}{trace}", thread.name().unwrap_or("?")));
    }));
}

/// Waits until one of the descriptors is readable or has ended, for up to `limit`; `None` waits without limit. Returns
/// whether one is.
///
/// # Errors
/// The kernel's.
pub fn wait_readable_any(fds: &[BorrowedFd<'_>], limit: Option<Span>) -> io::Result<bool> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // A signal handler interrupts poll(2), and must not restart the timeout.
    let clock = Clock::start();
    loop {
        let timeout = match limit {
            None => PollTimeout::NONE,
            Some(span) => rounded_up((Time::ZERO + span).since(clock.now())),
        };
        match nix::poll::poll(&mut polled, timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Copies a descriptor to a number that is never in a child's descriptor table, even briefly: the child would have to
/// close it, which may block on a disk.
///
/// # Errors
/// The kernel's.
pub fn copy_out_of_the_way(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) };
    if copy < 0 {
        // The limit on descriptors may be lower.
        return fd.try_clone_to_owned();
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Waits up to `limit` until a descriptor is writable, or its reader is gone.
///
/// # Errors
/// The kernel's.
pub fn wait_writable(fd: BorrowedFd<'_>, limit: Span) -> io::Result<()> {
    match nix::poll::poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], rounded_up(limit)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a descriptor is a regular file; uses only cached attributes, since the file system may not answer.
///
/// # Errors
/// The kernel's.
pub fn is_regular(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all zeros are a value of this structure of numbers.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path is a string, and the structure is live for the length of the call.
    let code = unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_TYPE, &raw mut found) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFREG)
}

/// A timeout for poll(2), rounded up.
fn rounded_up(span: Span) -> PollTimeout {
    let millis = i32::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// The result of raising the limit on open files.
#[derive(Debug, Clone, Copy)]
pub struct Nofile {
    /// The soft limit before.
    pub soft_before: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Raises the soft limit on open files to the hard limit: a supervisor needs several descriptors for each child.
///
/// # Errors
/// The kernel's.
pub fn raise_nofile() -> io::Result<Nofile> {
    raise_nofile_to(u64::MAX)
}

/// Raises the soft limit on open files to `most`, or to the hard limit if that is lower. A soft limit that is higher
/// stays.
///
/// # Errors
/// The kernel's.
pub fn raise_nofile_to(most: u64) -> io::Result<Nofile> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // If the machine's maximum was lowered below the hard limit, even setting the present value fails, here and in a
    // child that inherits it.
    let machines = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let hard = hard.min(machines.unwrap_or(u64::MAX));
    let soft_before = soft.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, most.min(hard).max(soft_before), hard)?;
    Ok(Nofile { soft_before, hard })
}

/// Grows the descriptor table for `count` descriptors at once. That is cheap while the process has one thread. Later,
/// each time that the table grows, the kernel waits until no other thread can be using it, which takes longer than
/// starting a child.
pub fn make_room(count: usize) {
    let last = nofile_limit().min(count as u64).saturating_sub(1);
    let Ok(last) = RawFd::try_from(last) else { return };
    // Not a copy of a standard stream: closing that may block on the disk of its file.
    let Ok(event) = EventFd::from_flags(EfdFlags::EFD_CLOEXEC) else { return };
    // SAFETY: plain numbers.
    let fd = unsafe { libc::fcntl(event.as_raw_fd(), libc::F_DUPFD_CLOEXEC, last) };
    if fd >= 0 {
        // SAFETY: the kernel has just made it for us.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// The soft limit on open files.
pub fn nofile_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// Fails with EMFILE unless so many descriptors can be opened: opens them, and closes them again.
///
/// # Errors
/// The kernel's.
pub fn can_open(count: usize) -> io::Result<()> {
    let event = OwnedFd::from(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
    let others: io::Result<Vec<OwnedFd>> = (1..count).map(|_| event.try_clone()).collect();
    others.map(drop)
}

/// Fails with EMFILE where fewer than `count` descriptors are free above the lowest free one. Three cheap calls.
/// Numbers are given from the lowest on, so where descriptors run out few are free below an open one.
///
/// # Errors
/// EMFILE.
pub fn leave(count: u64) -> io::Result<()> {
    match lowest_free().saturating_add(count) > nofile_limit() {
        true => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        false => Ok(()),
    }
}

/// The lowest free descriptor number: all below it are in use. Two cheap calls; counting the open ones would read a
/// directory.
pub fn lowest_free() -> u64 {
    // Not a copy of a standard stream: closing that may block on the disk of its file.
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).ok();
    event.and_then(|event| u64::try_from(event.as_raw_fd()).ok()).unwrap_or_else(nofile_limit)
}
