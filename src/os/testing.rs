//! What the tests of this room share: a process of its own for tests that change the state of a process, and waiting
//! for events with a limit after which the test fails.
use super::fd;
use super::pidfd::{ExitStatus, PidFd};
use super::spawn::{self, PlanSpec, SpawnError, Spawned};
use crate::time::Span;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

/// An event that has not happened after this time has failed.
pub(super) const PATIENCE: Span = Span::from_secs(60);

/// Tests that run as the main and only thread of a process: they change state that all threads share, such as
/// descriptors, dispositions and credentials, or they examine all children.
macro_rules! alone {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)+) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            $crate::os::testing::run_alone(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    )+};
}

/// Runs the named test again by itself, and its body in a fork of that process.
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
    // Mostly the reason for skipping.
    eprint!("{errors}");
}

/// Runs `body` in a fork of this process, as its only thread, and waits for its end. Only for processes that do nothing
/// else meanwhile.
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

/// Starts `body` in a fork of this process, as its only thread. The fork exits with 0, or with 101 after a panic.
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

/// Reads everything until the end of file.
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

/// Reads one line, without its newline.
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

/// Waits for the end of a child, and reaps it.
pub(super) fn end_of(process: &PidFd) -> ExitStatus {
    assert!(process.wait_exit(PATIENCE), "it does not end");
    process.wait().unwrap().unwrap()
}

/// A plan for a program, with defaults for all else.
pub(super) fn program(argv: &[&str]) -> PlanSpec<'static> {
    PlanSpec {
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())],
        ..PlanSpec::new(argv.iter().map(OsString::from).collect())
    }
}

/// A plan for a shell script.
pub(super) fn script(text: &str) -> PlanSpec<'static> {
    program(&["/bin/sh", "-c", text])
}

/// Starts a process, and waits until it has executed its program.
pub(super) fn start(spec: PlanSpec<'_>) -> Result<Spawned, SpawnError> {
    start_now(spec)?.settled()
}

/// Starts a process, without waiting for a late one.
pub(super) fn start_now(spec: PlanSpec<'_>) -> Result<Spawned, SpawnError> {
    spawn::prepare(spec)?.spawn()
}

/// Starts a process with its output on a pipe.
pub(super) fn start_piped(spec: PlanSpec<'_>) -> Result<(Spawned, OwnedFd), SpawnError> {
    let (reader, writer) = fd::pipe().unwrap();
    // The plan has a copy of the pipe, which must be closed too before the reader gets an end of file.
    let plan = spawn::prepare(PlanSpec { stdout: Some(writer.as_fd()), stderr: Some(writer.as_fd()), ..spec })?;
    Ok((plan.spawn()?.settled()?, reader))
}

/// Runs a process, and returns its output; it must succeed.
pub(super) fn output_of(spec: PlanSpec<'_>) -> String {
    let (spawned, reader) = start_piped(spec).unwrap();
    let printed = read_all(reader);
    assert_eq!(end_of(&spawned.pidfd).code, Some(0), "{printed}");
    printed
}

/// How many descriptors this process has open.
pub(super) fn open_descriptors() -> usize {
    // One of them is that of the directory.
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

/// Whether this process is root, as the test needs; prints a message if not.
pub(super) fn is_root() -> bool {
    let root = super::process::own_uid() == 0;
    if !root {
        eprintln!("skipped: only root may do this");
    }
    root
}

/// Gives up root permanently. Has no effect for an ordinary user.
pub(super) fn become_nobody() {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    if super::process::own_uid() == 0 {
        let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
        setgroups(&[group]).unwrap();
        setresgid(group, group, group).unwrap();
        setresuid(user, user, user).unwrap();
    }
}
