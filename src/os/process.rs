//! What /proc reports about a process, and some things that a process does to itself.
use crate::files::FileId;
use crate::time::Span;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

#[cfg(test)]
mod tests;

/// The kernel's link to the running executable.
const LINK: &str = "/proc/self/exe";

/// The executable of this program, for starting it again. It is given by its name, which users recognize, as long as
/// that leads to the running file. Once the file was replaced or removed, it is the kernel's link, so that no other
/// version is started.
pub fn self_exe() -> PathBuf {
    let name = self_exe_name();
    match FileId::behind(&name) {
        Some(named) if FileId::behind(LINK.as_ref()) == Some(named) => name,
        Some(_) | None => LINK.into(),
    }
}

/// The path under which this program was started, for other programs to use. By now it may lead to another version, or
/// nowhere.
pub fn self_exe_name() -> PathBuf {
    static EXE: OnceLock<PathBuf> = OnceLock::new();
    EXE.get_or_init(|| std::env::current_exe().unwrap_or_else(|_| LINK.into())).clone()
}

/// The path by which this program was started, with symbolic links unresolved, so that it leads to a newer version
/// after an upgrade. Call it at the start. If the path is unknown, the file that was executed.
pub fn start_path() -> PathBuf {
    let executed = executed_name().and_then(|name| std::path::absolute(name).ok());
    // A program that was executed through a descriptor, or that has started itself again, has only this name.
    let first_argument = std::env::args_os().next().map(PathBuf::from).filter(|path| path.is_absolute());
    let leads_here = |path: &PathBuf| {
        let is_link_of_kernel = path.starts_with("/proc") || path.starts_with("/dev/fd");
        !is_link_of_kernel && FileId::behind(path).is_some_and(|file| FileId::behind(LINK.as_ref()) == Some(file))
    };
    executed.into_iter().chain(first_argument).find(leads_here).unwrap_or_else(|| {
        let name = self_exe_name();
        let text = name.to_string_lossy();
        PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text))
    })
}

/// The path that was passed to execve(2), getauxval(3); relative to the working directory at that time.
fn executed_name() -> Option<PathBuf> {
    // SAFETY: takes a number and gives one.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if name.is_null() {
        return None;
    }
    // SAFETY: the kernel has put a string there, beside the arguments, which stays as long as the process.
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    Some(std::ffi::OsStr::from_bytes(name.to_bytes()).into())
}

/// The kernel's id of the present boot, random(4); empty if `/proc` does not have it.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// The effective user of this process.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The parent of this process: the one that started it, or the one that adopted it.
pub fn parent() -> u32 {
    nix::unistd::getppid().as_raw().unsigned_abs()
}

/// The fields of proc_pid_stat(5) that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// `R`, `S`, `D`, `T` …, `Z` for a zombie.
    pub state: char,
    pub parent: u32,
    /// Its process group, and the leader of its session.
    pub group: u32,
    pub session: u32,
    /// Its own CPU time in ticks.
    pub ticks: u64,
    /// CPU time in ticks of its reaped children, and of theirs.
    pub ticks_waited_for: u64,
    /// Whether its main thread is ending or has ended: PF_EXITING in its flags. It loses its memory soon after.
    pub is_exiting: bool,
    /// The number of its threads; 1 once it has ended.
    pub threads: u32,
    /// Its start time in ticks since boot; together with the pid it identifies a process.
    pub began: u64,
    /// Whether it has a program with an environment. Kernel threads have none, nor has a process during execve(2). Only
    /// shown to a caller that may read its environment.
    pub has_environment: bool,
    /// Whether the environment is certain to be empty. During execve(2) its bounds are equal for a moment too, but then
    /// the bounds of the code are not set yet.
    pub environment_is_empty: bool,
    /// How it has ended, in the format of wait(2). 0 before, and where it is not shown to this process.
    pub exit_code: i32,
}

impl Stat {
    /// Whether it has ended, and at most waits to be reaped.
    pub(super) fn has_ended(&self) -> bool {
        self.is_zombie() && self.threads <= 1
    }

    /// Whether its main thread has ended and others have not: it still has its children; they are adopted when its last
    /// thread ends.
    pub(super) fn is_dying(&self) -> bool {
        self.is_zombie() && self.threads > 1
    }

    fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Whether its main thread is not running at present: stopped, also by a tracer, or ended.
    fn is_at_rest(&self) -> bool {
        self.is_zombie() || matches!(self.state, 'T' | 't')
    }
}

/// Whether no thread of a process is running at present: stopped, also by a tracer, or ended. SIGSTOP reaches the
/// threads one after another, and the last one may be inside fork(2).
pub(super) fn is_at_rest(pid: u32, stat: &Stat) -> bool {
    if stat.threads <= 1 || !stat.is_at_rest() {
        return stat.is_at_rest();
    }
    let Ok(threads) = threads(pid) else { return false };
    threads.flatten().all(|thread| match fs::read(format!("/proc/{pid}/task/{thread}/stat")) {
        Ok(text) => parse_stat(&text).is_some_and(|stat| stat.is_at_rest()),
        // The thread has ended meanwhile.
        Err(error) => matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)),
    })
}

/// The ids of a process's threads, including the main thread.
///
/// # Errors
/// The system's: the process is gone, or no descriptor is left.
pub(super) fn threads(pid: u32) -> io::Result<impl Iterator<Item = io::Result<u32>>> {
    let number = |name: std::ffi::OsString| name.to_str()?.parse().ok();
    let listed = fs::read_dir(format!("/proc/{pid}/task"))?;
    Ok(listed.map(move |thread| number(thread?.file_name()).ok_or_else(|| io::ErrorKind::InvalidData.into())))
}

pub(super) fn stat(pid: u32) -> Option<Stat> {
    look(pid).ok().flatten()
}

/// Like [`stat`], but distinguishes a process that is gone (`None`) from one that cannot be read (an error).
///
/// # Errors
/// The system's: for instance that no descriptor is left, or that `/proc` is not mounted. It proves nothing about the
/// process. For a process that exists and may not be looked at, [`is_hidden`] is true.
pub(super) fn look(pid: u32) -> io::Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    let mut read = fs::read(&path);
    let mut taken = shows_nothing(&read) && is_taken(pid);
    if taken {
        // It may have been started after the first read.
        read = fs::read(&path);
        taken = shows_nothing(&read) && is_taken(pid);
    }
    match read {
        Ok(text) => parse_stat(&text).map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)),
        Err(error) => unreadable(error, taken).map(|()| None),
    }
}

fn shows_nothing(read: &io::Result<Vec<u8>>) -> bool {
    read.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}

/// What it means that a process cannot be read: `Ok` if it is gone. `taken`: its pid is in use.
fn unreadable(error: io::Error, taken: bool) -> io::Result<()> {
    match error.raw_os_error() {
        // ESRCH: the process ended between open and read.
        Some(libc::ESRCH) => Ok(()),
        // Converted, since ENOENT for a process means that it is gone.
        Some(libc::ENOENT) if !std::path::Path::new("/proc/self/stat").exists() => {
            Err(io::Error::other("/proc is not mounted"))
        }
        Some(libc::ENOENT) if !taken => Ok(()),
        // Mounted with hidepid, `/proc` hides processes or refuses access to them: those of other users, and those of
        // the same user that may not be traced, such as a program with file capabilities.
        Some(libc::ENOENT | libc::EACCES) => Err(io::Error::from_raw_os_error(libc::EPERM)),
        _ => Err(error),
    }
}

/// Whether an error of [`look`] means that the process exists and may not be looked at. It can be signalled all the
/// same, if it belongs to the same user.
pub(super) fn is_hidden(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

/// Whether the resources for reading a process are available, mostly descriptors.
///
/// # Errors
/// The system's. A process that `/proc` hides is not an error.
pub fn can_be_looked_at(pid: u32) -> io::Result<()> {
    match look(pid) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => Err(error),
        _ => Ok(()),
    }
}

/// From the kernel's `sched.h`, which proc_pid_stat(5) refers to.
const PF_EXITING: u64 = 0x4;

pub(super) fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name may contain any bytes, including closing parentheses; the last one ends it.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    // Fields are counted from 1; the first one here is number 3.
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Zero if it is in another pid namespace, and for a process that has ended.
    let mut number = || Some(fields.next()?.parse().unwrap_or(0));
    let (group, session) = (number()?, number()?);
    // The times of reaped children are signed in the kernel's format. Unexpected values must not fail the parser.
    let mut ticks = |skip: usize| Some(fields.nth(skip)?.parse::<u64>().unwrap_or(0));
    let is_exiting = ticks(9 - 7)? & PF_EXITING != 0;
    let own = ticks(14 - 10)?.saturating_add(ticks(0)?);
    let waited_for = ticks(0)?.saturating_add(ticks(0)?);
    let threads = fields.nth(20 - 18)?.parse().ok()?;
    let began = fields.nth(22 - 21)?.parse().ok()?;
    // The kernel prints these fields in this order, all for the same program: so if the code is known, so is the
    // environment.
    let has_code = fields.nth(27 - 23).is_some_and(|end| end != "0");
    let (start, end) = (fields.nth(50 - 28), fields.next());
    let exit_code = fields.next().and_then(|code| code.parse().ok()).unwrap_or(0);
    let has_environment = end.is_some_and(|end| end != "0") && (has_code || start != end);
    Some(Stat {
        state,
        parent,
        group,
        session,
        ticks: own,
        ticks_waited_for: waited_for,
        is_exiting,
        threads,
        began,
        has_environment,
        environment_is_empty: has_environment && start == end,
        exit_code,
    })
}

/// The process group of a process, also of one that has ended and was not reaped. `None` if there is no such process.
pub fn group_of(pid: u32) -> Option<u32> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).ok().map(|group| group.as_raw().unsigned_abs())
}

/// The session of a process, by the pid of its leader. `None` if there is no such process, or it is hidden.
pub fn session_of(pid: u32) -> Option<u32> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).ok().map(|session| session.as_raw().unsigned_abs())
}

/// The pid of the process that a thread belongs to. `None` if the thread is gone, or cannot be read.
pub(super) fn of_thread(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Whether there is a process with this pid that is no zombie. A process that cannot be read, such as for lack of
/// descriptors, counts as running while its pid is in use: waiting longer for its end does no harm.
pub fn is_alive(pid: u32) -> bool {
    match look(pid) {
        Ok(stat) => stat.is_some_and(|stat| !stat.has_ended()),
        Err(_) => is_taken(pid),
    }
}

/// Whether the pid is in use, also by a zombie: kill(2) with signal 0, which needs neither `/proc` nor a descriptor.
fn is_taken(pid: u32) -> bool {
    let Some(number) = i32::try_from(pid).ok().filter(|number| *number > 0) else { return false };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), None) != Err(nix::errno::Errno::ESRCH)
}

/// A signal and its sender, as a text that can follow "by".
pub fn signal_from(signal: &str, sender: Option<u32>) -> String {
    match sender.filter(|pid| *pid != 0) {
        Some(pid) => match command_name(pid) {
            Some(name) => format!("{signal} from process {pid} ({name})"),
            None => format!("{signal} from process {pid}"),
        },
        None => format!("{signal} from outside"),
    }
}

/// The name of the program that a process runs, as in proc_pid_comm(5), at most 15 bytes. `None` if the process is
/// gone.
pub fn command_name(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
}

/// The state of a thread, or of a process's main thread, as in proc_pid_stat(5): `R`, `S`, `D`, `T` …; `None` if it is
/// gone.
pub fn state(pid: u32) -> Option<char> {
    stat(pid).map(|stat| stat.state)
}

/// How long a process has run, and how long it was runnable but had to wait for a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Time on a CPU.
    pub ran: Span,
    /// Time in the run queue; a wait in progress is not included.
    pub waited: Span,
}

impl Schedule {
    /// The time added since `before`.
    pub fn since(self, before: Schedule) -> Schedule {
        Schedule { ran: self.ran - before.ran, waited: self.waited - before.waited }
    }
}

/// The schedule of a thread, or of a process's main thread; `None` if it is gone, or the kernel does not count
/// (CONFIG_SCHED_INFO).
pub fn schedule(pid: u32) -> Option<Schedule> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().map(Span::from_nanos));
    Some(Schedule { ran: fields.next()?.ok()?, waited: fields.next()?.ok()? })
}

/// The present effective user of a process; `None` if it is gone.
pub fn effective_uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a process is stopped, by a signal or a tracer, or has ended: it sends nothing until it is continued.
pub fn is_stopped(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.has_ended() || stat.is_at_rest() && !stat.is_dying())
}

/// The pid of the tracer of a process, if it has one.
pub fn tracer(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok().filter(|tracer| *tracer != 0)
}

/// Larger than `/proc/vmstat` of any present kernel, in bytes.
const VMSTAT: usize = 16 * 1024;

/// How many processes the OOM killer has ended on this machine, for workers without a cgroup that counts them; `None`
/// if the kernel does not count.
pub fn machine_oom_kills() -> Option<u64> {
    // Enough capacity from the start: such a file reports no size, and growing the buffer would take a dozen reads.
    let mut text = String::with_capacity(VMSTAT);
    fs::File::open("/proc/vmstat").and_then(|mut file| file.read_to_string(&mut text)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Sends a signal to a process group, if it exists.
pub fn signal_group(pgid: u32, signal: i32) {
    let Ok(pgid) = i32::try_from(pgid) else { return };
    // Never 0, which means our own group, or 1, which means every process.
    if pgid > 1 {
        // Errors are ignored, as the group may be gone. nix cannot send real-time signals, which have no names.
        // SAFETY: plain numbers.
        unsafe { libc::killpg(pgid, signal) };
    }
}

/// Sets the name of this process as shown by `ps`, prctl(2) PR_SET_NAME; at most 15 bytes.
pub fn set_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        // Errors are ignored: the name is only for display.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Makes all threads use one allocation arena, mallopt(3); glibc's default is one for each thread. So memory that was
/// used on one thread for reading the file is reused for the children on another. Call it before there is a second
/// thread.
pub fn allocate_in_one_place() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers only. A refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns memory that was only needed for a while: free memory of glibc's allocator, and pages of this program's code
/// and constants, of which the start needs many more than the running program. Pages that are needed again are still in
/// the page cache.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer and may be called at any time, malloc_trim(3).
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback has the type that is asked for, and is given nothing.
    unsafe { libc::dl_iterate_phdr(Some(unmap_constant_pages), std::ptr::null_mut()) };
}

/// Unmaps the constant pages of the first object, which is this program: dl_iterate_phdr(3).
unsafe extern "C" fn unmap_constant_pages(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: valid as long as this function runs.
    let object = unsafe { &*object };
    // SAFETY: as is what it points to, which has this length.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    // Segments that are not writable have never been written to: relocations are in segments that were writable.
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let page = page_size() as usize;
        let begin = (object.dlpi_addr + header.p_vaddr) as usize;
        let end = (begin + header.p_memsz as usize) / page * page;
        let begin = begin.next_multiple_of(page);
        // SAFETY: whole pages of a private mapping of a file that were never written to read the same afterwards,
        // madvise(2).
        unsafe { libc::madvise(begin as *mut libc::c_void, end.saturating_sub(begin), libc::MADV_DONTNEED) };
    }
    1
}

/// The size of a page of memory in bytes.
pub(super) fn page_size() -> u64 {
    // SAFETY: takes a number and gives one.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4_096)
}

/// Whether this process has a controlling terminal.
pub fn has_terminal() -> bool {
    open_terminal().is_ok()
}

/// Whether a SIGHUP from `sender` (`None`: the kernel) reports that the controlling terminal is gone. A shell passes
/// the kernel's signal on to its jobs. `parent` is that of the start, since it may have ended by now.
pub fn is_hangup(sender: Option<u32>, parent: u32) -> bool {
    // The number of a session's leader is not given to another process as long as the session exists.
    let leader = nix::unistd::getsid(None).map_or(0, |leader| leader.as_raw().unsigned_abs());
    may_report_hangup(sender, parent, leader) && is_gone(&open_terminal())
}

/// Whether a SIGHUP from this sender can report a hangup. Process 0 is any process of another pid namespace.
fn may_report_hangup(sender: Option<u32>, parent: u32, leader: u32) -> bool {
    sender.is_none_or(|sender| sender != 0 && (sender == parent || sender == leader))
}

fn open_terminal() -> io::Result<fs::File> {
    fs::File::open("/dev/tty")
}

/// Whether there is no controlling terminal, tty(4). Other errors, such as too many open files, do not show that.
fn is_gone(terminal: &io::Result<fs::File>) -> bool {
    terminal.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO))
}

/// Starts a new session, without a terminal, setsid(2).
///
/// # Errors
/// The kernel's, if this process leads a process group already.
pub fn new_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// Ends this process by a signal, so that its parent sees the signal and not an exit status.
pub fn die_by(number: i32) {
    use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};
    let Ok(number) = Signal::try_from(number) else { return };
    // SAFETY: the default disposition runs no handler.
    let reset = unsafe { signal(number, SigHandler::SigDfl) };
    let mut set = SigSet::empty();
    set.add(number);
    if reset.is_ok() && set.thread_unblock().is_ok() {
        let _ = raise(number);
    }
}
