use super::super::testing::{become_nobody, open_descriptors};
use super::*;
use std::io::Read;
use std::os::fd::{AsRawFd, IntoRawFd};

#[test]
fn an_output_pipe_blocks_at_the_writers_end_only() {
    let (reader, writer) = output_pipe().unwrap();
    let flags = |fd: &OwnedFd| OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
    assert!(flags(&reader).contains(OFlag::O_NONBLOCK));
    assert!(!flags(&writer).contains(OFlag::O_NONBLOCK));
    set_nonblocking(reader.as_fd(), false).unwrap();
    assert!(!flags(&reader).contains(OFlag::O_NONBLOCK));
    for fd in [&reader, &writer] {
        assert_eq!(fcntl(fd, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
    }
}

#[test]
fn a_file_in_memory_is_read_from_its_beginning() {
    let memory = memfd_with("test", b"content").unwrap();
    let mut text = String::new();
    std::fs::File::from(memory).read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
}

#[test]
fn what_is_inherited_goes_no_further() {
    let (reader, _writer) = pipe().unwrap();
    fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let taken = inherited(reader.into_raw_fd()).unwrap();
    assert_eq!(fcntl(&taken, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
    let none = inherited(i32::MAX).map(|_| ()).unwrap_err();
    assert_eq!(none.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn waiting_ends_with_data_an_end_or_the_time() {
    let (reader, writer) = pipe().unwrap();
    let (other, _kept) = pipe().unwrap();
    let fds = [other.as_fd(), reader.as_fd()];
    assert!(!wait_readable_any(&fds, Some(Span::ZERO)).unwrap());
    assert!(!wait_readable_any(&fds, Some(Span::from_nanos(1))).unwrap());
    nix::unistd::write(&writer, b"x").unwrap();
    assert!(wait_readable_any(&fds, None).unwrap());
    nix::unistd::read(&reader, &mut [0; 8]).unwrap();
    assert!(!wait_readable_any(&fds, Some(Span::ZERO)).unwrap());
    drop(writer);
    assert!(wait_readable_any(&fds, Some(Span::MAX)).unwrap());
}

#[test]
fn a_wait_is_rounded_up_and_has_an_end() {
    let millis = |span| PollTimeout::as_millis(&rounded_up(span));
    assert_eq!(millis(Span::ZERO), Some(0));
    assert_eq!(millis(Span::from_nanos(1)), Some(1));
    assert_eq!(millis(Span::from_millis(1)), Some(1));
    assert_eq!(millis(Span::from_nanos(1_000_001)), Some(2));
    assert_eq!(millis(Span::MAX), Some(i32::MAX as u32));
}

alone! {
    fn signals_do_not_prolong_a_wait() {
        extern "C" fn handler(_: i32) {}
        let often = libc::timeval { tv_sec: 0, tv_usec: 5_000 };
        let timer = libc::itimerval { it_interval: often, it_value: often };
        let action = nix::sys::signal::SigAction::new(
            nix::sys::signal::SigHandler::Handler(handler),
            nix::sys::signal::SaFlags::empty(),
            nix::sys::signal::SigSet::empty(),
        );
        // SAFETY: the handler does nothing; the timer is a live value.
        unsafe {
            nix::sys::signal::sigaction(nix::sys::signal::Signal::SIGALRM, &action).unwrap();
            assert_eq!(libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const timer, 0usize), 0);
        }
        let (silent, _writer) = pipe().unwrap();
        let clock = Clock::start();
        let limit = Span::from_millis(50);
        // If each signal, every 5 ms, restarted the timeout, this would never return.
        assert!(!wait_readable_any(&[silent.as_fd()], Some(limit)).unwrap());
        assert!(clock.now().since(Time::ZERO) >= limit, "it has ended too early");
    }

    fn a_plain_user_can_raise_its_limit() {
        setrlimit(Resource::RLIMIT_NOFILE, 200, 300).unwrap();
        become_nobody();
        raise_nofile_to(100).unwrap();
        assert_eq!(nofile_limit(), 200, "it is not lowered");
        let raised = raise_nofile_to(250).unwrap();
        assert_eq!((raised.soft_before, raised.hard, nofile_limit()), (200, 300, 250));
        setrlimit(Resource::RLIMIT_NOFILE, 200, 300).unwrap();
        let raised = raise_nofile().unwrap();
        assert_eq!((raised.soft_before, raised.hard), (200, 300));
        assert_eq!(nofile_limit(), 300);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (300, 300));
        // And once more, as a child node does.
        assert_eq!(raise_nofile().unwrap().soft_before, 300);
    }

    fn the_lowest_free_descriptor_shows_how_many_there_are() {
        let before = open_descriptors();
        let lowest = lowest_free();
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(u64::try_from(null.as_raw_fd()).unwrap(), lowest);
        assert!(lowest_free() > lowest);
        drop(null);
        assert_eq!(lowest_free(), lowest);
        assert_eq!(open_descriptors(), before);
        // If no descriptor is free, the result is the limit.
        setrlimit(Resource::RLIMIT_NOFILE, lowest, 300).unwrap();
        assert_eq!(lowest_free(), lowest);
        assert_eq!(leave(1).unwrap_err().raw_os_error(), Some(libc::EMFILE));
        leave(0).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, lowest + 5, 300).unwrap();
        assert_eq!(leave(6).unwrap_err().raw_os_error(), Some(libc::EMFILE));
        assert_eq!(can_open(6).unwrap_err().raw_os_error(), Some(libc::EMFILE));
        leave(5).unwrap();
        can_open(5).unwrap();
        // One that is open above a free one.
        let null = std::fs::File::open("/dev/null").unwrap();
        let high = null.try_clone().unwrap();
        drop(null);
        assert_eq!(lowest_free(), lowest);
        assert_eq!(can_open(5).unwrap_err().raw_os_error(), Some(libc::EMFILE));
        can_open(4).unwrap();
        drop(high);
        assert_eq!(open_descriptors(), before);
    }
}
