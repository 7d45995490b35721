//! Tests of this room with real pipes, terminals, files and a full disk. No test waits: if the code under test blocked,
//! the test would hang, and so would show it.

mod files;

use super::capture::{Capture, Progress, SHOWN_BYTES_PER_SECOND, SHOWN_LINES_PER_SECOND};
use super::console::Console;
use super::lines::{Audience, LINE_MAX};
use super::outlet::Outlet;
use super::ring::Speaker;
use super::rotate::RotatingFile;
use super::*;
use crate::time::{Span, Time};
use std::fs::{self, File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A pipe with a non-blocking read end, like those of `os::fd::output_pipe`.
fn output_pipe() -> (OwnedFd, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (nonblocking(reader).into(), writer)
}

fn nonblocking(reader: PipeReader) -> File {
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

/// Reads everything that is in the pipe now.
fn drain(reader: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

#[derive(Default)]
struct Seen {
    shown: Vec<String>,
    recorded: usize,
    recorded_bytes: usize,
}

impl Seen {
    fn take(&mut self, line: Line<'_>) {
        if line.is_shown() {
            self.shown.push(crate::text::printable(line.bytes()));
        }
        if line.is_recorded() {
            self.recorded += 1;
            self.recorded_bytes += line.bytes().len();
        }
    }
}

fn seconds(n: u64) -> Time {
    Time::ZERO + Span::from_secs(n)
}

#[test]
fn a_pipe_is_read_to_its_end_line_by_line() {
    let (reader, mut writer) = output_pipe();
    let mut capture = Capture::of(reader, Stream::Stderr);
    let mut seen = Seen::default();
    writer.write_all(b"one\ntwo\nthr").unwrap();
    let progress = capture.read_some(seconds(1), 4096, &mut |line| {
        assert_eq!(line.stream, Stream::Stderr);
        seen.take(line);
    });
    assert_eq!((progress, &seen.shown[..]), (Progress::Drained, &["one".to_string(), "two".into()][..]));
    writer.write_all(b"ee\nno newline").unwrap();
    drop(writer);
    assert_eq!(capture.read_some(seconds(1), 4096, &mut |line| seen.take(line)), Progress::Closed);
    assert_eq!(seen.shown, ["one", "two", "three", "no newline"]);
}

#[test]
fn a_turn_takes_its_share_and_no_more() {
    let (reader, mut writer) = output_pipe();
    let mut capture = Capture::new(reader);
    let mut seen = Seen::default();
    writer.write_all(&b"0123456\n".repeat(5_000)).unwrap();
    assert_eq!(capture.read_some(seconds(1), 8_000, &mut |line| seen.take(line)), Progress::MoreWaiting);
    assert_eq!(seen.recorded, 1_000);
    assert_eq!(capture.read_some(seconds(1), 64_000, &mut |line| seen.take(line)), Progress::Drained);
    assert_eq!(seen.recorded, 5_000);
}

#[test]
fn a_pipe_that_is_given_up_loses_nothing() {
    let (reader, mut writer) = output_pipe();
    let mut capture = Capture::new(reader);
    let mut seen = Seen::default();
    writer.write_all(b"last output").unwrap();
    assert_eq!(capture.read_some(seconds(1), 4096, &mut |line| seen.take(line)), Progress::Drained);
    // A process still has the other end open, and this end is closed nevertheless.
    capture.finish(&mut |line| seen.take(line));
    assert_eq!(seen.shown, ["last output"]);
}

#[test]
fn a_flood_is_kept_but_not_shown_and_then_told_of() {
    let (reader, mut writer) = output_pipe();
    let mut capture = Capture::new(reader);
    let mut seen = Seen::default();
    let line = format!("{}\n", "x".repeat(59));
    let block = line.repeat(1_000);
    // 12 MB within one second.
    for _ in 0..200 {
        writer.write_all(block.as_bytes()).unwrap();
        let _ = capture.read_some(seconds(1), 1 << 20, &mut |line| seen.take(line));
    }
    assert_eq!(seen.recorded, 200_000, "the record is complete");
    assert!(seen.shown.len() <= SHOWN_LINES_PER_SECOND as usize + 1);
    assert_eq!(seen.shown.last().unwrap(), "… output comes too fast to be shown");
    let shown = seen.shown.len() - 1;

    seen.shown.clear();
    writer.write_all(b"calm again\n").unwrap();
    let _ = capture.read_some(seconds(3), 4096, &mut |line| seen.take(line));
    let hidden = Lost { lines: (200_000 - shown) as u64, bytes: (200_000 - shown) as u64 * 59 };
    assert_eq!(seen.shown, [format!("… {hidden} dropped"), "calm again".into()]);
}

#[test]
fn bytes_are_limited_as_lines_are() {
    let (reader, mut writer) = output_pipe();
    let mut capture = Capture::new(reader);
    let mut bytes = 0;
    for _ in 0..100 {
        writer.write_all(&[b'x'; 60_000]).unwrap();
        let _ = capture.read_some(seconds(1), 1 << 20, &mut |line| {
            if line.is_shown() {
                bytes += line.bytes().len();
            }
        });
    }
    assert!(bytes <= SHOWN_BYTES_PER_SECOND as usize, "{bytes}");
    assert!(bytes >= SHOWN_BYTES_PER_SECOND as usize - 2 * LINE_MAX, "{bytes}");
}

#[test]
fn a_flood_goes_on_and_is_told_of_in_passing() {
    let (reader, mut writer) = output_pipe();
    let mut capture = Capture::new(reader);
    let mut seen = Seen::default();
    let block = b"y\n".repeat(2_000);
    // 200,000 lines a second for 10 seconds, in turns of 10 ms.
    for turn in 0..1_000 {
        writer.write_all(&block).unwrap();
        let now = Time::ZERO + Span::from_millis(10 * turn);
        let _ = capture.read_some(now, 1 << 20, &mut |line| seen.take(line));
    }
    drop(writer);
    let _ = capture.read_some(seconds(10), 1 << 20, &mut |line| seen.take(line));
    assert_eq!(seen.recorded, 2_000_000);
    let notices = seen.shown.iter().filter(|line| line.ends_with(" dropped")).count();
    let lines = seen.shown.iter().filter(|line| *line == "y").count();
    assert!((10..=120).contains(&notices), "{notices}");
    assert!((90_000..=111_000).contains(&lines), "{lines}");
    let told: u64 = seen
        .shown
        .iter()
        .filter(|line| line.ends_with(" dropped"))
        .map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(told + lines as u64, 2_000_000);
}

#[test]
fn lines_are_shown_behind_their_path() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut reader = nonblocking(reader);
    let mut plain = Console::open(writer.as_fd(), false);
    plain.push("/web/api", Speaker::default(), &Line::new(b"\x1b[1mhello\x1b[m \xff\x07"));
    plain.push("/web/api", Speaker::default(), &Line::new(b"bad").by(Stream::Stderr));
    plain.push("/web/api", Speaker::default(), &Line::new(b"not shown").only_for(Audience::Record));
    let (mut long, mut longer) = (Line::new(b"long"), Line::new(b"er"));
    (long.cut, longer.continued) = (true, true);
    plain.push("/db", Speaker::default(), &long);
    plain.push("/db", Speaker::default(), &longer);
    assert!(!plain.flush());
    let text = String::from_utf8(drain(&mut reader)).unwrap();
    assert_eq!(text, "/web/api │ hello \\xff\\x07\n/web/api ┃ bad\n/db │ long…\n/db │ …er\n");

    let mut coloured = Console::open(writer.as_fd(), true);
    coloured.set_width(10);
    coloured.push("/db", Speaker::default(), &Line::new(b"x"));
    assert!(!coloured.flush());
    let text = String::from_utf8(drain(&mut reader)).unwrap();
    assert!(text.contains("m/db       \x1b[0m \x1b[2m│\x1b[0m x\n"), "{text:?}");

    let mut live = Console::open(writer.as_fd(), Format::Live { colour: false, column: 8 });
    live.push("/db", Speaker::default(), &Line::new(b"a line that is longer than any terminal is wide, and not cut"));
    live.push("/web/api/jobs", Speaker::default(), &Line::new(b"x").by(Stream::Stderr));
    assert!(!live.flush());
    let text = String::from_utf8(drain(&mut reader)).unwrap();
    let whole = "/db      │ a line that is longer than any terminal is wide, and not cut\n/w…/jobs ┃ x\n";
    assert_eq!(text, whole);
}

#[test]
fn the_journal_gets_the_priority_that_a_worker_wrote_before_the_path() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut reader = nonblocking(reader);
    let mut console = Console::open(writer.as_fd(), false).prioritized(true);
    let (mut long, mut rest) = (Line::new(b"<4>long"), Line::new(b"<5>er"));
    (long.cut, rest.continued) = (true, true);
    for line in [Line::new(b"<3>disk full"), Line::new(b"up"), long, rest] {
        console.push("/db", Speaker::default(), &line);
    }
    assert!(!console.flush());
    let text = String::from_utf8(drain(&mut reader)).unwrap();
    assert_eq!(text, "<3>/db │ disk full\n<6>/db │ up\n<4>/db │ long…\n<6>/db │ …<5>er\n");
}

#[test]
fn a_slow_reader_costs_lines_which_are_told_of_and_never_split() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut reader = nonblocking(reader);
    let mut console = Console::open(writer.as_fd(), false);
    let text = "x".repeat(100);
    for _ in 0..10_000 {
        console.push("/chatty", Speaker::default(), &Line::new(text.as_bytes()));
        console.flush();
    }
    assert!(console.wants_write() && console.fd().is_some());
    assert!(console.lost().lines > 5_000);
    let mut all = Vec::new();
    loop {
        let waits = console.flush();
        all.extend(drain(&mut reader));
        if !waits {
            break;
        }
    }
    let all = String::from_utf8(all).unwrap();
    let whole = format!("/chatty │ {text}");
    let (lines, notices): (Vec<_>, Vec<_>) = all.lines().partition(|line| *line == whole);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].starts_with(&format!("treevisor: … {} lines (", console.lost().lines)), "{notices:?}");
    assert_eq!(lines.len() as u64 + console.lost().lines, 10_000);
    assert!(all.ends_with("the disk full\n"), "the notice comes where the lines are missing");
}

#[test]
fn two_nodes_share_a_pipe_line_by_line() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut reader = nonblocking(reader);
    let mut consoles = [Console::open(writer.as_fd(), false), Console::open(writer.as_fd(), false)];
    let mut all = Vec::new();
    for n in 0..2_000 {
        for (number, console) in consoles.iter_mut().enumerate() {
            console.push("/a", Speaker::default(), &Line::new(format!("{number} {}", "z".repeat(n % 300)).as_bytes()));
            if n % 7 == 0 {
                console.flush();
            }
        }
        if n % 50 == 0 {
            all.extend(drain(&mut reader));
        }
    }
    while consoles.iter_mut().any(Console::flush) {
        all.extend(drain(&mut reader));
    }
    all.extend(drain(&mut reader));
    for line in String::from_utf8(all).unwrap().lines() {
        let rest = line.strip_prefix("/a │ ").unwrap();
        assert!(rest[2..].bytes().all(|byte| byte == b'z') && !rest[2..].contains('/'), "{line}");
    }
}

#[test]
fn a_terminal_that_is_held_up_does_not_hold_us_up() {
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut console = Console::open(pty.slave.as_fd(), true);
    for _ in 0..3_000 {
        console.push("/loud", Speaker::default(), &Line::new(&[b'x'; 200]));
        console.flush();
    }
    assert!(console.wants_write() && console.lost().lines > 0);
    // The console's description does not block; the original one still does.
    let flags = |fd: i32| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let line = info.lines().find(|line| line.starts_with("flags:")).unwrap();
        i32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 8).unwrap()
    };
    assert_eq!(flags(pty.slave.as_raw_fd()) & libc::O_NONBLOCK, 0);
    assert_ne!(flags(console.fd().unwrap()) & libc::O_NONBLOCK, 0);
    assert_ne!(flags(console.fd().unwrap()) & libc::O_CLOEXEC, 0);
    // The terminal is closed: nothing is written to it any more.
    drop(pty);
    assert!(!console.flush() && !console.wants_write());
}

#[test]
fn a_socket_that_is_held_up_does_not_hold_us_up() {
    let (mut far, near) = UnixStream::pair().unwrap();
    let mut console = Console::open(near.as_fd(), false);
    for _ in 0..20_000 {
        console.push("/a", Speaker::default(), &Line::new(&[b'x'; 100]));
        console.flush();
    }
    assert!(console.wants_write() && console.lost().lines > 0);
    far.set_nonblocking(true).unwrap();
    while console.flush() {
        assert!(!drain(&mut far).is_empty());
    }
    drop(far);
    console.push("/a", Speaker::default(), &Line::new(b"to no terminal"));
    assert!(!console.flush());
}

#[test]
fn without_a_reader_there_is_silence() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut console = Console::open(writer.as_fd(), false);
    drop(reader);
    for _ in 0..3 {
        console.push("/a", Speaker::default(), &Line::new(b"x"));
        assert!(!console.flush());
    }
    assert!(!console.wants_write() && console.fd().is_none());

    // As when started with `>&-`, or with a descriptor that is not open for writing.
    let mut deaf = Console::open(File::open("/dev/null").unwrap().as_fd(), false);
    deaf.push("/a", Speaker::default(), &Line::new(b"x"));
    assert!(!deaf.flush() && !deaf.wants_write());
}

#[test]
fn a_regular_file_is_continued_where_the_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let mut file = File::create(&path).unwrap();
    writeln!(file, "before").unwrap();
    let mut console = Console::open(file.as_fd(), false);
    console.push("/a", Speaker::default(), &Line::new(b"x"));
    assert!(!console.flush());
    console.finish(Span::from_secs(60));
    writeln!(file, "after").unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "before\n/a │ x\nafter\n");
}

#[test]
fn a_full_disk_behind_the_console_costs_lines_only() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut outlet = Outlet::open(full.as_fd(), 1000, "output").unwrap();
    for _ in 0..10 {
        outlet.push(b"some line\n");
        assert!(!outlet.flush());
        // Again without new lines: the notice fails too, and must not count as a line.
        assert!(!outlet.flush());
    }
    assert_eq!(outlet.lost(), Lost { lines: 10, bytes: 100 });
    assert!(!outlet.wants_write() && !outlet.is_gone());
}

#[test]
fn losses_read_well() {
    let text = |lines, bytes| Lost { lines, bytes }.to_string();
    assert_eq!(text(1, 5), "1 line (5 B)");
    assert_eq!(text(12_345, 3_200_000), "12345 lines (3.2 MB)");
    assert_eq!(text(2, 1_500), "2 lines (1.5 kB)");
}
