use super::*;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};

/// Longer than anything takes on a healthy machine.
const LIMIT: Span = Span::from_secs(60);

/// The whole chunk is written.
const ALL: io::Result<usize> = Ok(usize::MAX);

/// A disk that accepts one chunk each time that the test allows it, or as many bytes of it as the test sets.
struct Disk {
    asked: Sender<()>,
    allowed: Receiver<io::Result<usize>>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.send(()).unwrap();
        // After the end of the test all writes succeed.
        let length = self.allowed.recv().unwrap_or(ALL)?.min(bytes.len());
        self.taken.lock().unwrap().extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Test {
    beside: Beside,
    /// Receives when a write has begun.
    asked: Receiver<()>,
    allow: Sender<io::Result<usize>>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Test {
    fn new(capacity: usize, soft: usize) -> Test {
        let ((ask, asked), (allow, allowed)) = (mpsc::channel(), mpsc::channel());
        let taken = Arc::default();
        let disk = Disk { asked: ask, allowed, taken: Arc::clone(&taken) };
        let beside = Beside::new(Box::new(disk), Queue::new(capacity, "output"), soft);
        Test { beside, asked, allow, taken }
    }

    fn taken(&self) -> String {
        String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn a_disk_that_does_not_answer_holds_up_no_process_and_what_was_lost_is_told() {
    let test = Test::new(40, 1_000);
    test.beside.push(b"first\n");
    assert!(!test.beside.flush());
    test.asked.recv().unwrap();
    // The disk has the first line, and its write does not return.
    for number in 0..10 {
        test.beside.push(format!("line {number}\n").as_bytes());
        test.beside.flush();
    }
    assert_eq!(test.beside.lost(), crate::logs::Lost { lines: 6, bytes: 42 });
    test.beside.finish(Span::from_millis(1));
    assert_eq!(test.taken(), "");
    // A second `finish` does not wait at all.
    test.beside.finish(LIMIT);
    for _ in 0..3 {
        test.allow.send(ALL).unwrap();
    }
    test.beside.0.lock().given_up = false;
    test.beside.finish(LIMIT);
    let notice = "treevisor: … 6 lines (42 B) of output lost: the reader was too slow, or the disk full\n";
    assert_eq!(test.taken(), format!("first\nline 0\nline 1\nline 2\nline 3\n{notice}"));
}

#[test]
fn an_error_costs_lines_and_the_next_line_tries_again() {
    let test = Test::new(1_000, 1_000);
    test.beside.push(b"lost\n");
    test.allow.send(Err(ErrorKind::StorageFull.into())).unwrap();
    test.beside.finish(LIMIT);
    // No new line since then: the disk is not tried again.
    test.beside.flush();
    test.asked.recv().unwrap();
    assert!(test.asked.try_recv().is_err());
    test.beside.push(b"kept\n");
    test.allow.send(ALL).unwrap();
    test.beside.finish(LIMIT);
    let taken = test.taken();
    assert!(taken.starts_with("treevisor: … 1 line (5 B) of output lost") && taken.ends_with("\nkept\n"), "{taken}");
    test.beside.push(b"x\n");
    test.allow.send(Err(io::Error::from_raw_os_error(libc::EBADF))).unwrap();
    test.beside.finish(LIMIT);
    assert!(test.beside.is_gone());
}

#[test]
fn a_line_that_a_full_disk_has_torn_ends_before_the_notice() {
    for json in [false, true] {
        let test = Test::new(1_000, 1_000);
        test.beside.set_json(json);
        test.beside.push(b"whole\ntorn\n");
        let full = || Err(ErrorKind::StorageFull.into());
        for result in [Ok(8), full()] {
            test.allow.send(result).unwrap();
        }
        test.beside.finish(LIMIT);
        assert_eq!(test.taken(), "whole\nto");
        // The notice fails as well: the line still has no end.
        test.beside.push(b"lost\n");
        test.allow.send(full()).unwrap();
        test.beside.finish(LIMIT);
        // The program is replaced.
        let next = Test::new(1_000, 1_000);
        next.beside.set_json(json);
        next.beside.take_over(test.beside.unreported());
        next.taken.lock().unwrap().extend(test.taken().bytes());
        let lost = test.beside.lost();
        let test = next;
        test.beside.push(b"kept\n");
        test.allow.send(ALL).unwrap();
        test.beside.finish(LIMIT);
        let taken = test.taken();
        let lines: Vec<&str> = taken.lines().collect();
        assert!(matches!(lines[..], ["whole", "to", _, "kept"]), "{taken}");
        assert!(lines[2].contains("2 lines (8 B) of output lost"), "{taken}");
        assert_eq!(json, serde_json::from_str::<serde_json::Value>(lines[2]).is_ok());
        assert_eq!(lost, crate::logs::Lost { lines: 2, bytes: 8 });
    }
}

#[test]
fn workers_wait_for_a_disk_that_is_behind_and_the_bell_rings() {
    let test = Test::new(1_000, 10);
    let (ring, rung) = mpsc::channel();
    test.beside.rings(Box::new(move || {
        let _ = ring.send(());
    }));
    let began = now();
    test.beside.push(b"0123456789\n");
    test.beside.flush();
    test.asked.recv().unwrap();
    assert!(test.beside.0.lock().since >= began, "it counts from the push");
    // A time to come: otherwise a busy machine could let the patience pass before the test looks.
    test.beside.0.lock().since = now() + LIMIT;
    assert!(test.beside.must_rest());
    // No worker waits for a disk that is stuck.
    test.beside.0.lock().since = Time::ZERO;
    assert!(!test.beside.must_rest());
    test.beside.0.lock().since = now() + LIMIT;
    assert!(test.beside.must_rest());
    test.allow.send(ALL).unwrap();
    rung.recv().unwrap();
    test.beside.finish(LIMIT);
}

#[test]
fn a_thread_that_has_nothing_to_do_ends() {
    let test = Test::new(1_000, 10);
    for _ in 0..2 {
        test.beside.push(b"x\n");
        test.beside.flush();
        test.asked.recv().unwrap();
        // During a write: afterwards it ends soon.
        assert!(test.beside.0.lock().thread);
        test.allow.send(ALL).unwrap();
        test.beside.finish(LIMIT);
        while test.beside.0.lock().thread {
            std::thread::yield_now();
        }
    }
    assert_eq!(test.taken(), "x\nx\n");
}
