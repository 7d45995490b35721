//! Making a process: clone(2) with CLONE_VM and CLONE_PIDFD from a plan that is prepared beforehand.
//!
//! The child half shares our memory, on a stack of its own, until it executes or ends, which makes a start cheap whatever
//! the size of this process, and lets it report stage and errno by plain memory. In return it may do next to nothing: it
//! makes raw system calls on data that was prepared, allocates nothing, takes no lock (libzmq's threads are there), and
//! calls no function of libc that might (glibc's setuid signals all threads of the *parent*). All signals are blocked
//! until it has put their dispositions back.
//!
//! Other than with vfork(2) this thread is not stopped meanwhile: to enter a directory or to execute a program may take
//! as long as a file system does not answer, and that is waited for only a moment ([`LIMIT`]). A start that takes
//! longer is a [`Late`] one: all that its child half uses is kept until the kernel reports that the child has left our
//! memory, and its result can be read. Every look at a file system is the child's: this half makes none.
//!
//! Spawn from the main thread or that of the loop only ([`thread::beside_main`]): the parent-death signal is sent when the
//! *thread* that spawned ends, prctl(2).
use super::cgroup::Group;
use super::pidfd::PidFd;
use super::thread;
use super::users::Credentials;
use crate::error::{errno_words, plain};
use crate::spec::exec::Limit;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

mod child;
mod clone;
mod late;
mod raw;
mod slots;
#[cfg(test)]
mod tests;

pub(super) use self::clone::try_in_group;
pub use self::late::{LIMIT, Late};

use self::child::Failed;
use self::clone::CLONES_INTO_CGROUP;
use self::slots::SLOTS;

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
    /// The user and groups to run as.
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

impl PlanSpec<'_> {
    /// Program and arguments, in a session of their own, and nothing besides: an empty environment, and no more than
    /// /dev/null to read and to write.
    pub fn new(argv: Vec<OsString>) -> Self {
        PlanSpec {
            argv,
            env: Vec::new(),
            pid_variable: None,
            cwd: None,
            credentials: None,
            umask: None,
            limits: BTreeMap::new(),
            nice: None,
            stdout: None,
            stderr: None,
            extra: Vec::new(),
            parent_death_signal: None,
            new_session: true,
            cgroup: None,
        }
    }
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
    /// The kernel's error number; 0 where no call was made.
    pub errno: i32,
    /// On what: the program, or the directory.
    pub subject: String,
    /// What is wrong, as text.
    pub reason: String,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.stage, self.subject, self.reason)
    }
}

impl std::error::Error for SpawnError {}

/// A process that has just been made.
#[derive(Debug)]
pub struct Spawned {
    /// It has not executed its program yet.
    pub late: Option<Late>,
    /// Its number.
    pub pid: u32,
    /// The process itself.
    pub pidfd: PidFd,
}

/// A start that is prepared.
pub struct Plan(Rc<PlanData>);

/// Everything that the child half needs, in the kernel's form.
struct PlanData {
    /// The program, or where it may be: the first of them that can be executed is it.
    programs: Vec<CString>,
    /// Its name has no slash, so it is looked for in PATH.
    looked_up: bool,
    argv: Strings,
    env: Strings,
    own_pid: Option<OwnPid>,
    cwd: Option<CString>,
    credentials: Option<Credentials>,
    umask: Option<u32>,
    limits: Vec<(u32, libc::rlimit64)>,
    nice: Option<i32>,
    /// Descriptor by target number: 0, 1, 2, and the extra ones. `None` is our own with that number.
    streams: Vec<Option<OwnedFd>>,
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

/// `NAME=` and room for a number: the child half writes its own into it, which cannot be known beforehand.
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
    let programs =
        candidates(program.as_bytes(), &spec.env).map_err(|(errno, reason)| wrong(Stage::LookUp, errno, reason))?;
    let looked_up = !program.as_bytes().contains(&b'/');

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
    let wanted = [None, spec.stdout, spec.stderr].into_iter().map(|fd| fd.unwrap_or(null.as_fd()));
    let wanted = wanted.chain(spec.extra.iter().map(|(fd, _)| *fd));
    let mut streams = Vec::new();
    for (fd, target) in wanted.zip(0..) {
        // A stream that is passed on as it is needs no copy, and to close one may wait for the disk with its file.
        streams.push(if fd.as_raw_fd() == target { None } else { Some(copy(fd)?) });
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
    Ok(Plan(Rc::new(PlanData {
        programs,
        looked_up,
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
    })))
}

/// Where a program may be: itself with a slash in it, else in each directory of PATH, of which relative ones begin
/// where the program will. An error has an errno and the reason.
fn candidates(program: &[u8], env: &[(OsString, OsString)]) -> Result<Vec<CString>, (i32, String)> {
    let c_string = |bytes: Vec<u8>| {
        CString::new(bytes).map_err(|_| (libc::EINVAL, "a zero byte in the program's name".to_string()))
    };
    if program.is_empty() {
        return Err((libc::ENOENT, "its name is empty".into()));
    }
    if program.contains(&b'/') {
        return Ok(vec![c_string(program.to_vec())?]);
    }
    let path = env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|dir| {
            let dir = if dir.is_empty() { b".".as_slice() } else { dir };
            c_string([dir, b"/", program].concat())
        })
        .collect()
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

impl Plan {
    /// Makes the process, and waits a moment for it to execute its program. The plan may be used again.
    ///
    /// # Errors
    /// A [`SpawnError`]; then there is no process.
    pub fn spawn(&self) -> Result<Spawned, SpawnError> {
        debug_assert!(
            self.0.parent_death_signal.is_none() || thread::lives_as_long_as_the_process(),
            "parent-death signals follow the thread"
        );
        self.spawn_below(nix::unistd::getpid())
    }

    /// Makes the process, which is to find `parent` as its parent if it asks for a parent-death signal.
    fn spawn_below(&self, parent: nix::unistd::Pid) -> Result<Spawned, SpawnError> {
        late::spawn(&self.0, parent.as_raw())
    }
}

impl PlanData {
    fn error(&self, stage: Stage, errno: i32) -> SpawnError {
        self.failure(Failed { stage, errno, program: 0, mode: None })
    }

    /// What failed, as text. The child has made the checks; here no file system is read.
    fn failure(&self, failed: Failed) -> SpawnError {
        let Failed { stage, errno, program, mode } = failed;
        let mut subject = self.subject.clone();
        let mut reason = errno_words(errno);
        let is = |kind| mode.is_some_and(|mode| mode & libc::S_IFMT == kind);
        match (stage, errno) {
            (Stage::WorkingDirectory, _) => {
                subject = self.cwd.as_ref().map(|cwd| cwd.to_string_lossy().into_owned()).unwrap_or_default();
            }
            (Stage::LookUp, libc::EACCES) => {
                let at = self.programs.get(program).map(|at| OsStr::from_bytes(at.as_bytes())).unwrap_or_default();
                let at = self
                    .cwd
                    .as_ref()
                    .map_or_else(|| PathBuf::from(at), |cwd| Path::new(OsStr::from_bytes(cwd.as_bytes())).join(at));
                reason = format!("{} is not executable", at.display());
            }
            (Stage::LookUp, _) => reason = "No such file or directory in any directory of PATH".into(),
            (Stage::Exec, libc::ENOENT) if mode.is_some() => {
                reason = "the interpreter that it names in its first line, or its loader, is not there".into();
            }
            (Stage::Exec, libc::EACCES) if is(libc::S_IFDIR) => reason = "it is a directory".into(),
            (Stage::Exec, libc::EACCES) if is(libc::S_IFREG) => {
                reason.push_str(if mode.is_some_and(|mode| mode & 0o111 != 0) {
                    "; its user may not execute it or its interpreter, or it lies on a noexec mount"
                } else {
                    "; it is not executable (chmod +x makes it so)"
                });
            }
            (Stage::Exec, libc::ENOEXEC) => {
                reason = "it is neither a program nor a script that begins with #! and its interpreter".into();
            }
            _ => {}
        }
        SpawnError { stage, errno, subject, reason }
    }
}
