//! Actions: each is asked for in a thread of its own, and what becomes of it is sent to all pages.

use super::known::Known;
use super::shared::{Shared, now_ms};
use crate::control::{AskError, Limits, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::{Ask, Outcome, Refusal, Reply, Verb};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use tokio::sync::oneshot;

/// Actions that may be under way at a time.
const AT_ONCE: usize = 16;

/// The first reply to anything comes at once from a root that runs.
const FIRST_REPLY: Span = Span::from_secs(5);

/// What takes longer goes on all the same.
const PATIENCE: Span = Span::from_secs(300);

/// What a page asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    verb: PageVerb,
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
enum PageVerb {
    Stop,
    Start,
    Restart,
    Reset,
    Panic,
}

impl Action {
    fn word(&self) -> &'static str {
        match self.verb {
            PageVerb::Stop => "stop",
            PageVerb::Start => "start",
            PageVerb::Restart => "restart",
            PageVerb::Reset => "reset",
            PageVerb::Panic => "panic",
        }
    }

    fn asked(&self) -> Verb {
        let path = self.path.clone();
        match self.verb {
            PageVerb::Stop => Verb::Stop { path },
            PageVerb::Start => Verb::Start { path },
            PageVerb::Restart => Verb::Restart { path },
            PageVerb::Reset => Verb::Reset { path },
            PageVerb::Panic => Verb::Panic { path, hold: self.hold },
        }
    }

    /// Whether the root ends by it, so that its end is the answer.
    fn ends_instance(&self) -> bool {
        self.path.is_root() && matches!(self.verb, PageVerb::Stop | PageVerb::Panic)
    }
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

    /// Begins one on behalf of a client; returns it, or `None` where there are too many.
    pub(super) fn begin(&self, known: &Known, shared: &Arc<Shared>, action: Action, behalf: &str) -> Option<Begun> {
        let running = Running::one_more(&self.under_way)?;
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (known, shared) = (known.clone(), Arc::clone(shared));
        let via: String =
            behalf.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(Ask::VIA_MAX).collect();
        let (says, first) = oneshot::channel();
        thread::spawn(move || {
            let _running = running;
            let tell = |what: Value| {
                let mut told = json!({ "action": number, "verb": action.word(), "path": action.path });
                if let (Value::Object(told), Value::Object(what)) = (&mut told, what) {
                    told.extend(what);
                }
                shared.lock().action(&told, now_ms());
            };
            tell(json!({ "is": "accepted", "waiting_for": "the root" }));
            let mut says = Some(says);
            // A client that has gone away needs no answer.
            let mut first = |word| drop(says.take().map(|says| says.send(word)));
            let said = carry_out(&known, &action, via, &mut |waiting_for| {
                first(First::Taken);
                tell(json!({ "is": "accepted", "waiting_for": waiting_for }));
            });
            match said {
                Ok(said) => {
                    tell(said);
                    first(First::Taken);
                }
                Err(changed) => {
                    tell(json!({ "is": "failed", "detail": changed }));
                    first(First::Changed(changed));
                }
            }
        });
        Some(Begun { number, first })
    }
}

/// An action that the root is being asked for.
pub(super) struct Begun {
    pub(super) number: u64,
    first: oneshot::Receiver<First>,
}

/// What the root has replied to an action at first.
pub(super) enum First {
    /// It is being carried out, or what else is sent to the pages.
    Taken,
    /// It is refused, as what is there is not what the page has shown.
    Changed(String),
}

impl Begun {
    /// The root's first word.
    pub(super) async fn first(self) -> First {
        self.first.await.unwrap_or(First::Taken)
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

/// Asks for it, and returns what has become of it; why it was refused, where another incarnation is there than the page
/// shows.
fn carry_out(known: &Known, action: &Action, via: String, progress: &mut dyn FnMut(&str)) -> Result<Value, String> {
    let asked = Session::connect(&known.runtime).and_then(|mut session| {
        session.on_behalf_of(Some(via));
        session.means(action.incarnation);
        let mut said = String::new();
        session.ask(action.asked(), Limits { first: FIRST_REPLY, overall: PATIENCE }, &mut |waiting_for, _| {
            if said != waiting_for {
                waiting_for.clone_into(&mut said);
                progress(waiting_for);
            }
        })
    });
    Ok(match asked {
        Ok(Reply::Done { outcome: Outcome::Ok, detail }) => {
            json!({ "is": "done", "outcome": Outcome::Ok, "detail": detail })
        }
        Ok(Reply::Done { outcome, detail }) => {
            let words = AskError::Failed { outcome, detail }.to_string();
            json!({ "is": "failed", "outcome": outcome, "detail": words })
        }
        Err(AskError::Gone) if action.ends_instance() => json!({ "is": "done", "outcome": Outcome::Ok, "detail": "" }),
        Err(AskError::Refused { why: Refusal::Changed, message }) => return Err(message),
        Ok(_) => json!({ "is": "failed", "detail": "the root's answer was not understood" }),
        Err(error) => json!({ "is": "failed", "detail": Chain(&error).to_string() }),
    })
}
