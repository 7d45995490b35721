//! Log files of workers.

use super::*;

fn write_lines(file: &mut RotatingFile, lines: &[&str]) {
    let mut text = Vec::new();
    lines.iter().for_each(|line| RotatingFile::lay_out(&Line::new(line.as_bytes()), &mut text));
    file.write(&text);
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_file_is_rotated_by_size_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.log");
    let mut file = RotatingFile::new(&path, 5_000, 2);
    let line = "x".repeat(99);
    // 20,000 bytes, in turns of 100 and of 10,000.
    for _ in 0..100 {
        write_lines(&mut file, &[&line]);
    }
    write_lines(&mut file, &vec![line.as_str(); 100]);
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["api.log", "api.log.1", "api.log.2"]);
    for name in names() {
        let text = read(&dir.path().join(&name));
        assert_eq!(text.len(), 5_000, "{name}");
        assert!(text.lines().all(|l| l == line), "{name}");
    }
    assert!(file.lost().is_none());

    // A new process continues the existing file, and one line may be longer than the size limit.
    let mut file = RotatingFile::new(&path, 5_000, 2);
    let long = "y".repeat(6_000);
    write_lines(&mut file, &["first", &long, "last"]);
    assert_eq!(read(&path), "last\n");
    assert_eq!(read(&dir.path().join("api.log.1")), format!("{long}\n"));
    assert_eq!(read(&dir.path().join("api.log.2")), "first\n");
}

#[test]
fn with_nothing_to_keep_a_file_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut file = RotatingFile::new(&path, 0, 0);
    let line = "x".repeat(1_023);
    for _ in 0..6 {
        write_lines(&mut file, &[&line]);
    }
    assert_eq!(read(&path).len(), 2 * 1_024);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_long_line_is_whole_again_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut file = RotatingFile::new(&path, 1 << 20, 1);
    let (reader, mut writer) = output_pipe();
    let mut capture = Capture::new(reader);
    let long = "ü".repeat(10_000);
    write!(writer, "{long}\nshort\n").unwrap();
    // In turns that cut the output at any position.
    let mut write = |line: Line<'_>| {
        let mut text = Vec::new();
        RotatingFile::lay_out(&line, &mut text);
        file.write(&text);
    };
    while capture.read_some(seconds(1), 5_000, &mut write) == Progress::MoreWaiting {}
    assert_eq!(read(&path), format!("{long}\nshort\n"));
}

#[test]
fn our_own_words_do_not_go_into_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut file = RotatingFile::new(&path, 1 << 20, 1);
    let mut text = Vec::new();
    RotatingFile::lay_out(&Line::new(b"notice").only_for(Audience::Display), &mut text);
    RotatingFile::lay_out(&Line::new(b"hidden").only_for(Audience::Record), &mut text);
    file.write(&text);
    assert_eq!(read(&path), "hidden\n");
}

#[test]
fn a_missing_directory_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs/of/api.log");
    write_lines(&mut RotatingFile::new(&path, 1 << 20, 1), &["one"]);
    assert_eq!(read(&path), "one\n");
}

#[test]
fn a_directory_that_cannot_be_made_costs_lines_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later/log");
    fs::write(dir.path().join("later"), "a file in its place").unwrap();
    let mut file = RotatingFile::new(&path, 1 << 20, 1);
    write_lines(&mut file, &["one", "two"]);
    let trouble = file.take_trouble().unwrap();
    assert!(trouble.contains("later/log") && trouble.contains("Not a directory"), "{trouble}");
    write_lines(&mut file, &["three"]);
    assert_eq!(file.take_trouble(), None, "the same trouble is reported once");
    assert_eq!(file.lost().lines, 3);

    fs::remove_file(dir.path().join("later")).unwrap();
    write_lines(&mut file, &["four"]);
    assert_eq!(read(&path), "treevisor: … 3 lines (14 B) could not be written here\nfour\n");

    // A new failure is reported again.
    fs::remove_dir_all(dir.path().join("later")).unwrap();
    fs::write(dir.path().join("later"), "again").unwrap();
    file.reopen();
    write_lines(&mut file, &["five"]);
    assert!(file.take_trouble().is_some());
}

#[test]
fn what_is_no_directory_is_survived_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plain"), "").unwrap();
    let mut file = RotatingFile::new(&dir.path().join("plain/log"), 1 << 20, 1);
    write_lines(&mut file, &["x"]);
    assert!(file.take_trouble().unwrap().contains("Not a directory"));
}

#[test]
fn a_full_disk_is_survived() {
    let mut file = RotatingFile::new(Path::new("/dev/full"), 1 << 20, 1);
    for _ in 0..3 {
        write_lines(&mut file, &["x", "y"]);
    }
    assert_eq!(file.lost(), Lost { lines: 6, bytes: 12 });
    assert!(file.take_trouble().unwrap().contains("No space left"));
}

#[test]
fn a_rotation_that_is_impossible_costs_lines_and_leaves_the_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    // A directory that is not empty has the name of the rotated file.
    fs::create_dir_all(dir.path().join("log.1/x")).unwrap();
    let mut file = RotatingFile::new(&path, 4_096, 1);
    let line = "x".repeat(3_000);
    write_lines(&mut file, &[&line, &line]);
    assert_eq!(file.lost().lines, 1);
    assert_eq!(read(&path).len(), 3_001);
    fs::remove_dir_all(dir.path().join("log.1")).unwrap();
    write_lines(&mut file, &[&line]);
    assert!(read(&path).starts_with("treevisor: … 1 line ("));
    assert_eq!(read(&dir.path().join("log.1")).len(), 3_001);
}

#[test]
fn a_file_that_was_moved_away_needs_no_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = "x".repeat(3_000);
    for keep in [0, 2] {
        let mut file = RotatingFile::new(&path, 4_096, keep);
        write_lines(&mut file, &[&line]);
        fs::rename(&path, dir.path().join("moved")).unwrap();
        write_lines(&mut file, &[&line]);
        assert!(file.lost().is_none() && file.take_trouble().is_none(), "{keep}");
        assert_eq!(read(&path).len(), 3_001);
        // Another process has made a new file already, in which there is room.
        fs::rename(&path, dir.path().join("moved")).unwrap();
        fs::write(&path, "new\n").unwrap();
        write_lines(&mut file, &[&line]);
        assert_eq!((read(&path).len(), file.lost()), (3_005, Lost::default()));
        assert!(!dir.path().join("log.1").exists());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_fifo_is_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut file = RotatingFile::new(&path, 4_096, 1);
    // The fifo has no reader.
    write_lines(&mut file, &["lost"]);
    assert_eq!(file.lost().lines, 1);
    // The fifo has a slow reader: what fits into the pipe is read, the rest is lost; it is not rotated.
    let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let line = "x".repeat(999);
    for _ in 0..20 {
        write_lines(&mut file, &[line.as_str(); 10]);
    }
    assert!(file.lost().lines > 50);
    let first = String::from_utf8(drain(&mut reader)).unwrap();
    write_lines(&mut file, &["again"]);
    let second = String::from_utf8(drain(&mut reader)).unwrap();
    assert!(first.starts_with("treevisor: … 1 line (5 B) could not be written here\nxxx"));
    assert!(second.trim_start().starts_with("treevisor: … ") && second.ends_with("\nagain\n"), "{second:?}");
    assert_eq!(first.ends_with('\n'), !second.starts_with('\n'), "a torn line is ended");
    // The reader has closed the fifo.
    drop(reader);
    write_lines(&mut file, &["x"]);
    assert!(fs::metadata(dir.path().join("fifo.1")).is_err());
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut file = RotatingFile::new(&path, 1 << 20, 1);
    write_lines(&mut file, &["old"]);
    fs::rename(&path, dir.path().join("moved")).unwrap();
    write_lines(&mut file, &["still old"]);
    file.reopen();
    write_lines(&mut file, &["new"]);
    assert_eq!(read(&dir.path().join("moved")), "old\nstill old\n");
    assert_eq!(read(&path), "new\n");
}

#[test]
fn a_line_that_an_earlier_run_has_left_unfinished_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for (before, after) in [("ready> ", "ready> \nboot\n"), ("whole\n", "whole\nboot\n"), ("", "boot\n")] {
        fs::write(&path, before).unwrap();
        write_lines(&mut RotatingFile::new(&path, 1 << 20, 1), &["boot"]);
        assert_eq!(read(&path), after);
    }
    // After an upgrade the line goes on. Its end is written in pieces, and the file may be opened anew.
    fs::write(&path, "ready> ").unwrap();
    let mut file = RotatingFile::new(&path, 1 << 20, 1);
    file.go_on_within_line();
    file.write(b"ye");
    file.reopen();
    write_lines(&mut file, &["s"]);
    assert_eq!(read(&path), "ready> yes\n");
}

#[test]
fn a_file_that_others_cut_is_as_large_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut file = RotatingFile::new(&path, 5_000, 1);
    let line = "x".repeat(999);
    write_lines(&mut file, &[line.as_str(); 4]);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    write_lines(&mut file, &[line.as_str(); 4]);
    assert_eq!(read(&path).len(), 4_000, "neither a hole nor a rotation");
    assert!(!dir.path().join("log.1").exists());
}

#[test]
fn a_file_that_others_remove_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs/log");
    let mut file = RotatingFile::new(&path, 1 << 20, 1);
    write_lines(&mut file, &["one"]);
    fs::remove_file(&path).unwrap();
    write_lines(&mut file, &["two"]);
    assert_eq!(read(&path), "two\n");
    fs::remove_dir_all(dir.path().join("logs")).unwrap();
    write_lines(&mut file, &["three"]);
    assert_eq!(read(&path), "three\n");
    // A file that was moved is written for a moment only.
    fs::rename(&path, dir.path().join("logs/moved")).unwrap();
    let mut turns = 0;
    while !path.exists() {
        write_lines(&mut file, &["four"]);
        crate::os::clock::pause(Span::from_millis(20));
        turns += 1;
        assert!(turns < 1_000, "it is never opened anew");
    }
    assert!(file.lost().is_none());
}

#[test]
fn a_file_of_two_writers_is_written_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut first = RotatingFile::new(&path, 1 << 20, 1);
    write_lines(&mut first, &["one"]);
    let mut second = RotatingFile::new(&path, 1 << 20, 1);
    write_lines(&mut second, &["two"]);
    assert_eq!(second.take_trouble(), None, "the first may be about to end");
    let trouble = (0..1_000).find_map(|_| {
        crate::os::clock::pause(Span::from_millis(20));
        write_lines(&mut second, &["two"]);
        second.take_trouble()
    });
    assert!(trouble.is_some_and(|trouble| trouble.contains("another instance")));
    assert_eq!(second.take_trouble(), None, "it is reported once");
    assert_eq!(first.take_trouble(), None);
    assert!(second.lost().is_none());

    drop(first);
    write_lines(&mut second, &["alone"]);
    let mut third = RotatingFile::new(&path, 1 << 20, 1);
    write_lines(&mut third, &["three"]);
    drop(second);
    write_lines(&mut third, &["four"]);
    assert_eq!(third.take_trouble(), None);
}

#[test]
fn a_link_stays_where_it_is_and_what_it_leads_to_is_rotated() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    std::os::unix::fs::symlink("disk/w.log", dir.path().join("w.log")).unwrap();
    let path = dir.path().join("w.log");
    let mut file = RotatingFile::new(&path, 5_000, 2);
    let line = "x".repeat(999);
    (0..12).for_each(|_| write_lines(&mut file, &[&line]));
    assert!(path.is_symlink());
    let mut names: Vec<_> = fs::read_dir(dir.path().join("disk")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["w.log", "w.log.1", "w.log.2"]);
    let past = super::past::last_lines(&path, 2, None).unwrap();
    assert_eq!(past.len(), 12, "and is found behind it");
}
