//! The steps of this host by which its cluster gets another key to sign by, one at a time. A thread makes them, as
//! files, the store and the host's own member of that take their time.

use super::connections::Connections;
use crate::error::Chain;
use crate::host::etcd::{self, again::start_again};
use crate::host::identity::{Keys, SigningKey};
use crate::host::member::signing::{alone, certified, with};
use crate::host::way::{tls, way_to};
use crate::hosts::renewal::are_same;
use crate::os::thread;
use crate::os::wake::Wake;
use crate::spec::host::HostFile;
use crate::store::etcd::Endpoints;
use crate::time::{Span, Time};
use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// So often it is looked what is next; what has failed is tried again then.
const LOOK: Span = Span::from_secs(1);

/// What the thread does.
pub(super) enum Job {
    /// Look whether the key with this public half lies in this host's own file: an operator's command has put it there.
    Read(String),
    /// Take this key as well.
    Take(SigningKey),
    Certify,
    Drop,
    Restart,
}

/// What is there when it is done.
struct Did {
    /// The keys of this host, where they are others now.
    keys: Option<Keys>,
    /// Those that its member of the store takes.
    member: Option<Vec<String>>,
}

/// What the thread works with.
#[derive(Clone)]
struct Means {
    file: HostFile,
    place: PathBuf,
    endpoints: Endpoints,
}

/// The part.
pub(super) struct Signing {
    means: Means,
    member: Option<Vec<String>>,
    under_way: bool,
    look_at: Time,
    /// What was reported last, so that it is reported once.
    complaint: String,
    tell: Sender<Result<Did, String>>,
    told: Receiver<Result<Did, String>>,
    wake: Arc<Wake>,
}

impl Signing {
    /// # Errors
    /// The system's, and the file's of what the host's member takes.
    pub(super) fn new(file: &HostFile, endpoints: Endpoints, on: &Connections) -> Result<Signing, Box<dyn Error>> {
        let (tell, told) = mpsc::channel();
        let means = Means { file: file.clone(), place: on.place().to_owned(), endpoints };
        Ok(Signing {
            member: means.member(on.keys())?,
            means,
            under_way: false,
            look_at: Time::ZERO,
            complaint: String::new(),
            tell,
            told,
            wake: Arc::new(Wake::new()?),
        })
    }

    /// Can be read when the thread is done.
    pub(super) fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// What this host's record is to show of these keys: nothing as long as its member of the store takes others.
    pub(super) fn shown(&self, keys: &Keys) -> Vec<String> {
        let own = keys.signers().issuers();
        let is_current = self.member().is_none_or(|member| are_same(member, own.iter().map(String::as_str)));
        if is_current { own } else { Vec::new() }
    }

    /// What has come of it since the last call: keys that are others now, or why it cannot be done, where that is news.
    pub(super) fn ended(&mut self, now: Time) -> Option<Result<Keys, String>> {
        self.wake.take();
        let ended = self.told.try_recv().ok()?;
        self.under_way = false;
        self.look_at = now + LOOK;
        match ended {
            Ok(Did { keys, member }) => {
                self.complaint.clear();
                // One whose key was not found asks again a little later; else the next step can come at once.
                if keys.is_some() || member != self.member {
                    self.look_at = now;
                }
                self.member = member;
                keys.map(Ok)
            }
            Err(why) => self.is_news(&why).then_some(Err(why)),
        }
    }

    /// Whether it is to be looked at what is next: once a second, and when a step is done.
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

    /// The keys that its member of the store takes; `None` where it runs none.
    pub(super) fn member(&self) -> Option<&[String]> {
        self.member.as_deref()
    }

    /// Whether this was not what was reported last.
    pub(super) fn is_news(&mut self, why: &str) -> bool {
        let is_news = self.complaint != why;
        why.clone_into(&mut self.complaint);
        is_news
    }

    /// Has the thread do this, with these keys.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn begin(&mut self, job: Job, keys: &Keys) -> io::Result<()> {
        let (tell, wake, means, keys) = (self.tell.clone(), Arc::clone(&self.wake), self.means.clone(), keys.clone());
        self.under_way = true;
        thread::start_quiet("treevisor-signing", move || {
            // The agent has ended, where it takes none.
            let _ = tell.send(means.carry_out(job, &keys).map_err(|error| Chain(&*error).to_string()));
            wake.ring();
        })
        .inspect_err(|_| self.under_way = false)
    }
}

impl Means {
    fn member(&self, keys: &Keys) -> Result<Option<Vec<String>>, Box<dyn Error>> {
        let runs = self.file.member().is_some();
        if runs { etcd::taken(&keys.signers()) } else { Ok(None) }
    }

    fn carry_out(&self, job: Job, keys: &Keys) -> Result<Did, Box<dyn Error>> {
        let Means { file, place, endpoints } = self;
        let others = match job {
            Job::Read(wanted) => {
                let also = Keys::read(place)?.and_then(|found| found.also).filter(|also| also.issuer() == wanted);
                also.map(|also| Keys { also: Some(also), ..keys.clone() })
            }
            Job::Take(also) => Some(with(place, keys, Some(also))?),
            Job::Certify => Some(certified(file, place, keys, &way_to)?),
            Job::Drop => Some(alone(file, place, keys, &way_to)?),
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
        Ok(Did { member: self.member(now)?, keys: others })
    }
}
