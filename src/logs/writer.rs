//! Writes log files in threads beside the loop: a slow or hanging disk affects only the files on it.
//!
//! The loop hands over what a worker has printed in a turn, and never waits. One thread writes; it is started for the
//! first file. Each file is written by one thread at a time, in order. When a write hangs, another thread takes over
//! the other files, up to `THREADS_MAX` threads: the files of a node may be on different disks.
//!
//! The queues are bounded, for each file and for the node. While a file has much to write, the output of its worker is
//! not read, so that the worker waits as it would for the disk itself. After [`PATIENCE`] that ends: then lines without
//! room are lost and counted, and the file gets a notice when it can be written again, as after any disk failure.

use super::lines::Line;
use super::lost::Lost;
use super::rotate::RotatingFile;
use crate::os::clock;
use crate::os::thread;
use crate::os::users::Credentials;
use crate::os::wake::Wake;
use crate::time::{Span, Time};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// With more queued bytes than this, the worker of a file has to wait.
const FILE_SOFT: usize = 256 * 1024;
/// Most bytes that are queued for one file.
const FILE_HARD: usize = 2 * 1024 * 1024;
/// Most bytes that are queued for all files of a node.
const NODE_HARD: usize = 16 * 1024 * 1024;

/// If a disk writes nothing for this long, no worker waits for it any longer, and other files no longer wait for its
/// thread.
pub(crate) const PATIENCE: Span = Span::from_secs(1);

/// Most threads that write at the same time.
const THREADS_MAX: usize = 4;

/// The writer of a node's log files. Clones share one state.
#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signals work for a thread.
    work: Condvar,
    /// Signals that a thread has finished a file.
    done: Condvar,
    /// Wakes the loop: a failure is to be reported, or a file has room again.
    wake: Option<Wake>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<u64, Entry>,
    /// Files with work that no thread has taken yet.
    ready: VecDeque<u64>,
    threads: usize,
    idle: usize,
    /// Queued bytes of all files.
    waiting: usize,
    /// When a thread last finished the work for a file.
    progress: Time,
    /// How many threads close a file whose entry is removed.
    closing: usize,
    last: u64,
    troubles: Vec<String>,
}

#[derive(Debug, Default)]
struct Entry {
    path: PathBuf,
    /// `None` while a thread writes it.
    file: Option<RotatingFile>,
    waiting: Vec<u8>,
    writing: Writing,
    /// Lines dropped for lack of room. Lines that come later are dropped as well, until a thread has taken the queue.
    lost: Lost,
    reopen: bool,
    /// Its worker is gone: remove the entry when all is written.
    closed: bool,
    /// The file is in `ready`, or a thread has it.
    taken: bool,
    /// Since when nothing of this file has been written.
    since: Time,
    /// The node does not read from its worker, until the queue is shorter.
    resting: bool,
}

/// What a thread has taken to write, how much of that is done, and the lost lines that it reports behind that.
#[derive(Debug, Default)]
struct Writing {
    bytes: Arc<Vec<u8>>,
    done: usize,
    lost: Lost,
}

/// The queue of one worker's file.
#[derive(Debug)]
pub(crate) struct LogFile {
    writer: Writer,
    id: u64,
    /// The incarnation whose line has not ended yet. In a roll-out two processes write to one file.
    within_line: Cell<Option<u64>>,
}

/// The lines of one turn. Dropping it hands them over.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    file: &'a LogFile,
    incarnation: u64,
    bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

impl Writer {
    /// A writer without a thread.
    pub(crate) fn new() -> Writer {
        Writer(Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            // Without it, failures are reported in the next turn.
            wake: Wake::new().ok(),
        }))
    }

    /// A log at `path`; see [`RotatingFile::new`]. It is written as `user` if other users can write to its directory.
    pub(crate) fn file(&self, path: &Path, max_size: u64, keep: u32, user: Option<Credentials>) -> LogFile {
        let mut state = self.lock();
        state.last += 1;
        let id = state.last;
        let file = Some(RotatingFile::new(path, max_size, keep).written_as(user));
        state.files.insert(id, Entry { path: path.to_owned(), file, ..Entry::default() });
        LogFile { writer: self.clone(), id, within_line: Cell::new(None) }
    }

    /// The descriptor that becomes readable when [`Writer::heard`] should be called.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.0.wake.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Wakes the loop through [`Writer::fd`], for another outlet that has room again.
    pub(crate) fn ring(&self) {
        self.0.ring();
    }

    /// Resets the wake-up, and returns the new failures; each is reported once.
    pub(crate) fn heard(&self) -> Vec<String> {
        if let Some(wake) = &self.0.wake {
            wake.take();
        }
        std::mem::take(&mut self.lock().troubles)
    }

    /// Makes sure that a thread takes the files that are ready. Returns whether some still are: then the caller must
    /// call again a moment later.
    pub(crate) fn look(&self) -> bool {
        let mut state = self.lock();
        self.0.relieve(&mut state);
        !state.ready.is_empty()
    }

    /// Waits up to `limit` until all is written. Returns what is lost because it is not.
    pub(crate) fn finish(&self, limit: Span) -> Lost {
        let state = self.wait(limit);
        let mut lost = Lost::default();
        for entry in state.files.values() {
            let Writing { bytes, done, lost: before } = &entry.writing;
            for part in [*before, Lost::of(&bytes[*done..]), Lost::of(&entry.waiting), entry.lost] {
                lost += part;
            }
        }
        lost
    }

    /// Waits up to `limit` until all is written and no thread uses a file. Returns whether it is so: a thread that
    /// opens or closes a file on a disk that hangs would hold up the process that ends it.
    pub(crate) fn settle(&self, limit: Span) -> bool {
        !self.wait(limit).is_busy()
    }

    /// Waits up to `limit` until the threads have nothing to do.
    fn wait(&self, limit: Span) -> MutexGuard<'_, State> {
        let end = now() + limit;
        let mut state = self.lock();
        loop {
            let now = now();
            if !state.is_busy() || now >= end {
                return state;
            }
            self.0.relieve(&mut state);
            let step = end.since(now).min(Span::from_millis(50));
            let waited = self.0.done.wait_timeout(state, Duration::from_nanos(step.as_nanos()));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    /// Whether a thread uses a file, or is to.
    fn is_busy(&self) -> bool {
        self.closing > 0 || self.files.values().any(|entry| entry.taken)
    }
}

impl Shared {
    /// The lock is held for a few instructions, never during a write.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes or starts a thread for the files that are ready.
    fn relieve(self: &Arc<Shared>, state: &mut State) {
        if state.ready.is_empty() {
            return;
        }
        if state.idle > 0 {
            self.work.notify_one();
            return;
        }
        let now = now();
        let stuck = now.since(state.progress) >= PATIENCE;
        if state.threads == 0 || stuck && state.threads < THREADS_MAX {
            let shared = Arc::clone(self);
            match thread::start_quiet("treevisor-logs", move || shared.run()) {
                Ok(()) => {
                    state.threads += 1;
                    state.progress = now;
                }
                // The next turn tries again; lines without room are lost and counted meanwhile.
                Err(error) => self.report(state, format!("no thread can be made to write log files: {error}")),
            }
        }
    }

    fn report(&self, state: &mut State, trouble: String) {
        if !state.troubles.contains(&trouble) {
            state.troubles.push(trouble);
        }
        self.ring();
    }

    fn ring(&self) {
        if let Some(wake) = &self.wake {
            wake.ring();
        }
    }

    /// The body of a thread: writes one file after the other. Ends when another thread is idle already.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            let Some(id) = state.ready.pop_front() else {
                if state.idle > 0 {
                    state.threads -= 1;
                    return;
                }
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            let Some(entry) = state.files.get_mut(&id) else { continue };
            let Some(mut file) = entry.file.take() else { continue };
            let bytes = Arc::new(std::mem::take(&mut entry.waiting));
            let (lost, reopen) = (entry.lost.take(), std::mem::take(&mut entry.reopen));
            entry.writing = Writing { bytes: Arc::clone(&bytes), done: 0, lost };
            entry.since = now();
            let rested = std::mem::take(&mut entry.resting);
            state.waiting -= bytes.len();
            drop(state);
            if rested {
                self.ring();
            }
            if reopen {
                file.reopen();
            }
            let mut written = 0;
            while written < bytes.len() {
                let chunk = RotatingFile::chunk(&bytes[written..]);
                file.write(chunk);
                written += chunk.len();
                self.has_written(id, written);
            }
            file.lose_for_want_of_room(lost);
            let trouble = file.take_trouble();
            state = self.lock();
            state.progress = now();
            if let Some(trouble) = trouble {
                self.report(&mut state, trouble);
            }
            let closed = match state.files.get_mut(&id).map(Entry::end_writing) {
                Some(entry) if entry.has_work() => {
                    entry.file = Some(file);
                    state.ready.push_back(id);
                    None
                }
                Some(entry) if !entry.closed => {
                    entry.file = Some(file);
                    entry.taken = false;
                    None
                }
                Some(_) | None => Some(file),
            };
            if let Some(file) = closed {
                state.files.remove(&id);
                // To close a file can take as long as to write it.
                state.closing += 1;
                drop(state);
                drop(file);
                state = self.lock();
                state.closing -= 1;
            }
            self.done.notify_all();
        }
    }

    /// A thread has written so much of what it has taken for a file: its worker may have to wait longer. The other
    /// files do not: another thread takes them over (`progress`), as their disk may be faster.
    fn has_written(&self, id: u64, written: usize) {
        if let Some(entry) = self.lock().files.get_mut(&id) {
            (entry.writing.done, entry.since) = (written, now());
        }
    }
}

/// The time on a clock that all threads share.
pub(super) fn now() -> Time {
    Time::ZERO + Span::from_micros(clock::machine_micros())
}

impl Entry {
    /// A thread has written what it had taken.
    fn end_writing(&mut self) -> &mut Entry {
        self.writing = Writing::default();
        self
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.lost.is_none() || self.reopen
    }

    /// Whether a thread has to close the file.
    fn is_to_close(&self) -> bool {
        self.closed && self.file.as_ref().is_some_and(RotatingFile::is_open)
    }
}

impl LogFile {
    /// Begins to collect the lines of one turn, which are written together. They are of this incarnation.
    pub(crate) fn batch(&self, incarnation: u64) -> Batch<'_> {
        Batch { file: self, incarnation, bytes: Vec::new() }
    }

    /// After an upgrade: the file ends within a line of this incarnation, which goes on.
    pub(crate) fn go_on_within_line(&self, incarnation: u64) {
        self.within_line.set(Some(incarnation));
        self.change(|entry| entry.file.iter_mut().for_each(RotatingFile::go_on_within_line));
    }

    /// The lines that were lost and that no notice in the file reports yet, for the next image of this program.
    pub(crate) fn unreported(&self) -> Lost {
        let state = self.writer.lock();
        let Some(entry) = state.files.get(&self.id) else { return Lost::default() };
        let mut lost = entry.file.as_ref().map(RotatingFile::unreported).unwrap_or_default();
        lost += entry.lost;
        lost
    }

    /// After an upgrade: the image before has lost these lines.
    pub(crate) fn take_over(&self, lost: Lost) {
        self.change(|entry| entry.file.iter_mut().for_each(|file| file.lose_for_want_of_room(lost)));
    }

    /// This log takes the place of `former`, whose worker goes on: so does its line, if that is in the same file.
    pub(crate) fn succeeds(&self, former: &LogFile) {
        let is_same = {
            let files = &self.writer.lock().files;
            let path = |log: &LogFile| files.get(&log.id).map(|entry| entry.path.clone());
            path(self) == path(former)
        };
        if let Some(incarnation) = former.within_line.get().filter(|_| is_same) {
            self.go_on_within_line(incarnation);
        }
    }

    /// Whether its worker should pause before more of its output is read: the disk is slow, but not stuck. The loop is
    /// woken for [`Writer::heard`] when the worker may go on; if the disk is stuck, the loop has to check again by
    /// time.
    pub(crate) fn must_rest(&self) -> bool {
        let now = now();
        let mut state = self.writer.lock();
        let Some(entry) = state.files.get_mut(&self.id) else { return false };
        entry.resting = entry.waiting.len() >= FILE_SOFT && now.since(entry.since) < PATIENCE;
        entry.resting
    }

    /// Closes the file and opens or creates it again, after another process has moved it away.
    pub(crate) fn reopen(&self) {
        self.change(|entry| entry.reopen = true);
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let shared = &self.writer.0;
        let mut state = shared.lock();
        let Some(entry) = state.files.get_mut(&self.id) else { return };
        change(entry);
        if !entry.taken && (entry.has_work() || entry.is_to_close()) {
            entry.taken = true;
            entry.since = now();
            state.ready.push_back(self.id);
        } else if !entry.taken && entry.closed {
            state.files.remove(&self.id);
        }
        shared.relieve(&mut state);
    }

    fn hand_over(&self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let shared = &self.writer.0;
        let mut state = shared.lock();
        let room = NODE_HARD.saturating_sub(state.waiting);
        let Some(entry) = state.files.get_mut(&self.id) else { return };
        if !entry.lost.is_none() || bytes.len() > room || entry.waiting.len() + bytes.len() > FILE_HARD {
            let first = entry.lost.is_none();
            entry.lost += Lost::of(&bytes);
            if first {
                let path = entry.path.display();
                let trouble =
                    format!("cannot write to {path}: too much waits for its disk, which is slow or does not answer");
                shared.report(&mut state, trouble);
            }
        } else {
            let length = bytes.len();
            if entry.waiting.is_empty() {
                entry.waiting = bytes;
            } else {
                entry.waiting.extend_from_slice(&bytes);
            }
            state.waiting += length;
        }
        drop(state);
        self.change(|_| {});
    }
}

/// What is queued is still written.
impl Drop for LogFile {
    fn drop(&mut self) {
        self.change(|entry| entry.closed = true);
    }
}

impl Batch<'_> {
    /// Adds a line, as the worker wrote it. Lines that are only for display are left out. The pieces of a long line
    /// become one line again in the file, unless another line has come in between: that begins on a line of its own.
    pub(crate) fn write_line(&mut self, line: &Line<'_>) {
        if !line.is_recorded() {
            return;
        }
        let begun = self.file.within_line.replace(line.cut.then_some(self.incarnation));
        let goes_on = line.continued && begun == Some(self.incarnation);
        if begun.is_some() && !goes_on {
            self.bytes.push(b'\n');
        }
        // The end of a line that another line has ended already.
        if line.continued && !goes_on && !line.cut && line.bytes().is_empty() {
            return;
        }
        RotatingFile::lay_out(line, &mut self.bytes);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.file.hand_over(std::mem::take(&mut self.bytes));
    }
}
