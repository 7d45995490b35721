//! The connections to the other hosts, kept to all whose certificates prove them.

use super::joins::{Ended, Joins};
use super::mesh::roster::Roster;
use super::mesh::{Fact, Mesh, Own, Shown};
use crate::error::Chain;
use crate::host::identity::{Keys, Trust, key_file, verify};
use crate::host::member::join::{Invitation, Knocks, admit};
use crate::host::way::way_to;
use crate::hosts::record::Host;
use crate::hosts::{Agent, Moment};
use crate::link::curve::Key;
use crate::link::{Identity, PublicKey};
use crate::os::{clock, random};
use crate::spec::host::HostFile;
use crate::time::{Span, Time};
use crate::wire::tvh1::header::Join;
use crate::wire::tvh1::{Kind, Message};
use std::error::Error;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

/// So often the records are read for which other hosts there are.
const LOOK: Span = Span::from_secs(1);

/// The connections, and the hosts at their other ends.
pub(super) struct Connections {
    mesh: Mesh,
    roster: Roster,
    keys: Keys,
    /// Where they lie.
    place: PathBuf,
    /// Those that are taken over when this host's record has their certificate.
    next: Option<Keys>,
    /// Not before this moment.
    rekey_at: Time,
    joins: Joins,
    look_at: Time,
    /// How many hosts were known at the last look, and the epoch of this one.
    known: (usize, u64),
    /// Connections of unknown keys that were reported.
    told: u64,
}

impl Connections {
    /// Begins to listen where `file` asks for it; `None` where it does not: then hosts find each other by the store
    /// alone. `path`: that of the file.
    ///
    /// # Errors
    /// There are no keys, or another process listens there.
    pub(super) fn begin(file: &HostFile, path: &Path) -> Result<Option<Connections>, Box<dyn Error>> {
        let Some(wanted) = &file.mesh else { return Ok(None) };
        let place = key_file(path);
        let keys = Keys::read(&place)?.ok_or_else(|| {
            format!(
                "`listen` needs the keys of this host, and there is no {}: remove the line, or make them",
                place.display()
            )
        })?;
        let (public, secret) = (*keys.curve.public.bytes(), *keys.curve.secret.bytes());
        let own = Own { host: file.name.clone(), cluster: file.cluster.clone(), public, secret };
        let mesh = Mesh::bind(own, &wanted.listen)?;
        Ok(Some(Connections {
            mesh,
            roster: Roster::default(),
            keys,
            place,
            next: None,
            rekey_at: Time::ZERO,
            joins: Joins::new()?,
            look_at: Time::ZERO,
            known: (0, 0),
            told: 0,
        }))
    }

    /// This host's certificate.
    pub(super) fn cert(&self) -> &str {
        &self.keys.cert
    }

    /// The keys of this host.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// It has these from now on, with the same key pair: what others show is judged by them.
    pub(super) fn have(&mut self, keys: Keys) {
        (self.keys, self.roster, self.look_at) = (keys, Roster::default(), Time::ZERO);
    }

    /// Whether another key pair is about to be taken over.
    pub(super) fn is_rekeying(&self) -> bool {
        self.next.is_some()
    }

    /// Where the keys of this host lie.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Has these keys from the moment on in which this host's record has their certificate. Gives that certificate.
    ///
    /// # Errors
    /// They are not this host's, or not of this cluster; or a machine is joining, which has the present ones.
    pub(super) fn take_over(&mut self, file: &HostFile, keys: Keys, revoked: &[u64]) -> Result<String, String> {
        if self.joins.is_under_way() {
            return Err("a machine is joining at this moment: try again".to_owned());
        }
        let issuers = self.keys.signers().publics();
        let trust = Trust { cluster: &file.cluster, name: &file.name, issuers: &issuers, revoked };
        let found = verify(&keys.cert, &trust).map_err(|why| format!("the keys in {}: {why}", self.place.display()))?;
        if found.public != keys.curve.public {
            return Err(format!("the certificate in {} is that of another key", self.place.display()));
        }
        Ok(self.next.insert(keys).cert.clone())
    }

    pub(super) fn fds(&self) -> [RawFd; 3] {
        let [messages, questions] = self.mesh.fds();
        [messages, questions, self.joins.fd()]
    }

    pub(super) fn has_input(&self) -> bool {
        self.mesh.has_input()
    }

    /// Whether something is due: by its time, or because the agent knows of more hosts than before, or of another epoch
    /// of its own.
    pub(super) fn is_due(&self, core: &Agent, now: Moment) -> bool {
        self.next_deadline().is_some_and(|at| at <= now.boottime) || self.known != core.known()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let next = self.mesh.next_deadline().map_or(self.look_at, |at| at.min(self.look_at));
        Some(self.joins.next_deadline().map_or(next, |at| at.min(next)))
    }

    pub(super) fn credit(&mut self, lost: Span) {
        self.mesh.credit(lost);
    }

    /// See [`Mesh::send`].
    pub(super) fn send(&mut self, host: &str, message: &Message) -> bool {
        self.mesh.send(host, message, clock::both().boottime)
    }

    pub(super) fn is_up(&self, host: &str) -> bool {
        self.mesh.is_up(host)
    }

    pub(super) fn shown(&self, host: &str) -> Option<Shown> {
        self.mesh.shown(host)
    }

    /// What has come, once a turn. Machines that want to become hosts are seen to here.
    pub(super) fn receive(&mut self, file: &HostFile, now: Time) -> Vec<Fact> {
        let mut facts = Vec::new();
        for fact in self.mesh.receive(now) {
            match fact {
                Fact::Knocks { key, connection, message } => {
                    if let Err(why) = self.knocked(file, key, &connection, &message, now) {
                        self.answer(&connection, &Join::Refused { why: why.clone() }, now);
                        facts.push(Fact::Joined { name: "a machine".to_owned(), outcome: Err(why) });
                    }
                }
                fact => facts.push(fact),
            }
        }
        if let Some(Ended { to, name, answer }) = self.joins.ended() {
            self.answer(&to, &answer, now);
            let outcome = match answer {
                Join::Refused { why } => Err(why),
                _ => Ok(()),
            };
            facts.push(Fact::Joined { name, outcome });
        }
        self.mesh.let_strangers_in(self.joins.is_open(now));
        facts
    }

    /// A machine without a certificate has sent this.
    fn knocked(
        &mut self,
        file: &HostFile,
        key: Key,
        from: &Identity,
        message: &Message,
        now: Time,
    ) -> Result<(), String> {
        let Ok(Join::Ask { token, name, etcd, witness }) = message.header() else {
            return Err("it asks for nothing".to_owned());
        };
        let (file, signers, public) = (file.clone(), self.keys.signers(), PublicKey::of(key));
        let admit = move |name: &str| admit(&file, &signers, &Knocks { name, public, etcd, witness }, &way_to);
        self.joins.asked((token, name), from.clone(), now, admit)
    }

    fn answer(&mut self, to: &Identity, answer: &Join, now: Time) {
        if let Ok(message) = Message::new(Kind::Join, answer, Vec::new()) {
            self.mesh.reply(to, &message, now);
        }
    }

    /// Opens an invitation: what the machine needs that is to become a host.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn invite(&mut self, file: &HostFile, wanted: Span, now: Time) -> Result<Invitation, String> {
        let address = file.mesh.as_ref().map(|mesh| mesh.address.clone()).unwrap_or_default();
        let token = random::token().map_err(|error| format!("there are no random numbers: {error}"))?;
        self.joins.invite(token, wanted, now)?;
        Ok(Invitation { address, key: self.keys.curve.public.clone(), token })
    }

    /// How many connections of unknown keys there have been, where that is news.
    pub(super) fn refused(&mut self) -> Option<u64> {
        let (unknown, _) = self.mesh.refused();
        (std::mem::replace(&mut self.told, unknown) < unknown).then_some(unknown)
    }

    /// What is due by now.
    pub(super) fn due(&mut self, file: &HostFile, core: &Agent, now: Moment) -> Vec<Fact> {
        let mut facts = Vec::new();
        let hosts = || core.hosts(now).into_iter();
        let known = core.known();
        if self.look_at <= now.boottime || self.known != known {
            self.known = known;
            self.look_at = now.boottime + LOOK;
            let others: Vec<(String, Host)> =
                hosts().filter(|host| host.name != file.name).map(|host| (host.name, host.record)).collect();
            let revoked = core.cluster().map(|cluster| cluster.revoked.clone()).unwrap_or_default();
            let issuers = self.keys.signers().publics();
            let judge = |name: &str, cert: &str| {
                let trust = Trust { cluster: &file.cluster, name, issuers: &issuers, revoked: &revoked };
                verify(cert, &trust).map(|found| *found.public.bytes()).map_err(|why| why.to_string())
            };
            let others = others.iter().map(|(name, record)| (name.as_str(), record));
            let peers = self.roster.read(others, &revoked, judge);
            facts.extend(self.mesh.follow(peers, now.boottime));
        }
        let is_due = self.rekey_at <= now.boottime;
        let shows = |cert: &str| hosts().any(|host| host.name == file.name && host.record.cert == cert);
        if let Some(keys) = self.next.take_if(|keys| is_due && shows(&keys.cert)) {
            let rekeyed = self.mesh.rekey(*keys.curve.public.bytes(), *keys.curve.secret.bytes(), now.boottime);
            if rekeyed.is_ok() {
                // The lines that were given away name the old one.
                self.joins.close();
                self.keys = keys;
            } else {
                // The record has their certificate already: no other host lets the old ones in.
                (self.next, self.rekey_at) = (Some(keys), now.boottime + LOOK);
            }
            facts.push(Fact::Rekeyed(rekeyed.map_err(|error| Chain(&error).to_string())));
        }
        let (_, epoch) = known;
        facts.extend(self.mesh.due(now.boottime, epoch));
        facts
    }
}
