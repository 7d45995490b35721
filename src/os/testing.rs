//! What the tests of this room share: a process of one's own for whatever is a process's and not a thread's, and
//! waiting for events with a limit that means "broken".
use super::fd;
use super::pidfd::{ExitStatus, PidFd};
use super::spawn::{self, PlanSpec, SpawnError, Spawned};
use crate::time::Span;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

/// What has not happened after this long is broken.
pub(super) const PATIENCE: Span = Span::from_secs(60);

/// Tests that run as the main and only thread of a process: they change what all threads share, such as descriptors,
/// dispositions and credentials, or look at all children.
macro_rules! alone {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)+) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            $crate::os::testing::run_alone(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    )+};
}

/// Runs the named test once more by itself, and its body in a fork of that.
pub(super) fn run_alone(name: &str, body: fn()) {
    const KEY: &str = "OS_TEST_ALONE";
    let name = name.split_once("::").expect("the crate comes first").1;
    if std::env::var_os(KEY).is_some_and(|wanted| wanted == name) {
        let status = in_fork(body);
        assert_eq!((status.code, status.signal), (Some(0), None), "the test itself has failed, see above");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(KEY, name)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{name} alone:\n{text}\n{errors}");
    // A reason for skipping, mostly.
    eprint!("{errors}");
}

/// Runs `body` in a fork of this process, whose only thread it is, and waits for its end. Only for processes that do
/// nothing else meanwhile.
pub(super) fn in_fork(body: impl FnOnce()) -> ExitStatus {
    let process = fork(body);
    let ended = process.wait_exit(PATIENCE.times(2));
    if !ended {
        process.signal(libc::SIGKILL).unwrap();
        process.wait_exit(PATIENCE);
    }
    let status = process.wait().unwrap().unwrap();
    assert!(ended, "it has not ended by itself");
    status
}

/// Begins `body` in a fork of this process, whose only thread it is. It ends with 0, or with 101 after a panic.
pub(super) fn fork(body: impl FnOnce()) -> PidFd {
    // SAFETY: no other thread of this process spawns, allocates or prints, so no lock is held in the fork.
    match unsafe { libc::fork() } {
        0 => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: ends this process without a look at what belongs to the test harness.
            unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) }
        }
        pid => {
            assert!(pid > 0, "fork");
            PidFd::open(pid.unsigned_abs()).unwrap()
        }
    }
}

/// Everything that can be read until the end.
pub(super) fn read_all(reader: OwnedFd) -> String {
    let (mut bytes, mut file) = (Vec::new(), std::fs::File::from(reader));
    loop {
        assert!(fd::wait_readable_any(&[file.as_fd()], Some(PATIENCE)).unwrap(), "no end of {:?}", text(&bytes));
        let mut buffer = [0; 4096];
        match file.read(&mut buffer).unwrap() {
            0 => return text(&bytes),
            count => bytes.extend(&buffer[..count]),
        }
    }
}

/// One line, without its end.
pub(super) fn read_line(reader: &OwnedFd) -> String {
    let mut bytes = Vec::new();
    loop {
        assert!(fd::wait_readable_any(&[reader.as_fd()], Some(PATIENCE)).unwrap(), "no line: {:?}", text(&bytes));
        let mut byte = [0];
        match nix::unistd::read(reader, &mut byte).unwrap() {
            0 => panic!("no line but the end after {:?}", text(&bytes)),
            _ if byte == *b"\n" => return text(&bytes),
            _ => bytes.push(byte[0]),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The end of a process of ours.
pub(super) fn end_of(process: &PidFd) -> ExitStatus {
    assert!(process.wait_exit(PATIENCE), "it does not end");
    process.wait().unwrap().unwrap()
}

/// A plan for a program with nothing special.
pub(super) fn program(argv: &[&str]) -> PlanSpec<'static> {
    PlanSpec {
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())],
        ..PlanSpec::new(argv.iter().map(OsString::from).collect())
    }
}

/// A plan for a script of the shell.
pub(super) fn script(text: &str) -> PlanSpec<'static> {
    program(&["/bin/sh", "-c", text])
}

/// Starts what is planned.
pub(super) fn start(spec: PlanSpec<'_>) -> Result<Spawned, SpawnError> {
    start_now(spec)?.settled()
}

/// The same, without waiting for one that is late.
pub(super) fn start_now(spec: PlanSpec<'_>) -> Result<Spawned, SpawnError> {
    spawn::prepare(spec)?.spawn()
}

/// Starts what is planned with its output on a pipe.
pub(super) fn start_piped(spec: PlanSpec<'_>) -> Result<(Spawned, OwnedFd), SpawnError> {
    let (reader, writer) = fd::pipe().unwrap();
    // A copy of the pipe is in the plan, which has to go too before there is an end to be read.
    let plan = spawn::prepare(PlanSpec { stdout: Some(writer.as_fd()), stderr: Some(writer.as_fd()), ..spec })?;
    Ok((plan.spawn()?.settled()?, reader))
}

/// Runs what is planned, and gives back what it has printed; it has to succeed.
pub(super) fn output_of(spec: PlanSpec<'_>) -> String {
    let (spawned, reader) = start_piped(spec).unwrap();
    let printed = read_all(reader);
    assert_eq!(end_of(&spawned.pidfd).code, Some(0), "{printed}");
    printed
}

/// How many descriptors are open here.
pub(super) fn open_descriptors() -> usize {
    // Its own is one of them.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Whether this process has any children, running ones or zombies.
pub(super) fn has_children() -> bool {
    // SAFETY: all-zero is a valid value, and the pointer is to a live one.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    };
    result == 0
}

/// Whether this is root, which may do what the test needs; prints it when it is not.
pub(super) fn is_root() -> bool {
    let root = super::process::own_uid() == 0;
    if !root {
        eprintln!("skipped: only root may do this");
    }
    root
}

/// Gives up being root, for ever. Without it we are a plain user already.
pub(super) fn become_nobody() {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    if super::process::own_uid() == 0 {
        let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
        setgroups(&[group]).unwrap();
        setresgid(group, group, group).unwrap();
        setresuid(user, user, user).unwrap();
    }
}
