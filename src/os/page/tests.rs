use super::super::testing::{PATIENCE, fork};
use super::*;
use crate::os::clock;
use crate::os::fd;

fn at(boottime: u64, raw: u64) -> LeaseTime {
    LeaseTime { boottime: Time::from_nanos(boottime), raw: Time::from_nanos(raw) }
}

fn maps(file: BorrowedFd<'_>, protection: i32) -> io::Result<Words> {
    Words::map(file, SealFlag::empty(), protection)
}

#[test]
fn a_deadline_passes_with_the_first_of_its_clocks() {
    let deadline = Deadline(at(100, 1000));
    for (now, left) in [(at(0, 0), 100), (at(0, 950), 50), (at(99, 999), 1), (at(100, 0), 0), (at(0, 1000), 0)] {
        assert_eq!(deadline.left(now), Span::from_nanos(left), "{now:?}");
        assert_eq!(deadline.passed(now), left == 0, "{now:?}");
        assert_eq!(deadline.on_boottime(now), now.boottime + Span::from_nanos(left), "{now:?}");
    }
    assert!(Deadline::default().passed(at(0, 0)), "none is one that has passed");
}

#[test]
fn a_torn_deadline_is_early() {
    let (old, new) = (Deadline(at(100, 200)), Deadline(at(150, 260)));
    for torn in [Deadline(at(150, 200)), Deadline(at(100, 260))] {
        for now in [at(0, 0), at(100, 190), at(120, 200), at(149, 259)] {
            assert!(torn.left(now) <= new.left(now), "{torn:?} at {now:?}");
        }
        // When a deadline is withdrawn, it has passed as soon as one number is written.
        for torn in [Deadline(at(0, 200)), Deadline(at(100, 0))] {
            assert!(torn.passed(at(1, 1)), "{torn:?} of {old:?}");
        }
    }
}

#[test]
fn what_is_written_is_read_in_another_process() {
    let page = LeasePage::new().unwrap();
    let view = LeaseView::of(page.fd()).unwrap();
    assert!(view.deadline().passed(clock::both()));
    let (reader, writer) = fd::pipe().unwrap();
    let lease = Deadline(at(7_000_000_000, 6_000_000_000));
    page.set(lease);
    page.poke(42);
    let file = page.fd();
    let child = fork(move || {
        let view = LeaseView::of(file).unwrap();
        let seen = (view.deadline(), view.poke()) == (lease, 42);
        nix::unistd::write(&writer, if seen { b"y" } else { b"n" }).unwrap();
    });
    let mut said = [0];
    assert!(fd::wait_readable_any(&[reader.as_fd()], Some(PATIENCE)).unwrap());
    nix::unistd::read(&reader, &mut said).unwrap();
    assert_eq!(&said, b"y");
    assert!(child.wait_exit(PATIENCE));
}

#[test]
fn no_reader_can_write() {
    let page = LeasePage::new().unwrap();
    let refused = |result: io::Result<Words>| result.err().and_then(|error| error.raw_os_error());
    assert_eq!(refused(maps(page.fd(), libc::PROT_READ | libc::PROT_WRITE)), Some(libc::EPERM));
    assert_eq!(nix::unistd::write(page.fd(), b"later").unwrap_err(), nix::errno::Errno::EPERM);
    assert!(ftruncate(page.fd(), 0).is_err() && ftruncate(page.fd(), 1 << 20).is_err());
    // Opened again through /proc it is the same file.
    let path = format!("/proc/self/fd/{}", page.fd().as_raw_fd());
    let anew = std::fs::File::options().read(true).write(true).open(path).unwrap();
    assert_eq!(refused(maps(anew.as_fd(), libc::PROT_READ | libc::PROT_WRITE)), Some(libc::EPERM));
    // A read-only mapping cannot be made writable.
    let view = LeaseView::of(page.fd()).unwrap();
    // SAFETY: our own mapping; nothing is written there.
    let changed = unsafe { libc::mprotect(view.0.0.as_ptr().cast(), SIZE, libc::PROT_READ | libc::PROT_WRITE) };
    assert_eq!((changed, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EACCES)));
    // The writer can still write.
    page.poke(5);
    assert_eq!(view.poke(), 5);
}

#[test]
fn the_fence_has_a_page_of_its_own_with_one_writer() {
    let file = blank_answer().unwrap();
    let view = AnswerView::of(&file).unwrap();
    assert_eq!((view.answer(), view.clearings()), (0, 0));
    let page = AnswerPage::of(file.try_clone().unwrap()).unwrap();
    page.answer(9);
    page.cleared(Span::from_micros(7));
    page.cleared(Span::from_micros(8));
    assert_eq!((view.answer(), view.clearings(), view.late()), (9, 2, Span::from_micros(8)));
    assert!(AnswerPage::of(file).is_err(), "a second writer");
}

#[test]
fn what_is_no_page_is_refused() {
    let message = |file: OwnedFd| LeaseView::of(file).unwrap_err().to_string();
    assert!(message(fd::pipe().unwrap().0).contains("no file in memory"));
    assert!(message(fd::memfd_with("test", &[0; SIZE]).unwrap()).contains("not sealed"));
    assert!(message(blank_answer().unwrap()).contains("not sealed"), "it has no writer yet");
    let short = memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    fcntl(&short, FcntlArg::F_ADD_SEALS(fixed() | SealFlag::F_SEAL_FUTURE_WRITE)).unwrap();
    assert!(message(short).contains("size"));
}
