//! Access to file systems that may not answer.
//!
//! Any access to a path may hang without limit: a network file system without its server, a FUSE file system without
//! its program. So a thread does it, and the caller waits for a short time. As long as that thread has not come back,
//! further requests for the same directory fail at once. So neither the loop nor the number of threads depends on how
//! often a start is tried.
//!
//! One file system that dies takes many directories with it, and one turn of the loop may access all of them. So after
//! a wait in vain, requests for other directories are waited for only briefly for a while.

use super::clock;
use super::thread::Question;
use crate::time::Span;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How long the caller waits for an answer.
const PATIENCE: Span = Span::from_secs(1);

/// How long it waits within [`BRIEFLY_FOR`] after it has waited in vain for a directory that still does not answer.
const PATIENCE_THEN: Span = Span::from_millis(10);

/// For how long after a wait in vain other directories are waited for only briefly.
const BRIEFLY_FOR: Span = Span::from_secs(10);

/// The error of [`ask`] for a file system that does not answer, of kind `TimedOut`.
const NO_ANSWER: &str = "its file system does not answer";

/// A directory that has not answered yet, and the thread that waits for it.
struct Late {
    directory: PathBuf,
    thread: Weak<()>,
    /// When the caller gave up, in milliseconds of the machine's clock.
    since: u64,
}

/// The directories that have not answered.
struct Disks(Mutex<Vec<Late>>);

static DISKS: Disks = Disks(Mutex::new(Vec::new()));

/// Lets a thread do `work`, which accesses the file at `path`, and returns its result. A result that comes too late is
/// dropped in the thread.
///
/// # Errors
/// `TimedOut` if there is no answer within a second, soon after another directory has not answered within 10 ms, and at
/// once if an earlier request for this directory has no answer yet; the system's, if no thread can be started.
pub(crate) fn ask<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    DISKS.ask(clock::machine_millis(), PATIENCE, path, work)
}

impl Disks {
    /// The directories that still have not answered.
    fn late(&self) -> MutexGuard<'_, Vec<Late>> {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|late| late.thread.strong_count() > 0);
        late
    }

    fn ask<T: Send + 'static>(
        &self,
        now: u64,
        patience: Span,
        path: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let directory = path.parent().unwrap_or(path);
        let no_answer = || io::Error::new(io::ErrorKind::TimedOut, NO_ANSWER);
        let briefly = {
            let late = self.late();
            if late.iter().any(|late| late.directory == directory) {
                return Err(no_answer());
            }
            late.iter().any(|late| now.saturating_sub(late.since) < BRIEFLY_FOR.as_millis())
        };
        let patience = if briefly { patience.min(PATIENCE_THEN) } else { patience };
        let alive = Arc::new(());
        let thread = Arc::downgrade(&alive);
        let question = Question::put("treevisor-disk", move || {
            let answer = work();
            drop(alive);
            answer
        })?;
        question.answer(patience).map_err(|_| {
            let since = now + patience.as_millis();
            self.late().push(Late { directory: directory.to_owned(), thread, since });
            no_answer()
        })
    }
}

/// Lets requests for a directory fail at once, until what is returned is dropped. Others are asked as usual.
#[cfg(test)]
pub(crate) fn without_answer(directory: &Path) -> Arc<()> {
    let alive = Arc::new(());
    DISKS.late().push(Late { directory: directory.to_owned(), thread: Arc::downgrade(&alive), since: 0 });
    alive
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver};

    const LONG: Span = Span::from_secs(600);

    /// Makes a request without waiting, and returns whether it was begun at all.
    fn in_vain(disks: &Disks, path: &str, gate: Receiver<()>) -> bool {
        let (began, has_begun) = mpsc::channel();
        let asked = disks.ask(0, Span::ZERO, Path::new(path), move || {
            let _ = began.send(());
            let _ = gate.recv();
        });
        assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::TimedOut);
        has_begun.recv().is_ok()
    }

    #[test]
    fn a_directory_that_has_not_answered_is_not_asked_again_until_it_has() {
        let disks = Disks(Mutex::default());
        let gate = || mpsc::channel::<()>();
        let (open, hangs) = gate();
        assert!(in_vain(&disks, "/dead/one", hangs));
        for again in ["/dead/one", "/dead/two"] {
            assert!(!in_vain(&disks, again, gate().1), "no second thread for {again}");
        }
        // Later, other directories are asked as usual.
        let then = BRIEFLY_FOR.as_millis();
        assert_eq!(disks.ask(then, LONG, Path::new("/live/one"), || 7).unwrap(), 7);
        assert_eq!(disks.ask(then, LONG, Path::new("/dead"), || 8).unwrap(), 8);
        drop(open);
        while !disks.late().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(disks.ask(0, LONG, Path::new("/dead/one"), || 9).unwrap(), 9);
    }

    #[test]
    fn directories_that_die_together_are_waited_for_once() {
        let disks = Disks(Mutex::default());
        let (_open, hangs) = mpsc::channel::<()>();
        assert!(in_vain(&disks, "/dead/one/socket", hangs));
        // Each of these would be waited for ten minutes.
        let gates: Vec<_> = (2..10).map(|number| (number, mpsc::channel::<()>())).collect();
        let _open: Vec<_> = gates
            .into_iter()
            .map(|(number, (open, hangs))| {
                let path = PathBuf::from(format!("/dead/{number}/socket"));
                let asked = disks.ask(BRIEFLY_FOR.as_millis() - 1, LONG, &path, move || hangs.recv().is_ok());
                assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::TimedOut);
                open
            })
            .collect();
        assert_eq!(disks.late().len(), 9);
    }
}
