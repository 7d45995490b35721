//! Writes lines beside the loop: a disk that is slow, or does not answer at all, holds up no supervisor.
//!
//! A producer puts lines into a bounded queue and never waits. A thread takes them out and writes; it is made when
//! there is something to write, and ends a moment after there is nothing more. Lines that find no room are lost and
//! counted, and the file notes it when it can be written again.

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

/// So much is written at a time.
const CHUNK: usize = 64 * 1024;

/// A thread that has nothing to do ends after this.
const IDLE: Duration = Duration::from_millis(200);

/// Lines on their way to a file.
pub(super) struct Beside(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    work: Condvar,
    /// Something was written, or could not be.
    done: Condvar,
}

struct State {
    queue: Queue,
    /// Away while the thread has it.
    sink: Option<Box<dyn Write + Send>>,
    /// There is a thread.
    thread: bool,
    /// The thread waits for work.
    idle: bool,
    /// The last write has failed, and nothing has come since.
    failed: bool,
    /// It is not open for writing.
    gone: bool,
    /// It was waited for in vain: that is done once.
    given_up: bool,
    /// Since when the disk has not taken anything of what waits.
    since: Time,
    /// With more waiting than this, workers are to wait.
    soft: usize,
    /// Some do.
    resting: bool,
    bell: Option<Box<dyn Fn() + Send>>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("waiting", &self.0.lock().queue.len()).finish_non_exhaustive()
    }
}

impl Beside {
    /// Lines go from `queue` to `sink`. Their producer is to pause while more than `soft` bytes wait.
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

    /// Has written what waits. Returns whether that has to be asked for again, as no thread can be made.
    pub(super) fn flush(&self) -> bool {
        self.0.relieve(&mut self.0.lock())
    }

    /// Waits until all is written, for no longer than `limit`. Whether it is.
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

    /// The same for a process that ends: what is left then is given up.
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

/// To close a file may wait for its disk as well.
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

    /// Producers that pause need not any longer.
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
    /// It is held for a few instructions, never across a write.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that a thread writes what waits. Returns whether there can be none.
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
                // What is in front of the queue is still what was in the chunk: others only add behind it.
                Ok(length) if length > 0 => state.queue.written(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                    state.gone = true;
                    state.queue.forget();
                }
                // The disk is full, or in trouble: what there is is given up, and the next line tries again.
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
