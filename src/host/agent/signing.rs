//! The steps of this host in replacing the cluster's signing key, one at a time. A thread carries them out, as files,
//! the store and the host's own member of the store may block.

use super::beside::Beside;
use super::connections::Connections;
use crate::error::Chain;
use crate::host::etcd::{self, again::start_again};
use crate::host::identity::{Keys, SigningKey};
use crate::host::member::signing::{alone, certified, with};
use crate::host::store_opener::{open_store, tls};
use crate::hosts::renewal::are_same;
use crate::spec::host::HostFile;
use crate::store::etcd::Endpoints;
use crate::time::{Span, Time};
use std::error::Error;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// How often the next step is looked for, and a failed one tried again.
const LOOK: Span = Span::from_secs(1);

/// A step for the thread.
pub(super) enum Job {
    /// Look in this host's key file for the key with this public half, where an operator's command may have put it.
    Read(String),
    /// Accept this key besides the present one.
    Take(SigningKey),
    Certify,
    Drop,
    Restart,
}

struct StepOutcome {
    /// The keys of this host, if they have changed.
    keys: Option<Keys>,
    /// The issuers that this host's member of the store accepts; `None`: it runs none.
    member: Option<Vec<String>>,
}

/// What the thread works with.
#[derive(Clone)]
struct SigningContext {
    file: HostFile,
    place: PathBuf,
    endpoints: Endpoints,
}

/// The steps of this host, and the one in progress.
pub(super) struct Signing {
    context: SigningContext,
    member: Option<Vec<String>>,
    under_way: bool,
    look_at: Time,
    /// The error that was reported last, so that each is reported once.
    complaint: String,
    beside: Beside<Result<StepOutcome, String>>,
}

impl Signing {
    /// # Errors
    /// The system's, and those of reading which certificates the host's member accepts.
    pub(super) fn new(file: &HostFile, endpoints: Endpoints, on: &Connections) -> Result<Signing, Box<dyn Error>> {
        let context = SigningContext { file: file.clone(), place: on.place().to_owned(), endpoints };
        Ok(Signing {
            member: context.member(on.keys())?,
            context,
            under_way: false,
            look_at: Time::ZERO,
            complaint: String::new(),
            beside: Beside::new()?,
        })
    }

    /// A descriptor that becomes readable when the thread is done.
    pub(super) fn fd(&self) -> RawFd {
        self.beside.fd()
    }

    /// The issuers that this host's record is to show for these keys: none as long as its member of the store accepts
    /// others.
    pub(super) fn shown(&self, keys: &Keys) -> Vec<String> {
        let own = keys.signers().issuers();
        let is_current = self.member().is_none_or(|member| are_same(member, own.iter().map(String::as_str)));
        if is_current { own } else { Vec::new() }
    }

    /// The outcome of the step that has ended since the last call: changed keys, or an error that was not reported
    /// before.
    pub(super) fn ended(&mut self, now: Time) -> Option<Result<Keys, String>> {
        let ended = self.beside.take()?;
        self.under_way = false;
        self.look_at = now + LOOK;
        match ended {
            Ok(StepOutcome { keys, member }) => {
                self.complaint.clear();
                // After a step that has changed something, the next one can begin at once; a key that was not found is
                // looked for later.
                if keys.is_some() || member != self.member {
                    self.look_at = now;
                }
                self.member = member;
                keys.map(Ok)
            }
            Err(why) => self.is_news(&why).then_some(Err(why)),
        }
    }

    /// Whether to look for the next step: once a second, and after a step.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        let is_due = !self.under_way && self.look_at <= now;
        if is_due {
            self.look_at = now + LOOK;
        }
        is_due
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// The issuers that this host's member of the store accepts; `None`: it runs none.
    pub(super) fn member(&self) -> Option<&[String]> {
        self.member.as_deref()
    }

    /// Whether this error differs from the last one; remembers it.
    pub(super) fn is_news(&mut self, why: &str) -> bool {
        let is_news = self.complaint != why;
        why.clone_into(&mut self.complaint);
        is_news
    }

    /// Has the thread carry out a step, with these keys.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn begin(&mut self, job: Job, keys: &Keys) -> io::Result<()> {
        let (context, keys) = (self.context.clone(), keys.clone());
        self.under_way = true;
        let work = move || context.carry_out(job, &keys).map_err(|error| Chain(&*error).to_string());
        self.beside.begin("treevisor-signing", work).inspect_err(|_| self.under_way = false)
    }
}

impl SigningContext {
    fn member(&self, keys: &Keys) -> Result<Option<Vec<String>>, Box<dyn Error>> {
        let runs = self.file.member().is_some();
        if runs { etcd::taken(&keys.signers()) } else { Ok(None) }
    }

    fn carry_out(&self, job: Job, keys: &Keys) -> Result<StepOutcome, Box<dyn Error>> {
        let SigningContext { file, place, endpoints } = self;
        let others = match job {
            Job::Read(wanted) => {
                let also = Keys::read(place)?.and_then(|found| found.also).filter(|also| also.issuer() == wanted);
                also.map(|also| Keys { also: Some(also), ..keys.clone() })
            }
            Job::Take(also) => Some(with(place, keys, Some(also))?),
            Job::Certify => Some(certified(file, place, keys, &open_store)?),
            Job::Drop => Some(alone(file, place, keys, &open_store)?),
            Job::Restart => {
                let at = file.member().ok_or("this host runs no member of the store")?;
                start_again(file, &at, &keys.signers())
                    .map_err(|why| format!("this host's member of the store at {}: {}", at.client(), Chain(&*why)))?;
                None
            }
        };
        let now = others.as_ref().unwrap_or(keys);
        if others.is_some() && file.store.run.is_some() {
            tls(file, Some(&now.signers()))?.map(|tls| endpoints.prove(&tls)).transpose()?;
        }
        Ok(StepOutcome { member: self.member(now)?, keys: others })
    }
}
