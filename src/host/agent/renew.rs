//! The loop's part in replacing the cluster's signing key. [`crate::hosts::renewal`] decides the next step.

use super::signing::Job;
use super::turn::Shell;
use crate::host::identity::SigningKey;
use crate::hosts::record::Host;
use crate::hosts::renewal::{Held, Step, step};
use crate::hosts::{Event, Moment, OperatorOrder};
use crate::wire::tvh1::header::Signing;
use crate::wire::tvh1::{Kind, Message};
use slog::{error, info, warn};
use std::collections::BTreeMap;

impl Shell {
    /// Takes in the outcome of the last step, and begins the next one.
    pub(super) fn renew(&mut self, now: Moment) {
        let (Some(connections), Some(signing)) = (&mut self.connections, &mut self.signing) else { return };
        match signing.ended(now.boottime) {
            Some(Ok(keys)) => {
                let takes = keys.signers().issuers().join(", ");
                info!(self.logger, "this host has other keys to be signed by"; "takes" => takes);
                connections.have(keys);
            }
            Some(Err(why)) => {
                warn!(self.logger, "another key to be signed by cannot be taken yet, which is tried again: {}", why);
            }
            None => {}
        }
        if self.rekeying.is_some() || connections.is_rekeying() || !signing.is_due(now.boottime) {
            return;
        }
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
            member: signing.member(),
            shown: own.is_some_and(|own| own.issuers == keys.signers().issuers() && own.cert == keys.cert),
        };
        let job = match step(&held, cluster, |name| hosts.get(name)) {
            Step::Rest | Step::Wait => return,
            Step::Fetch => Job::Read(cluster.next.clone()),
            Step::Certify => Job::Certify,
            Step::Drop => Job::Drop,
            Step::Restart => Job::Restart,
            Step::Show => {
                let order = OperatorOrder::Keys { cert: keys.cert.clone(), issuers: signing.shown(keys) };
                self.inbox.push_back(Event::Asked(order));
                return;
            }
            Step::Outside => {
                let why = "this host has no key that the cluster signs by, which was replaced while it was away";
                if signing.is_news(why) {
                    error!(self.logger, "{}: no other host takes its certificate", why;
                        "right" => "remove it on another host, and have it join anew");
                }
                return;
            }
        };
        let asks = matches!(job, Job::Read(_)).then(|| Signing::Ask { issuer: cluster.next.clone() });
        if let Err(error) = signing.begin(job, keys) {
            warn!(self.logger, "another key to be signed by cannot be taken yet"; "error" => %error);
        }
        if let Some(message) = asks.and_then(|header| Message::new(Kind::Signing, &header, Vec::new()).ok()) {
            for host in hosts.keys().filter(|host| **host != self.file.name) {
                // Hosts without a link are asked once there is one.
                connections.send(host, &message);
            }
        }
    }

    /// Another host asks for the next signing key, or sends it.
    pub(super) fn take_signing(&mut self, host: &str, message: &Message) {
        let (Some(connections), Some(signing)) = (&mut self.connections, &mut self.signing) else { return };
        let Some(cluster) = self.core.cluster().filter(|cluster| !cluster.next.is_empty()) else { return };
        let is_next = |key: &SigningKey| key.issuer() == cluster.next;
        match message.header() {
            Ok(Signing::Ask { issuer }) if issuer == cluster.next && cluster.issued.contains_key(host) => {
                let Some(key) = connections.keys().also.clone().filter(is_next) else { return };
                let header = Signing::Give { key: key.into() };
                if let Ok(message) = Message::new(Kind::Signing, &header, Vec::new())
                    && connections.send(host, &message)
                {
                    info!(self.logger, "{} gets the key that the cluster is to sign by", host);
                }
            }
            Ok(Signing::Give { key }) if !signing.is_under_way() => {
                let key = SigningKey::try_from(key).ok().filter(is_next);
                let lacks = !connections.keys().also.as_ref().is_some_and(is_next);
                if let Some(key) = key.filter(|_| lacks && connections.keys().signing.issuer() == cluster.issuer) {
                    // If the step cannot begin, the key is asked for again.
                    let _ = signing.begin(Job::Take(key), connections.keys());
                }
            }
            _ => {}
        }
    }
}
