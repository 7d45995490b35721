//! Descriptors: pipes, memory files, inheritance, limits.
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

/// A complaint waits so long for the disk with the file that it is written to.
const PATIENCE: Span = Span::from_secs(1);

/// Above the numbers that a child's table of descriptors begins with, and below those that a table without much in it
/// has.
const OUT_OF_THE_WAY: RawFd = 48;

#[cfg(test)]
mod tests;

/// A pipe for a worker's output: the reading end does not block, the writing end does, as programs expect.
///
/// # Errors
/// The kernel's.
pub fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    set_nonblocking(reader.as_fd(), true)?;
    Ok((reader, writer))
}

/// A pipe, reading end first; both ends are closed by exec.
///
/// # Errors
/// The kernel's.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// A pipe whose writing end does not block and which holds `bytes`, or as much as the kernel allows.
///
/// # Errors
/// The kernel's.
pub fn wide_pipe(bytes: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    set_nonblocking(writer.as_fd(), true)?;
    // What an ordinary user may have is limited; the usual 64 KiB do as well.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(bytes));
    Ok((reader, writer))
}

/// A file in memory with this content, to be read from its beginning.
///
/// # Errors
/// The kernel's.
pub fn memfd_with(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// Takes over a descriptor that the parent process has placed at a number, and makes sure that it goes no further.
///
/// # Errors
/// When there is none.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: borrowed for the one call below, which fails with EBADF when nothing is there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor exists, and by the convention between our processes no other code in this one uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts a standard stream on another file. Everything that writes to the stream goes there from now on.
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

/// Lets no program that this process executes have any descriptor but the three streams.
///
/// # Errors
/// The kernel's, where `/proc` cannot be read either.
pub fn keep_to_ourselves() -> io::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    // Before Linux 5.11, or where a filter of system calls refuses it.
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if number > 2 {
            // SAFETY: plain numbers; the directory's own descriptor is closed by then, which gives EBADF.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Makes reads and writes return at once, or not.
///
/// # Errors
/// The kernel's.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Writes a line to stderr. It may have no reader, or the disk may be full: that ends nothing, as `eprintln!` would.
pub fn complain(line: impl std::fmt::Display) {
    let line = format!("{}\n", crate::text::page(&line.to_string()));
    let write = move || drop(io::stderr().write_all(line.as_bytes()));
    // A file may lie on a disk that does not answer.
    if is_regular(io::stderr().as_fd()).unwrap_or(false) { thread::briefly(PATIENCE, write) } else { write() }
}

/// From here on a crash of this process reports its cause as any other error: its exit does not wait for a disk.
pub fn complain_of_crashes() {
    std::panic::set_hook(Box::new(|info| {
        let trace = std::backtrace::Backtrace::capture();
        let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        let thread = std::thread::current();
        complain(format_args!("treevisor: thread '{}' {info}{trace}", thread.name().unwrap_or("?")));
    }));
}

/// Waits until one of some descriptors can be read, or has ended; `None` waits without bound.
///
/// # Errors
/// The kernel's.
pub fn wait_readable_any(fds: &[BorrowedFd<'_>], limit: Option<Span>) -> io::Result<bool> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Signals wake us up in between, and must not begin the time anew.
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

/// Copies a descriptor to a number that children do not get to see even for a moment: theirs would have to be closed,
/// and that may wait for a disk.
///
/// # Errors
/// The kernel's.
pub fn copy_out_of_the_way(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) };
    if copy < 0 {
        // The limit may be lower.
        return fd.try_clone_to_owned();
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Waits until a descriptor can be written to, or never again, at most for so long.
///
/// # Errors
/// The kernel's.
pub fn wait_writable(fd: BorrowedFd<'_>, limit: Span) -> io::Result<()> {
    match nix::poll::poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], rounded_up(limit)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a descriptor is of a regular file, as far as is known without a call to a file system that may not answer.
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

/// A time for poll(2), never shorter than it is.
fn rounded_up(span: Span) -> PollTimeout {
    let millis = i32::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// What raising the limit of open files has done.
#[derive(Debug, Clone, Copy)]
pub struct Nofile {
    /// The soft limit before.
    pub soft_before: u64,
    /// The hard limit, which the soft one is now.
    pub hard: u64,
}

/// Raises the limit of open files to what is allowed: a supervisor needs several descriptors for each child.
///
/// # Errors
/// The kernel's.
pub fn raise_nofile() -> io::Result<Nofile> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // A hard limit above the machine's own, which was lowered meanwhile, cannot even be set to what it is, not here and
    // not by a child to which it is passed on.
    let most = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let hard = hard.min(most.unwrap_or(u64::MAX));
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(Nofile { soft_before: soft.min(hard), hard })
}

/// Makes room for so many descriptors in one go. As long as this process has one thread only, that is cheap; later the
/// kernel waits for a moment in which no other thread can be looking, each time that the table has to grow, and that
/// takes longer than starting a child.
pub fn make_room(count: usize) {
    let last = nofile_limit().min(count as u64).saturating_sub(1);
    let Ok(last) = RawFd::try_from(last) else { return };
    // Not a copy of a stream: to close one may wait for the disk with its file.
    let Ok(event) = EventFd::from_flags(EfdFlags::EFD_CLOEXEC) else { return };
    // SAFETY: plain numbers.
    let fd = unsafe { libc::fcntl(event.as_raw_fd(), libc::F_DUPFD_CLOEXEC, last) };
    if fd >= 0 {
        // SAFETY: the kernel has just made it for us.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// The limits of open files: the soft one and the hard one.
///
/// # Errors
/// The kernel's.
pub fn nofile() -> io::Result<(u64, u64)> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?)
}

/// The limit of open files in force.
pub fn nofile_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// The lowest descriptor number that is free: all below it are in use. Two cheap calls, where counting what is open
/// would read a directory.
pub fn lowest_free() -> u64 {
    // Not a copy of a stream: to close one may wait for the disk with its file.
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).ok();
    event.and_then(|event| u64::try_from(event.as_raw_fd()).ok()).unwrap_or_else(nofile_limit)
}
