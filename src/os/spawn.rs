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

mod child;
mod clone;
mod slots;
#[cfg(test)]
mod tests;

pub(super) use self::clone::try_in_group;

use self::child::{Shared, child_half};
use self::clone::{CLONES_INTO_CGROUP, clone_vfork};
use self::slots::{SLOTS, Slots};

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
