//! Actions of operators. A thread of its own sends each request to the root; its progress and result are sent to all
//! pages.

use super::known::Known;
use super::shared::{Shared, now_ms};
use crate::control::{AskError, Limits, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::instance::runtime::InstanceFile;
use crate::os::random;
use crate::time::Span;
use crate::wire::message::{Ask, Meant, Outcome, Refusal, Reply, Verb};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use tokio::sync::oneshot;

/// Panics that may be under way at a time, and other actions.
const AT_ONCE: usize = 16;

/// Limit for the first reply of the root. A root that runs normally replies at once.
const FIRST_REPLY: Span = Span::from_secs(5);

/// Limit for the last reply. An action that takes longer goes on all the same.
const PATIENCE: Span = Span::from_secs(300);

/// The action that a page requests.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    verb: PageVerb,
    pub(super) path: Path,
    /// With `panic`: hold the child down afterwards.
    #[serde(default)]
    hold: bool,
    /// The incarnation that the page shows; the action is refused if it is another one by now.
    pub(super) incarnation: u64,
    /// Those of the supervisors above it, as in [`Meant`].
    #[serde(default)]
    above: Vec<u64>,
    /// The run that the page shows. Incarnations are counted anew in each run.
    #[serde(default)]
    run: Option<String>,
}

/// The verbs that a page can request.
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

    /// Checks that the page shows the run that is running, whose file this is.
    ///
    /// # Errors
    /// Why it is not carried out.
    fn is_of(&self, instance: io::Result<InstanceFile>) -> Result<(), String> {
        let Some(shown) = &self.run else { return Ok(()) };
        match instance {
            Ok(instance) if instance.run() == shown => Ok(()),
            Ok(_) => Err(format!("{} is of another run by now: the tree was started anew", self.path)),
            Err(error) => Err(format!("the run of the tree is not known: {error}")),
        }
    }

    /// Whether the action ends the root, so that the end of the instance is its success.
    fn ends_instance(&self) -> bool {
        self.path.is_root() && matches!(self.verb, PageVerb::Stop | PageVerb::Panic)
    }
}

/// All actions of a console.
pub(super) struct Actions {
    last: AtomicU64,
    /// Actions under way: panics, and all others.
    panics: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
}

impl Actions {
    pub(super) fn new() -> Actions {
        // A page may outlive a console, and takes reports by their numbers: those of the next console must differ. A
        // page can represent numbers below 2^53.
        let mut first = [0; 8];
        if random::fill(&mut first[..6]).is_err() {
            first[..6].copy_from_slice(&now_ms().to_le_bytes()[..6]);
        }
        let last = AtomicU64::new(u64::from_le_bytes(first));
        Actions { last, panics: Arc::default(), others: Arc::default() }
    }

    /// Begins an action on behalf of a client. `None` if too many are under way.
    pub(super) fn begin(
        &self,
        known: &Known,
        shared: &Arc<Shared>,
        action: Action,
        behalf: &str,
    ) -> Option<OngoingAction> {
        // Stops that take long must not keep out a panic.
        let running = Running::one_more(if action.verb == PageVerb::Panic { &self.panics } else { &self.others })?;
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
            // The client may be gone; then nothing receives this.
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
        Some(OngoingAction { number, first })
    }
}

/// An action that is under way.
pub(super) struct OngoingAction {
    pub(super) number: u64,
    first: oneshot::Receiver<First>,
}

/// The root's first reply to an action.
pub(super) enum First {
    /// The action is being carried out, or its result is sent to the pages.
    Taken,
    /// The action was refused, as the run or the child's incarnation is not the one that the page shows.
    Changed(String),
}

impl OngoingAction {
    /// Waits for the root's first reply.
    pub(super) async fn first(self) -> First {
        self.first.await.unwrap_or(First::Taken)
    }
}

/// Counts an action as under way until it is dropped.
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

/// Sends the action's request to the root and returns its result. `Err` has the reason if the run or the child's
/// incarnation is not the one that the page shows.
fn carry_out(known: &Known, action: &Action, via: String, progress: &mut dyn FnMut(&str)) -> Result<Value, String> {
    let session = Session::connect(&known.runtime);
    // Read from the file and not from the hub, which learns of another run up to 250 ms later; and after the connection
    // was made, which the root of a later run may answer.
    action.is_of(known.runtime.read_instance())?;
    let asked = session.and_then(|mut session| {
        session.on_behalf_of(Some(via));
        session.means(Meant { incarnation: action.incarnation, above: action.above.clone() });
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

#[cfg(test)]
mod tests {
    use super::super::app::App;
    use super::*;
    use crate::instance::testing::instance;

    fn action(mut fields: Value) -> Action {
        (fields["path"], fields["incarnation"]) = (json!("/web/a"), json!(1));
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn an_action_on_another_run_is_refused_also_before_the_hub_knows_of_that_run() {
        let (_base, app) = App::in_test();
        let known = app.known().unwrap();
        let done =
            |run: Value| carry_out(known, &action(json!({ "verb": "panic", "run": run })), String::new(), &mut |_| {});
        let missing = done(json!("00000001")).unwrap_err();
        assert!(missing.starts_with("the run of the tree is not known: "), "{missing}");
        known.runtime.create().unwrap();
        let instance = InstanceFile { mark: "0000000200000000".into(), ..instance("shop") };
        known.runtime.write_instance(&instance).unwrap();
        app.shared.lock().here("shop", "00000001", now_ms());
        let stale = "/web/a is of another run by now: the tree was started anew";
        assert_eq!(done(json!("00000001")), Err(stale.to_owned()));
        // These are sent: there is no root.
        for run in [json!("00000002"), json!(null)] {
            assert_eq!(done(run).unwrap()["is"], "failed");
        }
    }

    #[test]
    fn two_consoles_number_their_actions_differently() {
        let first = || Actions::new().last.load(Ordering::Relaxed);
        let numbers = [first(), first(), first()];
        assert!(numbers.iter().all(|number| *number < 1 << 48) && numbers[0] != numbers[1], "{numbers:?}");
    }

    #[test]
    fn slow_stops_leave_room_for_a_panic() {
        let (_base, app) = App::in_test();
        let known = app.known().unwrap();
        let _slow: Vec<Running> = (0..AT_ONCE).map(|_| Running::one_more(&app.actions.others).unwrap()).collect();
        let begin =
            |verb: &str| app.actions.begin(known, &app.shared, action(json!({ "verb": verb })), "test").is_some();
        assert!(!begin("stop") && begin("panic"));
    }
}
