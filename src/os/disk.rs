//! Asking a file system that may not answer.
//!
//! What a path leads to may hang for as long as it likes: a network file system without its server, a FUSE without its
//! program. So it is asked by a thread, waited for a moment, and as long as that thread has not come back nothing more
//! is asked of the same directory: neither the loop nor the number of threads depends on how often a start is tried.

use super::thread::Question;
use crate::time::Span;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// So long an answer is waited for.
const PATIENCE: Span = Span::from_secs(1);

/// What [`ask`] returns for a file system that does not answer, `TimedOut` as its kind.
const NO_ANSWER: &str = "its file system does not answer";

/// A directory that has not answered yet, for as long as the thread is there that asks it.
struct Late {
    directory: PathBuf,
    thread: Weak<()>,
}

static LATE: Mutex<Vec<Late>> = Mutex::new(Vec::new());

/// The directories that are late by now.
fn late() -> MutexGuard<'static, Vec<Late>> {
    let mut late = LATE.lock().unwrap_or_else(PoisonError::into_inner);
    late.retain(|late| late.thread.strong_count() > 0);
    late
}

/// Has a thread do `work`, which concerns the file at `path`, and gives what came of it. What comes of it too late is
/// dropped there.
///
/// # Errors
/// `TimedOut` where there is no answer within a second, and at once where an earlier question to this directory has
/// none yet; the system's, when there can be no more threads.
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

    /// Asks without patience, and reports whether the question was put at all.
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
        // Others are asked as ever.
        assert_eq!(ask_within(Span::from_secs(600), Path::new("/live/one"), || 7).unwrap(), 7);
        assert_eq!(ask_within(Span::from_secs(600), Path::new("/dead"), || 8).unwrap(), 8);
        drop(open);
        while late().iter().any(|late| late.directory == Path::new("/dead")) {
            std::thread::yield_now();
        }
        assert_eq!(ask_within(Span::from_secs(600), Path::new("/dead/one"), || 9).unwrap(), 9);
    }
}
