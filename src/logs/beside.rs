//! Writes lines in a thread beside the loop, so that a slow or hanging disk does not block a supervisor.
//!
//! A producer puts lines into a bounded queue and never waits. A thread takes them out and writes them; it is started
//! when there is something to write, and ends a moment after the queue is empty. Lines for which the queue has no room
//! are lost and counted, and the file gets a notice of that when it can be written again.

use super::lost::Unreported;
use super::queue::Queue;
use super::writer::{PATIENCE, now};
use crate::os::thread;
use crate::time::{Span, Time};
use std::fmt;
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Most bytes of one write.
const CHUNK: usize = 64 * 1024;

/// How long the thread waits for more lines before it ends.
const IDLE: Duration = Duration::from_millis(200);

/// A queue of lines, and the thread that writes them to a file.
pub(super) struct Beside(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Signals that there is something to write.
    work: Condvar,
    /// Signals that something was written, or could not be.
    done: Condvar,
}

struct State {
    queue: Queue,
    /// The file; `None` while the thread uses it.
    sink: Option<Box<dyn Write + Send>>,
    /// Whether the thread exists.
    thread: bool,
    /// Whether the thread waits for work.
    idle: bool,
    /// The last write has failed, and no line was pushed since.
    failed: bool,
    /// The descriptor is not open for writing: all lines are discarded.
    gone: bool,
    /// A wait for the disk has timed out; it is not waited for again.
    given_up: bool,
    /// Since when the disk has written nothing of the queue.
    since: Time,
    /// With more bytes in the queue than this, producers should pause.
    soft: usize,
    /// Whether a producer pauses.
    resting: bool,
    bell: Option<Box<dyn Fn() + Send>>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("waiting", &self.0.lock().queue.len()).finish_non_exhaustive()
    }
}

impl Beside {
    /// Writes lines from `queue` to `sink`. Producers should pause while more than `soft` bytes are queued.
    pub(super) fn new(sink: Box<dyn Write + Send>, queue: Queue, soft: usize) -> Beside {
        let state = State {
            queue,
            sink: Some(sink),
            thread: false,
            idle: false,
            failed: false,
            gone: false,
            given_up: false,
            since: Time::ZERO,
            soft,
            resting: false,
            bell: None,
        };
        Beside(Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), done: Condvar::new() }))
    }

    pub(super) fn set_json(&self, json: bool) {
        self.0.lock().queue.json = json;
    }

    /// What no notice reports yet.
    pub(super) fn unreported(&self) -> Unreported {
        self.0.lock().queue.unreported()
    }

    /// Goes on after the image before.
    pub(super) fn take_over(&self, before: Unreported) {
        self.0.lock().queue.take_over(before);
    }

    pub(super) fn push(&self, text: &[u8]) {
        let mut state = self.0.lock();
        if state.gone {
            return;
        }
        if state.queue.is_empty() {
            state.since = now();
        }
        state.failed = false;
        state.queue.push(text);
    }

    /// Makes a thread write the queue. Returns whether the caller must call again, since no thread could be started.
    pub(super) fn flush(&self) -> bool {
        self.0.relieve(&mut self.0.lock())
    }

    /// Waits up to `limit` until the queue is written. Returns whether it is.
    pub(super) fn settle(&self, limit: Span) -> bool {
        let end = now() + limit;
        let mut state = self.0.lock();
        loop {
            self.0.relieve(&mut state);
            let now = now();
            if !state.has_work() || now >= end {
                return !state.has_work();
            }
            let step = end.since(now).min(Span::from_millis(50)).as_duration();
            state = self.0.done.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Like [`Beside::settle`], for a process that ends: after the limit the rest is given up.
    pub(super) fn finish(&self, limit: Span) {
        let end = now() + limit;
        let mut state = self.0.lock();
        loop {
            self.0.relieve(&mut state);
            let now = now();
            if !state.has_work() || state.given_up || now >= end {
                break;
            }
            let step = end.since(now).min(Span::from_millis(50)).as_duration();
            state = self.0.done.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.given_up |= state.has_work();
    }

    pub(super) fn must_rest(&self) -> bool {
        let mut state = self.0.lock();
        state.resting = state.queue.len() >= state.soft && now().since(state.since) < PATIENCE;
        state.resting
    }

    pub(super) fn rings(&self, bell: Box<dyn Fn() + Send>) {
        self.0.lock().bell = Some(bell);
    }

    #[cfg(test)]
    pub(super) fn wants_write(&self) -> bool {
        !self.0.lock().queue.is_empty()
    }

    #[cfg(test)]
    pub(super) fn lost(&self) -> super::lost::Lost {
        self.0.lock().queue.lost()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.lock().gone
    }
}

/// Closing a file may block on its disk as well, so a thread does it.
impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(sink) = self.0.lock().sink.take() {
            thread::briefly(PATIENCE, move || drop(sink));
        }
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.gone && !self.failed && (!self.queue.is_empty() || self.queue.has_unreported())
    }

    /// Wakes the producers that pause, if they need not pause any longer.
    fn wake_those_who_rest(&mut self) {
        if self.queue.len() <= self.soft / 2
            && std::mem::take(&mut self.resting)
            && let Some(bell) = &self.bell
        {
            bell();
        }
    }
}

impl Shared {
    /// The lock is held for a few instructions, never during a write.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts or wakes the thread if there is something to write. Returns true if that is necessary but impossible.
    fn relieve(self: &Arc<Shared>, state: &mut State) -> bool {
        if !state.has_work() {
            return false;
        }
        if state.thread {
            if state.idle {
                self.work.notify_one();
            }
            return false;
        }
        let shared = Arc::clone(self);
        state.thread = thread::start_quiet("treevisor-out", move || shared.run()).is_ok();
        !state.thread
    }

    fn run(&self) {
        let mut chunk = Vec::new();
        let mut state = self.lock();
        let Some(mut sink) = state.sink.take() else { return };
        loop {
            if !state.has_work() {
                state.idle = true;
                let (woken, waited) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                state.idle = false;
                if waited.timed_out() && !state.has_work() {
                    state.sink = Some(sink);
                    state.thread = false;
                    return;
                }
                continue;
            }
            chunk.clear();
            chunk.extend_from_slice(state.queue.next(CHUNK));
            drop(state);
            let written = sink.write(&chunk);
            state = self.lock();
            state.since = now();
            match written {
                // The chunk is still at the front of the queue: producers only append.
                Ok(length) if length > 0 => state.queue.written(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                    state.gone = true;
                    state.queue.forget();
                }
                // The disk is full or has failed: the queue is given up, and the next line tries again.
                Ok(_) | Err(_) => {
                    state.queue.lose_all();
                    state.failed = true;
                }
            }
            state.wake_those_who_rest();
            self.done.notify_all();
        }
    }
}
