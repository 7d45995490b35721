//! Actions: each is asked for in a thread of its own, and what becomes of it is told to all pages.

use super::known::Known;
use super::shared::{Shared, now_ms};
use crate::control::{AskError, Limits, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::{Ask, Outcome, Reply, Verb};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// Actions that may be under way at a time.
const AT_ONCE: usize = 16;

/// The first reply to anything comes at once from a root that runs.
const FIRST_REPLY: Span = Span::from_secs(5);

/// What takes longer goes on all the same.
const PATIENCE: Span = Span::from_secs(300);

/// What a page asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    verb: Word,
    pub(super) path: Path,
    /// With `panic`: it is to stay down.
    #[serde(default)]
    hold: bool,
    /// The one that the page shows.
    pub(super) incarnation: u64,
}

/// The verbs of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Stop,
    Start,
    Restart,
    Reset,
    Panic,
}

impl Action {
    fn word(&self) -> &'static str {
        match self.verb {
            Word::Stop => "stop",
            Word::Start => "start",
            Word::Restart => "restart",
            Word::Reset => "reset",
            Word::Panic => "panic",
        }
    }

    fn asked(&self) -> Verb {
        let path = self.path.clone();
        match self.verb {
            Word::Stop => Verb::Stop { path },
            Word::Start => Verb::Start { path },
            Word::Restart => Verb::Restart { path },
            Word::Reset => Verb::Reset { path },
            Word::Panic => Verb::Panic { path, hold: self.hold },
        }
    }

    /// Whether the root ends by it, so that its end is the answer.
    fn ends_instance(&self) -> bool {
        self.path.is_root() && matches!(self.verb, Word::Stop | Word::Panic)
    }
}

/// Whether what a page shows is what is there. Of what has no process there is nothing that could be hit by mistake but the
/// one that comes: the number has to be right all the same.
pub(super) fn is_meant(action: &Action, incarnation: u64) -> bool {
    action.incarnation == incarnation
}

/// All actions of a console.
pub(super) struct Actions {
    last: AtomicU64,
    under_way: Arc<AtomicUsize>,
}

impl Actions {
    pub(super) fn new() -> Actions {
        Actions { last: AtomicU64::new(0), under_way: Arc::new(AtomicUsize::new(0)) }
    }

    /// Begins one on behalf of a client; returns its number, or `None` where there are too many.
    pub(super) fn begin(&self, known: &Known, shared: &Arc<Shared>, action: Action, behalf: &str) -> Option<u64> {
        let running = Running::one_more(&self.under_way)?;
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (known, shared) = (known.clone(), Arc::clone(shared));
        let via: String =
            behalf.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(Ask::VIA_MAX).collect();
        thread::spawn(move || {
            let _running = running;
            let tell = |what: Value| {
                let mut told = json!({ "action": number, "verb": action.word(), "path": action.path });
                if let (Value::Object(told), Value::Object(what)) = (&mut told, what) {
                    told.extend(what);
                }
                shared.lock().action(&told, now_ms());
            };
            tell(carry_out(&known, &action, via, &|waiting_for| {
                tell(json!({ "is": "accepted", "waiting_for": waiting_for }));
            }));
        });
        Some(number)
    }
}

/// One of those that are under way.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn one_more(count: &Arc<AtomicUsize>) -> Option<Running> {
        let more = |running| (running < AT_ONCE).then_some(running + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Running(Arc::clone(count)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks for it, and returns what has become of it.
fn carry_out(known: &Known, action: &Action, via: String, progress: &dyn Fn(&str)) -> Value {
    let asked = Session::connect(&known.runtime).and_then(|mut session| {
        session.speaks_for(Some(via));
        progress("the root");
        let mut said = String::new();
        session.ask(action.asked(), Limits { first: FIRST_REPLY, overall: PATIENCE }, &mut |waiting_for, _| {
            if said != waiting_for {
                waiting_for.clone_into(&mut said);
                progress(waiting_for);
            }
        })
    });
    match asked {
        Ok(Reply::Done { outcome: Outcome::Ok, detail }) => {
            json!({ "is": "done", "outcome": Outcome::Ok, "detail": detail })
        }
        Ok(Reply::Done { outcome, detail }) => {
            let words = AskError::Failed { outcome, detail }.to_string();
            json!({ "is": "failed", "outcome": outcome, "detail": words })
        }
        Err(AskError::Gone) if action.ends_instance() => json!({ "is": "done", "outcome": Outcome::Ok, "detail": "" }),
        Ok(_) => json!({ "is": "failed", "detail": "the root's answer was not understood" }),
        Err(error) => json!({ "is": "failed", "detail": Chain(&error).to_string() }),
    }
}
