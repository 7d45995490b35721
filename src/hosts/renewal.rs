//! Replacing the key by which a cluster signs certificates, while all hosts run.
//!
//! The record `cluster` shows how far the change is, each host's record which keys it accepts (`issuers`), and an
//! operator's command moves the cluster on when all hosts have come as far:
//!
//! ```text
//! cluster            each of its hosts                                        is over when all of them show
//! issuer K           takes K                                                  K
//! issuer K, next L   gets L from another host, and takes both                 K L
//! issuer L, former K has a certificate by L, and takes both                   L K
//! issuer L           takes L alone                                            L
//! ```
//!
//! So at each moment a host accepts what any other one shows: a certificate by L is shown when all hosts accept L, and
//! K is accepted as long as a host may show a certificate by it. A host's member of the store accepts the same keys,
//! and learns of others only by a restart. The members are restarted one after the other, in the order of the hosts'
//! names, and a host shows its keys only when its member has them too.
//!
//! A host that is removed has had the keys of that time: a next key is drawn anew, and a key that signs already is
//! replaced once more.
//!
//! When all hosts accept L alone, certificates by K need not be revoked any more, and the record forgets those that
//! were.
//!
//! The keys themselves are never in the store.

use super::record::{Cluster, Host};

/// The keys of a host at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<'a> {
    /// As in the key of its record.
    pub name: &'a str,
    /// The public half of the key that has signed its certificate.
    pub by: &'a str,
    /// The public half of the second key that it accepts.
    pub also: Option<&'a str>,
    /// The public halves that its member of the store accepts, in any order; `None`: it runs none.
    pub member: Option<&'a [String]>,
    /// Whether its record shows the keys that it has.
    pub shown: bool,
}

/// A host's next step in the change of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Get the next key from another host.
    Fetch,
    /// Certify itself by the other of its keys, by which the cluster signs now.
    Certify,
    /// Stop accepting its second key.
    Drop,
    /// Restart its member of the store, which accepts other keys than the host.
    Restart,
    /// Show its keys in its record.
    Show,
    /// Wait for the hosts whose members are restarted before its own.
    Wait,
    /// Nothing: the host is up to date.
    Rest,
    /// Nothing can be done: it has no key by which the cluster signs, as it was away while that was replaced.
    Outside,
}

/// The next step of a host. `shown`: the record of another host.
pub fn step<'a>(held: &Held<'_>, cluster: &'a Cluster, shown: impl Fn(&str) -> Option<&'a Host>) -> Step {
    let (issuer, next, former) = (cluster.issuer.as_str(), cluster.next.as_str(), cluster.former.as_str());
    let has = |key: &str| held.by == key || held.also == Some(key);
    match held.also {
        _ if issuer.is_empty() => return Step::Rest,
        _ if !has(issuer) => return Step::Outside,
        _ if held.by != issuer => return Step::Certify,
        _ if !next.is_empty() && !has(next) => return Step::Fetch,
        Some(also) if also != next && also != former => return Step::Drop,
        _ => {}
    }
    let own = || [Some(held.by), held.also].into_iter().flatten();
    if held.member.is_some_and(|member| !are_same(member, own())) {
        let before = cluster.members.iter().take_while(|name| name.as_str() != held.name);
        let mut done = before.map(|name| shown(name).is_some_and(|host| are_same(&host.issuers, own())));
        return if done.all(|done| done) { Step::Restart } else { Step::Wait };
    }
    if held.shown { Step::Rest } else { Step::Show }
}

/// Whether these are the same keys, in any order.
pub fn are_same<'a>(some: &[String], keys: impl Iterator<Item = &'a str> + Clone) -> bool {
    some.len() == keys.clone().count() && keys.clone().all(|key| some.iter().any(|one| one == key))
}

/// The next step of the operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// Swap the record of the cluster for this one.
    Write(Box<Cluster>),
    /// Wait for these hosts, which have not come as far.
    Wait(Vec<String>),
    /// Draw another next key: the last one is lost, or a removed host has it.
    Draw,
    /// All hosts accept the same single key.
    Settled,
}

/// The next step of the command. `name`: the host on which it runs; `has`: the keys that this host accepts according to
/// its file; `shown`: the record of a host.
pub fn advance<'a>(cluster: &Cluster, name: &str, has: &[String], shown: impl Fn(&str) -> Option<&'a Host>) -> Advance {
    let Cluster { issuer, next, former, drawn_by, exposed, issued, .. } = cluster;
    // This is safe, as no certificate is signed by it yet.
    let is_lost = || if drawn_by == name { !has.contains(next) } else { !issued.contains_key(drawn_by) };
    if !next.is_empty() && (exposed.contains(next) || is_lost()) {
        return Advance::Draw;
    }
    let wanted: Vec<&str> =
        [issuer, next, former].into_iter().map(String::as_str).filter(|key| !key.is_empty()).collect();
    let is_behind = |name: &&String| shown(name).is_none_or(|host| host.issuers != wanted);
    let behind: Vec<String> = cluster.issued.keys().filter(is_behind).cloned().collect();
    if !behind.is_empty() {
        return Advance::Wait(behind);
    }
    let write = |issuer: &str, former: &str| {
        let mut on = Cluster { issuer: issuer.to_owned(), former: former.to_owned(), ..cluster.clone() };
        (on.next, on.drawn_by) = (String::new(), String::new());
        if on.issuer != cluster.issuer {
            on.since = Some(on.serial);
        }
        on.exposed.retain(|key| *key == on.issuer || *key == on.former);
        Advance::Write(Box::new(on))
    };
    match (next.as_str(), former.as_str()) {
        ("", "") => Advance::Settled,
        ("", _) => write(issuer, ""),
        (next, _) => write(next, issuer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// A host that carries out its steps. Now and then one is restarting its member.
    #[derive(Debug, Clone)]
    struct Machine {
        by: String,
        also: Option<String>,
        member: Option<Vec<String>>,
        down: bool,
        record: Host,
        /// The serial of its certificate.
        serial: u64,
        /// The key that a command has drawn here, and the agent has not read yet.
        file: Option<String>,
    }

    impl Machine {
        fn keys(&self) -> Vec<String> {
            [Some(&self.by), self.also.as_ref()].into_iter().flatten().cloned().collect()
        }
    }

    struct World {
        cluster: Cluster,
        hosts: BTreeMap<String, Machine>,
        /// The keys that removed hosts have.
        known: BTreeSet<String>,
        /// The certificates that removed hosts have: by which key, and their serials.
        revoked: BTreeSet<(String, u64)>,
        drawn: usize,
    }

    impl World {
        fn new(hosts: usize, members: usize) -> World {
            let names: Vec<String> = ["a", "b", "c", "d", "e"].iter().take(hosts).map(|name| (*name).into()).collect();
            let keys = vec!["K".to_owned()];
            let machine = |at: usize| Machine {
                by: "K".into(),
                also: None,
                member: (at < members).then(|| keys.clone()),
                down: false,
                serial: at as u64 + 1,
                record: Host { issuers: keys.clone(), cert: "K".into(), ..Host::default() },
                file: None,
            };
            let cluster = Cluster {
                issuer: "K".into(),
                serial: hosts as u64,
                issued: names.iter().zip(1..).map(|(name, serial)| (name.clone(), [serial].into())).collect(),
                members: names.iter().take(members).cloned().collect(),
                ..Cluster::default()
            };
            let hosts = names.iter().enumerate().map(|(at, name)| (name.clone(), machine(at))).collect();
            World { cluster, hosts, known: BTreeSet::new(), revoked: BTreeSet::new(), drawn: 0 }
        }

        /// Draws a key on this host.
        fn draws(&mut self, name: &str) {
            self.drawn += 1;
            let key = format!("L{}", self.drawn);
            self.hosts.get_mut(name).unwrap().file = Some(key.clone());
            (self.cluster.next, self.cluster.drawn_by) = (key, name.to_owned());
        }

        fn removes(&mut self, name: &str) {
            if self.hosts.len() > 1
                && let Some(machine) = self.hosts.remove(name)
            {
                self.known.extend(machine.keys().into_iter().chain(machine.file.clone()));
                // The key that another host was about to send it.
                self.known.insert(self.cluster.next.clone());
                self.revoked.insert((machine.by, machine.serial));
                self.cluster.removes(name);
            }
        }

        fn shows(&self, name: &str) -> Option<&Host> {
            self.hosts.get(name).map(|machine| &machine.record)
        }

        fn next(&self, name: &str) -> Step {
            let machine = &self.hosts[name];
            let held = Held {
                name,
                by: &machine.by,
                also: machine.also.as_deref(),
                member: machine.member.as_deref(),
                shown: machine.record.issuers == machine.keys() && machine.record.cert == machine.by,
            };
            step(&held, &self.cluster, |name| self.hosts.get(name).map(|machine| &machine.record))
        }

        /// Carries out one step of one host. Returns whether anything has changed.
        fn moves(&mut self, name: &str) -> bool {
            let step = self.next(name);
            let next = self.cluster.next.clone();
            // Where a key is drawn anew, the order of restarts does not suffice: a host then finds that another member
            // does not answer.
            let waits = self.drawn > 1 && self.hosts.values().any(|machine| machine.down);
            let given = self.hosts.values().any(|machine| machine.also.as_ref() == Some(&next));
            let machine = self.hosts.get_mut(name).unwrap();
            if std::mem::take(&mut machine.down) {
                return true;
            }
            match step {
                Step::Fetch if given || machine.file.as_ref() == Some(&next) => machine.also = Some(next),
                Step::Fetch => return false,
                Step::Certify => {
                    let cluster = &mut self.cluster;
                    // It is tried twice, as the first certificate could not be written.
                    for _ in 0..2 {
                        machine.serial = cluster.drawn(name).unwrap_or_else(|| {
                            cluster.serial += 1;
                            cluster.issued.entry(name.to_owned()).or_default().insert(cluster.serial);
                            cluster.serial
                        });
                    }
                    let also = machine.also.take().unwrap();
                    machine.also = Some(std::mem::replace(&mut machine.by, also));
                }
                Step::Drop => {
                    let issued = self.cluster.issued.get_mut(name).unwrap();
                    issued.retain(|serial| *serial >= machine.serial);
                    machine.also = None;
                }
                Step::Restart if waits => return false,
                Step::Restart => {
                    machine.member = Some(machine.keys());
                    machine.down = true;
                }
                Step::Show => {
                    machine.record.issuers = machine.keys();
                    machine.record.cert = machine.by.clone();
                }
                Step::Wait | Step::Rest => return false,
                Step::Outside => panic!("{name} is left outside"),
            }
            true
        }

        /// Runs the operator's command on this host.
        fn advances(&mut self, name: &str) -> bool {
            let machine = &self.hosts[name];
            let has: Vec<String> = machine.keys().into_iter().chain(machine.file.clone()).collect();
            match advance(&self.cluster, name, &has, |name| self.shows(name)) {
                Advance::Write(cluster) => self.cluster = *cluster,
                Advance::Draw => self.draws(name),
                Advance::Settled if self.cluster.exposed.contains(&self.cluster.issuer) => self.draws(name),
                Advance::Settled => return self.cluster.forgets(),
                Advance::Wait(_) => return false,
            }
            true
        }

        /// Checks that each key shown is accepted everywhere, that certificates of removed hosts are accepted nowhere,
        /// and that no two members are down.
        fn holds(&self) -> Result<(), String> {
            for (name, host) in &self.hosts {
                for (of, other) in &self.hosts {
                    let takes = |keys: &[String], key: &String| keys.contains(key);
                    if !takes(&host.keys(), &other.record.cert) {
                        return Err(format!("{name} refuses the certificate of {of}"));
                    }
                    if host.member.as_ref().is_some_and(|keys| !takes(keys, &other.by)) {
                        return Err(format!("the member of {name} refuses {of}"));
                    }
                }
            }
            for (by, serial) in &self.revoked {
                let accepts = self.hosts.values().any(|host| host.keys().contains(by));
                if accepts && !self.cluster.revoked.contains(serial) {
                    return Err(format!("certificate {serial} by {by} is accepted again"));
                }
            }
            match self.hosts.values().filter(|host| host.down).count() {
                0 | 1 => Ok(()),
                down => Err(format!("{down} members are down")),
            }
        }
    }

    proptest! {
        #[test]
        fn in_any_order_every_host_takes_what_is_shown_and_all_come_to_a_key_that_no_other_has(
            hosts in 1_usize..5,
            members in 0_usize..4,
            moves in prop::collection::vec((0_usize..20, 0_usize..5), 0..200),
        ) {
            let mut world = World::new(hosts, members.min(hosts));
            world.draws("a");
            for (what, at) in moves {
                let names: Vec<String> = world.hosts.keys().cloned().collect();
                let name = &names[at % names.len()];
                match what {
                    0 => world.removes(name),
                    1..=4 => drop(world.advances(name)),
                    _ => drop(world.moves(name)),
                }
                prop_assert_eq!(world.holds(), Ok(()));
            }
            // Whatever has happened before, the change completes, on whichever host the command is run.
            let names: Vec<String> = world.hosts.keys().cloned().collect();
            while names.iter().filter(|name| world.moves(name)).count() > 0 || world.advances(names.last().unwrap()) {
                prop_assert_eq!(world.holds(), Ok(()));
            }
            let issuer = world.cluster.issuer.clone();
            prop_assert!(issuer != "K" && !world.known.contains(&issuer), "a host that was removed has {issuer}");
            prop_assert!(world.cluster.exposed.is_empty(), "{:?}", world.cluster.exposed);
            prop_assert!(world.cluster.revoked.is_empty(), "{:?}", world.cluster.revoked);
            prop_assert!(world.cluster.issued.values().all(|serials| serials.len() == 1), "{:?}", world.cluster.issued);
            for machine in world.hosts.values() {
                prop_assert_eq!(&machine.keys(), std::slice::from_ref(&issuer));
                prop_assert_eq!(&machine.record.issuers, &machine.keys());
                prop_assert!(machine.member.iter().all(|keys| *keys == machine.keys()));
            }
        }
    }

    #[test]
    fn a_host_that_does_not_show_the_key_is_waited_for() {
        let mut world = World::new(3, 3);
        world.draws("a");
        for name in ["a", "b"] {
            while world.moves(name) {}
        }
        let shown = |world: &World| advance(&world.cluster, "b", &[], |name| world.shows(name));
        assert_eq!(shown(&world), Advance::Wait(vec!["c".to_owned()]));
        // A removed host is not waited for, and may have had the key.
        world.removes("c");
        assert_eq!(shown(&world), Advance::Draw);
    }

    #[test]
    fn two_commands_at_once_draw_one_key() {
        let mut world = World::new(2, 0);
        world.draws("a");
        // Neither the host that has drawn it nor another one shows it yet.
        assert!(!world.advances("a") && !world.advances("b"));
        // The host that has drawn it has lost it.
        world.hosts.get_mut("a").unwrap().file = None;
        assert!(!world.advances("b"), "another one does not see that");
        assert!(world.advances("a"));
        assert_eq!(world.cluster.next, "L2");
    }

    #[test]
    fn one_that_was_away_meanwhile_is_outside_and_a_cluster_without_a_key_has_none_to_replace() {
        let mut world = World::new(1, 0);
        world.cluster.issuer = "M".into();
        assert_eq!(world.next("a"), Step::Outside);
        world.cluster.issuer.clear();
        assert_eq!(world.next("a"), Step::Rest);
    }

    #[test]
    fn another_key_that_is_to_come_takes_the_place_of_the_first() {
        let mut world = World::new(2, 0);
        world.draws("a");
        while world.moves("a") {}
        world.draws("a");
        assert_eq!(world.next("a"), Step::Fetch);
        while world.moves("a") {}
        assert_eq!(world.hosts["a"].record.issuers, ["K", "L2"]);
    }
}
