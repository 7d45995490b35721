use super::super::testing::PATIENCE;
use super::*;
use crate::os::clock::Clock;
use crate::os::fd;
use crate::time::Time;

fn tags(poller: &mut Poller, limit: Option<Span>) -> Vec<Tag> {
    let mut ready = vec![Ready { tag: Tag(0) }];
    poller.wait(limit, &mut ready).unwrap();
    ready.into_iter().map(|ready| ready.tag).collect()
}

#[test]
fn a_wait_is_rounded_up_by_less_than_a_tick() {
    let millis = |span| i32::from(rounded_up(Some(span)));
    assert_eq!(millis(Span::ZERO), 0);
    assert_eq!(millis(Span::from_nanos(1)), 1);
    assert_eq!(millis(Span::from_nanos(999_999)), 1);
    assert_eq!(millis(Span::from_millis(1)), 1);
    assert_eq!(millis(Span::from_nanos(1_000_001)), 2);
    assert_eq!(millis(Span::from_secs(60)), 60_000);
    assert_eq!(millis(Span::MAX), i32::MAX);
    assert_eq!(i32::from(rounded_up(None)), -1);
}

#[test]
fn a_deadline_is_due_when_it_is_woken_for() {
    let (mut poller, clock) = (Poller::new().unwrap(), Clock::start());
    for micros in [1, 300, 999, 1_000, 1_001, 2_500, 7_777] {
        let deadline = clock.now() + Span::from_micros(micros);
        assert_eq!(tags(&mut poller, Some(deadline.since(clock.now()))), []);
        assert!(clock.now() >= deadline, "too early for {micros} us: the loop would spin");
    }
    assert!(clock.now() > Time::ZERO);
}

#[test]
fn tags_are_never_used_again() {
    let mut poller = Poller::new().unwrap();
    let (reader, writer) = fd::pipe().unwrap();
    let first = poller.next_tag();
    poller.add(reader.as_raw_fd(), first, Interest::READ).unwrap();
    assert_eq!(tags(&mut poller, Some(Span::ZERO)), []);
    nix::unistd::write(&writer, b"x").unwrap();
    assert_eq!(tags(&mut poller, Some(PATIENCE)), [first]);
    // Level-triggered: it stays ready until it is read.
    assert_eq!(tags(&mut poller, None), [first]);
    poller.remove(reader.as_raw_fd()).unwrap();
    assert_eq!(tags(&mut poller, Some(Span::ZERO)), []);

    let second = poller.next_tag();
    assert_ne!(first, second);
    poller.add(writer.as_raw_fd(), second, Interest::WRITE).unwrap();
    assert_eq!(tags(&mut poller, Some(PATIENCE)), [second]);
}

#[test]
fn what_cannot_be_watched_is_said() {
    let mut poller = Poller::new().unwrap();
    let (reader, _writer) = fd::pipe().unwrap();
    let tag = poller.next_tag();
    let error = poller.add(-1, tag, Interest::READ).unwrap_err();
    assert_eq!((error.cause, error.to_string()), (nix::errno::Errno::EBADF, "cannot watch a descriptor".into()));
    poller.add(reader.as_raw_fd(), tag, Interest::READ).unwrap();
    assert_eq!(poller.add(reader.as_raw_fd(), tag, Interest::READ).unwrap_err().cause, nix::errno::Errno::EEXIST);
    poller.remove(reader.as_raw_fd()).unwrap();
    assert_eq!(poller.remove(reader.as_raw_fd()).unwrap_err().cause, nix::errno::Errno::ENOENT);
}

#[test]
fn more_than_a_buffer_full_comes_in_several_turns() {
    let mut poller = Poller::new().unwrap();
    let (reader, writer) = fd::pipe().unwrap();
    nix::unistd::write(&writer, b"x").unwrap();
    let copies: Vec<_> = (0..300).map(|_| reader.try_clone().unwrap()).collect();
    for copy in &copies {
        let tag = poller.next_tag();
        poller.add(copy.as_raw_fd(), tag, Interest::READ).unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        seen.extend(tags(&mut poller, Some(PATIENCE)));
    }
    assert_eq!(seen.len(), copies.len());
}
