use super::*;
use crate::os::{fd, lock};
use crate::wire::journal::RunNote;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

fn run(id: &str) -> Note {
    Note::Run(RunNote {
        at: String::new(),
        run: id.into(),
        instance: "shop".into(),
        version: String::new(),
        pid: 1,
        boot: String::new(),
        config: String::new(),
    })
}

fn record(directory: &std::path::Path, max_size: u64, keep: u32) -> JournalRecord {
    JournalRecord { directory: directory.to_owned(), max_size, keep, run: run("1") }
}

fn line(number: u32) -> Vec<u8> {
    format!("{{\"id\":\"00000001-{number}\",\"at\":\"\",\"path\":\"/\",\"kind\":\"ready\",\"pid\":null,\"incarnation\":null,\"cause\":null}}\n")
        .into_bytes()
}

/// All lines of all files: numbers of events, text for notes, `?` for what cannot be read.
fn told(directory: &std::path::Path) -> String {
    let mut words = Vec::new();
    for segment in StateDir::at(directory).segments().unwrap() {
        for line in fs::read(segment.path).unwrap().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            words.push(match parse(line) {
                Some(Line::Event(event)) => event.id.seq.to_string(),
                Some(Line::Note(Note::Run(run))) => format!("run-{}", run.run),
                Some(Line::Note(Note::Lost { events, .. })) => format!("lost-{events}"),
                Some(Line::Note(Note::End(_))) => "end".into(),
                Some(Line::Note(Note::Holds { at, .. })) => format!("holds-{at}"),
                None => "?".into(),
            });
        }
    }
    words.join(" ")
}

#[test]
fn a_fifo_or_a_directory_in_the_place_of_the_last_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |number| StateDir::at(dir.path()).segment(number).path;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&at(1), mode).unwrap();
    assert_eq!(Segments::new(&record(dir.path(), 10_000, 9)).write(&line(1)), None);
    fs::create_dir(at(3)).unwrap();
    assert_eq!(Segments::new(&record(dir.path(), 10_000, 9)).write(&line(2)), None);
    for (number, written) in [(2, line(1)), (4, line(2))] {
        assert!(fs::read(at(number)).unwrap().ends_with(&written), "{number}");
    }
}

#[test]
fn files_follow_one_another_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let size = (run("1").to_line().len() + 2 * line(10).len()) as u64;
    let mut segments = Segments::new(&record(dir.path(), size, 2));
    for number in 10..20 {
        assert_eq!(segments.write(&line(number)), None);
    }
    assert_eq!(told(dir.path()), "run-1 14 15 run-1 16 17 run-1 18 19");
    for segment in StateDir::at(dir.path()).segments().unwrap() {
        assert!(fs::metadata(segment.path).unwrap().len() <= size);
    }
    // A line that is longer than a file may be is written all the same: it is the newest.
    let long = [line(20), line(21), line(22)].concat();
    assert_eq!(segments.write(&long), None);
    assert_eq!(told(dir.path()), "run-1 16 17 run-1 18 19 run-1 20 21 22");
}

#[test]
fn what_is_held_stands_in_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let holds = |at: &str| Note::Holds { at: at.into(), holds: Vec::new() }.to_line();
    assert!(holds("1").starts_with(HOLDS));
    let size = (run("1").to_line().len() + holds("1").len() + line(10).len()) as u64;
    let mut segments = Segments::new(&record(dir.path(), size, 9));
    segments.write(&[holds("1"), line(10), holds("2")].concat());
    for number in 11..13 {
        segments.write(&line(number));
    }
    assert_eq!(told(dir.path()), "run-1 holds-1 10 holds-2 run-1 holds-2 11 run-1 holds-2 12");
}

#[test]
fn another_writer_goes_on_behind_a_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    let record = record(dir.path(), 1 << 20, 2);
    Segments::new(&record).write(&line(1));
    let [first] = StateDir::at(dir.path()).segments().unwrap().try_into().unwrap();
    OpenOptions::new().append(true).open(&first.path).unwrap().write_all(b"{\"id\":\"0000").unwrap();
    let mut next = Segments::new(&JournalRecord { run: run("2"), ..record });
    next.lose(1);
    assert_eq!(next.write(&line(2)), None);
    assert_eq!(told(dir.path()), "run-1 1 ? run-2 lost-1 2");
}

#[test]
fn a_full_disk_costs_lines_and_the_gap_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let mut segments = Segments::new(&record(dir.path(), 1 << 20, 5));
    segments.write(&line(1));
    // Every write to `/dev/full` fails with ENOSPC.
    std::os::unix::fs::symlink("/dev/full", state.segment(2).path).unwrap();
    segments.open = None;
    assert!(matches!(segments.write(&line(2)), Some(Change::Stopped(why)) if why.contains("No space left")));
    assert_eq!(segments.write(&[line(3), line(4)].concat()), None, "it is reported once");
    fs::remove_file(state.segment(2).path).unwrap();
    assert_eq!(segments.write(&line(5)), Some(Change::WorksAgain(3)));
    assert_eq!(told(dir.path()), "run-1 1 run-1 lost-3 5");
}

#[test]
fn the_next_keeper_goes_on_with_the_number_of_lost_events() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let record = record(dir.path(), 1 << 20, 5);
    let count = File::from(fd::memfd_with("test", b"").unwrap());
    let keeper = || {
        let mut segments = Segments::new(&record);
        segments.count_in(count.try_clone().unwrap());
        segments
    };
    std::os::unix::fs::symlink("/dev/full", state.segment(1).path).unwrap();
    let lost = Note::Lost { at: String::new(), events: 5_000, why: String::new() }.to_line();
    assert!(matches!(keeper().write(&[lost, line(1)].concat()), Some(Change::Stopped(_))));
    keeper().lose(1);
    fs::remove_file(state.segment(1).path).unwrap();
    let mut segments = keeper();
    assert_eq!(segments.write(&line(2)), None);
    segments.write(&line(3));
    keeper().write(&line(4));
    assert_eq!(told(dir.path()), "run-1 lost-5002 2 3 run-1 4");
}

#[test]
fn holds_that_a_full_disk_has_cost_are_written_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let holds = |at: &str| Note::Holds { at: at.into(), holds: Vec::new() }.to_line();
    let mut segments = Segments::new(&record(dir.path(), 1 << 20, 5));
    segments.write(&line(1));
    std::os::unix::fs::symlink("/dev/full", state.segment(2).path).unwrap();
    segments.open = None;
    assert!(matches!(segments.write(&[holds("1"), line(2)].concat()), Some(Change::Stopped(_))));
    assert_eq!(segments.write(&holds("2")), None);
    fs::remove_file(state.segment(2).path).unwrap();
    assert_eq!(segments.write(&line(3)), Some(Change::WorksAgain(1)));
    assert_eq!(told(dir.path()), "run-1 1 run-1 holds-2 lost-1 3");
}

#[test]
fn a_head_that_no_line_follows_is_cut_off_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut segments = Segments::new(&record(dir.path(), 1 << 20, 5));
    segments.write(&line(1));
    // The file is opened anew, as after a write that has failed. The head still fits, the line does not.
    segments.open = None;
    segments.open_for(0).unwrap();
    let open = segments.open.as_mut().unwrap();
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut full = File::from(memfd_create("full", flags).unwrap());
    full.write_all(&fs::read(&open.segment.path).unwrap()).unwrap();
    fcntl(&full, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).unwrap();
    open.file = full.try_clone().unwrap();
    assert!(open.append(&[&line(2)]).is_err());
    let whole = [run("1").to_line(), line(1)].concat();
    assert_eq!(full.metadata().unwrap().len(), whole.len() as u64);
}

#[test]
fn room_is_made_by_what_is_oldest_though_not_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let mut segments = Segments::new(&record(dir.path(), 1 << 20, 5));
    for number in 1..5 {
        fs::write(state.segment(number).path, line(number as u32)).unwrap();
    }
    std::os::unix::fs::symlink("/dev/full", state.segment(5).path).unwrap();
    assert!(matches!(segments.write(&line(9)), Some(Change::Stopped(_))));
    let left: Vec<u64> = state.segments().unwrap().iter().map(|segment| segment.number).collect();
    assert_eq!(left, [4, 5]);
}

#[test]
fn a_directory_that_is_removed_meanwhile_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("shop");
    let state = StateDir::at(&at);
    state.create().unwrap();
    let roots = LockFile::acquire(&state.lock_file()).unwrap();
    let mut segments = Segments::new(&record(&at, 1 << 20, 5));
    segments.write(&line(1));
    assert!(segments.lock.is_none(), "the root has it");
    fs::remove_dir_all(&at).unwrap();
    segments.write(&line(2));
    assert_eq!(told(&at), "run-1 2");
    assert!(!roots.is_at(&state.lock_file()) && lock::is_held(&state.lock_file()), "no other root can take it");
    segments.unlock();
    assert!(!lock::is_held(&state.lock_file()));
}

#[test]
fn a_file_that_is_moved_away_meanwhile_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let holds = Note::Holds { at: "1".into(), holds: Vec::new() }.to_line();
    let mut segments = Segments::new(&record(dir.path(), 1 << 20, 5));
    segments.write(&[&holds[..], &line(1)].concat());
    let path = StateDir::at(dir.path()).segment(1).path;
    let away = path.with_extension("jsonl.1");
    // As logrotate does it, without and with `create`.
    for (number, create) in [(2, false), (3, true)] {
        fs::rename(&path, &away).unwrap();
        let before = fs::read(&away).unwrap();
        if create {
            fs::write(&path, "").unwrap();
        }
        assert_eq!(segments.write(&line(number)), None);
        assert_eq!(told(dir.path()), format!("run-1 holds-1 {number}"));
        assert_eq!(fs::read(&away).unwrap(), before);
    }
}

#[test]
fn a_file_that_is_emptied_meanwhile_gets_its_head_again() {
    let dir = tempfile::tempdir().unwrap();
    let holds = Note::Holds { at: "1".into(), holds: Vec::new() }.to_line();
    let mut segments = Segments::new(&record(dir.path(), 1 << 20, 5));
    segments.write(&[&holds[..], &line(1)].concat());
    let path = StateDir::at(dir.path()).segment(1).path;
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert_eq!(segments.write(&line(2)), None);
    assert_eq!(told(dir.path()), "run-1 holds-1 2");
    let open = segments.open.as_ref().unwrap();
    assert_eq!((open.size, open.kept), (fs::metadata(&path).unwrap().len(), open.size));
}
