//! Orders of operators to this host or to another one, and when they are answered.

use super::connections::Connections;
use super::tools::{Asker, Awaited, Noted};
use super::turn::{Shell, moment};
use crate::hosts::wish::{LinkState, obstacle, shows, shows_end};
use crate::hosts::{Event, Moment, OperatorOrder};
use crate::os::clock;
use crate::time::Span;
use crate::wire::hosts::HostReply;
use crate::wire::tvh1::header::{ChangeRequest as Sent, RequestedChange};
use crate::wire::tvh1::{Kind, Message};
use slog::{debug, info};

/// How long an order may take until the record in the store shows it.
const NOTED: Span = Span::from_secs(4);

/// An order that another host's record does not show after this is sent again.
const AGAIN: Span = Span::from_millis(500);

/// An order that arrives later than this is dropped.
const VOID: Span = Span::from_secs(1);

const fn verb(draining: bool) -> &'static str {
    if draining { "drain" } else { "undrain" }
}

impl Shell {
    pub(super) fn drain(&mut self, asker: Asker, draining: bool, now: Moment) {
        let what = Noted::Draining { host: self.file.name.clone(), draining };
        let order = if draining { OperatorOrder::Drain } else { OperatorOrder::Undrain };
        self.wish_noted(asker, order, what, now);
    }

    /// Drains or undrains another host, as the same command on that host would.
    pub(super) fn drain_host(&mut self, asker: Asker, host: String, draining: bool, now: Moment) {
        if host == self.file.name {
            return self.drain(asker, draining, now);
        }
        let seen = self.core.hosts(now).into_iter().find(|seen| seen.name == host);
        let link = self.connections.as_ref().map(|connections| connections.shown(&host));
        let way = match &link {
            None => LinkState::NoLinks,
            Some(Some(link)) if link.up => LinkState::Up,
            Some(link) => LinkState::Down(link.as_ref().and_then(|link| link.why.as_deref())),
        };
        match obstacle(&host, seen.as_ref().map(|seen| &seen.record), way, verb(draining)) {
            Some(message) => self.tools.tell(&asker, &HostReply::Refused { message }),
            None => {
                info!(self.logger, "an operator wants {} to {}", host, verb(draining));
                self.send_wish(&host, draining);
                let (until, again) = (now.boottime + NOTED, Some(now.boottime + AGAIN));
                self.awaited.push(Awaited { asker, what: Noted::Draining { host, draining }, until, again });
            }
        }
    }

    /// Sends an order to another host. It is sent again until the record shows it.
    fn send_wish(&mut self, host: &str, draining: bool) {
        let what = if draining { RequestedChange::Drain } else { RequestedChange::Undrain };
        let header = Sent { what, void_after_ms: VOID.as_millis() };
        if let (Some(connections), Ok(message)) = (&mut self.connections, Message::new(Kind::Wish, &header, Vec::new()))
        {
            let _ = connections.send(host, &message);
        }
    }

    /// Another host has sent an operator's order, perhaps more than once.
    pub(super) fn take_wish(&mut self, host: &str, message: &Message) {
        let draining = match message.header::<Sent>() {
            Ok(Sent { what, .. }) => what == RequestedChange::Drain,
            Err(why) => {
                debug!(self.logger, "a message is dropped"; "host" => host, "why" => %why);
                return;
            }
        };
        let hosts = self.core.hosts(moment(clock::both()));
        if hosts.iter().any(|own| own.name == self.file.name && shows(&own.record, draining)) {
            return;
        }
        info!(self.logger, "an operator on {} wants this host to {}", host, verb(draining));
        self.inbox.push_back(Event::Asked(if draining { OperatorOrder::Drain } else { OperatorOrder::Undrain }));
    }

    /// Hands an order to the core, and has it answered only when the record shows it: an order that is not in the
    /// record would be lost with this process.
    pub(super) fn wish_noted(&mut self, asker: Asker, order: OperatorOrder, what: Noted, now: Moment) {
        self.awaited.push(Awaited { asker, what, until: now.boottime + NOTED, again: None });
        self.inbox.push_back(Event::Asked(order));
    }

    /// Answers the orders that the records show by now, and those whose time is over.
    pub(super) fn noted(&mut self, now: Moment) {
        if self.awaited.is_empty() {
            return;
        }
        let record = |name: &str| self.core.stored(name, now);
        let by = self.connections.as_ref().map(Connections::cert);
        let is_noted = |what: &Noted| match what {
            Noted::Draining { host, draining } => record(host).is_some_and(|record| shows(record, *draining)),
            Noted::Off { host, epoch } => record(host).is_some_and(|record| shows_end(record, host, *epoch)),
            Noted::Certificate(cert) => {
                record(&self.file.name).is_some_and(|own| own.cert == *cert) && by == Some(cert)
            }
        };
        let (noted, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.awaited).into_iter().partition(|one| is_noted(&one.what));
        for one in noted {
            self.tools.tell(&one.asker, &HostReply::Done);
        }
        for one in others {
            self.wait_on(one, now);
        }
    }

    fn wait_on(&mut self, mut one: Awaited, now: Moment) {
        if one.until <= now.boottime {
            let message = match &one.what {
                Noted::Draining { host, draining } if *host != self.file.name => format!(
                    "{host} was asked for {NOTED}, and its record in the store does not show it: \
                     type `treevisor host {}` on {host} itself, and see there what its agent reports",
                    verb(*draining)
                ),
                Noted::Off { host, .. } => format!(
                    "the record of {host} in the store does not show it after {NOTED}, so nothing starts elsewhere yet: \
                     `treevisor hosts` shows whether the store answers, and whether {host} is back; \
                     the agent goes on trying until it ends"
                ),
                _ => "the store has not taken note of it; it is forgotten when the agent ends before that".to_owned(),
            };
            self.tools.tell(&one.asker, &HostReply::Refused { message });
            return;
        }
        if let (Some(again), Noted::Draining { host, draining }) = (&mut one.again, &one.what)
            && *again <= now.boottime
        {
            *again = now.boottime + AGAIN;
            self.send_wish(host, *draining);
        }
        self.awaited.push(one);
    }
}
