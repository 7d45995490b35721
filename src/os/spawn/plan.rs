//! A prepared plan in the kernel's form, and the stages at which a start can fail.

use super::slots::Stream;
use crate::error::errno_words;
use crate::os::cgroup::Group;
use crate::os::users::Credentials;
use std::cell::Cell;
use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The stage at which a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Stage {
    /// Preparing the plan: a string with a zero byte, or an unknown limit.
    Prepare,
    /// Looking the program up in PATH.
    LookUp,
    /// Creating the process, clone(2).
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
    /// proc(5), oom_score_adj.
    OomScore,
    /// chdir(2).
    WorkingDirectory,
    /// dup3(2).
    Streams,
    /// open(2) of standard input.
    Input,
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
            Stage::OomScore => "setting the oom-score-adjust of",
            Stage::WorkingDirectory => "changing to the working directory",
            Stage::Streams => "connecting the output of",
            Stage::Input => "opening the standard input",
            Stage::Descriptors => "closing the descriptors of",
            Stage::Groups => "setting the groups of",
            Stage::User => "setting the user of",
            Stage::ParentDeath => "setting the parent-death signal of",
            Stage::Exec => "executing",
        })
    }
}

/// Why a process could not be started.
#[derive(Debug, Clone)]
pub struct SpawnError {
    /// The stage that failed.
    pub stage: Stage,
    /// The errno; 0 if no system call failed.
    pub errno: i32,
    /// The program or directory that it concerns.
    pub subject: String,
    /// The reason, as text.
    pub reason: String,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.stage, self.subject, self.reason)
    }
}

impl std::error::Error for SpawnError {}

impl SpawnError {
    /// Whether the cgroup takes no process: it was removed, or what runs or ran in it has made it pass on controllers
    /// or contain threads only, cgroups(7).
    pub fn is_of_cgroup(&self) -> bool {
        is_of_cgroup(self.stage, self.errno)
    }

    /// Whether no process could be created for lack of one, whether of this process's or of the cgroup's.
    pub fn is_for_lack_of_processes(&self) -> bool {
        (self.stage, self.errno) == (Stage::Clone, libc::EAGAIN)
    }
}

fn is_of_cgroup(stage: Stage, errno: i32) -> bool {
    matches!(stage, Stage::Clone | Stage::Cgroup)
        && matches!(errno, libc::ENOENT | libc::ENODEV | libc::EBUSY | libc::EOPNOTSUPP)
}

/// What failed, and what the child has found out about it: the parent accesses no file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub stage: Stage,
    pub errno: i32,
    /// The index of the program in the plan.
    pub program: usize,
    /// The mode of that file, if it exists.
    pub mode: Option<u32>,
}

impl Failed {
    pub(super) fn at(stage: Stage, errno: i32) -> Failed {
        Failed { stage, errno, program: 0, mode: None }
    }
}

/// Everything that the child half needs, in the kernel's form.
pub(super) struct PlanData {
    /// The paths at which the program may be: the first that can be executed is used.
    pub programs: Vec<CString>,
    /// The name has no slash, so the program is looked up in PATH.
    pub looked_up: bool,
    pub argv: Strings,
    pub env: Strings,
    pub own_pids: Vec<OwnPid>,
    /// The file that the child opens as its standard input.
    pub stdin: Option<CString>,
    pub cwd: Option<CString>,
    pub credentials: Option<Credentials>,
    pub umask: Option<u32>,
    pub limits: Vec<(u32, libc::rlimit64)>,
    pub nice: Option<i32>,
    pub oom_score_adjust: Option<i32>,
    /// By target number: 0, 1, 2, then the extra ones.
    pub streams: Vec<Stream>,
    pub parent_death_signal: Option<i32>,
    pub new_session: bool,
    pub cgroup: Option<Group>,
    /// `cgroup.procs` of the cgroup, for a child that moves into it itself.
    pub cgroup_procs: Option<CString>,
    /// The child half must get a copy of this memory.
    pub copies_memory: bool,
    pub subject: String,
}

/// Strings, with the array of pointers that execve(2) expects.
pub(super) struct Strings {
    /// Never changed: the pointers point into it.
    pub _strings: Vec<CString>,
    pub pointers: Vec<*const libc::c_char>,
}

impl Strings {
    pub(super) fn new(strings: Vec<CString>) -> Strings {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Strings { _strings: strings, pointers }
    }
}

/// `NAME=` with room for a pid: the child half writes its own pid there, which is not known beforehand.
pub(super) struct OwnPid {
    /// On the heap, so that the environment's pointer to it stays valid.
    pub entry: Box<[Cell<u8>]>,
    pub digits_at: usize,
}

/// Digits of the highest pid, and the terminating zero byte.
pub(super) const PID_ROOM: usize = 11;

impl OwnPid {
    pub(super) fn new(name: &str) -> OwnPid {
        let bytes = name.bytes().chain([b'=']).chain([0; PID_ROOM]);
        OwnPid { entry: bytes.map(Cell::new).collect(), digits_at: name.len() + 1 }
    }

    /// Writes the pid. Must not allocate or panic, since it runs in the child half.
    pub(super) fn write(&self, pid: u32) {
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

impl PlanData {
    pub(super) fn error(&self, stage: Stage, errno: i32) -> SpawnError {
        self.failure(Failed { stage, errno, program: 0, mode: None })
    }

    /// The failure as text. The child has made the checks; no file system is accessed here.
    pub(super) fn failure(&self, failed: Failed) -> SpawnError {
        let Failed { stage, errno, program, mode } = failed;
        let mut subject = self.subject.clone();
        let mut reason = errno_words(errno);
        let is = |kind| mode.is_some_and(|mode| mode & libc::S_IFMT == kind);
        match (stage, errno) {
            (stage, errno) if is_of_cgroup(stage, errno) => {
                if let Some(group) = &self.cgroup {
                    reason = format!("the cgroup {} takes no process: {reason}", group.path().display());
                }
            }
            (Stage::WorkingDirectory, _) => {
                subject = self.cwd.as_ref().map(|cwd| cwd.to_string_lossy().into_owned()).unwrap_or_default();
            }
            (Stage::Input, _) => {
                subject = self.stdin.as_ref().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
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
