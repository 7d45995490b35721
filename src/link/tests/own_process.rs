//! Tests that concern a whole process, its limits and its descriptors: each runs in a process of its own.

use super::*;

/// Runs one test of this file in a process of its own, where `CHILD` is set: limits and the descriptor table belong to
/// a process, and other tests run in this one.
fn in_own_process(name: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its path"));
    command.args(["--exact", &format!("link::tests::own_process::{name}"), "--nocapture"]).env(CHILD, place);
    command
}

const CHILD: &str = "TREEVISOR_TEST_LINK_CHILD";

#[test]
fn no_descriptor_of_a_socket_reaches_a_child() {
    let Some(directory) = std::env::var_os(CHILD) else {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let output =
            in_own_process("no_descriptor_of_a_socket_reaches_a_child", directory.path()).output().expect("started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    };
    let before = descriptors();
    let context = Context::new().expect("a context");
    let socket = Path::new(&directory).join("r.sock");
    let mut router = Router::bind(&context, &socket, LIMITS).expect("a router");
    let pull = Pull::bind(&context, &format!("ipc://{}/p", Path::new(&directory).display())).expect("a pull socket");
    let mut dealer = Dealer::connect(&context, &socket, b"", LIMITS).expect("a dealer");
    assert!(dealer.send(&[b"x"]));
    next_message(&mut router);
    let opened: Vec<RawFd> = descriptors().difference(&before).copied().collect();
    assert!(opened.len() >= 8, "{opened:?}");
    for fd in opened {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("it is open");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("it has flags").trim().to_owned();
        let flags = i32::from_str_radix(&flags, 8).expect("they are octal");
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        assert_ne!(flags & libc::O_CLOEXEC, 0, "{fd} is {target:?}");
    }
    drop((router, pull, dealer));
}

#[test]
fn however_often_a_socket_is_bound_again_there_are_few_listeners() {
    let Some(directory) = std::env::var_os(CHILD) else {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let name = "however_often_a_socket_is_bound_again_there_are_few_listeners";
        let output = in_own_process(name, directory.path()).output().expect("started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    };
    let socket = Path::new(&directory).join("r.sock");
    let context = Context::new().expect("a context");
    let mut router = Router::bind(&context, &socket, LIMITS).expect("a router");
    let before = descriptors().len();
    for _ in 0..50 {
        std::fs::remove_file(&socket).expect("removed");
        router.bind_again().expect("bound again");
        assert!(router.is_in_place());
    }
    let most = before + context::LISTENERS_MAX as usize;
    until(|| (descriptors().len() <= most).then_some(()));
    let mut dealer = Dealer::connect(&context, &socket, b"late", LIMITS).expect("a dealer");
    assert!(dealer.send(&[b"x"]));
    assert_eq!(next_message(&mut router).frames, [b"x"]);
}

/// The open descriptors of this process, without the one that is needed to list them.
fn descriptors() -> BTreeSet<RawFd> {
    let names: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .expect("proc is mounted")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("a number"))
        .collect();
    let open = |fd: &RawFd| Path::new(&format!("/proc/self/fd/{fd}")).symlink_metadata().is_ok();
    names.iter().map(|name| name.parse().expect("a number")).filter(open).collect()
}

#[test]
fn running_out_of_descriptors_kills_no_worker() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return serve_with_few_descriptors(Path::new(&directory));
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("r.sock");
    let mut child = Reaped(
        in_own_process("running_out_of_descriptors_kills_no_worker", directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("started"),
    );
    let context = Context::new().expect("a context");
    let mut friend = Dealer::connect(&context, &socket, b"friend", LIMITS).expect("a dealer");
    assert!(friend.send(&[b"room?"]));
    assert_eq!(answer(&mut friend), [b"yes"]);
    let crowd: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(&socket).expect("connected")).collect();
    // Connections do not get the last descriptors, so that the process itself can still open some.
    for _ in 0..50 {
        assert!(friend.send(&[b"room?"]));
        assert_eq!(answer(&mut friend), [b"yes"], "there is a reserve");
    }
    // With the reserve used up as well, accept(2) fails in the child again and again.
    assert!(friend.send(&[b"fill"]));
    assert_eq!(answer(&mut friend), [b"no"]);
    let more: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&socket).expect("connected")).collect();
    for _ in 0..50 {
        assert!(friend.send(&[b"room?"]));
        assert_eq!(answer(&mut friend), [b"no"], "it serves those that it has");
    }
    assert!(child.0.try_wait().expect("it is ours").is_none());
    assert!(friend.send(&[b"empty"]));
    assert_eq!(answer(&mut friend), [b"yes"]);
    drop((crowd, more));
    let mut late = Dealer::connect(&context, &socket, b"late", LIMITS).expect("a dealer");
    assert!(late.send(&[b"room?"]));
    assert_eq!(answer(&mut late), [b"yes"], "it serves new peers again");
    assert!(late.send(&[b"end"]));
    assert!(child.0.wait().expect("it is ours").success());
}

/// Answers whether a descriptor is free, until it is asked to exit.
fn serve_with_few_descriptors(directory: &Path) {
    let context = Context::new().expect("a context");
    let mut router = Router::bind(&context, &directory.join("r.sock"), LIMITS).expect("a router");
    setrlimit(Resource::RLIMIT_NOFILE, 32, 32).expect("a limit can always be lowered");
    let mut filling = Vec::new();
    loop {
        let message = next_message(&mut router);
        if message.frames == [b"end"] {
            return;
        }
        if message.frames == [b"empty"] {
            filling.clear();
        }
        let room = loop {
            match nix::unistd::dup(std::io::stdin()) {
                Ok(copy) if message.frames == [b"fill"] => filling.push(copy),
                // The file is closed again at once.
                Ok(_) => break true,
                Err(error) => {
                    assert_eq!(error, nix::Error::EMFILE);
                    break false;
                }
            }
        };
        let _ = router.send(&message.from, &[if room { b"yes" } else { b"no" }]);
    }
}

#[cfg(feature = "hosts")]
#[test]
fn peers_without_a_key_take_neither_the_last_descriptors_nor_the_processor() {
    if !has_curve() || !has_doors() {
        return;
    }
    if let Some(directory) = std::env::var_os(CHILD) {
        return bear_a_crowd(Path::new(&directory));
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = "peers_without_a_key_take_neither_the_last_descriptors_nor_the_processor";
    let mut child = Reaped(in_own_process(name, directory.path()).spawn().expect("started"));
    let address = until(|| std::fs::read_to_string(directory.path().join("address")).ok());
    // libzmq closes a connection that does not shake hands within three seconds; so there are always new ones.
    let mut crowd = std::collections::VecDeque::new();
    let status = until(|| {
        crowd.extend(std::net::TcpStream::connect(&address));
        crowd.drain(..crowd.len().saturating_sub(100));
        child.0.try_wait().expect("it is ours")
    });
    assert!(status.success(), "{status}");
}

/// Binds a socket for hosts, and waits until peers have all descriptors that they can get; then it takes the rest
/// itself.
#[cfg(feature = "hosts")]
fn bear_a_crowd(directory: &Path) {
    const LIMIT: u64 = 64;
    let (context, keys) = (Context::new().expect("a context"), zmq::CurveKeyPair::new().expect("keys"));
    let limits = curve::Limits { frame_bytes_max: 1024, frames_max: 8 };
    let router = curve::CurveRouter::bind(&context, "tcp://127.0.0.1:*", &keys.secret_key, limits).expect("a router");
    setrlimit(Resource::RLIMIT_NOFILE, LIMIT, LIMIT).expect("a limit can always be lowered");
    let address = router.endpoint().strip_prefix("tcp://").expect("it is a TCP endpoint");
    std::fs::write(directory.join("new"), address).expect("written");
    std::fs::rename(directory.join("new"), directory.join("address")).expect("renamed");
    until(|| {
        let free = crate::os::fd::lowest_free();
        // For a moment a connection has the first descriptor of the reserve.
        assert!(free < LIMIT - LIMIT / 8, "descriptor {free} is the lowest free one");
        (free >= LIMIT - LIMIT / 4).then_some(())
    });
    // Without a descriptor for a waiting connection, the I/O thread does not turn at full speed.
    let mut filling = Vec::new();
    while let Ok(copy) = nix::unistd::dup(std::io::stdin()) {
        filling.push(copy);
    }
    let spent = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("it is counted");
        let spent = usage.user_time() + usage.system_time();
        Duration::new(spent.tv_sec() as u64, spent.tv_usec() as u32 * 1_000)
    };
    let before = spent();
    zmq::poll(&mut [], 1_000).expect("no signal is expected");
    let spent = spent() - before;
    assert!(spent < Duration::from_millis(300), "{spent:?} of a second were spent");
}

/// A child process that does not outlive a failed test.
struct Reaped(std::process::Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
