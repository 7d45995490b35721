//! Starts a process: clone(2) with CLONE_PIDFD, from a plan that is prepared beforehand.
//!
//! The child half shares the memory of this process (CLONE_VM), on a stack of its own, until it executes its program or
//! ends. That makes a start cheap, whatever the size of this process. In return it may do next to nothing: it makes raw
//! system calls on prepared data, allocates nothing, takes no lock
//! (libzmq's threads exist), and calls no function of libc that might (glibc's setuid signals all threads of the
//! *parent*). All signals are blocked until it has reset their dispositions.
//!
//! Unlike with vfork(2), this thread is not stopped meanwhile: changing to a directory or executing a program may take
//! as long as a file system does not answer, and the parent half waits for it only briefly ([`LIMIT`]). A start that
//! takes longer is a [`Late`] one: everything that its child half uses is kept until the kernel reports that the child
//! has left this memory, and then its result can be read. Only the child half accesses file systems.
//!
//! When the kernel kills a process for lack of memory, it kills all processes that share the memory of that one. So
//! where a memory limit of the new process's cgroup does not limit this process, the child half gets a copy of the
//! memory ([`PlanSpec::copies_memory`]), as with fork(2), which takes longer. So it does where clone3(2) is not
//! available: with clone(2), a child that shares this memory would stop this thread. All else stays as it is: the
//! descriptor table is shared until the child has one of its own, and the report is in memory that both share.
//!
//! Spawn only from the main thread or the loop's thread ([`thread::beside_main`]): the parent-death signal is sent when
//! the *thread* that spawned the process ends, prctl(2).
use super::cgroup::Group;
use super::rlimit::resource;
use super::thread;
use super::users::Credentials;
use crate::error::plain;
use crate::spec::exec::Limit;
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;

mod child;
mod clone;
mod late;
mod plan;
mod raw;
mod report;
mod slots;
#[cfg(test)]
mod tests;

pub(super) use self::clone::try_in_group;
pub use self::late::{LIMIT, Late, Spawned};
pub use self::plan::{SpawnError, Stage};

use self::plan::{OwnPid, PlanData, Strings};
pub(crate) use self::slots::EXTRA_MAX;
use self::slots::Stream;

/// The standard input of a process.
#[derive(Debug, Clone)]
pub enum Stdin<'a> {
    /// /dev/null.
    Null,
    /// A descriptor that is open here.
    Open(BorrowedFd<'a>),
    /// A file. The new process opens it: as the user that it runs as, and since the file system may not answer.
    File(PathBuf),
}

/// The specification of a process to be started.
pub struct PlanSpec<'a> {
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment: nothing is inherited from this process.
    pub env: Vec<(OsString, OsString)>,
    /// Further variables, whose value is the pid of the new process.
    pub pid_variables: Vec<&'static str>,
    /// Working directory; `None` is that of this process.
    pub cwd: Option<PathBuf>,
    /// The user and groups to run as.
    pub credentials: Option<Credentials>,
    /// File mode creation mask; `None` is that of this process.
    pub umask: Option<u32>,
    /// Resource limits by name.
    pub limits: BTreeMap<String, Limit>,
    /// Nice value, from -20 to 19; `None` is that of this process.
    pub nice: Option<i32>,
    /// Its oom_score_adj, proc(5); `None` is that of this process.
    pub oom_score_adjust: Option<i32>,
    /// What it reads as descriptor 0.
    pub stdin: Stdin<'a>,
    /// Standard output; `None` is /dev/null.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Standard error; `None` is /dev/null.
    pub stderr: Option<BorrowedFd<'a>>,
    /// Further descriptors, with the numbers that they get: 3 and up without a gap.
    pub extra: Vec<(BorrowedFd<'a>, RawFd)>,
    /// The signal that it gets when the thread that spawned it ends.
    pub parent_death_signal: Option<i32>,
    /// It leads a session and a process group of its own.
    pub new_session: bool,
    /// The cgroup in which it begins.
    pub cgroup: Option<&'a Group>,
    /// The child half gets a copy of this memory: in that cgroup, the kernel may kill for lack of memory what this
    /// process must survive.
    pub copies_memory: bool,
}

impl PlanSpec<'_> {
    /// Program and arguments, in a session of its own, with defaults for all else: an empty environment, and /dev/null
    /// for the standard streams.
    pub fn new(argv: Vec<OsString>) -> Self {
        PlanSpec {
            argv,
            env: Vec::new(),
            pid_variables: Vec::new(),
            cwd: None,
            credentials: None,
            umask: None,
            limits: BTreeMap::new(),
            nice: None,
            oom_score_adjust: None,
            stdin: Stdin::Null,
            stdout: None,
            stderr: None,
            extra: Vec::new(),
            parent_death_signal: None,
            new_session: true,
            cgroup: None,
            copies_memory: false,
        }
    }
}

/// A start that is prepared, and can be made any number of times.
pub struct Plan(Rc<PlanData>);

/// Prepares a start. Everything that can fail without a process fails here.
///
/// # Errors
/// [`SpawnError`] with what is wrong.
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

    let streams = streams(&spec, &wrong)?;

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
    let own_pids: Vec<OwnPid> = spec.pid_variables.into_iter().map(OwnPid::new).collect();
    let mut env = Strings::new(env);
    for own_pid in &own_pids {
        // In front of the null pointer that ends the list.
        env.pointers.insert(env.pointers.len() - 1, own_pid.entry.as_ptr().cast());
    }
    let stdin = match spec.stdin {
        Stdin::File(file) => Some(c_string(file.into_os_string())?),
        Stdin::Null | Stdin::Open(_) => None,
    };
    let cwd = spec.cwd.map(|cwd| c_string(cwd.into_os_string())).transpose()?;
    let cgroup_procs =
        spec.cgroup.map(|group| c_string(group.path().join("cgroup.procs").into_os_string())).transpose()?;
    Ok(Plan(Rc::new(PlanData {
        programs,
        looked_up,
        argv: Strings::new(argv),
        env,
        own_pids,
        stdin,
        cwd,
        credentials: spec.credentials.filter(|wanted| !wanted.are_ours()),
        umask: spec.umask,
        limits,
        nice: spec.nice,
        oom_score_adjust: spec.oom_score_adjust,
        streams,
        parent_death_signal: spec.parent_death_signal,
        new_session: spec.new_session,
        cgroup: spec.cgroup.cloned(),
        cgroup_procs,
        copies_memory: spec.copies_memory,
        subject,
    })))
}

/// The descriptors of the new process, by number. A descriptor that already has its number is passed on as it is.
fn streams(spec: &PlanSpec<'_>, wrong: &dyn Fn(Stage, i32, String) -> SpawnError) -> Result<Vec<Stream>, SpawnError> {
    if spec.extra.iter().zip(3..).any(|((_, number), expected)| *number != expected) || spec.extra.len() > EXTRA_MAX {
        let reason = format!("descriptors are passed on as 3, 4 and so on, {EXTRA_MAX} at most");
        return Err(wrong(Stage::Prepare, 0, reason));
    }

    // Copies get numbers above all targets, so that none is overwritten before it is used.
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
    let stdin = match &spec.stdin {
        Stdin::Open(fd) => Some(*fd),
        Stdin::Null | Stdin::File(_) => None,
    };
    let wanted = [stdin, spec.stdout, spec.stderr].into_iter();
    let wanted = wanted.chain(spec.extra.iter().map(|(fd, _)| Some(*fd)));
    let stream = |(fd, target): (Option<BorrowedFd<'_>>, RawFd)| {
        Ok(match fd {
            None => Stream::Null,
            // No copy is needed, and closing one may block on the disk of its file.
            Some(fd) if fd.as_raw_fd() == target => Stream::AsItIs,
            Some(fd) => Stream::Of(copy(fd)?),
        })
    };
    wanted.zip(0..).map(stream).collect()
}

/// The paths at which a program may be: itself if it has a slash, else one in each directory of PATH; relative
/// directories are relative to the program's working directory. An error has an errno and the reason.
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

impl Plan {
    /// Starts the process, and waits briefly until it has executed its program. The plan can be used again.
    ///
    /// # Errors
    /// [`SpawnError`]; then there is no process.
    pub fn spawn(&self) -> Result<Spawned, SpawnError> {
        debug_assert!(
            self.0.parent_death_signal.is_none() || thread::lives_as_long_as_the_process(),
            "parent-death signals follow the thread"
        );
        self.spawn_below(nix::unistd::getpid())
    }

    /// Starts the process. With a parent-death signal, the process checks that `parent` is its parent.
    fn spawn_below(&self, parent: nix::unistd::Pid) -> Result<Spawned, SpawnError> {
        late::spawn(&self.0, parent.as_raw())
    }
}
