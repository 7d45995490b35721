use super::super::testing::{end_of, read_line, script, start_piped};
use super::*;

#[test]
fn a_refusal_names_the_error_and_the_users() {
    let text = why_alive(1, Some(libc::EPERM));
    assert!(text.starts_with("the kernel refuses the signal: Operation not permitted"), "{text}");
    let of_another = fs::metadata("/proc/1").is_ok_and(|process| process.uid() != process::own_uid());
    assert_eq!(text.contains("it runs as uid 0"), of_another, "{text}");
}

#[test]
fn what_is_there_and_what_is_gone_are_told_apart() {
    let (spawned, reader) = start_piped(script("echo up; exec sleep 1000")).unwrap();
    assert_eq!(read_line(&reader), "up");
    let text = why_alive(spawned.pid, None);
    assert!(text.contains("still there (state ") || text.contains("stuck in the kernel"), "{text}");
    spawned.pidfd.signal(libc::SIGKILL).unwrap();
    end_of(&spawned.pidfd);
    assert_eq!(why_alive(spawned.pid, None), "it has just gone");
}

/// The parent of a vfork(2) is in uninterruptible sleep until the child executes a program.
#[test]
fn a_process_in_the_kernel_is_said_to_be_there() {
    let text = "import ctypes, os, sys\n\
                print('up', flush=True)\n\
                if ctypes.CDLL(None).vfork() == 0:\n    import time\n    time.sleep(1000)\n";
    let Ok((spawned, reader)) = start_piped(super::super::testing::program(&["/usr/bin/python3", "-c", text])) else {
        eprintln!("skipped: no python3");
        return;
    };
    if read_line(&reader) == "up" {
        let clock = crate::os::clock::Clock::start();
        let end = crate::time::Time::ZERO + super::super::testing::PATIENCE;
        while process::look(spawned.pid).unwrap().is_some_and(|stat| stat.state != 'D') && clock.now() < end {
            crate::os::clock::pause(crate::time::Span::from_millis(1));
        }
        let text = why_alive(spawned.pid, None);
        // On newer kernels this sleep can be killed; it is shown as state D as well.
        assert!(text.starts_with("it is stuck in the kernel (state D"), "{text}");
    }
    process::signal_group(spawned.pid, libc::SIGKILL);
    let _ = spawned.pidfd.signal(libc::SIGKILL);
    end_of(&spawned.pidfd);
}
