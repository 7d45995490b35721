//! The connections to the other hosts: to all whose records have a valid certificate.

use super::joins::{Ended, Joins};
use super::mesh::roster::Roster;
use super::mesh::{Fact, HostIdentity, Mesh, Shown};
use crate::error::Chain;
use crate::host::identity::{Keys, Trust, key_file, verify};
use crate::host::member::join::{Invitation, JoinRequest, admit};
use crate::host::store_opener::open_store;
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

/// How often the records are searched for other hosts.
const LOOK: Span = Span::from_secs(1);

/// The connections, and the hosts at their other ends.
pub(super) struct Connections {
    mesh: Mesh,
    roster: Roster,
    keys: Keys,
    /// The path of the file of the keys.
    place: PathBuf,
    /// New keys, which are taken over once the record of this host has their certificate.
    next: Option<Keys>,
    /// When it is next tried to take over `next`.
    rekey_at: Time,
    joins: Joins,
    look_at: Time,
    /// The number of known hosts at the last look, and the epoch of this host then; see `Agent::known`.
    known: (usize, u64),
    /// How many connections of unknown keys were reported so far.
    told: u64,
}

impl Connections {
    /// Starts listening if `file` has `listen`. `None`: it has not, and this host is connected to no other; hosts then
    /// see each other's records in the store only. `path` is the path of `file`.
    ///
    /// # Errors
    /// The keys are missing, or another process listens at the address.
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
        let own = HostIdentity { host: file.name.clone(), cluster: file.cluster.clone(), public, secret };
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

    pub(super) fn cert(&self) -> &str {
        &self.keys.cert
    }

    /// The keys of this host.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Replaces the keys by others with the same key pair, after a change of signing keys. All certificates are judged
    /// anew.
    pub(super) fn have(&mut self, keys: Keys) {
        (self.keys, self.roster, self.look_at) = (keys, Roster::default(), Time::ZERO);
    }

    /// Whether another key pair is about to be taken over.
    pub(super) fn is_rekeying(&self) -> bool {
        self.next.is_some()
    }

    /// The path of the file of the keys.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Takes over these keys as soon as the record of this host has their certificate. Returns that certificate.
    ///
    /// # Errors
    /// The keys are not of this host or this cluster, or a machine is joining at the moment, whose invitation names the
    /// present key.
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

    pub(super) fn fds(&self) -> [RawFd; 4] {
        let [messages, questions, names] = self.mesh.fds();
        [messages, questions, names, self.joins.fd()]
    }

    pub(super) fn has_input(&self) -> bool {
        self.mesh.has_input()
    }

    /// Whether [`Connections::due`] has to run: a deadline has passed, the number of known hosts has changed, or the
    /// epoch of this host has.
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

    pub(super) fn send(&mut self, host: &str, message: &Message) -> bool {
        self.mesh.send(host, message, clock::both().boottime)
    }

    pub(super) fn is_up(&self, host: &str) -> bool {
        self.mesh.is_up(host)
    }

    pub(super) fn shown(&self, host: &str) -> Option<Shown> {
        self.mesh.shown(host)
    }

    /// Reads what has arrived from other hosts, once a turn. Requests to join are handled here.
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

    /// Handles a message of a machine without a certificate: only a request to join is accepted.
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
        let admit = move |name: &str| admit(&file, &signers, &JoinRequest { name, public, etcd, witness }, &open_store);
        self.joins.asked((token, name), from.clone(), now, admit)
    }

    fn answer(&mut self, to: &Identity, answer: &Join, now: Time) {
        if let Ok(message) = Message::new(Kind::Join, answer, Vec::new()) {
            self.mesh.reply(to, &message, now);
        }
    }

    /// Opens an invitation, and returns what the machine needs to use it.
    ///
    /// # Errors
    /// There are no random numbers, too many invitations are open, or `wanted` is too long.
    pub(super) fn invite(&mut self, file: &HostFile, wanted: Span, now: Time) -> Result<Invitation, String> {
        let address = file.mesh.as_ref().map(|mesh| mesh.address.clone()).unwrap_or_default();
        let token = random::token().map_err(|error| format!("there are no random numbers: {error}"))?;
        self.joins.invite(token, wanted, now)?;
        Ok(Invitation { address, key: self.keys.curve.public.clone(), token })
    }

    /// The number of refused connections of unknown keys, if it has grown since the last call.
    pub(super) fn refused(&mut self) -> Option<u64> {
        let (unknown, _) = self.mesh.refused();
        (std::mem::replace(&mut self.told, unknown) < unknown).then_some(unknown)
    }

    /// Does what is due: reads the records for other hosts, takes over new keys, and lets the mesh send.
    pub(super) fn due(&mut self, file: &HostFile, core: &Agent, now: Moment) -> Vec<Fact> {
        let mut facts = Vec::new();
        let known = core.known();
        if self.look_at <= now.boottime || self.known != known {
            self.known = known;
            self.look_at = now.boottime + LOOK;
            let hosts = core.hosts(now).into_iter().filter(|host| host.name != file.name);
            let others: Vec<(String, Host)> = hosts.map(|host| (host.name, host.record)).collect();
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
        let shows = |cert: &str| core.stored(&file.name, now).is_some_and(|record| record.cert == cert);
        if let Some(keys) = self.next.take_if(|keys| is_due && shows(&keys.cert)) {
            let rekeyed = self.mesh.rekey(*keys.curve.public.bytes(), *keys.curve.secret.bytes(), now.boottime);
            if rekeyed.is_ok() {
                // Invitations that were handed out name the old key, and cannot be used any more.
                self.joins.close();
                self.keys = keys;
            } else {
                // The record has the new certificate already, so no other host accepts the old key: tried again.
                (self.next, self.rekey_at) = (Some(keys), now.boottime + LOOK);
            }
            facts.push(Fact::Rekeyed(rekeyed.map_err(|error| Chain(&error).to_string())));
        }
        let (_, epoch) = known;
        facts.extend(self.mesh.due(now.boottime, epoch));
        facts
    }
}
