//! Status requests to the root. One thread sends them one after the other, and equal requests share one answer. So the
//! root has one request at a time, however many pages are open.

use super::hub::{Root, SILENCE};
use super::known::Known;
use super::shared::{Shared, now_ms};
use crate::control::{AskError, Limits, Session};
use crate::error::Chain;
use crate::ids::{Name, Path};
use crate::time::Span;
use crate::wire::message::{Refusal, Reply, Verb};
use crate::wire::view::StatusView;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Most requests that may wait.
const WAITING: usize = 128;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The instance does not run.
    Gone,
    /// The root does not answer, or the queue of requests is full.
    Silent(String),
    /// There is no such path.
    NoPath(String),
    /// The state of the path is not known now, as a supervisor above it is down.
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

/// How often to check whether a request for the pages is due: while pages are open, and while none is.
const LOOK: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_secs(5);

/// Limit for an answer with the whole tree: of a large one on a busy machine it is not there in [`SILENCE`].
const WHOLE: Span = Span::from_secs(5);

type Answer = Result<Arc<StatusView>, Unanswered>;

/// A status request on behalf of one HTTP request.
struct Question {
    path: Path,
    children: Option<Vec<Name>>,
    to: oneshot::Sender<Answer>,
}

fn too_many() -> Unanswered {
    Unanswered::Silent("too many questions wait for the root".into())
}

enum Order {
    Ask(Question),
    /// A request for the pages may be due.
    Look,
}

/// The handle by which requests are queued.
#[derive(Clone)]
pub(super) struct Asker(SyncSender<Order>);

impl Asker {
    /// Starts the thread that sends the requests.
    pub(super) fn start(known: Arc<OnceLock<Known>>, hub: Arc<Shared>) -> Asker {
        let (to, orders) = sync_channel(WAITING);
        thread::spawn(move || Asking::new(known, hub, orders).run());
        Asker(to)
    }

    /// The status of the child at a path.
    pub(super) async fn status(&self, path: &Path) -> Answer {
        self.ask(path, None).await
    }

    /// The status of the child at a path without the children below it.
    pub(super) async fn status_alone(&self, path: &Path) -> Answer {
        self.ask(path, Some(Vec::new())).await
    }

    async fn ask(&self, path: &Path, children: Option<Vec<Name>>) -> Answer {
        let (to, answer) = oneshot::channel();
        match self.0.try_send(Order::Ask(Question { path: path.clone(), children, to })) {
            Ok(()) => answer.await.unwrap_or(Err(Unanswered::Gone)),
            Err(TrySendError::Full(_)) => Err(too_many()),
            Err(TrySendError::Disconnected(_)) => Err(Unanswered::Gone),
        }
    }

    /// Wakes the thread: a page shows something else now, or the first page was opened.
    pub(super) fn look(&self) {
        // If the queue is full, the thread checks anyway.
        let _ = self.0.try_send(Order::Look);
    }
}

struct Asking {
    known: Arc<OnceLock<Known>>,
    hub: Arc<Shared>,
    orders: Receiver<Order>,
    session: Option<Session>,
    waiting: VecDeque<Question>,
}

impl Asking {
    fn new(known: Arc<OnceLock<Known>>, hub: Arc<Shared>, orders: Receiver<Order>) -> Asking {
        Asking { known, hub, orders, session: None, waiting: VecDeque::new() }
    }

    /// Runs until all handles are dropped.
    fn run(mut self) {
        loop {
            let pause = if self.hub.lock().is_idle(now_ms()) { IDLE } else { LOOK };
            match self.orders.recv_timeout(pause) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            loop {
                self.take_all();
                let Some(first) = self.waiting.pop_front() else { break };
                self.for_requests(first);
                self.for_pages();
            }
            self.for_pages();
        }
    }

    /// Takes in what was ordered meanwhile, without the requests whose clients are gone.
    fn take_all(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.take(order);
        }
        self.waiting.retain(|question| !question.to.is_closed());
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Ask(question) if self.waiting.len() < WAITING => self.waiting.push_back(question),
            Order::Ask(question) => drop(question.to.send(Err(too_many()))),
            Order::Look => {}
        }
    }

    /// The root does not answer: no request that waits is sent, as each would take as long as this one did.
    fn is_silent(&mut self, text: &str) {
        self.hub.lock().is_not(Root::Silent, now_ms());
        self.take_all();
        for question in self.waiting.drain(..) {
            let _ = question.to.send(Err(Unanswered::Silent(text.to_owned())));
        }
    }

    fn for_requests(&mut self, first: Question) {
        // Equal requests that were queued before this one is sent share its answer. Later ones must not: they may have
        // been made after a change that the answer does not contain yet.
        let (mut same, others): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|other| other.path == first.path && other.children == first.children);
        self.waiting = others.into();
        let answer = self.status(&first.path, first.children.clone()).map(Arc::new);
        same.push(first);
        for question in same {
            // The client may be gone; then nothing receives this.
            let _ = question.to.send(answer.clone());
        }
    }

    fn for_pages(&mut self) {
        let question = self.hub.lock().question(now_ms());
        if let Some(question) = question
            && let Ok(status) = self.status(&question.path, question.children.clone())
        {
            self.hub.lock().answer(&question, &status, now_ms());
            self.hub.wake();
        }
    }

    fn status(&mut self, path: &Path, children: Option<Vec<Name>>) -> Result<StatusView, Unanswered> {
        let known = self.known.get().ok_or(Unanswered::Gone)?;
        // A session is with one root. Another one may run by now.
        self.session.take_if(|session| session.root_has_exited());
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::connect(&known.runtime)?),
        };
        let limit = if path.is_root() && children.is_none() { WHOLE } else { SILENCE };
        let limits = Limits { first: limit, overall: limit };
        match session.ask(Verb::Status { path: path.clone(), children }, limits, &mut |_, _| {}) {
            Ok(Reply::Status { status }) => {
                self.hub.lock().answered(now_ms());
                Ok(*status)
            }
            Ok(_) => Err(Unanswered::Silent("the root's answer was not understood".into())),
            Err(error) => {
                if matches!(error, AskError::Gone | AskError::Link(_)) {
                    self.session = None;
                } else if matches!(error, AskError::NoAnswer { .. } | AskError::FellSilent { .. }) {
                    self.is_silent(&Chain(&error).to_string());
                }
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
