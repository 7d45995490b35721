//! Requests of tools and their answers, and requests by signal.

use super::deploys::{Deployed, Next};
use super::disk::{Job, KeepReason};
use super::signing::Signing;
use super::stores::For;
use super::tools::{Asker, Noted};
use super::turn::{Shell, moment};
use super::view;
use crate::host::identity::{Keys, key_file};
use crate::hosts::record::HostState;
use crate::hosts::view::HostView;
use crate::hosts::{Event, Moment, OperatorOrder};
use crate::os::clock;
use crate::os::signals::Caught;
use crate::spec::placed::HOST_ENDS;
use crate::time::Span;
use crate::wire::hosts::{HostReply, HostRequest, HostsView, StoreView};
use slog::{info, warn};
use std::collections::BTreeSet;
use std::path::Path;

impl Shell {
    pub(super) fn read_signals(&mut self) {
        for caught in self.signals.drain() {
            match caught {
                Caught::Terminate { .. } | Caught::Interrupt | Caught::Quit => {
                    info!(self.logger, "this host is to end: what runs here stops in order");
                    self.inbox.push_back(Event::Asked(OperatorOrder::Stop { kill_after: HOST_ENDS }));
                }
                // Each root and top node reopens the log files of its own subtree.
                Caught::User1 => {
                    let tops = self.runs.tops().chain(self.subtrees.tops());
                    tops.for_each(|top| top.signal(libc::SIGUSR1));
                    info!(self.logger, "log files of what runs here are reopened");
                }
                _ => {}
            }
        }
    }

    pub(super) fn go_on_deploying(&mut self, number: u64, next: Option<Next>) {
        let told = match next {
            None => return,
            Some(Next::Ask(ask)) => {
                self.stores.ask(For::Deploy(number), ask, self.attempt);
                return;
            }
            Some(Next::Offer(digest, hosts)) => {
                self.offer(&digest, &hosts);
                return;
            }
            Some(Next::Over(Err(message))) => HostReply::Refused { message },
            Some(Next::Over(Ok(Deployed { digest, again, without }))) => {
                let hosts = self.core.hosts(moment(clock::both()));
                let lacks = |host: &HostView| {
                    let record = &host.record;
                    record.state == HostState::Live && host.name != self.file.name && !record.has_digest(&digest)
                };
                let unseen = || hosts.iter().filter(|host| lacks(host)).map(|host| host.name.clone()).collect();
                let brought = without.is_some();
                let without = without.map_or_else(unseen, |without| without.into_keys().collect());
                HostReply::Deployed { digest, again, without, brought }
            }
        };
        if let Some(asker) = self.deploys.end(number) {
            self.tools.tell(&asker, &told);
        }
    }

    pub(super) fn asked(&mut self, asker: Asker, ask: HostRequest, contents: Vec<Vec<u8>>) {
        let now = moment(clock::both());
        let told = match ask {
            HostRequest::Hosts => HostReply::Hosts(Box::new(self.view(now))),
            HostRequest::Deploy(bundle) => {
                let number = self.deploys.begin(asker);
                if !self.disk.ask(Job::Keep(KeepReason::Deploy(number), bundle, contents)) {
                    let full = "the disk of this host does not respond".to_owned();
                    self.go_on_deploying(number, Some(Next::Over(Err(full))));
                }
                return;
            }
            HostRequest::Locate { instance } => {
                let found = self.core.instances(now).into_iter().find(|one| one.claim.instance == instance);
                let found = found.map(|one| view::instance(one, &BTreeSet::new()));
                let host = found.as_ref().and_then(|one| one.host.clone());
                let here = host.as_ref() == Some(&self.file.name);
                let via = host.as_ref().filter(|_| !here).and_then(|host| self.way_to(&instance, host));
                HostReply::Located { known: found.is_some(), here, host, via }
            }
            HostRequest::Bundle { instance } => {
                let wanted = self.core.instances(now).into_iter().find(|one| one.claim.instance == instance);
                let digest = wanted.and_then(|one| one.want).map(|want| want.bundle);
                let kept = digest.and_then(|digest| self.kept(&instance, &digest));
                HostReply::Bundle { file: kept.map(|kept| self.disk.file(kept).to_string_lossy().into_owned()) }
            }
            HostRequest::Look { host, kept, from } => return self.look(asker, &host, kept, from),
            HostRequest::Drain => return self.drain(asker, true, now),
            HostRequest::Undrain => return self.drain(asker, false, now),
            HostRequest::DrainHost { host, draining } => return self.drain_host(asker, host, draining, now),
            HostRequest::Rekey { file } => return self.rekey(asker, &file),
            HostRequest::Invite { for_ms } => self.invite(Span::from_millis(for_ms), now),
            HostRequest::Forget { host } if host == self.file.name => {
                HostReply::Refused { message: format!("{host} is this host, and it is there") }
            }
            HostRequest::Forget { host } => match self.core.stored(&host, now).map(|record| record.epoch) {
                None => HostReply::Refused { message: format!("the cluster has no host {host}") },
                Some(epoch) => {
                    warn!(self.logger, "an operator swears that {} is off", host);
                    let what = Noted::Off { host: host.clone(), epoch };
                    return self.wish_noted(asker, OperatorOrder::Forget(host), what, now);
                }
            },
        };
        self.tools.tell(&asker, &told);
    }

    /// New keys of this host were written beside this file: the disk thread reads them.
    fn rekey(&mut self, asker: Asker, file: &Path) {
        let refused = |message: String| HostReply::Refused { message };
        let told = match &self.connections {
            // A host without connections to others needs no keys.
            None => HostReply::Done,
            Some(connections) if connections.place() != key_file(file) => {
                refused(format!("the agent has its keys in {}", connections.place().display()))
            }
            Some(_) if self.signing.as_ref().is_some_and(Signing::is_under_way) => {
                refused("it takes another key to be signed by at this moment: try again".to_owned())
            }
            Some(_) if self.rekeying.is_some() => refused("it takes over others at this moment: try again".to_owned()),
            Some(connections) if self.disk.ask(Job::Keys(connections.place().to_owned())) => {
                self.rekeying = Some(asker);
                return;
            }
            Some(_) => refused("the disk of this host does not respond".to_owned()),
        };
        self.tools.tell(&asker, &told);
    }

    pub(super) fn has_read_keys(&mut self, keys: Result<Box<Keys>, String>) {
        let now = moment(clock::both());
        let (Some(asker), Some(connections)) = (self.rekeying.take(), &mut self.connections) else { return };
        let revoked = self.core.cluster().map(|cluster| cluster.revoked.clone()).unwrap_or_default();
        match keys.and_then(|keys| connections.take_over(&self.file, *keys, &revoked)) {
            Ok(cert) => {
                let issuers =
                    self.signing.as_ref().map(|signing| signing.shown(connections.keys())).unwrap_or_default();
                self.wish_noted(
                    asker,
                    OperatorOrder::Keys { cert: cert.clone(), issuers },
                    Noted::Certificate(cert),
                    now,
                );
            }
            Err(message) => self.tools.tell(&asker, &HostReply::Refused { message }),
        }
    }

    fn invite(&mut self, wanted: Span, now: Moment) -> HostReply {
        let Some(connections) = &mut self.connections else {
            let message = "this host connects to no other: give it `listen` and `address` in its file, and keys by `treevisor host init`";
            return HostReply::Refused { message: message.to_owned() };
        };
        match connections.invite(&self.file, wanted, now.boottime) {
            Ok(invitation) => HostReply::Invited { line: invitation.to_string() },
            Err(message) => HostReply::Refused { message },
        }
    }

    fn view(&self, now: Moment) -> HostsView {
        let endpoints = self.stores.endpoints();
        let all = self.core.hosts(now);
        let removed: BTreeSet<String> =
            all.iter().filter(|host| !host.record.is_shown()).map(|host| host.name.clone()).collect();
        HostsView {
            cluster: self.file.cluster.clone(),
            here: self.file.name.clone(),
            store: StoreView {
                kind: "etcd".to_owned(),
                state: if self.store_lost || self.store_answered.is_none() { "lost" } else { "ok" }.to_owned(),
                members: self.file.store.run.map(|_| endpoints.len() as u64),
                endpoints,
                age_ms: self.store_answered.map(|at| now.boottime.since(at).as_millis()),
                size_bytes: self.health.as_ref().map(|health| health.size),
                quota_bytes: self.health.as_ref().and_then(|health| health.quota),
            },
            hosts: all
                .into_iter()
                .filter(|host| host.record.is_shown())
                .map(|host| {
                    let link = self.connections.as_ref().and_then(|connections| connections.shown(&host.name));
                    view::host(host, link)
                })
                .collect(),
            instances: self.core.instances(now).into_iter().map(|one| view::instance(one, &removed)).collect(),
        }
    }
}
