//! Bundles between hosts: how they are offered, requested, sent and kept. [`Fetches`](super::fetches::Fetches) and
//! [`Deploys`](super::deploys::Deploys) decide what follows from each message.

use super::disk::{Job, KeepReason};
use super::fetches::Step;
use super::turn::{Shell, moment};
use crate::hosts::record::HostState;
use crate::hosts::view::HostView;
use crate::os::clock;
use crate::time::Time;
use crate::wire::tvh1::header::{Bundle, BundleWhat};
use crate::wire::tvh1::{Kind, Message};
use slog::{info, warn};
use std::collections::BTreeMap;

impl Shell {
    /// The other live hosts that may run trees. Each with the reason why it cannot be reached, or `None` if it can.
    /// `None` altogether: hosts are not connected.
    pub(super) fn others_to_have_it(&self) -> Option<BTreeMap<String, Option<String>>> {
        let connections = self.connections.as_ref()?;
        let hosts = self.core.hosts(moment(clock::both())).into_iter();
        let runs = |host: &HostView| host.record.state == HostState::Live && !host.record.witness;
        let others = hosts.filter(|host| host.name != self.file.name && runs(host));
        let reach = |host: &str| {
            let shown = connections.shown(host).filter(|shown| !shown.up)?;
            Some(shown.why.map_or_else(|| "no link to it".to_owned(), |why| format!("no link to it: {why}")))
        };
        Some(others.map(|host| (host.name.clone(), reach(&host.name))).collect())
    }

    /// Offers a bundle to these hosts, which then fetch it.
    pub(super) fn offer(&mut self, digest: &str, hosts: &[String]) {
        for host in hosts {
            self.say_of_bundle(host, &Bundle { digest: digest.to_owned(), what: BundleWhat::Offer }, Vec::new());
        }
    }

    fn say_of_bundle(&mut self, host: &str, bundle: &Bundle, payload: Vec<Vec<u8>>) {
        // A message beyond the limits, with a list of files that is too long, is not sent; the deployment that waits
        // for it then reports a timeout.
        let (Ok(message), Some(connections)) = (Message::new(Kind::Bundle, bundle, payload), &mut self.connections)
        else {
            return;
        };
        let _ = connections.send(host, &message);
    }

    pub(super) fn take_bundle(&mut self, host: &str, message: &Message) {
        let Ok(Bundle { digest, what }) = message.header() else { return };
        let now = clock::both().boottime;
        let kept = self.bundles.iter().find(|kept| kept.digest == digest).cloned();
        let steps = match what {
            BundleWhat::Offer if kept.is_some() => {
                self.say_of_bundle(host, &Bundle { digest, what: BundleWhat::Kept }, Vec::new());
                return;
            }
            BundleWhat::Offer => self.fetches.offered(host, &digest, now),
            BundleWhat::Want { part } => {
                match kept {
                    Some(kept) => self.ask_disk(Job::Part(host.to_owned(), kept, part)),
                    None => {
                        let what = BundleWhat::Refused { why: "it is not here".into() };
                        self.say_of_bundle(host, &Bundle { digest, what }, Vec::new());
                    }
                }
                return;
            }
            BundleWhat::Part { part, files } => {
                let frame = message.payload.first().map(Vec::as_slice).unwrap_or_default();
                self.fetches.came(host, &digest, (part, files), frame, now)
            }
            BundleWhat::Kept => return self.deployed_on(host, &digest, &Ok(())),
            BundleWhat::Refused { why } => {
                let steps = self.fetches.not_there(host, &digest, &why, now);
                self.deployed_on(host, &digest, &Err(why));
                steps
            }
        };
        self.fetch(steps);
    }

    fn deployed_on(&mut self, host: &str, digest: &str, kept: &Result<(), String>) {
        for (number, next) in self.deploys.arrived(host, digest, kept) {
            self.go_on_deploying(number, Some(next));
        }
    }

    fn fetch(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(host, bundle) => self.say_of_bundle(&host, &bundle, Vec::new()),
                Step::Keep { digest, files, contents } => {
                    self.ask_disk(Job::Keep(KeepReason::Fetch(digest), files, contents));
                }
            }
        }
    }

    /// The disk has kept a fetched bundle, or has failed to.
    pub(super) fn has_fetched(&mut self, digest: &str, kept: Result<(), String>) {
        match &kept {
            Ok(()) => info!(self.logger, "a bundle has come from another host"; "digest" => digest),
            Err(why) => warn!(self.logger, "a bundle of another host is not kept: {}", why; "digest" => digest),
        }
        let steps = self.fetches.over(digest, kept, clock::both().boottime);
        self.fetch(steps);
    }

    /// Sends a part of a bundle, which the disk has read, to another host.
    pub(super) fn send_part(&mut self, host: &str, digest: String, part: Result<(BundleWhat, Vec<u8>), String>) {
        let (what, payload) = match part {
            Ok((what, frame)) => (what, vec![frame]),
            Err(why) => (BundleWhat::Refused { why }, Vec::new()),
        };
        self.say_of_bundle(host, &Bundle { digest, what }, payload);
    }

    /// Requests the bundles that are wanted and missing here, repeats offers and requests without an answer, and ends
    /// deployments at their deadline.
    pub(super) fn deliver(&mut self, now: Time) {
        for (number, next) in self.deploys.due(now) {
            self.go_on_deploying(number, Some(next));
        }
        // An offer or its answer may have been lost.
        for (digest, host) in self.deploys.unanswered() {
            self.offer(&digest, &[host]);
        }
        let mut steps = self.fetches.due(now);
        let Some(connections) = self.connections.as_ref().filter(|_| !self.file.store.witness) else {
            return self.fetch(steps);
        };
        let moment = moment(clock::both());
        let wanted = self.core.instances(moment).into_iter();
        let wanted = wanted.filter_map(|one| Some((one.claim.instance, one.want?.bundle)));
        let missing: Vec<_> = wanted.filter(|(instance, digest)| self.kept(instance, digest).is_none()).collect();
        // In nearly every turn nothing is missing.
        let hosts = if missing.is_empty() { Vec::new() } else { self.core.hosts(moment) };
        for (instance, digest) in missing {
            let has =
                hosts.iter().find(|host| host.record.has_bundle(&instance, &digest) && connections.is_up(&host.name));
            steps.extend(has.into_iter().flat_map(|host| self.fetches.missing(&host.name, &digest, now)));
        }
        self.fetch(steps);
    }
}
