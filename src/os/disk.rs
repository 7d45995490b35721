//! Access to file systems that may not answer.
//!
//! Any access to a path may hang without limit: a network file system without its server, a FUSE file system without
//! its program. So a thread does it, and the caller waits for a short time. As long as that thread has not come back,
//! further requests for the same directory fail at once. So neither the loop nor the number of threads depends on how
//! often a start is tried.

use super::thread::Question;
use crate::time::Span;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How long the caller waits for an answer.
const PATIENCE: Span = Span::from_secs(1);

/// The error of [`ask`] for a file system that does not answer, of kind `TimedOut`.
const NO_ANSWER: &str = "its file system does not answer";

/// A directory that has not answered yet, and the thread that waits for it.
struct Late {
    directory: PathBuf,
    thread: Weak<()>,
}

static LATE: Mutex<Vec<Late>> = Mutex::new(Vec::new());

/// The directories that still have not answered.
fn late() -> MutexGuard<'static, Vec<Late>> {
    let mut late = LATE.lock().unwrap_or_else(PoisonError::into_inner);
    late.retain(|late| late.thread.strong_count() > 0);
    late
}

/// Lets a thread do `work`, which accesses the file at `path`, and returns its result. A result that comes too late is
/// dropped in the thread.
///
/// # Errors
/// `TimedOut` if there is no answer within a second, and at once if an earlier request for this directory has no answer
/// yet; the system's, if no thread can be started.
pub(crate) fn ask<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    ask_within(PATIENCE, path, work)
}

fn ask_within<T: Send + 'static>(
    patience: Span,
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let directory = path.parent().unwrap_or(path);
    let no_answer = || io::Error::new(io::ErrorKind::TimedOut, NO_ANSWER);
    if late().iter().any(|late| late.directory == directory) {
        return Err(no_answer());
    }
    let alive = Arc::new(());
    let thread = Arc::downgrade(&alive);
    let question = Question::put("treevisor-disk", move || {
        let answer = work();
        drop(alive);
        answer
    })?;
    question.answer(patience).map_err(|_| {
        late().push(Late { directory: directory.to_owned(), thread });
        no_answer()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver};

    /// Makes a request without waiting, and returns whether it was begun at all.
    fn in_vain(path: &str, gate: Receiver<()>) -> bool {
        let (began, has_begun) = mpsc::channel();
        let asked = ask_within(Span::ZERO, Path::new(path), move || {
            let _ = began.send(());
            let _ = gate.recv();
        });
        assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::TimedOut);
        has_begun.recv().is_ok()
    }

    #[test]
    fn a_directory_that_has_not_answered_is_not_asked_again_until_it_has() {
        let gate = || mpsc::channel::<()>();
        let (open, hangs) = gate();
        assert!(in_vain("/dead/one", hangs));
        for again in ["/dead/one", "/dead/two"] {
            assert!(!in_vain(again, gate().1), "no second thread for {again}");
        }
        // Other directories are asked as usual.
        assert_eq!(ask_within(Span::from_secs(600), Path::new("/live/one"), || 7).unwrap(), 7);
        assert_eq!(ask_within(Span::from_secs(600), Path::new("/dead"), || 8).unwrap(), 8);
        drop(open);
        while late().iter().any(|late| late.directory == Path::new("/dead")) {
            std::thread::yield_now();
        }
        assert_eq!(ask_within(Span::from_secs(600), Path::new("/dead/one"), || 9).unwrap(), 9);
    }
}
