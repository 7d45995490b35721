//! Making a process: clone(2) with CLONE_VM, CLONE_VFORK and CLONE_PIDFD from a plan that is prepared beforehand.
//!
//! The child half shares our memory and our stopped thread until it executes or ends, which makes a start cheap whatever
//! the size of this process, and lets it report stage and errno by plain memory. In return it may do next to nothing: it
//! makes raw system calls on data that was prepared, allocates nothing, takes no lock (libzmq's threads are there), and
//! calls no function of libc that might (glibc's setuid signals all threads of the *parent*). All signals are blocked
//! until it has put their dispositions back.
//!
//! Spawn from the main thread only: the parent-death signal is sent when the *thread* that spawned ends, prctl(2).
use super::cgroup::Group;
use super::pidfd::PidFd;
use super::users::Credentials;
use crate::error::{errno_words, plain};
use crate::spec::exec::Limit;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(test)]
mod tests;

/// What a process is to be.
pub struct PlanSpec<'a> {
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// One more variable, whose value is the process's own number.
    pub pid_variable: Option<&'static str>,
    /// Working directory; `None` is ours.
    pub cwd: Option<PathBuf>,
    /// As whom.
    pub credentials: Option<Credentials>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Limits by name.
    pub limits: BTreeMap<String, Limit>,
    /// Nice value.
    pub nice: Option<i32>,
    /// `None` is /dev/null.
    pub stdout: Option<BorrowedFd<'a>>,
    /// `None` is /dev/null.
    pub stderr: Option<BorrowedFd<'a>>,
    /// Further descriptors and the numbers they get, 3 and up without a gap.
    pub extra: Vec<(BorrowedFd<'a>, RawFd)>,
    /// Sent to it when the thread that spawned it ends.
    pub parent_death_signal: Option<i32>,
    /// It leads a session and a process group of its own.
    pub new_session: bool,
    /// The cgroup it begins in.
    pub cgroup: Option<&'a Group>,
}

/// At which step a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Stage {
    /// Reading the plan: a string with a zero byte, an unknown limit.
    Prepare,
    /// Looking the program up in PATH.
    LookUp,
    /// Making the process, clone(2).
    Clone,
    /// Resetting signals.
    Signals,
    /// Entering the cgroup.
    Cgroup,
    /// setsid(2).
    Session,
    /// prlimit(2).
    Limits,
    /// setpriority(2).
    Nice,
    /// chdir(2).
    WorkingDirectory,
    /// dup3(2).
    Streams,
    /// close_range(2).
    Descriptors,
    /// setgroups(2), setresgid(2).
    Groups,
    /// setresuid(2).
    User,
    /// prctl(2) PR_SET_PDEATHSIG.
    ParentDeath,
    /// execve(2).
    Exec,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Prepare => "preparing",
            Stage::LookUp => "looking for",
            Stage::Clone => "making a process for",
            Stage::Signals => "resetting the signals of",
            Stage::Cgroup => "entering the cgroup of",
            Stage::Session => "making a session for",
            Stage::Limits => "setting the limits of",
            Stage::Nice => "setting the nice value of",
            Stage::WorkingDirectory => "changing to the working directory",
            Stage::Streams => "connecting the output of",
            Stage::Descriptors => "closing the descriptors of",
            Stage::Groups => "setting the groups of",
            Stage::User => "setting the user of",
            Stage::ParentDeath => "setting the parent-death signal of",
            Stage::Exec => "executing",
        })
    }
}

/// Why there is no process.
#[derive(Debug, Clone)]
pub struct SpawnError {
    /// At which step.
    pub stage: Stage,
    /// The kernel's error number; 0 where it was not asked.
    pub errno: i32,
    /// On what: the program, or the directory.
    pub subject: String,
    /// What is wrong, in words.
    pub reason: String,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.stage, self.subject, self.reason)
    }
}

impl std::error::Error for SpawnError {}

/// A process that has just been made, and has executed its program.
#[derive(Debug)]
pub struct Spawned {
    /// Its number.
    pub pid: u32,
    /// The process itself.
    pub pidfd: PidFd,
}

/// Everything that the child half needs, as the kernel wants it.
pub struct Plan {
    program: CString,
    argv: Strings,
    env: Strings,
    own_pid: Option<OwnPid>,
    cwd: Option<CString>,
    credentials: Option<Credentials>,
    umask: Option<u32>,
    limits: Vec<(u32, libc::rlimit64)>,
    nice: Option<i32>,
    /// Descriptor by target number: 0, 1, 2, and the extra ones.
    streams: Vec<OwnedFd>,
    parent_death_signal: Option<i32>,
    new_session: bool,
    cgroup: Option<Group>,
    /// `cgroup.procs` of the cgroup that the child enters by itself.
    cgroup_procs: Option<CString>,
    subject: String,
}

/// Strings with the array of pointers to them that execve(2) takes.
struct Strings {
    /// Never touched again; the pointers point into it.
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    fn new(strings: Vec<CString>) -> Strings {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Strings { _strings: strings, pointers }
    }
}

/// `NAME=` and room for a number: the child half writes its own into it, which nobody can know beforehand.
struct OwnPid {
    /// On the heap, where the environment's pointer to it stays right.
    entry: Box<[Cell<u8>]>,
    digits_at: usize,
}

/// Digits of the highest process number, and the zero byte.
const PID_ROOM: usize = 11;

impl OwnPid {
    fn new(name: &str) -> OwnPid {
        let bytes = name.bytes().chain([b'=']).chain([0; PID_ROOM]);
        OwnPid { entry: bytes.map(Cell::new).collect(), digits_at: name.len() + 1 }
    }

    /// Writes the number. Nothing here allocates or panics: it runs in the child half.
    fn write(&self, pid: u32) {
        let mut digits = [0u8; PID_ROOM];
        let (mut rest, mut count) = (pid, 0);
        while count < PID_ROOM - 1 {
            digits[count] = b'0' + (rest % 10) as u8;
            count += 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let places = self.entry.iter().skip(self.digits_at);
        for (place, digit) in places.zip(digits[..count].iter().rev().chain(std::iter::once(&0))) {
            place.set(*digit);
        }
    }
}

/// Prepares a start: everything that can fail before there is a process fails here.
///
/// # Errors
/// A [`SpawnError`] with what is wrong.
pub fn prepare(spec: PlanSpec<'_>) -> Result<Plan, SpawnError> {
    let subject = spec.argv.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let wrong = |stage, errno, reason: String| SpawnError { stage, errno, subject: subject.clone(), reason };
    let c_string = |text: OsString| {
        CString::new(text.into_vec()).map_err(|_| wrong(Stage::Prepare, 0, "a zero byte in a string".into()))
    };
    let Some(program) = spec.argv.first() else { return Err(wrong(Stage::Prepare, 0, "the command is empty".into())) };
    let program = look_up(program.as_bytes(), &spec.env, spec.cwd.as_deref())
        .map_err(|(errno, reason)| wrong(Stage::LookUp, errno, reason))?;

    let mut limits = Vec::new();
    for (name, limit) in &spec.limits {
        let resource =
            resource(name).ok_or_else(|| wrong(Stage::Prepare, 0, format!("there is no limit \"{name}\"")))?;
        let value = |value: Option<u64>| value.unwrap_or(libc::RLIM64_INFINITY);
        limits.push((resource, libc::rlimit64 { rlim_cur: value(limit.soft), rlim_max: value(limit.hard) }));
    }

    if spec.extra.iter().zip(3..).any(|((_, number), expected)| *number != expected) || spec.extra.len() + 3 > SLOTS {
        let reason = format!("descriptors are passed on as 3, 4 and so on, {} at most", SLOTS - 3);
        return Err(wrong(Stage::Prepare, 0, reason));
    }

    // Copies above all target numbers, so that none of them is overwritten before its turn.
    let above = 3 + spec.extra.len() as RawFd;
    let copy = |fd: BorrowedFd<'_>| -> Result<OwnedFd, SpawnError> {
        // SAFETY: plain descriptor numbers; the result is checked and then ours alone.
        let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, above) };
        if copy < 0 {
            let error = io::Error::last_os_error();
            return Err(wrong(Stage::Streams, error.raw_os_error().unwrap_or(0), plain(&error)));
        }
        // SAFETY: the kernel has just made it.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    };
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| wrong(Stage::Streams, error.raw_os_error().unwrap_or(0), plain(&error)))?;
    let mut streams = vec![copy(null.as_fd())?];
    streams.push(copy(spec.stdout.unwrap_or(null.as_fd()))?);
    streams.push(copy(spec.stderr.unwrap_or(null.as_fd()))?);
    for (fd, _) in &spec.extra {
        streams.push(copy(*fd)?);
    }

    let argv = spec.argv.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let env = spec
        .env
        .into_iter()
        .map(|(mut key, value)| {
            key.push("=");
            key.push(value);
            c_string(key)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let own_pid = spec.pid_variable.map(OwnPid::new);
    let mut env = Strings::new(env);
    if let Some(own_pid) = &own_pid {
        // Before the null pointer that ends the list.
        env.pointers.insert(env.pointers.len() - 1, own_pid.entry.as_ptr().cast());
    }
    let cwd = spec.cwd.map(|cwd| c_string(cwd.into_os_string())).transpose()?;
    let by_itself = spec.cgroup.filter(|group| !CLONES_INTO_CGROUP || group.is_entered_by_itself());
    let cgroup_procs =
        by_itself.map(|group| c_string(group.path().join("cgroup.procs").into_os_string())).transpose()?;
    Ok(Plan {
        program,
        argv: Strings::new(argv),
        env,
        own_pid,
        cwd,
        credentials: spec.credentials.filter(|wanted| !wanted.are_ours()),
        umask: spec.umask,
        limits,
        nice: spec.nice,
        streams,
        parent_death_signal: spec.parent_death_signal,
        new_session: spec.new_session,
        cgroup: if by_itself.is_some() { None } else { spec.cgroup.cloned() },
        cgroup_procs,
        subject,
    })
}

/// Whether a process can be made right in its cgroup here: that takes clone3(2), for which libc has no wrapper.
const CLONES_INTO_CGROUP: bool = cfg!(target_arch = "x86_64");

/// The file of a program: itself with a slash in it, else the first executable one in PATH, whose relative directories
/// begin where the program will. An error has an errno and says why.
fn look_up(program: &[u8], env: &[(OsString, OsString)], cwd: Option<&Path>) -> Result<CString, (i32, String)> {
    let zero = |_| (libc::EINVAL, "a zero byte in the program's name".to_string());
    let whole = CString::new(program).map_err(zero)?;
    if program.is_empty() {
        return Err((libc::ENOENT, "its name is empty".into()));
    }
    if program.contains(&b'/') {
        return Ok(whole);
    }
    let path = env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut denied = None;
    for dir in path.as_bytes().split(|byte| *byte == b':') {
        let dir = if dir.is_empty() { b".".as_slice() } else { dir };
        let mut file = dir.to_vec();
        file.push(b'/');
        file.extend(program);
        let path = PathBuf::from(OsString::from_vec(file));
        let at = cwd.map_or_else(|| path.clone(), |cwd| cwd.join(&path));
        if !at.is_file() {
            continue;
        }
        if nix::unistd::access(&at, nix::unistd::AccessFlags::X_OK).is_ok() {
            return CString::new(path.into_os_string().into_vec()).map_err(zero);
        }
        denied = Some(at);
    }
    Err(match denied {
        Some(path) => (libc::EACCES, format!("{} is not executable", path.display())),
        None => (libc::ENOENT, "No such file or directory in any directory of PATH".to_string()),
    })
}

/// The number of a limit, getrlimit(2).
fn resource(name: &str) -> Option<u32> {
    Some(match name {
        "as" => libc::RLIMIT_AS,
        "core" => libc::RLIMIT_CORE,
        "cpu" => libc::RLIMIT_CPU,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "locks" => libc::RLIMIT_LOCKS,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "rss" => libc::RLIMIT_RSS,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "stack" => libc::RLIMIT_STACK,
        _ => return None,
    })
}

/// What the two halves share: orders for the child, and its word on what went wrong.
struct Shared<'a> {
    plan: &'a Plan,
    /// Our own number, which the child's getppid(2) must give.
    parent: libc::pid_t,
    /// Where the streams stand: low numbers, so that little of our table has to be copied.
    slots: &'a [RawFd],
    /// The number above all slots.
    above_slots: RawFd,
    failed: Option<(Stage, i32)>,
}

impl Plan {
    /// Makes the process. When this returns it has executed its program. The plan may be used again.
    ///
    /// # Errors
    /// A [`SpawnError`]; then there is no process.
    pub fn spawn(&self) -> Result<Spawned, SpawnError> {
        debug_assert!(
            self.parent_death_signal.is_none() || nix::unistd::gettid() == nix::unistd::getpid(),
            "parent-death signals follow the thread"
        );
        self.spawn_below(nix::unistd::getpid())
    }

    /// Makes the process, which is to find `parent` as its parent if it asks for a parent-death signal.
    fn spawn_below(&self, parent: nix::unistd::Pid) -> Result<Spawned, SpawnError> {
        let wrong = |stage, errno| self.error(stage, errno);
        let slots = Slots::take(&self.streams).map_err(|errno| wrong(Stage::Streams, errno))?;
        let mut shared = Shared {
            plan: self,
            parent: parent.as_raw(),
            slots: &slots.numbers[..self.streams.len()],
            above_slots: slots.above,
            failed: None,
        };
        let made = clone_vfork(self.cgroup.as_ref(), child_half, (&raw mut shared).cast());
        let failed = shared.failed;
        drop(slots);
        let (pid, pidfd) = made.map_err(|errno| wrong(Stage::Clone, errno))?;
        if let Some((stage, errno)) = failed {
            // It has ended by itself; its number is given back here.
            while matches!(pidfd.wait(), Ok(None)) {
                pidfd.wait_exit(crate::time::Span::from_secs(1));
            }
            return Err(wrong(stage, errno));
        }
        Ok(Spawned { pid, pidfd })
    }

    fn error(&self, stage: Stage, errno: i32) -> SpawnError {
        let mut subject = self.subject.clone();
        let mut reason = errno_words(errno);
        match stage {
            Stage::WorkingDirectory => {
                subject = self.cwd.as_ref().map(|cwd| cwd.to_string_lossy().into_owned()).unwrap_or_default();
            }
            Stage::Exec => {
                let program = Path::new(std::ffi::OsStr::from_bytes(self.program.as_bytes()));
                let at = match &self.cwd {
                    Some(cwd) => Path::new(std::ffi::OsStr::from_bytes(cwd.as_bytes())).join(program),
                    None => program.to_path_buf(),
                };
                match errno {
                    libc::ENOENT if at.exists() => {
                        reason = "the interpreter that it names in its first line, or its loader, is not there".into();
                    }
                    libc::EACCES if at.is_dir() => reason = "it is a directory".into(),
                    libc::EACCES if at.is_file() => {
                        use std::os::unix::fs::PermissionsExt;
                        let marked = at.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 != 0);
                        reason.push_str(if marked {
                            "; its user may not execute it or its interpreter, or it lies on a noexec mount"
                        } else {
                            "; it is not executable (chmod +x makes it so)"
                        });
                    }
                    libc::ENOEXEC => {
                        reason = "it is neither a program nor a script that begins with #! and its interpreter".into();
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        SpawnError { stage, errno, subject, reason }
    }
}

/// Low descriptor numbers that are kept free for passing streams on. There is one set of them, so one thread spawns at a
/// time: whoever has it holds the lock until the child has its streams.
struct Slots {
    _kept: MutexGuard<'static, Vec<OwnedFd>>,
    numbers: Vec<RawFd>,
    above: RawFd,
    null: RawFd,
    used: usize,
}

/// Streams that a plan may have.
const SLOTS: usize = 6;

/// Slots begin above every target number.
const FIRST_SLOT: RawFd = 16;

/// /dev/null, and the slots, which hold it while they are not in use. Taken at the first spawn, when few descriptors are
/// open, and kept: so they stay low.
static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

impl Slots {
    /// Places copies of the streams into the slots.
    fn take(streams: &[OwnedFd]) -> Result<Slots, i32> {
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EMFILE);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() {
            // All of them or none: when descriptors have run out, the next spawn tries again.
            let null =
                std::fs::File::open("/dev/null").map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))?;
            *kept = (0..=SLOTS)
                .map(|_| {
                    // SAFETY: plain descriptor numbers; the result is checked and then ours alone.
                    let fd = unsafe { libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, FIRST_SLOT) };
                    // SAFETY: the kernel has just made it.
                    if fd < 0 { Err(errno()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
                })
                .collect::<Result<_, _>>()?;
        }
        let numbers: Vec<RawFd> = kept[1..].iter().map(AsRawFd::as_raw_fd).collect();
        let above = numbers.iter().max().copied().unwrap_or(FIRST_SLOT) + 1;
        if streams.len() > numbers.len() {
            return Err(libc::EMFILE);
        }
        let mut slots = Slots { numbers, above, null: kept[0].as_raw_fd(), used: 0, _kept: kept };
        for (stream, slot) in streams.iter().zip(slots.numbers.clone()) {
            // SAFETY: both are descriptors of ours; the slot is kept for this.
            if unsafe { libc::dup3(stream.as_raw_fd(), slot, libc::O_CLOEXEC) } < 0 {
                return Err(errno());
            }
            slots.used += 1;
        }
        Ok(slots)
    }
}

impl Drop for Slots {
    /// Puts /dev/null back, so that no pipe is held open here.
    fn drop(&mut self) {
        for slot in &self.numbers[..self.used] {
            // SAFETY: both are descriptors of ours; the slot is kept for this.
            unsafe { libc::dup3(self.null, *slot, libc::O_CLOEXEC) };
        }
    }
}

/// The child half. Raw system calls on prepared data, and nothing else.
///
/// Its errors land in our errno, which is shared; we are stopped until it is over, so nobody reads it in between.
extern "C" fn child_half(shared: *mut libc::c_void) -> ! {
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

/// A stack for the child half. One is enough: we are stopped while it is in use.
const STACK: usize = 64 * 1024;

#[repr(C, align(16))]
struct Stack([u8; STACK]);

type ChildHalf = extern "C" fn(*mut libc::c_void) -> !;

/// Makes a process that runs `half(argument)` on our memory, while this thread stands still.
fn clone_vfork(group: Option<&Group>, half: ChildHalf, argument: *mut libc::c_void) -> Result<(u32, PidFd), i32> {
    use std::cell::RefCell;
    thread_local!(static CHILD_STACK: RefCell<Box<Stack>> = RefCell::new(Box::new(Stack([0; STACK]))));

    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::CLONE_PIDFD;
    // No signal may find the child with our handlers.
    // SAFETY: both sets are live; an all-ones set is valid.
    let before = unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let made = CHILD_STACK.with_borrow_mut(|stack| {
        // SAFETY: the stack is used by nobody else; `half` and `argument` fit each other; the child half keeps to what
        // the module's head says.
        unsafe { clone_into(flags as u64, group, stack, half, argument) }
    });
    // SAFETY: the set that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    let (pid, pidfd) = made?;
    // SAFETY: the kernel has just made it for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid.unsigned_abs(), PidFd::from_owned(pidfd)))
}

/// The arguments of clone3(2), up to and with the cgroup.
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
) -> Result<(libc::pid_t, RawFd), i32> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    let arguments = CloneArguments {
        flags: flags | if group.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.0.as_mut_ptr() as u64,
        stack_size: STACK as u64,
        cgroup: group.map_or(0, |group| group.as_fd().as_raw_fd() as u64),
        ..CloneArguments::default()
    };
    let result: i64;
    // libc has no wrapper for clone3. The child comes back from the system call on the new stack with all registers as
    // they were but rax, rcx and r11, and must never come out of this block: it calls its half, which does not return.
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
        // Containers with an older list of allowed system calls have no clone3, and say one or the other.
        Ok(libc::ENOSYS | libc::EPERM) if group.is_none() => {
            // SAFETY: as for this function.
            unsafe { clone_by_libc(flags, stack, half, argument) }
        }
        Ok(errno) if errno > 0 => Err(errno),
        _ => Ok((result as libc::pid_t, pidfd)),
    }
}

/// Elsewhere than on x86-64 the child enters its cgroup by itself.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_into(
    flags: u64,
    _: Option<&Group>,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
) -> Result<(libc::pid_t, RawFd), i32> {
    // SAFETY: as for this function.
    unsafe { clone_by_libc(flags, stack, half, argument) }
}

/// clone(2) by libc's wrapper, which knows no cgroup.
unsafe fn clone_by_libc(
    flags: u64,
    stack: &mut Stack,
    half: ChildHalf,
    argument: *mut libc::c_void,
) -> Result<(libc::pid_t, RawFd), i32> {
    let mut pidfd: RawFd = -1;
    // SAFETY: the two types differ in the return type only, and the half never returns.
    let half: extern "C" fn(*mut libc::c_void) -> libc::c_int = unsafe { std::mem::transmute(half) };
    // SAFETY: the top of the stack is 16-aligned; with CLONE_PIDFD the third pointer is where the descriptor goes.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr().add(STACK).cast();
        libc::clone(half, top, flags as i32 | libc::SIGCHLD, argument, &raw mut pidfd)
    };
    if pid < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok((pid, pidfd)) }
}

/// Whether a process that is started in a cgroup lives there, tried with one that ends at once.
pub(super) fn try_in_group(group: &Group) -> io::Result<bool> {
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
                // Our table of descriptors is the parent's, who would keep it.
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
        // There is no clone3 here, or it may not be used: then only those who go in by themselves live there.
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
