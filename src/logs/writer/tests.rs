use super::*;
use crate::logs::rotate::{SlowClose, SlowWrites};
use std::fs;
use std::io::Read;
use std::sync::mpsc;

/// Longer than anything takes that does not hang.
const PATIENT: Span = Span::from_secs(30);

fn print(file: &LogFile, line: &str) {
    file.batch(1).write_line(&Line::new(line.as_bytes()));
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = now();
    while !is_so() {
        assert!(now().since(began) < PATIENT, "not yet: {what}");
        clock::pause(Span::from_millis(5));
    }
}

/// Stands for a disk that does not answer: the thread that writes this file waits until the file is put back.
fn stuck(writer: &Writer, file: &LogFile) -> RotatingFile {
    let mut state = writer.lock();
    let entry = state.files.get_mut(&file.id).unwrap();
    entry.taken = true;
    entry.file.take().unwrap()
}

fn unstick(writer: &Writer, file: &LogFile, written: RotatingFile) {
    let mut state = writer.lock();
    let entry = state.files.get_mut(&file.id).unwrap();
    entry.file = Some(written);
    entry.taken = false;
    drop(state);
    file.change(|_| {});
}

#[test]
fn lines_of_many_turns_and_files_arrive_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::new();
    let files: Vec<_> = (0..5).map(|n| writer.file(&dir.path().join(n.to_string()), 1 << 20, 1, None)).collect();
    for line in 0..200 {
        files.iter().for_each(|file| print(file, &format!("line {line}")));
    }
    // No more lines follow, and the lines handed over before are still written.
    drop(files);
    assert!(writer.finish(PATIENT).is_none());
    let expected: String = (0..200).map(|line| format!("line {line}\n")).collect();
    (0..5).for_each(|n| assert_eq!(fs::read_to_string(dir.path().join(n.to_string())).unwrap(), expected));
    until("all are forgotten", || writer.lock().files.is_empty());
}

#[test]
fn a_disk_that_does_not_answer_costs_lines_and_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::new();
    let hung = writer.file(&dir.path().join("hung"), 1 << 24, 1, None);
    let well = writer.file(&dir.path().join("well"), 1 << 20, 1, None);
    let away = stuck(&writer, &hung);
    let line = "x".repeat(1_023);
    for _ in 0..(3 * FILE_HARD / 1_024) {
        print(&hung, &line);
    }
    print(&well, "fine");
    until("the other file", || fs::read_to_string(dir.path().join("well")).is_ok_and(|text| text == "fine\n"));
    let waiting = writer.lock().files[&hung.id].waiting.len();
    assert!(waiting <= FILE_HARD && waiting > FILE_HARD / 2, "{waiting}");
    let troubles = writer.heard();
    assert!(troubles.len() == 1 && troubles[0].contains("hung"), "{troubles:?}");
    let lost = writer.finish(Span::from_millis(50));
    assert!(lost.bytes as usize >= 2 * FILE_HARD, "{lost}");

    // The disk answers again: the queued lines are written, and then the notice of what is missing.
    unstick(&writer, &hung, away);
    assert!(writer.finish(PATIENT).is_none());
    print(&hung, "again");
    assert!(writer.finish(PATIENT).is_none());
    let text = fs::read_to_string(dir.path().join("hung")).unwrap();
    assert_eq!(text.lines().filter(|found| **found == line).count(), waiting / 1_024);
    let end: Vec<_> = text.lines().rev().take(2).collect();
    assert!(end[0] == "again" && end[1].ends_with("could not be written here"), "{end:?}");
}

#[test]
fn a_worker_waits_for_its_disk_but_not_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::new();
    let file = writer.file(&dir.path().join("log"), 1 << 24, 1, None);
    assert!(!file.must_rest());
    let away = stuck(&writer, &file);
    let waits_since = |time| writer.lock().files.get_mut(&file.id).unwrap().since = time;
    // A time to come: otherwise a busy machine could let the patience pass before the test looks.
    waits_since(now() + PATIENT);
    print(&file, &"x".repeat(FILE_SOFT));
    assert!(file.must_rest());
    waits_since(now());
    until("it is waited for no longer", || !file.must_rest());
    // When there is room again, the loop is woken.
    waits_since(now() + PATIENT);
    assert!(file.must_rest());
    unstick(&writer, &file, away);
    until("it is reported", || writer.0.wake.as_ref().is_some_and(|wake| wake.take()));
    assert!(writer.finish(PATIENT).is_none() && !file.must_rest());
}

#[test]
fn what_a_thread_writes_is_not_written_yet_and_each_part_of_it_is_progress() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let writer = Writer::new();
    let file = writer.file(&path, 1 << 24, 1, None);
    let ((begin, begun), (allow, go_on)) = (mpsc::channel(), mpsc::channel());
    let mut away = stuck(&writer, &file);
    away.slow = Some(SlowWrites { begun: begin, go_on });
    let line = "x".repeat(1_023);
    (0..128).for_each(|_| print(&file, &line));
    unstick(&writer, &file, away);
    begun.recv_timeout(PATIENT.as_duration()).unwrap();
    assert_eq!(writer.finish(Span::from_millis(1)), Lost { lines: 128, bytes: 128 << 10 });
    assert!(!writer.settle(Span::from_millis(1)));
    let since = || writer.lock().files[&file.id].since;
    let taken = since();
    clock::pause(Span::from_millis(1));
    allow.send(()).unwrap();
    begun.recv_timeout(PATIENT.as_duration()).unwrap();
    assert!(since() > taken, "its worker waits for it again");
    assert_eq!(writer.finish(Span::from_millis(1)), Lost { lines: 64, bytes: 64 << 10 });
    allow.send(()).unwrap();
    assert!(writer.settle(PATIENT) && writer.finish(Span::ZERO).is_none());
    assert_eq!(fs::metadata(&path).unwrap().len(), 128 << 10);
}

#[test]
fn a_thread_that_opens_or_closes_a_file_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::new();
    let file = writer.file(&dir.path().join("log"), 1 << 20, 1, None);
    print(&file, "one");
    assert!(writer.settle(PATIENT));
    // Nothing is to be written, but a thread has the file.
    let mut away = stuck(&writer, &file);
    assert!(!writer.settle(Span::from_millis(1)) && writer.finish(Span::from_millis(1)).is_none());
    let (close, closing) = mpsc::channel();
    away.closing = Some(SlowClose(closing));
    unstick(&writer, &file, away);
    drop(file);
    until("it is forgotten", || writer.lock().files.is_empty());
    assert!(!writer.settle(Span::from_millis(1)));
    drop(close);
    assert!(writer.settle(PATIENT));
}

#[test]
fn while_one_thread_is_stuck_another_one_writes() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let writer = Writer::new();
    // As if a thread had taken a file and did not return.
    {
        let mut state = writer.lock();
        state.threads = 1;
        state.progress = now();
    }
    let well = writer.file(&dir.path().join("well"), 1 << 20, 1, None);
    print(&well, "one");
    until("another thread", || {
        writer.look();
        fs::read_to_string(dir.path().join("well")).is_ok_and(|text| text == "one\n")
    });
    // On a busy machine the second one may have seemed stuck as well.
    assert!(writer.lock().threads >= 2);
    // A fifo whose reader has stopped is written until it is full.
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let file = writer.file(&fifo, 1 << 20, 1, None);
    let line = "y".repeat(1_023);
    (0..1_000).for_each(|_| print(&file, &line));
    assert!(writer.finish(PATIENT).is_none());
    assert!(writer.heard()[0].contains("fifo"));
    let mut first = [0; 1_024];
    reader.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"yyy") && first.ends_with(b"y\n"));
}

#[test]
fn what_one_image_has_lost_the_next_one_reports() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let writer = Writer::new();
    let file = writer.file(&path, 1 << 20, 1, None);
    print(&file, "one");
    assert!(writer.finish(PATIENT).is_none());
    let lost = file.unreported();
    assert_eq!(lost, Lost { lines: 1, bytes: 4 });
    fs::remove_file(&path).unwrap();
    fs::write(&path, "begun").unwrap();
    let next = Writer::new();
    let file = next.file(&path, 1 << 20, 1, None);
    file.go_on_within_line(1);
    file.take_over(lost);
    assert_eq!(file.unreported(), lost);
    let mut end = Line::new(b"two");
    end.continued = true;
    file.batch(1).write_line(&end);
    assert!(next.finish(PATIENT).is_none() && file.unreported().is_none());
    let notice = "treevisor: … 1 line (4 B) could not be written here";
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("begun\n{notice}\ntwo\n"));
}

#[test]
fn a_file_is_opened_anew_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let writer = Writer::new();
    let file = writer.file(&path, 1 << 20, 1, None);
    print(&file, "old");
    assert!(writer.finish(PATIENT).is_none());
    fs::rename(&path, dir.path().join("moved")).unwrap();
    file.reopen();
    print(&file, "new");
    assert!(writer.finish(PATIENT).is_none());
    assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
}

#[test]
fn no_line_goes_on_in_the_line_of_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let writer = Writer::new();
    let file = writer.file(&path, 1 << 20, 1, None);
    let written = |incarnation, pieces: &[(&str, bool, bool)]| {
        for (text, continued, cut) in pieces {
            let mut line = Line::new(text.as_bytes());
            (line.continued, line.cut) = (*continued, *cut);
            file.batch(incarnation).write_line(&line);
        }
        assert!(writer.finish(PATIENT).is_none());
        fs::read_to_string(&path).unwrap()
    };
    assert_eq!(written(1, &[("ready", false, true), ("> ", true, true)]), "ready> ");
    assert_eq!(written(2, &[("boot", false, false)]), "ready> \nboot\n");
    assert_eq!(written(1, &[("yes", true, false)]), "ready> \nboot\nyes\n");
    // The output of a command about a process comes while a line of that process has not ended.
    fs::write(&path, "").unwrap();
    assert_eq!(written(2, &[("wait", false, true), ("trace", false, false), ("", true, false)]), "wait\ntrace\n");
    assert_eq!(
        written(2, &[("on", false, true), ("e", true, false), ("two", false, false)]),
        "wait\ntrace\none\ntwo\n"
    );
    // After an upgrade.
    fs::write(&path, "on").unwrap();
    let file = writer.file(&path, 1 << 20, 1, None);
    file.go_on_within_line(2);
    let mut end = Line::new(b"e");
    end.continued = true;
    file.batch(2).write_line(&end);
    assert!(writer.finish(PATIENT).is_none());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    // After a reload with other settings.
    let begin = |file: &LogFile| {
        let mut begun = Line::new(b"tw");
        begun.cut = true;
        file.batch(2).write_line(&begun);
    };
    begin(&file);
    let [same, other] = [path.clone(), dir.path().join("other")].map(|path| writer.file(&path, 1 << 21, 1, None));
    for log in [&same, &other] {
        log.succeeds(&file);
        let mut end = Line::new(b"o");
        end.continued = true;
        log.batch(2).write_line(&end);
    }
    drop(file);
    assert!(writer.finish(PATIENT).is_none());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    assert_eq!(fs::read_to_string(dir.path().join("other")).unwrap(), "o\n");
}

#[test]
fn a_file_that_takes_long_to_close_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    for waits in [false, true] {
        let writer = Writer::new();
        let [slow, other] = ["slow", "other"].map(|name| writer.file(&dir.path().join(name), 1 << 20, 1, None));
        print(&slow, "one");
        assert!(writer.finish(PATIENT).is_none());
        let (close, closing) = mpsc::channel();
        let mut file = stuck(&writer, &slow);
        file.closing = Some(SlowClose(closing));
        if waits {
            // It is removed while a thread has it.
            let id = slow.id;
            drop(slow);
            let mut state = writer.lock();
            let entry = state.files.get_mut(&id).unwrap();
            (entry.file, entry.waiting) = (Some(file), b"two\n".to_vec());
            state.waiting += 4;
            state.ready.push_back(id);
        } else {
            unstick(&writer, &slow, file);
            drop(slow);
        }
        until("the other file is written", || {
            print(&other, "fine");
            writer.look();
            fs::read_to_string(dir.path().join("other")).is_ok_and(|text| text.ends_with("fine\n"))
        });
        until("it is forgotten", || writer.lock().files.len() == 1);
        drop(close);
        fs::remove_file(dir.path().join("other")).unwrap();
    }
}
