//! Entries for systemd's journal: how they are encoded, and what happens to those that the journal does not accept.

use super::lines::{LINE_MAX, Line};
use crate::os::journald::JournalSocket;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The socket of systemd's journal.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The environment variable that names another socket: of a journal elsewhere, or of a test.
pub(crate) const SOCKET_VARIABLE: &str = "TREEVISOR_JOURNALD_SOCKET";

/// A long line of a worker is joined again from the pieces that it was read in, up to this length in bytes.
const JOINED_MAX: usize = 1024 * 1024;

/// Most bytes of all unfinished lines together. Beyond it their pieces become entries of their own.
const UNFINISHED_MAX: usize = 4 * JOINED_MAX;

/// The path of the journal's socket.
pub(crate) fn socket_path() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE).map_or_else(|| SOCKET.into(), PathBuf::from)
}

/// Whether the journal reads what is written to `fd`: systemd passes the device and inode of its socket in
/// `JOURNAL_STREAM` to the processes that it starts (systemd.exec(5)).
pub(crate) fn reads(fd: BorrowedFd<'_>) -> bool {
    let file = std::fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    is_named(std::env::var("JOURNAL_STREAM").ok().as_deref(), file.ok().map(|file| (file.dev(), file.ino())))
}

fn is_named(stream: Option<&str>, file: Option<(u64, u64)>) -> bool {
    let named = stream.and_then(|named| {
        let (device, inode) = named.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    });
    named.is_some() && named == file
}

/// The priorities of syslog(3) that this program uses.
pub(crate) mod priority {
    /// Splits the priority that a program has written before a line, as in sd-daemon(3) (`<3>text`), from the text.
    pub(crate) fn of_line(text: &[u8]) -> (Option<u8>, &[u8]) {
        match text {
            [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (Some(digit - b'0'), text),
            _ => (None, text),
        }
    }

    pub(crate) const CRITICAL: u8 = 2;
    pub(crate) const ERROR: u8 = 3;
    pub(crate) const WARNING: u8 = 4;
    pub(crate) const INFO: u8 = 6;
    pub(crate) const DEBUG: u8 = 7;
}

/// One entry of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    /// An entry with a message, a priority and the name of its program.
    pub(crate) fn new(message: &[u8], priority: u8, identifier: &str) -> Entry {
        let mut entry = Entry::default();
        entry.add("MESSAGE", message);
        entry.add("PRIORITY", &[b'0' + priority.min(7)]);
        entry.add("SYSLOG_IDENTIFIER", identifier.as_bytes());
        entry
    }

    /// Adds a field. A value with a newline is preceded by its length; other values follow a `=`.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// In the format of journald's native protocol.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The connection of a process to the journal. It never waits: entries that the journal does not accept are dropped and
/// counted, and reported when the journal accepts entries again.
#[derive(Debug)]
pub(crate) struct Journald {
    /// `None` if no descriptor was available.
    socket: Option<JournalSocket>,
    instance: String,
    lost: u64,
    /// Unfinished lines of workers, with the pid of their process.
    unfinished: HashMap<Source, (u32, Vec<u8>)>,
    unfinished_bytes: usize,
}

/// Which process of which worker has printed a line: in a roll-out two processes of one path print at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    path: String,
    incarnation: u64,
}

impl Journald {
    /// Connects for the entries of an instance.
    pub(crate) fn open(instance: &str) -> Journald {
        Journald {
            socket: JournalSocket::open(&socket_path()).ok(),
            instance: instance.to_owned(),
            lost: 0,
            unfinished: HashMap::new(),
            unfinished_bytes: 0,
        }
    }

    /// Sends an entry, with the name of the instance added.
    pub(crate) fn send(&mut self, mut entry: Entry) {
        entry.add("TREEVISOR_INSTANCE", self.instance.as_bytes());
        if self.lost > 0 {
            let text = format!("{} entries were lost: the journal did not take them", self.lost);
            let mut notice = Entry::new(text.as_bytes(), priority::WARNING, "treevisor");
            notice.add("TREEVISOR_INSTANCE", self.instance.as_bytes());
            if !self.try_send(&notice) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if !self.try_send(&entry) {
            self.lost += 1;
        }
    }

    fn try_send(&self, entry: &Entry) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.send(entry.bytes()).is_ok())
    }

    /// Sends a line of the worker at `path`, with its pid and incarnation. The pieces of a long line are joined.
    pub(crate) fn send_line(&mut self, path: &str, (pid, incarnation): (u32, u64), line: &Line<'_>) {
        if !line.is_recorded() {
            return;
        }
        let source = Source { path: path.to_owned(), incarnation };
        let mut begun = self.unfinished.remove(&source).map(|(_, text)| text);
        self.unfinished_bytes -= begun.as_ref().map_or(0, Vec::len);
        if let Some(text) = begun.take_if(|_| !line.continued) {
            self.send_text(&source, pid, &text);
        }
        let is_begun = begun.is_some();
        let mut text = begun.unwrap_or_default();
        // The end of a line whose beginning was sent because it did not continue.
        if line.continued && !is_begun && line.bytes().is_empty() {
            return;
        }
        text.extend_from_slice(line.bytes());
        // A line that was cut for its length will continue; one that was cut because it paused may not.
        let goes_on = line.cut && line.bytes().len() + 8 >= LINE_MAX;
        if goes_on && text.len() < JOINED_MAX && self.unfinished_bytes + text.len() <= UNFINISHED_MAX {
            self.unfinished_bytes += text.len();
            self.unfinished.insert(source, (pid, text));
            return;
        }
        self.send_text(&source, pid, &text);
    }

    /// Sends the unfinished lines as far as they have come: this process ends, or is replaced by another image.
    pub(crate) fn send_unfinished(&mut self) {
        self.unfinished_bytes = 0;
        for (source, (pid, text)) in std::mem::take(&mut self.unfinished) {
            self.send_text(&source, pid, &text);
        }
    }

    fn send_text(&mut self, Source { path, incarnation }: &Source, pid: u32, text: &[u8]) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (own, text) = priority::of_line(text);
        let mut entry = Entry::new(text, own.unwrap_or(priority::INFO), name);
        entry.add("TREEVISOR_PATH", path.as_bytes());
        entry.add("TREEVISOR_INCARNATION", incarnation.to_string().as_bytes());
        entry.add("OBJECT_PID", pid.to_string().as_bytes());
        self.send(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert!(is_named(Some("8:17"), Some((8, 17))));
        for (named, file) in
            [(Some("8:18"), Some((8, 17))), (Some("x"), Some((8, 17))), (None, Some((8, 17))), (None, None)]
        {
            assert!(!is_named(named, file));
        }
    }

    #[test]
    fn a_program_may_write_the_priority_before_a_line() {
        let cases: [(&[u8], Option<u8>, &[u8]); 6] = [
            (b"<3>disk full", Some(3), b"disk full"),
            (b"<0>", Some(0), b""),
            (b"<8>x", None, b"<8>x"),
            (b"<13>x", None, b"<13>x"),
            (b" <3>x", None, b" <3>x"),
            (b"", None, b""),
        ];
        for (line, priority, text) in cases {
            assert_eq!(priority::of_line(line), (priority, text));
        }
    }

    #[test]
    fn a_value_with_a_newline_has_its_length_before_it() {
        let mut entry = Entry::new(b"up", priority::INFO, "treevisor");
        entry.add("TREEVISOR_PATH", b"/web");
        entry.add("TREEVISOR_CAUSE", b"a\nb=");
        let expected = b"MESSAGE=up\nPRIORITY=6\nSYSLOG_IDENTIFIER=treevisor\nTREEVISOR_PATH=/web\n\
                         TREEVISOR_CAUSE\n\x04\0\0\0\0\0\0\0a\nb=\n";
        assert_eq!(entry.bytes(), expected);
    }

    fn piece(bytes: &[u8], continued: bool, cut: bool) -> Line<'_> {
        let mut line = Line::new(bytes);
        (line.continued, line.cut) = (continued, cut);
        line
    }

    fn journal() -> (tempfile::TempDir, std::os::unix::net::UnixDatagram, Journald) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let journald = Journald { socket: JournalSocket::open(&path).ok(), ..Journald::open("shop") };
        (dir, socket, journald)
    }

    fn received(socket: &std::os::unix::net::UnixDatagram) -> String {
        let mut buffer = vec![0; 1 << 16];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn what_is_not_taken_is_counted_and_told_of_later() {
        let (_dir, socket, mut journald) = journal();
        let entry = |n: u32| Entry::new(n.to_string().as_bytes(), priority::INFO, "treevisor");
        let mut sent = 0;
        while journald.lost < 3 {
            journald.send(entry(sent));
            sent += 1;
        }
        for n in 0..sent - 3 {
            assert!(received(&socket).starts_with(&format!("MESSAGE={n}\n")));
        }
        journald.send(entry(1_000_000));
        assert!(received(&socket).starts_with("MESSAGE=3 entries were lost"));
        assert!(received(&socket).contains("MESSAGE=1000000\n"));
        // A journal that was restarted is found again.
        drop(socket);
        journald.send(entry(7));
        assert_eq!(journald.lost, 1);
    }

    #[test]
    fn a_line_is_one_entry_however_many_pieces_it_came_in() {
        let (_dir, socket, mut journald) = journal();
        let long = vec![b'x'; LINE_MAX];
        let mut take = |line| journald.send_line("/web/api", (77, 3), &line);
        take(piece(&long, false, true));
        take(piece(b"end", true, false));
        // A line that pauses is sent as far as it has come.
        take(piece(b"Name: ", false, true));
        take(piece(b"", true, false));
        take(Line::new(b""));
        let first = received(&socket);
        assert!(
            first.starts_with("MESSAGE=xxxx") && first.contains("xend\nPRIORITY=6\nSYSLOG_IDENTIFIER=api\n"),
            "{first}"
        );
        assert!(
            first.ends_with(
                "TREEVISOR_PATH=/web/api\nTREEVISOR_INCARNATION=3\nOBJECT_PID=77\nTREEVISOR_INSTANCE=shop\n"
            )
        );
        assert!(received(&socket).starts_with("MESSAGE=Name: \n"));
        assert!(received(&socket).starts_with("MESSAGE=\nPRIORITY"));
        assert_eq!((journald.unfinished.len(), journald.unfinished_bytes), (0, 0));
    }

    #[test]
    fn lines_of_two_processes_of_one_worker_are_not_mixed() {
        let (_dir, socket, mut journald) = journal();
        let [a, b, c] = [b'a', b'b', b'c'].map(|letter| vec![letter; LINE_MAX]);
        journald.send_line("/web", (7, 1), &piece(&a, false, true));
        journald.send_line("/web", (8, 2), &piece(&b, false, true));
        journald.send_line("/web", (7, 1), &piece(b"1", true, false));
        journald.send_line("/web", (8, 2), &piece(b"2", true, false));
        for end in ["a1\nPRIORITY", "b2\nPRIORITY"] {
            let text = received(&socket);
            assert!(text.contains(end) && text.len() < LINE_MAX + 200, "{text}");
        }
        // One whose end never comes is sent as it is.
        journald.send_line("/web", (7, 1), &piece(&a, false, true));
        journald.send_line("/web", (7, 1), &piece(&c, false, true));
        assert!(received(&socket).starts_with("MESSAGE=aaa"));
        journald.send_unfinished();
        assert!(received(&socket).starts_with("MESSAGE=ccc"));
        assert_eq!((journald.unfinished.len(), journald.unfinished_bytes), (0, 0));
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_without_one() {
        let (_dir, socket, mut journald) = journal();
        let long = vec![b'x'; LINE_MAX];
        for path in ["/a", "/b", "/c", "/d", "/e", "/f"] {
            for n in 0..127 {
                journald.send_line(path, (7, 1), &piece(&long, n > 0, true));
            }
        }
        assert!(journald.unfinished_bytes <= UNFINISHED_MAX);
        drop(socket);
    }
}
