//! The journal's files, as the keeper writes them: bounded in size and number, and resumed after a full disk.
//!
//! Nothing here is synced to the disk: what was written outlives every process that is killed, but may be lost if the
//! machine loses power. A line is written whole; if the disk gets full in the middle of it, the part is cut off again.
//! Lines that could not be written are counted, and a line records their number as soon as there is room.

use crate::files::FileId;
use crate::instance::state::{Segment, StateDir};
use crate::os::clock;
use crate::os::lock::LockFile;
use crate::wire::journal::{Line, Note, parse};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

/// How a line begins that is no event.
const NOTE: &[u8] = b"{\"journal\":";

/// How a line begins that records the holds.
const HOLDS: &[u8] = b"{\"journal\":\"holds\"";

/// On a full disk old files are removed as long as there are more than this many.
const SPARED: usize = 2;

/// What the keeper needs to write the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::node) struct JournalRecord {
    /// The directory of the instance.
    #[serde(with = "crate::files::exact")]
    pub directory: PathBuf,
    /// The largest size of a file, in bytes.
    pub max_size: u64,
    /// How many full files are kept.
    pub keep: u32,
    /// The description of the run: the first line of every file.
    pub run: Note,
}

/// The journal, open for writing.
pub(super) struct Segments {
    state: StateDir,
    /// The lock on the directory, in place of the root's if that is gone: others may have removed the directory.
    lock: Option<LockFile>,
    max_size: u64,
    keep: u32,
    /// The line that describes the run of the events.
    head: Vec<u8>,
    /// The last line that records the holds. It follows the head wherever that is written, so that it is found however
    /// many files follow, and although it could not be written when it came.
    holds: Vec<u8>,
    open: Option<Open>,
    /// The number of events that could not be written, and that no line has recorded yet.
    lost: u64,
    /// A file in memory that has this number too, for the next keeper.
    count: Option<File>,
    /// Why the last write has failed; reported once, until writing works again.
    trouble: Option<String>,
}

struct Open {
    file: File,
    segment: Segment,
    /// The size of the file: the next line begins there.
    size: u64,
    /// If a write fails, the file is cut off here: behind the last line, but before a head that no line follows yet.
    kept: u64,
}

/// A change that is reported on stderr once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The journal cannot be written, for this reason.
    Stopped(String),
    /// The journal can be written again; so many events are missing.
    WorksAgain(u64),
}

impl Segments {
    pub(super) fn new(record: &JournalRecord) -> Segments {
        Segments {
            state: StateDir::at(&record.directory),
            lock: None,
            max_size: record.max_size,
            keep: record.keep,
            head: record.run.to_line(),
            holds: Vec::new(),
            open: None,
            lost: 0,
            count: None,
            trouble: None,
        }
    }

    /// Goes on with the number of lost events in `count`, and keeps it there.
    pub(super) fn count_in(&mut self, count: File) {
        let mut number = [0; 8];
        if count.read_exact_at(&mut number, 0).is_ok() {
            self.lost = u64::from_le_bytes(number);
        }
        self.count = Some(count);
    }

    fn set_lost(&mut self, events: u64) {
        self.lost = events;
        if let Some(count) = &self.count {
            let _ = count.write_all_at(&events.to_le_bytes(), 0);
        }
    }

    /// Appends whole lines. Returns whether writing has begun to fail, or works again. Events that fail are counted as
    /// lost, and the last line about the holds is written as soon as a file can be written again.
    pub(super) fn write(&mut self, lines: &[u8]) -> Option<Change> {
        let change = self.write_lines(lines);
        if let Some(holds) = whole(lines).rfind(|line| line.starts_with(HOLDS)) {
            self.holds = holds.to_vec();
        }
        change
    }

    fn write_lines(&mut self, lines: &[u8]) -> Option<Change> {
        loop {
            let Err(error) = self.try_write(lines) else {
                let lost = self.lost;
                if lost > 0 {
                    self.set_lost(0);
                }
                return self.trouble.take().map(|_| Change::WorksAgain(lost));
            };
            // Opened anew for the next write: the directory may have been removed, or another file system mounted
            // there.
            let size = self.open.take().map_or(0, |open| open.kept);
            // The process has a file size limit (`ulimit -f`) below `max_size`: files are shorter from now on.
            if error.kind() == ErrorKind::FileTooLarge && (self.head.len() as u64..self.max_size).contains(&size) {
                self.max_size = size;
                continue;
            }
            let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            if is_full && self.give_up_oldest() {
                continue;
            }
            self.lose(whole(lines).map(events_of).sum());
            let trouble = format!("{}: {error}", self.state.path().display());
            if self.trouble.as_ref() == Some(&trouble) {
                return None;
            }
            self.trouble = Some(trouble.clone());
            return Some(Change::Stopped(trouble));
        }
    }

    /// Counts events that were lost before they were passed to this.
    pub(super) fn lose(&mut self, events: u64) {
        self.set_lost(self.lost + events);
    }

    /// Releases the lock, once the root has ended: the next one takes it.
    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let told = match self.lost {
            0 => Vec::new(),
            events => {
                let why = match &self.trouble {
                    Some(trouble) => format!("cannot write {trouble}"),
                    None => "the process that wrote them down was killed, or could not write them".into(),
                };
                Note::Lost { at: clock::rfc3339_nanos(clock::wall()), events, why }.to_line()
            }
        };
        self.open_for((told.len() + lines.len()) as u64)?;
        self.open.as_mut().expect("it was just opened").append(&[&told, lines])
    }

    /// Makes sure that a file with room for so many bytes is open.
    fn open_for(&mut self, bytes: u64) -> io::Result<()> {
        self.open.take_if(|open| !open.is_as_left());
        if self.open.is_none() {
            self.open = Some(self.open_last()?);
        }
        // A file with a head alone takes any line.
        let fits = |open: &Open| open.kept == 0 || open.size + bytes <= self.max_size;
        if self.open.as_ref().is_none_or(|open| !fits(open)) {
            let last = self.open.take().map_or(0, |open| open.segment.number);
            self.open = Some(self.begin(last + 1)?);
            self.remove_old();
        }
        Ok(())
    }

    /// Opens the last file of an earlier run, or of an earlier keeper, to append to it.
    fn open_last(&mut self) -> io::Result<Open> {
        let last = self.state.segments()?.pop();
        if last.is_none() {
            self.state.create()?;
        }
        // Fails as long as the root has it.
        let file = self.state.lock_file();
        self.lock = self.lock.take().filter(|lock| lock.is_at(&file)).or_else(|| LockFile::acquire(&file).ok());
        let Some(segment) = last else { return self.begin(1) };
        // What has the name of a journal file may be something else: to open a FIFO would block, a directory is not
        // writable.
        let opened = OpenOptions::new().read(true).append(true).custom_flags(libc::O_NONBLOCK).open(&segment.path);
        let mut file = match opened {
            Ok(file) if !file.metadata()?.file_type().is_fifo() => file,
            Err(error) if error.kind() != ErrorKind::IsADirectory => return Err(error),
            _ => return self.begin(segment.number + 1),
        };
        let size = file.metadata()?.len();
        if size + (self.head.len() + self.holds.len()) as u64 > self.max_size {
            return self.begin(segment.number + 1);
        }
        let mut head = Vec::new();
        if size > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                // The keeper that wrote this line was killed in the middle of it.
                head.push(b'\n');
            }
        }
        head.extend_from_slice(&self.head);
        // What could not be written may have been the present list, so it is written again.
        head.extend_from_slice(&self.holds);
        Open { file, segment, size, kept: size }.headed(&head)
    }

    /// Begins a new file with this number, or with a higher one if another keeper was faster.
    fn begin(&self, mut number: u64) -> io::Result<Open> {
        loop {
            let segment = self.state.segment(number);
            match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&segment.path) {
                Ok(file) => {
                    let path = segment.path.clone();
                    let begun =
                        Open { file, segment, size: 0, kept: 0 }.headed(&[&self.head[..], &self.holds[..]].concat());
                    if begun.is_err() {
                        // An empty file is useless, and would be found as the last one.
                        let _ = fs::remove_file(path);
                    }
                    return begun;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn remove_old(&self) {
        // Files that cannot be listed or removed now are removed with the next file.
        let Ok(segments) = self.state.segments() else { return };
        let kept = self.keep as usize + 1;
        for segment in &segments[..segments.len().saturating_sub(kept)] {
            let _ = fs::remove_file(&segment.path);
        }
    }

    /// Makes room on a full disk by removing the oldest file. The newest files are spared: whatever has filled the disk
    /// would take their room as well.
    fn give_up_oldest(&self) -> bool {
        let Ok(segments) = self.state.segments() else { return false };
        segments.len() > SPARED && fs::remove_file(&segments[0].path).is_ok()
    }
}

impl Open {
    /// Whether the file is at its path, with all that was written to it. Others may have removed or moved it: writes to
    /// it succeed then, but no reader ever sees them. In a file that was emptied the head is missing.
    fn is_as_left(&self) -> bool {
        let Ok(held) = self.file.metadata() else { return true };
        let is_there = match fs::metadata(&self.segment.path) {
            Ok(there) => FileId::of(&there) == FileId::of(&held),
            Err(error) => error.kind() != ErrorKind::NotFound,
        };
        is_there && (!held.is_file() || held.len() >= self.size)
    }

    fn headed(mut self, head: &[u8]) -> io::Result<Open> {
        if let Err(error) = self.file.write_all(head) {
            let _ = self.file.set_len(self.kept);
            return Err(error);
        }
        self.size += head.len() as u64;
        Ok(self)
    }

    fn append(&mut self, lines: &[&[u8]]) -> io::Result<()> {
        if let Err(error) = lines.iter().try_for_each(|lines| self.file.write_all(lines)) {
            // The part that was written is cut off, so that no line is torn and none is written twice.
            let _ = self.file.set_len(self.kept);
            return Err(error);
        }
        self.size += lines.iter().map(|lines| lines.len() as u64).sum::<u64>();
        self.kept = self.size;
        Ok(())
    }
}

/// How many events a line stands for.
fn events_of(line: &[u8]) -> u64 {
    match line.starts_with(NOTE).then(|| parse(line)) {
        None => 1,
        Some(Some(Line::Note(Note::Lost { events, .. }))) => events,
        Some(_) => 0,
    }
}

/// The lines of a text, each with its newline.
fn whole(lines: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    lines.split_inclusive(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests;
