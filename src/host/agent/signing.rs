//! Which keys this host takes to be signed by, while the cluster gets another one. [`crate::hosts::renewal`] decides
//! what is next; a thread does it, as files, the store and the host's own member of that take their time.

use super::connections::Connections;
use super::turn::Shell;
use crate::error::Chain;
use crate::host::etcd::{self, again::start_again};
use crate::host::identity::{Keys, SigningKey};
use crate::host::member::signing::{alone, certified, with};
use crate::host::way::{tls, way_to};
use crate::hosts::record::Host;
use crate::hosts::renewal::{Held, Step, step};
use crate::hosts::{Event, Moment, Wish};
use crate::os::thread;
use crate::os::wake::Wake;
use crate::spec::host::HostFile;
use crate::store::etcd::Endpoints;
use crate::time::{Span, Time};
use crate::wire::tvh1::header::Signing as Header;
use crate::wire::tvh1::{Kind, Message};
use slog::{error, info, warn};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// So often it is looked what is next; what has failed is tried again then.
const LOOK: Span = Span::from_secs(1);

/// What the thread does.
enum Job {
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
        let (mut member, mut own) = (self.member.clone().unwrap_or_default(), keys.signers().issuers());
        member.sort();
        own.sort();
        let is_current = self.member.is_none() || member == own;
        if is_current { keys.signers().issuers() } else { Vec::new() }
    }

    fn ended(&mut self) -> Option<Result<Did, String>> {
        self.wake.take();
        let ended = self.told.try_recv().ok()?;
        self.under_way = false;
        Some(ended)
    }

    fn begin(&mut self, job: Job, keys: &Keys) -> io::Result<()> {
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

impl Shell {
    /// What is next about the keys to be signed by.
    pub(super) fn renew(&mut self, now: Moment) {
        let (Some(connections), Some(signing)) = (&mut self.connections, &mut self.signing) else { return };
        match signing.ended() {
            Some(Ok(Did { keys, member })) => {
                // One whose key was not found asks again a little later.
                let is_other = keys.is_some() || member != signing.member;
                signing.look_at = if is_other { now.boottime } else { now.boottime + LOOK };
                signing.member = member;
                signing.complaint.clear();
                if let Some(keys) = keys {
                    let takes = keys.signers().issuers().join(", ");
                    info!(self.logger, "this host has other keys to be signed by"; "takes" => takes);
                    connections.have(keys);
                }
            }
            Some(Err(why)) => {
                signing.look_at = now.boottime + LOOK;
                if signing.complaint != why {
                    warn!(
                        self.logger,
                        "another key to be signed by cannot be taken yet, which is tried again: {}", why
                    );
                    signing.complaint = why;
                }
            }
            None => {}
        }
        if signing.under_way || now.boottime < signing.look_at || connections.is_rekeying() {
            return;
        }
        signing.look_at = now.boottime + LOOK;
        let Some(cluster) = self.core.cluster() else { return };
        let keys = connections.keys();
        let hosts: BTreeMap<String, Host> =
            self.core.hosts(now).into_iter().map(|host| (host.name, host.record)).collect();
        let (by, also) = (keys.signing.issuer(), keys.also.as_ref().map(SigningKey::issuer));
        let own = hosts.get(&self.file.name);
        let held = Held {
            name: &self.file.name,
            by: &by,
            also: also.as_deref(),
            member: signing.member.as_deref(),
            shown: own.is_some_and(|own| own.issuers == keys.signers().issuers() && own.cert == keys.cert),
        };
        let job = match step(&held, cluster, |name| hosts.get(name)) {
            Step::Rest | Step::Wait => return,
            Step::Fetch => Job::Read(cluster.next.clone()),
            Step::Certify => Job::Certify,
            Step::Drop => Job::Drop,
            Step::Restart => Job::Restart,
            Step::Show => {
                let wish = Wish::Keys { cert: keys.cert.clone(), issuers: signing.shown(keys) };
                self.inbox.push_back(Event::Asked(wish));
                return;
            }
            Step::Outside => {
                let why = "this host has no key that the cluster signs by, which was replaced while it was away";
                if signing.complaint != why {
                    error!(self.logger, "{}: no other host takes its certificate", why;
                        "right" => "remove it on another host, and have it join anew");
                    signing.complaint = why.to_owned();
                }
                return;
            }
        };
        let asks = matches!(job, Job::Read(_)).then(|| Header::Ask { issuer: cluster.next.clone() });
        if let Err(error) = signing.begin(job, keys) {
            warn!(self.logger, "another key to be signed by cannot be taken yet"; "error" => %error);
        }
        if let Some(message) = asks.and_then(|header| Message::new(Kind::Signing, &header, Vec::new()).ok()) {
            for host in hosts.keys().filter(|host| **host != self.file.name) {
                // Those to which there is no link are asked when there is one.
                connections.send(host, &message);
            }
        }
    }

    /// Another host asks for the key that is to come, or sends it.
    pub(super) fn take_signing(&mut self, host: &str, message: &Message) {
        let (Some(connections), Some(signing)) = (&mut self.connections, &mut self.signing) else { return };
        let Some(cluster) = self.core.cluster().filter(|cluster| !cluster.next.is_empty()) else { return };
        let is_next = |key: &SigningKey| key.issuer() == cluster.next;
        match message.header() {
            Ok(Header::Ask { issuer }) if issuer == cluster.next && cluster.issued.contains_key(host) => {
                let Some(key) = connections.keys().also.clone().filter(is_next) else { return };
                let header = Header::Give { key: key.into() };
                if let Ok(message) = Message::new(Kind::Signing, &header, Vec::new())
                    && connections.send(host, &message)
                {
                    info!(self.logger, "{} gets the key that the cluster is to sign by", host);
                }
            }
            Ok(Header::Give { key }) if !signing.under_way => {
                let key = SigningKey::try_from(key).ok().filter(is_next);
                let lacks = !connections.keys().also.as_ref().is_some_and(is_next);
                if let Some(key) = key.filter(|_| lacks && connections.keys().signing.issuer() == cluster.issuer) {
                    // What cannot be begun is asked for again.
                    let _ = signing.begin(Job::Take(key), connections.keys());
                }
            }
            _ => {}
        }
    }
}
