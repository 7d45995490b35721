//! Questions to the root, one after the other: a thread of its own asks them, and those that want the same thing share one
//! answer. However many pages are open, the root has one question of theirs at a time.

use super::known::Known;
use crate::control::{AskError, Limits, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::{Refusal, Reply, Verb};
use crate::wire::view::StatusView;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use tokio::sync::oneshot;

/// A root that sends nothing for so long does not answer.
pub(super) const SILENCE: Span = Span::from_secs(2);

/// Questions that may wait.
const WAITING: usize = 128;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// No root is there.
    Gone,
    /// The root does not answer, or cannot be asked now.
    Silent(String),
    /// There is no such path.
    NoPath(String),
    /// It cannot be told of this path now: a supervisor above it is down.
    Down(String),
}

impl From<AskError> for Unanswered {
    fn from(error: AskError) -> Unanswered {
        let text = Chain(&error).to_string();
        match error {
            AskError::Gone => Unanswered::Gone,
            AskError::Refused { why: Refusal::NoSuchPath, .. } => Unanswered::NoPath(text),
            AskError::Refused { why: Refusal::Down | Refusal::NoAnswer, .. } => Unanswered::Down(text),
            _ => Unanswered::Silent(text),
        }
    }
}

type Answer = Result<Arc<StatusView>, Unanswered>;

struct Question {
    path: Path,
    to: oneshot::Sender<Answer>,
}

/// Where questions are handed in.
#[derive(Debug, Clone)]
pub(super) struct Asker(SyncSender<Question>);

impl Asker {
    /// Starts the thread that asks.
    pub(super) fn start(known: Arc<OnceLock<Known>>) -> Asker {
        let (to, questions) = sync_channel(WAITING);
        thread::spawn(move || Asking { known, session: None, waiting: VecDeque::new() }.run(&questions));
        Asker(to)
    }

    /// The status of what is at a path.
    pub(super) async fn status(&self, path: &Path) -> Answer {
        let (to, answer) = oneshot::channel();
        match self.0.try_send(Question { path: path.clone(), to }) {
            Ok(()) => answer.await.unwrap_or(Err(Unanswered::Gone)),
            Err(TrySendError::Full(_)) => Err(Unanswered::Silent("too many questions wait for the root".into())),
            Err(TrySendError::Disconnected(_)) => Err(Unanswered::Gone),
        }
    }
}

struct Asking {
    known: Arc<OnceLock<Known>>,
    session: Option<Session>,
    waiting: VecDeque<Question>,
}

impl Asking {
    /// Until no handle is left to ask by.
    fn run(mut self, questions: &Receiver<Question>) {
        while let Ok(question) = questions.recv() {
            self.waiting.push_back(question);
            while let Some(first) = {
                self.waiting.extend(questions.try_iter());
                self.waiting.pop_front()
            } {
                // What waits before it is asked shares its answer. What comes later must not: it may be asked after a change that
                // this answer does not have yet.
                let (mut same, others): (Vec<_>, Vec<_>) =
                    self.waiting.drain(..).partition(|other| other.path == first.path);
                self.waiting = others.into();
                same.push(first);
                let answer = self.status(&same[0].path.clone());
                for question in same {
                    // One that has gone away needs no answer.
                    let _ = question.to.send(answer.clone());
                }
            }
        }
    }

    fn status(&mut self, path: &Path) -> Answer {
        let known = self.known.get().ok_or(Unanswered::Gone)?;
        if self.session.is_none() {
            self.session = Some(Session::connect(&known.runtime)?);
        }
        let Some(session) = &mut self.session else { return Err(Unanswered::Gone) };
        let limits = Limits { first: SILENCE, overall: SILENCE };
        let reply = session.ask(Verb::status(path.clone()), limits, &mut |_, _| {});
        match reply {
            Ok(Reply::Status { status }) => Ok(Arc::new(*status)),
            Ok(_) => Err(Unanswered::Silent("the root's answer was not understood".into())),
            Err(error) => {
                if matches!(error, AskError::Gone | AskError::Link(_)) {
                    self.session = None;
                }
                Err(error.into())
            }
        }
    }
}
