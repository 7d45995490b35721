//! Pages of the journals of hosts: requested by tools here and by other hosts, read and sent.

use super::disk::Job;
use super::looks::{Due, LIMIT};
use super::pages::Reader;
use super::tools::Asker;
use super::turn::{Shell, moment};
use crate::os::clock;
use crate::time::Time;
use crate::wire::hosts::HostReply;
use crate::wire::look::{Kept, Page, RecordCursor};
use crate::wire::tvh1::header::{Look, LookWhat};
use crate::wire::tvh1::{Kind, Message};
use slog::debug;

impl Shell {
    /// A tool of this machine requests a page.
    pub(super) fn look(&mut self, asker: Asker, host: &str, kept: Kept, from: RecordCursor) {
        let now = clock::both();
        if host == self.file.name {
            return self.read_page(Reader::Tool(asker), kept, from);
        }
        let hosts = self.core.hosts(moment(now));
        let refusal = if !hosts.iter().any(|known| known.name == host && known.record.is_shown()) {
            Some(format!("the cluster has no host {host}"))
        } else {
            match self.connections.as_ref().map(|connections| connections.is_up(host)) {
                None => Some("this host connects to no other".to_owned()),
                Some(false) => Some(format!("there is no link to {host}")),
                Some(true) => None,
            }
        };
        if let Some(message) = refusal {
            return self.tools.tell(&asker, &HostReply::Refused { message });
        }
        match self.looks.begin(now.boottime, asker, host, LookWhat::Ask { kept, from }) {
            Ok(look) => self.send_look(host, &look, Vec::new()),
            Err(asker) => {
                let message = "too many are read at this moment: try again".to_owned();
                self.tools.tell(&asker, &HostReply::Refused { message });
            }
        }
    }

    /// Sends a request or an answer. What is lost is requested again.
    fn send_look(&mut self, host: &str, look: &Look, payload: Vec<Vec<u8>>) {
        if let (Some(connections), Ok(message)) = (&mut self.connections, Message::new(Kind::Look, look, payload)) {
            let _ = connections.send(host, &message);
        }
    }

    /// Another host requests a page, or has sent one.
    pub(super) fn take_look(&mut self, host: &str, message: &Message) {
        let Look { number, what } = match message.header() {
            Ok(look) => look,
            Err(why) => {
                debug!(self.logger, "a message is dropped"; "host" => host, "why" => %why);
                return;
            }
        };
        let told = match what {
            LookWhat::Ask { kept, from } => return self.read_page(Reader::Host(host.to_owned(), number), kept, from),
            LookWhat::Page { next } => {
                let text = message.payload.first().map(|text| String::from_utf8_lossy(text).into_owned());
                HostReply::Page(Page { text: text.unwrap_or_default(), next })
            }
            LookWhat::Refused { why } => HostReply::Refused { message: format!("{host}: {why}") },
        };
        if let Some(asker) = self.looks.answered(host, number) {
            self.tools.tell(&asker, &told);
        }
    }

    fn read_page(&mut self, reader: Reader, kept: Kept, from: RecordCursor) {
        if !self.disk.ask(Job::Page(reader.clone(), kept, from)) {
            self.has_read_page(reader, Err("the disk of this host does not respond".to_owned()));
        }
    }

    /// The disk has read a page.
    pub(super) fn has_read_page(&mut self, reader: Reader, page: Result<Page, String>) {
        match (reader, page) {
            (Reader::Tool(asker), Ok(page)) => self.tools.tell(&asker, &HostReply::Page(page)),
            (Reader::Tool(asker), Err(message)) => self.tools.tell(&asker, &HostReply::Refused { message }),
            (Reader::Host(host, number), Ok(Page { text, next })) => {
                let look = Look { number, what: LookWhat::Page { next } };
                self.send_look(&host, &look, vec![text.into_bytes()]);
            }
            (Reader::Host(host, number), Err(why)) => {
                self.send_look(&host, &Look { number, what: LookWhat::Refused { why } }, Vec::new());
            }
        }
    }

    pub(super) fn look_again(&mut self, now: Time) {
        let Due { again, over } = self.looks.due(now);
        for (host, look) in again {
            self.send_look(&host, &look, Vec::new());
        }
        for (asker, host) in over {
            let message = format!("{host} has not answered for {LIMIT}; an agent of an earlier version does not");
            self.tools.tell(&asker, &HostReply::Refused { message });
        }
    }
}
