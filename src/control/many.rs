//! Several requests at once: the root and the supervisors below it work on them in parallel.

use super::session::{AskError, Limits, Session};
use crate::time::{Span, Time};
use crate::wire::message::{Reply, Verb};

/// A step of one of several requests.
#[derive(Debug)]
pub enum Step {
    /// The request is being carried out; the text names what it waits for.
    Progress(String),
    /// The last reply to the request, or why there is none.
    Ended(Result<Reply, AskError>),
}

/// A request that has been sent.
struct Asked {
    at: usize,
    request: u64,
    begun: Time,
    silent_at: Time,
    waiting_for: Option<String>,
}

impl Session {
    /// Sends many requests, at most `at_once` at a time, and waits until each has its last reply or the limit for all
    /// together is over. `each` is called for every step of a request, with its index in `verbs` and the time that it
    /// has taken so far.
    pub fn ask_many(
        &mut self,
        verbs: &[Verb],
        limits: Limits,
        at_once: usize,
        each: &mut dyn FnMut(usize, Step, Span),
    ) {
        let overall = self.now() + limits.overall;
        let mut waiting: Vec<Asked> = Vec::new();
        let mut next = 0;
        loop {
            let now = self.now();
            while next < verbs.len() && waiting.len() < at_once && now < overall {
                match self.send(verbs[next].clone(), limits.first) {
                    Ok(request) => {
                        let silent_at = overall.min(now + limits.first);
                        waiting.push(Asked { at: next, request, begun: now, silent_at, waiting_for: None });
                    }
                    // The queue is full. Requests under way make room when they end; without any, the queue stays full,
                    // which is an error.
                    Err(_) if !waiting.is_empty() => break,
                    Err(error) => each(next, Step::Ended(Err(error)), Span::ZERO),
                }
                next += 1;
            }
            let Some(until) = waiting.iter().map(|asked| asked.silent_at).min() else { break };
            let told = self.next_reply_among(|request| waiting.iter().any(|asked| asked.request == request), until);
            let now = self.now();
            match told {
                Ok(Some((request, reply))) => {
                    let Some(place) = waiting.iter().position(|asked| asked.request == request) else { continue };
                    let asked = &mut waiting[place];
                    let since = now.since(asked.begun);
                    match reply {
                        Reply::Accepted { waiting_for } => {
                            asked.silent_at = overall.min(now + limits.first);
                            each(asked.at, Step::Progress(waiting_for.clone()), since);
                            asked.waiting_for = Some(waiting_for);
                        }
                        Reply::Refused { why, message } => {
                            each(asked.at, Step::Ended(Err(AskError::Refused { why, message })), since);
                            waiting.remove(place);
                        }
                        reply => {
                            each(asked.at, Step::Ended(Ok(reply)), since);
                            waiting.remove(place);
                        }
                    }
                }
                Ok(None) => waiting.retain_mut(|asked| {
                    if asked.silent_at > now {
                        return true;
                    }
                    let since = now.since(asked.begun);
                    let error = match asked.waiting_for.take() {
                        None => AskError::NoAnswer { limit: since },
                        Some(waiting_for) if now >= overall => AskError::NotDone { waiting_for, limit: limits.overall },
                        Some(waiting_for) => AskError::FellSilent { waiting_for },
                    };
                    each(asked.at, Step::Ended(Err(error)), since);
                    false
                }),
                Err(error) => {
                    // The instance has ended, or the output has no reader: there is nothing to wait for.
                    let why = || if matches!(error, AskError::Cut) { AskError::Cut } else { AskError::Gone };
                    waiting.drain(..).for_each(|asked| each(asked.at, Step::Ended(Err(why())), now.since(asked.begun)));
                    (next..verbs.len()).for_each(|at| each(at, Step::Ended(Err(why())), Span::ZERO));
                    return;
                }
            }
        }
        for at in next..verbs.len() {
            let waiting_for = "its turn has not come".into();
            each(at, Step::Ended(Err(AskError::NotDone { waiting_for, limit: limits.overall })), Span::ZERO);
        }
    }
}
