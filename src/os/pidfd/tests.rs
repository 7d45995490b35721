use super::super::testing::{PATIENCE, end_of, fork, program, read_line, script, start, start_piped};
use super::*;
use crate::os::{fd, process};

fn errno(result: io::Result<impl std::fmt::Debug>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn an_exit_status_is_taken_once() {
    for code in [0, 1, 42, 255] {
        let spawned = start(script(&format!("exit {code}"))).unwrap();
        let (pid, process) = (spawned.pid, spawned.pidfd);
        assert!(process.wait_exit(PATIENCE));
        let told = process.told_exit(pid).map(|status| status.code);
        assert_eq!(told, (code != 0).then_some(Some(code)), "0 may also mean that it is not shown");
        let status = end_of(&process);
        assert_eq!((status.code, status.signal, status.core_dumped), (Some(code), None, false));
        assert_eq!(errno(process.wait()), Some(libc::ECHILD));
        assert!(!process.has_ended(), "it is no child any more");
        // Reaped: a signal finds no process, and a process that has the pid by now is not affected.
        assert_eq!(errno(process.signal(libc::SIGKILL)), Some(libc::ESRCH));
        assert!(process.wait_exit(Span::ZERO));
        process.wait_exit_forever();
        // Kernels before Linux 6.15 do not report it.
        assert!(process.told_exit(pid).is_none_or(|status| status.code == Some(code)));
    }
}

#[test]
fn a_signal_is_told_from_an_exit_status() {
    // Signal 40 has no name.
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1, 40] {
        let (spawned, reader) = start_piped(script("echo up; exec sleep 1000")).unwrap();
        assert_eq!(read_line(&reader), "up");
        assert_eq!(spawned.pidfd.wait().unwrap(), None);
        assert!(!spawned.pidfd.wait_exit(Span::ZERO));
        assert!(!spawned.pidfd.has_ended() && spawned.pidfd.told_exit(spawned.pid).is_none());
        spawned.pidfd.signal(signal).unwrap();
        assert!(spawned.pidfd.wait_exit(PATIENCE));
        assert!(spawned.pidfd.has_ended(), "and its status is still there");
        // Signals to a zombie have no effect.
        spawned.pidfd.signal(libc::SIGKILL).unwrap();
        assert_eq!(spawned.pidfd.told_exit(spawned.pid).and_then(|status| status.signal), Some(signal));
        let status = spawned.pidfd.wait().unwrap().unwrap();
        assert_eq!((status.code, status.signal, status.core_dumped), (None, Some(signal), false));
    }
}

#[test]
fn stopped_is_not_ended() {
    let (spawned, reader) = start_piped(script("echo up; exec sleep 1000")).unwrap();
    assert_eq!(read_line(&reader), "up");
    spawned.pidfd.signal(libc::SIGSTOP).unwrap();
    // /proc shows the stop; a wait does not.
    while process::stat(spawned.pid).unwrap().state != 'T' {
        std::thread::yield_now();
    }
    assert_eq!(spawned.pidfd.wait().unwrap(), None);
    assert!(!spawned.pidfd.wait_exit(Span::ZERO));
    spawned.pidfd.signal(libc::SIGKILL).unwrap();
    assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGKILL));
}

#[test]
fn a_core_file_is_noted() {
    // If cores go to a program through a pipe, the kernel reports a core whatever the limit is; to a file only with a
    // limit.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with('|') || pattern.starts_with('@') {
        eprintln!("skipped: cores are handed to a program here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (limit, dumped) in [("0", false), ("unlimited", true)] {
        let mut spec = script(&format!("ulimit -c {limit} && kill -s ABRT $$"));
        spec.cwd = Some(dir.path().to_path_buf());
        let status = end_of(&start(spec).unwrap().pidfd);
        if status.code.is_some() {
            eprintln!("skipped: the limit of core files cannot be raised here");
            continue;
        }
        assert_eq!((status.signal, status.core_dumped), (Some(libc::SIGABRT), dumped), "{limit}");
    }
}

#[test]
fn what_was_used_is_told() {
    let status = end_of(&start(program(&["/bin/true"])).unwrap().pidfd);
    assert!(status.usage.max_rss_kib > 0);
    let used = end_of(&start(script("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")).unwrap().pidfd).usage;
    assert!(used.user + used.system > Span::ZERO);
    assert_eq!(span(libc::timeval { tv_sec: 3, tv_usec: 17 }), Span::from_micros(3_000_017));
    assert_eq!(span(libc::timeval { tv_sec: i64::MAX, tv_usec: 0 }), Span::MAX);
}

#[test]
fn a_process_that_is_not_there_cannot_be_opened() {
    assert_eq!(errno(PidFd::open(0)), Some(libc::EINVAL));
    assert_eq!(errno(PidFd::open(u32::MAX)), Some(libc::EINVAL));
    // Above every limit on pids.
    assert_eq!(errno(PidFd::open(i32::MAX as u32)), Some(libc::ESRCH));
}

alone! {
    fn a_child_of_another_process_can_be_waited_for_but_not_reaped() {
        let (reader, writer) = fd::pipe().unwrap();
        let parent = fork(|| {
            let (spawned, output) = start_piped(script("echo up; exec sleep 1000")).unwrap();
            assert_eq!(read_line(&output), "up");
            nix::unistd::write(&writer, format!("{}\n", spawned.pid).as_bytes()).unwrap();
            assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGTERM));
        });
        let grandchild = PidFd::open(read_line(&reader).parse().unwrap()).unwrap();
        assert_eq!(grandchild.wait().unwrap(), None, "a refusal does not mean that it has ended");
        grandchild.signal(libc::SIGTERM).unwrap();
        assert!(grandchild.wait_exit(PATIENCE));
        assert_eq!(errno(grandchild.wait()), Some(libc::ECHILD));
        assert_eq!(end_of(&parent).code, Some(0));
    }
}

#[test]
fn a_process_is_reached_by_its_number_where_there_is_no_descriptor() {
    let (spawned, reader) = start_piped(script("echo up; exec sleep 1000")).unwrap();
    assert_eq!(read_line(&reader), "up");
    let began = process::look(spawned.pid).unwrap().unwrap().began;
    // As if the pid belonged to another process by now.
    assert!(is_gone(&ProcessHandle::open(spawned.pid, began + 1).unwrap_err()));
    let other = ProcessHandle { pid: spawned.pid, began: began + 1, fd: None };
    assert!(is_gone(&other.signal(libc::SIGKILL).unwrap_err()));
    assert_eq!(spawned.pidfd.wait().unwrap(), None);
    let reach = ProcessHandle { pid: spawned.pid, began, fd: None };
    reach.signal(libc::SIGTERM).unwrap();
    assert!(spawned.pidfd.wait_exit(PATIENCE));
    assert!(is_gone(&reach.signal(libc::SIGKILL).unwrap_err()), "a zombie is gone");
    assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGTERM));
    assert!(is_gone(&ProcessHandle::open(spawned.pid, began).unwrap_err()));
}

#[test]
fn a_refused_call_is_not_the_absence_of_the_process() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EACCES] {
        assert!(!is_gone(&io::Error::from_raw_os_error(errno)), "{errno}");
    }
}

#[test]
fn a_process_is_followed_to_its_end_by_its_number() {
    let (spawned, reader) = start_piped(script("echo up; exec sleep 1000")).unwrap();
    assert_eq!(read_line(&reader), "up");
    let reach = ProcessHandle::of(spawned.pid).unwrap();
    assert!(!reach.has_ended().unwrap());
    reach.signal(libc::SIGKILL).unwrap();
    assert!(spawned.pidfd.wait_exit(PATIENCE));
    assert!(reach.has_ended().unwrap(), "a zombie has ended");
    assert!(is_gone(&ProcessHandle::of(spawned.pid).unwrap_err()));
    end_of(&spawned.pidfd);
    assert!(reach.has_ended().unwrap());
    assert!(is_gone(&ProcessHandle::of(spawned.pid).unwrap_err()));
}
